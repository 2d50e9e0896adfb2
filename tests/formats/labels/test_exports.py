"""A folder of several exports, which may be zips: what is read as one set, and what is refused."""

import json
import shutil
import zipfile

import pytest

from d2video.data.datasets.by_path import register_path
from d2video.data.loading import load_records
from d2video.formats.faults import Doubt, LeftOut
from d2video.formats.readers import read_labels
from d2video.utils.errors import UserError
from d2video.video.frame_names import file_of_frame
from tests.formats import test_cvat_coco, test_cvat_mot, test_datumaro, test_mots_png
from tests.helpers.coco_sets import instance_content, write_images
from tests.helpers.cvat_xml import (
    as_mask,
    as_polygon,
    document,
    drawable,
    element,
    labels,
    size,
    task,
    track,
    tracks_of,
    write_xml,
)
from tests.helpers.findings import one_line
from tests.helpers.true_labels import CLASSES, assert_equal, true_videos, write_video

FIRST, SECOND = [drawable(video) for video in true_videos(crowd=False)]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path / "cache"))


def xml(video, *, classes=CLASSES, source=None, write=as_polygon):
    names = "" if classes is None else labels(classes)
    inner = task(video.num_frames, source=source or f"{video.name}.mp4", extra=names)
    return document(element("task", inner), *tracks_of(video, write))


# Masks of CVAT have no tracks.
LONE = document(
    element("task", task(8, source="clip_b.mp4")),
    track(0, "cat", [as_mask(FIRST.objects[0], frame=0)]),
)


def pack(path, **members):
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return path


@pytest.fixture
def folder(tmp_path):
    """A zip and a folder of labels, their videos, notes, and what file managers leave."""
    folder = tmp_path / "exports"
    pack(folder / "job 1.zip", annotations__xml=xml(FIRST), __MACOSX="")
    write_xml(folder / "job_2", xml(SECOND, classes=("bird", "dog", "cat", "cow")))
    write_video(FIRST, folder / f"{FIRST.name}.mp4")
    write_video(SECOND, folder / "job_2" / f"{SECOND.name}.mp4")
    for name in (".DS_Store", "Thumbs.db", "notes.txt"):
        (folder / name).touch()
    return folder


def told(path, format=None, **options):
    found = []
    read = read_labels(str(path), format, found.append, **options)
    return read, [str(each) for each in found if isinstance(each, Doubt | LeftOut)]


@pytest.mark.parametrize("place", ["", "outer", "outer.zip", "outer/inner.zip", "by date"])
def test_zips_and_folders_are_one_set(folder, tmp_path, place):
    if place == "outer":
        shutil.move(folder, tmp_path / "outer" / "exports")
    elif place == "by date":  # folders of zips
        shutil.make_archive(str(tmp_path / place / "june" / "job_2"), "zip", folder / "job_2")
        shutil.rmtree(folder / "job_2")
        shutil.move(folder, tmp_path / place / "may")
    elif place:
        shutil.make_archive(str(tmp_path / place.removesuffix(".zip")), "zip", folder)
    read, texts = told(tmp_path / (place or "exports"))
    assert texts == []
    assert_equal(read, [FIRST, SECOND], occlusion=True)
    assert read.classes == ["bird", "dog", "cat", "cow"]


def test_xml_files_that_were_renamed_are_one_set(tmp_path):
    for video in (FIRST, SECOND):
        write_xml(tmp_path, xml(video), f"export of {video.name}.xml")
        write_video(video, tmp_path / f"{video.name}.MP4")
    read, texts = told(tmp_path)
    assert texts == []
    assert_equal(read, [FIRST, SECOND], occlusion=True)


def test_videos_of_one_name_are_told_apart(tmp_path):
    for name, video in (("b", FIRST), ("a", SECOND)):
        inner = write_xml(tmp_path / name, xml(video, source="clip.mp4", classes=None)).parent
        write_video(video, inner / "clip.mp4")
        shutil.make_archive(str(tmp_path / "exports" / name), "zip", inner)
    read, _ = told(tmp_path / "exports")
    assert {video.name: len(video.frames) for video in read.videos} == {"a_clip": 5, "b_clip": 8}
    assert read.classes == ["cat", "dog"]  # no file lists its classes
    assert {read.classes[o.category] for v, o in read.objects() if v.name == "a_clip"} == {"dog"}


def test_what_is_not_read_is_counted(folder):
    pack(folder / "job_2.zip", annotations__xml=xml(FIRST))  # which was unpacked
    pack(folder / "frames.zip", readme__txt="")
    write_video(FIRST, folder / "more" / "other.mp4")
    read, (text,) = told(folder)
    assert_equal(read, [FIRST, SECOND], occlusion=True)
    assert f"{folder}: 2 of 4 exports are used; left out: 1 in another format, or without" in text
    assert "1 that are unpacked beside; for a set of several, put" in text
    pack(folder / "job_2" / "job_3.zip", annotations__xml=xml(FIRST))
    read, (text,) = told(folder / "job_2")
    assert [video.name for video in read.videos] == [SECOND.name]
    assert "1 of 2 exports are used; left out: 1 in archives beside it" in text


def test_frames_of_two_exports_are_doubted(folder):
    pack(folder / "job 1 again.zip", annotations__xml=xml(FIRST))
    read, (text,) = told(folder)
    assert len(read.videos) == 3
    assert "frames that are labelled twice (8), such as" in text
    assert f"{FIRST.name}.mp4#frame=0 in job 1 again and in job 1: leave one" in text


@pytest.mark.parametrize(
    ("change", "options", "part"),
    [
        (
            lambda folder: pack(folder / "a.zip", i__json=json.dumps(instance_content())),
            {},
            "holds labels in several formats (job 1.zip is cvat_video, a.zip is coco): name one",
        ),
        (
            lambda folder: pack(folder / "a.zip", annotations__xml=LONE),
            {},
            "job_2 is tracked, and a is not: give tracks to all, or set tracked=False",
        ),
        (
            lambda folder: (folder / "setup.exe").touch(),
            {},
            "job 1.zip, or take setup.exe away",
        ),
        (lambda folder: (folder / "a.zip").write_bytes(b"PK"), {}, "a.zip: it is damaged"),
        (
            lambda folder: pack(folder / "a.zip", task__json="{}", annotations__json="[]"),
            {},
            "a.zip is a backup of CVAT, which holds keyframes only: export",
        ),
        (lambda folder: None, {"image_root": f"{FIRST.name}.mp4"}, "2 exports, and image_root, "),
        (
            lambda folder: None,
            {"image_root": "none"},
            "exports/none, does not exist: correct the path",
        ),
    ],
)
def test_refused_in_one_line(folder, change, options, part):
    change(folder)
    options = {key: str(folder / value) for key, value in options.items()}
    with one_line(part):
        read_labels(str(folder), **options)


def test_a_file_in_a_zip_has_the_name_that_messages_call_it_by(folder, tmp_path):
    shutil.make_archive(str(tmp_path / "outer"), "zip", folder)
    path = tmp_path / "outer.zip!" / "job 1.zip!" / "annotations.xml"
    read, _ = told(path, image_root=str(folder))
    assert_equal(read, [FIRST], occlusion=True)
    with pytest.raises(UserError, match=r"outer\.zip!/none\.xml does not exist"):
        told(tmp_path / "outer.zip!" / "none.xml")


def _job(folder, video):
    """Of a job, whose file does not name the video."""
    inner = "<size>8</size><mode>interpolation</mode><start_frame>0</start_frame>" + labels()
    meta = element("job", inner) + size()
    write_xml(folder, document(meta, *tracks_of(video, as_polygon)))


def _coco(folder, video):
    images = [test_cvat_coco.image(k, k) for k in range(video.num_frames)]
    objects = [test_cvat_coco.from_truth(each, "polygon") for each in video.objects]
    test_cvat_coco.write(folder, test_cvat_coco.content(images, objects))


WRITERS = {
    "cvat_coco": _coco,
    "cvat_mot": lambda folder, video: test_cvat_mot.write(folder, test_cvat_mot.rows_of(video)),
    "cvat_video": _job,
    "datumaro": lambda folder, video: test_datumaro.write(folder, video, "bbox", path=""),
    "mots_png": lambda folder, video: test_mots_png.write_cvat(video, folder),
}


@pytest.mark.parametrize("format", WRITERS)
def test_a_video_that_labels_do_not_name(format, tmp_path):
    """It is the only one beside the zip, or that of its name."""
    WRITERS[format](tmp_path / "in", FIRST)
    shutil.make_archive(str(tmp_path / "exports" / "job.1"), "zip", tmp_path / "in")
    for name in ("any.MP4", "job.1.mp4"):
        path = tmp_path / "exports" / name
        write_video(FIRST, path.with_suffix(".mp4"))
        path.with_suffix(".mp4").rename(path)
        labels = read_labels(str(tmp_path / "exports"), None, lambda finding: None)
        (video,) = labels.videos
        assert video.name == "job.1"
        assert {file_of_frame(frame) for frame in video.frames} == {str(path)}
    (tmp_path / "exports" / "job.1.mp4").rename(tmp_path / "exports" / "job.2.mp4")
    with pytest.raises(UserError, match="image_root"):
        read_labels(str(tmp_path / "exports"))


def test_the_wrong_format(folder):
    for format in ("cvat_coco", "cvat_mot"):
        with pytest.raises(UserError, match=f"exports looks like cvat_video, not {format}"):
            read_labels(str(folder), format)


@pytest.mark.usefixtures("scratch_catalog")
def test_one_zip_of_a_standard_format(tmp_path):
    """Its images lie beside it. Several such zips are not read as one set."""
    (tmp_path / "in").mkdir()
    write_images(tmp_path / "in")
    pack(tmp_path / "in" / "a.zip", i__json=json.dumps(instance_content()))
    assert len(load_records(register_path(str(tmp_path / "in")))) == 3
    shutil.copy(tmp_path / "in" / "a.zip", tmp_path / "in" / "b.zip")
    with pytest.raises(UserError, match=r"holds 2 sets in coco's format, .* such as .*in/a\.zip"):
        register_path(str(tmp_path / "in"))
