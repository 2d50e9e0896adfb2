"""CocoVID and its relatives. Faulty files are those of tests/data/test_coco_tracks.py."""

import json
import shutil
from pathlib import Path

import pytest

from d2video.formats.cocovid import read_cocovid
from d2video.formats.faults import Doubt
from d2video.formats.geometry.rle import encode_masks
from d2video.formats.readers import read_labels
from d2video.utils.errors import UserError
from tests.helpers.true_labels import (
    CLASSES,
    HEIGHT,
    WIDTH,
    assert_equal,
    true_videos,
    write_images,
)

SIZE = {"height": HEIGHT, "width": WIDTH}


def content_of(truth, *, video_in_name: bool = True, offset: int = 0) -> dict:
    """As MMTracking writes it; instance ids count over all videos."""
    content: dict = {"videos": [], "images": [], "annotations": []}
    content["categories"] = [{"id": 3 * k, "name": name} for k, name in enumerate(CLASSES, 1)]
    for video_id, video in enumerate(truth, 1):
        content["videos"].append({"id": video_id, "name": video.name, **SIZE})
        for frame in range(video.num_frames):
            image = {"id": len(content["images"]) + 1, "video_id": video_id, "frame_id": frame}
            name = f"{video.name}/{frame:05d}.png" if video_in_name else f"{frame:05d}.png"
            content["images"].append({**image, "file_name": name, **SIZE})
            for each in video.in_frame(frame):
                (rle,) = encode_masks(each.mask[None])
                x, y, w, h = each.box
                content["annotations"].append(
                    {
                        "id": len(content["annotations"]),
                        "image_id": image["id"],
                        "video_id": video_id,
                        "instance_id": each.track + offset,
                        "category_id": 3 * (1 + CLASSES.index(each.category)),
                        "bbox": [x, y, w, h],
                        "area": w * h,
                        "iscrowd": int(each.crowd),
                        "segmentation": {**rle, "counts": rle["counts"].decode()},
                    }
                )
    return content


def write(folder: Path, truth, images: str = "train", **options) -> Path:
    for video in truth:
        write_images(video, folder / images / video.name)
    path = folder / "annotations" / "half-train_cocoformat.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content_of(truth, **options)))
    return path


@pytest.mark.parametrize("video_in_name", [True, False])
@pytest.mark.parametrize("images", ["train", "images/train", "annotations/images", "frames"])
def test_round_trip(tmp_path, images, video_in_name):
    truth = true_videos()
    path = write(tmp_path, truth, images, video_in_name=video_in_name, offset=20)
    for given in (path, path.parent):
        labels = read_labels(str(given))
        assert_equal(labels, truth, track_offset=20)  # nothing is rounded
        assert labels.classes == [*CLASSES]
        assert labels.class_numbers == [3, 6, 9]
        assert [list(video.numbers) for video in labels.videos] == [[*range(1, 9)], [*range(1, 6)]]
    for video in labels.videos:
        assert {Path(frame).parent.name for frame in video.frames} == {video.name}
        assert all(Path(frame).is_file() for frame in video.frames)


def test_the_folder_of_the_images_is_given_or_found(tmp_path):
    truth = true_videos()
    path = write(tmp_path, truth, video_in_name=False)
    shutil.move(tmp_path / "train", tmp_path / "elsewhere")
    with pytest.raises(UserError, match="00000.png is neither below nor beside it"):
        read_cocovid(str(path))
    labels = read_cocovid(str(path), image_root=str(tmp_path / "elsewhere"))
    assert labels.videos[1].frames[0] == str(tmp_path / "elsewhere" / "clip_a" / "00000.png")


def test_paths_of_windows(tmp_path):
    path = write(tmp_path, true_videos())
    path.write_text(path.read_text().replace(".png", ".PNG").replace("/", r"\\"))
    for image in (tmp_path / "train").rglob("*.png"):
        image.rename(image.with_suffix(".PNG"))
    labels = read_labels(str(path))
    assert labels.videos[1].frames[0] == str(tmp_path / "train" / "clip_a" / "00000.PNG")


def test_equal_names_of_files_are_not_those_of_one_video(tmp_path):
    truth = true_videos()
    path = write(tmp_path, truth, "cocoformat", video_in_name=False)
    shutil.move(tmp_path / "cocoformat" / "clip_a", tmp_path / "half-train_cocoformat")
    with pytest.raises(UserError, match="is neither below nor beside it"):
        read_cocovid(str(path))


def test_tao(tmp_path):
    """``frame_index``, names with a slash, and only some frames are listed."""
    truth = true_videos(crowd=False)
    content = content_of(truth)
    content["videos"][0]["name"] = "val/clip_b"
    content["images"] = [image for image in content["images"] if image["frame_id"] % 2 == 0]
    kept = {image["id"] for image in content["images"]}
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] in kept]
    for image in content["images"]:
        image["frame_index"] = image.pop("frame_id")
    for each in content["annotations"]:
        each["track_id"] = each.pop("instance_id")
        del each["segmentation"]
    content["videos"][0] |= {"neg_category_ids": [3, 6], "not_exhaustive_category_ids": [9]}
    path, told = tmp_path / "validation.json", []
    path.write_text(json.dumps(content))
    labels = read_labels(str(path), report=told.append, image_root=str(tmp_path))
    (left_out,) = told
    assert left_out.reasons == {"in neg_category_ids": 2, "in not_exhaustive_category_ids": 1}
    assert [video.name for video in labels.videos] == ["val_clip_b", "clip_a"]
    assert [list(video.numbers) for video in labels.videos] == [[0, 2, 4, 6], [0, 2, 4]]
    assert labels.videos[0].frames[1] == str(tmp_path / "clip_b" / "00002.png")
    wanted = [(o.frame // 2, o.track) for o in truth[0].objects if o.frame % 2 == 0]
    assert sorted((o.frame, o.track) for o in labels.videos[0].objects) == sorted(wanted)


def test_a_track_of_two_classes_and_objects_without_masks_are_doubts(tmp_path):
    """Large ids stay, and a second class gets a free one."""
    truth, told = true_videos(), []
    path = write(tmp_path, truth, offset=1000)
    content = json.loads(path.read_text())
    later = [each for each in content["annotations"] if each["instance_id"] == 1002][-1]
    later["category_id"] = 9  # bird
    del content["annotations"][0]["segmentation"]
    path.write_text(json.dumps(content))
    labels = read_labels(str(path), report=told.append)
    tracks = {(o.track, labels.classes[o.category]) for o in labels.videos[0].objects}
    assert tracks == {(1001, "cat"), (1002, "dog"), (1007, "cat"), (1, "bird")}
    assert labels.videos[0].objects[0].mask is None
    doubts = [str(each) for each in told if isinstance(each, Doubt)]
    assert len(doubts) == 2
    assert "1 of 19 objects have a box and no mask, which models of masks refuse" in doubts[0]
    assert "1 track of several classes (such as track 1002 of clip_b)" in doubts[1]
