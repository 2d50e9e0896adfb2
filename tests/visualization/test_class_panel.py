"""The panel of classes: what stands under a picture, and for how long it is remembered."""

import numpy as np
import pytest
import torch

from d2video.structures.class_scores import top_classes
from d2video.utils.errors import UserError
from d2video.visualization import class_panel
from d2video.visualization.class_panel import ScoreHistory, add_class_panel
from d2video.visualization.primitives import track_colour

NAMES = ["turns left", "turns right", "jumps", "Ωmega"]
SCORES = torch.tensor([0.1, 0.6, 0.0, 0.3])


def test_equal_scores_go_by_index():
    scores = torch.tensor([0.2, 0.4, 0.2, 0.2] * 8)
    best = top_classes(scores, 9)
    assert [index for index, _ in best] == [*range(1, 32, 4), 0]
    assert best[0][1] == pytest.approx(0.4)
    assert len(top_classes(scores[:3], 5)) == 3


def picture(width: int = 320, height: int = 180) -> np.ndarray:
    return np.full((height, width, 3), 90, np.uint8)


def coloured(panel: np.ndarray, index: int) -> np.ndarray:
    """Pixels of about a class's colour (curves have soft edges), bool (h, w)."""
    return np.abs(panel.astype(int) - track_colour(index)).sum(-1) < 150


def test_bars_are_as_long_as_the_scores():
    drawn = add_class_panel(picture(), SCORES, NAMES, topk=3)
    np.testing.assert_array_equal(drawn[:180], picture())
    panel = drawn[180:]
    # Rows in the order of the scores, best first; the zero of class 2 is not among the three.
    lengths = {index: coloured(panel, index).sum(1).max() for index in (1, 3, 0)}
    firsts = [coloured(panel, index).any(1).argmax() for index in (1, 3, 0)]
    assert firsts == sorted(firsts)
    assert not coloured(panel, 2).any()
    assert lengths[1] > 70
    assert lengths[3] == pytest.approx(lengths[1] / 2, abs=2)
    assert lengths[0] == pytest.approx(lengths[1] / 6, abs=2)


@pytest.mark.parametrize("width", [320, 1280])
def test_curves_go_from_the_first_frame_to_this_one(width):
    history = ScoreHistory()
    for t in range(20):
        share = t / 19
        history.add(t / 10, torch.tensor([1 - share, share, 0, 0]))
    scores = torch.tensor([0.0, 1, 0, 0])
    drawn = add_class_panel(picture(width, 720), scores, topk=2, history=history)
    without = add_class_panel(picture(width, 720), scores, topk=2)
    panel = drawn[720:, width // 2 :] if width == 1280 else drawn[len(without) :]
    rising = np.argwhere(coloured(panel, 1))
    assert np.corrcoef(rising.T)[0, 1] < -0.95  # y points down
    falling = np.argwhere(coloured(panel, 0))
    assert np.corrcoef(falling.T)[0, 1] > 0.95
    assert np.ptp(rising[:, 1]) > 0.8 * panel.shape[1]


def test_size_does_not_change_in_a_video():
    history, sizes = ScoreHistory(), set()
    for t in range(3):
        history.add(t, SCORES.roll(t))
        sizes.add(add_class_panel(picture(), SCORES.roll(t), NAMES, history=history).shape)
    assert len(sizes) == 1


@pytest.mark.parametrize(("height", "width"), [(8, 8), (60, 40), (30, 2000)])
def test_pictures_of_any_size(height, width):
    history = ScoreHistory()
    history.add(0.0, SCORES)
    for each in (None, history):
        drawn = add_class_panel(picture(width, height), SCORES, NAMES, history=each)
        assert drawn.shape[1:] == (width, 3)
        assert len(drawn) > height


def test_memory_of_a_long_video_is_bounded(monkeypatch):
    monkeypatch.setattr(class_panel, "_MAX_ENTRIES", 8)
    history = ScoreHistory()
    for t in range(1000):
        history.add(float(t), torch.tensor([t / 1000, 0.5]))
        times, scores = history.curves([0])
        assert len(times) <= 8
        assert (times[0], times[-1]) == (0, t)
        np.testing.assert_allclose(scores[:, 0], times / 1000, atol=1e-6)
        gaps = np.diff(times)
        assert len(set(gaps[:-1])) <= 1  # evenly spread
        assert (gaps[-1:] <= gaps[:1]).all()


def test_class_without_a_name():
    with pytest.raises(UserError, match="predicts class 3, but DATASETS names only 2"):
        add_class_panel(picture(), SCORES, NAMES[:2])


def test_long_names_are_shortened_and_the_size_of_the_text_is_an_option():
    long = ["plays the accordion while dancing on a table", "jumps", "b", "c"]
    cut = add_class_panel(picture(), SCORES.roll(-1), long)
    other = add_class_panel(picture(), SCORES.roll(-1), [long[0][:30], *long[1:]])
    np.testing.assert_array_equal(cut, other)  # both end in "…" at the same place
    heights = [len(add_class_panel(picture(), SCORES, NAMES, label_size=f)) for f in (0.7, 1, 2)]
    assert heights == sorted(heights)
    assert heights[2] - 180 > 1.7 * (heights[1] - 180)
