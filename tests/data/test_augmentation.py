import json
import re

import cv2
import numpy as np
import pytest
import torch
from detectron2.data import transforms as T

from d2video.data.augmentation import (
    ClipAugInput,
    ClipResizeTransform,
    LargeScaleJitter,
    PhotometricDistort,
    RandomFlip,
    RandomSelect,
    RandomSizeCrop,
    ResizeShortestEdge,
    build_augmentations,
    shortest_edge_size,
)
from d2video.data.photometric import PhotometricDistortion
from d2video.utils.errors import UserError
from tests.helpers import GOLDEN as GOLDEN_DIR

GOLDEN = json.loads((GOLDEN_DIR / "vistr_data.json").read_text())
RESIZE = GOLDEN["resize_wh(w,h,size,max)->[w,h]"]


def frame(height=40, width=60, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def draw(augmentation, image, seed=0):
    clip_input = ClipAugInput(image, np.random.default_rng(seed))
    return augmentation(clip_input), clip_input.image


@pytest.mark.parametrize("case", RESIZE)
def test_training_sizes_equal_official_vistr(case):
    width, height, size, limit = re.fullmatch(r"(\d+)x(\d+)_s(\d+)_m(\w+)", case).groups()
    limit = 0 if limit == "None" else int(limit)
    got = shortest_edge_size(int(height), int(width), int(size), limit)
    assert list(got[::-1]) == RESIZE[case]


@pytest.mark.parametrize("case", GOLDEN["inference_Resize300"])
def test_inference_sizes_equal_official_vistr(case):
    width, height = map(int, case.split("x"))
    _, image = draw(ResizeShortestEdge(300), np.zeros((height, width, 3), np.uint8))
    assert list(image.shape[1::-1]) == GOLDEN["inference_Resize300"][case]


def test_resize_0_keeps_the_size():
    image = frame()
    assert draw(ResizeShortestEdge(0, 10), image)[1] is image


def test_large_scale_jitter_shows_the_same_part_of_frames_masks_and_boxes():
    """In all frames, at a factor up to which the frame is padded and beyond which it is cropped."""
    image = np.full((40, 60, 3), 255, np.uint8)
    image[10:30, 20:50] = 0
    mask, box = image[..., 0] == 0, np.array([[20.0, 10.0, 50.0, 30.0]])
    jitter = LargeScaleJitter([32, 64], 0.3, 2.0, pad_value=200)
    factors, places = [], set()
    for seed in range(40):
        transforms, augmented = draw(jitter, image, seed)
        assert augmented.shape == (32, 64, 3)
        assert np.array_equal(transforms.apply_image(image), augmented)
        factors.append(transforms.transforms[0].new_h / 32)  # height limits: 40 of 60 to 32 of 64
        seen = transforms.apply_segmentation(mask.astype(np.float64)) == 1
        assert np.all(seen[augmented[..., 0] < 60])
        assert np.all(augmented[..., 0][seen] < 200)
        x0, y0, x1, y1 = transforms.apply_box(box)[0].clip(0, [64, 32, 64, 32])
        rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
        if len(rows):
            found = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
            assert np.abs(np.subtract((x0, y0, x1, y1), found)).max() <= 1
        padded = transforms.apply_segmentation(np.ones((40, 60))) == 0
        assert np.all(augmented[padded] == 200)
        assert padded.any() == (transforms.transforms[0].new_w < 64 or factors[-1] < 1)
        places.add((transforms.transforms[1].x0, transforms.transforms[1].y0))
    assert 0.28 < min(factors) < 0.6
    assert 1.7 < max(factors) <= 2.0
    assert len(places) > 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size 0 is below 1"),
        ({"size": [4, 4, 4]}, "too many values"),
        ({"size": 4, "min_scale": 0}, "0 < min_scale <= max_scale"),
        ({"size": 4, "min_scale": 3.0}, "0 < min_scale <= max_scale"),
        ({"size": 4, "pad_value": 300}, "pad_value 300 is not in 0..255"),
    ],
)
def test_large_scale_jitter_refuses(arguments, message):
    with pytest.raises(UserError, match=message):
        build_augmentations([["LargeScaleJitter", arguments]])


@pytest.mark.parametrize(
    ("mask_sampling", "mode"), [("corner", "nearest"), ("center", "nearest-exact")]
)
@pytest.mark.parametrize("new_size", [(17, 23), (61, 100)])
def test_mask_resizing_equals_torch(mask_sampling, mode, new_size):
    labels = np.arange(40 * 60, dtype=np.float64).reshape(40, 60)
    got = ClipResizeTransform(40, 60, *new_size, mask_sampling).apply_segmentation(labels)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(labels)[None, None], new_size, mode=mode
    )
    assert np.array_equal(got, expected[0, 0].numpy())


def test_flip_happens_with_its_probability():
    kinds = [type(draw(RandomFlip(0.3), frame(), seed)[0]) for seed in range(400)]
    assert 90 < kinds.count(T.HFlipTransform) < 150
    kinds = [type(draw(RandomFlip(0.3, vertical=True), frame(), seed)[0]) for seed in range(400)]
    assert 90 < kinds.count(T.VFlipTransform) < 150


def test_crop_stays_inside_and_covers_the_range():
    sizes, corners = [], []
    for seed in range(300):
        transform, image = draw(RandomSizeCrop(20, 50), frame(), seed)
        assert image.shape[:2] == (transform.h, transform.w)
        assert transform.y0 + transform.h <= 40
        assert transform.x0 + transform.w <= 60
        sizes.append(image.shape[:2])
        corners.append((transform.y0 + transform.h == 40, transform.x0 + transform.w == 60))
    heights, widths = zip(*sizes)
    assert (min(heights), max(heights), min(widths), max(widths)) == (20, 40, 20, 50)
    assert np.any(corners, axis=0).all()


def test_crop_of_an_image_below_the_minimum_keeps_that_side():
    for seed in range(5):
        _, image = draw(RandomSizeCrop(50, 55), frame(40, 60), seed)
        assert image.shape[0] == 40
        assert 50 <= image.shape[1] <= 55


def test_draws_come_from_the_given_generator_alone():
    chain = T.AugmentationList(
        [
            RandomFlip(),
            ResizeShortestEdge([20, 30, 40]),
            PhotometricDistort(),
            RandomSizeCrop(8, 20),
        ]
    )
    images = []
    for global_seed in (1, 2):
        np.random.seed(global_seed)
        images.append(draw(chain, frame(), 5)[1])
    assert np.array_equal(*images)
    assert any(not np.array_equal(images[0], draw(chain, frame(), s)[1]) for s in (6, 7))


def test_photometric_draw_is_shared_by_the_clip_unless_per_frame():
    image = frame()
    for per_frame in (False, True):
        transform, _ = draw(PhotometricDistort(per_frame=per_frame), image, 3)
        again = [transform.apply_image(image) for _ in range(6)]
        alike = all(np.array_equal(again[0], other) for other in again[1:])
        assert alike != per_frame


def test_per_frame_draws_do_not_disturb_later_augmentations():
    crops = []
    for per_frame in (False, True):
        chain = T.AugmentationList([PhotometricDistort(per_frame=per_frame), RandomSizeCrop(8, 30)])
        crops.append(vars(draw(chain, frame(), 4)[0].transforms[1]))
    assert crops[0] == crops[1]


def test_official_values_wrap_around_and_corrected_ones_clip():
    # Gray has no hue, so that the colour conversions change nothing.
    image = np.full((2, 2, 3), 250, np.uint8)
    brighter = PhotometricDistortion(brightness=10)
    assert (brighter.apply(image, official=True) == 4).all()
    assert (brighter.apply(image) == 255).all()
    darker = PhotometricDistortion(brightness=-255)
    assert (darker.apply(image, official=True) == 251).all()
    assert (darker.apply(image) == 0).all()


def test_contrast_before_or_after_the_colour_change():
    image = frame()
    hue = {"contrast": 1.4, "hue": 15.0, "brightness": 20.0}
    first = PhotometricDistortion(**hue, contrast_first=True).apply(image)
    last = PhotometricDistortion(**hue, contrast_first=False).apply(image)
    # Both scale by 1.4; rounding and the conversions' noise remain.
    assert np.abs(first.astype(int) - last).max() <= 1
    saturated = PhotometricDistortion(contrast=0.5, saturation=0.0).apply(image)
    assert np.array_equal(saturated[..., 0], saturated[..., 2])
    assert np.abs(saturated[..., 0] - image.max(-1) / 2).max() <= 0.5


@pytest.mark.parametrize("official", [False, True])
def test_hue_turns_by_degrees_in_the_order_of_the_channels(official):
    red = np.zeros((1, 1, 3), np.uint8)
    red[..., 0] = 200
    turned = PhotometricDistortion(hue=120.0).apply(red, official)
    # Read as RGB, red turns to green; the official code takes channel 0 for blue: blue to red.
    assert turned[0, 0].tolist() == ([0, 0, 200] if official else [0, 200, 0])
    # Below 0 degrees the hue continues from 360.
    turned = PhotometricDistortion(hue=-120.0).apply(red, official)
    assert turned[0, 0].tolist() == ([0, 200, 0] if official else [0, 0, 200])


def test_neutral_distortion_and_channel_order():
    image = frame()
    assert np.array_equal(PhotometricDistortion().apply(image), image)
    swapped = PhotometricDistortion(channel_order=(2, 0, 1)).apply(image)
    assert np.array_equal(swapped, image[..., [2, 0, 1]])


def test_official_chain_against_plain_opencv():
    image = frame()
    amounts = PhotometricDistortion(12.5, 1.3, True, 0.7, -9.0, (1, 0, 2))
    hsv = cv2.cvtColor((image.astype(np.float32) + 12.5) * 1.3, cv2.COLOR_BGR2HSV)
    hsv[..., 1] *= 0.7
    hsv[..., 0] -= 9.0
    hsv[..., 0][hsv[..., 0] < 0] += 360
    expected = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[..., [1, 0, 2]].astype(np.int64) % 256
    # Hues a rounding apart, next to a whole number.
    difference = np.abs(amounts.apply(image, official=True).astype(int) - expected)
    assert (difference > 0).mean() < 0.01


def test_distribution_of_the_photometric_draws():
    aug = PhotometricDistort(brightness=32, contrast=(0.5, 1.5), hue=18)
    rng = np.random.default_rng(0)
    drawn = [aug._draw(rng) for _ in range(600)]
    for name, neutral, low, high in (
        ("brightness", 0, -32, 32),
        ("contrast", 1, 0.5, 1.5),
        ("saturation", 1, 0.5, 1.5),
        ("hue", 0, -18, 18),
    ):
        values = np.array([getattr(d, name) for d in drawn])
        changed = values[values != neutral]
        assert 0.4 < len(changed) / 600 < 0.6
        assert low <= changed.min() < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < changed.max() <= high
    assert 0.4 < np.mean([d.contrast_first for d in drawn]) < 0.6
    # Half of the time a random order out of six, one of which is the usual.
    assert 0.32 < np.mean([d.channel_order != (0, 1, 2) for d in drawn]) < 0.52
    plain = PhotometricDistort(swap_channels=False)
    assert all(plain._draw(rng).channel_order == (0, 1, 2) for _ in range(50))


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ([["Rotate90", {}]], "'Rotate90', which is not registered.*RandomFlip"),
        ([["RandomFlip", {"p": 0.5}]], "RandomFlip does not take"),
        ([["RandomFlip", {"prob": 2}]], "prob 2 is not in"),
        ([["RandomSizeCrop", {"min_size": 9, "max_size": 3}]], "min_size <= max_size"),
        ([["ResizeShortestEdge", {"short_edge_lengths": []}]], "at least one short edge"),
        ([["ResizeShortestEdge", {"short_edge_lengths": 3, "mask_sampling": "x"}]], "center or"),
        ([["PhotometricDistort", {"hue": 999}]], "hue 999"),
        (["RandomFlip"], "must have the form"),
        ([["RandomFlip", 0.5]], "must have the form"),
        ([[]], "must have the form"),
    ],
)
def test_faulty_specification(specs, message):
    with pytest.raises(UserError, match=message):
        build_augmentations(specs)


def test_specification_without_arguments():
    (flip,) = build_augmentations([["RandomFlip"]])
    assert flip.prob == 0.5


def test_select_applies_one_list_with_its_probability():
    select = RandomSelect(
        [["ResizeShortestEdge", {"short_edge_lengths": 20}]],
        [
            ["ResizeShortestEdge", {"short_edge_lengths": 80}],
            ["RandomSizeCrop", {"min_size": 30, "max_size": 30}],
        ],
        prob=0.25,
    )
    counts = {(20, 30): 0, (30, 30): 0}
    for seed in range(200):
        transforms, image = draw(select, frame(), seed)
        counts[image.shape[:2]] += 1
        # What was drawn replays on other frames.
        assert np.array_equal(transforms.apply_image(frame()), image)
    assert 30 < counts[20, 30] < 70


def test_select_inside_a_chain_and_nested():
    (select,) = build_augmentations(
        [["RandomSelect", {"first": [["RandomSelect", {"first": [["RandomFlip", {"prob": 1}]]}]]}]]
    )
    chain = T.AugmentationList([select, RandomSizeCrop(8, 8)])
    kinds = [type(draw(chain, frame(), seed)[0].transforms[0]) for seed in range(200)]
    assert 30 < kinds.count(T.HFlipTransform) < 70
    assert T.TransformList not in kinds


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"first": [["Rotate90"]]}, "'Rotate90', which is not registered"),
        ({"first": [], "second": [["RandomFlip", {"p": 1}]]}, "RandomFlip does not take"),
        ({"first": [], "prob": -1}, "prob -1 is not in"),
        ({}, "RandomSelect does not take"),
        ({"first": 3}, "RandomSelect does not take"),
    ],
)
def test_faulty_select(arguments, message):
    with pytest.raises(UserError, match=message):
        build_augmentations([["RandomSelect", arguments]])
