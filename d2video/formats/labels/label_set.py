"""The labels of videos or images in one form, whatever tool or benchmark wrote them.

A reader (see :mod:`d2video.formats.labels.label_formats`) fills a :class:`LabelSet` shape by shape::

    labels = LabelSet(root, report, classes=["cat", "dog"])
    video = labels.add_video("clip", footage.frames, footage.size)
    for number, shape in enumerate(shapes):
        with reporting(report, path, "shape", number):
            video.add(shape.frame, shape.label, track=shape.id, box=shape.box)
    return labels.finished()

What is the same for all formats is judged here: which boxes and masks can be used, two classes of a
track, a track twice in a frame, unknown classes and frames. What is wrong is an EntryError, which the
reader's :func:`~d2video.formats.faults.reporting` gives its place in the file; what is left out is
counted.

L: frames of a video.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from d2video.formats.annotation_doubts import alike_names, mixed_tracks, partly_masked, same_frames
from d2video.formats.faults import EntryError, Report, Tally
from d2video.formats.geometry.boxes import is_number, unusable_box
from d2video.formats.geometry.rle import encode_masks, to_rle
from d2video.formats.geometry.segmentation import find_segmentation_faults, without_short_polygons
from d2video.formats.labels.video_tracks import VideoTracks
from d2video.utils.errors import UserError
from d2video.utils.near_names import check_choice

# In place of the class of a region to ignore that counts for all classes.
EVERY_CLASS = -1
# Why objects that are to be ignored do not count, after their number.
_IGNORED = "that are crowds or regions to ignore"


@dataclass(frozen=True, slots=True)
class LabelledObject:
    """An object in one frame.

    Attributes:
        frame: place of the frame in its video, 0 to L-1.
        track: the tool's id, unique in the video; a running number where the tool's is not a number.
            In regions to ignore and in sets without tracks it means nothing.
        category: index into the classes of the set; :data:`EVERY_CLASS` of some regions to ignore.
        box: left, top, width, height in pixels, from 0; it may reach beyond the frame.
        mask: compressed RLE of the frame's size, or None.
        ignored: a crowd or a region in which nothing is trained on or scored.
        visibility: the visible part, 0 to 1; 0 where the tool only says that it is occluded.
        scored: False: the benchmark counts neither the object nor what is found on it, by overlap:
            because it is hard to see, or, if ``ignored``, of a similar class.
    """

    frame: int
    track: int
    category: int
    box: tuple[float, float, float, float]
    mask: dict[str, Any] | None
    ignored: bool
    visibility: float
    scored: bool = True


@dataclass
class LabelledVideo:
    """A video whose L frames are all labelled (frames that nobody looked at are not among them).

    Attributes:
        labels: the set that it belongs to.
        name: unique in the set.
        frames: L image files, or frames of a video file (:mod:`d2video.video.frame_names`).
        size: height and width in pixels.
        numbers: L frame numbers as the tool counts, ascending.
        objects: in the order of the file.
    """

    labels: "LabelSet"
    name: str
    frames: list[str]
    size: tuple[int, int]
    numbers: Sequence[int]
    objects: list[LabelledObject] = field(default_factory=list)
    _place: dict[int, int] = field(default_factory=dict)
    _tracks: VideoTracks = field(default_factory=VideoTracks)

    def __post_init__(self) -> None:
        self._place = {number: place for place, number in enumerate(self.numbers)}
        assert len(self._place) == len(self.numbers) == len(self.frames), self.name

    def add(
        self,
        number: int,
        category: str | None,
        *,
        track: int | str | None = None,
        box: Sequence[float] | None = None,
        segmentation: Any = None,
        checked: bool = False,
        ignored: bool = False,
        visibility: float = 1.0,
        scored: bool = True,
    ) -> None:
        """Add an object, or count why it is left out.

        Args:
            number: of the frame, as the tool counts.
            category: name of its class; None: a region to ignore of all classes.
            track: None in sets without tracks.
            box: left, top, width, height in pixels; None: the one around the mask.
            segmentation: polygons (lists x0, y0, x1, y1, ...), RLE in any form, or bool (H, W); None:
                the format, or this object, has none.
            checked: d2video has encoded the segmentation, or found no fault in it.
            ignored, visibility, scored: see :class:`LabelledObject`.

        Raises:
            EntryError: the frame or the class is unknown, the box or the mask is damaged or of another
                size, the track is in the frame already or had another class.
        """
        if number not in self._place:
            raise EntryError(
                f"frame {number} is not one of the {len(self.frames)} frames of {self.name} "
                f"({self.numbers[0]} to {self.numbers[-1]}): give the video that was labelled"
            )
        assert category is not None or ignored
        frame = self._place[number]
        index = EVERY_CLASS if category is None else self.labels.class_index(category)
        mask = self.mask_of(segmentation, checked=checked)
        if segmentation is not None and mask is None and box is None:
            self.labels.tally.leave_out("without a shape that covers a pixel")
            return
        box = self._box(box, mask)
        reason = unusable_box(box, *self.size)
        if reason is not None:
            self.labels.tally.leave_out(reason)
            return
        x, y, w, h = map(float, box)
        identity = 0
        if not ignored:
            assert track is not None or not self.labels.tracked, f"no track in {self.name}"
            identity = len(self.objects) if track is None else self._tracks.number_of(track)
        self.append(
            LabelledObject(frame, identity, index, (x, y, w, h), mask, ignored, visibility, scored),
            name=track,
        )
        if ignored:
            self.labels.tally.leave_out(_IGNORED)
        else:
            self.labels.tally.used += 1

    def append(self, each: LabelledObject, name: int | str | None = None) -> None:
        """Add an object that has been judged but for its track, which messages call ``name``.

        Raises:
            EntryError: the track is in the frame already or had another class.
        """
        if self.labels.tracked and not each.ignored:
            self._check_track(each, each.track if name is None else name)
        self.objects.append(each)

    def mask_of(self, segmentation: Any, *, checked: bool = False) -> dict[str, Any] | None:
        """A segmentation as :meth:`add` takes it as compressed RLE; None if it covers no pixel.

        Raises:
            EntryError: it is damaged or of another size.
        """
        if segmentation is None:
            return None
        if isinstance(segmentation, np.ndarray):
            if segmentation.shape != self.size:
                (height, width), (h, w) = segmentation.shape, self.size
                raise EntryError(f"its mask is {width}x{height} and the frame {w}x{h}; correct it")
            (mask,) = encode_masks(segmentation[None])
        else:
            if not checked:
                for _, fault in find_segmentation_faults([segmentation], *self.size):
                    raise EntryError(f"its segmentation: {fault}; correct it")
            sound = without_short_polygons(segmentation, self.labels.polygons)
            if not sound:
                return None
            mask = to_rle(sound, *self.size)
        assert [*mask["size"]] == [*self.size], self.name
        return mask if coco_mask.area(mask) else None

    def _box(self, box: Sequence[float] | None, mask: dict[str, Any] | None) -> Sequence[float]:
        if box is None:
            assert mask is not None, "neither a box nor a mask"
            return coco_mask.toBbox(mask).tolist()
        if len(box) != 4 or not all(map(is_number, box)):
            raise EntryError(f"its box, {[*box]}, is not made of four finite numbers; correct it")
        return box

    def _check_track(self, each: LabelledObject, name: int | str) -> None:
        other = self._tracks.other_class(each.track, each.category)
        if other is not None and not self.labels.mixed_tracks:
            now, before = (self.labels.classes[k] for k in (each.category, other))
            raise EntryError(
                f"track {name} is a {now} here and a {before} before; give it one class"
            )
        if not self._tracks.add(each.track, each.category, each.frame):
            raise EntryError(
                f"track {name} is twice in frame {self.numbers[each.frame]}; remove one, or give it a "
                "track of its own"
            )

    def split_tracks(self) -> list[int | str]:
        """Make one track of each class of those that have several, and give the tool's ids of these."""
        new = self._tracks.split()
        if new:
            self.objects = [
                each
                if each.ignored
                else replace(each, track=new.get((each.track, each.category), each.track))
                for each in self.objects
            ]
        return self._tracks.of_several_classes()


class LabelSet:
    """Labelled videos, or single images, of a file or folder.

    Attributes:
        source: path of the file or folder.
        report: takes faults, doubts and what is left out.
        classes: names, by index.
        lists_classes: the file lists them.
        class_numbers: what it calls them, by index; None: it has names only.
        tracked: objects have identities through a video. If not, every "video" is an image of one frame.
        mixed_tracks: a track of several classes is read as one of each, and is a doubt; if not, the entry
            with another class is at fault.
        track_advice: what makes tracks of a set without; None: nothing does.
        benchmark: whose rules count where boxes of tracks are scored, of
            :data:`~d2video.formats.mot_rules.CLASS_RULES`; None: those of no benchmark.
        labelled: False of videos without labels, as those of a test set are.
        videos: in order.
        tally, polygons: count the objects and their polygons.
    """

    def __init__(
        self,
        source: str,
        report: Report,
        *,
        classes: Sequence[str] | None = None,
        class_numbers: Sequence[int] | None = None,
        tracked: bool = True,
        mixed_tracks: bool = False,
        benchmark: str | None = None,
        wanted: Collection[str] | None = None,
    ) -> None:
        """``classes`` are those that the file lists, used or not, in its order; None: the format lists
        none, and they are those of the objects, in alphabetical order. ``wanted`` are the names of the videos
        for :meth:`wants`; None: all."""
        self.source, self.report = source, report
        self.tracked, self.mixed_tracks = tracked, mixed_tracks
        self.track_advice: str | None = None
        self.benchmark, self.labelled, self.class_numbers = benchmark, True, class_numbers
        self.lists_classes = classes is not None
        self.classes: list[str] = list(classes or ())
        self._index = {name: k for k, name in enumerate(self.classes)}
        if len(self._index) < len(self.classes):
            twice = next(n for n in self.classes if self.classes.count(n) > 1)
            raise UserError(f"{source}: the class {twice!r} is listed twice; make one of them")
        self.videos: list[LabelledVideo] = []
        self._names: set[str] = set()
        self._wanted = wanted
        self._known: dict[str, None] = {}  # names of videos, in order
        self.tally, self.polygons = Tally(source, "objects in frames"), Tally(source, "polygons")
        self._rotations = Tally(source, "rotations of boxes")

    def wants(self, name: str) -> bool:
        """Whether to read a video: a reader asks before it reads files of the video's own."""
        self._known[name] = None
        return self._wanted is None or name in self._wanted

    def choose(self, names: Sequence[str]) -> None:
        """Keep only the videos of these names.

        Raises:
            UserError: a name is unknown.
        """
        check_choice("video", names, self._known, self.source)
        self.videos = [video for video in self.videos if video.name in names]

    def add_video(
        self,
        name: str,
        frames: Sequence[str],
        size: tuple[int, int],
        numbers: Sequence[int] | None = None,
    ) -> LabelledVideo:
        """Add a video (or an image) without objects; the arguments are its attributes.

        ``numbers`` None: 0, 1, ...
        """
        if name in self._names:
            raise UserError(f"{self.source}: the video {name} is there twice; rename one")
        counted = range(len(frames)) if numbers is None else numbers
        video = LabelledVideo(self, name, [*frames], size, counted)
        self.videos.append(video)
        self._names.add(name)
        self._known[name] = None
        return video

    def class_index(self, name: str) -> int:
        """The index of a class.

        Raises:
            EntryError: the file does not list it.
        """
        if name not in self._index:
            if self.lists_classes:
                known = ", ".join(self.classes[:5]) + (", ..." if len(self.classes) > 5 else "")
                raise EntryError(f"the class {name!r} is not among those listed ({known}); add it")
            self._index[name] = len(self.classes)
            self.classes.append(name)
        return self._index[name]

    def leave_out_rotation(self, count: int = 1) -> None:
        """Count rotated boxes: give :meth:`LabelledVideo.add` the upright ones around them."""
        self._rotations.leave_out("as the upright boxes around them are", count)

    def contiguous_ids(self, names: Sequence[str]) -> dict[int, int]:
        """The place of each of these classes, by the number that the file, or else their order from 1 on,
        gives it."""
        numbers = self.class_numbers or range(1, len(self.classes) + 1)
        return {numbers[self.classes.index(name)]: k for k, name in enumerate(names)}

    def as_images(self) -> None:
        """Make every frame a video of its own, since the objects have no identities."""
        videos, self.videos, self.tracked = self.videos, [], False
        self._names.clear()
        self._known.clear()
        for video in videos:
            images = [
                self.add_video(f"{video.name}/{number}", [frame], video.size, [number])
                for number, frame in zip(video.numbers, video.frames, strict=True)
            ]
            for each in video.objects:
                images[each.frame].objects.append(replace(each, frame=0))

    def finished(self, *, judged: bool = False) -> "LabelSet":
        """Report what was left out, and give the set.

        ``judged``: check_coco_instances has reported crowds and objects without masks.

        Raises:
            UserError: there are no videos, or objects of which none can be used.
        """
        if not self.videos:
            check_choice("video", self._wanted or (), self._known, self.source)
            raise UserError(f"{self.source} holds no labelled frame; give a file with labels")
        if judged:
            self.tally.reasons.pop(_IGNORED, None)
        if +self.tally.reasons and not self.tally.used:
            raise UserError(f"{self.tally.left_out()}: nothing is left; correct the file")
        self.split_tracks()
        if not self.lists_classes:
            self._sort_classes()
        for tally in (self.tally, self.polygons, self._rotations):
            tally.tell(self.report)
        objects = () if judged else self.objects()
        have_masks = [each.mask is not None for _, each in objects if not each.ignored]
        places = ((frame, video.name) for video in self.videos for frame in video.frames)
        typed = () if self.lists_classes else self.classes
        doubts = [partly_masked(self.source, have_masks), same_frames(self.source, places)]
        for doubt in filter(None, [*doubts, alike_names(self.source, typed)]):
            self.report(doubt)
        return self

    def split_tracks(self) -> None:
        """Make one track of each class of those that have several, and report them."""
        mixed = [(track, video.name) for video in self.videos for track in video.split_tracks()]
        doubt = mixed_tracks(self.source, mixed)
        if doubt is not None:
            self.report(doubt)

    def _sort_classes(self) -> None:
        names = sorted(self.classes)
        new = [names.index(name) for name in self.classes]
        for video in self.videos:
            video.objects = [
                replace(each, category=new[each.category]) if each.category >= 0 else each
                for each in video.objects
            ]
        self.classes = names
        self._index = {name: k for k, name in enumerate(names)}

    def objects(self) -> Iterator[tuple[LabelledVideo, LabelledObject]]:
        """All objects with their videos."""
        for video in self.videos:
            for each in video.objects:
                yield video, each
