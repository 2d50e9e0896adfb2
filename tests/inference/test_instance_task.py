"""Instances: which picture a frame gets, and when tracks have trails."""

from dataclasses import replace
from logging import INFO, WARNING

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

from d2video.inference.tasks import DetectionTask, InstanceFrame, TrackingTask
from d2video.utils.errors import UserError
from d2video.visualization.instances import draw_instances
from d2video.visualization.options import DEFAULT_TRAIL_LENGTH, DrawingOptions
from d2video.visualization.panoptic import draw_panoptic

GREY = np.full((60, 80, 3), 100, np.uint8)


def make_frame(index: int, masks: bool = False, score: float = 0.9, **more) -> InstanceFrame:
    """A box that moves to the right by 10 pixels a frame."""
    box = torch.tensor([[10.0 * index, 30, 10 * index + 10, 40]])
    instances = Instances((60, 80), pred_boxes=Boxes(box), scores=torch.tensor([score]))
    instances.track_ids, instances.pred_classes = torch.tensor([2]), torch.tensor([0])
    if masks:
        instances.pred_masks = torch.zeros(1, 60, 80, dtype=torch.bool)
        instances.pred_masks[0, 32:38, 10 * index : 10 * index + 10] = True
    return InstanceFrame(index, index / 25, GREY, instances=instances, **more)


def drawer(class_names=None, **options):
    return TrackingTask().drawer(class_names, DrawingOptions(**options))


def has_trail(draw, masks: bool, length: int = 5) -> bool:
    """Whether what was there before the last frame shows."""
    for index in range(length):
        drawn = draw(make_frame(index, masks))
    return bool((drawn[38:42, 5 : 10 * length - 15] != 100).any())


@pytest.mark.parametrize(
    ("length", "masks", "expected"),
    [
        (None, False, True),
        (None, True, False),
        (0, False, False),
        (0, True, False),
        (1, False, False),  # one place makes no line
        (9, True, True),
        (9, False, True),
    ],
)
def test_trails_are_for_boxes_unless_asked_for(length, masks, expected):
    assert has_trail(drawer(trail_length=length), masks) == expected


def test_default_length_of_trails():
    draw = drawer()
    for index in range(5):
        draw(make_frame(index))
    for index in range(DEFAULT_TRAIL_LENGTH):
        gone = make_frame(index)
        drawn = draw(replace(gone, instances=gone.instances[:0]))
        assert (drawn != 100).any() == (index < DEFAULT_TRAIL_LENGTH - 2)


def test_instances_below_the_threshold_leave_no_trail():
    draw = drawer(score_threshold=0.5)
    for index in range(5):
        drawn = draw(make_frame(index, score=0.4))
    np.testing.assert_array_equal(drawn, GREY)


def test_options_go_to_the_pictures():
    frame = make_frame(1, masks=True)
    drawn = drawer(["cat"], draw_boxes=True, scale=2)(frame)
    expected = draw_instances(
        GREY, frame.instances, ["cat"], DrawingOptions(draw_boxes=True, scale=2)
    )
    np.testing.assert_array_equal(drawn, expected)
    ids = torch.zeros(60, 80, dtype=torch.int32)
    ids[:30] = 4
    panoptic = (ids, [{"id": 4, "category_id": 0, "isthing": True}])
    drawn = drawer(["cat"], scale=3)(replace(frame, panoptic_seg=panoptic))
    np.testing.assert_array_equal(
        drawn, draw_panoptic(GREY, panoptic, ["cat"], DrawingOptions(scale=3))
    )


def test_summary():
    def line(*scores, drawn=True, written=False, segments=None):
        summary = DetectionTask().summary(None, DrawingOptions(score_threshold=0.5))
        for index, score in enumerate(scores):
            summary.add(replace(make_frame(index, score=score), panoptic_seg=segments))
        return summary.line(drawn, written)

    assert line(0.9, 0.7) == (INFO, "2 instances of 1 track drawn")
    assert line(0.9, 0.2, written=True) == (
        INFO,
        "1 instance of 1 track drawn; 2 instances of 1 track in the results",
    )
    assert line(0.1, 0.3123) == (
        WARNING,
        "no instance reaches the score threshold 0.5; the highest score was 0.312: lower "
        "--score-threshold",
    )
    assert line(0.1, drawn=False, written=True) == (INFO, "1 instance of 1 track in the results")
    assert line() == (WARNING, "no instance was found, of any score")
    followed = TrackingTask().summary(None, DrawingOptions())
    assert followed.line(True, True) == (
        WARNING,
        "no instance was found with a score that starts a track",
    )
    panoptic = (torch.zeros(60, 80, dtype=torch.int32), [{"id": 0, "category_id": 0}] * 3)
    assert line(0.1, segments=panoptic) == (INFO, "3 segments drawn")
    assert line(0.1, segments=(panoptic[0], [])) == (
        WARNING,
        "no segment reaches the score threshold of the config; the highest score of the instances "
        "was 0.1",
    )


def test_images_of_any_size():
    draw = drawer()
    for side in (20, 40):
        instances = Instances((side, side), pred_boxes=Boxes(torch.tensor([[2.0, 5, 9, 15]])))
        frame = InstanceFrame(0, 0.0, np.zeros((side, side, 3), np.uint8), instances=instances)
        assert draw(frame).any()


def test_classes_are_chosen_by_name():
    instances = Instances((60, 80), pred_boxes=Boxes(torch.tensor([[10.0, 30, 20, 40]] * 3)))
    instances.pred_classes = torch.tensor([1, 0, 2])
    ids = torch.tensor([[0, 4, 7], [7, 4, 4]]).repeat(30, 27)[:, :80]
    segments = [
        {"id": 4, "category_id": 2, "isthing": False},
        {"id": 7, "category_id": 1, "isthing": True},
    ]
    names = ["person", "car", ""]
    frame = InstanceFrame(
        0, 0.0, GREY, instances=instances, panoptic_seg=(ids, segments), class_names=names
    )
    kept = frame.of_classes(["car", "person"])
    assert kept.instances.pred_classes.tolist() == [1, 0]
    assert kept.panoptic_seg is not None
    assert kept.panoptic_seg[1] == segments[1:]
    assert torch.equal(kept.panoptic_seg[0], ids.where(ids == 7, 0))
    assert frame.of_classes(["class 2"]).instances.pred_classes.tolist() == [2]
    # The picture shows the same.
    np.testing.assert_array_equal(frame.plot(classes=["car", "person"]), kept.plot())
    assert (frame.plot() != kept.plot()).any()
    with pytest.raises(UserError, match="no class 'cars': did you mean car?"):
        frame.of_classes(["cars"])
    with pytest.raises(UserError, match="names of the model's classes are unknown"):
        replace(frame, class_names=None).of_classes(["car"])
