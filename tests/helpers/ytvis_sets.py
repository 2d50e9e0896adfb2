"""The golden sets of the official YouTube-VIS evaluator, and small sets of our own."""

import copy
import json

import numpy as np
import pycocotools.mask as coco_mask

from d2video.evaluation.vis.compare import Unit, compare_video
from d2video.evaluation.vis.ground_truth import YTVISGroundTruth
from tests.helpers import GOLDEN


def load_json(name: str):
    return json.loads((GOLDEN / name).read_text())


def units_of(truth: YTVISGroundTruth, results: list[dict]) -> list[Unit]:
    """Every video compared with its entries of a result file."""
    units = []
    for video in truth.videos.values():
        mine = [entry for entry in results if entry["video_id"] == video.video_id]
        units += compare_video(
            video,
            [entry["category_id"] for entry in mine],
            [entry["score"] for entry in mine],
            [entry["segmentations"] for entry in mine],
        )
    return units


def answers_of(truth: YTVISGroundTruth, results: list[dict]) -> tuple[list[dict], list[dict]]:
    """A result file as the inputs and outputs of a model; labels are places among sorted ids."""
    label = {category_id: k for k, category_id in enumerate(truth.categories)}
    inputs, outputs = [], []
    for video in truth.videos.values():
        mine = [entry for entry in results if entry["video_id"] == video.video_id]
        inputs.append({"video_id": video.video_id})
        outputs.append(
            {
                "image_size": (video.height, video.width),
                "pred_scores": [entry["score"] for entry in mine],
                "pred_labels": [label[entry["category_id"]] for entry in mine],
                "pred_masks": [entry["segmentations"] for entry in mine],
                "pred_ids": list(range(len(mine))),
            }
        )
    return inputs, outputs


def repaired_set_c() -> tuple[dict, list[dict]]:
    """Set c without the faults that are errors here, its official figures unchanged.

    Each fault is replaced by sound data that means what the official code made of it:

    - a video's ``length`` that contradicts its file names, which it does not read: corrected;
    - annotation id 0, never counted as found: another id, and no mask in any frame (its area, from
      the file, stays), so that it is missed by all;
    - 2 masks of 6, perfect on the common prefix: the same mask in all frames;
    - 9 masks of 6, the surplus not compared: cut to 6 (both lengths are 'small');
    - masks of another size, which add nothing to the IoU: the sound mask of the same prediction
      where there is one, else null (again 'small' either way);
    - a prediction of an unknown category, silently dropped: removed.
    """
    truth, results = load_json("ytvis_c_gt.json"), load_json("ytvis_c_results.json")
    for video in truth["videos"]:
        video["length"] = len(video["file_names"])
    never_found = next(a for a in truth["annotations"] if a["id"] == 0)
    never_found["id"] = 1000
    never_found["segmentations"] = [None] * len(never_found["segmentations"])
    short, long, half_wrong, all_wrong = (copy.deepcopy(results[i]) for i in (0, 1, 3, 4))
    short["segmentations"] = short["segmentations"][:1] * 6
    long["segmentations"] = long["segmentations"][:6]
    half_wrong["segmentations"] = half_wrong["segmentations"][:2] * 2
    all_wrong["segmentations"] = [None] * 4
    results[0], results[1], results[3], results[4] = short, long, half_wrong, all_wrong
    return truth, [entry for entry in results if entry["category_id"] != 77]


def box_mask(height: int, width: int, top: int, left: int, bottom: int, right: int) -> dict:
    mask = np.zeros((height, width), dtype=np.uint8, order="F")
    mask[top:bottom, left:right] = 1
    return coco_mask.encode(mask)


def small_annotations() -> dict:
    """Two videos of 3 frames of 20x30, categories 3 and 8, one track in each video."""
    masks = [box_mask(20, 30, 2, 3, 12, 13), None, box_mask(20, 30, 4, 5, 14, 15)]
    masks = [m and {**m, "counts": m["counts"].decode()} for m in masks]
    track = {"iscrowd": 0, "segmentations": masks, "areas": [100, None, 100]}
    return {
        "videos": [
            {"id": i, "height": 20, "width": 30, "length": 3, "file_names": ["a", "b", "c"]}
            for i in (1, 2)
        ],
        "categories": [{"id": 8, "name": "eight"}, {"id": 3, "name": "three"}],
        "annotations": [
            {"id": 11, "video_id": 1, "category_id": 3, **track},
            {"id": 12, "video_id": 2, "category_id": 8, **copy.deepcopy(track)},
        ],
    }
