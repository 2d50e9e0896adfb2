"""Generated labels for round trips: a test writes them as a tool would, and compares what is read.

Two videos of 48x64 pixels. Objects go away and come back (track 1 of the first video is absent in
frames 3 and 4), come late, are occluded by others (masks do not overlap), have the same track number
in both videos, and one is a crowd. The last frame of the first video has no object.
"""

import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import av
import numpy as np
from PIL import Image

from d2video.formats.geometry.rle import to_rle
from d2video.formats.labels.label_set import EVERY_CLASS, LabelSet

HEIGHT, WIDTH = 48, 64
CLASSES = ("dog", "cat", "bird")  # no object is a bird; not in alphabetical order


@dataclass(frozen=True)
class TrueObject:
    """An object in a frame; ``box`` is tight around the mask: left, top, width, height."""

    frame: int
    track: int
    category: str
    mask: np.ndarray  # bool (H,W)
    occluded: bool = False
    crowd: bool = False

    @property
    def box(self) -> tuple[int, int, int, int]:
        ys, xs = np.nonzero(self.mask)
        x, y = int(xs.min()), int(ys.min())
        return x, y, int(xs.max()) + 1 - x, int(ys.max()) + 1 - y


@dataclass(frozen=True)
class TrueVideo:
    name: str
    num_frames: int
    objects: tuple[TrueObject, ...]

    def in_frame(self, frame: int) -> list[TrueObject]:
        return [each for each in self.objects if each.frame == frame]

    def of_track(self, track: int) -> list[TrueObject]:
        return [each for each in self.objects if each.track == track]

    @property
    def tracks(self) -> dict[int, str]:
        """Track -> class, ascending; the crowd is not one."""
        found = {o.track: o.category for o in self.objects if not o.crowd}
        return dict(sorted(found.items()))

    def images(self) -> Iterator[np.ndarray]:
        """uint8 (H,W,3), each frame of another shade, objects in colours of their own."""
        for frame in range(self.num_frames):
            image = np.full((HEIGHT, WIDTH, 3), (40 + 10 * frame) % 256, np.uint8)
            for each in self.in_frame(frame):
                image[each.mask] = (30 * each.track % 256, 200, 90)
            yield image


def true_videos(*, crowd: bool = True) -> list[TrueVideo]:
    """The two videos; ``crowd`` False for formats without."""
    first = [
        *_moving(1, "cat", (0, 1, 2, 5, 6), start=(4, 6), step=(3, 2)),
        *_moving(2, "dog", (2, 3, 4, 5, 6), start=(10, 14), step=(2, 1)),
        *_moving(7, "cat", (0, 1, 2, 3), start=(44, 30), step=(-2, 0)),
    ]
    second = [*_moving(1, "dog", (0, 1, 2, 3, 4), start=(20, 10), step=(1, 4))]
    if crowd:
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[40:46, 2:30] = True
        second.append(TrueObject(1, 9, "dog", mask, crowd=True))
    return [
        TrueVideo("clip_b", 8, tuple(_without_overlap(first))),
        TrueVideo("clip_a", 5, tuple(_without_overlap(second))),
    ]


def _moving(
    track: int,
    category: str,
    frames: tuple[int, ...],
    start: tuple[int, int],
    step: tuple[int, int],
) -> Iterator[TrueObject]:
    """An L-shape of 12 by 10 pixels, so that its box is not its mask."""
    for frame in frames:
        x, y = start[0] + step[0] * frame, start[1] + step[1] * frame
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[y : y + 10, x : x + 5] = True
        mask[y + 6 : y + 10, x : x + 12] = True
        yield TrueObject(frame, track, category, mask)


def _without_overlap(objects: list[TrueObject]) -> Iterator[TrueObject]:
    """Later objects cover earlier ones, which are occluded there."""
    for k, each in enumerate(objects):
        mask = each.mask.copy()
        for other in objects[k + 1 :]:
            if other.frame == each.frame:
                mask &= ~other.mask
        hidden = bool((mask != each.mask).any())
        yield TrueObject(each.frame, each.track, each.category, mask, hidden, each.crowd)


def renumbered(videos: list[TrueVideo]) -> list[TrueVideo]:
    """The same videos with tracks 1, 2, ... in each, by their first frames and places in these."""
    found = []
    for video in videos:
        first = sorted(video.objects, key=lambda each: each.frame)
        order = [*dict.fromkeys(each.track for each in first)]
        objects = (replace(each, track=order.index(each.track) + 1) for each in video.objects)
        found.append(replace(video, objects=tuple(objects)))
    return found


def write_images(
    video: TrueVideo, folder: Path, pattern: str = "{:05d}.png", first: int = 0, step: int = 1
) -> None:
    """One file a frame, numbered from ``first`` on."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in zip(count(first, step), video.images()):
        Image.fromarray(image).save(folder / pattern.format(number))


def write_video(video: TrueVideo, path: Path) -> None:
    """An MP4 file of the frames, H.264 with B-frames."""
    _encode(video.images(), path)


def make_video(folder: Path, path: Path) -> None:
    """Make a video file of a folder of images, whose names end in the frames' numbers, and remove these;
    what is missing between them is grey."""
    images = {int(re.findall(r"\d+", path.stem)[-1]): path for path in folder.iterdir()}
    grey = Image.new("RGB", (WIDTH, HEIGHT), "grey")
    frames = [
        Image.open(images[k]) if k in images else grey for k in range(min(images), max(images) + 1)
    ]
    _encode(map(np.asarray, frames), path)
    shutil.rmtree(folder)


def _encode(images: Iterable[np.ndarray], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "10", "bf": "2"})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode())


def assert_equal(
    labels: LabelSet,
    truth: list[TrueVideo],
    *,
    masks: bool = True,
    crowds: bool = True,
    occlusion: bool = False,
    box_error: float = 0.0,
    mask_pixels: int = 0,
    track_offset: int = 0,
) -> None:
    """Compare what was read with what was written.

    Args:
        masks: the format has masks, and they are compared to within ``mask_pixels`` pixels.
        crowds: the format has crowds; else no object is ignored.
        occlusion: the format says which objects are occluded.
        box_error: largest difference of a box's numbers, pixels.
        track_offset: what the format's track ids are more than the true ones.
    """
    assert sorted(video.name for video in labels.videos) == sorted(video.name for video in truth)
    for true in truth:
        (video,) = (each for each in labels.videos if each.name == true.name)
        assert video.size == (HEIGHT, WIDTH)
        assert len(video.frames) == true.num_frames
        found = {(o.frame, o.track): o for o in video.objects if not o.ignored}
        wanted = {(o.frame, o.track + track_offset): o for o in true.objects if not o.crowd}
        assert found.keys() == wanted.keys()
        for key, each in wanted.items():
            _assert_object(labels, found[key], each, masks, box_error, mask_pixels)
            if occlusion:
                assert (found[key].visibility < 1) == each.occluded, key
        ignored = [o for o in video.objects if o.ignored]
        expected = [o for o in true.objects if o.crowd] if crowds else []
        assert [o.frame for o in ignored] == [o.frame for o in expected]
        for region, each in zip(ignored, expected, strict=True):
            _assert_object(labels, region, each, masks, box_error, mask_pixels)


def _assert_object(labels, found, each, masks, box_error, mask_pixels) -> None:
    if found.category == EVERY_CLASS:  # of formats whose regions to ignore have no class
        assert each.crowd
    else:
        assert labels.classes[found.category] == each.category
    # A mask that is off by a few pixels may be off at its edges.
    error = max(box_error, mask_pixels and 1.0)
    np.testing.assert_allclose(found.box, each.box, rtol=0, atol=error + 1e-9)
    if masks:
        from pycocotools import mask as coco_mask

        decoded = coco_mask.decode(to_rle(found.mask, HEIGHT, WIDTH)).astype(bool)
        assert (decoded != each.mask).sum() <= mask_pixels
    else:
        assert found.mask is None
