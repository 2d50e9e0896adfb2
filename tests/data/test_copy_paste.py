"""Objects of another sample on a sample: pixels, masks, boxes and presence agree in every frame."""

import copy
import itertools

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BitMasks, Boxes, Instances

from d2video.config import get_cfg
from d2video.data import build_train_loader
from d2video.data.copy_paste import CopyPasteMapper, paste_objects
from d2video.data.datasets.ytvis import load_ytvis_json
from d2video.utils.errors import UserError

FORMS = ("clip", "pair", "image")
# Boxes (x0, y0, x1, y1) of objects by frame; None: absent. The number of an object is its colour.
OWN = {1: [(1, 1, 5, 5)] * 3, 2: [(6, 1, 9, 4), None, (2, 6, 5, 9)]}
OTHER = {11: [(3, 3, 8, 8), (0, 0, 7, 7), (8, 8, 12, 10)], 12: [(7, 2, 12, 5), None, (0, 6, 6, 10)]}


def make_sample(objects, form="clip", size=(10, 12), background=100):
    """Row i is object i; an object's colour, class and id are its number."""
    frames = []
    for t in range({"clip": 3, "pair": 2, "image": 1}[form]):
        image = torch.full((3, *size), background, dtype=torch.uint8)
        ids = [k for k, boxes in objects.items() if form == "clip" or boxes[t]]
        masks = torch.zeros(len(ids), *size, dtype=torch.bool)
        for row, k in enumerate(ids):
            if box := objects[k][t]:
                x0, y0, x1, y1 = box
                image[:, y0:y1, x0:x1] = k
                masks[row, y0:y1, x0:x1] = True
                masks[:row, y0:y1, x0:x1] = False
        targets = Instances(size)
        targets.gt_boxes = BitMasks(masks).get_bounding_boxes()
        targets.gt_classes = torch.tensor(ids, dtype=torch.int64)
        if form != "image":
            present = masks.flatten(1).any(1)
            targets.gt_ids = torch.where(present, targets.gt_classes, -1)
        targets.gt_masks = BitMasks(masks)
        frames.append((image, targets))
    if form == "clip":
        images, targets = zip(*frames, strict=True)
        return {"image": [*images], "instances": [*targets], "video_id": 3}
    current, *previous = ({"image": i, "instances": t, "file_name": "a"} for i, t in frames)
    return current | ({"previous": previous} if form == "pair" else {})


def frames_of(sample):
    if isinstance(sample["image"], list):
        return [*zip(sample["image"], sample["instances"], strict=True)]
    return [(each["image"], each["instances"]) for each in (sample, *sample.get("previous", ()))]


def check(sample):
    """Masks are the pixels of the object's colour (which is its class); boxes and presence are theirs."""
    for image, targets in frames_of(sample):
        for i in range(len(targets)):
            mask = targets.gt_masks.tensor[i]
            assert torch.equal(mask, image[0] == targets.gt_classes[i])
        assert torch.equal(
            targets.gt_boxes.tensor, targets.gt_masks.get_bounding_boxes().tensor.float()
        )
        present = targets.gt_masks.tensor.flatten(1).any(1)
        if targets.has("gt_ids"):
            assert torch.equal(targets.gt_ids >= 0, present)
        if not isinstance(sample["image"], list):
            assert present.all()
    if isinstance(sample["image"], list):
        ids = torch.stack([targets.gt_ids for targets in sample["instances"]])
        assert ((ids == ids.amax(0)) | (ids < 0)).all()
        assert (ids.amax(0) >= 0).all()  # nothing that is absent everywhere


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [(10, 12), (7, 9), (14, 12), (8, 20)])
def test_pixels_masks_boxes_and_presence_agree(form, size):
    own = make_sample(OWN, form)
    inside = {
        k: [b and (b[0], b[1], min(b[2], size[1]), min(b[3], size[0])) for b in boxes]
        for k, boxes in OTHER.items()
    }
    inside = {
        k: [b if b and b[2] > b[0] and b[3] > b[1] else None for b in boxes]
        for k, boxes in inside.items()
    }
    other = make_sample(inside, form, size, background=200)
    before = copy.deepcopy((own, other))
    results = [paste_objects(own, other, np.random.default_rng(seed)) for seed in range(30)]
    for result in results:
        check(result)
        assert not any((image == 200).any() for image, _ in frames_of(result))
    seen = {tuple(targets.gt_classes.tolist()) for r in results for _, targets in frames_of(r)[:1]}
    assert len(seen) > 1
    for mine, theirs in zip((own, other), before, strict=True):  # nothing was changed in place
        for (image, targets), (old, labels) in zip(frames_of(mine), frames_of(theirs), strict=True):
            assert torch.equal(image, old)
            assert torch.equal(targets.gt_masks.tensor, labels.gt_masks.tensor)
            assert torch.equal(targets.gt_boxes.tensor, labels.gt_boxes.tensor)


def test_what_is_wholly_hidden_is_absent():
    cover = {11: [(0, 0, 12, 10), None, (0, 0, 3, 3)]}
    result = paste_objects(make_sample(OWN), make_sample(cover), np.random.default_rng(0))
    ids = torch.stack([targets.gt_ids for targets in result["instances"]])
    assert ids.tolist() == [[-1, -1, 14], [1, -1, -1], [1, 2, 14]]
    always = {11: [(0, 0, 12, 10)] * 3}
    result = paste_objects(make_sample(OWN), make_sample(always), np.random.default_rng(0))
    assert [targets.gt_classes.tolist() for targets in result["instances"]] == [[11]] * 3
    check(result)


def test_official_rows_of_objects_that_the_clip_does_not_show_stay():
    own = make_sample({1: [None] * 3, 2: [(0, 0, 4, 4)] * 3})
    cover = make_sample({11: [(0, 0, 12, 10)] * 3})
    result = paste_objects(own, cover, np.random.default_rng(0))
    assert [targets.gt_classes.tolist() for targets in result["instances"]] == [[1, 11]] * 3


def test_only_some_classes_and_not_too_many():
    own, other = make_sample(OWN), make_sample(OTHER)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        result = paste_objects(own, other, rng, classes={12})
        assert result["instances"][0].gt_classes.tolist() == [1, 2, 12]
        result = paste_objects(own, other, rng, most=3)
        assert len(result["instances"][0].gt_classes) <= 3
        assert paste_objects(own, other, rng, most=2) is own
        assert paste_objects(own, make_sample({}), rng) is own


@pytest.mark.parametrize("form", FORMS)
def test_an_object_is_pasted_onto_one_of_its_class(form):
    """Without an offset the boxes of the two never overlap."""
    own = make_sample({1: [(1, 1, 5, 5)] * 3, 2: [(6, 1, 9, 4)] * 3}, form, size=(20, 24))
    other = make_sample(
        {2: [(17, 13, 23, 19)] * 3, 12: [(9, 9, 13, 14)] * 3}, form, size=(20, 24), background=200
    )
    near, apart = [], 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        result = paste_objects(own, other, rng, overlap=0.5)
        image, targets = frames_of(result)[0]
        if 12 in targets.gt_classes or (image[0, 13:19, 17:23] == 2).all():
            apart += 1
            continue
        # The 6x6 object's middle lies within 0.8 of ((3 + 6) / 2, (3 + 6) / 2) pixels of the 3x3 one's.
        y, x = (targets.gt_masks.tensor[-1]).nonzero().float().mean(0) + 0.5
        assert targets.gt_classes.tolist()[0] == 1
        near.append((float(x) - 7.5, float(y) - 2.5))
    assert 15 < apart < 45
    # Cut off at the border, the middle of what is left is up to 3 pixels off.
    assert all(abs(x) < 4.2 and abs(y) < 4.2 + 3 for x, y in near)
    assert len(set(near)) > 5


def test_boxes_of_what_is_not_hidden_stay():
    """They may be more than those of the masks."""
    own = make_sample({1: [(1, 1, 4, 4)] * 3})
    for targets in own["instances"]:
        targets.gt_boxes = Boxes(torch.tensor([[-3.0, 0.5, 4.0, 4.0]]))
    other = make_sample({11: [(6, 6, 9, 9), (2, 2, 9, 9), (6, 6, 9, 9)]})
    result = paste_objects(own, other, np.random.default_rng(0))
    boxes = [targets.gt_boxes.tensor[0].tolist() for targets in result["instances"]]
    assert boxes == [[-3.0, 0.5, 4.0, 4.0], [1.0, 1.0, 4.0, 4.0], [-3.0, 0.5, 4.0, 4.0]]


def test_stuff_is_not_pasted_and_the_probability_holds():
    sample = make_sample({1: [(0, 0, 12, 10)], 2: [(3, 3, 6, 6)]}, "image")
    segments = [{"category_id": 1, "isthing": False}, {"category_id": 2, "isthing": True}]
    given = []

    def mapper(record):
        given.append(record)
        return make_sample({5: [(0, 0, 1, 1)]}, "image") if "own" in record else sample

    record = {"segments_info": segments}
    mapped = CopyPasteMapper(mapper, [record], prob=0.25)
    np.random.seed(0)
    results = [mapped({"own": True, "batch_number": 7})["instances"] for _ in range(400)]
    kinds = [each.gt_classes.tolist() for each in results]
    assert all(kind in ([5], [5, 2]) for kind in kinds)
    assert 70 < kinds.count([5, 2]) < 130
    others = [each for each in given if "own" not in each]
    assert len(others) == kinds.count([5, 2])  # the second sample is read only where it is used
    assert all(each["batch_number"] == 7 for each in others)
    assert record == {"segments_info": segments}


# ---- by config -----------------------------------------------------------------------------------


@pytest.fixture
def cfg(scratch_catalog, ytvis_content, write_json, image_root):
    records = load_ytvis_json(write_json(ytvis_content), str(image_root))
    DatasetCatalog.register("clips", lambda: records)
    MetadataCatalog.get("clips").set(thing_classes=["nine", "four"], evaluator_type="ytvis")
    cfg = get_cfg()
    cfg.merge_from_list(
        [
            *("DATASETS.TRAIN", ["clips"], "INPUT.DATASET_MAPPER", "ClipDatasetMapper"),
            *("INPUT.CLIP.NUM_FRAMES", 3, "DATALOADER.NUM_WORKERS", 0, "SEED", 4),
            *("SOLVER.IMS_PER_BATCH", 2, "INPUT.COPY_PASTE.PROB", 1.0),
            *("DATALOADER.ASPECT_RATIO_GROUPING", False),
        ]
    )
    return cfg


def batches(cfg, count, skip=0):
    loader = build_train_loader(cfg)
    loader.loader.skip(skip)
    return [*itertools.islice(iter(loader), count)]


def test_the_loader_gives_the_same_samples_whatever_the_workers_and_where_it_begins(cfg):
    whole = batches(cfg, 4)
    cfg.DATALOADER.NUM_WORKERS = 2
    for others in (batches(cfg, 4), batches(cfg, 2, skip=2)):
        expected, found = (
            [*itertools.chain.from_iterable(each)] for each in (whole[4 - len(others) :], others)
        )
        for one, other in zip(expected, found, strict=True):
            assert len(one["instances"][0]) == len(other["instances"][0])
            for a, b in zip(one["image"], other["image"], strict=True):
                assert torch.equal(a, b)
    counts = {len(sample["instances"][0]) for batch in whole for sample in batch}
    assert max(counts) > 2  # a clip of the data has two objects


def test_the_count_of_objects_is_that_after_pasting(cfg):
    assert build_train_loader(cfg).object_counts.max() == 4
    cfg.INPUT.COPY_PASTE.MAX_OBJECTS = 3
    assert build_train_loader(cfg).object_counts.max() == 3
    cfg.INPUT.COPY_PASTE.PROB = 0.0
    assert build_train_loader(cfg).object_counts.max() == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"INPUT.COPY_PASTE.PROB": 1.5},
            r"INPUT\.COPY_PASTE\.PROB is 1\.5: set a number from 0 to 1",
        ),
        (
            {"INPUT.COPY_PASTE.OVERLAP": 1.5},
            r"INPUT\.COPY_PASTE\.OVERLAP is 1\.5: set a number from 0 to 1",
        ),
        ({"INPUT.DATASET_MAPPER": "VideoClipMapper"}, "gives samples without objects to paste"),
        ({"INPUT.DATASET_MAPPER": "FramePairMapper"}, "MODEL.MASK_ON is False: set it to True"),
    ],
)
def test_what_is_refused(cfg, changes, message):
    cfg.merge_from_list([item for pair in changes.items() for item in pair])
    with pytest.raises(UserError, match=message):
        build_train_loader(cfg)
