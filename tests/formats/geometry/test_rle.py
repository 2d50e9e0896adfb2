import tracemalloc

import numpy as np
import pycocotools.mask as coco_mask
import pytest
import torch

from d2video.formats.geometry import rle
from d2video.formats.geometry.rle_checks import decode_counts, sum_counts


@pytest.mark.parametrize("batch", [1, 100, 2**22])
def test_codes_are_those_of_pycocotools(monkeypatch, batch):
    monkeypatch.setattr(rle, "_BATCH_PIXELS", batch)
    generator = torch.Generator().manual_seed(0)
    for shape, share in (
        ((5, 7, 9), 0.5),
        ((3, 1, 1), 0.5),
        ((4, 1, 8), 0.5),
        ((4, 8, 1), 0.5),
        ((50, 5, 6), 0.1),
        ((6, 30, 40), 0.004),
        ((2, 6, 6), 1.0),
        ((2, 6, 6), 0.0),
        ((0, 4, 4), 0.5),
    ):
        for _ in range(10):
            masks = torch.rand(shape, generator=generator) < share
            columns = np.asfortranarray(masks.permute(1, 2, 0).numpy().astype(np.uint8))
            assert rle.encode_masks(masks) == coco_mask.encode(columns)


def test_a_mask_by_the_rectangle_that_it_lies_in():
    """Also where runs go on in the next column, as in rectangles of the image's height."""
    generator = np.random.default_rng(0)
    for _ in range(300):
        height, width = generator.integers(1, 8, 2).tolist()
        top, left = int(generator.integers(height)), int(generator.integers(width))
        bottom, right = (
            int(generator.integers(top, height + 1)),
            int(generator.integers(left, width + 1)),
        )
        part = generator.random((bottom - top, right - left)) < generator.choice([0.3, 0.8, 1.0])
        whole = np.zeros((height, width), np.uint8, order="F")
        whole[top:bottom, left:right] = part
        assert rle.encode_part(part, top, left, height, width) == coco_mask.encode(whole)


def test_views_and_tracks():
    masks = torch.zeros(8, 12, 3, 2, dtype=torch.bool).permute(3, 2, 0, 1)  # (2, 3, 8, 12)
    masks[0, 1, 2:5, 3:7] = True
    masks[1, 2, 0, 0] = True
    tracks = rle.encode_tracks(masks)
    assert [[mask is not None for mask in track] for track in tracks] == [
        [False, True, False],
        [False, False, True],
    ]
    np.testing.assert_array_equal(coco_mask.decode(tracks[0][1]), masks[0, 1].numpy())


@pytest.mark.parametrize("count", [0, 1, 600])
def test_areas_of_any_number_of_masks(count):
    masks = np.arange(count)[:, None, None] % 7 > np.arange(6).reshape(2, 3)
    areas = rle.mask_areas(rle.encode_masks(masks))
    assert areas.dtype == np.int64
    assert areas.tolist() == masks.sum((1, 2)).tolist()


def test_all_forms_of_a_segmentation_become_the_same_code():
    mask = torch.zeros(1, 8, 12, dtype=torch.bool)
    mask[0, 2:5, 3:7] = True
    (compressed,) = rle.encode_masks(mask)
    runs = {"size": [8, 12], "counts": [26, 3, 5, 3, 5, 3, 5, 3, 43]}
    for form in (runs, [[3, 2, 7, 2, 7, 5, 3, 5]], compressed):
        assert rle.to_rle(form, 8, 12) == compressed


def test_sums_of_codes_of_any_length():
    rng = np.random.default_rng(0)
    masks = [rng.random((9, k)) < 0.5 for k in rng.integers(1, 30, 40)]
    codes = [coco_mask.encode(np.asfortranarray(m, np.uint8))["counts"] for m in masks]
    codes[5:5] = [b"", b"4", b"~", codes[7][:-1] + b"P"]
    found = sum_counts(codes)
    well_formed = found.well_formed
    for k, code in enumerate(codes):
        counts, _, (alone,) = decode_counts([code])
        assert well_formed[k] == alone
        assert found.total[k] == counts.sum()
        assert found.least[k] == counts.min(initial=0)
    assert [*np.flatnonzero(~well_formed)] == [5, 7, 8]
    assert not len(sum_counts([]).total)


def test_a_long_code_among_many_costs_what_it_is_long():
    """Padded to it, the others would take 8 GB."""
    codes = [b"4"] * 2000
    codes[1000] = b"1" * 500_000
    tracemalloc.start()
    try:
        total = sum_counts(codes).total
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (total[:3] == 4).all()
    assert peak < 100e6  # some 20 numbers of 8 bytes for each byte


def test_numbers_of_an_image_are_encoded_as_their_masks_are():
    rng = np.random.default_rng(0)
    for shape in ((1, 1), (1, 9), (9, 1), (7, 8), (40, 30)):
        for labels in (
            rng.integers(0, 3, shape, np.uint8),
            rng.integers(0, 60000, shape, np.uint16),
            np.zeros(shape, np.uint8),
            np.full(shape, 5, np.uint8),
        ):
            numbers = [n for n in np.unique(labels).tolist() if n]
            masks = rle.encode_masks(labels == np.array(numbers, int)[:, None, None])
            assert rle.encode_labels(labels) == dict(zip(numbers, masks, strict=True))
