import itertools
from collections import Counter

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils.env import seed_all_rng

from d2video.config import get_cfg
from d2video.data import (
    FrameSequence,
    build_test_loader,
    build_train_loader,
    register_ytvis_instances,
)
from d2video.data.build import clips_of
from d2video.data.clip_dataset import ClipDataset
from d2video.data.loading import load_records
from d2video.utils.errors import UserError
from tests.helpers.ytvis_content import LENGTH


@pytest.fixture
def cfg(ytvis_content, write_json, image_root, scratch_catalog):
    """Training on "tiny": video 7 has objects, video 3 has none."""
    register_ytvis_instances("tiny", {}, write_json(ytvis_content), str(image_root))
    cfg = get_cfg()
    cfg.DATASETS.TRAIN = ("tiny",)
    cfg.INPUT.DATASET_MAPPER = "ClipDatasetMapper"
    cfg.INPUT.FORMAT = "RGB"
    cfg.INPUT.CLIP.NUM_FRAMES = 2
    cfg.SOLVER.IMS_PER_BATCH = 2
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = False
    return cfg


def samples(cfg, number):
    stream = itertools.chain.from_iterable(build_train_loader(cfg))
    return list(itertools.islice(stream, number))


def keys(batch_samples):
    """(video, key frame); the window of two frames ends at the key frame."""
    return [(s["video_id"], s["frame_indices"][-1]) for s in batch_samples]


def second_dataset(cfg, ytvis_content, write_json, image_root, **changes):
    # `write_json` writes one file: read the first dataset before the second replaces it.
    first = DatasetCatalog.get("tiny")
    DatasetCatalog.remove("tiny")
    DatasetCatalog.register("tiny", lambda: first)
    content = {**ytvis_content, **changes}
    for video in content["videos"]:
        video["id"] += 100
    for track in content["annotations"]:
        track["video_id"] += 100
    register_ytvis_instances("other", {}, write_json(content), str(image_root))
    cfg.DATASETS.TRAIN = ("tiny", "other")


def test_epoch_visits_every_frame_once(cfg):
    assert build_train_loader(cfg).loader.epoch_length == 2 * LENGTH
    seen = Counter(keys(samples(cfg, 2 * LENGTH)))
    assert seen == Counter(itertools.product((7, 3), range(LENGTH)))


def test_epoch_visits_every_video_once_with_random_key_frames(cfg):
    cfg.INPUT.EPOCH_UNIT = "video"
    assert build_train_loader(cfg).loader.epoch_length == 2
    seen = keys(samples(cfg, 40))
    assert Counter(video for video, _ in seen) == {7: 20, 3: 20}
    assert {frame for _, frame in seen} == set(range(LENGTH))


def test_videos_without_objects_are_filtered(cfg, ytvis_content):
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = True
    assert build_train_loader(cfg).loader.epoch_length == LENGTH
    assert {video for video, _ in keys(samples(cfg, 12))} == {7}


def test_video_with_crowds_only_counts_as_empty(cfg, ytvis_content, write_json):
    other = {**ytvis_content["annotations"][0], "id": 99, "video_id": 3}
    for track in ytvis_content["annotations"]:
        track["iscrowd"] = 1
    ytvis_content["annotations"].append(other)
    write_json(ytvis_content)
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = True
    assert {video for video, _ in keys(samples(cfg, 2 * LENGTH))} == {3}


def test_all_training_datasets_are_used(cfg, ytvis_content, image_root, write_json):
    second_dataset(cfg, ytvis_content, write_json, image_root)
    assert build_train_loader(cfg).loader.epoch_length == 4 * LENGTH
    assert {video for video, _ in keys(samples(cfg, 4 * LENGTH))} == {7, 3, 107, 103}


def test_datasets_of_different_classes_are_refused(cfg, ytvis_content, write_json, image_root):
    categories = [{"id": 9, "name": "nine"}, {"id": 4, "name": "vier"}]
    second_dataset(cfg, ytvis_content, write_json, image_root, categories=categories)
    with pytest.raises(
        UserError, match=r"other has annotations of 'vier', which dataset tiny does"
    ):
        build_train_loader(cfg)


def test_batches_are_full(cfg):
    cfg.SOLVER.IMS_PER_BATCH = 3  # does not divide the epoch of 10
    for grouping in (False, True):
        cfg.DATALOADER.ASPECT_RATIO_GROUPING = grouping
        batches = list(itertools.islice(build_train_loader(cfg), 5))
        assert [len(batch) for batch in batches] == [3] * 5


def worker_draws(cfg, seed):
    """What two workers draw for the one video: (key frame, ...) of 12 samples."""
    seed_all_rng(seed)
    return keys(samples(cfg, 12))


def test_workers_draw_differently_and_reproducibly(cfg):
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = True
    cfg.INPUT.EPOCH_UNIT = "video"
    cfg.SOLVER.IMS_PER_BATCH = 1
    cfg.DATALOADER.NUM_WORKERS = 2
    drawn = worker_draws(cfg, 5)
    assert drawn == worker_draws(cfg, 5)
    assert drawn != worker_draws(cfg, 6)
    # Batches alternate between the workers.
    assert drawn[0::2] != drawn[1::2]


def test_error_in_a_worker_stays_one_line(cfg, image_root):
    for path in image_root.glob("*/*.png"):
        path.unlink()
    cfg.DATALOADER.NUM_WORKERS = 1
    with pytest.raises(UserError, match=r"^11 samples .*png does not exist") as caught:
        samples(cfg, 1)
    assert "\n" not in str(caught.value)


def test_rare_categories_are_repeated(cfg):
    # The only classes, "four" and "nine", are in one of two videos: frequency 1/2.
    cfg.DATALOADER.SAMPLER_TRAIN = "RepeatFactorTrainingSampler"
    cfg.DATALOADER.REPEAT_THRESHOLD = 8.0
    # sqrt(8 / 0.5) = 4 times as often as the empty video.
    seen = Counter(video for video, _ in keys(samples(cfg, 5 * LENGTH)))
    assert seen == {7: 4 * LENGTH, 3: LENGTH}


def test_random_subset(cfg):
    cfg.DATALOADER.SAMPLER_TRAIN = "RandomSubsetTrainingSampler"
    cfg.DATALOADER.RANDOM_SUBSET_RATIO = 0.3
    assert len(set(keys(samples(cfg, 30)))) == 3


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("DATASETS.TRAIN", ("tinny",), "'tinny' is not registered: did you mean tiny"),
        ("DATASETS.TRAIN", ("nowhere",), "'nowhere' is not registered: correct the name"),
        ("DATASETS.TRAIN", (), "DATASETS.TRAIN is empty"),
        ("DATALOADER.SAMPLER_TRAIN", "Sorted", "SAMPLER_TRAIN is 'Sorted': choose one of"),
        ("INPUT.DATASET_MAPPER", "Paper", "DATASET_MAPPER is 'Paper'.*ClipDatasetMapper"),
        ("INPUT.EPOCH_UNIT", "clip", "EPOCH_UNIT is 'clip': choose frame or video"),
        ("SOLVER.IMS_PER_BATCH", 0, "IMS_PER_BATCH is 0"),
    ],
)
def test_faulty_config(cfg, key, value, message):
    cfg.merge_from_list([key, value])
    with pytest.raises(UserError, match=message):
        build_train_loader(cfg)


def test_a_mapper_of_images(cfg):
    """It trains on the frames of videos, but is not tested on them."""
    cfg.INPUT.DATASET_MAPPER = "DatasetMapper"
    build_train_loader(cfg)
    with pytest.raises(UserError, match="tiny holds videos.*ClipDatasetMapper"):
        build_test_loader(cfg, "tiny")


def test_training_on_an_unlabelled_dataset(cfg, ytvis_content, write_json):
    ytvis_content["annotations"] = None
    write_json(ytvis_content)
    with pytest.raises(UserError, match="dataset tiny has no labels"):
        build_train_loader(cfg)


def test_testing_visits_every_video_once_in_order(cfg, ytvis_content, write_json):
    ytvis_content["annotations"] = None
    write_json(ytvis_content)
    for workers in (0, 2):
        cfg.DATALOADER.NUM_WORKERS = workers
        batches = list(build_test_loader(cfg, "tiny"))
        assert [[video["video_id"] for video in batch] for batch in batches] == [[7], [3]]
        frames = batches[0][0]["image"]
        assert isinstance(frames, FrameSequence)
        assert sum(1 for _ in frames) == LENGTH
    with pytest.raises(UserError, match="'nowhere' is not registered"):
        build_test_loader(cfg, "nowhere")


def test_clip_dataset_maps_indices_to_key_frames():
    records = [{"video_id": i, "length": n} for i, n in enumerate((3, 1, 2))]
    dataset = ClipDataset(records, "frame")
    got = [(dataset[i]["video_id"], dataset[i]["key_frame"]) for i in range(len(dataset))]
    assert got == [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (2, 1)]
    assert [ClipDataset(records, "video")[i] for i in range(3)] == records


def test_a_generated_set_that_is_not_there_names_its_command(tmp_path, scratch_catalog):
    register_ytvis_instances("made", {}, str(tmp_path / "made" / "train.json"), str(tmp_path))
    command = "d2video make-shapes made --format ytvis"
    MetadataCatalog.get("made").generator = (str(tmp_path / "made"), command)
    with pytest.raises(UserError, match=f"made is not there: make it with {command}"):
        load_records("made")
    (tmp_path / "made").mkdir()  # it is there, and something else is missing
    with pytest.raises(UserError, match=r"train\.json does not exist"):
        load_records("made")


def test_the_commands_of_the_generated_sets():
    from d2video.cli.make_shapes import parse_args
    from d2video.synthetic import FORMATS

    named = set()
    for name in DatasetCatalog:
        folder, command = MetadataCatalog.get(name).get("generator", ("", ""))
        if folder:
            args = parse_args(command.split()[2:])
            assert args.root == folder
            named.add(args.format)
    assert named == {*FORMATS} - {"coco"}  # panoptic writes the instances as well


def test_classes_of_unknown_names(cfg, scratch_catalog, caplog):
    """Numbers stay what they are, where there is nothing to compare them with."""
    records = DatasetCatalog.get("tiny")
    for name in ("unnamed", "unnamed_too"):
        DatasetCatalog.register(name, lambda: records)
    cfg.DATASETS.TRAIN = ("unnamed", "unnamed_too")
    clips = clips_of(build_train_loader(cfg))
    assert clips.class_names is None
    clips.match_classes(["a"], "checkpoint x", "")
    assert "their numbers are taken for those of checkpoint x" in caplog.text
    assert clips[0]["annotations"] == records[0]["annotations"]
    cfg.DATASETS.TRAIN = ("tiny", "unnamed")
    with pytest.raises(UserError, match="names of the classes of dataset unnamed are not known"):
        build_train_loader(cfg)


def test_names_that_are_numbers(cfg):
    MetadataCatalog.get("numbered").set(thing_classes=(4, 9))
    records = DatasetCatalog.get("tiny")
    DatasetCatalog.register("numbered", lambda: records)
    cfg.DATASETS.TRAIN = ("numbered",)
    assert clips_of(build_train_loader(cfg)).class_names == ["4", "9"]


@pytest.mark.parametrize("name", ["shapes_train", "shapes_panoptic_val", "shapes_mots_train"])
def test_built_in_generated_sets_name_their_command(name):
    folder, command = MetadataCatalog.get(name).generator
    assert f"d2video make-shapes {folder} --format " in command
