import json

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BitMasks, Boxes, Instances
from PIL import Image

from d2video import synthetic as shapes
from d2video.cli import show_data as visualize_data
from d2video.data import register_ytvis_instances
from d2video.visualization.samples import draw_clip, draw_patch
from tests.helpers import ROOT
from tests.helpers.ytvis_content import HEIGHT, WIDTH, content


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
    return {"image": [image] * num_frames, "instances": frames, "frame_indices": range(num_frames)}


def test_sheet_shows_frames_in_order_with_their_objects():
    sheet = draw_clip(sample(), ["a", "b"], columns=3)
    assert sheet.shape == (80, 150, 3)
    # Row-major cells; the sixth is empty, the fifth shows no object.
    middle = [sheet[y + 20, x + 12].tolist() for y in (0, 40) for x in (0, 50, 100)]
    assert middle[4] == [90, 90, 120]
    assert middle[5] == [0, 0, 0]
    assert all(cell not in ([90, 90, 120], [0, 0, 0]) for cell in middle[:4])


def test_channel_order_of_the_sheet_is_rgb():
    sheet = draw_clip(sample(), ["a", "b"], columns=9, image_format="BGR")
    assert sheet.shape[1] == 5 * 50
    assert sheet[20, 4 * 50 + 30].tolist() == [120, 90, 90]


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
    assert all(Image.open(path).size == (2 * WIDTH, 3 * HEIGHT) for path in paths)


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


def test_what_cannot_be_drawn_is_one_line(tmp_path, capsys, scratch_catalog):
    root = tmp_path / "set"
    shapes.write_coco_shapes(root, {"train": 2}, progress=False)
    files = {"json_file": f"{root}/annotations/instances_train.json", "image_root": f"{root}/train"}
    entry = ["boxes", "coco", files]
    path = tmp_path / "config.yaml"
    path.write_text(
        "DATASETS: {TRAIN: [boxes]}\nDATALOADER: {NUM_WORKERS: 0}\nSOLVER: {IMS_PER_BATCH: 1}\n"
        "INPUT: {FORMAT: RGB, DATASET_MAPPER: ImageDatasetMapper}\n"
    )
    output = tmp_path / "sheets"
    arguments = ["--config-file", str(path), "--output-dir", str(output)]
    with pytest.raises(SystemExit):
        visualize_data.main([*arguments, "DATASETS.REGISTER", str([entry])])
    assert "DATASET_MAPPER ImageDatasetMapper gives neither clips" in capsys.readouterr().err
    assert not output.exists()
