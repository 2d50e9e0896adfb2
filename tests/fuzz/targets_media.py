"""Pictures and videos: files that are cut, stirred, or say what is not so."""

import io
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from d2video.utils.errors import UserError
from d2video.video.image_io import read_image_size, read_rgb
from d2video.video.video_file import VideoFile
from d2video.video.video_frames import VideoFrames
from d2video.video.video_reader import open_video
from tests.fuzz.mutators import mutate_bytes
from tests.fuzz.session import MakeInput, target
from tests.helpers.video_files import CODINGS, WITHOUT_END, write_coded


def picture(suffix: str, mode: str = "RGB", **options: Any) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (14, 19, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 200)
    elif mode != "RGB":
        image = image.convert(mode)
    file = io.BytesIO()
    image.save(file, {"jpg": "JPEG", "tif": "TIFF", "ppm": "PPM"}.get(suffix, suffix), **options)
    return file.getvalue()


@target("image", 3000)
def images(folder: Path) -> MakeInput:
    exif = Image.Exif()
    exif[0x0112] = 6
    seeds = [
        ("jpg", picture("jpg", exif=exif)),
        ("jpg", picture("jpg", progressive=True)),
        *(("png", picture("png", mode)) for mode in ("RGB", "P", "LA", "I;16", "1")),
        *((suffix, picture(suffix)) for suffix in ("bmp", "webp", "tif", "ppm")),
        ("tif", picture("tif", compression="tiff_lzw")),
        ("tif", picture("tif", "I;16")),
    ]

    def make_input(rng: random.Random) -> Callable[[], Any]:
        suffix, seed = rng.choice(seeds)
        # Pillow looks at the content, not at the name.
        path = folder / f"a.{suffix}"
        path.write_bytes(mutate_bytes(rng, seed, header=64))

        def read() -> None:
            read_rgb(path)
            read_image_size(path)

        return read

    return make_input


def write_video(path: Path, codec: str) -> bytes:
    """25 frames, key frames every 10."""
    pixels_of = {"mjpeg": "yuvj420p", "mpeg4": "yuv420p"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels_of[codec]
        stream.gop_size = 10
        for t in range(25):
            pixels = np.full((48, 64, 3), 10 * t, dtype=np.uint8)
            pixels[t : t + 9, 2 * t : 2 * t + 9] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path.read_bytes()


@target("video", 400)
def videos(folder: Path) -> MakeInput:
    av.logging.set_level(av.logging.PANIC)
    seeds = [
        (suffix, write_video(folder / f"seed.{suffix}", codec))
        for suffix, codec in (("mp4", "mpeg4"), ("mkv", "mpeg4"), ("avi", "mjpeg"))
    ]

    def make_input(rng: random.Random) -> Callable[[], Any]:
        suffix, seed = rng.choice(seeds)
        path = folder / f"a.{suffix}"
        path.write_bytes(mutate_bytes(rng, seed, header=512))
        if rng.random() < 0.5:
            return lambda: read_through(path)
        return lambda: read_some(path)

    return make_input


@target("cut video", 200)
def cut_videos(folder: Path) -> MakeInput:
    """Files that end too early: told, and all frames that are shown are the original's."""
    av.logging.set_level(av.logging.PANIC)
    seeds = []
    for name in CODINGS:
        path = write_coded(folder, name)
        frames = [frame.image.tobytes() for frame in open_video(path, prefetch=0)]
        seeds.append((name, path.read_bytes(), frames))

    def make_input(rng: random.Random) -> Callable[[], Any]:
        name, seed, frames = rng.choice(seeds)
        path = folder / f"cut_{name}"
        path.write_bytes(seed[: rng.randrange(len(seed))])
        return lambda: compare(path, frames, ends=name not in WITHOUT_END)

    return make_input


def compare(path: Path, frames: list[bytes], ends: bool) -> None:
    """Assert that what a cut file shows, before it raises an error, is how the whole one begins."""
    shown: list[bytes] = []
    told = False
    try:
        shown.extend(frame.image.tobytes() for frame in open_video(path, prefetch=0))
    except UserError:
        told = True
    if ends or told:
        assert shown == frames[: len(shown)], "it shows a broken frame"
        assert told or len(shown) == len(frames), "it does not say that it is cut off"
    else:
        assert {*shown[:-2]} <= {*frames}, "it shows broken frames"
    if told:
        raise UserError("told")


def read_through(path: Path) -> None:
    for k, _ in enumerate(open_video(path, prefetch=0)):
        if k == 60:
            break


def read_some(path: Path) -> None:
    with VideoFile(path) as video:
        # A header may promise years.
        times = np.array([0.5, 0.1, 0.9, min(video.duration, sys.maxsize)])
        video.read_frames_at(times)
        video.shown_times(np.sort(times))
    with VideoFrames(path) as numbered:
        numbered.read([len(numbered) // 2, 0, len(numbered) - 1])
