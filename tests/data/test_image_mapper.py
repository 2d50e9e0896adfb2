import copy

import numpy as np
import pytest
import torch
from detectron2.data import transforms as T
from detectron2.structures import BoxMode
from PIL import ExifTags, Image

from d2video.config import get_cfg
from d2video.data import ClipDatasetMapper, ImageDatasetMapper, build_mapper
from d2video.data.augmentation import ResizeShortestEdge
from d2video.utils.errors import UserError
from tests.helpers.coco_sets import HEIGHT, WIDTH, polygon, save_ids

PIXELS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def mapper(*augmentations, **options):
    return ImageDatasetMapper(True, augmentations=augmentations, **{"with_masks": True, **options})


def obj(category, x, y, w, h, **fields):
    return {
        "category_id": category,
        "bbox": [x, y, w, h],
        "bbox_mode": BoxMode.XYWH_ABS,
        "iscrowd": 0,
        "segmentation": polygon(x, y, w, h),
        **fields,
    }


@pytest.fixture
def record(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    return {
        "file_name": str(tmp_path / "a.png"),
        "image_id": 5,
        "height": HEIGHT,
        "width": WIDTH,
        "annotations": [
            obj(1, 2, 4, 8, 6),
            obj(0, 0, 0, WIDTH, HEIGHT, iscrowd=1),
            obj(0, 20, 10, 6, 9),
        ],
    }


@pytest.fixture
def panoptic_record(record, tmp_path):
    """Sky, grass that consists of two parts, a thing, a crowd, a strip of void."""
    ids = np.full((HEIGHT, WIDTH), 70000)
    ids[12:] = 300
    ids[4:10, 2:10] = 5
    ids[14:, 10:20] = 77
    ids[:, -3:] = 0
    save_ids(tmp_path / "labels.png", ids)
    del record["annotations"], record["height"], record["width"]
    segments = [
        {"id": 70000, "category_id": 3, "isthing": False, "iscrowd": 0},
        {"id": 5, "category_id": 1, "isthing": True, "iscrowd": 0},
        {"id": 77, "category_id": 0, "isthing": True, "iscrowd": 1},
        {"id": 300, "category_id": 2, "isthing": False},
    ]
    record.update(pan_seg_file_name=str(tmp_path / "labels.png"), segments_info=segments)
    return record, ids


def rectangle(x, y, w, h, size=(HEIGHT, WIDTH)):
    mask = torch.zeros(size, dtype=torch.bool)
    mask[y : y + h, x : x + w] = True
    return mask


def test_training_output(record):
    before = copy.deepcopy(record)
    output = mapper(T.HFlipTransform(WIDTH))(record)
    assert record == before
    assert output.keys() == {"image", "instances", "file_name", "image_id", "height", "width"}
    assert output["image"].dtype == torch.uint8
    assert np.array_equal(output["image"].permute(1, 2, 0), PIXELS[:, ::-1])
    targets = output["instances"]
    assert targets.get_fields().keys() == {"gt_boxes", "gt_classes", "gt_masks"}
    assert targets.image_size == (HEIGHT, WIDTH)
    assert targets.gt_boxes.tensor.tolist() == [[22, 4, 30, 10], [6, 10, 12, 19]]
    assert targets.gt_classes.tolist() == [1, 0]
    expected = torch.stack([rectangle(22, 4, 8, 6), rectangle(6, 10, 6, 9)])
    assert torch.equal(targets.gt_masks.tensor, expected)


def test_size_of_the_original_and_bgr(record):
    output = mapper(ResizeShortestEdge(12), image_format="BGR", with_masks=False)(record)
    assert (output["height"], output["width"]) == (HEIGHT, WIDTH)
    assert output["image"].shape == (3, 12, 16)
    assert output["instances"].gt_boxes.tensor.tolist() == [[1, 2, 5, 5], [10, 5, 13, 9.5]]
    plain = mapper(image_format="BGR")(record)["image"]
    assert np.array_equal(plain.permute(1, 2, 0), PIXELS[..., ::-1])


def test_boxes_need_no_masks_and_come_from_the_annotation(record):
    for annotation in record["annotations"]:
        del annotation["segmentation"]
    record["annotations"][0]["bbox"] = [-3, 4.5, 8, 30]  # clipped to the image
    targets = mapper(with_masks=False)(record)["instances"]
    assert targets.get_fields().keys() == {"gt_boxes", "gt_classes"}
    assert targets.gt_boxes.tensor.tolist() == [[0, 4.5, 5, HEIGHT], [20, 10, 26, 19]]
    with pytest.raises(UserError, match=r"a\.png: an object has no segmentation.*MASK_ON False"):
        mapper()(record)


@pytest.mark.parametrize("with_masks", [False, True])
def test_objects_without_area_after_cropping_are_dropped(record, with_masks):
    # Columns 10..27: the first object ends where the crop begins.
    targets = mapper(T.CropTransform(10, 0, 18, HEIGHT), with_masks=with_masks)(record)["instances"]
    assert targets.gt_classes.tolist() == [0]
    assert targets.gt_boxes.tensor.tolist() == [[10, 10, 16, 19]]
    empty = mapper(T.CropTransform(28, 0, 3, 3), with_masks=with_masks)(record)["instances"]
    assert len(empty) == 0
    assert empty.gt_boxes.tensor.shape == (0, 4)
    if with_masks:
        assert empty.gt_masks.tensor.shape == (0, 3, 3)


def test_degenerate_and_outside_boxes_are_dropped(record):
    record["annotations"] += [
        obj(1, 5, 5, 0, 4, segmentation=polygon(5, 5, 4, 4)),
        obj(1, 9, 5, -4, 4, segmentation=polygon(5, 5, 4, 4)),
        obj(1, WIDTH + 2, 5, 4, 4, segmentation=polygon(5, 5, 4, 4)),
    ]
    for with_masks in (False, True):
        # A flip must not turn a negative width into a positive one.
        output = mapper(T.HFlipTransform(WIDTH), with_masks=with_masks)(record)
        assert output["instances"].gt_classes.tolist() == [1, 0]


def test_image_without_objects(record):
    record["annotations"] = []
    targets = mapper(T.HFlipTransform(WIDTH))(record)["instances"]
    assert len(targets) == 0
    assert targets.gt_masks.tensor.shape == (0, HEIGHT, WIDTH)


def test_every_panoptic_segment_is_an_instance(panoptic_record):
    record, ids = panoptic_record
    output = mapper(T.HFlipTransform(WIDTH))(record)
    assert (output["height"], output["width"]) == (HEIGHT, WIDTH)
    targets = output["instances"]
    assert targets.gt_classes.tolist() == [3, 1, 2]
    flipped = torch.from_numpy(ids[:, ::-1].copy())
    expected = torch.stack([flipped == i for i in (70000, 5, 300)])
    assert torch.equal(targets.gt_masks.tensor, expected)
    assert targets.gt_boxes.tensor.tolist() == [[3, 0, 32, 12], [22, 4, 30, 10], [3, 12, 32, 24]]


def test_panoptic_boxes_without_masks_and_after_a_crop(panoptic_record):
    record, _ = panoptic_record
    targets = mapper(T.CropTransform(0, 6, 9, 5), with_masks=False)(record)["instances"]
    assert not targets.has("gt_masks")
    assert targets.gt_classes.tolist() == [3, 1]
    assert targets.gt_boxes.tensor.tolist() == [[0, 0, 9, 5], [2, 0, 9, 4]]


def test_listed_segments_without_pixels_are_refused(panoptic_record):
    record, _ = panoptic_record
    record["segments_info"].append({"id": 123, "category_id": 0, "isthing": True})
    with pytest.raises(UserError, match=r"labels\.png: segment 123 of .* has no pixels"):
        mapper()(record)


def test_label_image_of_another_size(panoptic_record, tmp_path):
    record, ids = panoptic_record
    save_ids(tmp_path / "labels.png", ids[:-2])
    with pytest.raises(UserError, match=r"is 32x24 but its label image .*labels\.png 32x22"):
        mapper()(record)


def test_testing_output_and_config(record):
    cfg = get_cfg()
    cfg.INPUT.DATASET_MAPPER = "ImageDatasetMapper"
    cfg.INPUT.FORMAT = "RGB"
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 48, 56
    output = build_mapper(cfg, False)(record)
    assert output.keys() == {"image", "file_name", "image_id", "height", "width"}
    assert output["image"].shape == (3, 42, 56)  # the long side's limit holds
    assert (output["height"], output["width"]) == (HEIGHT, WIDTH)
    for mask_on in (False, True):
        cfg.MODEL.MASK_ON = mask_on
        assert build_mapper(cfg, True)(record)["instances"].has("gt_masks") == mask_on
    cfg.INPUT.FORMAT = "L"
    with pytest.raises(UserError, match="INPUT.FORMAT is 'L'"):
        build_mapper(cfg, True)


def test_draws_follow_numpys_global_seed(record):
    resize = mapper(ResizeShortestEdge([*range(8, 40)]))
    shapes = []
    for seed in (1, 1, 2, 3, 4):
        np.random.seed(seed)
        shapes.append(resize(record)["image"].shape)
    assert shapes[0] == shapes[1]
    assert len(set(shapes)) > 2


def test_labels_are_those_of_the_upright_image(record):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(np.rot90(PIXELS).copy()).save(record["file_name"], exif=exif)
    assert np.array_equal(mapper()(record)["image"].permute(1, 2, 0), PIXELS)
    # An annotation file that counts the stored pixels is refused.
    with pytest.raises(UserError, match=r"a\.png is 32x24 but its dataset says 24x32"):
        mapper()({**record, "height": WIDTH, "width": HEIGHT})


@pytest.mark.parametrize(
    ("rle", "fault"),
    [
        ({"size": [HEIGHT, WIDTH], "counts": b"zz"}, "'counts' is not a COCO run-length code"),
        ({"size": [WIDTH, HEIGHT], "counts": b"`h0"}, "the mask's size is"),
    ],
)
def test_damaged_masks(record, rle, fault):
    record["annotations"][0]["segmentation"] = rle
    with pytest.raises(UserError, match=rf"a\.png: the mask of object 0: {fault}"):
        mapper()(record)


def test_records_that_do_not_fit(record):
    with pytest.raises(UserError, match="trains on images.*choose ClipDatasetMapper"):
        mapper()({"video_id": 3, "file_names": []})
    with pytest.raises(UserError, match="takes videos.*choose ImageDatasetMapper"):
        ClipDatasetMapper(False, augmentations=[])(record)
    del record["annotations"]
    with pytest.raises(UserError, match=r"a\.png has no labels"):
        mapper()(record)
    with pytest.raises(UserError, match=r"nowhere\.png does not exist"):
        mapper()({**record, "file_name": "nowhere.png"})


def test_official_detr_augmentation(record, tmp_path):
    cfg = get_cfg()
    cfg.merge_from_file("configs/DETR/Base-DETR-data.yaml")
    Image.new("RGB", (640, 427)).save(tmp_path / "coco.jpg")
    record.update(file_name=str(tmp_path / "coco.jpg"), height=427, width=640, annotations=[])
    shapes = []
    np.random.seed(0)
    train = build_mapper(cfg, True)
    for _ in range(40):
        shapes.append(train(record)["image"].shape[1:])
    sizes = {*range(480, 801, 32)}
    assert all(min(s) in sizes or max(s) == 1333 for s in shapes)
    assert all(max(s) <= 1333 for s in shapes)
    # A crop changes the aspect ratio, in half of the cases.
    cropped = [abs(w / h - 640 / 427) > 0.01 for h, w in shapes]
    assert 10 <= sum(cropped) <= 30
    assert build_mapper(cfg, False)(record)["image"].shape[1:] == (800, 1199)
