"""Frames of video files by name, wherever images are read: in loaders, their workers and threads."""

import os
import threading
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from detectron2.data import transforms as T
from PIL import Image

from d2video.data.exif_doubts import exif_doubts
from d2video.data.frame_sequence import FrameSequence, read_frame
from d2video.data.mappers.clip import ClipDatasetMapper
from d2video.data.mappers.detectron2_image import DatasetMapper
from d2video.data.mappers.image import ImageDatasetMapper
from d2video.data.record_faults import record_faults
from d2video.evaluation.mot.records import sequence_of_record
from d2video.utils.errors import BrokenFile
from d2video.video import frame_names
from d2video.video.frame_names import (
    frame_name,
    image_size,
    image_stem,
    read_images,
    split_frame_name,
)
from d2video.video.video_frames import VideoFrames
from d2video.video.video_reader import open_video
from tests.video.test_video_reader import HEIGHT, WIDTH, make_frames, write_mp4

LENGTH = 30


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return str(write_mp4(tmp_path_factory.mktemp("names") / "a b.mp4", make_frames(LENGTH)))


@pytest.fixture(scope="module")
def images(video):
    return [frame.image for frame in open_video(video, prefetch=0)]


@pytest.fixture
def record(video):
    names = [frame_name(video, number) for number in range(0, LENGTH, 2)]
    sizes = {"height": HEIGHT, "width": WIDTH, "length": len(names)}
    return {"video_id": 1, "sequence": "a", "file_names": names, **sizes}


def test_names():
    assert split_frame_name(frame_name("a#b/c.mp4", 12)) == ("a#b/c.mp4", 12)
    for name in ("c.mp4", "c#frame=12.jpg", "#frame=1", "c.mp4#frame=-1", "c.mp4#frame="):
        assert split_frame_name(name) is None
    assert image_stem(frame_name("a/c.d.mp4", 12)) == "c.d_000012"
    assert image_stem("a/c.d.png") == "c.d"


def test_images_and_frames_together(video, images, tmp_path):
    path = str(tmp_path / "image.png")
    Image.fromarray(images[3]).save(path)
    names = [frame_name(video, 20), path, frame_name(video, 3), frame_name(video, 20)]
    read = read_images(names)
    assert len(read) == 3
    for name, number in zip(names, (20, 3, 3, 20), strict=True):
        np.testing.assert_array_equal(read[name], images[number])


def test_few_videos_stay_open_and_a_new_file_is_noticed(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(frame_names, "_OPEN", frame_names._OpenVideos())  # none is open
    monkeypatch.setattr(
        frame_names, "VideoFrames", lambda path: opened.append(path) or VideoFrames(path)
    )
    frames = make_frames(3)
    paths = [str(write_mp4(tmp_path / f"{k}.mp4", frames)) for k in range(6)]
    for _ in range(2):
        for path in paths[:4]:
            read_images([frame_name(path, 1)])
    assert opened == paths[:4]
    for path in paths[4:]:
        read_images([frame_name(path, 1)])
    assert opened == paths
    files = {os.path.realpath(f"/proc/self/fd/{k}") for k in os.listdir("/proc/self/fd")}
    assert [path for path in paths if path in files] == paths[2:]
    read_images([frame_name(paths[3], 1)])
    assert opened == paths
    write_mp4(tmp_path / "3.mp4", frames[::-1])
    read_images([frame_name(paths[3], 1)])
    assert opened == [*paths, paths[3]]


def test_a_forked_process_opens_its_own(tmp_path):
    """Both read on in turns; with a shared file each would be at the other's place."""
    path = str(write_coarse(tmp_path / "large.mp4"))
    assert os.path.getsize(path) > 300_000  # many times what FFmpeg reads at once
    images, odd = [frame.image for frame in open_video(path, prefetch=0)], range(1, 20, 2)

    def is_right(number):
        name = frame_name(path, number)
        return np.array_equal(read_images([name])[name], images[number])

    assert is_right(0)
    (hear, tell), (hear_child, tell_child) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        good = False
        try:
            os.close(tell)
            good = all(os.read(hear, 1) and is_right(n) and os.write(tell_child, b".") for n in odd)
        finally:
            os._exit(not good)
    os.close(hear)
    os.close(tell_child)
    good = all(is_right(n + 1) and os.write(tell, b".") and os.read(hear_child, 1) for n in odd)
    os.close(tell)
    os.close(hear_child)
    assert os.waitpid(child, 0)[1] == 0
    assert good


def write_coarse(path):
    """24 frames of noise, which are hard to compress."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for _ in range(24):
            image = rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_threads_have_their_own_and_leave_nothing_open(video, images):
    def read(seed, wrong):
        for number in np.random.default_rng(seed).integers(LENGTH, size=15).tolist():
            (image,) = read_images([frame_name(video, number)]).values()
            wrong += [number] * (not np.array_equal(image, images[number]))

    before, wrong = len(os.listdir("/proc/self/fd")), []
    threads = [threading.Thread(target=read, args=(seed, wrong)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(os.listdir("/proc/self/fd")) <= before


def test_lazy_frames_of_a_video(record, images):
    frames = FrameSequence(record["file_names"], HEIGHT, WIDTH, T.NoOpTransform(), decode_ahead=3)
    for t, frame in enumerate(frames):
        assert torch.equal(frame, torch.from_numpy(images[2 * t].transpose(2, 0, 1)))
    assert torch.equal(frames[5], torch.from_numpy(images[10].transpose(2, 0, 1)))


def test_mappers(record, images):
    class Sampler:
        def __call__(self, length, key_frame, rng):
            return [9, 4, 10]

    clip = ClipDatasetMapper(True, sampler=Sampler(), augmentations=[])
    sample = clip({**record, "annotations": [[] for _ in record["file_names"]]})
    for image, number in zip(sample["image"], (18, 8, 20), strict=True):
        assert torch.equal(image, torch.from_numpy(images[number].transpose(2, 0, 1)))
    single = {"file_name": record["file_names"][7], "image_id": 1}
    single |= {"height": HEIGHT, "width": WIDTH, "annotations": []}
    expected = torch.from_numpy(images[14].transpose(2, 0, 1))
    assert torch.equal(ImageDatasetMapper(True, augmentations=[])(single)["image"], expected)
    mapper = DatasetMapper(False, augmentations=[], image_format="RGB")
    assert torch.equal(mapper(single)["image"], expected)


def test_faults(record, video):
    assert record_faults(record) == []
    more = {**record, "file_names": [*record["file_names"], frame_name(video, LENGTH)]}
    (fault,) = record_faults(more)
    assert "has no frame 30, it has 30: give the video that was labelled" in str(fault)
    with pytest.raises(
        BrokenFile, match=r"#frame=2 is 64x48 but its dataset says 32x48: give the video"
    ):
        read_frame(record["file_names"][1], HEIGHT, 32)
    with pytest.raises(BrokenFile, match=r"none\.mp4"):
        read_frame("none.mp4#frame=1", None, None)


def test_what_else_takes_names(record, video):
    assert image_size(record["file_names"][3]) == (HEIGHT, WIDTH)
    assert exif_doubts([{**record, "annotations": []}], "a set") == []
    sequence = sequence_of_record(record, "a set")
    assert sequence.folder == video
    assert sequence.images == tuple(record["file_names"])
    assert Path(sequence.folder).is_file()
