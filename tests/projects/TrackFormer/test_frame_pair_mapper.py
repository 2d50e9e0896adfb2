"""Pairs of frames: which are drawn, how they are augmented, and what is labelled in them."""

import copy
import json

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from d2video.projects.trackformer.training.frame_pair_mapper import CropJitter, FramePairMapper
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from detectron2.structures import BoxMode
from PIL import Image

from d2video.config import get_cfg
from d2video.data import ClipDatasetMapper, FrameSequence, ImageDatasetMapper, build_mapper
from d2video.data.augmentation import ClipAugInput, RandomFlip, ResizeShortestEdge
from d2video.utils.errors import UserError

HEIGHT, WIDTH, LENGTH = 40, 60, 20
COLOURS = {5: (255, 0, 0), 8: (0, 255, 0)}
CLASSES = {5: 1, 8: 0}


def box_at(track, t):
    """XYWH of an object: 5 walks to the right and out of the image, 8 stays and has no frame 0."""
    return [4 + 4 * t, 8, 12, 10] if track == 5 else [20, 22, 14, 11]


def annotation(track, t, with_mask):
    x, y, w, h = box_at(track, t)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[y : y + h, x : max(x + w, 0)] = 1
    found = {
        "id": track,
        "category_id": CLASSES[track],
        "iscrowd": 0,
        "bbox": [x, y, w, h],
        "bbox_mode": BoxMode.XYWH_ABS,
    }
    if with_mask:
        found["segmentation"] = mask_util.encode(np.asfortranarray(mask))
    return found


def tracks_in(t):
    return [track for track in (5, 8) if (track, t) != (8, 0) and box_at(track, t)[0] < WIDTH]


def make_record(folder, with_masks=False):
    """A video whose objects are rectangles of one colour each; the last frame is labelled empty."""
    names = []
    for t in range(LENGTH):
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        for track in tracks_in(t):
            x, y, w, h = box_at(track, t)
            image[y : y + h, x : x + w] = COLOURS[track]
        names.append(str(folder / f"{t:06d}.png"))
        Image.fromarray(image).save(names[-1])
    annotations = [[annotation(k, t, with_masks) for k in tracks_in(t)] for t in range(LENGTH)]
    annotations[-1] = []
    crowd = annotation(8, 1, with_masks) | {"id": 99, "iscrowd": 1}
    annotations[1].append(crowd)
    return {
        "video_id": 1,
        "sequence": "walk",
        "file_names": names,
        "height": HEIGHT,
        "width": WIDTH,
        "length": LENGTH,
        "annotations": annotations,
    }


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Tests must not change it."""
    return make_record(tmp_path_factory.mktemp("walk"), with_masks=True)


@pytest.fixture
def image_record(video):
    """Frame 3 as an image of its own, with objects that have no ids."""
    objects = copy.deepcopy(video["annotations"][3])
    for each in objects:
        del each["id"], each["iscrowd"]
    return {
        "file_name": video["file_names"][3],
        "image_id": 7,
        "height": HEIGHT,
        "width": WIDTH,
        "annotations": objects,
    }


def make_mapper(*augmentations, **options):
    return FramePairMapper(
        True, augmentations=augmentations, **{"jitter": 0.0, "image_jitter": 0.0, **options}
    )


def frame_number(entry):
    return int(entry["file_name"][-10:-4])


def coloured_box(image, colour):
    """XYXY of the pixels near a colour, at half of the blend of an edge."""
    near = (image.float() - torch.tensor(colour)[:, None, None]).abs().amax(0) < 128
    rows, columns = near.any(1).nonzero()[:, 0], near.any(0).nonzero()[:, 0]
    return torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]).float()


# ---- which frames ------------------------------------------------------------------------------


def draw(mapper, record, key_frame, times):
    np.random.seed(0)
    return [mapper({**record, "key_frame": key_frame}) for _ in range(times)]


def test_offsets_are_uniform_in_both_directions(video):
    pairs = draw(make_mapper(frame_range=5), video, 10, 880)
    assert {frame_number(pair) for pair in pairs} == {10}
    offsets = [frame_number(pair["previous"][0]) - 10 for pair in pairs]
    counts = np.bincount(np.array(offsets) + 5, minlength=11)
    assert len(counts) == 11
    assert counts.min() > 50  # 80 each on average, standard deviation under 9
    assert counts.max() < 110


def test_offsets_do_not_depend_on_the_flip(video):
    """In the official code the previous frame of a flipped one is never 3 or more later."""
    mapper = make_mapper(RandomFlip(0.5), frame_range=5)
    later = {True: [], False: []}
    for pair in draw(mapper, video, 5, 600):
        # Object 5 stands at x = 24..36 in frame 5, or, flipped, at the same place: take 8, 20..34.
        flipped = coloured_box(pair["image"], COLOURS[8])[0] != 20
        later[bool(flipped)].append(frame_number(pair["previous"][0]) - 5 >= 3)
    for draws in later.values():
        assert len(draws) > 240
        assert np.mean(draws) == pytest.approx(3 / 11, abs=0.09)


class DrawLikeThePair(T.Augmentation):
    """Draws what the choice of the previous frame would, if both had the same generator."""

    def get_transform(self, image, rng):
        self.drawn = int(rng.integers(0, 10, endpoint=True)) - 5
        return T.NoOpTransform()


def test_pair_augmentations_and_jitter_have_generators_of_their_own(video):
    augmentation = DrawLikeThePair()
    mapper = make_mapper(augmentation, frame_range=5)
    jitter = mapper.jitter = DrawLikeThePair()
    drawn = []
    np.random.seed(0)
    for _ in range(300):
        pair = mapper({**video, "key_frame": 10})
        offset = frame_number(pair["previous"][0]) - 10
        drawn.append((offset, augmentation.drawn, jitter.drawn))
    for first, second in ((0, 1), (0, 2), (1, 2)):
        same = np.mean([each[first] == each[second] for each in drawn])
        assert same < 0.2  # 1/11 on average


def test_augmentations_differ_from_sample_to_sample(video, image_record):
    mapper = make_mapper(RandomFlip(0.5))
    for record in (video, image_record):
        firsts = {float(pair["image"].argmax()) for pair in draw(mapper, record, 3, 20)}
        assert len(firsts) == 2


@pytest.mark.parametrize(("key_frame", "possible"), [(1, range(5)), (LENGTH - 1, range(16, 20))])
def test_the_range_ends_with_the_sequence(video, key_frame, possible):
    pairs = draw(make_mapper(frame_range=3), video, key_frame, 100)
    assert {frame_number(pair["previous"][0]) for pair in pairs} == set(possible)


def test_third_frame_goes_on_in_the_same_direction(video):
    found = set()
    for pair in draw(make_mapper(frame_range=5, num_previous=2), video, 4, 200):
        previous, before = map(frame_number, pair["previous"])
        assert before == min(max(2 * previous - 4, 0), LENGTH - 1)
        found.add((previous, before))
    assert found == {(p, max(2 * p - 4, 0)) for p in range(10)}


def test_key_frame_is_drawn_where_none_is_given(video):
    np.random.seed(0)
    mapper = make_mapper()
    assert {frame_number(mapper(video)) for _ in range(200)} == set(range(LENGTH))


def test_draws_follow_the_global_seed(video):
    mapper = make_mapper(RandomFlip(0.5), num_previous=2, jitter=0.2)

    def digest(seed):
        np.random.seed(seed)
        pairs = [mapper(video) for _ in range(3)]
        frames = [frame for pair in pairs for frame in (pair, *pair["previous"])]
        return [(f["file_name"], f["image"].sum().item(), str(f["instances"])) for f in frames]

    assert digest(3) == digest(3)
    assert digest(3) != digest(4)


# ---- labels ------------------------------------------------------------------------------------


def test_contract_of_the_training_output(video):
    before = json.dumps(video, default=str)
    pair = make_mapper(num_previous=2)({**video, "key_frame": 2})
    assert json.dumps(video, default=str) == before
    assert {"image", "instances", "previous", "file_name", "height", "width"} == set(pair)
    assert (pair["height"], pair["width"]) == (HEIGHT, WIDTH)
    for frame in (pair, *pair["previous"]):
        assert (frame["image"].dtype, frame["image"].shape) == (torch.uint8, (3, HEIGHT, WIDTH))
        instances = frame["instances"]
        assert instances.gt_ids.dtype == instances.gt_classes.dtype == torch.int64
        assert instances.gt_boxes.tensor.dtype == torch.float32
        assert not instances.has("gt_masks")


def test_rows_are_the_objects_of_the_frame_with_ids_of_the_video(video):
    seen = set()
    for key_frame in (0, 1, 3):
        for pair in draw(make_mapper(RandomFlip(0.5), frame_range=2), video, key_frame, 20):
            for frame in (pair, *pair["previous"]):
                t = frame_number(frame)
                instances = frame["instances"]
                assert instances.gt_ids.tolist() == tracks_in(t)  # no crowds
                assert instances.gt_classes.tolist() == [CLASSES[k] for k in tracks_in(t)]
                for track, box in zip(tracks_in(t), instances.gt_boxes.tensor, strict=True):
                    assert torch.equal(box, coloured_box(frame["image"], COLOURS[track]))
                seen.add(t)
    assert seen >= set(range(5))


def test_frame_without_objects(video):
    pair = make_mapper(RandomFlip(0.5), with_masks=True, jitter=0.1)(
        {**video, "key_frame": LENGTH - 1}
    )
    assert len(pair["instances"]) == 0
    assert pair["instances"].gt_boxes.tensor.shape == (0, 4)
    assert pair["instances"].gt_masks.tensor.shape == (0, HEIGHT, WIDTH)


def test_boxes_may_overflow_or_are_clipped(video):
    # Object 5 is at 52..64 in frame 12 (the image ends at 60), at 56..68 in frame 13, then gone.
    record = {**video, "key_frame": 12}
    for overflow, x1 in ((True, 64), (False, 60)):
        pair = make_mapper(frame_range=0, overflow_boxes=overflow)(record)
        for frame in (pair, *pair["previous"]):
            assert frame["instances"].gt_ids.tolist() == [5, 8]
            assert frame["instances"].gt_boxes.tensor[0].tolist() == [52, 8, x1, 18]


def test_boxes_overflow_a_crop_unless_wholly_outside(video):
    # Columns 30..59: of frame 5 object 5 at 24..36 overflows, of frame 3 it is gone at 16..28.
    crop = T.CropTransform(30, 0, 30, HEIGHT)
    for overflow, x0 in ((True, -6), (False, 0)):
        mapper = make_mapper(crop, frame_range=0, overflow_boxes=overflow, with_masks=True)
        instances = mapper({**video, "key_frame": 5})["instances"]
        assert instances.gt_ids.tolist() == [5, 8]
        assert instances.gt_boxes.tensor[0].tolist() == [x0, 8, 6, 18]
        assert instances.gt_masks.tensor[0].nonzero().amin(0).tolist() == [8, 0]
        assert instances.gt_masks.tensor.shape == (2, HEIGHT, 30)
        assert mapper({**video, "key_frame": 3})["instances"].gt_ids.tolist() == [8]
        # Exactly at the border: nothing of it is inside.
        touching = make_mapper(T.CropTransform(36, 0, 24, HEIGHT), overflow_boxes=overflow)
        assert touching({**video, "key_frame": 5})["instances"].gt_ids.tolist() == []


def test_an_object_needs_a_box_and_a_mask(video):
    """What a crop leaves of the box alone is no object where there are masks."""
    record = copy.deepcopy(video) | {"key_frame": 5}
    record["annotations"][5][0]["bbox"] = [0, 8, 50, 10]  # wider than the mask, 24..36
    crop = T.CropTransform(36, 0, 24, HEIGHT)
    for with_masks, ids in ((False, [5]), (True, [])):
        mapper = make_mapper(crop, frame_range=0, overflow_boxes=True, with_masks=with_masks)
        assert mapper(record)["instances"].gt_ids.tolist() == ids


def test_masks_follow_the_pixels(video):
    mapper = make_mapper(
        RandomFlip(0.5), ResizeShortestEdge([50, 70]), with_masks=True, jitter=0.3, num_previous=2
    )
    checked = 0
    for pair in draw(mapper, video, 6, 20):
        for frame in (pair, *pair["previous"]):
            masks = frame["instances"].gt_masks.tensor
            for track, mask in zip(frame["instances"].gt_ids.tolist(), masks, strict=True):
                # Two resizings choose the nearest pixel each, so that edges are a pixel off.
                rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
                box = torch.cat([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
                visible = coloured_box(frame["image"], COLOURS[track])
                assert (visible - box).abs().max() <= 2
                assert mask.sum() == (box[2] - box[0]) * (box[3] - box[1])
                checked += 1
    assert checked > 80


# ---- jitter ------------------------------------------------------------------------------------


def test_jitter_moves_box_and_pixels_alike(video):
    mapper = make_mapper(frame_range=0, num_previous=2, jitter=0.4, overflow_boxes=True)
    scales, shifts = [], []
    for pair in draw(mapper, video, 3, 60):
        # Never the frame itself.
        assert pair["instances"].gt_boxes.tensor.tolist() == [[16, 8, 28, 18], [20, 22, 34, 33]]
        for frame in pair["previous"]:
            assert frame["image"].shape == (3, HEIGHT, WIDTH)
            for track, box in zip(
                frame["instances"].gt_ids.tolist(), frame["instances"].gt_boxes.tensor, strict=True
            ):
                visible = coloured_box(frame["image"], COLOURS[track])
                limits = torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT])
                assert (visible - box.clamp(min=0).minimum(limits)).abs().max() <= 1
            width = box[2] - box[0]
            scales.append(float(width / 14))  # object 8
            shifts.append(float(box[0]))
        assert not torch.equal(pair["previous"][0]["image"], pair["previous"][1]["image"])
    assert 1 <= min(scales) < 1.1
    assert 1.5 < max(scales) <= 60 / 36 + 1e-6
    assert np.std(shifts) > 3


def test_jitter_clips_boxes_unless_they_may_overflow(video):
    outside = {True: 0, False: 0}
    for overflow in outside:
        mapper = make_mapper(frame_range=0, jitter=0.5, overflow_boxes=overflow)
        for pair in draw(mapper, video, 3, 60):
            boxes = pair["previous"][0]["instances"].gt_boxes.tensor
            outside[overflow] += bool((boxes < 0).any() or (boxes[:, 2] > WIDTH).any())
    assert outside[True] > 5
    assert outside[False] == 0


def test_range_of_the_crop():
    image = np.zeros((50, 100, 3), np.uint8)
    sizes, places = set(), set()
    for seed in range(3000):
        transform = CropJitter(0.1).get_transform(image, np.random.default_rng(seed))
        if isinstance(transform, T.NoOpTransform):
            sizes.add((100, 50))
            continue
        crop = transform.transforms[0]
        sizes.add((crop.w, crop.h))
        assert crop.x0 + crop.w <= 100
        assert crop.y0 + crop.h <= 50
        places.add((crop.x0, crop.y0))
    assert sizes == {(w, w // 2) for w in range(90, 101)}
    assert places == {(x, y) for x in range(11) for y in range(6)}


def test_no_jitter_draws_nothing_else(video):
    image = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(4, 5, 3)
    jittered = ClipAugInput(image, np.random.default_rng(0))
    CropJitter(0.0)(jittered)
    np.testing.assert_array_equal(jittered.image, image)


# ---- images ------------------------------------------------------------------------------------


def test_previous_frame_of_an_image_is_the_image(image_record):
    pair = make_mapper(RandomFlip(0.5), num_previous=2, with_masks=True)(image_record)
    assert len(pair["previous"]) == 2
    for frame in (pair, *pair["previous"]):
        assert torch.equal(frame["image"], pair["image"])
        assert frame["instances"].gt_ids.tolist() == [0, 1]
        assert frame["instances"].gt_classes.tolist() == [1, 0]
        assert torch.equal(frame["instances"].gt_masks.tensor, pair["instances"].gt_masks.tensor)


def test_images_have_a_jitter_of_their_own(image_record, video):
    mapper = make_mapper(frame_range=0, jitter=0.0, image_jitter=0.8)
    np.random.seed(0)
    pair = mapper(video)
    assert torch.equal(pair["image"], pair["previous"][0]["image"])
    moved = lost = 0
    for _ in range(60):
        pair = mapper({**image_record, "key_frame": 0})  # as the loader hands it over
        (previous,) = pair["previous"]
        ids = previous["instances"].gt_ids.tolist()
        moved += not torch.equal(pair["image"], previous["image"])
        lost += len(ids) < 2
        for row, box in zip(ids, previous["instances"].gt_boxes.tensor, strict=True):
            visible = coloured_box(previous["image"], COLOURS[(5, 8)[row]])
            assert (visible - box).abs().max() <= 1
    assert moved > 50
    assert lost > 0  # ids say which is left


def test_crowds_of_images_are_left_out_and_their_size_may_be_unknown(image_record):
    image_record["annotations"][0]["iscrowd"] = 1
    del image_record["height"], image_record["width"]
    pair = make_mapper()(image_record)
    assert pair["instances"].gt_classes.tolist() == [0]
    assert (pair["height"], pair["width"]) == (HEIGHT, WIDTH)


# ---- testing -----------------------------------------------------------------------------------


def test_testing_gives_whole_videos_and_what_tracking_needs(video, image_record):
    chain = [ResizeShortestEdge(20)]
    mapper = FramePairMapper(False, augmentations=chain)
    record = {**video, "first_frame": 3, "public_detections": [np.zeros((0, 5), "f4")] * LENGTH}
    output, expected = mapper(record), ClipDatasetMapper(False, augmentations=chain)(video)
    assert set(output) == {*expected, "sequence", "first_frame", "public_detections"}
    assert (output["sequence"], output["first_frame"]) == ("walk", 3)
    assert output["public_detections"] is record["public_detections"]
    assert isinstance(output["image"], FrameSequence)
    assert torch.equal(output["image"][4], expected["image"][4])
    assert output["image"][0].shape == (3, 20, 30)
    assert "first_frame" not in mapper(video)

    output = mapper(image_record)
    expected = ImageDatasetMapper(False, augmentations=chain)(image_record)
    assert torch.equal(output.pop("image"), expected.pop("image"))
    assert output == expected


# ---- config and faults -------------------------------------------------------------------------


@pytest.fixture
def cfg():
    cfg = get_cfg()
    cfg.INPUT.FORMAT = "RGB"
    cfg.INPUT.DATASET_MAPPER = "FramePairMapper"
    cfg.INPUT.AUGMENTATIONS = []
    cfg.MODEL.MASK_ON = True
    # What the project's config sets, whatever its defaults.
    cfg.MODEL.TRACKFORMER = CfgNode(
        {
            "PREV_FRAME_RANGE": 0,
            "NUM_PREV_FRAMES": 2,
            "PREV_FRAME_JITTER": 0.0,
            "PREV_IMAGE_JITTER": 0.4,
            "OVERFLOW_BOXES": True,
        }
    )
    return cfg


def test_config(cfg, video, image_record):
    mapper = build_mapper(cfg, True)
    pair = mapper({**video, "key_frame": 12})
    assert len(pair["previous"]) == 2
    assert pair["instances"].gt_boxes.tensor[0, 2] == 64
    assert len(pair["instances"].gt_masks) == 2
    assert torch.equal(pair["image"], pair["previous"][1]["image"])
    np.random.seed(0)
    pair = mapper(image_record)
    assert not torch.equal(pair["image"], pair["previous"][1]["image"])

    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 20, 100
    output = build_mapper(cfg, False)(video)
    assert output["image"][0].shape == (3, 20, 30)
    assert output["image"].decode_ahead == cfg.TEST.VIDEO.PREFETCH


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("PREV_FRAME_RANGE", -1),
        ("NUM_PREV_FRAMES", 3),
        ("PREV_FRAME_JITTER", 1.0),
        ("PREV_IMAGE_JITTER", -0.1),
    ],
)
def test_wrong_config(cfg, key, value):
    cfg.MODEL.TRACKFORMER[key] = value
    with pytest.raises(UserError, match=key) as error:
        build_mapper(cfg, True)
    assert "\n" not in str(error.value)


def test_faults(tmp_path, image_record):
    record = make_record(tmp_path)
    with pytest.raises(UserError, match=r"image .*\.png: an object has no segmentation"):
        make_mapper(with_masks=True)({**record, "key_frame": 3})
    for unlabelled in (record, image_record):
        del unlabelled["annotations"]
        with pytest.raises(UserError, match="has no labels"):
            make_mapper()(unlabelled)
