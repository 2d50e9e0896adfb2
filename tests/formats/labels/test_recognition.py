"""Which format a file or folder has: one and no other."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from d2video.data.datasets.by_path import register_path
from d2video.data.loading import load_records
from d2video.formats.labels.exports import find_exports
from d2video.formats.labels.label_formats import LABEL_FORMATS
from d2video.formats.labels.recognition import RECOGNISERS, Seen
from d2video.formats.readers import read_labels
from tests.formats.test_bdd100k import write as write_bdd100k
from tests.formats.test_burst import content as burst_content
from tests.formats.test_kitti import write as write_kitti
from tests.formats.test_mots_png import write_cvat as write_cvat_mots
from tests.formats.test_mots_png import write_kitti as write_kitti_mots
from tests.formats.test_youtube_vos import write as write_youtube_vos
from tests.helpers.coco_sets import instance_content
from tests.helpers.cvat_xml import document, element, task, track, write_xml
from tests.helpers.findings import one_line
from tests.helpers.mask_pngs import of_one_class, write_palette
from tests.helpers.mot_folders import write_sequence
from tests.helpers.true_labels import true_videos
from tests.helpers.ytvis_content import content


def _json(value) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / "labels.json"
        path.write_text(json.dumps(value))
        return path

    return write


def _half_written(folder: Path) -> Path:
    (folder / "labels.json").write_text('{"images": [')
    return folder


def _tracks() -> dict:
    value = instance_content()
    for k, image in enumerate(value["images"]):
        image |= {"frame_id": k, "first_frame_image_id": 5}
    return value


def _with_attributes() -> dict:
    value = instance_content()
    for annotation in value["annotations"]:
        annotation["attributes"] = {"occluded": False}
    return value


def _with_classes(folder: Path) -> Path:
    write_sequence(folder)
    (folder / "seqinfo.ini").unlink()
    (folder / "gt" / "labels.txt").write_text("cat")
    return folder


def _masks(folder: Path, place: str) -> Path:
    root = folder / "masks"
    write_palette(np.ones((4, 6), np.uint8), root / place / "00000.png")
    return root


def _masklets(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"video_id": "bear", "masklet": [[None]]}))
    return path


_KITTI_MOTS = of_one_class(true_videos(), "car")


def _labelme(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(folder / "1.png")
    path = folder / "1.json"
    path.write_text(json.dumps({"shapes": [], "imagePath": "1.png", "imageData": None}))
    return path


def _tao() -> dict:
    value = instance_content()
    for k, image in enumerate(value["images"]):
        image |= {"frame_index": k, "video_id": 5}
    return value


# By format what tools write: a function of an empty folder gives the path that people name.
SAMPLES: dict[str, list[Callable[[Path], Path]]] = {
    "bdd100k": [
        lambda folder: write_bdd100k(folder, "box_track_20"),
        lambda folder: write_bdd100k(folder, "seg_track_20/rles") / "clip_a.json",
        lambda folder: write_bdd100k(folder, "seg_track_20/bitmasks"),
        lambda folder: write_bdd100k(folder, "seg_track_20/bitmasks") / "clip_a",
    ],
    "burst": [_json(burst_content())],
    "coco": [
        _json(instance_content()),
        lambda folder: _json(instance_content())(folder).rename(folder / "_annotations.coco.json"),
    ],
    "coco_panoptic": [_json({"images": [], "annotations": [{"segments_info": []}]})],
    "cocovid": [_json(_tracks()), _json(_tao())],
    "datumaro": [_json({"categories": {"label": {"labels": []}}, "items": []})],
    "davis": [
        lambda folder: _masks(folder, "Annotations/480p/bear"),
        lambda folder: _masks(folder, "Annotations/bear"),
        lambda folder: _masks(folder, "bear"),
        lambda folder: _masks(folder, "480p/bear"),
        lambda folder: _masks(folder, "bear") / "bear",
    ],
    "cvat_coco": [_json(_with_attributes())],
    "cvat_images": [
        lambda folder: write_xml(folder, document("", element("image", id=0, name="a.png"))),
        lambda folder: write_xml(
            folder, document(element("task", element("mode", "annotation"))), "clip.xml"
        ),
    ],
    "cvat_mot": [
        lambda folder: _with_classes(folder / "clip"),
        lambda folder: _with_classes(folder / "clip").parent,
        lambda folder: _with_classes(folder / "clip") / "gt" / "gt.txt",
    ],
    "cvat_video": [
        lambda folder: write_xml(folder, document(element("task", task(3)))),
        lambda folder: write_xml(folder, document("", track(0, "cat", [])), "clip.xml"),
        lambda folder: write_xml(folder / "clip", document("", track(0, "cat", []))).parent.parent,
    ],
    "kitti": [
        lambda folder: write_kitti(folder / "training", true_videos()),
        lambda folder: write_kitti(folder / "training", true_videos()) / "label_02",
        lambda folder: write_kitti(folder / "training", true_videos()) / "label_02" / "clip_a.txt",
    ],
    "label_studio": [
        _json([{"id": 1, "annotations": [], "data": {"video": "a.mp4"}}]),
        _json([{"id": 1, "video": "a.mp4", "annotator": 1, "annotation_id": 2}]),  # refused by name
    ],
    "labelme": [
        _labelme,
        lambda folder: _labelme(folder / "clip").parent,
        lambda folder: _labelme(folder / "clip").parent.parent,
    ],
    "mots_png": [
        lambda folder: write_cvat_mots(true_videos()[0], folder / "mots"),
        lambda folder: write_cvat_mots(true_videos()[0], folder / "mots") / "default",
        lambda folder: write_kitti_mots(_KITTI_MOTS, folder / "KITTI_MOTS", "png"),
        lambda folder: write_kitti_mots(_KITTI_MOTS, folder / "training", "png") / "instances",
        lambda folder: write_kitti_mots(_KITTI_MOTS, folder / "training", "txt"),
        lambda folder: write_kitti_mots(_KITTI_MOTS, folder / "training", "txt") / "instances_txt",
    ],
    "mot": [
        lambda folder: write_sequence(folder / "MOT17-02"),
        lambda folder: write_sequence(folder / "train" / "MOT17-02").parent,
    ],
    "sa_v": [
        lambda folder: _masks(folder, "Annotations_6fps/bear/000"),
        lambda folder: _masks(folder, "Annotations_6fps/bear/000") / "Annotations_6fps",
        lambda folder: _masklets(folder / "sav_train" / "bear_manual.json").parent,
        lambda folder: _masklets(folder / "bear_auto.json"),
    ],
    "youtube_vos": [
        lambda folder: write_youtube_vos(true_videos()[:1], folder / "train"),
        lambda folder: write_youtube_vos(true_videos()[:1], folder / "vos" / "train").parent,
        lambda folder: write_youtube_vos(true_videos()[:1], folder / "train") / "meta.json",
    ],
    "ytvis": [_json(content())],
}


def _cases():
    return [(name, write) for name, samples in SAMPLES.items() for write in samples]


@pytest.mark.parametrize(("name", "write"), _cases())
def test_each_sample_has_one_format(name, write, tmp_path):
    path = write(tmp_path)
    assert find_exports(str(path)).format == name
    if path.parent == tmp_path and path.is_file():
        assert find_exports(str(tmp_path)).format == name  # the folder of the file


@pytest.mark.parametrize(("name", "write"), _cases())
def test_another_format_named_is_one_line(name, write, tmp_path):
    path = write(tmp_path)
    for other in LABEL_FORMATS.keys() - {name}:
        if (name, other) == ("youtube_vos", "davis"):
            continue  # it has such masks
        with one_line():
            read_labels(str(path), other)


@pytest.mark.parametrize("is_named", [True, False])
@pytest.mark.parametrize(("name", "write"), _cases())
def test_half_a_file_is_one_line(name, write, is_named, tmp_path, scratch_catalog):
    path = write(tmp_path)
    files = [each for each in tmp_path.rglob("*") if each.suffix in (".json", ".xml")]
    for each in files:
        each.write_bytes(each.read_bytes()[: each.stat().st_size // 2])
    if files:
        with one_line(" is not "):
            load_records(register_path(str(path), format=name if is_named else None))


def test_every_format_has_a_sample():
    assert SAMPLES.keys() == RECOGNISERS.keys()


@pytest.mark.parametrize(
    "odd",
    [
        *(
            b"",
            b"{}",
            b"[]",
            b"[[1]]",
            b"[null]",
            b'{"images": [3], "annotations": 4}',
            b"\xff\xfe",
        ),
        *(
            b'{"videos": [null]}',
            b'{"shapes": []}',
            b"<xml>",
            b"<annotations/>",
            b'{"shapes": 3}',
            b"1,2,3",
        ),
    ],
)
def test_odd_files_fail_no_recogniser(odd, tmp_path):
    for name in ("odd.json", "annotations.xml", "gt.txt"):
        (tmp_path / name).write_bytes(odd)
        for path in (tmp_path, tmp_path / name):
            found = [each for each in RECOGNISERS.values() if each(Seen(str(path)))]
            assert len(found) < 2
        (tmp_path / name).unlink()


def _start(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("write", "part"),
    [
        (lambda folder: folder / "none", "does not exist"),
        (lambda folder: folder, "has no format of labels that is known"),
        (
            lambda folder: (
                [_json({})(folder), shutil.copy(folder / "labels.json", folder / "b.json")]
                and folder
            ),
            r"name one of its JSON files, such as .*/b\.json",
        ),
        (_half_written, "labels.json is not JSON"),
        (
            lambda folder: _half_written(shutil.copy(_json({})(folder), folder / "z.json").parent),
            "labels.json is not JSON",
        ),
        *(
            (
                lambda folder, start=start: _start(folder / "export", start),
                rf"is packed \({kind}\): {what}",
            )
            for start, kind, what in (
                (b"7z\xbc\xaf", "7z", "unpack it, and give the folder"),
                (b"PK\x03\x04<annotations>", "zip", "call it .zip"),
            )
        ),
        *(
            (
                lambda folder, name=name: (folder / name).symlink_to(folder / "none") or folder,
                f"cannot read .*/{name}: No such file",
            )
            for name in ("labels.json", "labels.xml")
        ),
        (
            lambda folder: (folder / "labels.xml").write_text("<annotations><meta>") and folder,
            r"labels\.xml, line 1: it is not XML, or cut off here",
        ),
    ],
)
def test_no_format_is_one_line(write, part, tmp_path):
    with one_line(match=part):
        find_exports(str(write(tmp_path)))


def test_labels_are_found_behind_many_images(tmp_path, monkeypatch):
    """Folders of images before ``label_02``, with more files than are looked at; one is a link."""
    write_kitti(tmp_path / "set" / "training", true_videos())
    images = tmp_path / "set" / "training" / "image_02"
    for number in range(9):
        (images / f"{number:04d}").mkdir()
        for frame in range(4):
            (images / f"{number:04d}" / f"{frame:06d}.png").touch()
    (tmp_path / "set" / "training" / "label_02").rename(tmp_path / "labels")
    (tmp_path / "set" / "training" / "label_02").symlink_to(tmp_path / "labels")
    monkeypatch.setattr("d2video.formats.labels.recognition._MOST_FILES", 30)
    assert find_exports(str(tmp_path / "set")).format == "kitti"
    assert len(Seen(str(images)).files) <= 33


def test_an_archive_with_a_folder_around_all(tmp_path, monkeypatch):
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path / "cache"))
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.writestr("export/MOT17-02/gt/gt.txt", "")
        archive.writestr("__MACOSX/export/._MOT17-02", "x")
    found = find_exports(str(tmp_path / "export.zip"))
    ((name, seen),) = found.places.items()
    assert (found.format, name) == ("mot", "export")
    assert seen.path.endswith("export/export")
