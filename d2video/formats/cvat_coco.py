"""CVAT's export in COCO's JSON ("COCO 1.0"): tracks in ``attributes``, frame numbers in names of images."""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, cast

from d2video.fetching import around
from d2video.formats.coco import COCOInstances, Image, Instance, check_coco_instances
from d2video.formats.cvat_frames import frame_number
from d2video.formats.cvat_shapes import Shape, geometry, is_turned
from d2video.formats.faults import Doubt, EntryError, Report, Tally, refuse, reporting
from d2video.formats.geometry.boxes import is_number
from d2video.formats.image_folders import LOOKED_FOR, image_folders
from d2video.formats.labels.footage import Footage, find_image, find_video, read_footage
from d2video.formats.labels.label_formats import label_format
from d2video.formats.labels.label_set import LabelledObject, LabelledVideo, LabelSet
from d2video.formats.labels.recognition import only_json_file
from d2video.formats.standard_formats import is_coco_of_cvat
from d2video.formats.text import as_json, is_id, read_json
from d2video.utils.errors import UserError
from d2video.video.image_io import in_natural_order, read_image_size

_OWN = ("occluded", "track_id", "keyframe", "rotation")  # attributes that CVAT writes automatically
_STILL = 10  # frames without any move at the end of a track


@label_format("cvat_coco", is_coco_of_cvat)
def read_cvat_coco(
    root: str,
    report: Report = refuse,
    *,
    image_root: str | None = None,
    tracked: bool = True,
    crowds: bool = False,
) -> LabelSet:
    """Read one file. The images of one folder are the frames of a video.

    Frames have the numbers in their images' names, as in ``frame_000010.PNG``, or else their places from
    0 on. A file without tracks is one of single images.

    Args:
        root: the JSON file, or the folder with ``annotations`` and ``images``.
        report: takes what :func:`~d2video.formats.coco.check_coco_instances` finds; tracks that are twice
            in a frame or have two classes; and what is left out, or not meant as it reads.
        image_root: the folder of the images, or the video file, if they are not where CVAT puts them.
        tracked: False: every frame is a single image. This keeps masks, which have no tracks in CVAT.
        crowds: ``iscrowd`` of masks means a region to ignore. CVAT sets it for every mask.

    Raises:
        UserError: the file is missing or not in the format, or the frames are not found or not those
            that were labelled.
    """
    path = only_json_file(root)
    content = read_json(path)
    if not crowds:
        _make_objects_of_crowds(content, path, report)
    return label_set_of(content, path, report, image_root, tracked=tracked).finished(judged=True)


def label_set_of(
    content: Any, path: str, report: Report, image_root: str | None, *, tracked: bool
) -> LabelSet:
    """The labels in the content of a file, to be finished as judged.

    The other arguments are those of :func:`read_cvat_coco`. Where an image has ``frame``, a whole number,
    that is its frame number.

    Raises:
        UserError: as :func:`read_cvat_coco`.
    """
    file = check_coco_instances(content, path, report)
    attributes = [_attributes(each) for each in file.instances or ()]
    labels = LabelSet(
        path,
        report,
        classes=[*file.categories.values()],
        class_numbers=[*file.categories],
        tracked=tracked and any("track_id" in each for each in attributes),
    )
    labels.labelled = file.instances is not None
    frames = _frames(file, path, image_root)
    places = (_add_videos if labels.tracked else _add_images)(labels, file, frames)
    _add_objects(labels, file, places)
    if labels.tracked:
        _doubt_still_ends(labels)
    tally = Tally(path, "attributes of shapes")
    for name in (name for each in attributes for name in each if name not in _OWN):
        tally.leave_out(f"called {name}")
    tally.tell(report)
    return labels


class _Place(NamedTuple):
    """The frame of an image."""

    video: LabelledVideo
    number: int


def _make_objects_of_crowds(content: Any, path: str, report: Report) -> None:
    annotations = content.get("annotations") if isinstance(content, dict) else None
    count = 0
    for fields in annotations if isinstance(annotations, list) else ():
        is_mask = isinstance(fields, dict) and isinstance(fields.get("segmentation"), dict)
        if is_mask and fields.get("iscrowd") == 1:
            fields["iscrowd"] = 0
            count += 1
    if count:
        text = (
            f"masks with iscrowd 1 ({count}), which CVAT writes of all masks, are read as objects: if they "
            "are regions to ignore, set crowds=True"
        )
        report(Doubt(path, text))


def _attributes(instance: Instance) -> Mapping[str, Any]:
    given = cast(Mapping[str, Any], instance).get("attributes")
    return given if isinstance(given, dict) else {}


def _frames(file: COCOInstances, path: str, image_root: str | None) -> dict[int | str, str]:
    """The frame of each image, by its id.

    Raises:
        UserError: there are none, some are not found, or they are of another size than the file says.
    """
    images = [*file.images.values()]
    if not images:
        raise UserError(f"{path}: no image of it can be used; correct the file")
    place = _find_frames(path, [image["file_name"] for image in images], image_root)
    if os.path.isfile(place):
        footage = read_footage(place)
        by_number: dict[int | None, str] = dict(enumerate(footage.frames))
        found = {each["id"]: by_number.get(_number(each)) for each in images}
    else:
        found = {i["id"]: find_image(os.path.join(place, i["file_name"])) for i in images}
    missing = [each["file_name"] for each in images if found[each["id"]] is None]
    if missing:
        raise UserError(
            f"{path} labels {len(images)} images, of which {len(missing)} are not in {place}, such as "
            f"{missing[0]}: give the folder or the video that was labelled (image_root)"
        )
    frames = {key: name for key, name in found.items() if name is not None}
    if not os.path.isfile(place):
        first = frames[images[0]["id"]]
        footage = Footage(place, [first], read_image_size(first), False)
    footage.check_size((images[0]["height"], images[0]["width"]), path)
    return frames


def _find_frames(path: str, names: Sequence[str], image_root: str | None) -> str:
    """The folder with the images, of which some may be missing, or else the video file, by the name of the
    export if there are several."""
    folder = os.path.dirname(os.path.abspath(path))
    export = os.path.dirname(folder)
    places, near = [*image_folders(path)], [*around(folder), *around(export)]
    if image_root is not None:
        if os.path.isfile(image_root):
            return image_root
        places = near = [image_root]
    for name, place in product(names[:LOOKED_FOR], dict.fromkeys(places)):
        if find_image(os.path.join(place, name)) is not None:
            return place
    video = find_video(near, os.path.basename(export))
    if video is None:
        raise UserError(
            f"{path}: neither the folder of its images, such as {names[0]}, nor one video file was found in "
            f"or beside {near[-1]}: name it as image_root"
        )
    return video


def _number(image: Image) -> int | None:
    stated = cast(Mapping[str, Any], image).get("frame")
    return stated if is_id(stated) else frame_number(Path(image["file_name"]))


def _add_images(
    labels: LabelSet, file: COCOInstances, frames: Mapping[int | str, str]
) -> dict[int | str, _Place]:
    places = {}
    for key, image in file.images.items():
        size = image["height"], image["width"]
        places[key] = _Place(labels.add_video(image["file_name"], [frames[key]], size), 0)
    return places


def _add_videos(
    labels: LabelSet, file: COCOInstances, frames: Mapping[int | str, str]
) -> dict[int | str, _Place]:
    """One of each folder of images."""
    folders: dict[str, list[Image]] = defaultdict(list)
    for image in file.images.values():
        folders[os.path.dirname(image["file_name"])].append(image)
    places: dict[int | str, _Place] = {}
    for folder, images in folders.items():
        name = "_".join(filter(None, [_task_name(labels.source), folder.replace("/", "_")]))
        numbers = [_number(image) for image in images]
        if None in numbers or len({*numbers}) < len(numbers):
            names = [Path(image["file_name"]) for image in images]
            order = {each: number for number, each in enumerate(in_natural_order(names))}
            numbers = [order[each] for each in names]
        numbered = dict(sorted(zip(cast(Sequence[int], numbers), images), key=lambda each: each[0]))
        if len(numbered) < len(images) or len({(i["height"], i["width"]) for i in images}) > 1:
            raise UserError(
                f"{labels.source}: two frames of {name} have one name, or differ in size: make a task of "
                "each video"
            )
        size = images[0]["height"], images[0]["width"]
        files = [frames[image["id"]] for image in numbered.values()]
        video = labels.add_video(name, files, size, [*numbered])
        places |= {image["id"]: _Place(video, number) for number, image in numbered.items()}
    return places


def _task_name(path: str) -> str:
    """The subset, or, where CVAT calls it default, the folder of the export."""
    subset = Path(path).stem.removeprefix("instances_")
    return Path(path).absolute().parents[1].name if subset == "default" else subset


def _add_objects(labels: LabelSet, file: COCOInstances, places: Mapping[int | str, _Place]) -> None:
    for place, instance in enumerate(file.instances or ()):
        video, number = places[instance["image_id"]]
        attributes = _attributes(instance)
        with reporting(labels.report, file.source, "annotation", instance.get("id", f"[{place}]")):
            track = attributes.get("track_id")
            if track is None and labels.tracked and not instance["iscrowd"]:
                labels.tally.leave_out(
                    "without a track (in CVAT masks have none)",
                    advice="tracked=False reads every frame as a single image, with them",
                )
                continue
            if track is not None and not is_id(track):
                raise EntryError(
                    f"its track_id, {as_json(track)}, is not a whole number; correct it"
                )
            video.add(
                number,
                file.categories[instance["category_id"]],
                track=track if labels.tracked else None,
                box=_box(instance, labels),
                segmentation=instance.get("segmentation"),
                checked=True,  # by check_coco_instances
                ignored=bool(instance["iscrowd"]),
                visibility=0.0 if attributes.get("occluded") is True else 1.0,
            )


def _box(instance: Instance, labels: LabelSet) -> Sequence[float]:
    """The one around it, if it is rotated."""
    rotation = _attributes(instance).get("rotation", 0.0)
    if not is_number(rotation):
        raise EntryError(f"its rotation, {as_json(rotation)}, is not a number; correct it")
    x, y, w, h = instance["bbox"]
    shape = Shape("box", (x, y, x + w, y + h), rotation, False)
    if "segmentation" in instance or not is_turned(shape):
        return instance["bbox"]
    labels.leave_out_rotation()
    return geometry(shape, (0, 0))["box"]


def _doubt_still_ends(labels: LabelSet) -> None:
    """CVAT has exported objects that had left as boxes that stay, without a mark (cvat-ai/cvat#9797)."""
    found = []
    for video in labels.videos:
        tracks: dict[int, list[LabelledObject]] = defaultdict(list)
        for each in sorted(video.objects, key=lambda each: -each.frame):
            if not each.ignored:
                tracks[each.track].append(each)
        for track, backwards in tracks.items():
            last = backwards[0]
            moved = (k for k, each in enumerate(backwards) if each.box != last.box)
            if next(moved, 0) >= _STILL and last.frame == len(video.frames) - 1:
                found.append(f"track {track} of {video.name}")
    if found:
        text = (
            f"tracks that move and then stand still to the end of the video ({len(found)}; the first is "
            f"{found[0]}): some versions of CVAT export objects so that have left; look at them"
        )
        labels.report(Doubt(labels.source, text))
