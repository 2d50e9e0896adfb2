"""Registered data sets of labels that no file holds: those of tests/helpers/true_labels.py."""

from pathlib import Path

from d2video.data.datasets.label_sets import register_labels
from d2video.formats.faults import Report, refuse
from d2video.formats.labels.label_formats import LABEL_FORMATS
from d2video.formats.labels.label_set import LabelSet
from d2video.formats.labels.recognition import RECOGNISERS
from d2video.video.frame_names import frame_name
from tests.helpers.true_labels import CLASSES, HEIGHT, WIDTH, true_videos, write_images

FORMAT = "true"


def read_true(
    root: str,
    report: Report = refuse,
    *,
    image_root: str | None = None,
    masks: bool = True,
    but_one: bool = False,
    tracked: bool = True,
    crowd: bool = True,
    as_video: bool = False,
    class_numbers: tuple[int, ...] | None = None,
    first: int = 0,
) -> LabelSet:
    """The frames are in ``root``, images or (``as_video``) those of an MP4; without ``tracked`` each is an
    image. ``but_one`` object lacks its mask. Frames are numbered from ``first`` on."""
    labels = LabelSet(root, report, classes=CLASSES, class_numbers=class_numbers, tracked=tracked)
    for true in true_videos(crowd=crowd):
        names = [str(Path(root, true.name, f"{t:05d}.png")) for t in range(true.num_frames)]
        if as_video:
            path = str(Path(root, f"{true.name}.mp4"))
            names = [frame_name(path, t) for t in range(true.num_frames)]
        size = HEIGHT, WIDTH
        if tracked:
            numbers = range(first, first + true.num_frames)
            videos = [labels.add_video(true.name, names, size, numbers)] * true.num_frames
        else:
            videos = [labels.add_video(f"{true.name}_{t}", [n], size) for t, n in enumerate(names)]
        for each in true.objects:
            has_mask = masks and not (
                but_one and (true.name, each.frame, each.track) == ("clip_a", 0, 1)
            )
            videos[each.frame].add(
                first + each.frame if tracked else 0,
                each.category,
                track=each.track,
                box=each.box,
                segmentation=each.mask if has_mask else None,
                ignored=each.crowd,
                visibility=0.25 if each.occluded else 1.0,
            )
    return labels.finished()


def register_true(monkeypatch, name: str, root: Path, **options) -> None:
    """Write the frames and register the labels, with options of :func:`read_true` and the common ones."""
    for video in true_videos():
        write_images(video, root / video.name)
    monkeypatch.setitem(RECOGNISERS, FORMAT, lambda seen: True)
    monkeypatch.setitem(LABEL_FORMATS, FORMAT, read_true)
    register_labels(name, str(root), format=FORMAT, **options)
