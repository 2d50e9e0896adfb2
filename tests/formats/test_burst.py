"""BURST: a round trip, what it leaves out, and faulty files."""

import json
from pathlib import Path

import pytest

from d2video.formats.burst import read_burst
from d2video.formats.faults import LeftOut
from d2video.formats.geometry.rle import encode_masks
from d2video.formats.readers import read_labels
from d2video.utils.errors import UserError
from tests.helpers.findings import one_line
from tests.helpers.true_labels import (
    CLASSES,
    HEIGHT,
    WIDTH,
    TrueVideo,
    assert_equal,
    true_videos,
    write_images,
)

TRUTH = true_videos(crowd=False)
STEP = 5  # from one annotated image to the next


def _sequence(video: TrueVideo) -> dict:
    def objects(frame: int) -> dict:
        found = {}
        for each in video.in_frame(frame):
            (rle,) = encode_masks(each.mask[None])
            found[str(each.track)] = {"rle": rle["counts"].decode(), "is_gt": True, "score": 1.0}
        return found

    names = [f"frame{k:04d}.jpg" for k in range(STEP * video.num_frames)]
    return {
        **{"id": 3, "dataset": "HACS", "seq_name": video.name, "fps": 30},
        **{"height": HEIGHT, "width": WIDTH, "all_image_paths": names},
        "annotated_image_paths": names[::STEP],
        "track_category_ids": {str(k): 805 + CLASSES.index(v) for k, v in video.tracks.items()},
        "segmentations": [objects(frame) for frame in range(video.num_frames)],
        **{"neg_category_ids": [1, 2], "not_exhaustive_category_ids": []},
    }


def content() -> dict:
    categories = [{"id": 805 + k, "name": name} for k, name in enumerate(CLASSES)]
    sequences = [_sequence(video) for video in TRUTH]
    return {"split": "val", "categories": categories, "sequences": sequences}


def write(folder: Path, value: dict) -> Path:
    path = folder / "annotations" / "all_classes.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(value))
    return path


@pytest.mark.parametrize("images", ["frames/val/HACS", "val/HACS", "annotations/val/HACS"])
def test_round_trip(tmp_path, images):
    path, told = write(tmp_path, content()), []
    for video in TRUTH:
        write_images(video, tmp_path / images / video.name, "frame{:04d}.jpg", step=STEP)
    for given in (path, path.parent):
        labels = read_labels(str(given), report=told.append)
        named = [TrueVideo(f"HACS_{v.name}", v.num_frames, v.objects) for v in TRUTH]
        assert_equal(labels, named)
        assert labels.classes == [*CLASSES]
        assert labels.class_numbers == [805, 806, 807]
        assert list(labels.videos[1].numbers) == [0, 5, 10, 15, 20]
    assert {str(each).split("left out: ")[1].split(";")[0] for each in told} == {
        "4 in neg_category_ids"
    }
    assert labels.videos[1].frames[1].endswith(f"{images}/clip_a/frame0005.jpg")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("seq_name", "../x", "lie outside the folder of HACS/../x"),
        ("dataset", None, r"KeyError\('dataset'\)"),
        ("height", 0, "sequence clip_b: .*64x0"),
        ("segmentations", [], "and segmentations do not fit"),
        ("all_image_paths", ["x.jpg"], r"KeyError\('frame0000.jpg'\)"),
        ("annotated_image_paths", 3, "TypeError"),
        ("track_category_ids", None, "track 1 in frame 0 of HACS_clip_b: its class, null, is not"),
        ("width", 63, "its segmentation"),
    ],
)
def test_faulty_sequences_are_one_line(tmp_path, key, value, message):
    for video in TRUTH:
        write_images(video, tmp_path / "frames/val/HACS" / video.name, "frame{:04d}.jpg")
    odd = content()
    odd["sequences"][0][key] = value
    if value is None:
        del odd["sequences"][0][key]
    with one_line(match=message):
        read_burst(str(write(tmp_path, odd)))


def test_predictions_and_missing_images(tmp_path):
    odd, told = content(), []
    odd["sequences"][0]["segmentations"][0]["1"]["is_gt"] = False
    path = write(tmp_path, odd)
    with pytest.raises(UserError, match="the folder of its images was not found"):
        read_burst(str(path))
    for video in TRUTH:
        write_images(video, tmp_path / "x" / "HACS" / video.name, "frame{:04d}.jpg")
    labels = read_burst(str(path), told.append, image_root=str(tmp_path / "x"))
    assert len(labels.videos[0].objects) == len(TRUTH[0].objects) - 1
    reasons = [each.reasons for each in told if isinstance(each, LeftOut)]
    assert {"that are not ground truth (is_gt false)": 1} in reasons
