"""tools/demo.py from its command line, with a stub in place of a trained model."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from d2video.utils.video_reader import open_video
from d2video.utils.video_writer import VideoWriter
from tests import stub_video_model  # noqa: F401  registers the stub

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def demo():
    spec = importlib.util.spec_from_file_location("demo", REPOSITORY / "tools" / "demo.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def clip(tmp_path):
    """A folder with a video and all that the tool needs to run on it."""
    with VideoWriter(tmp_path / "in.mp4", fps=10) as writer:
        for t in range(9):
            image = np.full((48, 64, 3), 60, np.uint8)
            image[20:32, 3 * t : 3 * t + 12] = 255
            writer.write(image)
    (tmp_path / "stub.yaml").write_text(
        "MODEL:\n  META_ARCHITECTURE: StubFromConfig\n  DEVICE: cpu\n"
        f"  WEIGHTS: {tmp_path}/model.pth\n"
        "INPUT:\n  FORMAT: RGB\n  MIN_SIZE_TEST: 24\n  CLIP:\n    NUM_FRAMES: 4\n"
        "DATASETS:\n  TEST: []\n"
    )
    torch.save({"model": {"weight": torch.ones(1)}}, tmp_path / "model.pth")
    return tmp_path


def arguments(clip, *more: str) -> list[str]:
    return ["--config-file", f"{clip}/stub.yaml", "--input", f"{clip}/in.mp4", *more]


def test_video_and_results(demo, clip):
    demo.main(arguments(clip, "--output", f"{clip}/out.mp4", "--results", f"{clip}/out.json"))
    before, after = list(open_video(clip / "in.mp4")), list(open_video(clip / "out.mp4"))
    assert len(after) == 9
    assert open_video(clip / "out.mp4").fps == 10
    difference = np.abs(after[4].image.astype(int) - before[4].image).sum(-1)
    assert difference[26, 18] > 60  # the square of frame 4 is tinted
    assert difference[45, 60] < 20  # a far corner is not
    results = json.loads((clip / "out.json").read_text())
    assert results["num_frames"] == 9
    assert {i["track_id"] for f in results["frames"] for i in f["instances"]} == {5}


def test_folder_in_and_out_and_options(demo, clip):
    (clip / "frames").mkdir()
    for frame in open_video(clip / "in.mp4"):
        Image.fromarray(frame.image).save(clip / "frames" / f"{frame.index}.png")
    args = arguments(clip, "--output", f"{clip}/out", "--score-threshold", "0.95")
    args[3] = f"{clip}/frames"
    demo.main([*args, "--opts", "INPUT.CLIP.NUM_FRAMES", "2"])
    drawn = list(open_video(clip / "out"))
    assert len(drawn) == 9
    # The stub's score is 0.9: nothing is drawn.
    original = next(iter(open_video(clip / "in.mp4"))).image.astype(int)
    assert np.abs(drawn[0].image - original).mean() < 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, clip: a.__setitem__(3, f"{clip}/none.mp4"), "none.mp4 does not exist"),
        (lambda a, clip: a.__setitem__(1, f"{clip}/none.yaml"), "none.yaml"),
        (lambda a, clip: a.__setitem__(5, f"{clip}/out.avi"), "must end in .mp4"),
        (lambda a, clip: a.extend(["--opts", "MODEL.NO_SUCH", "1"]), "MODEL.NO_SUCH"),
    ],
)
def test_faults_are_one_line_and_leave_nothing(demo, clip, capsys, change, message):
    args = arguments(clip, "--output", f"{clip}/out.mp4")
    change(args, clip)
    before = set(clip.iterdir())
    with pytest.raises(SystemExit) as stop:
        demo.main(args)
    assert stop.value.code == 1
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(error) == 1
    assert message in error[0]
    assert set(clip.iterdir()) == before


def test_damaged_video(demo, clip, capsys):
    data = (clip / "in.mp4").read_bytes()
    (clip / "in.mp4").write_bytes(data[: len(data) - 30])
    args = arguments(clip, "--output", f"{clip}/out.mp4", "--results", f"{clip}/out.json")
    with pytest.raises(SystemExit):
        demo.main(args)
    assert "in.mp4 is damaged after frame" in capsys.readouterr().err
    assert not list(clip.glob("*out*"))

    demo.main([*args, "--stop-at-damage"])
    kept = json.loads((clip / "out.json").read_text())["num_frames"]
    assert 0 < kept < 9
    assert sum(1 for _ in open_video(clip / "out.mp4")) == kept


def test_prefetch_of_the_config_is_used(demo, clip, monkeypatch):
    opened = []

    def recorded(*args, **kwargs):
        opened.append(open_video(*args, **kwargs))
        return opened[-1]

    monkeypatch.setattr(demo, "open_video", recorded)
    demo.main(arguments(clip, "--results", f"{clip}/o.json", "--opts", "TEST.VIDEO.PREFETCH", "3"))
    assert [video.prefetch for video in opened] == [3]


def test_nothing_to_do(demo, clip, capsys):
    with pytest.raises(SystemExit) as stop:
        demo.main(arguments(clip))
    assert stop.value.code == 2
    assert "give --output" in capsys.readouterr().err


def test_help_runs_without_a_model(demo, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["demo.py", "--help"])
    with pytest.raises(SystemExit) as stop:
        demo.main()
    assert stop.value.code == 0
    assert "--config-file" in capsys.readouterr().out
