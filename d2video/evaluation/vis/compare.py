"""Compare the predicted tracks of a video with its labelled tracks.

This is the costly half of the YouTube-VIS protocol (:mod:`.accumulate` is the other). It needs one
video at a time, so evaluators run it in the process that made the predictions.

Shapes: D predictions and G labelled tracks of a category in a video, sorted by falling score and in
file order; L frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pycocotools.mask as coco_mask

from d2video.evaluation.vis.ground_truth import RLE, VideoTruth
from d2video.formats.geometry.rle import mask_areas

# Best-scored predictions of a video *and category* that take part.
MAX_PREDICTIONS = 100


@dataclass(frozen=True)
class Unit:
    """The predictions and labelled tracks of one category in one video.

    Attributes:
        video_id, category_id: as in the annotation file.
        scores: (D,) float64, falling; equal scores keep the order of the predictions.
        areas: (D,) float64, mean area over the frames with a mask that is not empty, pixels.
        ious: (D, G) float64 in [0, 1].
        truth_areas: (G,) float64, pixels.
        truth_crowd: (G,) bool.
    """

    video_id: int
    category_id: int
    scores: np.ndarray
    areas: np.ndarray
    ious: np.ndarray
    truth_areas: np.ndarray
    truth_crowd: np.ndarray


def compare_video(
    video: VideoTruth,
    category_ids: Sequence[int],
    scores: Sequence[float],
    masks: Sequence[Sequence[RLE | None]],
) -> list[Unit]:
    """Compare the N predictions for a video with its labels, category by category.

    Only the ``MAX_PREDICTIONS`` best-scored predictions of a category take part.

    Args:
        video: the video's labels.
        category_ids: N ids as in the annotation file.
        scores: N numbers.
        masks: N lists of L compressed RLEs of the video's size, None in frames without the object.

    Returns:
        One unit for each category that has a prediction or a labelled track, ascending by id.
    """
    labels = np.asarray(category_ids, dtype=np.int64)
    all_scores = np.asarray(scores, dtype=np.float64)
    truth_labels = np.array([track.category_id for track in video.tracks], dtype=np.int64)
    units = []
    for category_id in np.union1d(labels, truth_labels).tolist():
        mine = np.flatnonzero(labels == category_id)
        mine = mine[np.argsort(-all_scores[mine], kind="stable")][:MAX_PREDICTIONS]
        tracks = [track for track in video.tracks if track.category_id == category_id]
        ious, areas = track_ious(
            [masks[i] for i in mine.tolist()],
            [track.masks for track in tracks],
            video.height,
            video.width,
        )
        units.append(
            Unit(
                video_id=video.video_id,
                category_id=category_id,
                scores=all_scores[mine],
                areas=areas,
                ious=ious,
                truth_areas=np.array([track.area for track in tracks], dtype=np.float64),
                truth_crowd=np.array([track.is_crowd for track in tracks], dtype=bool),
            )
        )
    return units


def track_ious(
    predictions: Sequence[Sequence[RLE | None]],
    truths: Sequence[Sequence[RLE | None]],
    height: int,
    width: int,
) -> tuple[np.ndarray, np.ndarray]:
    """IoU of tracks, all intersections over all unions, and mean areas of the predictions.

    Returns:
        ious: (D, G) float64.
        mean_areas: (D,) float64 pixels, over frames where a mask is not empty.
    """
    truth_areas = _frame_areas(truths)
    if truths and predictions:
        intersection, areas = _intersections(predictions, truths, truth_areas, height, width)
    else:
        intersection = np.zeros((len(predictions), len(truths)))
        areas = _frame_areas(predictions)
    union = areas.sum(axis=0)[:, None] + truth_areas.sum(axis=0) - intersection
    ious = np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)
    visible = np.count_nonzero(areas, axis=0)
    mean_areas = areas.sum(axis=0) / np.maximum(visible, 1)
    return ious, mean_areas


def _intersections(
    predictions: Sequence[Sequence[RLE | None]],
    truths: Sequence[Sequence[RLE | None]],
    truth_areas: np.ndarray,
    height: int,
    width: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels common to two tracks, (D, G), and pixels of a prediction in a frame, (L, D).

    Parsing the codes is what costs here, and ``pycocotools.mask.iou`` parses a prediction once for
    all its partners. The whole frame as one more partner tells the prediction's area, and with the
    areas each ratio turns back into the pixel count that it came from. pycocotools has no call for
    several frames, hence the loop.
    """
    pixels = height * width
    empty, whole = coco_mask.frPyObjects(
        [{"size": [height, width], "counts": counts} for counts in ([pixels], [0, pixels])],
        height,
        width,
    )
    # Frame by frame, an absent object as an empty mask.
    predicted = zip(*([mask or empty for mask in track] for track in predictions))
    labelled = zip(*([mask or empty for mask in track] for track in truths))
    plain = [0] * (len(truths) + 1)  # crowds get the same IoU as others in this protocol
    ratios = np.stack(
        [coco_mask.iou(list(d), [*g, whole], plain) for d, g in zip(predicted, labelled)]
    )  # (L, D, G + 1)
    areas = np.rint(ratios[..., -1] * pixels)
    ratios = ratios[..., :-1]
    both = areas[:, :, None] + truth_areas[:, None, :]
    return np.rint(ratios / (1 + ratios) * both).sum(axis=0), areas


def _frame_areas(tracks: Sequence[Sequence[RLE | None]]) -> np.ndarray:
    """(L, N) float64 pixels, 0 where a mask is None."""
    areas = np.zeros((len(tracks), len(tracks[0]) if tracks else 0))
    present = np.array([[mask is not None for mask in track] for track in tracks], dtype=bool)
    flat = [mask for track in tracks for mask in track if mask is not None]
    areas[present] = mask_areas(flat)
    return areas.T
