"""Pairs of frames: which are drawn; images; testing; config and faults."""

import numpy as np
import pytest
import torch
from d2video.projects.trackformer.training.frame_pair_mapper import FramePairMapper
from detectron2.config import CfgNode
from detectron2.data import transforms as T

from d2video.config import get_cfg
from d2video.data import ClipDatasetMapper, FrameSequence, ImageDatasetMapper, build_mapper
from d2video.data.augmentation import RandomFlip, ResizeShortestEdge
from d2video.utils.errors import UserError
from tests.projects.TrackFormer.training.moving_boxes import (
    COLOURS,
    HEIGHT,
    LENGTH,
    WIDTH,
    coloured_box,
    draw,
    frame_number,
    make_mapper,
    make_record,
)


def test_offsets_are_uniform_in_both_directions(video):
    pairs = draw(make_mapper(frame_range=5), video, 10, 880)
    assert {frame_number(pair) for pair in pairs} == {10}
    offsets = [frame_number(pair["previous"][0]) - 10 for pair in pairs]
    counts = np.bincount(np.array(offsets) + 5, minlength=11)
    assert len(counts) == 11
    assert counts.min() > 50  # 80 each on average, standard deviation under 9
    assert counts.max() < 110


def test_offsets_do_not_depend_on_the_flip(video):
    """In the official code the previous frame of a flipped one is never 3 or more later."""
    mapper = make_mapper(RandomFlip(0.5), frame_range=5)
    later = {True: [], False: []}
    for pair in draw(mapper, video, 5, 600):
        # Object 5 stands at x = 24..36 in frame 5, or, flipped, at the same place: take 8, 20..34.
        flipped = coloured_box(pair["image"], COLOURS[8])[0] != 20
        later[bool(flipped)].append(frame_number(pair["previous"][0]) - 5 >= 3)
    for draws in later.values():
        assert len(draws) > 240
        assert np.mean(draws) == pytest.approx(3 / 11, abs=0.09)


class DrawLikeThePair(T.Augmentation):
    """Draws what the choice of the previous frame would, if both had the same generator."""

    def get_transform(self, image, rng):
        self.drawn = int(rng.integers(0, 10, endpoint=True)) - 5
        return T.NoOpTransform()


def test_pair_augmentations_and_jitter_have_generators_of_their_own(video):
    augmentation = DrawLikeThePair()
    mapper = make_mapper(augmentation, frame_range=5)
    jitter = mapper.jitter = DrawLikeThePair()
    drawn = []
    np.random.seed(0)
    for _ in range(300):
        pair = mapper({**video, "key_frame": 10})
        offset = frame_number(pair["previous"][0]) - 10
        drawn.append((offset, augmentation.drawn, jitter.drawn))
    for first, second in ((0, 1), (0, 2), (1, 2)):
        same = np.mean([each[first] == each[second] for each in drawn])
        assert same < 0.2  # 1/11 on average


def test_augmentations_differ_from_sample_to_sample(video, image_record):
    mapper = make_mapper(RandomFlip(0.5))
    for record in (video, image_record):
        firsts = {float(pair["image"].argmax()) for pair in draw(mapper, record, 3, 20)}
        assert len(firsts) == 2


@pytest.mark.parametrize(("key_frame", "possible"), [(1, range(5)), (LENGTH - 1, range(16, 20))])
def test_the_range_ends_with_the_sequence(video, key_frame, possible):
    pairs = draw(make_mapper(frame_range=3), video, key_frame, 100)
    assert {frame_number(pair["previous"][0]) for pair in pairs} == set(possible)


def test_third_frame_goes_on_in_the_same_direction(video):
    found = set()
    for pair in draw(make_mapper(frame_range=5, num_previous=2), video, 4, 200):
        previous, before = map(frame_number, pair["previous"])
        assert before == min(max(2 * previous - 4, 0), LENGTH - 1)
        found.add((previous, before))
    assert found == {(p, max(2 * p - 4, 0)) for p in range(10)}


def test_key_frame_is_drawn_where_none_is_given(video):
    np.random.seed(0)
    mapper = make_mapper()
    assert {frame_number(mapper(video)) for _ in range(200)} == set(range(LENGTH))


def test_draws_follow_the_global_seed(video):
    mapper = make_mapper(RandomFlip(0.5), num_previous=2, jitter=0.2)

    def digest(seed):
        np.random.seed(seed)
        pairs = [mapper(video) for _ in range(3)]
        frames = [frame for pair in pairs for frame in (pair, *pair["previous"])]
        return [(f["file_name"], f["image"].sum().item(), str(f["instances"])) for f in frames]

    assert digest(3) == digest(3)
    assert digest(3) != digest(4)


def test_previous_frame_of_an_image_is_the_image(image_record):
    pair = make_mapper(RandomFlip(0.5), num_previous=2, with_masks=True)(image_record)
    assert len(pair["previous"]) == 2
    for frame in (pair, *pair["previous"]):
        assert torch.equal(frame["image"], pair["image"])
        assert frame["instances"].gt_ids.tolist() == [0, 1]
        assert frame["instances"].gt_classes.tolist() == [1, 0]
        assert torch.equal(frame["instances"].gt_masks.tensor, pair["instances"].gt_masks.tensor)


def test_images_have_a_jitter_of_their_own(image_record, video):
    mapper = make_mapper(frame_range=0, jitter=0.0, image_jitter=0.8)
    np.random.seed(0)
    pair = mapper(video)
    assert torch.equal(pair["image"], pair["previous"][0]["image"])
    moved = lost = 0
    for _ in range(60):
        pair = mapper({**image_record, "key_frame": 0})  # as the loader hands it over
        (previous,) = pair["previous"]
        ids = previous["instances"].gt_ids.tolist()
        moved += not torch.equal(pair["image"], previous["image"])
        lost += len(ids) < 2
        for row, box in zip(ids, previous["instances"].gt_boxes.tensor, strict=True):
            visible = coloured_box(previous["image"], COLOURS[(5, 8)[row]])
            assert (visible - box).abs().max() <= 1
    assert moved > 50
    assert lost > 0  # ids say which is left


def test_crowds_of_images_are_left_out_and_their_size_may_be_unknown(image_record):
    image_record["annotations"][0]["iscrowd"] = 1
    del image_record["height"], image_record["width"]
    pair = make_mapper()(image_record)
    assert pair["instances"].gt_classes.tolist() == [0]
    assert (pair["height"], pair["width"]) == (HEIGHT, WIDTH)


def test_testing_gives_whole_videos_and_what_tracking_needs(video, image_record):
    chain = [ResizeShortestEdge(20)]
    mapper = FramePairMapper(False, augmentations=chain)
    record = {**video, "public_detections": [np.zeros((0, 5), "f4")] * LENGTH}
    output, expected = mapper(record), ClipDatasetMapper(False, augmentations=chain)(video)
    assert set(output) == {*expected, "sequence", "public_detections"}
    assert output["sequence"] == "walk"
    assert output["public_detections"] is record["public_detections"]
    assert isinstance(output["image"], FrameSequence)
    assert torch.equal(output["image"][4], expected["image"][4])
    assert output["image"][0].shape == (3, 20, 30)
    assert "public_detections" not in mapper(video)

    output = mapper(image_record)
    expected = ImageDatasetMapper(False, augmentations=chain)(image_record)
    assert torch.equal(output.pop("image"), expected.pop("image"))
    assert output == expected


@pytest.fixture
def cfg():
    cfg = get_cfg()
    cfg.INPUT.FORMAT = "RGB"
    cfg.INPUT.DATASET_MAPPER = "FramePairMapper"
    cfg.INPUT.AUGMENTATIONS = []
    cfg.MODEL.MASK_ON = True
    # What the project's config sets, whatever its defaults.
    cfg.MODEL.TRACKFORMER = CfgNode(
        {
            "PREV_FRAME_RANGE": 0,
            "PREV_FRAME_JITTER": 0.0,
            "PREV_IMAGE_JITTER": 0.4,
            "OVERFLOW_BOXES": True,
            "PREV_FRAME_OTHER": False,
            "TRACK_LINKS": False,
        }
    )
    return cfg


def test_config(cfg, video, image_record):
    mapper = build_mapper(cfg, True)
    pair = mapper({**video, "key_frame": 12})
    assert len(pair["previous"]) == 1
    assert pair["instances"].gt_boxes.tensor[0, 2] == 64
    assert len(pair["instances"].gt_masks) == 2
    assert torch.equal(pair["image"], pair["previous"][0]["image"])
    np.random.seed(0)
    pair = mapper(image_record)
    assert not torch.equal(pair["image"], pair["previous"][0]["image"])

    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 20, 100
    output = build_mapper(cfg, False)(video)
    assert output["image"][0].shape == (3, 20, 30)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("PREV_FRAME_RANGE", -1),
        ("PREV_FRAME_JITTER", 1.0),
        ("PREV_IMAGE_JITTER", -0.1),
    ],
)
def test_wrong_config(cfg, key, value):
    cfg.MODEL.TRACKFORMER[key] = value
    with pytest.raises(UserError, match=key) as error:
        build_mapper(cfg, True)
    assert "\n" not in str(error.value)


def test_faults(tmp_path, image_record):
    record = make_record(tmp_path)
    with pytest.raises(UserError, match=r"image .*\.png: an object has no segmentation"):
        make_mapper(with_masks=True)({**record, "key_frame": 3})
    for unlabelled in (record, image_record):
        del unlabelled["annotations"]
        with pytest.raises(UserError, match="has no labels"):
            make_mapper()(unlabelled)


def test_the_previous_frame_is_another_one(video):
    pairs = draw(make_mapper(frame_range=1, other_frame=True), video, 10, 40)
    assert {frame_number(pair["previous"][0]) for pair in pairs} == {9, 11}
    first = draw(make_mapper(frame_range=1, other_frame=True), video, 0, 5)
    assert {frame_number(pair["previous"][0]) for pair in first} == {1}
    assert draw(make_mapper(frame_range=0, other_frame=True), video, 3, 1)


def test_objects_of_the_frame_before_the_pair(video):
    """Object 5 walks 4 pixels a frame; it stands at 4 in frame 0."""
    mapper = make_mapper(frame_range=1, other_frame=True, with_earlier=True)
    for key_frame in (0, 1, 5):
        for pair in draw(mapper, video, key_frame, 6):
            previous = pair["previous"][0]
            before = 2 * frame_number(previous) - key_frame
            before = frame_number(previous) if before < 0 else before
            found = previous["earlier"]
            left = found.gt_boxes.tensor[found.gt_ids == 5, 0]
            assert left.tolist() == [4 + 4 * before]


def test_an_image_stands_still(image_record):
    pair = make_mapper(with_earlier=True)(image_record)
    assert len(pair["previous"][0]["earlier"]) == len(pair["instances"])
