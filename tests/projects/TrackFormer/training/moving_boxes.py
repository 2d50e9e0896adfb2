"""A video of two moving boxes, an image of them, and mappers for them."""

import numpy as np
import pycocotools.mask as mask_util
import torch
from d2video.projects.trackformer.training.frame_pair_mapper import FramePairMapper
from detectron2.structures import BoxMode
from PIL import Image

HEIGHT, WIDTH, LENGTH = 40, 60, 20
COLOURS = {5: (255, 0, 0), 8: (0, 255, 0)}
CLASSES = {5: 1, 8: 0}


def box_at(track, t):
    """XYWH of an object: 5 walks to the right and out of the image, 8 stays and has no frame 0."""
    return [4 + 4 * t, 8, 12, 10] if track == 5 else [20, 22, 14, 11]


def annotation(track, t, with_mask):
    x, y, w, h = box_at(track, t)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[y : y + h, x : max(x + w, 0)] = 1
    found = {
        "id": track,
        "category_id": CLASSES[track],
        "iscrowd": 0,
        "bbox": [x, y, w, h],
        "bbox_mode": BoxMode.XYWH_ABS,
    }
    if with_mask:
        found["segmentation"] = mask_util.encode(np.asfortranarray(mask))
    return found


def tracks_in(t):
    return [track for track in (5, 8) if (track, t) != (8, 0) and box_at(track, t)[0] < WIDTH]


def make_record(folder, with_masks=False):
    """A video whose objects are rectangles of one colour each; the last frame is labelled empty."""
    names = []
    for t in range(LENGTH):
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        for track in tracks_in(t):
            x, y, w, h = box_at(track, t)
            image[y : y + h, x : x + w] = COLOURS[track]
        names.append(str(folder / f"{t:06d}.png"))
        Image.fromarray(image).save(names[-1])
    annotations = [[annotation(k, t, with_masks) for k in tracks_in(t)] for t in range(LENGTH)]
    annotations[-1] = []
    crowd = annotation(8, 1, with_masks) | {"id": 99, "iscrowd": 1}
    annotations[1].append(crowd)
    return {
        "video_id": 1,
        "sequence": "walk",
        "file_names": names,
        "height": HEIGHT,
        "width": WIDTH,
        "length": LENGTH,
        "annotations": annotations,
    }


def make_mapper(*augmentations, **options):
    return FramePairMapper(
        True, augmentations=augmentations, **{"jitter": 0.0, "image_jitter": 0.0, **options}
    )


def frame_number(entry):
    return int(entry["file_name"][-10:-4])


def coloured_box(image, colour):
    """XYXY of the pixels near a colour, at half of the blend of an edge."""
    near = (image.float() - torch.tensor(colour)[:, None, None]).abs().amax(0) < 128
    rows, columns = near.any(1).nonzero()[:, 0], near.any(0).nonzero()[:, 0]
    return torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]).float()


def draw(mapper, record, key_frame, times):
    np.random.seed(0)
    return [mapper({**record, "key_frame": key_frame}) for _ in range(times)]
