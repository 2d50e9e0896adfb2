"""Drawing options: what each one changes, for instances and panoptic maps."""

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

from d2video.inference.tasks import InstanceFrame, TrackingTask
from d2video.utils.errors import UserError
from d2video.visualization.options import DrawingOptions
from d2video.visualization.primitives import track_colour

GREY = np.full((120, 160, 3), 100, np.uint8)
COLOUR = np.array(track_colour(0))


def frame(panoptic: bool = False, masks: bool = True) -> InstanceFrame:
    """A round object in a box from (50, 40) to (110, 100)."""
    instances = Instances((120, 160), pred_boxes=Boxes(torch.tensor([[50.0, 40, 110, 100]])))
    instances.scores, instances.pred_classes = torch.tensor([0.9]), torch.tensor([0])
    instances.track_ids = torch.tensor([0])
    rows, columns = np.mgrid[:120, :160]
    disc = torch.from_numpy((rows - 70) ** 2 + (columns - 80) ** 2 < 30**2)
    if masks:
        instances.pred_masks = disc[None]
    segment = {"id": 1, "category_id": 0, "isthing": True, "track_id": 0}
    return InstanceFrame(
        index=0,
        time=0.0,
        image=GREY,
        instances=instances,
        panoptic_seg=(disc.int(), [segment]) if panoptic else None,
    )


def draw(answer: InstanceFrame, **options) -> np.ndarray:
    return TrackingTask().drawer(["cat"], DrawingOptions(**options))(answer)


def shows(picture: np.ndarray) -> set[str]:
    """Which parts there are."""
    near = np.abs(picture.astype(int) - COLOUR).sum(-1) < 30
    tinted = (picture[85, 80] != 100).any()
    found = {"mask": tinted, "box": near[41:43, 49:52].any(), "outline": near[85:95, 95:106].any()}
    # The ink of a label.
    found["label"] = ((picture > 220).all(-1) | (picture < 30).all(-1)).sum() > 15
    return {name for name, is_there in found.items() if is_there}


@pytest.mark.parametrize("panoptic", [False, True])
def test_parts_come_and_go(panoptic):
    answer = frame(panoptic)
    assert shows(draw(answer)) == {"mask", "outline", "label"}
    assert shows(draw(answer, labels=False)) == {"mask", "outline"}
    assert shows(draw(answer, draw_boxes=True, labels=False)) == {"mask", "outline", "box"}
    assert shows(draw(answer, masks=False)) == {"box", "label"}
    assert shows(draw(answer, masks=False, labels=False)) == {"box"}
    assert shows(draw(answer, masks=False, draw_boxes=False)) == {"label"}
    nothing = draw(answer, masks=False, draw_boxes=False, labels=False)
    np.testing.assert_array_equal(nothing, GREY)


def test_boxes_alone():
    answer = frame(masks=False)
    assert shows(draw(answer)) == {"box", "label"}
    assert shows(draw(answer, draw_boxes=False)) == {"label"}
    assert shows(draw(answer, labels=False)) == {"box"}


@pytest.mark.parametrize("panoptic", [False, True])
def test_opacity_and_line_width(panoptic):
    answer = frame(panoptic)
    for opacity in (0.0, 0.3, 1.0):
        drawn = draw(answer, labels=False, opacity=opacity)
        np.testing.assert_allclose(drawn[85, 80], 100 + opacity * (COLOUR - 100), atol=1)
    thin, thick = [
        (draw(answer, labels=False, opacity=0.0, line_width=width) != 100).any(-1).sum()
        for width in (1, 6)
    ]
    assert thick > 3 * thin


@pytest.mark.parametrize("panoptic", [False, True])
def test_label_size(panoptic):
    areas = []
    for factor in (0.7, 1.0, 2.0):
        drawn = draw(frame(panoptic), label_size=factor, opacity=0.0, line_width=1)
        areas.append((drawn == COLOUR).all(-1).sum())
    assert areas[0] < areas[1] < areas[2] / 2


def test_trails_of_panoptic_things():
    moved = frame(True)
    moved.instances.pred_boxes.tensor[:] += torch.tensor([-50.0, 10, -50, 10])
    has = []
    for length in (None, 9):
        draw_next = TrackingTask().drawer(["cat"], DrawingOptions(trail_length=length))
        draw_next(moved)
        has.append(bool((draw_next(frame(True))[104:112, 35:45] != 100).any()))
    assert has == [False, True]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("label_size", 0.0), ("label_size", float("nan")), ("opacity", 1.5), ("opacity", -0.1)),
        *(("line_width", 0), ("scale", 0), ("trail_length", -1), ("score_threshold", 2.0)),
        ("topk", 0),
    ],
)
def test_values_that_cannot_be(name, value):
    with pytest.raises(
        UserError, match=f"drawing option {name} is .*: it must be a .*number from "
    ):
        DrawingOptions(**{name: value})
