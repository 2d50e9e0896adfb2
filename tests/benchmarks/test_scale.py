"""The counts behind docs/performance/scale.md, at tiny sizes."""

import json

import pytest

from benchmarks import scale_gpus, scale_videos
from benchmarks.forward_passes import Size
from benchmarks.scale import count, exponents, main
from d2video.evaluation.benchmark_tracks import SetShape


def test_exponents():
    assert exponents([2, 4, 12], [5, 20, 60])[1:] == pytest.approx([2, 1])


def test_patches_are_counted_one_by_one_and_no_weights():
    few, more = (count("IPT/ipt_tiny_images", [], Size(patches=n)) for n in (2, 4))
    for name in ("GFLOP", "kept GB", "held GB"):
        assert more[name] == pytest.approx(2 * few[name], rel=0.01)


def test_attention_over_a_clip_grows_faster_than_its_frames(tmp_path, capsys):
    path = tmp_path / "figures.json"
    sizes = ["--height", "64", "--width", "96", "--kept", "2", "--frames", "2", "4"]
    main(["VisTR/vistr_tiny_shapes", *sizes, "--seconds", "--json", str(path)])
    rows = json.loads(path.read_text())["figures"]
    assert "^ GFLOP" in capsys.readouterr().out
    assert 1 < rows[1]["^ GFLOP"] < 2
    assert rows[1]["^ held GB"] == pytest.approx(1, abs=0.01)
    assert rows[1]["^ kept GB"] < 1.1  # no scores of the attention
    assert 0 < rows[0]["backbone"] + rows[0]["mask_head"] < 1
    assert rows[0]["CPU s"] > 0


def test_several_sizes_at_once(capsys):
    with pytest.raises(SystemExit):
        main(["VisTR/vistr_tiny_shapes", "--frames", "2", "4", "--kept", "1", "2"])
    assert "give several values to one size" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("config", "opts"),
    [
        ("VTN/vtn_tiny_motion", []),
        # Proposals and links are chosen by their numbers, which a count does not have.
        (
            "TrackFormer/trackformer_tiny_shapes",
            [
                "MODEL.TRACKFORMER.TRACK_LINKS",
                False,
                "MODEL.TRACKFORMER.DEFORMABLE.DENSE_PROPOSALS",
                False,
            ],
        ),
    ],
)
def test_systems(config, opts):
    figures = count(config, opts, Size(frames=2, height=64, width=96))
    assert 0 < figures["backbone"] < 1
    assert figures["kept GB"] > figures["held GB"] > 0


def test_step_on_gpus():
    step = scale_gpus.Step("DETR/detr_panoptic_tiny_shapes", 2, Size(height=64, width=96, kept=3))
    row = scale_gpus.estimate(step, utilisation=0.5)
    assert row["compute ms"] == pytest.approx(1e3 * row["TFLOP"] / (0.5 * 989))
    assert row["gradients MB"] == pytest.approx(4 * row["trained M"])
    assert scale_gpus.all_reduce(4e8, 8, 1e9) == pytest.approx(0.7)


def test_videos():
    shape = SetShape(videos=4, frames=3, height=24, width=32, predictions=4, classes=2)
    rows = scale_videos.measure([2, 4], shape)
    assert 1 < rows[1]["kept MB"] / rows[0]["kept MB"] < 3
