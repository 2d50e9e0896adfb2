"""Generated videos in the layouts of MOTChallenge: motion, files, and the command line."""

import configparser
import importlib.util
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from d2video.synthetic import (
    ShapesSpec,
    draw_scene,
    render_image,
    render_video,
    sample_scene,
    video_rng,
    whole_extents,
    write_coco_shapes,
    write_mot_shapes,
    write_ytvis_shapes,
)
from d2video.utils.errors import UserError
from tests.helpers import ROOT

SPEC = ShapesSpec(num_frames=(12, 20), speed=(0.1, 1.0), min_objects=3, max_objects=5)
SPLITS = {"train": 6, "val": 2}
SEED = 3


def flat_spec(**fields):
    """Videos whose objects' own motion is all there is."""
    return ShapesSpec(camera_motion=0.0, **fields)


@pytest.fixture(scope="module", params=[False, True], ids=["mot", "mots"])
def written(request, tmp_path_factory):
    """A dataset's folder, and whether it has masks; tests must not change it."""
    root = tmp_path_factory.mktemp("datasets") / "shapes"
    assert write_mot_shapes(root, SPLITS, SPEC, SEED, masks=request.param, progress=False)
    return root, request.param


def fields(sequence, separator):
    return [line.split(separator) for line in (sequence / "gt/gt.txt").read_text().splitlines()]


def iou(first, second):
    """IoU of pairs of XYXY boxes (..., 4)."""
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., 2:], second[..., 2:])
    shared = (high - low).clip(0).prod(-1)
    return shared / (_area(first) + _area(second) - shared)


def _area(boxes):
    return (boxes[..., 2:] - boxes[..., :2]).prod(-1)


# ---------------------------------------------------------------- motion


@pytest.mark.parametrize("speed", [0.1, 1.0])
def test_speed_is_in_diameters_a_frame(speed):
    spec = flat_spec(num_frames=(30, 30), speed=(speed, speed), crossings=0.0)
    steps = []
    for index in range(20):
        for item in sample_scene(spec, video_rng(0, "speed", index)).objects:
            moved = np.linalg.norm(np.diff(item.centre, axis=0), axis=1)
            steps.append(moved / (2 * item.radius[1:]))
    # Turns and rests shorten steps; a slow wobble and growth change all of them a little.
    assert np.percentile(np.concatenate(steps), 75) == pytest.approx(speed, rel=0.15)


def test_fast_objects_leave_their_boxes_behind():
    def overlap(speed):
        spec = flat_spec(num_frames=(20, 20), speed=(speed, speed), max_objects=4)
        scenes = [sample_scene(spec, video_rng(0, "overlap", index)) for index in range(10)]
        boxes = [whole_extents(scene)[0] for scene in scenes]
        return np.concatenate([iou(each[:, 1:], each[:, :-1]).ravel() for each in boxes])

    assert np.median(overlap(0.1)) > 0.7
    assert np.median(overlap(0.7)) < 0.3


def test_all_that_makes_tracking_hard_occurs():
    spec = ShapesSpec(num_frames=(30, 30), speed=(0.1, 0.8), min_objects=3, max_objects=5)
    returning = covered = beyond = hidden = 0
    for index in range(30):
        scene = sample_scene(spec, video_rng(0, "hard", index))
        _, masks = draw_scene(scene)
        boxes, areas = whole_extents(scene)
        shown, inside = masks.sum(axis=(2, 3)), _area(boxes.clip(0, [96, 64, 96, 64])) > 0
        for row in shown > 0:
            seen = np.flatnonzero(row)
            returning += len(seen) > 0 and np.ptp(seen) + 1 > len(seen)
        within = np.all((boxes >= 0) & (boxes <= [96, 64, 96, 64]), axis=-1)
        covered += bool((within & (shown < 0.7 * areas)).any())
        hidden += bool((within & (shown == 0)).any())
        beyond += bool((inside & ~within & (shown > 0)).any())
    assert min(returning, covered, beyond) >= 20
    assert hidden >= 3


def test_crossing_objects_meet_and_are_of_one_class():
    def meetings(crossings):
        spec = flat_spec(
            num_frames=(25, 25), speed=(0.5, 0.5), crossings=crossings, min_objects=2, max_objects=2
        )
        found = 0
        for index in range(30):
            scene = sample_scene(spec, video_rng(0, "meet", index))
            first, second = scene.objects
            distance = np.linalg.norm(first.centre - second.centre, axis=1) / first.radius
            found += first.shape == second.shape and distance[8:17].min() < 0.8
        return found

    assert meetings(1.0) == 30
    assert meetings(0.0) < 15


def test_min_objects():
    spec = ShapesSpec(min_objects=4, max_objects=5)
    counts = {len(sample_scene(spec, video_rng(0, "count", index)).objects) for index in range(20)}
    assert counts == {4, 5}


def test_images_have_no_speed():
    slow, fast = (render_image(ShapesSpec(speed=s), video_rng(0, "a", 0)) for s in (None, (1, 1)))
    np.testing.assert_array_equal(slow.frames, fast.frames)


@pytest.mark.parametrize(
    "arguments",
    [
        {"speed": (0.0, 1.0)},
        {"speed": (1.0, 0.5)},
        {"speed": (1.0,)},
        {"min_objects": 0},
        {"min_objects": 4},
        {"crossings": 1.5},
    ],
)
def test_wrong_specification_is_one_clear_line(arguments):
    with pytest.raises(UserError, match=next(iter(arguments))) as error:
        ShapesSpec(**arguments)
    assert "\n" not in str(error.value)


# ---------------------------------------------------------------- whole objects


def test_whole_extents_are_those_in_a_larger_frame():
    """Drawn with a margin on all sides, every object shows as a whole."""
    spec = ShapesSpec(num_frames=(20, 20), speed=(0.5, 0.5), max_objects=1, size=(0.4, 0.6))
    margin, overflowing = 100, 0
    for index in range(8):
        scene = sample_scene(spec, video_rng(0, "whole", index))
        (boxes,), (areas,) = whole_extents(scene)
        (item,) = scene.objects
        moved = replace(item, centre=item.centre + margin)
        size = {"height": scene.height + 2 * margin, "width": scene.width + 2 * margin}
        _, (masks,) = draw_scene(replace(scene, objects=(moved,), **size))
        assert areas.tolist() == masks.sum(axis=(1, 2)).tolist()
        for mask, box in zip(masks, boxes, strict=True):
            rows, columns = np.nonzero(mask)
            tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert (box + margin).tolist() == tight
            overflowing += (box < 0).any() or (box > [96, 64, 96, 64]).any()
    assert overflowing > 20


# ---------------------------------------------------------------- files


def test_sequences_and_images(written):
    root, _ = written
    for split, count in SPLITS.items():
        names = sorted(path.name for path in (root / split).iterdir())
        assert names == [f"{split}-{k:04d}" for k in range(1, count + 1)]
        for index, name in enumerate(names):
            video = render_video(SPEC, video_rng(SEED, split, index))
            info = configparser.ConfigParser()
            info.read(root / split / name / "seqinfo.ini")
            assert dict(info["Sequence"]) == {
                "name": name,
                "imdir": "img1",
                "framerate": "25",
                "seqlength": str(len(video.frames)),
                "imwidth": "96",
                "imheight": "64",
                "imext": ".jpg",
            }
            files = sorted((root / split / name / "img1").iterdir())
            assert [f.name for f in files] == [f"{t:06d}.jpg" for t in range(1, len(files) + 1)]
            for file, frame in zip(files, video.frames, strict=True):
                stored = cv2.imread(str(file))[..., ::-1]
                assert np.abs(stored.astype(int) - frame).mean() < 8


def test_ground_truth_says_what_was_drawn(written):
    root, with_masks = written
    partly = overflowing = 0
    for split, count in SPLITS.items():
        for index in range(count):
            video = render_video(SPEC, video_rng(SEED, split, index))
            lines = fields(root / split / f"{split}-{index + 1:04d}", " " if with_masks else ",")
            found = {}
            for line in lines:
                frame, track = int(line[0]) - 1, int(line[1]) - (2001 if with_masks else 1)
                assert (track, frame) not in found
                found[track, frame] = line
            visible = video.masks.any(axis=(2, 3))
            assert sorted(found) == [tuple(key) for key in np.argwhere(visible).tolist()]
            for (track, frame), line in found.items():
                mask = video.masks[track, frame]
                if with_masks:
                    assert line[2:5] == ["2", "64", "96"]
                    rle = {"size": [64, 96], "counts": line[5]}
                    np.testing.assert_array_equal(coco_mask.decode(rle), mask)
                    continue
                left, top, width, height, visibility = map(float, [*line[2:6], line[8]])
                assert line[6:8] == ["1", "1"]
                rows, columns = np.nonzero(mask)
                # Drawing cuts polygons off at the border, a pixel away from where they would end.
                assert left - 2 <= columns.min() <= columns.max() <= left - 1 + width
                assert top - 2 <= rows.min() <= rows.max() <= top - 1 + height
                assert 0 < visibility <= 1
                if visibility == 1:
                    tight = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
                    assert [left - 1, top - 1, width, height] == tight
                partly += visibility < 0.5
                overflowing += left < 1 or top < 1 or left - 1 + width > 96
    assert with_masks or min(partly, overflowing) > 10


def test_visibility_is_the_share_that_shows(tmp_path):
    write_mot_shapes(tmp_path / "a", {"a": 3}, SPEC, progress=False)
    for index in range(3):
        masks = render_video(SPEC, video_rng(0, "a", index)).masks.sum(axis=(2, 3))
        for line in fields(tmp_path / "a/a" / f"a-{index + 1:04d}", ","):
            frame, track, *box = map(int, line[:6])
            # Of the three shapes a square fills most of its box and a triangle least.
            whole = masks[track - 1, frame - 1] / float(line[8])
            assert 0.3 * box[2] * box[3] < whole <= box[2] * box[3]


def test_other_formats_are_not_reused(written):
    root, with_masks = written
    assert not write_mot_shapes(root, SPLITS, SPEC, SEED, masks=with_masks, progress=False)
    with pytest.raises(UserError, match="other arguments"):
        write_mot_shapes(root, SPLITS, SPEC, SEED, masks=not with_masks, progress=False)
    with pytest.raises(UserError, match="other arguments"):
        write_ytvis_shapes(root, SPLITS, SPEC, SEED, progress=False)


def test_younger_fields_are_recorded_only_in_use(tmp_path):
    def recorded(name, write, **chosen):
        write(tmp_path / name, {"a": 1}, ShapesSpec(num_frames=(2, 2), **chosen), progress=False)
        return json.loads((tmp_path / name / "spec.json").read_text())["arguments"]["spec"]

    first = recorded("ytvis", write_ytvis_shapes)
    assert recorded("coco", write_coco_shapes, speed=(1, 2)).keys() == first.keys()
    assert list(first) == [  # as in the folders of the first version
        *("num_frames", "height", "width", "duration", "max_objects", "classes", "size"),
        *("camera_motion", "noise", "texture_contrast", "background_contrast"),
        *("class_textures", "class_colours"),
    ]
    used = recorded("mot", write_mot_shapes, min_objects=2, speed=(1, 2), stuff=("sand",))
    assert used == first | {"min_objects": 2, "speed": [1, 2], "stuff": ["sand"]}


@pytest.mark.parametrize(
    ("splits", "options"), [({}, {}), ({"spec.json": 1}, {}), ({"a": 1}, {"jpeg_quality": 0})]
)
def test_wrong_arguments_write_nothing(tmp_path, splits, options):
    with pytest.raises(UserError):
        write_mot_shapes(tmp_path / "shapes", splits, progress=False, **options)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- command line


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location("tool", ROOT / "tools/make_shapes_dataset.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_command_line_makes_what_the_function_makes(tool, written):
    root, with_masks = written
    options = ["--format", "mots" if with_masks else "mot", "--num-frames", "12", "20"]
    options += ["--speed", "0.1", "1", "--min-objects", "3", "--max-objects", "5"]
    stamp = (root / "spec.json").stat().st_mtime_ns
    tool.main([str(root), *options, "--seed", str(SEED), "--split", "train=6", "val=2"])
    assert (root / "spec.json").stat().st_mtime_ns == stamp  # the same arguments: kept


def test_command_line_makes_longer_videos_for_tracking(tool, tmp_path):
    tool.main([str(tmp_path / "a"), "--format", "mot", "--split", "a=1"])
    spec = json.loads((tmp_path / "a/spec.json").read_text())["arguments"]["spec"]
    assert spec["num_frames"] == [20, 40]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            ["--format", "coco", "--speed", "1", "1"],
            "error: --speed: not for --format coco, only for ",
        ),
        (
            ["--format", "coco", "--num-frames", "8", "12"],
            "error: --num-frames: not for --format coco, only",
        ),
        (
            ["--format", "mot", "--no-compressed"],
            "error: --no-compressed: not for --format mot, only for ytvis; ",
        ),
    ],
)
def test_command_line_refuses_what_the_format_lacks(tool, tmp_path, capsys, wrong, message):
    with pytest.raises(SystemExit) as stop:
        tool.main([str(tmp_path / "a"), "--split", "a=1", *wrong])
    assert stop.value.code == 1
    assert capsys.readouterr().err.startswith(message)
