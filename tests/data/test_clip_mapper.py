import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import transforms as T
from PIL import Image

from d2video.config import get_cfg
from d2video.data.augmentation import ClipResizeTransform, PhotometricDistort, ResizeShortestEdge
from d2video.data.clip_sampling import WindowSampler
from d2video.data.datasets.ytvis import load_ytvis_json
from d2video.data.mappers.clip import ClipDatasetMapper
from d2video.utils.errors import UserError
from d2video.video import frame_names
from tests.helpers import GOLDEN
from tests.helpers.ytvis_content import HEIGHT, LENGTH, WIDTH, compressed_rle, rectangle_mask


def make_mapper(*augmentations, num_frames=3, **options):
    return ClipDatasetMapper(
        True,
        sampler=WindowSampler(num_frames=num_frames),
        augmentations=augmentations,
        **options,
    )


@pytest.fixture
def record(ytvis_content, write_json, image_root):
    """Video 7: tracks 11 (all frames), 12 (frames 0 and 1) and crowd 13."""
    return load_ytvis_json(write_json(ytvis_content), str(image_root))[0]


# ---- the official chain ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def golden_record(tmp_path_factory):
    folder = tmp_path_factory.mktemp("golden")
    images = np.load(GOLDEN / "vistr_data.npz")["images"]
    for t, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{t}.png")
    annotations = json.loads((GOLDEN / "vistr_data.json").read_text())["annotations"]
    path = folder / "annotations.json"
    path.write_text(
        json.dumps(
            {
                "videos": [
                    {
                        "id": 1,
                        "height": images.shape[1],
                        "width": images.shape[2],
                        "file_names": [f"{t}.png" for t in range(len(images))],
                    }
                ],
                # All ids to 40, so that the contiguous class is the id - 1.
                "categories": [{"id": i, "name": f"class {i}"} for i in range(1, 41)],
                "annotations": annotations,
            }
        )
    )
    return load_ytvis_json(str(path), str(folder))[0]


# As in the file's config: hflip, resize(30, max 44), crop(top 3, left 5, 20x30), resize(24).
STAGES = {
    "raw": [],
    "hflip": [T.HFlipTransform(56)],
    "resize": [ResizeShortestEdge(30, 44, mask_sampling="corner")],
    "crop": [T.CropTransform(5, 3, 30, 20)],
    "final": [ResizeShortestEdge(24, 540, mask_sampling="corner")],
}


def instance_major(instances):
    """The official target layout (instance i, frame t at row i*T+t): boxes, labels, valid, masks."""
    boxes = torch.stack([i.gt_boxes.tensor for i in instances], 1).flatten(0, 1)
    valid = torch.stack([i.gt_ids >= 0 for i in instances], 1).flatten()
    labels = torch.stack([i.gt_classes + 1 for i in instances], 1).flatten() * valid
    masks = torch.stack([i.gt_masks.tensor for i in instances], 1).flatten(0, 1)
    return boxes, labels, valid, masks


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("key_frame", [0, 3])
def test_targets_equal_official_vistr(golden_record, key_frame, stage):
    golden = np.load(GOLDEN / "vistr_data.npz")
    names = list(STAGES)
    chain = [t for name in names[: names.index(stage) + 1] for t in STAGES[name]]
    clip = make_mapper(*chain, official_targets=True)({**golden_record, "key_frame": key_frame})
    prefix = f"frame{key_frame}.{stage}."

    assert clip["frame_indices"] == golden[f"frame{key_frame}.frames"].tolist()
    boxes, labels, valid, masks = instance_major(clip["instances"])
    height, width = clip["instances"][0].image_size
    if stage == "final":
        boxes = torch.cat([boxes[:, :2] + boxes[:, 2:], 2 * (boxes[:, 2:] - boxes[:, :2])], 1) / 2
        boxes /= torch.tensor([width, height] * 2)
    np.testing.assert_allclose(boxes, golden[prefix + "boxes"], atol=1e-6, rtol=1e-6)
    assert np.array_equal(masks, golden[prefix + "masks"])
    for name, ours in (("labels", labels), ("valid", valid)):
        if prefix + name in golden:
            assert np.array_equal(ours, golden[prefix + name])

    images = torch.stack(clip["image"]).numpy()
    if stage == "resize":
        assert np.array_equal(images.transpose(0, 2, 3, 1), golden[prefix + "images"])
    if stage == "final":
        mean, std = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], "f4")[..., None, None]
        np.testing.assert_allclose(
            (images / 255 - mean) / std, golden[prefix + "images"], atol=1e-5
        )


def test_official_targets_keep_objects_that_the_clip_does_not_show(record):
    clip = make_mapper(T.HFlipTransform(WIDTH), official_targets=True)({**record, "key_frame": 4})
    for instances in clip["instances"]:
        assert instances.gt_ids.tolist() == [11, -1]
        assert instances.gt_boxes.tensor[1].tolist() == [WIDTH, 0, WIDTH, 0]


# ---- the corrected targets ---------------------------------------------------------------------


def test_rows_are_objects_and_absence_is_marked(record):
    clip = make_mapper(T.HFlipTransform(WIDTH))({**record, "key_frame": 3})
    assert clip["frame_indices"] == [1, 2, 3]
    first, *others = clip["instances"]
    assert first.gt_ids.tolist() == [11, 12]
    assert first.gt_boxes.tensor.tolist() == [[19, 4, 27, 10], [5, 10, 11, 19]]
    expected = [rectangle_mask(19, 4, 8, 6), rectangle_mask(5, 10, 6, 9)]
    assert np.array_equal(first.gt_masks.tensor, np.array(expected, bool))
    for instances in others:
        assert instances.gt_ids.tolist() == [11, -1]
        assert instances.gt_boxes.tensor[1].tolist() == [0, 0, 0, 0]
        assert not instances.gt_masks.tensor[1].any()
        # The class does not depend on which frame is looked at, the last one included.
        assert instances.gt_classes.tolist() == [1, 0]


def test_objects_outside_the_clip_and_crowds_take_no_row(record):
    clip = make_mapper()({**record, "key_frame": 4})
    assert [i.gt_ids.tolist() for i in clip["instances"]] == [[11]] * 3


def test_objects_that_a_crop_removes_are_absent(record):
    # Columns 0..9: track 11 spans 2..9, 5..12, 8..15, 11..18, 14..21 in frames 0..4; 12 is right.
    crop = T.CropTransform(0, 0, 10, HEIGHT)
    clip = make_mapper(crop, num_frames=5)({**record, "key_frame": 4})
    assert [i.gt_ids.tolist() for i in clip["instances"]] == [[11], [11], [11], [-1], [-1]]
    assert clip["instances"][2].gt_boxes.tensor.tolist() == [[8, 4, 10, 10]]
    assert clip["instances"][3].gt_boxes.tensor.tolist() == [[0, 0, 0, 0]]

    official = make_mapper(crop, num_frames=5, official_targets=True)({**record, "key_frame": 4})
    assert official["instances"][3].gt_ids.tolist() == [11, -1]
    assert official["instances"][3].gt_boxes.tensor[0].tolist() == [10, 4, 10, 10]


def test_object_with_nothing_left_but_the_margin_of_its_box_is_absent(record):
    for frame in record["annotations"]:
        frame[0]["bbox"] = [0, 0, WIDTH, HEIGHT]  # much wider than the mask
    clip = make_mapper(T.CropTransform(0, 0, 10, HEIGHT), num_frames=5)({**record, "key_frame": 4})
    assert [i.gt_ids.tolist() for i in clip["instances"]] == [[11], [11], [11], [-1], [-1]]


def test_polygons_give_the_same_targets_as_rle(ytvis_content, write_json, image_root):
    crowd = ytvis_content["annotations"][2]
    crowd["iscrowd"] = 0
    record = load_ytvis_json(write_json(ytvis_content), str(image_root))[0]
    clip = make_mapper()({**record, "key_frame": 2})
    for instances in clip["instances"]:
        rle, _, polygon = instances.gt_masks.tensor
        assert torch.equal(rle, polygon)


def test_masks_follow_the_pixels_of_the_image(record, image_root):
    """Paint each frame with its object's mask; after any geometry image and mask still agree."""
    for t, name in enumerate(record["file_names"]):
        painted = 255 * np.stack([rectangle_mask(2 + 3 * t, 4, 8, 6)] * 3, -1)
        Image.fromarray(painted).save(name)
    chain = [
        T.HFlipTransform(WIDTH),
        ClipResizeTransform(HEIGHT, WIDTH, 48, 64),
        T.CropTransform(3, 2, 50, 40),
        ClipResizeTransform(40, 50, 20, 25),
        T.RotationTransform(20, 25, 90, expand=True),
    ]
    clip = make_mapper(*chain, num_frames=5)({**record, "key_frame": 4})
    for image, instances in zip(clip["image"], clip["instances"], strict=True):
        mask = instances.gt_masks.tensor[0]
        assert image.shape[1:] == mask.shape == (25, 20)
        # Bilinear edges: only pixels that are clearly inside or outside must agree.
        assert mask[image[0] > 160].all()
        assert not mask[image[0] < 96].any()


def test_clip_without_objects(ytvis_content, write_json, image_root):
    record = load_ytvis_json(write_json(ytvis_content), str(image_root))[1]
    clip = make_mapper(T.HFlipTransform(WIDTH))(record)
    for instances in clip["instances"]:
        assert len(instances) == 0
        assert instances.gt_masks.tensor.shape == (0, HEIGHT, WIDTH)
        assert instances.gt_boxes.tensor.shape == (0, 4)


# ---- frames ------------------------------------------------------------------------------------


def test_contract_of_the_training_output(record):
    clip = make_mapper()({**record, "key_frame": 2})
    assert {k: clip[k] for k in ("video_id", "height", "width", "length")} == {
        "video_id": 7,
        "height": HEIGHT,
        "width": WIDTH,
        "length": LENGTH,
    }
    assert clip["file_names"] == record["file_names"][:3]
    for image, instances in zip(clip["image"], clip["instances"], strict=True):
        assert (image.dtype, image.shape) == (torch.uint8, (3, HEIGHT, WIDTH))
        assert image.is_contiguous()
        assert (instances.gt_ids.dtype, instances.gt_classes.dtype) == (torch.int64, torch.int64)
        assert instances.gt_boxes.tensor.dtype == torch.float32


def test_channel_order(record):
    rgb, bgr = (
        make_mapper(image_format=order)({**record, "key_frame": 2})["image"][0]
        for order in ("RGB", "BGR")
    )
    pixels = np.asarray(Image.open(record["file_names"][0])).transpose(2, 0, 1)
    assert np.array_equal(rgb, pixels)
    assert torch.equal(bgr, rgb.flip(0))
    with pytest.raises(UserError, match=r"INPUT\.FORMAT is 'L'"):
        make_mapper(image_format="L")


def test_short_video_is_repeated_and_decoded_once_a_frame(record, monkeypatch):
    decoded = []
    original = frame_names.open_rgb
    monkeypatch.setattr(
        frame_names, "open_rgb", lambda path: decoded.append(path) or original(path)
    )
    clip = make_mapper(num_frames=12)({**record, "key_frame": 1})
    assert len(clip["image"]) == len(clip["instances"]) == 12
    assert clip["frame_indices"] == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
    assert sorted(decoded) == sorted(record["file_names"])
    assert torch.equal(clip["image"][1], clip["image"][6])
    assert clip["instances"][2].gt_ids.tolist() == clip["instances"][7].gt_ids.tolist() == [11, -1]


def test_one_draw_for_all_frames_of_a_clip(record):
    for per_frame in (False, True):
        np.random.seed(1)
        mapper = make_mapper(PhotometricDistort(per_frame=per_frame), num_frames=10)
        images = mapper({**record, "key_frame": 4})["image"]
        # Frame t + 5 of the clip repeats frame t of the video.
        alike = [torch.equal(images[t], images[t + 5]) for t in range(5)]
        assert all(alike) != per_frame


def test_draws_follow_the_global_seed(record):
    mapper = make_mapper(PhotometricDistort(), num_frames=2)

    def clips(seed):
        np.random.seed(seed)
        outputs = [mapper(record) for _ in range(4)]
        return [(o["frame_indices"], o["image"][0].sum().item()) for o in outputs]

    assert clips(3) == clips(3)
    assert clips(3) != clips(4)
    assert len({str(c) for c in clips(3)}) > 1


def test_the_record_is_left_as_it_was(record):
    before = json.dumps(record, default=str)
    make_mapper(T.HFlipTransform(WIDTH), T.CropTransform(1, 1, 9, 9), num_frames=5)(record)
    assert json.dumps(record, default=str) == before


# ---- testing -----------------------------------------------------------------------------------


def test_whole_video_for_testing(record):
    cfg = get_cfg()
    cfg.INPUT.FORMAT = "RGB"
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 17, 22
    output = ClipDatasetMapper(cfg, False)(record)
    assert set(output) == {"image", "height", "width", "length", "video_id", "file_names"}
    frames = output["image"]
    assert len(frames) == LENGTH
    # 32/24*17 exceeds 22: the short side becomes round(22*24/32) = 16 and the long one 21.
    assert frames[0].shape == (3, 16, 21)


# ---- faults ------------------------------------------------------------------------------------


def test_missing_image(record):
    Path(record["file_names"][1]).unlink()
    with pytest.raises(UserError, match=r"first/00001\.png does not exist"):
        make_mapper()({**record, "key_frame": 2})


def test_truncated_jpeg_is_named(record):
    path = Path(record["file_names"][1]).with_suffix(".jpg")
    Image.open(record["file_names"][1]).save(path, quality=95)
    path.write_bytes(path.read_bytes()[:-200])
    record["file_names"][1] = str(path)
    with pytest.raises(UserError, match=r"first/00001\.jpg .*truncated"):
        make_mapper()({**record, "key_frame": 2})


def test_image_of_another_size(record):
    Image.new("RGB", (10, 12)).save(record["file_names"][0])
    with pytest.raises(UserError, match=r"00000\.png is 10x12 but its dataset says 32x24"):
        make_mapper()({**record, "key_frame": 2})


@pytest.mark.parametrize("counts", ["zzzzzz", "1", "P>", "PPP~"])
def test_damaged_rle(record, counts):
    record["annotations"][0][0]["segmentation"] = {"size": [HEIGHT, WIDTH], "counts": counts}
    with pytest.raises(UserError, match="the mask of object 11: .*counts"):
        make_mapper()({**record, "key_frame": 2})


def test_object_without_a_mask(record):
    del record["annotations"][1][0]["segmentation"]
    with pytest.raises(UserError, match=r"video 7: an object has no segmentation.*choose a mapper"):
        make_mapper()({**record, "key_frame": 2})


def test_training_on_an_unlabelled_video(record):
    del record["annotations"]
    with pytest.raises(UserError, match="video 7 has no labels"):
        make_mapper()(record)


def test_padding_is_not_a_part_of_the_frame(record):
    """Boxes that reach beyond the frame are clipped to it; in the padding an object counts as absent."""
    record = copy.deepcopy(record)
    leaving, outside = record["annotations"][0][:2]
    leaving["bbox"] = [WIDTH - 8, 4, 20, 6]
    leaving["segmentation"] = compressed_rle(rectangle_mask(WIDTH - 8, 4, 8, 6))
    outside["bbox"] = [WIDTH + 2, 4, 5, 6]
    pad = T.PadTransform(0, 0, 30, 10, WIDTH, HEIGHT)
    sample = make_mapper(pad, num_frames=1)({**record, "key_frame": 0})
    (targets,) = sample["instances"]
    assert targets.image_size == (HEIGHT + 10, WIDTH + 30)
    assert targets.gt_ids.tolist() == [leaving["id"]]
    assert targets.gt_boxes.tensor.tolist() == [[WIDTH - 8, 4, WIDTH, 10]]
