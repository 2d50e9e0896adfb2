"""Write CVAT's XML of videos and of images, as CVAT 2 does."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

from tests.helpers.true_labels import CLASSES, HEIGHT, WIDTH, TrueObject, TrueVideo


def element(tag: str, inner: str = "", **attributes: object) -> str:
    given = "".join(f" {key}={quoteattr(str(value))}" for key, value in attributes.items())
    return f"<{tag}{given}>{inner}</{tag}>\n"


def box(left: float, top: float, right: float, bottom: float, **others: object) -> str:
    """One of a track where ``others`` has its frame."""
    numbers = {"xtl": left, "ytl": top, "xbr": right, "ybr": bottom}
    return shape("box", **{k: f"{v:.2f}" for k, v in numbers.items()}, **others)


def shape(tag: str, inner: str = "", **attributes: object) -> str:
    usual = {"keyframe": 1, "outside": 0, "occluded": 0, "z_order": 0}
    return element(tag, inner, **{**usual, **attributes})


def track(number: int, label: str, shapes: Iterable[str], **others: object) -> str:
    return element("track", "".join(shapes), id=number, label=label, source="manual", **others)


def labels(names: Sequence[str] = CLASSES) -> str:
    inner = "".join(
        element("label", element("name", n) + "<type>any</type><attributes></attributes>")
        for n in names
    )
    return element("labels", inner)


def size(height: int = HEIGHT, width: int = WIDTH) -> str:
    return element("original_size", f"<width>{width}</width><height>{height}</height>")


def task(
    frames: int, *, start: int = 0, step: int = 1, source: str = "clip.mp4", extra: str = ""
) -> str:
    """The inside of a <task> of a video; ``extra`` stands in it, too."""
    step_text = f"step={step}" if step > 1 else ""
    return (
        f"<name>my task</name><size>{frames}</size><mode>interpolation</mode>"
        f"<start_frame>{start}</start_frame><stop_frame>{start + step * frames - 1}</stop_frame>"
        f"<frame_filter>{step_text}</frame_filter>{size()}<source>{source}</source>{extra}"
    )


def document(meta: str, *entries: str) -> str:
    head = '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
    return f"{head}<meta>{meta}</meta>\n{''.join(entries)}</annotations>\n"


def outline(mask: np.ndarray) -> list[tuple[int, int]] | None:
    """The corners of the pixel edges around a mask; None if it has several parts or a hole."""
    edges: set[tuple[tuple[int, int], tuple[int, int]]] = set()
    for y, x in np.argwhere(mask).tolist():
        ring = [(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1)]
        for a, b in zip(ring, [*ring[1:], ring[0]], strict=True):
            edges ^= {(b, a)} if (b, a) in edges else {(a, b)}
    follows = dict(edges)
    points = [next(iter(follows))]
    while follows[points[-1]] != points[0] and len(points) <= len(edges):
        points.append(follows[points[-1]])
    return points if len(points) == len(edges) else None


def drawable(video: TrueVideo) -> TrueVideo:
    """Without objects that another one cuts in two, which no polygon is."""
    kept = [each for each in video.objects if outline(each.mask) is not None]
    return replace(video, objects=tuple(kept))


def row_runs(mask: np.ndarray) -> list[int]:
    """Run lengths over the rows of a mask, the first of background."""
    flat = mask.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    return [0, *runs] if flat[0] else runs


def as_box(each: TrueObject, **others: object) -> str:
    x, y, w, h = each.box
    return box(x, y, x + w, y + h, **others)


def as_polygon(each: TrueObject, **others: object) -> str:
    points = ";".join(f"{x:.2f},{y:.2f}" for x, y in outline(each.mask))
    return shape("polygon", points=points, **others)


def as_mask(each: TrueObject, **others: object) -> str:
    x, y, w, h = each.box
    runs = str(row_runs(each.mask[y : y + h, x : x + w]))[1:-1]
    return shape("mask", rle=runs, left=x, top=y, width=w, height=h, **others)


Writer = Callable[..., str]


def tracks_of(video: TrueVideo, write: Writer, *, start: int = 0, step: int = 1) -> list[str]:
    """All tracks as CVAT lists them: every frame, and once more where the object has left.

    The first frame of a stretch and every third one are keyframes. Crowds have the attribute "ignored".
    """
    found = []
    for number, objects in _by_track(video).items():
        shapes = []
        for each in objects:
            others = {
                "inner": element("attribute", "true", name="ignored") if each.crowd else "",
                "occluded": int(each.occluded),
            }
            is_first = each.frame - 1 not in [o.frame for o in objects]
            keyframe = int(is_first or each.frame % 3 == 0)
            frame = start + step * each.frame
            shapes.append(write(each, frame=frame, keyframe=keyframe, **others))
            is_last = each.frame + 1 not in [o.frame for o in objects]
            if is_last and each.frame + 1 < video.num_frames:
                shapes.append(write(each, frame=frame + step, outside=1))
        found.append(track(number, objects[0].category, shapes))
    return found


def _by_track(video: TrueVideo) -> dict[int, list[TrueObject]]:
    numbers = dict.fromkeys(each.track for each in video.objects)
    return {number: video.of_track(number) for number in numbers}


def write_xml(folder: Path, text: str, name: str = "annotations.xml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name
