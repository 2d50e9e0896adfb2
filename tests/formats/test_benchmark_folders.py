"""Folders of benchmarks: around them may be others, and zips; only the files of wanted videos are read."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from d2video.data.datasets.label_sets import load_labels
from d2video.formats.faults import Fault
from d2video.formats.readers import read_labels
from d2video.utils.errors import UserError
from tests.formats.test_bdd100k import write as write_bdd100k
from tests.formats.test_kitti import write as write_kitti
from tests.formats.test_mots_png import write_kitti as write_kitti_mots
from tests.formats.test_youtube_vos import write as write_youtube_vos
from tests.helpers.mask_pngs import of_one_class, write_grey, write_palette
from tests.helpers.true_labels import true_videos, write_images

ONES = np.ones((48, 64), np.uint8)


def _davis(root: Path) -> Path:
    for name in ("clip_a", "clip_b"):
        write_palette(ONES, root / "Annotations" / name / "0.png")
        write_grey(ONES, root / "JPEGImages" / name / "0.jpg")
    return root


def _youtube_vos(root: Path) -> Path:
    return write_youtube_vos(true_videos(crowd=False), root)


def _sa_v(root: Path) -> Path:
    for name in ("clip_a", "clip_b"):
        write_grey(ONES, root / "Annotations_6fps" / name / "000" / "00000.png")
        write_grey(ONES, root / "JPEGImages_24fps" / name / "00000.jpg")
    return root


def _mots_png(root: Path) -> Path:
    videos = of_one_class(true_videos(crowd=False), "car")
    for name, video in zip(("0000", "0001"), videos):
        write_images(video, root / "images" / name, "{:06d}.png")
    return write_kitti_mots(videos, root, "png")


def _bdd100k(root: Path) -> Path:
    return write_bdd100k(root, "seg_track_20/bitmasks")


WRITERS = [_davis, _youtube_vos, _sa_v, _mots_png, _bdd100k]


@pytest.mark.parametrize("write", [*WRITERS, write_kitti])
@pytest.mark.parametrize("outer", ["", "set/", "labels/"])
def test_zips_with_a_folder_around_all(tmp_path, write, outer, monkeypatch):
    """The zip of ``labels`` is unpacked to a folder of that name, too; suffixes are in capitals."""
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "in"
    root.mkdir()
    write(root, *([true_videos()] if write is write_kitti else []))
    archive = tmp_path / "labels.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for path in sorted(each for each in root.rglob("*") if each.is_file()):
            name = path.relative_to(root).as_posix()
            name = name.replace(".png", ".PNG") if write is not write_kitti else name
            opened.write(path, outer + name)
            opened.writestr(f"__MACOSX/{outer}{name}", b"")
    folder = "labels/seg_track_20/bitmasks" if write is _bdd100k else ""
    expected = read_labels(str(root / folder))
    # Images beside bitmasks could be of any format.
    labels = read_labels(str(archive), "bdd100k" if folder else None)
    assert [v.name for v in labels.videos] == [v.name for v in expected.videos]
    assert [v.objects for v in labels.videos] == [v.objects for v in expected.videos]


@pytest.mark.parametrize("write", WRITERS)
def test_files_of_other_videos_are_not_read(tmp_path, write):
    root = write(tmp_path)
    other = "0001" if write is _mots_png else "clip_b"
    for path in root.rglob(f"{other}/**/*.png"):
        if not {"images", "JPEGImages", "JPEGImages_24fps"} & {*path.parts}:
            path.write_bytes(b"none")
    wanted = other.replace("1", "0").replace("b", "a")
    (record,) = load_labels(str(root), format=write.__name__[1:], videos=[wanted])
    assert record["sequence"] == wanted
    assert any(record["annotations"])
    with pytest.raises(UserError, match=f"cannot read image .*{other}"):
        load_labels(str(root), format=write.__name__[1:], videos=[wanted, other])
    with pytest.raises(UserError, match=f"has no video 'x': it has .*{other}"):
        load_labels(str(root), format=write.__name__[1:], videos=["x"])


@pytest.mark.parametrize("write", WRITERS)
def test_videos_without_frames_are_faults_and_the_others_are_read(tmp_path, write):
    root, found = write(tmp_path), []
    other = "0001" if write is _mots_png else "clip_b"
    (frames,) = (
        p
        for p in tmp_path.rglob(other)
        if {"images", "JPEGImages", "JPEGImages_24fps"} & {*p.parts}
    )
    shutil.rmtree(frames)
    (record,) = load_labels(str(root), format=write.__name__[1:], report=found.append)
    assert record["sequence"] != other
    (fault,) = (str(each) for each in found if isinstance(each, Fault))
    assert "the frames are not in" in fault
    assert other in fault
