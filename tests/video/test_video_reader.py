"""open_video: what it yields, and one clear line for every fault."""

import threading
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from d2video.utils.errors import UserError
from d2video.video.image_io import is_still_image
from d2video.video.prefetch import THREAD_NAME
from d2video.video.video_reader import open_video

HEIGHT, WIDTH, LENGTH = 48, 64, 50


def make_frames(length: int = LENGTH) -> np.ndarray:
    """(T,H,W,3) uint8: coarse noise whose brightness tells the frame's number."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 60, (length, HEIGHT // 8, WIDTH // 8, 3))
    frames = noise.repeat(8, axis=1).repeat(8, axis=2) + 3 * np.arange(length)[:, None, None, None]
    return frames.astype(np.uint8)


def write_mp4(path, frames, rate=25, rotation=0, times=None, audio_only=False):
    """Encode with PyAV directly: the reader is tested apart from the library's writer."""
    options = {"movflags": "+faststart"}
    with av.open(str(path), "w", format="mp4", options=options) as container:
        if audio_only:
            stream = container.add_stream("aac", rate=44100)
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.float32), "fltp", "mono")
            sound.sample_rate = 44100
            container.mux(stream.encode(sound))
        else:
            stream = container.add_stream("libx264", rate=rate, options={"crf": "10", "g": "10"})
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            if rotation:
                stream.set_display_rotation(rotation)
            if times is not None:
                stream.codec_context.time_base = Fraction(1, 1000)
            for i, image in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                if times is not None:
                    frame.pts, frame.time_base = round(1000 * times[i]), Fraction(1, 1000)
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def mp4(tmp_path_factory):
    return write_mp4(tmp_path_factory.mktemp("video") / "good.mp4", make_frames())


def test_file(mp4):
    video = open_video(mp4)
    assert (video.fps, video.size, video.estimated_length) == (25.0, (HEIGHT, WIDTH), LENGTH)
    frames = list(video)
    assert [frame.index for frame in frames] == list(range(LENGTH))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(LENGTH) / 25, atol=1e-6)
    assert frames[0].image.dtype == np.uint8
    # Lossy, but each frame is nearest to itself.
    decoded = np.stack([frame.image for frame in frames]).astype(np.float32)
    distance = np.abs(decoded[:, None, ::8, ::8] - make_frames()[None, :, ::8, ::8]).mean((2, 3, 4))
    assert (distance.argmin(1) == np.arange(LENGTH)).all()
    assert distance.diagonal().max() < 15
    # A file can be read again.
    assert sum(1 for _ in video) == LENGTH


def test_channels_are_rgb(tmp_path):
    red = np.zeros((2, HEIGHT, WIDTH, 3), np.uint8)
    red[..., 0] = 255
    image = next(iter(open_video(write_mp4(tmp_path / "red.mp4", red)))).image
    np.testing.assert_allclose(image.mean((0, 1)), [255, 0, 0], atol=6)


def test_times_are_the_files_own_and_start_at_zero(tmp_path):
    times = [0.5, 0.6, 0.9, 1.0]
    path = write_mp4(tmp_path / "uneven.mp4", make_frames(4), times=times)
    got = [frame.time for frame in open_video(path)]
    np.testing.assert_allclose(got, np.array(times) - 0.5, atol=2e-3)
    assert [frame.time for frame in open_video(path, fps=10)] == [0.0, 0.1, 0.2, 0.3]


def test_length_is_estimated_from_the_duration_that_is_shown(tmp_path):
    # Leading frames that an edit list hides count in the header, as in many files cut without
    # re-encoding. The reader must neither trust the count nor yield the hidden frames.
    path = write_mp4(tmp_path / "good.mp4", make_frames())
    data = path.read_bytes()
    at = data.index(b"elst") + 8  # after the type, version and flags: entry count
    assert int.from_bytes(data[at : at + 4], "big") == 1
    duration, start = (int.from_bytes(data[at + i : at + i + 4], "big") for i in (4, 8))
    timescale_at = data.index(b"mdhd") + 16
    timescale = int.from_bytes(data[timescale_at : timescale_at + 4], "big")
    edit = (duration * 3 // 5).to_bytes(4, "big") + (start + timescale * 20 // 25).to_bytes(
        4, "big"
    )
    path.write_bytes(data[: at + 4] + edit + data[at + 12 :])

    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == LENGTH
    video = open_video(path)
    assert video.estimated_length == 30
    assert abs(sum(1 for _ in video) - 30) <= 1


def test_rotation_is_applied(tmp_path):
    for rotation in (90, 180, -90):
        path = write_mp4(tmp_path / f"{rotation}.mp4", make_frames(2), rotation=rotation)
        expected = cv2.cvtColor(cv2.VideoCapture(str(path)).read()[1], cv2.COLOR_BGR2RGB)
        video = open_video(path)
        assert video.size == expected.shape[:2]
        np.testing.assert_array_equal(next(iter(video)).image, expected)


def test_folder_in_natural_order(tmp_path):
    frames = make_frames(11)
    for i, image in enumerate(frames):
        Image.fromarray(image).save(tmp_path / f"frame{i}.png")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".hidden.png").write_text("no image either")
    video = open_video(tmp_path, fps=5)
    assert (video.fps, video.size, video.estimated_length) == (5, (HEIGHT, WIDTH), 11)
    np.testing.assert_array_equal(np.stack([frame.image for frame in video]), frames)
    assert [frame.time for frame in video] == [i / 5 for i in range(11)]


def test_one_image_is_a_video_of_one_frame(tmp_path):
    Image.fromarray(make_frames(1)[0]).save(tmp_path / "one.png")
    (frame,) = open_video(tmp_path / "one.png")
    np.testing.assert_array_equal(frame.image, make_frames(1)[0])


def test_an_animated_png_is_a_video_and_a_still_one_an_image(tmp_path):
    pictures = [Image.fromarray(image) for image in make_frames(3)]
    path = tmp_path / "moving.png"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[500, 100, 200])
    video = open_video(path)
    frames = list(video)
    np.testing.assert_array_equal(np.stack([frame.image for frame in frames]), make_frames(3))
    assert [frame.time for frame in frames] == pytest.approx([0, 0.5, 0.6])
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"moving\.png is damaged after frame 1 "):
        list(open_video(path))

    pictures[0].save(tmp_path / "still.png")
    assert is_still_image(tmp_path / "still.png")
    pictures[0].save(tmp_path / "one.png", save_all=True, append_images=[], duration=100)
    assert is_still_image(tmp_path / "one.png")
    pictures[0].save(tmp_path / "moving.webp", save_all=True, append_images=pictures[1:])
    with pytest.raises(UserError, match=r"moving\.webp: FFmpeg reads no animated WebP; convert it"):
        open_video(tmp_path / "moving.webp")


def test_arrays_and_iterators():
    frames = make_frames(5)
    video = open_video(frames)
    assert video.estimated_length == 5
    for _ in range(2):
        np.testing.assert_array_equal(np.stack([frame.image for frame in video]), frames)

    video = open_video(image for image in frames)
    assert video.estimated_length is None
    np.testing.assert_array_equal(np.stack([frame.image for frame in video]), frames)
    with pytest.raises(UserError, match="used up"):
        list(video)


def test_reading_is_lazy_and_stops_early():
    produced = 0

    def endless():
        nonlocal produced
        while True:
            produced += 1
            yield np.zeros((4, 6, 3), np.uint8)

    frames = iter(open_video(endless(), prefetch=4))
    for _ in range(10):
        next(frames)
    frames.close()
    assert 10 <= produced <= 10 + 4 + 2
    assert not [t for t in threading.enumerate() if t.name.startswith(THREAD_NAME)]


@pytest.mark.parametrize("prefetch", [0, 4])
def test_damage_in_the_middle(mp4, tmp_path, caplog, prefetch):
    data = bytearray(mp4.read_bytes())
    start = data.index(b"mdat")
    middle = start + (len(data) - start) * 6 // 10
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[:middle])
    holed = tmp_path / "holed.mp4"
    data[middle : middle + 2000] = bytes(2000)
    holed.write_bytes(data)

    reference = [frame.image for frame in open_video(mp4)]
    for path in (cut, holed):
        good = []
        with pytest.raises(UserError, match=rf"{path.name} is damaged after frame \d+") as caught:
            good.extend(open_video(path, prefetch=prefetch))
        assert f"frame {len(good) - 1} " in str(caught.value)
        assert 5 < len(good) < LENGTH
        for frame in good:  # all that came before the damage is intact, times too
            np.testing.assert_array_equal(frame.image, reference[frame.index])
            assert frame.time == pytest.approx(frame.index / 25)

        caplog.clear()
        stopped = list(open_video(path, prefetch=prefetch, on_broken="stop"))
        assert len(stopped) == len(good)
        assert "is damaged after frame" in caplog.text


def test_damage_that_no_decoder_reports(tmp_path, caplog):
    """A picture that is cut off, and files that end between two."""
    halves = {}
    for name, codec, form in (
        ("a.avi", "mjpeg", "yuvj420p"),
        ("b.mkv", "libx264", "yuv420p"),
        ("c.flv", "libx264", "yuv420p"),
    ):
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, form
            for image in make_frames():
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode(None))
        assert len(list(open_video(path))) == LENGTH
        assert not caplog.records
        data = path.read_bytes()
        with av.open(str(path)) as container:
            ends = [packet.pos for packet in container.demux(video=0) if packet.size]
        halves[name] = path.with_stem("half")
        end = ends[LENGTH // 2] if name == "c.flv" else len(data) // 2
        halves[name].write_bytes(data[:end])
    with pytest.raises(UserError, match=r"half.avi is damaged after frame \d+ .*middle of a frame"):
        list(open_video(halves["a.avi"]))
    good = list(open_video(halves["a.avi"], on_broken="stop"))
    assert 5 < len(good) < LENGTH
    np.testing.assert_allclose(good[-1].image, make_frames()[len(good) - 1], atol=60)
    with pytest.raises(UserError, match=r"half.mkv is damaged after frame \d+ .*its own structure"):
        list(open_video(halves["b.mkv"]))
    caplog.clear()
    assert 5 < len(list(open_video(halves["c.flv"]))) < LENGTH
    assert "half.flv ends at" in caplog.text
    assert "may be cut off" in caplog.text


def bad_sources(tmp_path):
    """name → (source, what the message must say)."""
    frames = make_frames(3)
    (tmp_path / "text.mp4").write_text("hello" * 100)
    (tmp_path / "empty.mp4").write_bytes(b"")
    write_mp4(tmp_path / "sound.mp4", None, audio_only=True)
    data = write_mp4(tmp_path / "full.mp4", frames).read_bytes()
    (tmp_path / "headonly.mp4").write_bytes(data[: data.index(b"mdat") + 4])
    (tmp_path / "folder").mkdir()
    Image.fromarray(frames[0]).save(tmp_path / "whole.jpg")
    (tmp_path / "short.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:500])
    (tmp_path / "fake.png").write_text("hello")
    grey = np.zeros((4, 5), np.uint8)
    return {
        "missing": (tmp_path / "none.mp4", "none.mp4 does not exist"),
        "text": (tmp_path / "text.mp4", "text.mp4 .* not a video"),
        "empty": (tmp_path / "empty.mp4", "empty.mp4 .* not a video"),
        "sound": (tmp_path / "sound.mp4", "sound.mp4 has no video stream"),
        "head only": (tmp_path / "headonly.mp4", "headonly.mp4 .*(has no frames|damaged)"),
        "folder": (tmp_path / "folder", "folder holds no image"),
        "cut image": (tmp_path / "short.jpg", "cannot read image .*short.jpg"),
        "fake image": (tmp_path / "fake.png", "cannot read image .*fake.png"),
        "no arrays": ([], "empty"),
        "grey array": ([grey], r"shape \(4, 5\)"),
        "floats": ([np.zeros((4, 5, 3))], "float64"),
        "lists": ([[1, 2]], "not an array"),
        "number": (3.5, "cannot read a video from 3.5"),
    }


def test_faults_are_one_clear_line(tmp_path):
    for name, (source, expected) in bad_sources(tmp_path).items():
        with pytest.raises(UserError, match=expected) as caught:
            open_video(source)
        assert "\n" not in str(caught.value), name
    with pytest.raises(UserError, match="frame rate"):
        open_video(make_frames(2), fps=0)


@pytest.mark.parametrize("fps", [-1.0, 1e-9, float("inf"), float("nan")])
def test_frame_rates_that_cannot_be(fps):
    with pytest.raises(UserError, match="the frame rate must be above 0"):
        open_video(make_frames(2), fps=fps)


def test_zero_frames(tmp_path):
    # A well-formed AVI whose only video stream holds nothing.
    path = tmp_path / "zero.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        container.start_encoding()
    with pytest.raises(UserError, match=r"zero.avi (has no frames|.*not a video)"):
        open_video(path)


def test_faults_in_later_frames(tmp_path, caplog):
    for i, image in enumerate(make_frames(3)):
        Image.fromarray(image).save(tmp_path / f"{i}.jpg")
    (tmp_path / "1.jpg").write_bytes((tmp_path / "1.jpg").read_bytes()[:400])
    frames = iter(open_video(tmp_path))
    assert next(frames).index == 0
    with pytest.raises(UserError, match=r"1\.jpg"):
        next(frames)
    assert [frame.index for frame in open_video(tmp_path, on_broken="stop")] == [0]
    assert "1.jpg" in caplog.text
    assert "stopped before frame 1" in caplog.text

    sizes = [np.zeros((4, 6, 3), np.uint8), np.zeros((4, 8, 3), np.uint8)]
    with pytest.raises(UserError, match="frame 1 is 8x4 pixels, the first one 6x4"):
        list(open_video(sizes))
