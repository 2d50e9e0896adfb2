"""Copy-paste: objects of another training sample are pasted onto the frames of a sample."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from detectron2.structures import BitMasks, Boxes, Instances
from torch import Tensor

from d2video.data.mappers.clip import sample_seed

Sample = dict[str, Any]
Frame = tuple[Tensor, Instances]  # uint8 (3,H,W), and targets with masks


class CopyPasteMapper:
    """A mapper whose samples sometimes have objects of another sample on them.

    Each sample is augmented with its own draws. A random number of the second one's objects is pasted, pixel
    by pixel, each in all its frames: frame t onto frame t, at the same offset. What lies under them is
    hidden: masks lose these pixels, boxes become those of the masks that are left, and an object of which
    nothing is left is absent. (G. Ghiasi et al.: Simple copy-paste is a strong data augmentation for
    instance segmentation, CVPR 2021; without its blending, which it finds not to matter.)

    Works with mappers whose samples have one of three forms (docs/extend/architecture.md): an image,
    a frame with previous ones, or a clip. All draws come from the sample's own seed, see
    :func:`~d2video.data.mappers.clip.sample_seed`.
    """

    def __init__(
        self,
        mapper: Callable[[Any], Sample],
        records: Any,
        *,
        prob: float,
        max_objects: int = 100,
        overlap: float = 0.0,
    ):
        """
        Args:
            mapper: gives training samples with masks (BitMasks).
            records: a dataset of its records, of which the second one is drawn.
            prob: probability that objects are pasted onto a sample, 0 to 1.
            max_objects: limit of a sample's objects, up to which others are pasted.
            overlap: see :func:`paste_objects`.
        """
        assert 0 <= prob <= 1, prob
        self._mapper = mapper
        self._records = records
        self._prob = prob
        self._max_objects = max_objects
        self._overlap = overlap

    def __call__(self, record: Any) -> Sample:
        """
        Raises:
            BrokenFile, UserError: as the mapper, for either of the two records.
        """
        sample = self._mapper(record)
        rng = np.random.default_rng(sample_seed())
        if rng.random() >= self._prob:
            return sample
        other = self._records[int(rng.integers(len(self._records)))]
        if "batch_number" in record:
            other = {**other, "batch_number": record["batch_number"]}
        return paste_objects(
            *(sample, self._mapper(other), rng),
            classes=_thing_classes(other),
            most=self._max_objects,
            overlap=self._overlap,
        )

    def most_objects(self, counts: np.ndarray) -> np.ndarray:
        """How many objects samples have at most, int64 (N,), from their own ``counts``."""
        pasted = np.minimum(counts + counts.max(initial=0), self._max_objects)
        return np.maximum(counts, pasted)


def _thing_classes(record: Any) -> set[int] | None:
    """Classes whose objects may be pasted; None: all. Of a panoptic image the things, not the stuff."""
    if "segments_info" not in record:
        return None
    return {each["category_id"] for each in record["segments_info"] if each["isthing"]}


def paste_objects(
    sample: Sample,
    source: Sample,
    rng: np.random.Generator,
    *,
    classes: set[int] | None = None,
    most: int = 100,
    overlap: float = 0.0,
) -> Sample:
    """``sample`` with a random choice of the objects of ``source``; neither is changed.

    Args:
        sample, source: of the same mapper, with as many frames; their sizes may differ. Then the source
            is moved by a random offset, within the sample if it fits, and what lies outside is cut off.
        rng: of all draws.
        classes: only objects of these are pasted; None: of all.
        most: limit of the objects in all frames of the result together, up to which others are pasted.
        overlap: probability, 0 to 1, that instead a single object is pasted, at an offset at which its box
            overlaps that of an object of its class in some frame, if there are two such objects.
    """
    frames, others = _frames(sample), _frames(source)
    own, tracks = _tracks(sample), _tracks(source)
    candidates = _visible(others, tracks, classes)
    room = min(len(candidates), most - len(_visible(frames, own)))
    if room < 1:
        return sample
    chosen = rng.choice(candidates, int(rng.integers(1, room, endpoint=True)), replace=False)
    size = frames[0][1].image_size
    free = [there - here for there, here in zip(size, others[0][1].image_size, strict=True)]
    offset = [int(rng.integers(min(n, 0), max(n, 0), endpoint=True)) for n in free]
    if overlap and rng.random() < overlap:
        found = _on_its_class(frames, others, own, tracks, candidates, rng)
        chosen, offset = found or (chosen, offset)
    first_id = 1 + max((int(ids.max()) for ids in own if len(ids)), default=-1)
    pasted = []
    for (image, targets), (picture, objects), ids in zip(frames, others, tracks, strict=True):
        rows = torch.isin(ids, torch.from_numpy(chosen))
        objects = _moved(objects[rows], size, offset, first_id)
        cover = objects.gt_masks.tensor.any(0)
        image = torch.where(cover, _placed(picture, size, offset), image)
        pasted.append((image, Instances.cat([_covered(targets, cover), objects])))
    return _with_frames(sample, pasted)


def _on_its_class(
    frames: list[Frame],
    others: list[Frame],
    own: list[Tensor],
    tracks: list[Tensor],
    candidates: list[int],
    rng: np.random.Generator,
) -> tuple[np.ndarray, list[int]] | None:
    """One of the ``candidates`` among the tracks of ``others``, int64 (1,), and the offset (down, right) that
    moves its middle close to that of an object of its class: apart by 0.2 to 0.8 of the distance at which the
    boxes touch, in a random direction. Both are of a random frame; None if it has no such pair."""
    t = int(rng.integers(len(frames)))
    (_, targets), (_, objects) = frames[t], others[t]
    here = (own[t] >= 0) & (_areas(targets) > 0)
    there = torch.isin(tracks[t], torch.tensor(candidates)) & (_areas(objects) > 0)
    equal = targets.gt_classes[:, None] == objects.gt_classes
    pairs = (equal & here[:, None] & there).nonzero()
    if not len(pairs):
        return None
    i, j = pairs[int(rng.integers(len(pairs)))].tolist()
    box, moved = targets.gt_boxes.tensor[i].numpy(), objects.gt_boxes.tensor[j].numpy()
    touching = (box[2:] - box[:2] + moved[2:] - moved[:2]) / 2
    direction = rng.uniform(0, 2 * np.pi)
    shift = np.array([np.cos(direction), np.sin(direction)]) * touching * rng.uniform(0.2, 0.8)
    right, down = (box[:2] + box[2:] - moved[:2] - moved[2:]) / 2 + shift
    return tracks[t][j : j + 1].numpy(), [round(float(down)), round(float(right))]


def _visible(
    frames: list[Frame], tracks: list[Tensor], classes: set[int] | None = None
) -> list[int]:
    """The tracks that some frame shows, ascending, perhaps only those of some classes."""
    found: set[int] = set()
    for (_, targets), ids in zip(frames, tracks, strict=True):
        shown = (ids >= 0) & (_areas(targets) > 0)
        pairs = zip(ids[shown].tolist(), targets.gt_classes[shown].tolist(), strict=True)
        found.update(track for track, c in pairs if classes is None or c in classes)
    return sorted(found)


def _placed(pixels: Tensor, size: tuple[int, int], offset: list[int]) -> Tensor:
    """Pixels (...,h,w) at an offset (down, right) in zeros (...,H,W) of a size; the rest is cut off."""
    (y, x), (h, w) = offset, pixels.shape[-2:]
    return torch.nn.functional.pad(pixels, (x, size[1] - w - x, y, size[0] - h - y))


def _moved(
    objects: Instances, size: tuple[int, int], offset: list[int], first_id: int
) -> Instances:
    """Objects at an offset in an image of another size; their tracks are numbered from ``first_id`` on."""
    placed = _placed(objects.gt_masks.tensor, size, offset)
    moved = objects.gt_boxes.tensor + torch.tensor(offset[::-1] * 2)
    result = Instances(size, **objects.get_fields())
    result.gt_boxes = Boxes(moved)
    if objects.has("gt_ids"):
        result.gt_ids = torch.where(objects.gt_ids < 0, -1, objects.gt_ids + first_id)
    areas = _areas(objects)  # 0: absent, whose box must not be moved
    return _with_masks(result, placed, (placed.flatten(1).sum(1) < areas) | (areas == 0))


def _covered(targets: Instances, cover: Tensor) -> Instances:
    """The targets of a frame of which some pixels, bool (H,W), are covered."""
    left = targets.gt_masks.tensor & ~cover
    return _with_masks(targets, left, left.flatten(1).sum(1) < _areas(targets))


def _areas(targets: Instances) -> Tensor:
    return targets.gt_masks.tensor.flatten(1).sum(1)


def _with_masks(targets: Instances, masks: Tensor, less: Tensor) -> Instances:
    """Targets with other masks. Those that are ``less`` than before, bool (N,), get the masks' boxes, or
    are absent if they are empty."""
    result = Instances(targets.image_size, **targets.get_fields())
    result.gt_masks = BitMasks(masks)
    boxes = targets.gt_boxes.tensor.clone()
    boxes[less] = result.gt_masks[less].get_bounding_boxes().tensor
    result.gt_boxes = Boxes(boxes)
    if targets.has("gt_ids"):
        result.gt_ids = targets.gt_ids.masked_fill(less & (_areas(result) == 0), -1)
    return result


# ---- the three forms of samples -----------------------------------------------------------------


def _is_clip(sample: Sample) -> bool:
    """Whether the sample is a clip, in which row i of every frame is the same object."""
    return isinstance(sample["image"], list)


def _frames(sample: Sample) -> list[Frame]:
    if _is_clip(sample):
        return [*zip(sample["image"], sample["instances"], strict=True)]
    return [(each["image"], each["instances"]) for each in (sample, *sample.get("previous", ()))]


def _tracks(sample: Sample) -> list[Tensor]:
    """For each frame the track of each row, int64 (N,). In a clip the rows of absent objects have one,
    too, or -1 if no frame shows the object; in a single image it is the number of the row."""
    if _is_clip(sample):
        ids = torch.stack([each.gt_ids for each in sample["instances"]])
        return [ids.amax(0)] * len(ids)
    if "previous" not in sample:
        return [torch.arange(len(sample["instances"]))]
    return [targets.gt_ids for _, targets in _frames(sample)]


def _with_frames(sample: Sample, frames: list[Frame]) -> Sample:
    """The sample with other frames, without the objects that are hidden in them.

    They have the objects of the sample first.
    """
    if _is_clip(sample):
        images, targets = zip(*frames, strict=True)
        seen = torch.stack([each.gt_ids for each in targets]).amax(0) >= 0
        # Official targets have rows of objects that the clip does not show.
        before = torch.stack([each.gt_ids for each in sample["instances"]]).amax(0) < 0
        seen[: len(before)] |= before
        return {**sample, "image": [*images], "instances": [each[seen] for each in targets]}
    shown = [{"image": image, "instances": each[_areas(each) > 0]} for image, each in frames]
    if "previous" not in sample:
        return sample | shown[0]
    previous = [old | new for old, new in zip(sample["previous"], shown[1:], strict=True)]
    return sample | shown[0] | {"previous": previous}
