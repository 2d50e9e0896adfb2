"""draw_panoptic: colours by segment and class, labels, void."""

import numpy as np
import pytest
import torch

from d2video.utils.errors import UserError
from d2video.visualization.options import DrawingOptions
from d2video.visualization.panoptic import OPACITY, draw_panoptic, stuff_colour
from d2video.visualization.primitives import track_colour

GREY = np.full((240, 320, 3), 100, np.uint8)


def quarters() -> torch.Tensor:
    """The quarters of the picture; the last is void."""
    ids = torch.zeros(240, 320, dtype=torch.int32)
    ids[:120, :160], ids[:120, 160:], ids[120:, :160] = 1, 2, 7
    return ids


def segment(number: int, category_id: int, isthing: bool) -> dict:
    return {"id": number, "category_id": category_id, "isthing": isthing}


SEGMENTS = [segment(1, 0, True), segment(2, 0, True), segment(7, 2, False)]


def test_colours():
    drawn = draw_panoptic(GREY, (quarters(), SEGMENTS))
    assert (GREY == 100).all()
    expected = [track_colour(0), track_colour(1), stuff_colour(2)]
    for (y, x), colour in zip([(20, 20), (20, 300), (220, 20)], expected, strict=True):
        np.testing.assert_allclose(drawn[y, x], 100 + OPACITY * (np.array(colour) - 100), atol=1)
    assert (drawn[125:, 165:] == 100).all()
    # Things apart; stuff the same whatever else is in the picture.
    assert (drawn[20, 20] != drawn[20, 300]).any()
    alone = draw_panoptic(GREY, (quarters(), SEGMENTS[2:]))
    np.testing.assert_array_equal(alone[220, 20], drawn[220, 20])


def test_labels_name_the_class_in_the_middle_of_the_segment():
    names = ["cat", "dog", "grass"]
    drawn = draw_panoptic(GREY, (quarters(), SEGMENTS), names)
    other = draw_panoptic(GREY, (quarters(), SEGMENTS), ["cat", "dog", "field"])
    rows, columns = (drawn != other).any(-1).nonzero()
    assert 160 < rows.min() <= rows.max() < 200
    assert 40 < columns.min() <= columns.max() < 120
    with pytest.raises(UserError, match="predicts class 2"):
        draw_panoptic(GREY, (quarters(), SEGMENTS), names[:2])


def test_nothing_to_draw():
    ids = torch.zeros(240, 320, dtype=torch.int32)
    np.testing.assert_array_equal(draw_panoptic(GREY, (ids, [])), GREY)
    np.testing.assert_array_equal(draw_panoptic(GREY, (ids, SEGMENTS)), GREY)


def test_a_segment_of_one_pixel_in_a_tiny_picture():
    ids = torch.zeros(4, 5, dtype=torch.int64)
    ids[0, 0] = 3
    drawn = draw_panoptic(np.zeros((4, 5, 3), np.uint8), (ids, [segment(3, 1, False)]))
    assert drawn.shape == (4, 5, 3)


def test_scale_enlarges_before_drawing():
    drawn = draw_panoptic(GREY, (quarters(), SEGMENTS), None, DrawingOptions(scale=2))
    assert drawn.shape == (480, 640, 3)
    for (y, x), colour in [((40, 40), track_colour(0)), ((40, 600), track_colour(1))]:
        np.testing.assert_allclose(drawn[y, x], 100 + OPACITY * (np.array(colour) - 100), atol=1)
    assert (drawn[250:, 330:] == 100).all()
    # Outlines and labels keep their size.
    whole = draw_panoptic(GREY, (quarters(), SEGMENTS))
    labels = [(picture == track_colour(0)).all(-1).sum() for picture in (whole, drawn)]
    assert labels[1] < 3.9 * labels[0]
