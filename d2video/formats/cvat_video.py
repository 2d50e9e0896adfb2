"""Tracks in CVAT's XML ("CVAT for video 1.1") of tasks, jobs and projects.

CVAT lists a track's shapes in all of its frames, those between keyframes too, so that they are used as
they are. Files of other programs often hold keyframes only. In those, boxes and ellipses go from one to
the next as CVAT shows them, and a track that nothing closes stays where it is to the end.
"""

import os
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from d2video.formats.cvat_frames import task_frames
from d2video.formats.cvat_meta import OUTERMOST, Meta, Task, holds, meta_at
from d2video.formats.cvat_remarks import Remarks
from d2video.formats.cvat_shapes import (
    Shape,
    between,
    can_move,
    geometry,
    is_shape,
    is_turned,
    read_shape,
)
from d2video.formats.faults import Doubt, EntryError, Report, Tally, refuse, reporting
from d2video.formats.labels.label_formats import label_format
from d2video.formats.labels.label_set import LabelledVideo, LabelSet
from d2video.formats.xml_text import Node, read_xml
from d2video.utils.counted import counted
from d2video.utils.whole_numbers import whole_number


@label_format("cvat_video", lambda seen: holds(seen, "track"))
def read_cvat_video(
    root: str,
    report: Report = refuse,
    *,
    image_root: str | None = None,
    tracked: bool = True,
) -> LabelSet:
    """Read the XML of a task, a job or a project.

    A video has the name of its file, or of the task. Frames have the numbers that CVAT shows. Where no
    object is in more than one frame, as with masks drawn in CVAT, there are no tracks: the frames with
    objects are read as single images.

    Args:
        root: ``annotations.xml`` or another XML file, or the folder that holds it.
        report: takes what is wrong with shapes, and what is left out or not meant as it reads.
        image_root: the frames of the only task, or a folder with those of all, if they are not in
            ``images`` beside the XML file: a folder of images ``frame_000010.PNG``, or the video file.
        tracked: False: every frame is a single image. This keeps masks without a track, too.

    Raises:
        UserError: it is not CVAT's XML, or the frames are not found or not those that were labelled.
    """
    meta = meta_at(root, "track", "cvat_images")
    labels = LabelSet(root, report, classes=meta.classes)
    tracks = _Tracks(labels)
    _File(meta, tracks, image_root).read()
    tracks.judge(tracked)
    return labels.finished()


class _Listed(NamedTuple):
    """A shape that a track lists for a frame."""

    number: int
    shape: Shape
    is_outside: bool
    is_ignored: bool
    line: int


class _Track(NamedTuple):
    path: str
    video: LabelledVideo
    id: int | str
    label: str


class _Tracks:
    """Adds shapes to the videos of a set, and counts what is to be reported."""

    def __init__(self, labels: LabelSet) -> None:
        self.labels = labels
        self.remarks = Remarks(labels)
        self.lone_masks: list[tuple[_Track, _Listed]] = []
        self.moved = 0

    def add(self, track: _Track, at: _Listed) -> None:
        """
        Raises:
            EntryError: the shape cannot be used.
        """
        if is_turned(at.shape):
            self.labels.leave_out_rotation()
        track.video.add(
            at.number,
            track.label,
            track=track.id,
            ignored=at.is_ignored,
            visibility=0.0 if at.shape.occluded else 1.0,
            **geometry(at.shape, track.video.size),
        )

    def judge(self, tracked: bool) -> None:
        """Decide whether there are tracks, and report what was counted."""
        labels = self.labels
        frames = Counter(
            (video.name, each.track) for video, each in labels.objects() if not each.ignored
        )
        lone = sum(count == 1 for count in frames.values())
        has_tracks = lone < len(frames) or not (frames or self.lone_masks)
        if has_tracks and tracked:
            labels.tally.leave_out(
                "that are masks without a track",
                len(self.lone_masks),
                "tracked=False reads every frame as a single image, with them",
            )
            if lone:
                self._doubt(
                    f"{lone} of {counted(len(frames), 'track')} are in one frame only, as shapes drawn "
                    "without a track are: if they belong to one object, merge them in CVAT"
                )
        else:
            for track, at in self.lone_masks:
                with reporting(labels.report, track.path, "line", at.line):
                    self.add(track, at)
            labels.as_images()
        if not has_tracks:
            self._keep_labelled_images(doubted=tracked)
        if self.moved:
            self._doubt(
                f"{self.moved} shapes between keyframes are not in the file, and were put where CVAT shows "
                "them: if the objects are absent there, export the file from CVAT"
            )
        self.remarks.tell("tracks")

    def _keep_labelled_images(self, *, doubted: bool) -> None:
        """Leave out images without objects; ``doubted``: say that there are no tracks."""
        labels = self.labels
        tally = Tally(labels.source, "frames")
        images, labels.videos = labels.videos, [v for v in labels.videos if v.objects]
        tally.used = len(labels.videos)
        tally.leave_out(
            "without a shape, at which nobody may have looked", len(images) - tally.used
        )
        if doubted:
            self._doubt(
                "no object is in more than one frame, so that there are no tracks (CVAT has none of "
                "masks): its frames are read as single images, for a model such as DETR; for VisTR and "
                "TrackFormer draw polygons or boxes as tracks"
            )
        tally.tell(labels.report)

    def _doubt(self, text: str) -> None:
        self.labels.report(Doubt(self.labels.source, text))


class _File:
    """Reads one file."""

    def __init__(self, meta: Meta, tracks: _Tracks, image_root: str | None) -> None:
        self.path, self.tracks, self.labels = meta.path, tracks, tracks.labels
        self.is_project = any(task.id for task in meta.tasks)
        self.offsets = {task.id: task.offset for task in meta.tasks}
        is_only = len(meta.tasks) == 1
        self.videos = {task.id: self._video(task, image_root, is_only) for task in meta.tasks}
        # Shapes after which the track is not listed though it goes on, and the next ones.
        self.gaps: list[tuple[_Track, _Listed, _Listed | None]] = []
        self.lists_all = False

    def read(self) -> None:
        for node in read_xml(self.path, OUTERMOST):
            if node.tag == "track":
                with reporting(self.labels.report, self.path, "line", node.line):
                    self._read_track(node)
            elif node.tag not in ("version", "meta"):
                self.labels.tally.leave_out(f"of type {node.tag}")
        if not self.lists_all:
            for gap in self.gaps:
                with reporting(self.labels.report, self.path, "line", gap[1].line):
                    self._fill(*gap)

    def _video(self, task: Task, image_root: str | None, is_only: bool) -> LabelledVideo:
        frames, size = task_frames(task, self.path, image_root, self.labels.report, is_only=is_only)
        taken = {video.name for video in self.labels.videos}
        folder, stem = os.path.basename(os.path.dirname(self.path)), Path(self.path).stem
        names = [Path(task.source).stem, task.name, stem if stem != OUTERMOST else "", folder]
        named = [name for name in names if name] or [OUTERMOST]
        name = next((each for each in named if each not in taken), f"{named[0]} {task.id}".strip())
        return self.labels.add_video(name, [*frames.values()], size, [*frames])

    def _read_track(self, node: Node) -> None:
        given = node.attributes
        task = given.get("task_id", "") if len(self.videos) > 1 else next(iter(self.videos))
        if "id" not in given or "label" not in given:
            raise EntryError("the track needs an id and a label; complete the file")
        if task not in self.videos:
            raise EntryError(f"the track's task_id, {task!r}, is not that of a task; correct it")
        if self.labels.lists_classes:  # once for all shapes
            self.labels.class_index(given["label"])
        number = whole_number(given["id"])
        identity = given["id"] if number is None else number
        track = _Track(self.path, self.videos[task], identity, given["label"])
        self.tracks.remarks.count_group(node)
        listed = sorted(self._shapes(node, self.offsets[task]), key=lambda each: each.number)
        shown = [each for each in listed if not each.is_outside]
        if [(each.shape.kind, each.is_ignored) for each in shown] == [("mask", False)]:
            self.tracks.lone_masks.append((track, shown[0]))
            return
        for at in shown:
            with reporting(self.labels.report, self.path, "line", at.line):
                self.tracks.add(track, at)
        self._note_gaps(track, listed)

    def _shapes(self, node: Node, offset: int) -> list[_Listed]:
        found = []
        for child in node.children:
            is_outside = child.attributes.get("outside") == "1"
            self.lists_all |= child.attributes.get("keyframe") == "0"
            if not is_shape(child):
                if not is_outside:
                    self.labels.tally.leave_out(f"of type {child.tag}")
                continue
            with reporting(self.labels.report, self.path, "line", child.line):
                text = child.attributes.get("frame", "")
                number = whole_number(text, 9)
                if number is None:
                    raise EntryError(
                        f"its frame, {text[:40]!r}, is not a whole number from 0 on; correct it"
                    )
                ignored = not is_outside and self.tracks.remarks.is_ignored(child)
                found.append(
                    _Listed(number - offset, read_shape(child), is_outside, ignored, child.line)
                )
        return found

    def _note_gaps(self, track: _Track, listed: Sequence[_Listed]) -> None:
        numbers = track.video.numbers
        for at, following in pairwise([*listed, None]):
            if at is None or at.is_outside or at.shape.kind == "mask":  # CVAT moves no masks
                continue
            # CVAT closes a shape drawn without a track in the next frame, but not before the last one, and
            # hardly ever in projects.
            is_lone = len(listed) == 1 and (self.is_project or at.number >= numbers[-2:][0])
            if _between(numbers, at, following) and not is_lone:
                self.gaps.append((track, at, following))

    def _fill(self, track: _Track, at: _Listed, following: _Listed | None) -> None:
        if following is not None and not can_move(at.shape, following.shape):
            raise EntryError(
                f"track {track.id} has a {at.shape.kind} in frame {at.number} and the next in frame "
                f"{following.number}, and what CVAT shows between them is not in the file: import it into "
                "CVAT and export it from there, with all frames"
            )
        for number in _between(track.video.numbers, at, following):
            shape = at.shape
            if following is not None:
                part = (number - at.number) / (following.number - at.number)
                shape = between(shape, following.shape, part)
            self.tracks.add(track, at._replace(number=number, shape=shape))
            self.tracks.moved += 1


def _between(numbers: Sequence[int], at: _Listed, following: _Listed | None) -> Sequence[int]:
    """The frames after a shape and before the next one, or to the end."""
    first = bisect_right(numbers, at.number)
    last = len(numbers) if following is None else bisect_left(numbers, following.number)
    return numbers[first:last]
