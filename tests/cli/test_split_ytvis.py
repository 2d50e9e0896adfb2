import json

import numpy as np
import pytest

from d2video.cli import make_shapes, split_ytvis
from d2video.data.datasets.ytvis import load_ytvis_json
from d2video.data.datasets.ytvis_split import choose_held_out
from d2video.utils.errors import UserError
from tests.helpers.ytvis_content import content


def videos(*file_lists):
    return [{"id": 10 + i, "file_names": names} for i, names in enumerate(file_lists)]


def test_seeded_choice_of_the_right_size():
    many = videos(*[[f"v{i}/0.jpg", f"v{i}/1.jpg"] for i in range(50)])
    chosen = [choose_held_out(many, 0.2, seed) for seed in (0, 0, 1)]
    assert len(chosen[0]) == 10
    assert chosen[0] == chosen[1]
    assert chosen[0] != chosen[2]


def test_videos_of_one_folder_or_with_a_shared_frame_stay_together():
    many = videos(
        ["a/0.jpg", "a/1.jpg"],
        ["b/0.jpg"],
        ["a/2.jpg", "c/0.jpg"],
        ["d/0.jpg"],
        ["c/5.jpg"],
        ["top.jpg"],
        ["top.jpg", "other.jpg"],
        ["third.jpg"],
    )
    together = [{10, 12, 14}, {11}, {13}, {15, 16}, {17}]
    choices = [choose_held_out(many, 0.3, seed) for seed in range(40)]
    for held_out in choices:
        assert 3 <= len(held_out) <= 5
        for group in together:
            assert not group & held_out or group <= held_out
    # The image root itself is no folder that relates videos 15, 16 and 17.
    assert any({17} <= h and not {15} & h for h in choices)
    assert set().union(*choices) == {v["id"] for v in many}


def test_some_videos_always_remain_on_both_sides():
    for fraction in (0.001, 0.999):
        held_out = choose_held_out(videos(["a/0"], ["b/0"]), fraction, 0)
        assert len(held_out) == 1


@pytest.mark.parametrize("fraction", [0, 1, -0.5, np.nan])
def test_fraction_out_of_range(fraction):
    with pytest.raises(UserError, match="--fraction"):
        split_ytvis.parse_args(f"in --train-output a --held-out b --fraction {fraction}".split())


@pytest.mark.parametrize("tool", [split_ytvis, make_shapes])
def test_seed_below_0(tool, capsys):
    with pytest.raises(SystemExit):
        tool.parse_args(["in", "--train-output", "a", "--held-out", "b", "--seed", "-1"])
    assert "--seed: must be at least 0, not -1" in capsys.readouterr().err


def test_nothing_to_split_by():
    with pytest.raises(UserError, match="nothing to split by"):
        choose_held_out(videos(["a/0"], ["a/1"]), 0.5, 0)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "train.json"
    path.write_text(json.dumps({**content(), "info": {"year": 2021}}))
    return path


def run(source, *extra):
    folder = source.parent / "out"
    outputs = ["--train-output", str(folder / "a.json"), "--held-out", str(folder / "b.json")]
    split_ytvis.main([str(source), *outputs, "--fraction", "0.5", *extra])
    return folder / "a.json", folder / "b.json"


def test_both_files_load_and_share_nothing(source, capsys):
    train, held_out = run(source)
    parts = [load_ytvis_json(str(path), "") for path in (train, held_out)]
    ids = [{record["video_id"] for record in part} for part in parts]
    assert not ids[0] & ids[1]
    assert ids[0] | ids[1] == {3, 7}
    tracks = [a for p in (train, held_out) for a in json.loads(p.read_text())["annotations"]]
    assert sorted(a["id"] for a in tracks) == [11, 12, 13]
    assert json.loads(train.read_text())["info"] == {"year": 2021}
    assert "1 videos, 3 tracks of 2 of 2 classes" in capsys.readouterr().out


@pytest.mark.parametrize("fault", ["unlabelled", "no file", "in place"])
def test_faults_leave_nothing_behind(source, capsys, fault):
    extra = []
    if fault == "unlabelled":
        source.write_text(json.dumps({**content(), "annotations": None}))
    if fault == "no file":
        source.unlink()
    if fault == "in place":
        extra = ["--held-out", str(source)]
    with pytest.raises(SystemExit) as caught:
        run(source, *extra)
    assert caught.value.code == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (source.parent / "out").exists()
