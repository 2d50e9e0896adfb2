"""VideoFile: the frames at some times, however the file is made, and one clear line for every fault."""

import os
from fractions import Fraction

import av
import numpy as np
import pytest

from d2video.utils.errors import BrokenFile
from d2video.video import video_file
from d2video.video.video_file import VideoFile
from d2video.video.video_reader import open_video
from tests.video.test_video_reader import HEIGHT, LENGTH, WIDTH, make_frames, write_mp4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("videos")


@pytest.fixture(scope="module")
def mp4(folder):
    """50 frames at 25 a second, key frames every 10, with B-frames."""
    return write_mp4(folder / "good.mp4", make_frames())


@pytest.fixture(scope="module")
def decoded(mp4):
    return [frame.image for frame in open_video(mp4, prefetch=0)]


def remux(source, target, video_format=None):
    """The same packets in another container."""
    with av.open(str(source)) as old, av.open(str(target), "w", format=video_format) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    return target


def numbers(path, wanted, fps=25):
    with VideoFile(path) as video:
        return [round(f.time * fps) for f in video.read_frames_at(np.asarray(wanted) / fps)]


def test_metadata(mp4):
    with VideoFile(mp4) as video:
        assert (video.fps, video.duration, video.num_frames) == (25.0, 2.0, LENGTH)
        assert video.size == (HEIGHT, WIDTH)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.h264"])
def test_any_frames_in_any_order(mp4, decoded, folder, monkeypatch, name):
    monkeypatch.setattr(video_file, "_DECODE_ON", 0.0)  # seek whenever that can pay
    path = mp4 if name == "a.mp4" else remux(mp4, folder / name)
    wanted = [41, 3, 3, 20, 0, 48, 19, 49]
    with VideoFile(path) as video:
        assert video.num_frames == pytest.approx(LENGTH, abs=1)
        # A second time, to move backwards.
        for _ in range(2):
            frames = video.read_frames_at(np.array(wanted) / 25)
            for number, frame in zip(wanted, frames, strict=True):
                assert round(frame.time * 25) == number
                np.testing.assert_array_equal(frame.image, decoded[number])
    assert frames[1].image is frames[2].image


@pytest.mark.parametrize("b_frames", ["0", "2"])
def test_avi(folder, monkeypatch, b_frames):
    """As UCF101's files: MPEG-4 in a container that tells the order of decoding alone."""
    monkeypatch.setattr(video_file, "_DECODE_ON", 0.0)
    path = folder / "old.avi"
    with av.open(str(path), "w") as container:
        options = {"g": "10", "bf": b_frames, "qscale": "2"}
        stream = container.add_stream("mpeg4", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for image in make_frames():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    expected = [frame.image for frame in open_video(path, prefetch=0)]
    with VideoFile(path) as video:
        wanted = [41, 3, 20, 0, 19]
        for number, frame in zip(wanted, video.read_frames_at(np.array(wanted) / 25), strict=True):
            np.testing.assert_array_equal(frame.image, expected[number])


def test_only_what_is_needed_is_decoded(folder, monkeypatch):
    path = write_mp4(folder / "long.mp4", make_frames(50).repeat(5, axis=0)[:, :, :])
    count = 0
    original = VideoFile._next

    def counted(self):
        nonlocal count
        count += 1
        return original(self)

    monkeypatch.setattr(VideoFile, "_next", counted)
    assert numbers(path, [5, 104, 108, 233]) == [5, 104, 108, 233]
    # To 5; from key frame 100 to 108; from 230 to 233; with one beyond each, and the first two.
    assert count <= 8 + 12 + 8


def test_times_between_frames_and_beyond(mp4):
    with VideoFile(mp4) as video:
        got = [f.time * 25 for f in video.read_frames_at([0.049, 0.031, 1.97, 2.0, 9.0])]
    np.testing.assert_allclose(got, [1, 1, 49, 49, 49], atol=1e-6)


def test_variable_rate_goes_by_presentation_time(folder):
    times = [0.5, 0.6, 0.9, 1.0, 3.0]
    path = write_mp4(folder / "uneven.mp4", make_frames(5), times=times)
    with VideoFile(path) as video:
        half = 0.5 / video.fps
        got = [f.time for f in video.read_frames_at([0.0, 0.3, 0.42, 2.4 - half, 2.5])]
    np.testing.assert_allclose(got, [0.0, 0.1, 0.4, 0.5, 2.5], atol=0.11)
    assert got[3:] == pytest.approx([0.5, 2.5], abs=2e-3)


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), 7, Fraction(25, 2), 120])
def test_odd_rates(folder, rate):
    path = write_mp4(folder / "odd.mp4", make_frames(30), rate=rate)
    with VideoFile(path) as video:
        assert video.fps == pytest.approx(float(rate), rel=1e-4)
        assert video.num_frames == 30
        wanted = np.array([0, 7, 13, 14, 29])
        frames = video.read_frames_at(wanted / video.fps)
    assert [round(f.time * video.fps) for f in frames] == wanted.tolist()


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_rotation_is_applied(folder, rotation):
    path = write_mp4(folder / f"{rotation}.mp4", make_frames(2), rotation=rotation)
    expected = next(iter(open_video(path))).image
    with VideoFile(path) as video:
        assert video.size == expected.shape[:2]
        np.testing.assert_array_equal(video.read_frames_at([0.0])[0].image, expected)


def test_one_frame(folder):
    path = write_mp4(folder / "one.mp4", make_frames(1))
    with VideoFile(path) as video:
        assert video.num_frames == 1
    assert numbers(path, [0, 0, 3]) == [0, 0, 0]


@pytest.mark.parametrize(
    "name", ["good.mp4", "shown.mkv", "shown.ts", "shown.h264", "shown_vfr.mp4"]
)
def test_shown_times_are_those_of_the_frames(mp4, folder, name):
    """Without decoding: B-frames, other containers, no times at all, a rate that changes."""
    if name == "good.mp4":
        path = mp4
    elif name == "shown_vfr.mp4":
        times = np.cumsum(np.r_[0, np.full(10, 0.04), np.full(5, 0.4), np.full(10, 0.02)])
        path = write_mp4(folder / name, make_frames(len(times)), times=times)
    else:
        path = remux(mp4, folder / name)
    with VideoFile(path) as video:
        wanted = np.arange(video.num_frames + 3) / video.fps
        expected = [frame.time for frame in video.read_frames_at(wanted)]
        np.testing.assert_allclose(video.shown_times(wanted), expected, rtol=0, atol=1e-6)


def test_another_size_further_on_is_named(folder):
    """Two bare streams, one after the other, are one, as recordings of cameras may be."""
    images = make_frames(20)
    parts = [images, images[:, : HEIGHT // 2, : WIDTH // 2]]
    path = folder / "sizes.h264"
    with path.open("wb") as whole:
        for part in parts:
            piece = folder / "piece.h264"
            with av.open(str(piece), "w", format="h264") as container:
                stream = container.add_stream("libx264", rate=25, options={"bf": "0"})
                stream.height, stream.width = part.shape[1:3]
                stream.pix_fmt = "yuv420p"
                for image in part:
                    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
                    container.mux(stream.encode(frame))
                container.mux(stream.encode(None))
            whole.write(piece.read_bytes())
    with VideoFile(path) as video:
        assert len(video.read_frames_at(np.arange(20) / 25)) == 20
        with pytest.raises(
            BrokenFile, match=r"sizes\.h264 changes its size at \d\.\d s, from 64x48"
        ):
            video.read_frames_at([1.2])


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_file_is_named(mp4, folder, share):
    data = mp4.read_bytes()
    path = folder / "cut.mp4"
    path.write_bytes(data[: int(share * len(data))])
    assert numbers(path, [0, 2]) == [0, 2]  # what is there can be had
    with VideoFile(path) as video, pytest.raises(BrokenFile, match=r"cut\.mp4") as error:
        video.read_frames_at([0.0, 1.96])
    assert "\n" not in str(error.value)


def test_matroska_that_ends_early_is_named(mp4, folder):
    data = remux(mp4, folder / "whole.mkv").read_bytes()
    path = folder / "cut.mkv"
    path.write_bytes(data[: len(data) // 3])
    with VideoFile(path) as video, pytest.raises(BrokenFile, match=r"cut\.mkv"):
        video.read_frames_at([1.9])


@pytest.mark.parametrize("content", [b"", b"no video at all" * 100, None])
def test_what_is_no_video(folder, content):
    path = folder / "bad.mp4"
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BrokenFile, match=r"bad\.mp4") as error:
        VideoFile(path)
    assert "\n" not in str(error.value)


def test_sound_alone(folder):
    path = write_mp4(folder / "sound.mp4", [], audio_only=True)
    with pytest.raises(BrokenFile, match="no video stream"):
        VideoFile(path)


def test_sound_with_a_cover(folder):
    """A picture on the sleeve is no video, though FFmpeg calls it a video stream."""
    path = folder / "cover.mp4"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=44100)
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(make_frames(1)[0], format="rgb24")
        picture.pts = 0
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.float32), "fltp", "mono")
        silence.sample_rate = 44100
        for stream, frame in ((cover, picture), (sound, silence)):
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    with pytest.raises(BrokenFile, match="no video stream"):
        VideoFile(path)


def test_damage_in_the_middle_leaves_no_decoder_to_forks(mp4, folder):
    data = bytearray(mp4.read_bytes())
    data[len(data) // 2 :] = b"\xff" * (len(data) - len(data) // 2)
    path = folder / "damaged.mp4"
    path.write_bytes(bytes(data))
    kept = None
    with VideoFile(path) as video:
        try:
            video.read_frames_at(np.arange(LENGTH) / 25)
        except BrokenFile as error:
            kept = error
    assert kept is not None
    child = os.fork()
    if child == 0:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
