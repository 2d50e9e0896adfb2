"""draw_instances: what is drawn where, stable colours, readable labels, speed."""

import time

import cv2
import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

from d2video.utils.errors import UserError
from d2video.visualization.instances import OPACITY, draw_instances, track_colour
from d2video.visualization.options import DrawingOptions
from d2video.visualization.trails import TrailHistory

HEIGHT, WIDTH = 120, 160


def make_instances(squares, size=(HEIGHT, WIDTH), **fields) -> Instances:
    """Instances whose masks are the given squares (x, y, side)."""
    masks = torch.zeros(len(squares), *size, dtype=torch.bool)
    for mask, (x, y, side) in zip(masks, squares, strict=True):
        mask[y : y + side, x : x + side] = True
    boxes = torch.tensor([[x, y, x + side, y + side] for x, y, side in squares]).reshape(-1, 4)
    return Instances(size, pred_masks=masks, pred_boxes=Boxes(boxes.float()), **fields)


def grey() -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), 100, np.uint8)


def test_fill_outline_and_untouched_rest():
    image = grey()
    instances = make_instances([(40, 50, 40)], track_ids=torch.tensor([7]))
    del instances._fields["track_ids"]  # no field, no label
    drawn = draw_instances(image, instances)
    assert (image == 100).all()  # the input stays
    colour = np.array(track_colour(0))
    np.testing.assert_allclose(drawn[70, 60], 100 + OPACITY * (colour - 100), atol=1)
    np.testing.assert_allclose(drawn[50, 60], colour, atol=20)  # lines are antialiased
    outside = np.ones((HEIGHT, WIDTH), bool)
    outside[47:93, 37:83] = False
    assert (drawn[outside] == 100).all()


def test_colour_follows_the_track_not_the_row():
    squares = [(10, 50, 30), (100, 50, 30)]
    first = draw_instances(grey(), make_instances(squares, track_ids=torch.tensor([3, 9])))
    swapped = draw_instances(
        grey(), make_instances(squares[::-1], track_ids=torch.tensor([9, 3]), scores=torch.ones(2))
    )
    for x, y in [(25, 65), (115, 65)]:
        np.testing.assert_array_equal(first[y, x], swapped[y, x])
    assert (first[65, 25] != first[65, 115]).any()


def test_palette_is_distinct():
    colours = np.array([track_colour(i) for i in range(12)], np.float32)[None] / 255
    lab = cv2.cvtColor(colours, cv2.COLOR_RGB2LAB)[0]
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1) + 1e3 * np.eye(12)
    assert distance.min() > 40  # 2.3 is a just noticeable difference
    assert len({track_colour(i) for i in range(48)}) == 48
    assert track_colour(48) == track_colour(0)


def test_boxes_and_empty():
    instances = make_instances([(10, 40, 30), (100, 40, 30)], scores=torch.tensor([0.9, 0.2]))
    boxes_only = Instances((HEIGHT, WIDTH), pred_boxes=instances.pred_boxes)
    drawn = draw_instances(grey(), boxes_only)
    np.testing.assert_allclose(drawn[55, 10], track_colour(0), atol=20)
    assert (drawn[55, 25] == 100).all()

    absent = make_instances([(10, 40, 0)], track_ids=torch.tensor([1]), scores=torch.ones(1))
    np.testing.assert_array_equal(draw_instances(grey(), absent), grey())
    np.testing.assert_array_equal(draw_instances(grey(), make_instances([])), grey())


@pytest.mark.parametrize("corner", [(0, 0), (WIDTH - 20, 0), (0, HEIGHT - 20)])
def test_label_is_readable_and_inside(corner):
    instances = make_instances(
        [(*corner, 20)],
        scores=torch.tensor([0.93]),
        pred_classes=torch.tensor([1]),
        track_ids=torch.tensor([4]),
    )
    drawn = draw_instances(grey(), instances, ["cat", "größe"])
    colour = np.array(track_colour(4))
    x0, y0 = corner[0], max(corner[1] - 14, 0)
    x0 = min(x0, WIDTH - 60)
    label = drawn[y0 : y0 + 13, x0 : x0 + 60].reshape(-1, 3).astype(int)
    # Its ground is the track's colour, and it holds ink far from that.
    assert (np.abs(label - colour).sum(1) < 10).sum() > 100
    assert (np.abs(label - colour).sum(1) > 250).sum() > 20
    # Another text, another picture: letters beyond ASCII are not all drawn as "?".
    other = draw_instances(grey(), instances, ["cat", "gr??e"])
    assert (other != drawn).any()


def test_label_larger_than_the_image():
    instances = Instances((8, 10), pred_boxes=Boxes(torch.tensor([[1.0, 1, 5, 5]])))
    instances.pred_classes = torch.tensor([0])
    assert draw_instances(np.zeros((8, 10, 3), np.uint8), instances, ["a long name"]).any()


def test_class_without_a_name():
    instances = make_instances([(10, 40, 30)], pred_classes=torch.tensor([2]))
    with pytest.raises(UserError, match=r"predicts class 2, .* 2 classes"):
        draw_instances(grey(), instances, ["a", "b"])


def test_speed_at_720p():
    rng = np.random.default_rng(0)
    squares = [(int(x), int(y), 200) for x, y in rng.integers(0, 500, (10, 2))]
    instances = make_instances(
        squares,
        (720, 1280),
        scores=torch.rand(10),
        pred_classes=torch.zeros(10, dtype=torch.int64),
        track_ids=torch.arange(10),
    )
    image = np.zeros((720, 1280, 3), np.uint8)
    draw_instances(image, instances, ["a"])  # fonts and palette are made once
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        draw_instances(image, instances, ["a"])
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.05


def test_trails_lie_over_masks_and_under_labels():
    trails = TrailHistory(10)
    for x in (0, 60, 120):
        instances = make_instances([(x, 40, 30)], track_ids=torch.tensor([3]))
        trails.add(instances)
    colour = np.array(track_colour(3))
    plain = draw_instances(grey(), instances)
    drawn = draw_instances(grey(), instances, trails=trails)
    # Along the lower side, where the object stood on the ground.
    np.testing.assert_allclose(drawn[70, 20:130], np.tile(colour, (110, 1)), atol=40)
    assert (plain[70, 20:110] == 100).all()
    np.testing.assert_array_equal(drawn[:60], plain[:60])


def test_scale_enlarges_before_drawing():
    instances = make_instances([(10, 40, 30)])
    drawn = draw_instances(grey(), instances, None, DrawingOptions(scale=3, draw_boxes=True))
    assert drawn.shape == (3 * HEIGHT, 3 * WIDTH, 3)
    changed = (drawn != 100).any(-1)
    assert changed[120:210, 30:120].all()
    changed[116:214, 26:124] = False
    assert not changed.any()
