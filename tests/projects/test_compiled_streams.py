"""MODEL.COMPILE, in every system: a stream of frames of one size is compiled at its beginning only."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters

from tests.helpers.streams import MODELS, frames_of, streaming_model

# Frames after which everything is compiled, and graphs that there are then at most. One kind of layer is one
# graph, whatever their number; a second one where the number of rows changes, which is then a variable.
WARM = {"DETR": (1, 4), "IPT": (1, 1), "TrackFormer": (2, 6), "VTN": (6, 5), "VisTR": (4, 7)}


@pytest.fixture(autouse=True)
def fresh_graphs(compile_backend):
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def graphs() -> int:
    return counters["stats"]["unique_graphs"]


# Those that take most of the time. DETR has the test below, and TrackFormer two models.
LONG = [("DETR", 0), ("TrackFormer", 0), ("VTN", 0), ("VTN", 1)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("system", "index"),
    [pytest.param(*each, marks=pytest.mark.long) if each in LONG else each for each in MODELS],
)
def test_later_frames_are_not_compiled_anew(system, index):
    warm, most = WARM[system]
    model = streaming_model(system, index, "MODEL.COMPILE", True, "MODEL.MASK_ON", system == "DETR")
    # Of VTN a renewal, of VisTR a window more.
    count = {"VTN": warm + 3, "VisTR": 2 * warm}.get(system, warm + 2)
    found = [graphs() for _ in model.stream_video(iter(frames_of(count)), (64, 96))]
    assert len(found) == count
    assert found[-1] == found[warm - 1] <= most, found
    assert not counters["recompile_limit"]


@pytest.mark.slow
def test_numbers_of_masks_and_layers():
    """A kind of layer is compiled once for all of its layers, and masks once for any number above one."""
    layers = (
        "MODEL.DETR.ENC_LAYERS",
        9,
        "MODEL.DETR.DEC_LAYERS",
        9,
    )  # eight graphs would be the limit
    model = streaming_model("DETR", 0, "MODEL.COMPILE", True, "MODEL.MASK_ON", True, *layers)
    frame = frames_of(1)[0]
    (answer,) = model.stream_video(iter([frame]), (64, 96))
    scores = answer["instances"].scores.sort().values
    assert len(scores) >= 5
    shown = []

    def frames() -> Iterator[Tensor]:
        for threshold in (scores[-4], scores[-3], scores[-5], scores[-2]):
            model.score_threshold = float(threshold)
            yield frame

    first = graphs()
    for answer in model.stream_video(frames(), (64, 96)):
        shown.append(len(answer["instances"]))
    assert shown == [4, 3, 5, 2]
    assert (first, graphs()) == (4, 5)
