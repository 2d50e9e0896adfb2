"""VTN's inside on one video: which frames the class token looks at.

Shapes: F: frames that the encoder sees, L: layers, h: heads, C: width of the backbone, K: classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from d2video.projects.vtn.video_stream import VideoStream
from d2video.projects.vtn.vtn import VTN
from torch import Tensor

from d2video.inference.tasks.classification import named_classes
from d2video.inspection import Look, sections, shown
from d2video.inspection.drawing import sheet
from d2video.inspection.matrix import matrix
from d2video.layers.recording import record_attention
from d2video.report import Chart, Section, Table

_THUMBNAILS, _COLUMNS = 6, 3  # of the frames that count most
_SIDE = 400  # in pixels
_CLASSES = 5


@dataclass
class ClassTokenRun:
    """What the class token makes of a video.

    Attributes:
        scores: (K,) probabilities.
        frame_index: (F,) int64, the numbers of the frames that the encoder sees.
        attention: (L, h, 1 + F), of the class token to itself and to the frames; each row sums to 1.
    """

    scores: Tensor
    frame_index: Tensor
    attention: Tensor


def run_video(model: VTN, frames: Sequence[Tensor]) -> ClassTokenRun:
    """Follow a video as ``stream_video`` does, and record its last answer.

    Args:
        model: in evaluation mode.
        frames: uint8 tensors (3, h, w), resized for the network; at least one.

    Raises:
        UserError: a frame is smaller than INPUT.CLASSIFICATION.CROP_SIZE_TEST.
    """
    seen: list[tuple[Tensor, Tensor]] = []

    def classify(features: list[Tensor], numbers: list[int]) -> Tensor:
        seen[:] = [(torch.stack(features)[None], torch.tensor(numbers)[None])]
        return model.video_scores(features, numbers)

    stream = VideoStream(model.encode_frames, classify, **model.stream_options)
    for scores in stream.follow(iter(frames)):
        last = scores
    ((features, frame_index),) = seen
    return ClassTokenRun(last, frame_index[0], class_attention(model, features, frame_index))


@torch.no_grad()
def class_attention(model: VTN, features: Tensor, frame_index: Tensor) -> Tensor:
    """The attention of the class token in every layer.

    Args:
        features: (1, F, C), of the backbone.
        frame_index: (1, F) int64.

    Returns:
        (L, h, 1 + F) float32, see :class:`ClassTokenRun`.
    """
    with record_attention(model.temporal_encoder, "layers.*.attention") as calls:
        model.classify(features, frame_index)
    first = torch.zeros(1, dtype=torch.int64, device=model.device)
    return torch.stack([call.weights(first)[:, 0] for (call,) in calls.values()]).cpu()


@sections.register
def inspect_vtn(model: VTN, look: Look) -> Iterator[Section]:
    """The page of VTN; see :mod:`d2video.inspection`."""
    look.takes("layer", "frames")
    options = model.stream_options
    frames = look.frames(options["stride"] * options["max_frames"])
    run = run_video(model, look.inputs(frames))
    layer = look.layer_of("encoder", len(run.attention))
    yield _class_section(model, look, run, len(frames))
    yield _frame_section(look, run, frames, layer)
    yield _layer_section(look, run)


def _class_section(model: VTN, look: Look, run: ClassTokenRun, count: int) -> Section:
    crop = model.stream_options["crop"]
    notes = [
        f"Of frames {look.first} to {look.first + count - 1} the encoder sees {len(run.frame_index)}, "
        "evenly spaced (MODEL.VTN.STREAM_STRIDE and STREAM_MAX_FRAMES)."
    ]
    if crop:
        notes.append(f"The backbone sees the middle {crop}x{crop} pixels of the resized frames.")
    best = named_classes(run.scores, _CLASSES, look.predictor.class_names)
    rows: list[list[str | float | None]] = [[name, 100 * score] for name, score in best]
    return Section(
        "Classes", notes, tables=[Table("the best classes", ["class", "score (%)"], rows)]
    )


def _frame_section(look: Look, run: ClassTokenRun, frames: list[np.ndarray], layer: int) -> Section:
    """The frames with the largest weights."""
    weights = run.attention[layer, :, 1:].mean(0)
    best = weights.argsort(descending=True, stable=True)[:_THUMBNAILS].tolist()
    numbers = run.frame_index.tolist()
    cells = [shown(frames[numbers[place]], _SIDE) for place in best]
    titles = [f"{look.first + numbers[place]}: {100 * weights[place]:.1f} %" for place in best]
    own = 100 * float(run.attention[layer, :, 0].mean())
    note = (
        f"The frames that the class token looks at most in layer {layer}, with their number and their "
        "share of its attention (mean over the heads), largest first. Equal shares would be "
        f"{100 / (len(numbers) + 1):.1f} %; the token gives itself {own:.1f} %."
    )
    drawn = sheet(cells, titles, _COLUMNS)
    media = [look.media("frames", drawn, f"the first {len(cells)} frames by weight", wide=True)]
    return Section("The frames that count most", [note], media)


def _layer_section(look: Look, run: ClassTokenRun) -> Section:
    """All weights, by layer and head."""
    layers, heads, _ = run.attention.shape
    numbers = (look.first + run.frame_index).tolist()
    names = [f"layer {i} head {head}" for i in range(layers) for head in range(heads)]
    drawn = matrix(
        100 * run.attention[:, :, 1:].flatten(0, 1),
        "",
        "frame",
        row_names=names,
        column_names=[str(number) for number in numbers],
        lowest=0,
    )
    media = [
        look.media("class_token", drawn, "shares of the frames in %, by layer and head", wide=True)
    ]
    mean = 100 * run.attention.mean(1)
    series = {
        f"layer {i}": list(zip(numbers, each[1:].tolist(), strict=True))
        for i, each in enumerate(mean)
    }
    rows: list[list[str | float | None]] = [
        [str(i), float(each[0]), numbers[int(each[1:].argmax())], float(each[1:].max())]
        for i, each in enumerate(mean)
    ]
    header = ["layer", "to itself (%)", "frame with the most", "its share (%)"]
    note = "The shares of a row, and what the token gives itself, sum to 100 %."
    return Section(
        "Attention of the class token",
        [note],
        media,
        [Table("the class token by layer, mean over heads", header, rows)],
        [Chart("share of each frame (%), mean over the heads", series)],
    )
