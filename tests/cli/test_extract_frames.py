"""``d2video extract-frames``: the right frames under their numbers, whole or not at all, again and again."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from d2video.cli.extract_frames import main
from d2video.formats.labels.footage import find_footage, number_images, read_footage
from d2video.formats.readers import read_labels
from d2video.video import frame_extraction
from d2video.video.frame_names import read_images
from d2video.video.image_io import read_rgb
from d2video.video.video_reader import open_video
from tests.formats.test_cvat_mot import rows_of
from tests.formats.test_cvat_mot import write as write_cvat_mot
from tests.helpers.true_labels import true_videos, write_video
from tests.video.test_video_reader import make_frames, write_mp4

LENGTH = 12


@pytest.fixture
def clips(tmp_path):
    """A folder with two videos, and something else."""
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "notes.txt").write_text("no video")
    for name, frames in {"b.mp4": make_frames(LENGTH), "a.mp4": make_frames(LENGTH)[::-1]}.items():
        write_mp4(folder / name, frames)
    return folder


def run(*words):
    main([*map(str, words)])


def shown(path):
    return [frame.image for frame in open_video(path, prefetch=0)]


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name[0] != ".")


def test_png_is_exact_and_numbers_are_the_videos(clips, tmp_path, capsys):
    out = tmp_path / "out"
    run(clips / "b.mp4", out, "--png", "--numbers", "1:10:4")
    assert names(out) == ["b"]
    assert names(out / "b") == ["000001.png", "000005.png", "000009.png"]
    for number in (1, 5, 9):
        image = read_rgb(out / "b" / f"{number:06d}.png")
        np.testing.assert_array_equal(image, shown(clips / "b.mp4")[number])
    assert capsys.readouterr().out == f"{out}/b: 3 frames of {clips}/b.mp4, 64x48 pixels\n"


def test_a_folder_of_videos_is_found_by_readers(clips, tmp_path):
    run(clips, tmp_path / "out", "--quality", 99)
    assert names(tmp_path / "out") == ["a", "b"]
    footage = find_footage("labels", str(tmp_path), ["b.mp4"], str(tmp_path / "out"))
    assert footage.is_video_file
    assert [Path(each).name for each in footage.frames] == [f"{k:06d}.jpg" for k in range(12)]
    for image, frame in zip(footage.frames, shown(clips / "b.mp4"), strict=True):
        assert np.abs(read_rgb(image).astype(int) - frame).mean() < 4


def test_a_part_of_a_video_is_a_folder_of_images(clips, tmp_path):
    """Readers then go by the names, which are the numbers of the frames."""
    run(clips / "a.mp4", tmp_path / "some", "--numbers", "2::3")
    run(clips / "a.mp4", tmp_path / "less")
    (tmp_path / "less" / "a" / "000004.jpg").unlink()
    for name in ("some", "less"):
        footage = read_footage(str(tmp_path / name / "a"))
        assert not footage.is_video_file
    assert [*number_images(map(Path, footage.frames))] == [0, 1, 2, 3, *range(5, 12)]


def test_quality(clips, tmp_path):
    sizes = {}
    for quality in (30, 95):
        run(clips / "a.mp4", tmp_path / str(quality), "--quality", quality)
        sizes[quality] = os.path.getsize(tmp_path / str(quality) / "a" / "000003.jpg")
    assert sizes[30] < 0.7 * sizes[95]


def test_an_interrupted_run_goes_on(clips, tmp_path, monkeypatch, capsys):
    out, saved = tmp_path / "out", []
    original = frame_extraction._save

    def save(image, path, quality):
        if len(saved) == 7:
            path.with_name(".000007.1.partial.jpg").write_bytes(b"half")
            raise KeyboardInterrupt
        saved.append(path.name)
        original(image, path, quality)

    monkeypatch.setattr(frame_extraction, "_save", save)
    words = (clips / "a.mp4", clips / "b.mp4", out, "--num-workers", 1)
    with pytest.raises(KeyboardInterrupt):
        run(*words)
    assert names(out) == []  # nothing that readers would take for the whole video
    monkeypatch.setattr(
        frame_extraction, "_save", lambda *each: saved.append(each[1].name) or original(*each)
    )
    run(*words)
    assert saved == [f"{k:06d}.jpg" for k in [*range(12), *range(12)]]
    assert names(out) == ["a", "b"]
    assert "of which 7 were there" in capsys.readouterr().out
    for name in "ab":
        assert names(out / name) == [f"{k:06d}.jpg" for k in range(12)]
        assert not any("partial" in path.name for path in (out / name).iterdir())
        for path in sorted((out / name).glob("*.jpg")):
            Image.open(path).load()
    run(*words)  # all is there
    assert len(saved) == 24
    assert "12 frames of" in capsys.readouterr().out


def test_what_stands_in_the_way(clips, tmp_path, capsys):
    out = tmp_path / "out"
    (out / "a").mkdir(parents=True)
    run(clips / "a.mp4", out)  # an empty folder is none
    for words in (("--png",), ("--quality", 80), ("--numbers", ":3")):
        with pytest.raises(SystemExit):
            run(clips / "a.mp4", out, *words)
        assert f"error: cannot write frames to {out}/a: it holds other" in capsys.readouterr().err
    write_mp4(clips / "a.mp4", make_frames(5))  # another video of this name
    with pytest.raises(SystemExit):
        run(clips / "a.mp4", out)
    assert names(out / "a") == [f"{k:06d}.jpg" for k in range(12)]
    (out / "b").write_text("a file")
    with pytest.raises(SystemExit):
        run(clips / "b.mp4", out)
    assert "it holds other files" in capsys.readouterr().err


def test_mistakes_are_one_line(clips, tmp_path, capsys):
    (clips / "more").mkdir()
    write_mp4(clips / "more" / "a.mp4", make_frames(2))
    (clips / "none").mkdir()
    (clips / "c.mp4").write_bytes(b"not a video")
    for sources, options, said in (
        ((clips / "a.mp4", clips / "more"), (), "would both be written to"),
        ((clips / "none",), (), "holds no video"),
        ((clips / "a.mp4",), ("--numbers", "40:"), "none of the 12 frames"),
        ((clips / "missing.mp4",), (), "1 of 1 videos are not written: cannot read video"),
        ((clips,), (), "1 of 3 videos are not written: cannot read video"),
    ):
        with pytest.raises(SystemExit) as stopped:
            run(*sources, tmp_path / "out", *options)
        assert stopped.value.code == 1
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert said in error
    assert names(tmp_path / "out") == ["a", "b"]  # the sound ones are written all the same
    for words in (("--numbers", "3"), ("--numbers", "1:9:0"), ("--quality", "0")):
        with pytest.raises(SystemExit) as stopped:
            run(clips / "a.mp4", tmp_path / "out", *words)
        assert stopped.value.code == 2


def test_a_video_that_is_cut_off(clips, tmp_path, capsys):
    data = (clips / "a.mp4").read_bytes()
    (clips / "a.mp4").write_bytes(data[: len(data) * 3 // 4])
    run(clips / "a.mp4", tmp_path / "out")
    printed = capsys.readouterr().out
    count = len(names(tmp_path / "out" / "a"))
    assert 0 < count < LENGTH
    assert f"{count} frames" in printed
    assert "doubt:" in printed
    assert "is damaged: it ends" in printed


def test_labels_of_a_video_fit_its_extracted_frames(tmp_path):
    """CVAT's gt.txt counts the frames of a video from 1, and the images are called 000000.jpg and so on."""
    (tmp_path / "videos").mkdir()
    for video in true_videos():
        write_cvat_mot(tmp_path / "exports" / video.name, rows_of(video, 1))
        write_video(video, tmp_path / "videos" / f"{video.name}.mp4")
    run(tmp_path / "videos", tmp_path / "frames", "--png")
    from_video, from_images = (
        read_labels(str(tmp_path / "exports"), image_root=str(tmp_path / place))
        for place in ("videos", "frames")
    )
    for video, images in zip(from_video.videos, from_images.videos, strict=True):
        assert video.objects == images.objects
        assert [*video.numbers] == [*images.numbers]
        pixels = read_images(video.frames), read_images(images.frames)
        for of_video, of_images in zip(video.frames, images.frames, strict=True):
            np.testing.assert_array_equal(pixels[0][of_video], pixels[1][of_images])
