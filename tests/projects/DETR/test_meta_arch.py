"""The DETR meta-architecture: inputs, answers, frozen parts, bad configs."""

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.engine import DefaultPredictor
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from detectron2.utils.visualizer import Visualizer

from d2video.layers import LearnedPositionEncoding
from d2video.utils.errors import UserError
from tests.helpers.golden_io import load
from tests.projects.DETR.tiny import make_image, tiny_cfg


def build(*overrides, seed: int = 0):
    torch.manual_seed(seed)
    return build_model(tiny_cfg(*overrides))


def losses_of(model, batch) -> dict:
    with EventStorage():
        return model(batch)


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("objects", [0, 2, 9])
def test_every_trained_parameter_has_a_gradient(masks, objects):
    """Also without objects, and with more objects than queries (6)."""
    model = build("MODEL.MASK_ON", masks)
    losses = losses_of(model, [make_image(objects=objects, width=120), make_image(33, 70, 1)])
    sum(losses.values()).backward()
    without = [
        name
        for name, p in model.named_parameters()
        if p.requires_grad and (p.grad is None or not torch.isfinite(p.grad).all())
    ]
    assert without == []
    assert ("loss_dice" in losses) == masks


def test_only_the_mask_branch_learns_on_a_frozen_detector():
    model = build(
        "MODEL.MASK_ON", True, "MODEL.DETR.FREEZE_DETECTOR", True, "MODEL.DETR.DROPOUT", 0.5
    )
    losses = losses_of(model.train(), [make_image()])
    assert set(losses) == {"loss_mask", "loss_dice"}
    sum(losses.values()).backward()
    learning = {name.split(".")[1] for name, p in model.named_parameters() if p.grad is not None}
    assert learning == {"mask_branch"}
    assert not model.network.transformer.training
    assert model.network.mask_branch.training
    # Without dropout the detector says the same every time.
    again = losses_of(model, [make_image()])
    assert all(torch.equal(losses[name], again[name]) for name in losses)


def test_batch_and_padding_change_little_and_order_nothing():
    model = build("MODEL.MASK_ON", True).eval()
    one, two = make_image(seed=1), make_image(64, 96, seed=2)
    together, swapped = model([one, two]), model([two, one])
    for a, b in zip(together, reversed(swapped)):
        torch.testing.assert_close(a["instances"].scores, b["instances"].scores)
        assert torch.equal(a["instances"].pred_masks, b["instances"].pred_masks)
    alone = model([two])[0]["instances"]
    torch.testing.assert_close(together[1]["instances"].scores, alone.scores, atol=1e-5, rtol=0)


def test_answer():
    model = build("MODEL.MASK_ON", True).eval()
    found = model([make_image()])[0]["instances"]
    assert found.image_size == (80, 112)
    assert len(found) == 6
    assert found.pred_masks.shape == (6, 80, 112)
    assert found.pred_masks.dtype == torch.bool
    model.score_threshold = 1.0
    empty = model([make_image()])[0]["instances"]
    assert len(empty) == 0
    assert empty.pred_masks.shape == (0, 80, 112)


def test_positions_in_the_mask_attention_follow_the_config():
    masks = []
    for on in (False, True):
        model = build("MODEL.MASK_ON", True, "MODEL.DETR.MASK_POSITIONS", on).eval()
        assert model.network.mask_branch.bbox_attention.use_positions is on
        assert list(model.state_dict()) == list(build("MODEL.MASK_ON", True).state_dict())
        model.network.mask_branch.register_forward_hook(lambda *args: masks.append(args[2]))
        model([make_image()])
    assert (masks[0] - masks[1]).abs().max() > 1e-3


def test_masks_run_for_kept_queries_only():
    model = build("MODEL.MASK_ON", True).eval()
    scores = model([make_image()])[0]["instances"].scores
    model.score_threshold = float(scores.sort().values[-2])
    rows = []
    model.network.mask_branch.mask_head.register_forward_hook(
        lambda _, inputs, output: rows.append(len(output))
    )
    kept = model([make_image()])[0]["instances"]
    assert len(kept) == sum(rows) == 2


def test_what_queries_share_is_computed_once_a_batch():
    model = build("MODEL.MASK_ON", True).eval()
    sizes = []
    shared = model.network.mask_branch.mask_head.shared
    model.network.mask_branch.mask_head.shared = lambda x: sizes.append(len(x)) or shared(x)
    assert len(model([make_image(seed=i) for i in range(3)])) == 3
    assert sizes == [3]


def test_panoptic_answer():
    model = build(
        *("MODEL.MASK_ON", True, "MODEL.DETR.PANOPTIC.ENABLED", True),
        *("MODEL.DETR.PANOPTIC.NUM_THINGS", 2, "MODEL.DETR.PANOPTIC.SCORE_THRESH", 0.0),
    ).eval()
    answer = model([make_image()])[0]
    assert set(answer["instances"].pred_classes.tolist()) <= {0, 1}
    ids, segments = answer["panoptic_seg"]
    assert ids.shape == (80, 112)
    assert sorted(ids.unique().tolist()) == [segment["id"] for segment in segments]
    for segment in segments:
        assert int((ids == segment["id"]).sum()) == segment["area"]
        assert segment["isthing"] == (segment["category_id"] < 2)


def test_class_logits():
    """Contiguous classes 0 and 1 have logits 3 and 1 of the model."""
    model = build("MODEL.DETR.CLASS_LOGITS", [3, 1])
    batch = [make_image(objects=2)]
    plain = build()
    batch_raw = [make_image(objects=2)]
    batch_raw[0]["instances"].gt_classes = torch.tensor([3, 1])
    ours, raw = losses_of(model, batch), losses_of(plain, batch_raw)
    assert all(torch.equal(ours[name], raw[name]) for name in ours)
    found = model.eval()([make_image()])[0]["instances"]
    assert set(found.pred_classes.tolist()) <= {0, 1}
    with pytest.raises(UserError, match="CLASS_LOGITS names 2"):
        losses_of(model.train(), [make_image(objects=3)])


def test_default_predictor(tmp_path):
    """detectron2's own predictor: BGR array in, ``Instances`` at the array's size out."""
    cfg = tiny_cfg("MODEL.MASK_ON", True, "MODEL.WEIGHTS", str(tmp_path / "model.pth"))
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 32, 64
    torch.manual_seed(0)
    torch.save({"model": build_model(cfg).state_dict()}, cfg.MODEL.WEIGHTS)
    picture = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    found = DefaultPredictor(cfg)(picture)["instances"]
    assert found.image_size == (50, 70)
    assert found.pred_masks.shape == (6, 50, 70)
    drawn = Visualizer(picture[..., ::-1], MetadataCatalog.get("none")).draw_instance_predictions(
        found
    )
    assert drawn.get_image().shape == (50, 70, 3)


def test_stream():
    model = build("MODEL.MASK_ON", True).eval()
    frames = [make_image(seed=i)["image"] for i in range(3)]
    streamed = [answer["instances"] for answer in model.stream_video(iter(frames), (40, 56))]
    assert len(streamed) == 3
    single = model([{"image": frames[1]}])[0]["instances"]
    assert torch.equal(streamed[1].scores, single.scores)
    assert torch.equal(streamed[1].pred_masks, single.pred_masks)


def test_learned_positions():
    _, data, _ = load("detr_pos2d.npz")
    golden = data["learned.out"]  # (1, C, 4, 6)
    encoding = LearnedPositionEncoding(golden.shape[1])
    half = golden.shape[1] // 2
    with torch.no_grad():
        encoding.col_embed.weight[:6] = golden[0, :half, 0].t()
        encoding.row_embed.weight[:4] = golden[0, half:, :, 0].t()
    ours = encoding(torch.zeros(1, 4, 6, dtype=torch.bool)).permute(0, 3, 1, 2)
    assert torch.equal(ours, golden)
    with pytest.raises(ValueError, match="up to 50x50"):
        encoding(torch.zeros(1, 4, 51, dtype=torch.bool))
    model = build("MODEL.DETR.POSITIONS", "learned").eval()
    assert len(model([make_image()])[0]["instances"]) == 6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_stays_near_float32(dtype):
    model = build("MODEL.MASK_ON", True)
    exact = losses_of(model, [make_image()])
    with torch.autocast("cpu", dtype):
        mixed = losses_of(model, [make_image()])
    sum(mixed.values()).backward()
    for name, value in exact.items():
        # bfloat16 keeps 8 bits: some hundredths after a few layers.
        assert mixed[name].item() == pytest.approx(value.item(), rel=0.1), name


@pytest.mark.slow
@pytest.mark.usefixtures("compile_backend")
def test_compiled_model_equals_the_eager_one():
    """A training step and inference."""
    masks = ("MODEL.MASK_ON", True)
    plain, compiled = build(*masks), build(*masks, "MODEL.COMPILE", True)
    ours, theirs = losses_of(compiled, [make_image()]), losses_of(plain, [make_image()])
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-4)
    sum(ours.values()).backward()
    found = [m.eval()([make_image()])[0]["instances"].scores for m in (compiled, plain)]
    torch.testing.assert_close(*found, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["MODEL.DETR.NUM_QUERIES", 0], "NUM_QUERIES is 0"),
        (["MODEL.DETR.HIDDEN_DIM", 30], "HIDDEN_DIM"),
        (["MODEL.DETR.IN_FEATURES", ["res9"]], "IN_FEATURES"),
        (["MODEL.DETR.CLASS_LOGITS", [0, 4]], "0 to NUM_CLASSES - 1"),
        (["MODEL.DETR.CLASS_LOGITS", [["x"]]], "0 to NUM_CLASSES - 1"),
        (["MODEL.DETR.PANOPTIC.ENABLED", True], "set MODEL.MASK_ON True"),
        (["MODEL.DETR.FREEZE_DETECTOR", True], "set MODEL.MASK_ON True"),
        (["MODEL.MASK_ON", True, "MODEL.DETR.IN_FEATURES", ["res5"]], "name 2 or more"),
    ],
)
def test_bad_configs(overrides, message):
    with pytest.raises(UserError, match=message):
        build(*overrides)


def test_class_beyond_the_model():
    batch = [make_image()]
    batch[0]["instances"].gt_classes = torch.tensor([0, 4])
    with pytest.raises(UserError, match="raise MODEL.DETR.NUM_CLASSES"):
        losses_of(build(), batch)
