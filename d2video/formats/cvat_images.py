"""Images in CVAT's XML ("CVAT for images 1.1"), which knows no tracks."""

import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from d2video.fetching import around
from d2video.formats.cvat_frames import frame_number
from d2video.formats.cvat_meta import OUTERMOST, Meta, holds, meta_at
from d2video.formats.cvat_remarks import Remarks
from d2video.formats.cvat_shapes import geometry, is_shape, is_turned, read_shape
from d2video.formats.faults import EntryError, Report, refuse, reporting
from d2video.formats.labels.footage import Footage, find_image, find_video, read_footage
from d2video.formats.labels.label_formats import label_format
from d2video.formats.labels.label_set import LabelledVideo, LabelSet
from d2video.formats.paths import leaves_folder
from d2video.formats.text import check_size
from d2video.formats.xml_text import Node, read_xml
from d2video.utils.whole_numbers import whole_number
from d2video.video.image_io import read_image_size


@label_format("cvat_images", lambda seen: holds(seen, "image"))
def read_cvat_images(
    root: str, report: Report = refuse, *, image_root: str | None = None
) -> LabelSet:
    """Read the XML of a task, a job or a project as single images; those without shapes are images, too.

    Args:
        root: ``annotations.xml`` or another XML file, or the folder that holds it.
        report: takes what is wrong with images and shapes, and what is left out.
        image_root: the folder of the images, if they are not in ``images`` beside the XML file, or the
            video file whose frames they are.

    Raises:
        UserError: it is not CVAT's XML, or the video is of another size.
    """
    meta = meta_at(root, "image", "cvat_video")
    labels = LabelSet(root, report, classes=meta.classes, tracked=False)
    remarks, frames = Remarks(labels), _Frames(meta, image_root)
    for node in read_xml(meta.path, OUTERMOST):
        if node.tag == "image":
            with reporting(report, meta.path, "line", node.line):
                video = _add_image(labels, node, frames)
                _add_shapes(video, node, meta.path, remarks)
        elif node.tag not in ("version", "meta"):
            labels.tally.leave_out(f"of type {node.tag}")
    remarks.tell("shapes")
    return labels.finished()


class _Frames:
    """Finds the images of one file."""

    def __init__(self, meta: Meta, image_root: str | None) -> None:
        folders = around(os.path.dirname(os.path.abspath(meta.path)))
        self.folders = folders if image_root is None else [image_root]
        video = self._find_video(meta, os.path.basename(folders[0]))
        self.video = None if video is None else read_footage(video)
        self._last = os.path.join(self.folders[0], "images")  # folder of the image before

    def _find_video(self, meta: Meta, export: str) -> str | None:
        task = meta.tasks[0]
        if os.path.isfile(self.folders[0]):
            return self.folders[0]
        if len(meta.tasks) > 1 or not task.is_video:
            return None
        places = (os.path.join(each, task.source) for each in self.folders)
        found = next(filter(os.path.isfile, places), None)
        return find_video(self.folders, export) if found is None and not task.source else found

    def find(self, name: str, subset: str) -> str:
        """
        Raises:
            EntryError: it is not there.
        """
        if not name or leaves_folder(name) or leaves_folder(subset or "x"):
            raise EntryError(f"its name, {name!r}, must be one in the folder of images; correct it")
        for folder in self._places(subset):
            path = find_image(os.path.join(folder, name))
            if path is not None:
                self._last = folder
                return path
        number = frame_number(Path(name))
        if self.video is not None and number is not None and number < len(self.video.frames):
            return self.video.frames[number]
        raise EntryError(
            f"its image, {name}, is not in {self._last}: put it there, or give image_root"
        )

    def _places(self, subset: str) -> Iterator[str]:
        yield self._last
        below = dict.fromkeys([os.path.join("images", subset), "images", subset, ""])
        for folder, each in product(self.folders, below):
            yield os.path.normpath(os.path.join(folder, each))


def _add_image(labels: LabelSet, node: Node, frames: _Frames) -> LabelledVideo:
    given = node.attributes
    name, subset = given.get("name", ""), given.get("subset", "")
    stated = [given.get(key, "")[:20] for key in ("width", "height")]
    width, height = map(whole_number, stated)
    if width is None or height is None:
        raise EntryError(f"its size, {'x'.join(stated)}, must be whole numbers; correct it")
    check_size(height, width)
    size = height, width
    frame = frames.find(name, subset)
    if not labels.videos:  # the others are checked when they are loaded
        first = frames.video if frames.video is not None and frame in frames.video.frames else None
        footage = first or Footage(frame, [frame], read_image_size(frame), False)
        footage.check_size(size, labels.source)
    return labels.add_video(f"{subset}/{name}" if subset else name, [frame], size)


def _add_shapes(video: LabelledVideo, image: Node, path: str, remarks: Remarks) -> None:
    labels = video.labels
    for node in image.children:
        if not is_shape(node):
            labels.tally.leave_out(f"of type {node.tag}")
            continue
        with reporting(labels.report, path, "line", node.line):
            if "label" not in node.attributes:
                raise EntryError("it has no label; complete the file")
            shape = read_shape(node)
            remarks.count_group(node)
            if is_turned(shape):
                labels.leave_out_rotation()
            video.add(
                0,
                node.attributes["label"],
                ignored=remarks.is_ignored(node),
                visibility=0.0 if shape.occluded else 1.0,
                **geometry(shape, video.size),
            )
