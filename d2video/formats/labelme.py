"""labelme's JSON files, one an image: images, or videos by a convention for tracks.

Coordinates are those of pixels' edges, and polygons cover what COCO's do. labelme's own drawing fills
the outline, too, so that masks exported by it are larger by up to a pixel on each side.
"""

import logging
import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

from d2video.formats.faults import EntryError, Report, Tally, refuse, reporting
from d2video.formats.labelme_files import LabelledImage, is_labelme, read_labelled_images
from d2video.formats.labelme_shapes import Instance
from d2video.formats.labels.label_formats import label_format
from d2video.formats.labels.label_set import LabelledVideo, LabelSet
from d2video.formats.labels.recognition import Seen
from d2video.utils.counted import counted
from d2video.video.image_io import (
    IMAGE_SUFFIXES,
    in_natural_order,
    number_in_name,
    visible_files,
)

logger = logging.getLogger(__name__)

_NUMBERED = re.compile(r"(.+)-\d+", re.DOTALL)
_ADVICE = 'set tracks to "group_id", "label" or "order" to make each folder a video'


def _recognises(seen: Seen) -> bool:
    if not seen.is_folder:
        return is_labelme(seen.json)
    # The first one may be another program's.
    names = islice((name for name in seen.files if name.lower().endswith(".json")), 5)
    return any(is_labelme(seen.json_in(name)) for name in names)


@label_format("labelme", _recognises)
def read_labelme(
    root: str,
    report: Report = refuse,
    *,
    image_root: str | None = None,
    tracks: Literal["group_id", "label", "order"] | None = None,
) -> LabelSet:
    """Read a JSON file, or all of a folder and of those in it.

    Shapes with the same label and ``group_id`` are one object of an image. Polygons, circles and masks
    give masks, rectangles boxes. Images without a JSON file are not labelled, and not used; a JSON
    file without shapes says that its image shows no object. Flags and descriptions are not used. What
    has the label ``__ignore__`` is a region to ignore, and ``_background_`` no object, as in labelme's
    own examples.

    Args:
        image_root: folder of the images, laid out as that of the JSON files, or flat. None: they are
            where ``imagePath`` says, or beside the JSON file.
        tracks: what says which objects of several images are the same. labelme has conventions only.
            With one, the images of each folder are a video, in natural order:

            - "group_id": objects with the same ``group_id``.
            - "label": objects with the same label, which ends in a number: ``cat-1`` is a cat.
            - "order": the n-th object of a label in each image. All images that have the label must
              have it equally often, as ``labelme --keep-prev`` writes them.

            None: every image is independent.

    Raises:
        UserError: no JSON file is labelme's, or no object in them can be used.
    """
    labels = LabelSet(root, report, tracked=tracks is not None)
    folders: dict[str, list[LabelledImage]] = defaultdict(list)
    for image in read_labelled_images(
        labels, image_root, "label" if tracks == "label" else "group_id"
    ):
        folders[image.folder].append(image)
    for folder, images in folders.items():
        if tracks is None:
            _add_images(labels, images)
        else:
            _add_video(labels, folder or Path(os.path.abspath(root)).stem, images, tracks)
    if os.path.isdir(root):
        _tell_unlabelled(labels)
    if tracks is None:
        _tell_identities(labels, [*folders.values()])
    return labels.finished()


def _add_images(labels: LabelSet, images: Sequence[LabelledImage]) -> None:
    for image in images:
        name = "/".join(filter(None, (image.folder, Path(image.path).stem)))
        video = labels.add_video(name, [image.frame], image.size)
        for each in image.objects:
            with reporting(labels.report, image.path, "shape", f"[{each.number}]"):
                video.add(0, each.label, **each.geometry(video))
        _add_regions(video, 0, image)


def _add_regions(video: LabelledVideo, number: int, image: LabelledImage) -> None:
    for each in image.regions:
        with reporting(video.labels.report, image.path, "shape", f"[{each.number}]"):
            video.add(number, None, ignored=True, **each.geometry(video))


def _add_video(labels: LabelSet, name: str, images: Sequence[LabelledImage], tracks: str) -> None:
    by_frame: dict[Path, LabelledImage] = {}
    counts: dict[str, int] = {}
    for image in images:
        with reporting(labels.report, image.path, "image", image.frame):
            _check_image(image, images[0], by_frame)
            if tracks == "order":
                _check_counts(image, counts)
            by_frame[Path(image.frame)] = image
    ordered = [by_frame[frame] for frame in in_natural_order(by_frame)]
    given = [number_in_name(Path(each.frame)) for each in ordered]
    numbers = [number for number in given if number is not None]
    if len({*numbers}) < len(ordered):
        numbers = [*range(len(ordered))]
    video = labels.add_video(name, [each.frame for each in ordered], images[0].size, numbers)
    for number, image in zip(numbers, ordered, strict=True):
        seen: Counter[str] = Counter()
        for each in image.objects:
            seen[each.label] += 1
            with reporting(labels.report, image.path, "shape", f"[{each.number}]"):
                category, track = _category_and_track(each, tracks, seen[each.label])
                video.add(number, category, track=track, **each.geometry(video))
        _add_regions(video, number, image)


def _check_image(
    image: LabelledImage, first: LabelledImage, known: dict[Path, LabelledImage]
) -> None:
    before = known.get(Path(image.frame))
    if before is not None:
        raise EntryError(f"{before.path} labels it, too; leave one of them out")
    if image.size != first.size:
        (height, width), (h, w) = image.size, first.size
        raise EntryError(
            f"it has {width}x{height} pixels, and the first of its video {w}x{h}: put the images of "
            "each video into a folder of their own"
        )


def _check_counts(image: LabelledImage, counts: dict[str, int]) -> None:
    """Compare how many objects each label has with the images before."""
    for label, count in Counter(each.label for each in image.objects).items():
        if counts.setdefault(label, count) != count:
            raise EntryError(
                f"it has {counted(count, 'object')} {label!r}, and an image before has "
                f"{counts[label]}, so that their order does not say which is which: give them "
                'group_ids, and set tracks "group_id"'
            )


def _category_and_track(each: Instance, tracks: str, place: int) -> tuple[str, int | str]:
    """The class and the track; ``place`` is that among the objects of the label, from 1."""
    if tracks == "order":
        return each.label, f"{each.label}-{place}"
    if tracks == "group_id":
        if each.group_id is None:
            raise EntryError(
                'it has no group_id, and with tracks "group_id" that is the track: give it one'
            )
        return each.label, each.group_id
    match = _NUMBERED.fullmatch(each.label)
    if match is None:
        raise EntryError(
            f"its label, {each.label!r}, does not end in a dash and a number, which with tracks "
            '"label" is the track: write one, as in cat-1'
        )
    return match[1], each.label


def _tell_unlabelled(labels: LabelSet) -> None:
    """Count the images without a JSON file in the folders of those that have one."""
    used = {Path(frame) for video in labels.videos for frame in video.frames}
    there = {
        path
        for folder in {each.parent for each in used}
        for path in visible_files(folder, IMAGE_SUFFIXES)
    }
    tally = Tally(labels.source, "images")
    tally.used = len(used)
    without = [path for path in there - used if not path.with_suffix(".json").is_file()]
    tally.leave_out("without a JSON file, which nobody has labelled", len(without))
    tally.tell(labels.report)


def _tell_identities(labels: LabelSet, folders: Sequence[Sequence[LabelledImage]]) -> None:
    """Say that images could be videos; group_ids that several images of a folder have are counted."""
    labels.track_advice = _ADVICE
    several = 0
    for images in folders:
        groups = [{each.group_id for each in image.objects} - {None} for image in images]
        images_of = Counter(group for found in groups for group in found)
        several += sum(count for count in images_of.values() if count > 1)
    tally = Tally(labels.source, "group_ids of several images")
    tally.leave_out("as every image is independent", several, advice=_ADVICE)
    tally.tell(labels.report)
    if not several and any(len(images) > 1 for images in folders):
        logger.info("%s: every image is independent; %s", labels.source, _ADVICE)
