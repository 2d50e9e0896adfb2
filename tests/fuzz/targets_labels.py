"""Labels as tools write them, recognised and read."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from d2video.formats.labels.exports import find_exports
from d2video.formats.readers import read_labels
from tests.formats import test_label_studio, test_label_studio_images, test_labelme
from tests.fuzz.mutators import mutate_structure, to_json
from tests.fuzz.session import MakeInput, target
from tests.helpers.true_labels import HEIGHT, WIDTH, true_videos, write_images, write_video


def _inputs(path: Path, seeds: list[Any], name: str, options: list[dict[str, Any]]) -> MakeInput:
    """One JSON file, read under each of the options in turn; ``name`` is that of the format."""

    def make_input(rng: random.Random) -> Callable[[], Any]:
        path.write_bytes(to_json(rng, mutate_structure(rng, rng.choice(seeds))))
        chosen = rng.choice(options)

        def read() -> None:
            read_labels(str(path), name, **chosen)
            find_exports(str(path))

        return read

    return make_input


def _image(folder: Path) -> None:
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(folder / "a.png")


@target("labelme", 700)
def labelme(folder: Path) -> MakeInput:
    _image(folder)
    each = true_videos()[0].objects[0]
    shapes = [
        *test_labelme.as_mask(each),
        *test_labelme.as_rectangle(each),
        {"shape_type": "circle", "points": [[9, 9], [12, 9]]},
        {"points": [[2, 2], [9.5, 2], [9.5, 9]], "flags": {"a": True}, "description": "b"},
        {"shape_type": "oriented_rectangle", "points": [[9, 1], [17, 9], [9, 17], [1, 9]]},
    ]
    shapes = [{"label": f"cat-{k}", "group_id": k} | shape for k, shape in enumerate(shapes)]
    seed = {"shapes": shapes, "imagePath": "a.png", "imageData": None, "flags": {}}
    seed |= {"imageHeight": HEIGHT, "imageWidth": WIDTH}
    options = [{"tracks": tracks} for tracks in (None, "group_id", "label", "order")]
    return _inputs(folder / "a.json", [seed], "labelme", options)


def _video_task(count: int) -> list[dict]:
    keyframes = [
        test_label_studio.keyframe(1),
        test_label_studio.keyframe(3, (1, 2, 9, 9), rotation=10, enabled=False),
        test_label_studio.keyframe(6, (1, 2, 9, 9), auto=True),
    ]
    return [test_label_studio.task(1, [test_label_studio.rectangle("a", keyframes, count=count)])]


@target("label_studio", 700)
def label_studio(folder: Path) -> MakeInput:
    _image(folder)
    write_images(test_label_studio.BLANK, folder / "blank")
    shape = test_label_studio_images.shape
    # A single run, as the mutators take long over many numbers.
    count = HEIGHT * WIDTH * 4
    bits = f"{count:032b}" + "00111" + 4 * "1111" + "100" + f"{count - 1:016b}" + 8 * "1"
    rle = [int(bits[k : k + 8], 2) for k in range(0, len(bits), 8)]
    results = [
        shape("brushlabels", format="rle", rle=rle),
        shape("rectanglelabels", x=25, y=50, width=50, height=25, rotation=10),
        shape("polygonlabels", points=[[25, 25], [75, 25], [75, 50]]),
        shape("ellipselabels", x=50, y=50, radiusX=25, radiusY=12.5),
    ]
    images = [test_label_studio_images.task(1, results, "/data/upload/3/01234567-a.png")]
    options = [{}, {"first_frame": 0}]
    return _inputs(folder / "a.json", [_video_task(9), images], "label_studio", options)


@target("label_studio_rates", 50)
def label_studio_rates(folder: Path) -> MakeInput:
    """Of video files, which take longer."""
    write_video(test_label_studio.BLANK, folder / "blank.mp4")
    return _inputs(folder / "a.json", [_video_task(22)], "label_studio", [{}, {"fps": 24}])
