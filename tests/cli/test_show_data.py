import json

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BitMasks, Boxes, Instances, PolygonMasks
from PIL import Image

from d2video import synthetic as shapes
from d2video.cli import show_data as visualize_data
from d2video.data import register_ytvis_instances
from d2video.utils.errors import UserError
from d2video.visualization.samples import draw_patch, draw_sample
from tests.helpers import ROOT
from tests.helpers.ytvis_content import HEIGHT, WIDTH, content

SCALE = 5  # by which pictures of 40 pixels are enlarged


def sample(num_frames=5, height=40, width=50):
    """An object in the left half of every frame but the last, on gray."""
    masks = torch.zeros(1, height, width, dtype=torch.bool)
    masks[0, 5:30, 5:20] = True
    frames = []
    for t in range(num_frames):
        present = t < num_frames - 1
        frames.append(
            Instances(
                (height, width),
                gt_boxes=Boxes(torch.tensor([[5.0, 5, 20, 30]]) * present),
                gt_classes=torch.tensor([1]),
                gt_ids=torch.tensor([7 if present else -1]),
                gt_masks=BitMasks(masks & present),
            )
        )
    image = torch.full((3, height, width), 90, dtype=torch.uint8)
    image[2] = 120
    frames = {"image": [image] * num_frames, "instances": frames}
    return {**frames, "frame_indices": range(num_frames), "video_id": 7}


def test_sheet_shows_frames_in_order_with_their_objects():
    sheet, name = draw_sample(sample(), ["a", "b"], columns=3)
    assert (sheet.shape, name) == ((80 * SCALE, 150 * SCALE, 3), "video_7.jpg")
    # Row-major cells; the sixth is empty, the fifth shows no object.
    middle = [
        sheet[SCALE * (y + 20), SCALE * (x + 12)].tolist() for y in (0, 40) for x in (0, 50, 100)
    ]
    assert middle[4] == [90, 90, 120]
    assert middle[5] == [0, 0, 0]
    assert all(cell not in ([90, 90, 120], [0, 0, 0]) for cell in middle[:4])


def test_channel_order_of_the_sheet_is_rgb():
    sheet, _ = draw_sample(sample(), ["a", "b"], columns=9, image_format="BGR")
    assert sheet.shape[1] == 5 * 50 * SCALE
    assert sheet[20 * SCALE, (4 * 50 + 30) * SCALE].tolist() == [120, 90, 90]


def shows(cell, at):
    """Whether an object covers the place (row, column), in pixels before they were enlarged."""
    return cell[SCALE * at[0], SCALE * at[1]].tolist() != [90, 90, 120]


def test_a_pair_shows_what_track_queries_may_find_and_what_is_new():
    """Object 7, left, is in both frames, object 8, right, only in the later one."""
    known = sample()["instances"][0]
    both = Instances(known.image_size)
    both.gt_boxes = Boxes(torch.tensor([[5.0, 5, 20, 30], [30, 5, 45, 30]]))
    both.gt_classes, both.gt_ids = torch.tensor([1, 0]), torch.tensor([7, 8])
    masks = torch.zeros(2, 40, 50, dtype=torch.bool)
    masks[0, 5:30, 5:20] = masks[1, 5:30, 30:45] = True
    both.gt_masks = BitMasks(masks)
    image = sample()["image"][0]
    pair = {"image": image, "instances": both, "file_name": "x/3.jpg"}
    pair["previous"] = [{"image": image, "instances": known}]
    sheet, name = draw_sample(pair, None, columns=6)
    assert (sheet.shape, name) == ((40 * SCALE, 150 * SCALE, 3), "3.jpg")
    previous, tracked, new = np.split(sheet, 3, axis=1)
    found = [[shows(cell, (20, x)) for x in (12, 40)] for cell in (previous, tracked, new)]
    assert found == [[True, False], [True, False], [False, True]]


@pytest.mark.parametrize("masks", ["bits", "polygons", None])
def test_an_image_shows_its_objects(masks):
    objects = sample()["instances"][0]
    objects.remove("gt_ids")
    if masks != "bits":
        objects.remove("gt_masks")
    if masks == "polygons":  # of detectron2's mapper
        objects.gt_masks = PolygonMasks([[np.array([5.0, 5, 20, 5, 20, 30, 5, 30])]])
    image = {"image": sample()["image"][0], "instances": objects, "file_name": "a.b.png"}
    sheet, name = draw_sample(image, ["a", "b"], columns=6)
    assert (sheet.shape, name) == ((40 * SCALE, 50 * SCALE, 3), "a.b.jpg")
    assert shows(sheet, (20, 12)) == (masks is not None)
    assert sheet[SCALE * 20, SCALE * 5].tolist() != [90, 90, 120]  # the box


def test_a_clip_of_a_class_shows_its_frames_and_the_class():
    image = torch.stack(sample()["image"][:2])
    clip = {"image": image, "frame_index": torch.tensor([3, 5]), "label": 1, "file_name": "v.mp4"}
    sheets = [draw_sample(clip, names, columns=6)[0] for names in (["a", "b"], ["a", "c"])]
    assert sheets[0].shape == (40 * SCALE, 100 * SCALE, 3)
    assert not shows(sheets[0], (10, 12))
    first, second = (np.split(sheet, 2, axis=1) for sheet in sheets)
    assert np.array_equal(first[1], second[1])
    assert not np.array_equal(first[0], second[0])  # the name of the class


@pytest.fixture
def config(tmp_path):
    rng = np.random.default_rng(0)
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        for t in range(5):
            pixels = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{t:05d}.png")
    (tmp_path / "a.json").write_text(json.dumps(content()))
    register_ytvis_instances("drawn", {}, str(tmp_path / "a.json"), str(tmp_path))
    path = tmp_path / "config.yaml"
    path.write_text(
        "DATASETS: {TRAIN: [drawn]}\nDATALOADER: {NUM_WORKERS: 0}\nSOLVER: {IMS_PER_BATCH: 2}\n"
        "INPUT: {FORMAT: RGB, DATASET_MAPPER: ClipDatasetMapper, CLIP: {NUM_FRAMES: 4}}\nSEED: 1\n"
    )
    yield path
    DatasetCatalog.remove("drawn")
    MetadataCatalog.remove("drawn")


def test_tool_writes_one_sheet_a_clip(config, tmp_path, capsys):
    output = tmp_path / "sheets"
    arguments = f"--config-file {config} --output-dir {output} --num-clips 3 --columns 2"
    visualize_data.main([*arguments.split(), "INPUT.CLIP.NUM_FRAMES", "5"])
    paths = sorted(output.iterdir())
    assert capsys.readouterr().out.split() == [str(p) for p in paths]
    assert len(paths) == 3
    scale = 8  # of pictures of 24 pixels
    assert all(Image.open(path).size == (2 * WIDTH * scale, 3 * HEIGHT * scale) for path in paths)


def test_unknown_key_is_one_line(config, tmp_path, capsys):
    with pytest.raises(SystemExit):
        visualize_data.main(["--config-file", str(config), "INPUT.CLIP.FRAMES", "5"])
    assert "INPUT.CLIP.FRAMES" in capsys.readouterr().err


def test_patches_of_restoration(tmp_path, capsys, scratch_catalog):
    shapes.write_restoration_images(tmp_path / "set", {"train": 2}, progress=False)
    entry = ["patches", "image_folder", {"image_root": str(tmp_path / "set")}]
    config = ROOT / "configs/IPT/ipt_tiny_images.yaml"
    arguments = ["--config-file", str(config), "--output-dir", str(tmp_path / "sheets")]
    options = [
        "DATASETS.REGISTER",
        str([entry]),
        "DATASETS.TRAIN",
        "('patches',)",
        "SOLVER.IMS_PER_BATCH",
        "2",
    ]
    visualize_data.main([*arguments, "--num-clips", "24", *options])
    paths = sorted((tmp_path / "sheets").iterdir())
    assert capsys.readouterr().out.split() == [str(path) for path in paths]
    assert {path.name.partition("_")[2] for path in paths} == {"sr_x2.png", "denoise_30.png"}
    # Patches of 24 pixels and targets of as many, or 48, enlarged; 4 between them.
    for path in paths:
        side, factor = (48, 5) if "sr_x2" in path.name else (24, 10)
        assert Image.open(path).size == ((2 * side + 4) * factor, side * factor)


def test_a_patch_beside_its_target():
    target = torch.arange(48, dtype=torch.uint8).view(3, 4, 4)
    sheet = draw_patch({"image": target[:, ::2, ::2].float(), "target": target})
    assert sheet.shape == (256, 768, 3)
    assert sheet[0, 0].tolist() == sheet[127, 127].tolist() == [0, 16, 32]
    assert sheet[-1, 255].tolist() == [10, 26, 42]
    assert sheet[-1, -1].tolist() == [15, 31, 47]


def test_what_cannot_be_drawn_is_one_line():
    with pytest.raises(UserError, match="with frame_index, label, tokens cannot be drawn"):
        draw_sample({"tokens": 1, "frame_index": 2, "label": 0}, None, columns=6)


def test_images_of_a_config(tmp_path, capsys, scratch_catalog):
    root = tmp_path / "set"
    shapes.write_coco_shapes(root, {"train": 2}, progress=False)
    files = {"json_file": f"{root}/annotations/instances_train.json", "image_root": f"{root}/train"}
    path = tmp_path / "config.yaml"
    path.write_text(
        "DATASETS: {TRAIN: [boxes]}\nDATALOADER: {NUM_WORKERS: 0}\nSOLVER: {IMS_PER_BATCH: 1}\n"
        "INPUT: {FORMAT: RGB, DATASET_MAPPER: ImageDatasetMapper}\n"
    )
    output = tmp_path / "sheets"
    arguments = ["--config-file", str(path), "--output-dir", str(output), "--num-clips", "2"]
    visualize_data.main([*arguments, "DATASETS.REGISTER", str([["boxes", "coco", files]])])
    assert [f"{each}" for each in sorted(output.iterdir())] == capsys.readouterr().out.split()
