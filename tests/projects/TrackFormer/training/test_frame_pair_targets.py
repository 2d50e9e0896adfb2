"""What is labelled in pairs of frames, and how jitter moves it."""

import copy
import json

import numpy as np
import torch
from d2video.projects.trackformer.training.frame_pair_mapper import CropJitter
from detectron2.data import transforms as T

from d2video.data.augmentation import ClipAugInput, RandomFlip, ResizeShortestEdge
from tests.projects.TrackFormer.training.moving_boxes import (
    CLASSES,
    COLOURS,
    HEIGHT,
    LENGTH,
    WIDTH,
    coloured_box,
    draw,
    frame_number,
    make_mapper,
    tracks_in,
)


def test_contract_of_the_training_output(video):
    before = json.dumps(video, default=str)
    pair = make_mapper(num_previous=2)({**video, "key_frame": 2})
    assert json.dumps(video, default=str) == before
    assert {"image", "instances", "previous", "file_name", "height", "width"} == set(pair)
    assert (pair["height"], pair["width"]) == (HEIGHT, WIDTH)
    for frame in (pair, *pair["previous"]):
        assert (frame["image"].dtype, frame["image"].shape) == (torch.uint8, (3, HEIGHT, WIDTH))
        instances = frame["instances"]
        assert instances.gt_ids.dtype == instances.gt_classes.dtype == torch.int64
        assert instances.gt_boxes.tensor.dtype == torch.float32
        assert not instances.has("gt_masks")


def test_rows_are_the_objects_of_the_frame_with_ids_of_the_video(video):
    seen = set()
    for key_frame in (0, 1, 3):
        for pair in draw(make_mapper(RandomFlip(0.5), frame_range=2), video, key_frame, 20):
            for frame in (pair, *pair["previous"]):
                t = frame_number(frame)
                instances = frame["instances"]
                assert instances.gt_ids.tolist() == tracks_in(t)  # no crowds
                assert instances.gt_classes.tolist() == [CLASSES[k] for k in tracks_in(t)]
                for track, box in zip(tracks_in(t), instances.gt_boxes.tensor, strict=True):
                    assert torch.equal(box, coloured_box(frame["image"], COLOURS[track]))
                seen.add(t)
    assert seen >= set(range(5))


def test_frame_without_objects(video):
    pair = make_mapper(RandomFlip(0.5), with_masks=True, jitter=0.1)(
        {**video, "key_frame": LENGTH - 1}
    )
    assert len(pair["instances"]) == 0
    assert pair["instances"].gt_boxes.tensor.shape == (0, 4)
    assert pair["instances"].gt_masks.tensor.shape == (0, HEIGHT, WIDTH)


def test_boxes_may_overflow_or_are_clipped(video):
    # Object 5 is at 52..64 in frame 12 (the image ends at 60), at 56..68 in frame 13, then gone.
    record = {**video, "key_frame": 12}
    for overflow, x1 in ((True, 64), (False, 60)):
        pair = make_mapper(frame_range=0, overflow_boxes=overflow)(record)
        for frame in (pair, *pair["previous"]):
            assert frame["instances"].gt_ids.tolist() == [5, 8]
            assert frame["instances"].gt_boxes.tensor[0].tolist() == [52, 8, x1, 18]


def test_boxes_overflow_a_crop_unless_wholly_outside(video):
    # Columns 30..59: of frame 5 object 5 at 24..36 overflows, of frame 3 it is gone at 16..28.
    crop = T.CropTransform(30, 0, 30, HEIGHT)
    for overflow, x0 in ((True, -6), (False, 0)):
        mapper = make_mapper(crop, frame_range=0, overflow_boxes=overflow, with_masks=True)
        instances = mapper({**video, "key_frame": 5})["instances"]
        assert instances.gt_ids.tolist() == [5, 8]
        assert instances.gt_boxes.tensor[0].tolist() == [x0, 8, 6, 18]
        assert instances.gt_masks.tensor[0].nonzero().amin(0).tolist() == [8, 0]
        assert instances.gt_masks.tensor.shape == (2, HEIGHT, 30)
        assert mapper({**video, "key_frame": 3})["instances"].gt_ids.tolist() == [8]
        # Exactly at the border: nothing of it is inside.
        touching = make_mapper(T.CropTransform(36, 0, 24, HEIGHT), overflow_boxes=overflow)
        assert touching({**video, "key_frame": 5})["instances"].gt_ids.tolist() == []


def test_an_object_needs_a_box_and_a_mask(video):
    """What a crop leaves of the box alone is no object where there are masks."""
    record = copy.deepcopy(video) | {"key_frame": 5}
    record["annotations"][5][0]["bbox"] = [0, 8, 50, 10]  # wider than the mask, 24..36
    crop = T.CropTransform(36, 0, 24, HEIGHT)
    for with_masks, ids in ((False, [5]), (True, [])):
        mapper = make_mapper(crop, frame_range=0, overflow_boxes=True, with_masks=with_masks)
        assert mapper(record)["instances"].gt_ids.tolist() == ids


def test_masks_follow_the_pixels(video):
    mapper = make_mapper(
        RandomFlip(0.5), ResizeShortestEdge([50, 70]), with_masks=True, jitter=0.3, num_previous=2
    )
    checked = 0
    for pair in draw(mapper, video, 6, 20):
        for frame in (pair, *pair["previous"]):
            masks = frame["instances"].gt_masks.tensor
            for track, mask in zip(frame["instances"].gt_ids.tolist(), masks, strict=True):
                # Two resizings choose the nearest pixel each, so that edges are a pixel off.
                rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
                box = torch.cat([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
                visible = coloured_box(frame["image"], COLOURS[track])
                assert (visible - box).abs().max() <= 2
                assert mask.sum() == (box[2] - box[0]) * (box[3] - box[1])
                checked += 1
    assert checked > 80


def test_jitter_moves_box_and_pixels_alike(video):
    mapper = make_mapper(frame_range=0, num_previous=2, jitter=0.4, overflow_boxes=True)
    scales, shifts = [], []
    for pair in draw(mapper, video, 3, 60):
        # Never the frame itself.
        assert pair["instances"].gt_boxes.tensor.tolist() == [[16, 8, 28, 18], [20, 22, 34, 33]]
        for frame in pair["previous"]:
            assert frame["image"].shape == (3, HEIGHT, WIDTH)
            for track, box in zip(
                frame["instances"].gt_ids.tolist(), frame["instances"].gt_boxes.tensor, strict=True
            ):
                visible = coloured_box(frame["image"], COLOURS[track])
                limits = torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT])
                assert (visible - box.clamp(min=0).minimum(limits)).abs().max() <= 1
            width = box[2] - box[0]
            scales.append(float(width / 14))  # object 8
            shifts.append(float(box[0]))
        assert not torch.equal(pair["previous"][0]["image"], pair["previous"][1]["image"])
    assert 1 <= min(scales) < 1.1
    assert 1.5 < max(scales) <= 60 / 36 + 1e-6
    assert np.std(shifts) > 3


def test_jitter_clips_boxes_unless_they_may_overflow(video):
    outside = {True: 0, False: 0}
    for overflow in outside:
        mapper = make_mapper(frame_range=0, jitter=0.5, overflow_boxes=overflow)
        for pair in draw(mapper, video, 3, 60):
            boxes = pair["previous"][0]["instances"].gt_boxes.tensor
            outside[overflow] += bool((boxes < 0).any() or (boxes[:, 2] > WIDTH).any())
    assert outside[True] > 5
    assert outside[False] == 0


def test_range_of_the_crop():
    image = np.zeros((50, 100, 3), np.uint8)
    sizes, places = set(), set()
    for seed in range(3000):
        transform = CropJitter(0.1).get_transform(image, np.random.default_rng(seed))
        if isinstance(transform, T.NoOpTransform):
            sizes.add((100, 50))
            continue
        crop = transform.transforms[0]
        sizes.add((crop.w, crop.h))
        assert crop.x0 + crop.w <= 100
        assert crop.y0 + crop.h <= 50
        places.add((crop.x0, crop.y0))
    assert sizes == {(w, w // 2) for w in range(90, 101)}
    assert places == {(x, y) for x in range(11) for y in range(6)}


def test_no_jitter_draws_nothing_else(video):
    image = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(4, 5, 3)
    jittered = ClipAugInput(image, np.random.default_rng(0))
    CropJitter(0.0)(jittered)
    np.testing.assert_array_equal(jittered.image, image)
