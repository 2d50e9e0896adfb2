"""RestorationMapper: patches of a batch's task, whole degraded images, pairs, colour modes, slips."""

import itertools
import shutil

import numpy as np
import pytest
import torch
from d2video.projects.ipt.corruption import add_noise, downscale
from d2video.projects.ipt.restoration_mapper import RestorationMapper
from d2video.projects.ipt.tasks import parse_tasks
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils.env import seed_all_rng
from PIL import Image

from d2video.config import get_cfg
from d2video.data import (
    build_test_loader,
    build_train_loader,
    register_image_folder,
    register_image_pairs,
)
from d2video.projects import register_all
from d2video.utils.errors import BrokenFile, UserError

register_all()

TASKS = parse_tasks(["sr_x2", "sr_x3", "denoise_30", "derain", ["own", {"scale": 2}]])
MADE = ["sr_x2", "sr_x3", "denoise_30", "derain"]
P = 8


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


@pytest.fixture
def path(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "image.png")
    return str(tmp_path / "image.png")


def mapper(is_train=True, **arguments):
    defaults = {"tasks": TASKS, "patch_size": P}
    if is_train:
        defaults["train_tasks"] = MADE
    return RestorationMapper(is_train, **(defaults | arguments))


def record(path, **more):
    return {"file_name": path, "image_id": 3, "batch_number": 0, **more}


def windows(image, side):
    return np.lib.stride_tricks.sliding_window_view(image, (side, side), (0, 1))


def is_cut_of(target, image):
    """Whether (3,p,p) is a part of the image (H,W,3)."""
    return bool((windows(image, target.shape[1]) == target.numpy()).all((2, 3, 4)).any())


@pytest.mark.parametrize("task", MADE)
def test_patches(path, pixels, task):
    seed_all_rng(1)
    one = mapper(train_tasks=[task])(record(path))
    scale = {"sr_x2": 2, "sr_x3": 3}.get(task, 1)
    image, target = one["image"], one["target"]
    assert (image.dtype, target.dtype) == (torch.float32, torch.uint8)
    assert image.shape == (3, P, P)
    assert target.shape == (3, P * scale, P * scale)
    assert is_cut_of(target, pixels)
    assert (one["task"], one["file_name"], one["image_id"]) == (task, path, 3)
    if scale > 1:
        assert torch.equal(image, downscale(target.float(), scale))
    change = image - target.float() if scale == 1 else torch.ones(1)
    assert change.abs().max() > 0
    if task == "derain":
        assert (change >= 0).all()


def test_draws_differ_from_sample_to_sample_and_follow_the_seed(path):
    def draw():
        seed_all_rng(7)
        return [mapper(train_tasks=["denoise_30"])(record(path)) for _ in range(3)]

    first, second = draw(), draw()
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0]["target"], first[1]["target"])


def test_task_depends_on_seed_and_batch_number_alone(path):
    def drawn(count=300, **arguments):
        build = mapper(**arguments)
        return [build.batch_task(record(path, batch_number=k)).name for k in range(count)]

    assert drawn() == drawn()
    seed_all_rng(1)
    assert drawn(50) == drawn()[:50]
    assert drawn(task_seed=1) != drawn()
    counts = [drawn().count(name) for name in MADE]
    assert min(counts) > 50  # of 75 expected, deviation 7.5
    weighted = drawn(train_tasks=["derain", "sr_x2"], task_weights=[1, 9])
    assert 15 <= weighted.count("derain") <= 50
    assert set(weighted) == {"derain", "sr_x2"}


def test_small_images_are_enlarged_for_training(tmp_path):
    ramp = np.tile(np.linspace(0, 250, 10).astype(np.uint8)[None, :, None], (6, 1, 3))
    Image.fromarray(ramp).save(tmp_path / "small.png")
    one = mapper(train_tasks=["sr_x2"])(record(str(tmp_path / "small.png")))
    assert one["target"].shape == (3, 16, 16)
    steps = one["target"][0, 0].int().diff()
    assert (steps >= 0).all()
    assert steps.max() < 20  # bilinear: the steps of 28 are spread


def test_flips_and_turns(path, pixels):
    seed_all_rng(0)
    build = mapper(train_tasks=["sr_x2"], flip_and_turn=True)
    views = [(k, flip) for k in range(4) for flip in (False, True)]
    images = [np.rot90(pixels[:, ::-1] if flip else pixels, k) for k, flip in views]
    seen = set()
    for _ in range(40):
        target = build(record(path))["target"]
        (view,) = (k for k, image in enumerate(images) if is_cut_of(target, image))
        seen.add(view)
    assert seen == set(range(8))


def pair(tmp_path, pixels, size=(20, 25)):
    """The degraded image is the clean one, every other pixel."""
    small = np.ascontiguousarray(pixels[::2, ::2][: size[0], : size[1]])
    Image.fromarray(small).save(tmp_path / "small.png")
    return {"degraded_file_name": str(tmp_path / "small.png"), "task": "own"}


@pytest.mark.parametrize("flip_and_turn", [False, True])
def test_pairs_are_cut_and_turned_together(tmp_path, path, pixels, flip_and_turn):
    pixels = np.repeat(np.repeat(pixels[::2, ::2], 2, 0), 2, 1)
    Image.fromarray(pixels).save(path)
    build = mapper(train_tasks=["own"], flip_and_turn=flip_and_turn)
    for _ in range(10):
        one = build(record(path, **pair(tmp_path, pixels)))
        assert one["image"].shape == (3, P, P)
        assert torch.equal(one["image"], one["target"][:, ::2, ::2].float())


def test_pair_for_testing(tmp_path, path, pixels):
    # One pixel more than twice the small image.
    Image.fromarray(pixels[:39, :49]).save(path)
    degraded = pair(tmp_path, pixels, (19, 24))
    one = mapper(False)(record(path, **degraded))
    assert np.array_equal(one["target"].numpy().transpose(1, 2, 0), pixels[:38, :48])
    assert np.array_equal(one["image"].numpy().transpose(1, 2, 0), pixels[:38:2, :48:2])
    Image.fromarray(pixels).save(path)
    with pytest.raises(UserError, match=r"image\.png \(40x50\) and .*small\.png \(19x24"):
        mapper(False)(record(path, **degraded))


def test_whole_images_of_test_tasks(path, pixels):
    clean = torch.from_numpy(pixels).permute(2, 0, 1)
    one = mapper(False)(record(path, task="sr_x3"))
    assert torch.equal(one["target"], clean[:, :39, :48])
    assert torch.equal(one["image"], downscale(clean[:, :39, :48].float(), 3))
    noisy = mapper(False, clamp_noise=False)(record(path, task="denoise_30"))
    error = noisy["image"] - clean
    assert abs(error.std().item() - 30) < 1  # of 6000 values: deviation 0.27
    assert noisy["image"].min() < 0
    clamped = mapper(False)(record(path, task="denoise_30"))
    assert torch.equal(clamped["image"], noisy["image"].clamp(0, 255))


def test_noise_of_tests_depends_on_file_name_and_sigma_alone(tmp_path, path):
    build = mapper(False, tasks=parse_tasks(["denoise_30", "denoise_50"]), clamp_noise=False)

    def noise(name, sigma):
        one = build(record(str(name), task=f"denoise_{sigma}"))
        return (one["image"] - one["target"]) / sigma

    first = noise(path, 30)
    seed_all_rng(5)
    assert torch.equal(noise(path, 30), first)
    (tmp_path / "moved").mkdir()
    shutil.copy(path, tmp_path / "moved/image.png")
    assert torch.equal(noise(tmp_path / "moved/image.png", 30), first)
    shutil.copy(path, tmp_path / "other.png")
    assert (noise(tmp_path / "other.png", 30) - first).abs().mean() > 0.5
    assert (noise(path, 50) - first).abs().mean() > 0.5


def test_unseen_noise_is_restored_by_another_task(path):
    build = mapper(False, restore_as={"denoise_70": "denoise_30"})
    one = build(record(path, task="denoise_70"))
    assert (one["task"], one["measured_as"]) == ("denoise_30", "denoise_70")
    assert (one["image"] - one["target"]).abs().mean() > 30
    with pytest.raises(UserError, match="the model has no task 'denoise_70'"):
        mapper(False)(record(path, task="denoise_70"))
    with pytest.raises(UserError, match="different scales"):
        mapper(False, restore_as={"sr_x4": "sr_x2"})(record(path, task="sr_x4"))


def test_streak_images(tmp_path, path):
    (tmp_path / "streaks").mkdir()
    Image.fromarray(np.full((5, 6), 77, np.uint8)).save(tmp_path / "streaks/rainstreak-1.png")
    build = mapper(train_tasks=["derain"], streak_folder=str(tmp_path / "streaks"))
    one = build(record(path))
    assert torch.equal(one["image"], (one["target"].float() + 77).clamp(max=255))
    with pytest.raises(UserError, match="STREAK_FOLDER .* does not exist"):
        mapper(streak_folder=str(tmp_path / "none"))


def colour_modes():
    grey = np.random.default_rng(1).integers(0, 256, (20, 20), dtype=np.uint8)
    wide = Image.fromarray(grey.astype(np.uint16) * 256 + 200)
    yield "grey", Image.fromarray(grey), grey
    yield "16-bit", wide, grey
    yield "alpha", Image.fromarray(np.dstack([grey] * 3 + [grey // 2])), grey
    yield "palette", Image.fromarray(grey).convert("P"), grey


@pytest.mark.parametrize(("name", "image", "grey"), colour_modes(), ids=lambda v: str(v)[:8])
def test_colour_modes(tmp_path, name, image, grey):
    image.save(tmp_path / "image.png")
    one = mapper(False)(record(str(tmp_path / "image.png"), task="derain"))
    assert np.array_equal(one["target"].numpy(), np.stack([grey] * 3))


def test_task_of_images_without_one(path):
    assert mapper(False, test_task="derain")(record(path))["task"] == "derain"
    assert mapper(False, tasks=parse_tasks(["sr_x2"]))(record(path))["task"] == "sr_x2"
    with pytest.raises(UserError, match="TEST_TASK"):
        mapper(False)(record(path))


def test_bad_input(tmp_path, path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nxx")
    cases = [
        ({"file_name": str(tmp_path / "broken.png")}, "cannot read image"),
        ({"file_name": str(tmp_path / "none.png")}, "does not exist"),
        ({"task": "sr_x3"}, "is of a dataset only for task sr_x3"),
    ]
    for change, message in cases:
        with pytest.raises(UserError, match=message):
            mapper(train_tasks=["sr_x2"])(record(path) | change)
    with pytest.raises(UserError, match="not known: use pairs"):
        mapper(train_tasks=["own"])(record(path))
    with pytest.raises(UserError, match="know the batch"):
        mapper()({"file_name": path, "image_id": 1})
    with pytest.raises(UserError, match="holds videos"):
        mapper()({"file_name": path, "video_id": 1})
    Image.new("RGB", (2, 2)).save(tmp_path / "dot.png")
    with pytest.raises(UserError, match="smaller than the scale"):
        mapper(False)(record(str(tmp_path / "dot.png"), task="sr_x3"))
    small = pair(tmp_path, np.zeros((12, 12, 3), np.uint8))
    Image.new("RGB", (12, 12)).save(path)
    with pytest.raises(UserError, match="smaller than a patch"):
        mapper(train_tasks=["own"])(record(path, **small))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train_tasks": ["sr_x8"]}, "has no task 'sr_x8'"),
        ({"task_weights": [1, 2]}, "each of the 4 tasks"),
        ({"task_weights": [1, 2, 3, 0]}, "positive number"),
        ({"task_weights": ["a", "b"]}, r"TASK_WEIGHTS is \['a', 'b'\]: give a positive number"),
        ({"task_weights": [1, 2, 3, [4]]}, "positive number"),
        (
            {"is_train": False, "test_task": "sr_x8"},
            "TEST_TASK, or else MODEL.IPT.TASK, is 'sr_x8': set one of sr_x2, sr_x3",
        ),
        ({"patch_size": 0}, "PATCH_SIZE"),
        ({"restore_as": {"denoise_70": "denoise_60"}}, "no task 'denoise_60'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(UserError, match=message):
        mapper(**arguments)


@pytest.fixture
def cfg(tmp_path, pixels):
    catalogs = (DatasetCatalog, MetadataCatalog)
    before = [dict(catalog) for catalog in catalogs]
    (tmp_path / "set").mkdir()
    for k in range(5):
        Image.fromarray(np.roll(pixels, k, 0)).save(tmp_path / f"set/{k}.png")
    register_image_folder("plain", str(tmp_path / "set"))
    register_image_folder("noisy", str(tmp_path / "set"), task="denoise_30")
    register_image_pairs("pairs", str(tmp_path / "set"), str(tmp_path / "set"), "derain")
    cfg = get_cfg()
    cfg.INPUT.DATASET_MAPPER = "RestorationMapper"
    cfg.INPUT.FORMAT = "RGB"
    cfg.MODEL.IPT.TASKS = MADE
    cfg.MODEL.IPT.PATCH_SIZE = P
    cfg.DATASETS.TRAIN = ("plain",)
    cfg.SOLVER.IMS_PER_BATCH = 3
    cfg.DATALOADER.NUM_WORKERS = 0
    yield cfg
    for catalog, entries in zip(catalogs, before, strict=True):
        catalog.data = entries


def batch_tasks(cfg, count, skipped=0):
    loader = build_train_loader(cfg)
    loader.loader.skip(skipped)
    batches = list(itertools.islice(loader, count))
    assert all(len(batch) == 3 for batch in batches)
    per_batch = [{sample["task"] for sample in batch} for batch in batches]
    assert all(len(tasks) == 1 for tasks in per_batch)
    return [tasks.pop() for tasks in per_batch]


def test_training_loader_gives_one_task_a_batch(cfg):
    assert build_train_loader(cfg).loader.epoch_length == 5
    tasks = batch_tasks(cfg, 12)
    assert set(tasks) == set(MADE)
    assert batch_tasks(cfg, 5, skipped=4) == tasks[4:9]


def test_workers_agree_on_the_task(cfg):
    tasks = batch_tasks(cfg, 6)
    cfg.DATALOADER.NUM_WORKERS = 2
    assert batch_tasks(cfg, 6) == tasks


def test_a_broken_image_is_replaced_in_training_alone(cfg):
    broken = DatasetCatalog.get("plain")[2]["file_name"]
    with open(broken, "r+b") as file:
        file.truncate(60)
    batches = itertools.islice(build_train_loader(cfg), 8)
    assert broken not in {sample["file_name"] for batch in batches for sample in batch}
    with pytest.raises(BrokenFile, match="cannot read image"):
        mapper(False)(record(broken, task="denoise_30"))
    cfg.DATALOADER.MAX_RETRIES = 0
    with pytest.raises(BrokenFile, match="cannot read image"):
        list(itertools.islice(build_train_loader(cfg), 8))


def test_loaders_of_sets_with_a_task(cfg):
    (first, *rest) = build_test_loader(cfg, "noisy")
    assert len(rest) == 4
    assert (first[0]["task"], first[0]["measured_as"]) == ("denoise_30", "denoise_30")
    cfg.DATASETS.TRAIN = ("pairs",)
    cfg.INPUT.RESTORATION.TRAIN_TASKS = ["derain"]
    assert batch_tasks(cfg, 3) == ["derain"] * 3


def test_slips_of_tasks_are_told_with_the_loaders(cfg, tmp_path):
    """Not when a batch is first drawn, nor at the first evaluation."""
    folder = str(tmp_path / "set")
    register_image_folder("strong", folder, task="denoise_70")
    register_image_folder("large", folder, task="sr_x4")
    register_image_folder("blurred", folder, task="own")
    for name, message in (
        ("strong", r'RESTORE_AS \'\[\["denoise_70", "denoise_30"\]\]\', leave the dataset out of'),
        (
            "large",
            "it has sr_x2, sr_x3, denoise_30, derain: leave the dataset out of DATASETS.TEST",
        ),
        ("plain", "set INPUT.RESTORATION.TEST_TASK"),
    ):
        with pytest.raises(UserError, match=rf"dataset {name}: image .*set/0\.png.*{message}"):
            build_test_loader(cfg, name)
    cfg.INPUT.RESTORATION.RESTORE_AS = [["denoise_70", "denoise_30"]]
    assert len(build_test_loader(cfg, "strong")) == 5
    cfg.INPUT.RESTORATION.TEST_TASK = "denoise_50"
    with pytest.raises(UserError, match="TEST_TASK, .* is 'denoise_50'"):
        build_test_loader(cfg, "plain")

    cfg.INPUT.RESTORATION.TEST_TASK, cfg.INPUT.RESTORATION.RESTORE_AS = "", []
    cfg.DATASETS.TRAIN = ("plain", "noisy")
    with pytest.raises(UserError, match="dataset noisy: .* only for task denoise_30"):
        build_train_loader(cfg)
    cfg.INPUT.RESTORATION.TRAIN_TASKS = ["denoise_30"]
    build_train_loader(cfg)
    cfg.MODEL.IPT.TASKS, cfg.INPUT.RESTORATION.TRAIN_TASKS = ["derain", "denoise_30"], []
    with pytest.raises(UserError, match=r'"denoise_70", "denoise_30"'):  # not by derain
        build_test_loader(cfg, "strong")
    cfg.MODEL.IPT.TASKS = ["own"]
    cfg.DATASETS.TRAIN = ("plain",)
    with pytest.raises(UserError, match="dataset plain: .* not known: use pairs"):
        build_train_loader(cfg)
    with pytest.raises(UserError, match="dataset blurred: .* not known: use pairs"):
        build_test_loader(cfg, "blurred")


@pytest.mark.parametrize("pairs", [[["denoise_70"]], [3]])
def test_config_slips(pairs, cfg):
    cfg.DATALOADER.SAMPLER_TRAIN = "RepeatFactorTrainingSampler"
    with pytest.raises(UserError, match="choose TrainingSampler"):
        build_train_loader(cfg)
    cfg.INPUT.RESTORATION.RESTORE_AS = pairs
    with pytest.raises(UserError, match="give pairs"):
        build_test_loader(cfg, "noisy")
    cfg.INPUT.FORMAT = "BGR"
    with pytest.raises(UserError, match="gives only RGB"):
        build_test_loader(cfg, "noisy")


def test_noise_is_drawn_for_every_channel(path):
    one = mapper(False, clamp_noise=False)(record(path, task="denoise_30"))
    noise = one["image"] - one["target"]
    assert not torch.equal(noise[0], noise[1])
    flat = torch.full((3, 50, 50), 100.0)
    assert abs(add_noise(flat, 10, np.random.default_rng(0)).std().item() - 10) < 0.3
