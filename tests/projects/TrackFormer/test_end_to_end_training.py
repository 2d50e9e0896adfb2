"""From generated sequences to metrics and pictures with the command-line tools, in one process and in
two."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.engine import create_ddp_model
from detectron2.modeling import build_model
from detectron2.utils import comm

from d2video.formats.mot_results import read_mot_results
from d2video.synthetic import ShapesSpec, write_mot_shapes
from d2video.video.video_reader import open_video
from tests.helpers.fresh_process import run_fresh, run_in_group
from tests.projects.TrackFormer.tiny import (
    DETR,
    MASKS,
    MULTI_FRAME,
    NODE,
    SMALL,
    build,
    losses_of,
    make_pair,
    tiny_cfg,
)

CONFIG = "configs/TrackFormer/trackformer_tiny_shapes.yaml"
# One class, and scores so low that untrained models track something.
EVALUATED = [
    *(f"{NODE}.NUM_CLASSES", 1),
    *(f"{NODE}.TRACKED_CLASSES", [0]),
    *(f"{NODE}.TRACKER.TRACK_NMS_THRESH", 0.7),
]
# No draws: the same samples whatever process they are in.
UNDRAWN = [
    *(f"{NODE}.FALSE_NEGATIVE_PROB", 0.0),
    *(f"{NODE}.FALSE_POSITIVE_PROB", 0.0),
]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Data sets of a few frames; half of those to train on show nothing."""
    root = tmp_path_factory.mktemp("datasets")
    spec = ShapesSpec(height=48, width=64, num_frames=(4, 5), min_objects=2, max_objects=4)
    for name, masks in (("shapes_mot", False), ("shapes_mots", True)):
        splits = {"train": 2, "val": 3}
        write_mot_shapes(root / name, splits, spec, masks=masks, progress=False)
        (root / name / "train" / "train-0002" / "gt" / "gt.txt").write_text("")
    return root


def run_tool(data, tool: str, *arguments) -> str:
    """What the tool prints; it has to succeed."""
    return run(data, f"tools/{tool}", *arguments)


def run(data, *words) -> str:
    """What a program prints; it has to succeed."""
    done = run_fresh(*words, environment={"DETECTRON2_DATASETS": str(data)})
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def options(folder, *overrides) -> list:
    return [
        *SMALL,
        *("DATASETS.TRAIN", ["shapes_mot_train"]),
        *("DATASETS.TEST", ["shapes_mot_val"]),
        *("DATALOADER.FILTER_EMPTY_ANNOTATIONS", False),
        *("SOLVER.IMS_PER_BATCH", 4),
        *("SEED", 3),
        *("OUTPUT_DIR", folder),
        *EVALUATED,
        *overrides,
    ]


def metrics(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]


def answers(folder, data_set: str = "shapes_mot_val") -> dict[str, str]:
    """The files of an evaluation and what they hold."""
    files = (folder / "inference" / data_set).iterdir()
    return {file.name: file.read_text() for file in files}


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A folder with the first model and what two processes made of it.

    Plain SGD, see tests/engine/test_train_net.py. A frame is its own previous frame, since which
    frame is another one's is drawn in each process.
    """
    folder = tmp_path_factory.mktemp("training")
    fixed = [
        *MULTI_FRAME,
        *UNDRAWN,
        *(f"{NODE}.PREV_FRAME_RANGE", 0),
        *(f"{NODE}.PREV_FRAME_JITTER", 0.0),
        *("INPUT.AUGMENTATIONS", []),
        *("SOLVER.OPTIMIZER", "SGD"),
        *("SOLVER.BASE_LR", 0.002),
        *("SOLVER.LR_SCHEDULER_NAME", "WarmupMultiStepLR"),
        *("SOLVER.WARMUP_ITERS", 0),
        *("SOLVER.CLIP_GRADIENTS.ENABLED", False),
        *("SOLVER.MAX_ITER", 3),
        *("MODEL.WEIGHTS", folder / "start.pth"),
    ]
    torch.save({"model": build("multi_frame", *EVALUATED).state_dict()}, folder / "start.pth")
    pair = ["--num-gpus", 2, "--dist-url", "auto"]
    arguments = ["--config-file", CONFIG, *pair, *options(folder / "two", *fixed)]
    run_tool(data, "train_net.py", *arguments)
    return folder, fixed


def test_two_processes_train_like_one(data, trained):
    folder, fixed = trained
    arguments = options(folder / "one", *fixed, "DATASETS.TEST", [])
    run_tool(data, "train_net.py", "--config-file", CONFIG, *arguments)
    one, two, initial = (
        torch.load(folder / name, weights_only=True)["model"]
        for name in ("one/model_final.pth", "two/model_final.pth", "start.pth")
    )
    losses = [
        [line["total_loss"] for line in metrics(folder / name) if "total_loss" in line][-1]
        for name in ("one", "two")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    for part in ("backbone", "input_proj", "transformer", "class_embed", "bbox_embed"):
        names = [name for name in initial if name.startswith(f"network.{part}.")]
        moved = max((one[name] - initial[name]).abs().max().item() for name in names)
        apart = max((one[name] - two[name]).abs().max().item() for name in names)
        assert moved > 1e-5, part
        assert apart < 0.02 * moved, part


def test_one_process_evaluates_like_two(data, trained):
    """Three sequences do not share evenly."""
    folder, fixed = trained
    weights = ["MODEL.WEIGHTS", folder / "two" / "model_final.pth"]
    arguments = ["--eval-only", *options(folder / "alone", *fixed, *weights)]
    told = run_tool(data, "train_net.py", "--config-file", CONFIG, *arguments)
    assert "| COMBINED" in told
    found = answers(folder / "alone")
    assert found.keys() == {"val-0001.txt", "val-0002.txt", "val-0003.txt", "results.json"}
    assert all(found.values())
    assert found == answers(folder / "two")
    scored = metrics(folder / "two")[-1]
    assert scored["mot/FP"] > 0
    assert 0 <= scored["mot/HOTA"] <= 100


def test_training_resumes(data, trained, tmp_path):
    """With random draws, jitter, and AdamW, in two processes of unequal batches."""
    learning = [*MULTI_FRAME, "SOLVER.IMS_PER_BATCH", 2]
    pair = ["--config-file", CONFIG, "--num-gpus", 2, "--dist-url", "auto"]
    some = options(tmp_path, *learning, "SOLVER.MAX_ITER", 2, "DATASETS.TEST", [])
    run_tool(data, "train_net.py", *pair, *some)
    more = options(tmp_path, *learning, "SOLVER.MAX_ITER", 5)
    told = run_tool(data, "train_net.py", *pair, "--resume", *more)
    assert "Starting training from iteration 2" in told
    lines = metrics(tmp_path)
    trained_on = [line for line in lines if "total_loss" in line]
    assert trained_on[-1]["iteration"] == 4
    assert np.isfinite(trained_on[-1]["total_loss"])
    assert "mot/HOTA" in lines[-1]


def test_masks(data, tmp_path):
    """Vanilla DETR with masks: MOTS metrics, and files that the other tool accepts."""
    sets = ["DATASETS.TRAIN", ["shapes_mots_train"], "DATASETS.TEST", ["shapes_mots_val"]]
    arguments = options(tmp_path, *DETR, *MASKS, *sets, "SOLVER.MAX_ITER", 1)
    run_tool(data, "train_net.py", "--config-file", CONFIG, *arguments)
    (losses,) = [line for line in metrics(tmp_path) if "total_loss" in line]
    assert {"loss_mask", "loss_dice"} <= losses.keys()
    found = answers(tmp_path, "shapes_mots_val")
    scores = json.loads(found["results.json"])
    results = tmp_path / "inference" / "shapes_mots_val"
    chosen = [results, "--data", "shapes_mots_val", "--output", tmp_path / "again"]
    told = run(data, "-m", "d2video", "evaluate", *chosen)
    masks = sum(len(found[f"val-000{k}.txt"].splitlines()) for k in (1, 2, 3))
    assert masks > 0
    assert f"is sound: {masks} masks" in told
    assert "sMOTSA" in told
    again = answers(tmp_path / "again", "shapes_mots_val")
    assert json.loads(again["results.json"]) == scores


def test_demo(data, tmp_path):
    """The picture, the MOT file and the JSON of a model with random weights tell the same."""
    torch.manual_seed(0)
    changed = [*SMALL, *MULTI_FRAME, *EVALUATED]
    torch.save(
        {"model": build_model(tiny_cfg("multi_frame", *EVALUATED)).state_dict()},
        tmp_path / "model.pth",
    )
    sequence = data / "shapes_mot" / "val" / "val-0001" / "img1"
    files = {name: tmp_path / f"tracks.{name}" for name in ("mp4", "txt", "json")}
    run_tool(
        data,
        "demo.py",
        *("--config-file", CONFIG, "--input", sequence, "--output", files["mp4"]),
        *("--mot-results", files["txt"], "--results", files["json"], "--score-threshold", 0),
        *("--opts", *changed, "MODEL.WEIGHTS", tmp_path / "model.pth"),
    )
    length = len(list(sequence.iterdir()))
    drawn = list(open_video(files["mp4"]))
    assert len(drawn) == length
    assert drawn[0].image.shape == (48, 64, 3)
    rows = read_mot_results(files["txt"], range(1, length + 1))
    frames = json.loads(files["json"].read_text())["frames"]
    assert len(frames) == length
    in_json = {
        (t, each["track_id"]) for t, frame in enumerate(frames) for each in frame["instances"]
    }
    assert in_json == set(zip((rows.frame - 1).tolist(), (rows.id - 1).tolist(), strict=True))
    # Identities live on: there are more boxes than tracks.
    assert 0 < len(set(rows.id.tolist())) < len(rows)


# ---- gradients of two processes ------------------------------------------------------------------

BATCHES = {
    "several_and_nothing": [[make_pair(seed=1)], [make_pair((), (), seed=2)]],
    "nothing_tracked": [[make_pair((0, 1, 2), (), seed=1)], [make_pair((4,), (0, 1, 4), seed=2)]],
    "one_object": [[make_pair((0,), (0,), seed=1)], [make_pair((), (), seed=2)]],
    # The canvas is the same in both processes: mask losses are means over it.
    "sizes": [
        [make_pair(height=48, width=70, seed=1), make_pair((1,), (2,), height=33, seed=2)],
        [make_pair((0, 1), (0, 1, 2, 3), height=48, seed=3), make_pair((), (0,), width=70, seed=4)],
    ],
}
MODELS = ("multi_frame", "detr_track_attention", "deformable_masks", "two_stage")


def _gradients(variant: str, batch: list[dict]) -> dict:
    """By the process group, if there is one, as VideoTrainer does it. In float64: the last bits of float32
    depend on the batch, and group norms of tiny levels make much of them."""
    model = build(variant, *UNDRAWN).double()
    wrapped = create_ddp_model(model, broadcast_buffers=False, device_ids=None)
    sum(losses_of(wrapped, batch).values()).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


def _in_two_processes(folder: str) -> None:
    torch.set_num_threads(1)
    for variant in MODELS:
        for name, batches in BATCHES.items():
            found = _gradients(variant, batches[comm.get_rank()])
            if comm.is_main_process():
                torch.save(found, Path(folder) / f"{variant}-{name}.pth")


def test_gradients_of_two_processes(tmp_path):
    """The mean of two processes' gradients is that of one with both batches: unequal numbers of
    objects and of track queries, and a process with none of either."""
    run_in_group(_in_two_processes, str(tmp_path))
    for variant in MODELS:
        for name, batches in BATCHES.items():
            expected = _gradients(variant, [*batches[0], *batches[1]])
            found = torch.load(tmp_path / f"{variant}-{name}.pth", weights_only=True)
            assert found.keys() == expected.keys()
            for key, gradient in expected.items():
                size = gradient.norm()
                assert (found[key] - gradient).norm() <= 1e-3 * size + 1e-5, (variant, name, key)
