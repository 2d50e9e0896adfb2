"""Small videos in every container and codec that PyAV writes here."""

from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

HEIGHT, WIDTH, LENGTH, FPS = 48, 64, 24, 25


class Coding(NamedTuple):
    """What FFmpeg calls a container, a codec, a pixel format, and the codec's options."""

    container: str
    codec: str
    pixels: str = "yuv420p"
    options: dict[str, str] = {}
    sound: str = ""  # its codec


_X264 = {"g": "10"}
_MPEG = {"g": "10", "qscale": "3"}
_B_FRAMES = {**_MPEG, "bf": "2"}
_X265 = {"x265-params": "keyint=10:log-level=none"}
# By file name.
CODINGS = {
    "h264.mp4": Coding("mp4", "libx264", options=_X264),
    "sound.mp4": Coding("mp4", "libx264", options=_X264, sound="aac"),
    "sound.flv": Coding("flv", "libx264", options=_X264, sound="aac"),
    "mpeg2.mxf": Coding("mxf", "mpeg2video", options=_MPEG),
    "raw.y4m": Coding("yuv4mpegpipe", "rawvideo"),
    "h264.ts": Coding("mpegts", "libx264", options=_X264),
    "slices.ts": Coding("mpegts", "libx264", options={**_X264, "x264-params": "slices=3"}),
    "hevc.ts": Coding("mpegts", "libx265", options=_X265),
    "mpeg2.ts": Coding("mpegts", "mpeg2video", options=_B_FRAMES),
    "mpeg2.mpg": Coding("vob", "mpeg2video", options=_MPEG),
    "mpeg1.mpg": Coding("mpeg", "mpeg1video", options=_MPEG),
    "bare.h264": Coding("h264", "libx264", options=_X264),
    "bare.hevc": Coding("hevc", "libx265", options=_X265),
    "bare.m2v": Coding("mpeg2video", "mpeg2video", options=_MPEG),
    "bare.m4v": Coding("m4v", "mpeg4", options=_MPEG),
    "bare.mjpeg": Coding("mjpeg", "mjpeg", "yuvj420p"),
    "wmv2.wmv": Coding("asf", "wmv2", options=_MPEG),
    "msmpeg4.asf": Coding("asf", "msmpeg4v3", options=_MPEG),
    "anim.gif": Coding("gif", "gif", "rgb8"),
    "anim.png": Coding("apng", "apng", "rgb24"),
    "mpeg4.avi": Coding("avi", "mpeg4", options=_B_FRAMES),
    "mjpeg.avi": Coding("avi", "mjpeg", "yuvj420p"),
    "h264.mkv": Coding("matroska", "libx264", options=_X264),
    "vp8.webm": Coding("webm", "libvpx", options=_X264),
    "vp8.ogv": Coding("ogg", "libvpx", options=_X264),
    "flv1.flv": Coding("flv", "flv", options=_MPEG),
}

# Cut between two frames, or in the header of one, these look like a shorter stream. Its last frames
# may have gaps, as decoders show those that they hold back at the end.
WITHOUT_END = {
    *(
        "bare.h264",
        "bare.hevc",
        "bare.m2v",
        "bare.m4v",
        "bare.mjpeg",
        "mpeg2.mpg",
        "mpeg1.mpg",
        "flv1.flv",
        "sound.flv",
    ),
}


def write_coded(folder: Path, name: str) -> Path:
    """A square that moves over noise: :data:`LENGTH` frames in the coding of that name."""
    coding, path = CODINGS[name], folder / name
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT // 4, WIDTH // 4, 3), dtype=np.uint8)
    noise = noise.repeat(4, 0).repeat(4, 1)
    # The index in front, so that a cut file can be read.
    in_front = {"movflags": "+faststart"} if coding.container == "mp4" else {}
    with av.open(str(path), "w", format=coding.container, options=in_front) as container:
        stream = container.add_stream(coding.codec, rate=FPS, options=dict(coding.options))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, coding.pixels
        sound = container.add_stream(coding.sound, rate=44100) if coding.sound else None
        for t in range(LENGTH):
            image = np.roll(noise, 2 * t, axis=1)
            image[t : t + 16, 2 * t : 2 * t + 16] = 255, 9 * t, 0
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            if sound is not None:
                container.mux(sound.encode(_hiss(t)))
        container.mux(stream.encode(None))
        if sound is not None:
            container.mux(sound.encode(None))
    return path


def _hiss(t: int) -> av.AudioFrame:
    """As much noise as a frame of the video is long."""
    samples = np.random.default_rng(t).uniform(-0.1, 0.1, (1, 44100 // FPS)).astype(np.float32)
    hiss = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
    hiss.sample_rate, hiss.pts = 44100, t * samples.shape[1]
    return hiss
