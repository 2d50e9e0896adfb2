"""DETR as ONNX files, run without torch, against the model."""

import d2video.projects.detr.panoptic as eager
import numpy as np
import pytest
import torch
from d2video.projects.detr.panoptic import panoptic_map
from detectron2.modeling import build_model

import d2video.deploy.detections as deployed
from d2video.cli.export import main
from d2video.config import load_cfg
from d2video.deploy import Runner
from d2video.deploy.pixels import resize_shortest_edge
from d2video.export import export_graphs, write_export
from d2video.inference.predictor import Predictor
from d2video.utils.errors import UserError
from d2video.video.video_reader import open_video
from d2video.video.video_writer import VideoWriter
from tests.deploy.without_torch import run_without_torch
from tests.helpers.small_backbone import SMALL_BACKBONE
from tests.projects.DETR.tiny import tiny_cfg

pytestmark = pytest.mark.slow

PANOPTIC = [
    *("MODEL.MASK_ON", True, "MODEL.DETR.PANOPTIC.ENABLED", True),
    *("MODEL.DETR.PANOPTIC.NUM_THINGS", 2, "MODEL.DETR.PANOPTIC.SCORE_THRESH", 0.22),
    *("MODEL.DETR.SCORE_THRESH_TEST", 0.2),
    *(*SMALL_BACKBONE, "MODEL.DETR.DEC_LAYERS", 1),
    *("INPUT.MIN_SIZE_TEST", 100, "INPUT.MAX_SIZE_TEST", 150),
]
NAMES = ["person", "dog", "sky", "road"]


def build(*options):
    torch.manual_seed(2)
    cfg = tiny_cfg(*options, config="configs/DETR/detr_panoptic_R50.yaml")
    model = build_model(cfg.clone()).eval()
    # Else all queries look alike, and all masks are empty or full.
    pixels = resize_shortest_edge(frames(75, 133, 1)[0], 100, 150)
    images = model.normalize(torch.from_numpy(pixels).permute(2, 0, 1)[None])
    network, branch = model.network, model.network.mask_branch
    with torch.no_grad():
        found = model.predict(images, None, all_layers=False)
        network.class_embed.weight.copy_(40 * network.class_embed.weight)
        network.class_embed.bias.copy_(-network.class_embed.weight @ found.embeddings[0].mean(0))
        branch.out_conv.weight.mul_(10)
        masks = found.masks(torch.zeros(6, dtype=torch.int64), torch.arange(6))
        branch.out_conv.bias.sub_(masks.median())
    return model, cfg


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The model's predictor, and the folder and differences of its export."""
    model, cfg = build(*PANOPTIC)
    folder = tmp_path_factory.mktemp("exported")
    differences = write_export(model, cfg, "onnx", folder)
    predictor = Predictor(model=model, min_size=100, max_size=150, class_names=None)
    return predictor, folder, differences


def frames(height, width, count=3):
    """Random blocks that move."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    image = blocks.repeat(8, 0).repeat(8, 1)[:height, :width]
    return [np.roll(image, 5 * t, axis=1) for t in range(count)]


def same_pixels(found, expected, share):
    """All but a share of the pixels, whose logits are nearly zero or nearly equal."""
    assert found.shape == expected.shape
    assert (found != expected).sum() <= share * found.size


def test_graphs_are_the_model(exported):
    """Compared on one image of another size where two were traced."""
    assert exported[2].keys() == {"detect", "masks"}
    assert max(exported[2].values()) <= 1e-4


def spied(monkeypatch, module):
    """What a module's ``panoptic_map`` is called with: mask logits and classes, frame by frame."""
    calls, original = [], module.panoptic_map

    def spy(logits, classes, *more, **options):
        calls.append((logits, classes))
        return original(logits, classes, *more, **options)

    monkeypatch.setattr(module, "panoptic_map", spy)
    return calls


def test_the_runner_answers_as_the_predictor(exported, monkeypatch):
    ours_of, theirs_of = spied(monkeypatch, deployed), spied(monkeypatch, eager)
    predictor, folder, _ = exported
    runner = Runner(folder, threads=1)
    videos = [frames(75, 133), frames(120, 90)]
    answers = [answer for video in videos for answer in runner(video)]
    expectations = [frame for video in videos for frame in predictor(open_video(video))]
    some = 0
    for answer, expected in zip(answers, expectations, strict=True):
        instances, found = expected.instances, answer.found
        np.testing.assert_array_equal(found.classes, instances.pred_classes.numpy())
        np.testing.assert_allclose(found.scores, instances.scores.numpy(), atol=1e-4)
        np.testing.assert_allclose(found.boxes, instances.pred_boxes.tensor.numpy(), atol=0.02)
        same_pixels(found.masks, instances.pred_masks.numpy(), 1e-3)
        # Masks of an untrained model are much alike, so that rounding decides whose a pixel is: the
        # logits are compared, and what either side makes of the same ones.
        (logits, classes), (their_logits, their_classes) = ours_of.pop(0), theirs_of.pop(0)
        np.testing.assert_array_equal(classes, their_classes.numpy())
        np.testing.assert_allclose(logits, their_logits.numpy(), atol=1e-3)
        ids, segments = panoptic_map(
            torch.from_numpy(logits), their_classes, their_classes < 2, expected.image.shape[:2]
        )
        np.testing.assert_array_equal(found.panoptic.ids, ids.numpy())
        assert found.panoptic.segments == segments
        ours, theirs = answer.to_dict(), expected.to_dict()
        assert ours.keys() == theirs.keys()
        for kind in ("instances", "segments"):
            assert {*map(frozenset, ours[kind])} == {*map(frozenset, theirs[kind])}
        some += int(found.masks.any() and len(segments) > 1)
    assert some > 1  # there was something to compare


def test_a_video_file_without_torch(exported, tmp_path):
    predictor, folder, _ = exported
    with VideoWriter(tmp_path / "video.mp4", fps=10) as writer:
        for frame in frames(80, 128, 4):
            writer.write(frame)
    results = run_without_torch(folder, tmp_path / "video.mp4", tmp_path / "results.json")
    assert results["num_frames"] == 4
    assert (results["height"], results["width"]) == (80, 128)
    for found, expected in zip(results["frames"], predictor(tmp_path / "video.mp4"), strict=True):
        assert found["time"] == pytest.approx(expected.time, abs=1e-3)
        scores = [each["score"] for each in found["instances"]]
        # Two decoders: pixels differ by a step or two.
        np.testing.assert_allclose(scores, expected.instances.scores.numpy(), atol=0.02)


@pytest.mark.parametrize("option", ["LINK", "SOFT_NMS"])
def test_what_cannot_be_exported_is_refused(option):
    model, cfg = build(*PANOPTIC, f"MODEL.DETR.{option}", True)
    with pytest.raises(UserError, match=option):
        export_graphs(model, cfg)


def test_the_command(tmp_path, monkeypatch, capsys):
    """Its own part: the graphs are in the tests above."""
    called = []
    monkeypatch.setattr(
        "d2video.export.write_export",
        lambda *arguments: called.append(arguments) or {"detect": 0.0},
    )
    built, built_cfg = build(*PANOPTIC)
    torch.save({"model": built.state_dict()}, tmp_path / "model.pth")
    (tmp_path / "model.yaml").write_text(built_cfg.dump())
    config = ["--config-file", tmp_path / "model.yaml", "--output", tmp_path / "out"]
    main([*map(str, [tmp_path / "model.pth", *config, "--format", "torch"])])
    ((model, cfg, runtime, folder),) = called
    assert (type(model).__name__, runtime, folder) == ("DETR", "torch", tmp_path / "out")
    assert cfg.MODEL.DEVICE == "cpu"
    assert not model.training
    assert "detect: differs from the model by at most 0.0e+00" in capsys.readouterr().out
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit):
        main(["--config-file", "DETR/detr_panoptic_R50", "--output", str(tmp_path / "file")])
    assert "is a file: name a folder" in capsys.readouterr().err


@pytest.mark.long
def test_the_official_form(tmp_path):
    torch.manual_seed(0)
    cfg = load_cfg("configs/DETR/detr_panoptic_R50.yaml", ["MODEL.DEVICE", "cpu"])
    differences = write_export(build_model(cfg.clone()).eval(), cfg, "onnx", tmp_path)
    print(differences, {each.name: each.stat().st_size for each in tmp_path.iterdir()})
    assert max(differences.values()) <= 1e-4
