"""Generated videos: what is drawn, what is labelled, and what lies on disk."""

import hashlib
import importlib.util
import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from d2video.synthetic import (
    SHAPE_NAMES,
    Scene,
    SceneObject,
    ShapesSpec,
    draw_scene,
    render_video,
    sample_scene,
    video_rng,
    write_ytvis_shapes,
)
from d2video.synthetic import ytvis as ytvis_writer
from d2video.synthetic.outlines import shape_outline
from d2video.utils.errors import UserError
from tests.helpers import ROOT


def flat_object(shape, centre, radius, colour, angle=0.0):
    """An object of one colour; centre (L, 2)."""
    centre = np.asarray(centre, float)
    return SceneObject(
        shape=shape,
        texture=np.full((48, 48, 3), colour, np.uint8),
        centre=centre,
        radius=np.full(len(centre), float(radius)),
        angle=np.full(len(centre), angle),
    )


def flat_scene(objects, height=64, width=96):
    """A scene with a black background and a fixed camera."""
    camera = np.tile(np.array([[1.0, 0, 0], [0, 1, 0]]), (len(objects[0].centre), 1, 1))
    background = np.zeros((2 * height, 2 * width, 3), np.uint8)
    return Scene(height, width, background, camera, tuple(objects))


@pytest.fixture(scope="module")
def videos():
    """80 videos of the default kind."""
    return [render_video(ShapesSpec(), video_rng(0, "train", index)) for index in range(80)]


@pytest.mark.parametrize("shape", SHAPE_NAMES)
def test_every_shape_is_drawn_with_the_area_of_its_disc(shape):
    scene = flat_scene([flat_object(shape, [[100.0, 90.0]], 40, 255, angle=0.7)], 180, 200)
    _, masks = draw_scene(scene)
    assert masks.sum() == pytest.approx(np.pi * 40**2, rel=0.02)
    rows, columns = np.nonzero(masks[0, 0])
    assert columns.mean() == pytest.approx(100, abs=1)
    assert rows.mean() == pytest.approx(90, abs=1)


def test_texture_covers_every_outline():
    from d2video.synthetic.scene import TEXTURE_REACH

    assert max(np.abs(shape_outline(name)).max() for name in SHAPE_NAMES) <= TEXTURE_REACH


def test_nearer_object_hides_farther_one():
    far = flat_object("square", [[40, 30], [60, 30], [200, 30]], 8, (255, 0, 0))
    near = flat_object("circle", [[60, 30], [60, 30], [60, 30]], 16, (0, 255, 0))
    frames, masks = draw_scene(flat_scene([far, near]))
    assert masks.sum(axis=(2, 3)).astype(bool).tolist() == [[True, False, False], [True] * 3]
    assert tuple(frames[1, 30, 60]) == (0, 255, 0)
    assert tuple(frames[0, 30, 40]) == (255, 0, 0)
    # In the first frame both overlap partly: the nearer one is whole, the farther one is not.
    assert masks[1, 0].sum() == masks[1, 2].sum()
    _, swapped = draw_scene(flat_scene([near, far]))
    assert swapped[1, 1].sum() > 0
    assert swapped[0, 1].sum() == masks[1, 1].sum() - swapped[1, 1].sum()


def test_camera_moves_background_and_objects_together():
    spec = ShapesSpec(num_frames=(5, 5), max_objects=1, noise=0.0)
    moved = [sample_scene(spec, video_rng(0, "camera", index)) for index in range(20)]
    drift = np.array([np.abs(np.diff(scene.camera, axis=0)).max() for scene in moved])
    assert (drift > 1e-3).sum() >= 8
    assert (drift == 0).any()
    fixed = ShapesSpec(num_frames=(5, 5), camera_motion=0.0)
    assert not np.ptp(sample_scene(fixed, video_rng(0, "camera", 0)).camera, axis=0).any()


def test_a_part_of_a_scene_shows_less_motion():
    def steps(duration):
        spec = ShapesSpec(num_frames=(8, 8), duration=duration)
        scenes = [sample_scene(spec, video_rng(0, "duration", index)) for index in range(20)]
        return np.mean(
            [
                np.abs(np.diff(each.centre, axis=0)).mean()
                for scene in scenes
                for each in scene.objects
            ]
        )

    assert steps(0.25) < 0.4 * steps(1.0)


def test_background_contrast():
    def contrast(value):
        spec = ShapesSpec(background_contrast=value)
        scenes = [sample_scene(spec, video_rng(0, "background", index)) for index in range(10)]
        return np.mean([scene.background.std(axis=(0, 1)).mean() for scene in scenes])

    assert contrast(0.0) == 0
    assert contrast(0.3) == pytest.approx(0.3 * contrast(1.0), rel=0.05)  # rounded to grey levels


def test_colours_of_classes():
    def hues(class_colours):
        spec = ShapesSpec(class_colours=class_colours)
        found = {name: [] for name in spec.classes}
        for index in range(40):
            for each in sample_scene(spec, video_rng(0, "colours", index)).objects:
                hsv = cv2.cvtColor(each.texture, cv2.COLOR_RGB2HSV_FULL)
                found[each.shape].append(np.median(hsv[..., 0]) / 256)
        return found

    # Three classes: starts a third of the circle apart; spread a sixth, and a thirtieth to both sides
    # for the second colour (and a little more for rounding).
    for label, values in enumerate(hues(True).values()):
        offset = (np.array(values) - label / 3 + 0.5) % 1 - 0.5
        assert len(values) > 5
        assert offset.min() > -0.04
        assert offset.max() < 1 / 6 + 0.04
    assert all(np.ptp(values) > 0.5 for values in hues(False).values())


def test_video_depends_on_seed_split_and_index_alone():
    def digest(seed, split, index):
        video = render_video(ShapesSpec(), video_rng(seed, split, index))
        return hashlib.sha256(video.frames.tobytes() + video.masks.tobytes()).hexdigest()

    keys = [(0, "train", 0), (0, "train", 1), (0, "val", 0), (1, "train", 0)]
    first = [digest(*key) for key in keys]
    assert first == [digest(*key) for key in keys]
    assert len(set(first)) == len(keys)


def test_masks_do_not_overlap_and_objects_can_be_seen(videos):
    for video in videos:
        assert video.frames.dtype == np.uint8
        assert video.frames.shape == (*video.masks.shape[1:], 3)
        assert video.masks.sum(axis=0).max() <= 1
        assert len(video.classes) == len(video.ids) == len(video.masks) in (1, 2, 3)
        assert video.masks.any(axis=(2, 3)).mean(axis=1).min() >= 0.5


def test_objects_that_a_crowd_hides_are_left_out():
    crowd = ShapesSpec(max_objects=12, size=(0.3, 0.6))
    counts = []
    for index in range(10):
        video = render_video(crowd, video_rng(0, "crowd", index))
        counts.append(len(video.ids))
        assert video.masks.any(axis=(2, 3)).mean(axis=1).min() >= 0.5
        assert video.ids.tolist() == list(range(1, len(video.ids) + 1))
    assert max(counts) > 3


def test_all_that_makes_tracking_hard_occurs(videos):
    entering = leaving = returning = touching = twins = 0
    for video in videos:
        present = video.masks.any(axis=(2, 3))
        for row in present:
            changes = np.diff(row.astype(int))
            entering += not row[0] and row[-1]
            leaving += row[0] and not row[-1]
            # Gone, and back later.
            returning += bool((changes == -1).any() and row[np.argmax(changes == -1) + 1 :].any())
        twins += len(set(video.classes)) < len(video.classes)
        grown = [cv2.dilate(mask.max(0).astype(np.uint8), np.ones((3, 3))) for mask in video.masks]
        touching += any((grown[i] & grown[j]).any() for i in range(len(grown)) for j in range(i))
    assert min(entering, leaving, returning) >= 8
    assert twins >= 20
    assert touching >= 30
    assert set(np.concatenate([video.classes for video in videos])) == {0, 1, 2}


def test_colour_does_not_give_away_the_class(videos):
    """The mean colours of the classes differ less than the colours within a class."""
    colours = {0: [], 1: [], 2: []}
    for video in videos:
        for mask, label in zip(video.masks, video.classes, strict=True):
            colours[int(label)].append(video.frames[mask].mean(axis=0))
    means = np.stack([np.mean(values, axis=0) for values in colours.values()])
    spread = np.concatenate(list(colours.values())).std(axis=0).max()
    assert np.ptp(means, axis=0).max() < spread


@pytest.mark.parametrize(
    "arguments",
    [
        {"classes": ("circle", "blob")},
        {"classes": ()},
        {"classes": ("circle", "circle")},
        {"num_frames": (5, 3)},
        {"num_frames": (0, 3)},
        {"height": 8},
        {"max_objects": 0},
        {"size": (0.0, 0.4)},
        {"noise": -1.0},
        {"duration": 0.0},
        {"background_contrast": 1.1},
    ],
)
def test_wrong_specification_is_one_clear_line(arguments):
    with pytest.raises(UserError) as error:
        ShapesSpec(**arguments)
    assert "\n" not in str(error.value)


def small_spec():
    return ShapesSpec(num_frames=(3, 5))


def tree_digest(root):
    files = sorted(path for path in root.rglob("*") if path.is_file())
    content = [str(path.relative_to(root)).encode() + path.read_bytes() for path in files]
    return hashlib.sha256(b"".join(content)).hexdigest()


@pytest.mark.parametrize("compressed", [True, False])
def test_written_dataset_says_what_was_drawn(tmp_path, compressed):
    root = tmp_path / "shapes"
    splits = {"train": 6, "val": 2}
    assert write_ytvis_shapes(root, splits, small_spec(), 3, compressed=compressed, progress=False)
    seen_null = False
    for split, count in splits.items():
        data = json.loads((root / f"{split}.json").read_text())
        assert [video["id"] for video in data["videos"]] == list(range(1, count + 1))
        assert [item["id"] for item in data["annotations"]] == list(
            range(1, len(data["annotations"]) + 1)
        )
        assert [item["name"] for item in data["categories"]] == ["circle", "square", "triangle"]
        for index, record in enumerate(data["videos"]):
            video = render_video(small_spec(), video_rng(3, split, index))
            assert record["length"] == len(record["file_names"]) == len(video.frames)
            for name, frame in zip(record["file_names"], video.frames, strict=True):
                stored = cv2.imread(str(root / split / "JPEGImages" / name))[..., ::-1]
                assert stored.shape == (record["height"], record["width"], 3)
                assert np.abs(stored.astype(int) - frame).mean() < 6  # JPEG, not a swapped channel
            items = [item for item in data["annotations"] if item["video_id"] == record["id"]]
            assert [item["category_id"] - 1 for item in items] == video.classes.tolist()
            for item, masks in zip(items, video.masks, strict=True):
                lists = [item["segmentations"], item["bboxes"], item["areas"]]
                for mask, (rle, box, area) in zip(masks, zip(*lists, strict=True), strict=True):
                    if not mask.any():
                        assert rle is None
                        assert box is None
                        assert area is None
                        seen_null = True
                        continue
                    assert isinstance(rle["counts"], str if compressed else list)
                    if not compressed:
                        rle = coco_mask.frPyObjects(rle, *rle["size"])
                    np.testing.assert_array_equal(coco_mask.decode(rle), mask)
                    rows, columns = np.nonzero(mask)
                    assert box[:2] == [columns.min(), rows.min()]
                    assert box[2:] == [np.ptp(columns) + 1, np.ptp(rows) + 1]
                    assert area == mask.sum()
    assert seen_null


def test_same_arguments_give_the_same_bytes_and_are_reused(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for root in (one, two):
        assert write_ytvis_shapes(root, {"train": 2}, small_spec(), progress=False)
    assert tree_digest(one) == tree_digest(two)
    stamp = (one / "train.json").stat().st_mtime_ns
    assert not write_ytvis_shapes(one, {"train": 2}, small_spec(), progress=False)
    assert (one / "train.json").stat().st_mtime_ns == stamp


def test_other_arguments_are_refused_unless_overwrite(tmp_path):
    root = tmp_path / "shapes"
    write_ytvis_shapes(root, {"train": 1}, small_spec(), progress=False)
    before = tree_digest(root)
    with pytest.raises(UserError, match="other arguments"):
        write_ytvis_shapes(root, {"train": 2}, small_spec(), progress=False)
    with pytest.raises(UserError, match="the same arguments"):
        write_ytvis_shapes(root, {"train": 1}, small_spec(), reuse=False, progress=False)
    assert tree_digest(root) == before
    assert write_ytvis_shapes(root, {"train": 2}, small_spec(), overwrite=True, progress=False)
    assert len(json.loads((root / "train.json").read_text())["videos"]) == 2


def test_foreign_folder_is_never_touched(tmp_path):
    root = tmp_path / "photos"
    root.mkdir()
    (root / "spec.json").write_text('{"something": "else"}')
    with pytest.raises(UserError, match="not a generated shapes dataset"):
        write_ytvis_shapes(root, {"train": 1}, small_spec(), overwrite=True, progress=False)
    assert [path.name for path in root.iterdir()] == ["spec.json"]


def test_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    render, calls = ytvis_writer.render_video, []

    def interrupted(spec, rng):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return render(spec, rng)

    monkeypatch.setattr(ytvis_writer, "render_video", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_ytvis_shapes(tmp_path / "shapes", {"train": 3}, small_spec(), progress=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("splits", "options"),
    [({}, {}), ({"train": 0}, {}), ({"../up": 1}, {}), ({"train": 1}, {"jpeg_quality": 0})],
)
def test_wrong_arguments_write_nothing(tmp_path, splits, options):
    with pytest.raises(UserError):
        write_ytvis_shapes(tmp_path / "shapes", splits, small_spec(), progress=False, **options)
    assert not list(tmp_path.iterdir())


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot make a folder in .*file: "):
        write_ytvis_shapes(tmp_path / "file" / "x", {"a": 1}, small_spec(), progress=False)


def load_tool():
    spec = importlib.util.spec_from_file_location("tool", ROOT / "tools/make_shapes_dataset.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def test_command_line(tmp_path, capsys):
    tool = load_tool()
    root = tmp_path / "shapes"
    arguments = [str(root), "--split", "a=1", "b=1", "--num-frames", "2", "2", "--classes", "star"]
    tool.main(arguments)
    tool.main(arguments)
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["written", "made"]
    assert json.loads((root / "b.json").read_text())["categories"][0]["name"] == "star"
    for wrong in (["--split", "a"], ["--split", "a=1", "a=2"], ["--classes", "blob"]):
        with pytest.raises(SystemExit) as stop:
            tool.main([str(tmp_path / "x"), *wrong])
        assert stop.value.code == 1
        assert capsys.readouterr().err.startswith("error: ")


def test_objects_that_no_frame_shows_are_not_annotated(tmp_path):
    # Of 60 videos of objects as large as the frames some hide others throughout.
    spec = ShapesSpec(num_frames=(2, 2), size=(0.9, 1.0), min_objects=3, max_objects=3)
    write_ytvis_shapes(tmp_path, {"train": 60}, spec)
    annotations = json.loads((tmp_path / "train.json").read_text())["annotations"]
    assert 60 < len(annotations) < 180
    assert all(any(each["segmentations"]) for each in annotations)
    assert [each["id"] for each in annotations] == [*range(1, len(annotations) + 1)]
