"""VideoFrames: frame n is the one that open_video shows as the n-th, pixel for pixel, in any order."""

import gc
import os
from dataclasses import replace
from itertools import islice

import av
import numpy as np
import pytest

from d2video.utils.errors import BrokenFile, UserError
from d2video.video import frame_index, video_frames
from d2video.video.decoding import upright
from d2video.video.video_frames import VideoFrames
from d2video.video.video_reader import open_video
from tests.helpers import ROOT
from tests.helpers.video_files import CODINGS, write_coded
from tests.video.test_video_reader import HEIGHT, WIDTH, make_frames, write_mp4

REAL = ROOT.parent / "shared" / "data"
# Real videos, with what FFmpeg shows of them. The first of cockatoo.mp4's packets names an old encoder, of
# which decoders must know; test.avi has guessed times, snakeboard.mp4 an edit list.
LENGTHS = {
    "real/videos/action.mp4": 280,
    "real/videos/cockatoo.mp4": 280,
    "real/videos/flipping_a_pancake.mkv": 310,
    "real/videos/newtonscradle.gif": 36,
    "real/videos/test.avi": 164,
    "snakeboard.mp4": 109,
}
# Two frames much closer than half an average frame, gaps, and others at a constant rate.
UNEVEN = [0.0, 0.1, 0.104, 0.5, 0.501, 0.502, 2.0, *np.arange(2.04, 3, 0.04), 4.0, 4.001]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("numbered")


def shown(path, most=None) -> list[np.ndarray]:
    """The frames, at most so many, up to where the file breaks off, if it does."""
    images = []
    try:
        images.extend(frame.image for frame in islice(open_video(path, prefetch=0), most))
    except UserError:
        assert images
    return images


def assert_exact(path, most=24) -> list[np.ndarray]:
    """Compare frames in random order, each kind of step, single ones and several."""
    images = shown(path)
    order = np.random.default_rng(0).permutation(len(images))[:most].tolist()
    with VideoFrames(path) as video:
        index = video._index
        assert len(video) == len(images)
        assert video.size == images[0].shape[:2]
        assert len(video.times) == len(images)
        assert (np.diff(video.times) > 0).all()
        for number in [*order, *range(min(len(images), 6)), len(images) - 1]:
            np.testing.assert_array_equal(video.read([number])[0], images[number], str(number))
        several = [order[0], order[-1], order[0], len(images) - 1]
        for number, image in zip(several, video.read(several), strict=True):
            np.testing.assert_array_equal(image, images[number])
        assert video._index is index, "it was wrong, and was made again"
    return images


@pytest.mark.parametrize("name", CODINGS)
def test_containers_and_codecs(folder, name):
    assert_exact(write_coded(folder, name))


def write_x264(path, length=60, shift=0, **options):
    """Coarse noise in motion; ``shift`` frames later than 0."""
    with av.open(str(path), "w") as container:
        parameters = ":".join(f"{key.replace('_', '-')}={value}" for key, value in options.items())
        stream = container.add_stream("libx264", rate=25, options={"x264-params": parameters})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number, image in enumerate(make_frames(length)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = number + shift
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("open_gop.mp4", {"keyint": 12, "open_gop": 1, "bframes": 3}),
        ("pyramid.mkv", {"keyint": 50, "bframes": 5, "b_pyramid": "normal", "ref": 5}),
        ("refresh.mp4", {"keyint": 15, "intra_refresh": 1}),  # no key frame, but for the first
        ("one_group.mp4", {"keyint": "infinite", "bframes": 2}),
        ("late.ts", {"keyint": 10, "shift": 5000}),
        ("fields.ts", {"keyint": 10, "tff": 1}),
    ],
)
def test_orders_of_decoding(folder, name, options):
    assert_exact(write_x264(folder / name, **options))


def test_a_recording_that_begins_at_an_open_group(folder):
    """The frames that refer to what came before the recording are not shown, and have no numbers."""
    whole = write_x264(folder / "whole.mp4", 40, keyint=10, open_gop=1, bframes=3, scenecut=0)
    path = folder / "begun.mkv"
    with av.open(str(whole)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        packets = [packet for packet in old.demux(video=0) if packet.size]
        second = [packet.is_keyframe for packet in packets].index(True, 1)
        assert packets[second].pts > packets[second + 1].pts
        for packet in packets[second:]:
            packet.stream = stream
            new.mux(packet)
    assert len(assert_exact(path)) < len(packets) - second


def test_recordings_that_were_joined(folder):
    """The second one begins at 0 again."""
    parts = [write_x264(folder / f"{k}.ts", length, keyint=10) for k, length in enumerate((30, 17))]
    path = folder / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert len(assert_exact(path)) == 47


def test_frames_close_to_each_other(folder):
    path = write_mp4(folder / "uneven.mp4", make_frames(len(UNEVEN)), times=UNEVEN)
    assert_exact(path)
    with VideoFrames(path) as video:
        np.testing.assert_allclose(video.times, UNEVEN, atol=1.1e-3)


@pytest.mark.parametrize("rotation", [90, 180])
def test_upright(folder, rotation):
    assert_exact(write_mp4(folder / f"{rotation}.mp4", make_frames(12), rotation=rotation))


def test_frames_that_an_edit_list_hides(folder):
    path = write_mp4(folder / "edited.mp4", make_frames())
    data = path.read_bytes()
    at = data.index(b"elst") + 8  # after the type, version and flags: entry count
    length, start = (int.from_bytes(data[at + k : at + k + 4], "big") for k in (4, 8))
    scale_at = data.index(b"mdhd") + 16
    hidden = int.from_bytes(data[scale_at : scale_at + 4], "big") * 13 // 25
    edit = (length * 3 // 5).to_bytes(4, "big") + (start + hidden).to_bytes(4, "big")
    path.write_bytes(data[: at + 4] + edit + data[at + 12 :])
    assert 25 < len(assert_exact(path)) < 35


@pytest.mark.parametrize("name", LENGTHS)
def test_real_videos(name):
    path = REAL / name
    if not path.is_file():
        pytest.skip("needs the shared videos")
    images = shown(path, 110)
    with VideoFrames(path) as video:
        assert len(video) == LENGTHS[name]
        for number in [len(images) - 3, len(images) - 20, 3]:
            np.testing.assert_array_equal(video.read([number])[0], images[number], str(number))


@pytest.mark.parametrize("lie", ["one too many", "one missing"])
def test_packets_that_promise_other_frames(tmp_path, lie):
    """It is noticed where they are decoded, and the frames are counted."""
    path = str(write_coded(tmp_path, "vp8.webm"))
    images, index = shown(path), frame_index.frame_index(path)
    stamps = np.delete(index.stamps, 4) if lie == "one missing" else np.insert(index.stamps, 4, 130)
    assert (np.diff(stamps) > 0).all()
    false = replace(index, stamps=stamps, times=stamps / 1e3)
    frame_index._KEPT[frame_index.file_key(path)] = false
    with VideoFrames(path) as video:
        np.testing.assert_array_equal(video.read([6])[0], images[6])
        assert len(video) == len(images)
        for number in (8, 3, 23):
            np.testing.assert_array_equal(video.read([number])[0], images[number])
    assert len(VideoFrames(path)) == len(images)


def test_guessed_times_are_not_taken_for_stated_ones(tmp_path):
    for name, can_seek in {"mpeg4.avi": False, "mjpeg.avi": True, "bare.m4v": False}.items():
        index = frame_index.frame_index(str(write_coded(tmp_path, name)))
        assert (index.stamps is not None) == can_seek


def test_steps_back_without_seeking_are_told(tmp_path, caplog):
    for name, told in {"mpeg4.avi": 1, "h264.mp4": 0}.items():
        caplog.clear()
        with VideoFrames(write_coded(tmp_path, name)) as video:
            for number in (5, 7, 3, 1):
                video.read([number])
        texts = [record.getMessage() for record in caplog.records]
        assert sum("write its frames once" in text for text in texts) == told


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "h264.ts", "mpeg4.avi"])
def test_a_file_that_is_cut_off(folder, name):
    data = write_coded(folder, name).read_bytes()
    path = folder / f"cut_{name}"
    path.write_bytes(data[: len(data) * 7 // 10])
    there = len(assert_exact(path))
    assert 4 < there < 24
    with VideoFrames(path) as video:
        with pytest.raises(
            BrokenFile, match=rf"has no frame 23, after {there} frames it ends .*again"
        ):
            video.read([23])
        with pytest.raises(BrokenFile, match="has no frame"):
            video.read([0, there])
        assert len(video.read([there - 1])) == 1


def test_frames_that_are_not_there(folder):
    path = write_mp4(folder / "short.mp4", make_frames(7))
    with VideoFrames(path) as video:
        with pytest.raises(
            BrokenFile, match=r"short\.mp4 has no frame 7, it has 7: give the video"
        ):
            video.read([7])
        with pytest.raises(BrokenFile, match=r"no frame -1"):
            video.read([-1])


def test_damage_in_the_middle(folder):
    """What lies behind it can be read; what it touches is one line."""
    path = write_x264(folder / "hit.mp4", 40, keyint=10, scenecut=0)
    images = shown(path)
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    data[places[12] : places[16]] = b"\xff" * (places[16] - places[12])
    path.write_bytes(bytes(data))
    with VideoFrames(path) as video:
        with pytest.raises(
            BrokenFile, match=r"cannot decode frame 17 of video .*hit\.mp4 .*damaged"
        ) as error:
            video.read([17])
        assert "\n" not in str(error.value)
        for number in (31, 3):
            np.testing.assert_array_equal(video.read([number])[0], images[number])


def test_no_more_is_decoded_and_converted_than_is_needed(folder, monkeypatch):
    path = write_x264(folder / "long.mp4", 200, keyint=20, scenecut=0, bframes=3, b_adapt=0)
    decoded, converted = [], []
    original = video_frames._numbered

    def counted(*arguments):
        for number, frame in original(*arguments):
            decoded.append(number)
            yield number, frame

    monkeypatch.setattr(video_frames, "_numbered", counted)
    monkeypatch.setattr(
        video_frames, "upright", lambda frame: converted.append(frame) or upright(frame)
    )
    with VideoFrames(path) as video:
        video.read([150, 152, 39])  # in one pass: from key frame 20, then from 140
        assert len(converted) == 3
        assert decoded[0] == 20
        assert 140 in decoded
        assert not {*range(41, 140)} & {*decoded}
        # Frames that no other refers to are passed over.
        assert len(decoded) < 0.7 * (20 + 13)
        decoded.clear()
        video.read([153])
        video.read([154])
        assert decoded == [153, 154]


def test_an_index_is_read_once(folder, monkeypatch):
    path = write_mp4(folder / "again.mp4", make_frames(5))
    read = []
    original = frame_index._read_index
    monkeypatch.setattr(
        frame_index, "_read_index", lambda *a, **k: read.append(a) or original(*a, **k)
    )
    for _ in range(3):
        VideoFrames(path).read([2])
    assert len(read) == 1
    write_mp4(path, make_frames(6))
    assert len(VideoFrames(path)) == 6
    # Kept up to a number of frames, the latest ones longest.
    monkeypatch.setattr(frame_index, "_MOST_KEPT", 14)
    for name in ("b", "c"):
        VideoFrames(write_mp4(folder / f"again_{name}.mp4", make_frames(5)))
    assert [os.path.basename(key[0]) for key in frame_index._KEPT][-2:] == [
        "again_b.mp4",
        "again_c.mp4",
    ]
    assert sum(map(len, frame_index._KEPT.values())) <= 14


def test_nothing_stays_open(folder):
    path = write_mp4(folder / "open.mp4", make_frames(5))

    def count():
        return sum(os.readlink(f"/proc/self/fd/{fd}") == str(path) for fd in _descriptors())

    video = VideoFrames(path)
    assert count() == 0
    video.read([3])
    assert count() == 1
    video.close()
    assert count() == 0
    np.testing.assert_array_equal(video.read([3])[0], shown(path)[3])
    gc.disable()  # freed without a cycle of references
    try:
        del video
        assert count() == 0
    finally:
        gc.enable()


def _descriptors():
    for name in os.listdir("/proc/self/fd"):
        if os.path.exists(f"/proc/self/fd/{name}"):
            yield name
