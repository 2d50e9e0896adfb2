"""Videos in COCO's JSON: CocoVID of MMTracking, TAO, and the form that TrackFormer uses.

Besides COCO's keys ``images`` have ``frame_id`` (or ``frame_index``), a number that grows through the
video, and either ``video_id`` or ``first_frame_image_id``, the same for all images of a video, and
optionally ``seq_length``. ``annotations`` have ``instance_id`` or ``track_id`` (also in ``attributes``) and
optionally ``visibility``. ``videos`` with ``id`` and ``name`` may be there. All else is as in
:mod:`d2video.formats.coco`.
"""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, cast

from d2video.formats.coco import COCOInstances, Instance, check_coco_instances
from d2video.formats.faults import EntryError, Report, Tally, refuse, reporting
from d2video.formats.geometry.rle import to_rle
from d2video.formats.image_folders import image_folders
from d2video.formats.labels.label_formats import label_format
from d2video.formats.labels.label_set import LabelledObject, LabelSet
from d2video.formats.labels.recognition import only_json_file
from d2video.formats.paths import leaves_folder
from d2video.formats.standard_formats import is_coco_of_videos
from d2video.formats.text import as_json, is_id, json_entries, read_json
from d2video.utils.errors import UserError
from d2video.video.frame_names import file_of_frame

# An image of the file, whose fields of tracks have been checked.
_Image: TypeAlias = Mapping[str, Any]


@label_format("cocovid", is_coco_of_videos)
def read_cocovid(
    root: str, report: Report = refuse, *, image_root: str | None = None, needs_images: bool = True
) -> LabelSet:
    """Read one file; no image is opened.

    Boxes stay as they are, with corners from 0 on as in COCO. (The files that the official
    TrackFormer makes of MOT17 hold corners from 1 on: read MOT17 with
    :func:`~d2video.data.datasets.mot.register_mot` instead.)

    Args:
        root: the JSON file, or a folder that holds no other one.
        report: takes what :func:`~d2video.formats.coco.check_coco_instances` finds, and the faults
            of videos and tracks: images of a video differ in size, share a frame, are not as many
            as ``seq_length``, or their video is not among ``videos``; an annotation names another video;
            an object has no track, or a track is twice in an image. A track of several classes is a doubt,
            and one of each.
        image_root: the folder that ``file_name`` are relative to, or their video's folder in it; None: the
            file's ``image_root``, or looked for below and beside the file.
        needs_images: False: if they are not found there, they are taken to lie beside the file.

    Returns:
        the videos by their names in the file's ``videos``, else "video_1" and so on. Frames have the
        numbers of ``frame_id``, but 1 to L where these are 0 to L-1, as in files of results. Crowds and
        objects with ``ignore`` are ignored.

    Raises:
        UserError: the file is missing, no JSON or not in the format, or lists no images, or the images
            are not found.
    """
    path = only_json_file(root)
    content = read_json(path)
    file = check_coco_instances(content, path, report, whole_bodies=True)
    labels = LabelSet(
        path,
        report,
        classes=[*file.categories.values()],
        class_numbers=[*file.categories],
        mixed_tracks=True,
    )
    labels.labelled = file.instances is not None
    images: dict[int | str, _Image] = {}
    for image_id, fields in file.images.items():
        with reporting(report, path, "image", image_id):
            images[image_id] = _checked_image(cast(dict[str, Any], fields))
    videos = _group(images, path, report)
    names = _names(content, [_video(frames[0]) for frames in videos], path, report)
    stated = content.get("image_root")
    places = image_folders(path, stated) if image_root is None else [image_root]
    files = _find_files(videos, names, places)
    if files is None and image_root is None and needs_images:
        raise UserError(
            f"{path}: the folder of its images was not found ({videos[0][0]['file_name']} is neither below "
            "nor beside it): name the folder as image_root"
        )
    if files is None:
        files = _joined([image_root or os.path.dirname(path) or "."] * len(videos), videos)
    place: dict[int | str, tuple[int, int]] = {}
    for k, (name, frames) in enumerate(zip(names, videos, strict=True)):
        size = frames[0]["height"], frames[0]["width"]
        numbers = [image["frame_id"] for image in frames]
        shift = int(numbers == [*range(len(numbers))])
        labels.add_video(name.replace("/", "_"), files[k], size, [n + shift for n in numbers])
        place |= {image["id"]: (k, frame) for frame, image in enumerate(frames)}
    _add_objects(labels, file, images, place)
    labels.split_tracks()
    return labels  # what is left out, check_coco_instances has reported


def _checked_image(image: dict[str, Any]) -> _Image:
    """With ``frame_id``, whatever its name in the file."""
    if "frame_id" not in image and "frame_index" in image:
        image["frame_id"] = image["frame_index"]
    _, video = _video(image)
    length: Any = image.get("seq_length")
    if not is_id(image.get("frame_id")) or not (is_id(video) or isinstance(video, str)):
        raise EntryError(
            "it needs frame_id, a whole number that grows through the video, and video_id (or "
            "first_frame_image_id), the same for all images of the video; complete the file"
        )
    if length is not None and not is_id(length):
        raise EntryError(f"its seq_length, {as_json(length)}, must be a whole number; correct it")
    return image


def _video(image: _Image) -> tuple[str, Any]:
    """The (key, value) that the images of a video share."""
    key = "video_id" if "video_id" in image else "first_frame_image_id"
    return key, image.get(key)


def _group(images: dict[Any, _Image], path: str, report: Report) -> list[list[_Image]]:
    """The images of each video in order; videos in the order of their first images in the file."""
    groups: dict[tuple[str, Any], list[_Image]] = {}
    for image in images.values():
        groups.setdefault(_video(image), []).append(image)
    videos = []
    for (key, value), frames in groups.items():
        with reporting(report, path, f"images with {key}", value):
            frames.sort(key=lambda image: image["frame_id"])
            if len({image["frame_id"] for image in frames}) < len(frames):
                raise EntryError("two have the same frame_id; correct the file")
            if len({(image["height"], image["width"]) for image in frames}) > 1:
                raise EntryError("they differ in size; resize them or make several videos of them")
            length = frames[0].get("seq_length")
            if length not in (None, len(frames)):
                raise EntryError(
                    f"there are {len(frames)}, but their seq_length is {length}; make them agree"
                )
            videos.append(frames)
    return videos


def _names(
    content: dict[str, Any], videos: list[tuple[str, Any]], path: str, report: Report
) -> list[str]:
    """The name of each (key, value) that the images of a video share; ``videos`` may be missing."""
    given: dict[tuple[str, Any], str] = {}
    entries = json_entries(content, "videos", path, refuse) if content.get("videos") else ()
    for entry, fields in entries:
        with entry:
            video, name = fields.get("id"), fields.get("name")
            if not all(is_id(each) or isinstance(each, str) for each in (video, name)):
                raise EntryError("it needs id, as images have it in video_id, and name; correct it")
            if ("video_id", video) in given:
                raise EntryError("its id is there twice; give every video its own")
            given["video_id", video] = str(name)
    names = []
    for k, (key, value) in enumerate(videos, 1):
        with reporting(report, path, f"images with {key}", value):
            names.append(given.get((key, value), f"video_{k}"))
            if given and key == "video_id" and (key, value) not in given:
                raise EntryError("the file's 'videos' have no such id; correct the file")
    if len(set(names)) < len(names):
        raise UserError(f"{path}: 'videos' repeats a name; correct the file")
    tally = Tally(path, "videos")
    tally.used = len(videos)
    tally.leave_out("without images", len(given.keys() - {*videos}))
    tally.tell(report)
    return names


def _find_files(
    videos: Sequence[list[_Image]], names: Sequence[str], places: Iterable[str]
) -> list[list[str]] | None:
    """The image files of each video, where the first of each is there.

    ``file_name`` are relative to the folder of the split, or to the video's folder in it.
    """
    first = [frames[0]["file_name"] for frames in videos]
    below: list[Sequence[str]] = []
    if len({*first}) == len(first):  # not so if each video begins with 000001.jpg
        below.append([""] * len(names))
    if not any(map(leaves_folder, names)):
        below.append(names)
    for place in places:
        for folders in below:
            roots = [os.path.join(place, folder) for folder in folders]
            files = map(file_of_frame, map(os.path.join, roots, first))
            if all(map(os.path.isfile, files)):
                return _joined(roots, videos)
    return None


def _joined(roots: Iterable[str], videos: Iterable[list[_Image]]) -> list[list[str]]:
    return [
        [os.path.join(root, image["file_name"]) for image in frames]
        for root, frames in zip(roots, videos, strict=True)
    ]


def _add_objects(
    labels: LabelSet,
    file: COCOInstances,
    images: Mapping[int | str, _Image],
    place: Mapping[int | str, tuple[int, int]],
) -> None:
    """Add the annotations, which have been judged but for their tracks.

    Args:
        place: video and frame of an image, by its id.
    """
    index = {category_id: k for k, category_id in enumerate(file.categories)}
    for number, instance in enumerate(file.instances or ()):
        image_id = instance["image_id"]
        if image_id not in place:
            continue  # the image is at fault
        video, frame = place[image_id]
        with reporting(labels.report, file.source, "annotation", instance.get("id", f"[{number}]")):
            fields = cast(Mapping[str, Any], instance)
            _check_video(fields, images[image_id])
            # A crowd need not have a track.
            track = 0 if instance["iscrowd"] else _track_id(fields)
            size = labels.videos[video].size
            labels.videos[video].append(_object(instance, frame, track, index, size))


def _check_video(fields: Mapping[str, Any], image: _Image) -> None:
    (key, of_image), video = _video(image), fields.get("video_id")
    if video is not None and key == "video_id" and video != of_image:
        raise EntryError(
            f"its video_id, {as_json(video)}, is not that of image {image['id']}, "
            f"{as_json(of_image)}; correct it"
        )


def _track_id(fields: Mapping[str, Any]) -> int:
    """The track of an annotation; CocoVID calls it ``instance_id``, CVAT has it in ``attributes``."""
    attributes = fields.get("attributes")
    given = [fields.get("track_id"), fields.get("instance_id")]
    given.append(attributes.get("track_id") if isinstance(attributes, dict) else None)
    track_id = next((each for each in given if each is not None), None)
    if track_id is None:
        raise EntryError("it has no track_id (nor instance_id, nor attributes.track_id); add it")
    if not is_id(track_id) or track_id < 0:
        raise EntryError(
            f"its track_id, {as_json(track_id)}, must be a whole number from 0 on; correct it"
        )
    other = next((each for each in given if each not in (None, track_id)), None)
    if other is not None:
        raise EntryError(
            f"its track ids (track_id, instance_id, attributes.track_id), {as_json(track_id)} and "
            f"{as_json(other)}, contradict each other; keep one"
        )
    return track_id


def _object(
    instance: Instance, frame: int, track: int, index: Mapping[int, int], size: tuple[int, int]
) -> LabelledObject:
    visibility = cast(Mapping[str, Any], instance).get("visibility", 1)
    if type(visibility) not in (int, float) or not math.isfinite(visibility):
        raise EntryError(f"its visibility, {as_json(visibility)}, is not a number; correct it")
    x, y, w, h = instance["bbox"]
    return LabelledObject(
        frame=frame,
        track=track,
        category=index[instance["category_id"]],
        box=(x, y, w, h),
        mask=to_rle(instance["segmentation"], *size) if "segmentation" in instance else None,
        ignored=bool(instance["iscrowd"]),
        visibility=visibility,
    )
