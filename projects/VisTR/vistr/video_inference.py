"""Videos of any length through the network, and the answers: frame by frame, or of the whole video.

Shapes: T: frames of a window, s: slots kept, h×w: mask logits (stride 4), H×W: output.
"""

from collections.abc import Callable, Iterable, Iterator

import torch
from d2video.projects.vistr.tracks import (
    ClipPrediction,
    Track,
    TrackedFrame,
    WindowLinker,
    windows_of,
)
from detectron2.structures import Boxes, Instances
from torch import Tensor

from d2video.formats.geometry.mask_runs import MaskRuns
from d2video.formats.geometry.rle import encode_runs
from d2video.modeling.mask_runs import resized_masks, runs_of_logits
from d2video.modeling.rescoring import logit_ious
from d2video.structures.answers import VideoInstances
from d2video.utils.batches import comes_one_at_a_time, in_batches
from d2video.utils.transfer import to_device

# Frames; the masks of one frame alone take nearly twice as long.
_RUNS_TOGETHER = 8


def track_video(
    frames: Iterable[Tensor],
    predict: Callable[[list[list[Tensor]]], list[ClipPrediction]],
    *,
    num_frames: int,
    overlap: int,
    link_iou: float,
    batch: int = 1,
) -> Iterator[TrackedFrame]:
    """Follow objects through a video of any length, holding one batch of windows at a time.

    Args:
        frames: what ``predict`` takes, T = ``num_frames`` of them in a window.
        predict: of windows.
        overlap: shared frames of neighbouring windows, in [1, T - 1].
        batch: windows at once; 1 if the frames come one at a time.

    Yields:
        one :class:`TrackedFrame` a frame, in order, at most as late as a batch is long.
    """
    linker = WindowLinker(link_iou, lambda a, b: logit_ious(a, b).cpu().numpy())
    at_once = 1 if comes_one_at_a_time(frames) else batch
    for windows in in_batches(windows_of(frames, num_frames, overlap), at_once):
        predictions = predict([window.frames for window in windows])
        for window, prediction in zip(windows, predictions, strict=True):
            yield from linker.frames(prediction, window.num_shared, window.num_valid)
        del windows, window, predictions, prediction  # not kept while the next ones are worked out


def frame_instances(
    frame: TrackedFrame, size: tuple[int, int], frame_threshold: float, label_offset: int
) -> Instances:
    """detectron2 ``Instances`` of one frame: the tracks that are visible in it.

    Args:
        size: (H, W) of the output.
        frame_threshold, label_offset: see :meth:`TrackedFrame.shown`.

    Returns:
        the fields of docs/extend/architecture.md ("Streaming"), all on the device of the masks.
    """
    masks = resized_masks(frame.mask_logits, size)
    filled = masks.flatten(1).any(1).cpu().numpy()
    (rows,) = (filled & frame.shown(frame_threshold, label_offset)).nonzero()
    device = masks.device
    rows_there, scores, classes, ids = (
        to_device(torch.from_numpy(column), device)
        for column in (rows, *frame.columns(rows, label_offset))
    )
    masks = masks[rows_there]
    result = Instances(size)
    result.pred_boxes = Boxes(_boxes_around(masks))
    result.scores = scores
    result.pred_classes = classes
    result.pred_masks = masks
    result.track_ids = ids
    return result


def _boxes_around(masks: Tensor) -> Tensor:
    """(N, H, W) bool, none empty, to XYXY boxes (N, 4) around their pixels.

    As detectron2's ``BitMasks.get_bounding_boxes``, which waits for the device at every mask.
    """
    sides = [masks.any(1).byte(), masks.any(2).byte()]  # columns, rows
    low = [side.argmax(1) for side in sides]
    high = [side.shape[1] - side.flip(1).argmax(1) for side in sides]
    return torch.stack(low + high, dim=1).float()


def _with_runs(
    frames: Iterable[TrackedFrame], size: tuple[int, int]
) -> Iterator[tuple[TrackedFrame, MaskRuns]]:
    """Each frame with the runs of its s masks."""
    for batch in in_batches(frames, _RUNS_TOGETHER):
        runs = runs_of_logits(torch.cat([frame.mask_logits for frame in batch]), size)
        yield from zip(batch, runs.split([len(frame.tracks) for frame in batch]), strict=True)


def collect_video(
    frames: Iterable[TrackedFrame], size: tuple[int, int], frame_threshold: float, label_offset: int
) -> VideoInstances:
    """A model's answer to a whole video (docs/extend/architecture.md): tracks with one RLE a frame.

    A track is left out if its masks are empty in all frames. A frame's mask is ``None`` where the
    track is not known or its confidence is below ``frame_threshold``.
    """
    tracks: dict[int, Track] = {}
    codes: dict[int, dict[int, dict]] = {}  # of each track: frame to RLE
    seen: set[int] = set()
    unseen: set[int] = set()
    length = 0
    for frame, runs in _with_runs(frames, size):
        # A track that is not carried on never returns. Every window brings slots that show nothing.
        for gone in unseen - {track.id for track in frame.tracks}:
            del tracks[gone], codes[gone]
        shown = (frame.confidence >= frame_threshold).tolist()
        filled = (runs.per_mask > 0).tolist()
        for track, rle, show, full in zip(frame.tracks, encode_runs(runs), shown, filled):
            tracks[track.id] = track
            history = codes.setdefault(track.id, {})
            if show:
                history[length] = rle
            if full:
                seen.add(track.id)
        unseen = {track.id for track in frame.tracks} - seen
        length += 1
    kept = [t for t in tracks.values() if t.id in seen and t.category >= label_offset]
    return {
        "image_size": size,
        "pred_scores": [track.score for track in kept],
        "pred_labels": [track.category - label_offset for track in kept],
        "pred_masks": [[codes[track.id].get(t) for t in range(length)] for track in kept],
        "pred_ids": [track.id for track in kept],
    }
