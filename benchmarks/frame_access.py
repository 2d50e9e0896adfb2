"""Time the reading of frames from a video file against the same frames as JPEG files.

Generates a textured video (H.264 as x264 writes it by default, by groups of 250 and of 30 pictures) and JPEG
files of quality 90, and reads them as training and evaluation do: clips of consecutive frames at random
places (VisTR), pairs of frames up to 5 apart (TrackFormer), single frames (DETR), and whole videos in order.
Times are CPU seconds of one process; kinds of files take turns, and the least time counts::

    python -m benchmarks.frame_access --json figures.json
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from d2video.cli.arguments import add_json, command_parser, positive
from d2video.utils.files import write_json

GROUPS = (250, 30)  # frames from one key frame to the next, at most
JPEG_QUALITY = 90


def main(argv: Sequence[str] | None = None) -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--frames", type=positive, default=750, help="(default: %(default)s)")
    parser.add_argument("--height", type=positive, default=720, help="(default: %(default)s)")
    parser.add_argument("--width", type=positive, default=1280, help="(default: %(default)s)")
    parser.add_argument(
        "--samples", type=positive, default=20, help="of each kind (default: %(default)s)"
    )
    parser.add_argument(
        "--repeats", type=positive, default=3, help="the least time of as many runs counts"
    )
    add_json(parser)
    args = parser.parse_args(argv)

    import torch
    from tabulate import tabulate

    from d2video.utils.measuring import environment

    with TemporaryDirectory() as folder:
        sources = write_sources(Path(folder), args.frames, args.height, args.width)
        figures = measure(sources, args.samples, args.repeats)
    about = environment(torch.device("cpu"))
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    header = ("CPU milliseconds a frame", *sources)
    print(
        tabulate([(name, *row.values()) for name, row in figures.items()], header, floatfmt=".1f")
    )
    if args.json:
        write_json(
            args.json, {**vars(args), "json": None, "environment": about, "figures": figures}
        )


def write_sources(folder: Path, frames: int, height: int, width: int) -> dict[str, list[str]]:
    """The names of all frames, as JPEG files and in each video file."""
    import av
    from PIL import Image

    from d2video.video.frame_names import frame_name

    names: dict[str, list[str]] = {"JPEG": []}
    containers = {}
    for group in GROUPS:
        path = folder / f"{group}.mp4"
        container = av.open(str(path), "w")
        stream = container.add_stream("libx264", rate=30, options={"g": str(group)})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        containers[container] = stream
        names[f"H.264, groups of {group}"] = [frame_name(str(path), t) for t in range(frames)]
    for t, image in enumerate(_images(frames, height, width)):
        names["JPEG"].append(str(folder / f"{t:06d}.jpg"))
        Image.fromarray(image).save(names["JPEG"][-1], quality=JPEG_QUALITY)
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        for container, stream in containers.items():
            container.mux(stream.encode(frame))
    for container, stream in containers.items():
        container.mux(stream.encode(None))
        container.close()
    return names


def measure(
    sources: dict[str, list[str]], samples: int, repeats: int
) -> dict[str, dict[str, float]]:
    """CPU milliseconds a frame, by kind of access and source."""
    from d2video.video.frame_names import read_images

    length = len(next(iter(sources.values())))
    accesses = _accesses(length, samples)
    figures: dict[str, dict[str, float]] = {name: {} for name in accesses}
    for _ in range(repeats):
        for name, sets in accesses.items():
            for source, names in sources.items():
                read_images(names[:1])  # the index of a file is made once, and decoders stay open
                start = time.process_time()
                for numbers in sets:
                    read_images([names[number] for number in numbers])
                spent = 1e3 * (time.process_time() - start) / sum(map(len, sets))
                figures[name][source] = min(spent, figures[name].get(source, np.inf))
    return figures


def _accesses(length: int, samples: int) -> dict[str, list[list[int]]]:
    """Numbers of the frames of each sample."""
    rng = np.random.default_rng(0)
    clip, apart = min(36, length), min(5, length - 1)

    def starts(last: int) -> np.ndarray:
        """At even distances, which is the average of random ones, and in random order."""
        return rng.permutation(np.linspace(0, last, samples).astype(int))

    firsts = starts(length - 1 - apart)
    seconds = firsts + rng.integers(apart + 1, size=samples)
    return {
        f"clips of {clip} frames": [[*range(k, k + clip)] for k in starts(length - clip).tolist()],
        "pairs of frames": np.stack([firsts, seconds], 1).tolist(),
        "single frames": starts(length - 1)[:, None].tolist(),
        "all frames in order": [[number] for number in range(length)],
    }


def _images(frames: int, height: int, width: int) -> Iterator[np.ndarray]:
    """A camera over a texture of all scales, with squares in front that move, and noise."""
    import cv2

    rng = np.random.default_rng(0)

    def texture(rows: int, columns: int) -> np.ndarray:
        layers = []
        for scale, weight in ((128, 0.35), (32, 0.25), (8, 0.2), (3, 0.2)):
            grid = rng.uniform(0, 255, (rows // scale + 2, columns // scale + 2, 3))
            layers.append(weight * cv2.resize(grid, (columns, rows), interpolation=cv2.INTER_CUBIC))
        return np.clip(sum(layers), 0, 255).astype(np.uint8)

    side = height // 4
    ground, squares = texture(2 * height, 2 * width), [texture(side, side) for _ in range(6)]
    for t in range(frames):
        y, x = ((1 + np.sin(t / k)) / 2 * n for k, n in ((60, height), (90, width)))
        image = ground[int(y) :, int(x) :][:height, :width].astype(np.int16)
        for k, square in enumerate(squares):
            y, x = (1 + np.sin(t / 30 + k)) / 2, (1 + np.cos(t / 41 + 2 * k)) / 2
            top, left = int(y * (height - side)), int(x * (width - side))
            image[top : top + side, left : left + side] = square
        image += rng.integers(-4, 5, (height, width, 1), dtype=np.int16)
        yield np.clip(image, 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
