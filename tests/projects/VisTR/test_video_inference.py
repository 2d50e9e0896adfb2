"""From mask logits to tracks: official results, windows, linking, bounded memory."""

import json
import weakref

import numpy as np
import pytest
import torch
from d2video.projects.vistr.tracks import ClipPrediction, Track, TrackedFrame
from d2video.projects.vistr.video_inference import collect_video, frame_instances, track_video
from pycocotools import mask as coco_mask

from d2video.formats.geometry.rle import encode_runs
from tests.helpers.golden_io import GOLDEN, load

NUM_CLASSES = 3


def each(predict):
    """From a model of one window to one of several."""
    return lambda windows: [predict(frames) for frames in windows]


@pytest.mark.parametrize("case", [0, 1, 2])
def test_official_results(case):
    """Scores, categories and masks of the official inference script, from the same logits."""
    _, data, _ = load("vistr_inference.npz")
    golden = json.loads((GOLDEN / "vistr_inference_expected.json").read_text())["results"][case]
    num_frames, num_slots, length, width, height = data[f"c{case}.meta"].tolist()
    shape = (num_frames, num_slots)
    probabilities = data[f"c{case}.pred_logits"][0].softmax(-1)[:, :-1].unflatten(0, shape).numpy()
    masks = data[f"c{case}.pred_masks"][0].unflatten(0, shape).transpose(0, 1)
    tracked = track_video(
        range(length),
        each(lambda frames: ClipPrediction(probabilities, masks)),
        num_frames=num_frames,
        overlap=1,
        link_iou=0.5,
    )
    answer = collect_video(tracked, (height, width), frame_threshold=0.001, label_offset=0)
    assert answer["pred_labels"] == [result["category_id"] for result in golden]
    assert answer["pred_scores"] == pytest.approx([r["score"] for r in golden], abs=1e-6)
    for ours, result in zip(answer["pred_masks"], golden, strict=True):
        assert [m is None for m in ours] == [m is None for m in result["segmentations"]]
        for mine, theirs in zip(ours, result["segmentations"]):
            if mine is not None:
                assert mine["size"] == theirs["size"]
                assert mine["counts"] == theirs["counts"].encode()


class World:
    """Two objects that move to the right; a "model" that finds them, its slots in a random order.

    Object 0 (class 0) is always there, object 1 (class 2) from frame 5 to 16 only.
    """

    size = (8, 64)

    def __init__(self, num_frames: int):
        self.num_frames = num_frames
        self.calls: list[list[int]] = []
        self.generator = torch.Generator().manual_seed(0)

    def mask(self, obj: int, t: int) -> torch.Tensor:
        mask = torch.zeros(self.size)
        if obj == 0 or 5 <= t <= 16:
            mask[4 * obj : 4 * obj + 3, t : t + 6] = 1
        return mask

    def predict(self, frames: list[int]) -> ClipPrediction:
        self.calls.append(list(frames))
        order = torch.randperm(2, generator=self.generator).tolist()
        masks = torch.stack(
            [torch.stack([self.mask(obj, int(t)) for t in frames]) for obj in order]
        )
        probabilities = np.full((self.num_frames, 2, NUM_CLASSES), 0.05, np.float32)
        for slot, obj in enumerate(order):
            probabilities[:, slot, 2 * obj] = 0.8
        return ClipPrediction(probabilities, masks * 2 - 1)

    def track(self, length: int, overlap: int = 3):
        return track_video(
            range(length),
            each(self.predict),
            num_frames=self.num_frames,
            overlap=overlap,
            link_iou=0.3,
        )

    def collect(self, length: int) -> dict:
        return collect_video(self.track(length), self.size, 0.001, 0)


def test_windows_overlap_and_the_last_ends_with_the_video():
    world = World(num_frames=8)
    assert len(list(world.track(20))) == 20
    starts = [call[0] for call in world.calls]
    assert starts == [0, 5, 10, 12]
    assert all(call == list(range(call[0], call[0] + 8)) for call in world.calls)


def test_a_video_of_window_length_is_one_clip():
    world = World(num_frames=8)
    assert len(list(world.track(8))) == 8
    assert len(world.calls) == 1


def test_short_videos_repeat_from_their_start():
    world = World(num_frames=8)
    assert len(list(world.track(3))) == 3
    assert world.calls == [[0, 1, 2, 0, 1, 2, 0, 1]]


def test_identities_survive_windows_and_permuted_slots():
    answer = World(num_frames=8).collect(30)
    tracks = dict(zip(answer["pred_labels"], answer["pred_masks"]))
    world = World(8)
    for obj, label in ((0, 0), (1, 2)):
        for t, rle in enumerate(tracks[label]):
            decoded = 0 if rle is None else coco_mask.decode(rle)
            assert (decoded == world.mask(obj, t).numpy()).all(), (obj, t)
    assert answer["pred_scores"] == pytest.approx([0.8] * len(answer["pred_scores"]))
    # The object that left and was not seen on shared frames ends; what follows is empty, so unseen.
    assert sorted(answer["pred_labels"]) == [0, 2]


def test_a_slot_that_is_sure_keeps_the_track_from_an_unsure_copy():
    """Slots for nothing often repeat an object's mask; here better than the slot that is sure."""
    mask = torch.ones(4, 8)
    rough = mask.clone()
    rough[0] = -1

    def predict(frames):
        # The sure slot comes first in every window, then the copy, whose mask is the sure one's of
        # the window before.
        pair = [mask, rough] if int(frames[0]) == 0 else [rough, mask]
        masks = torch.stack(pair)
        probabilities = np.array([[0.9, 0.02, 0.02], [0.05, 0.001, 0.001]], np.float32)
        return ClipPrediction(
            probabilities[None].repeat(len(frames), 0),
            masks[:, None].expand(-1, len(frames), -1, -1),
        )

    frames = list(track_video(range(6), each(predict), num_frames=4, overlap=2, link_iou=0.3))
    assert [[track.id for track in frame.tracks] for frame in frames] == [[0, 1]] * 6
    assert frames[-1].tracks[0].score == pytest.approx(0.9)


def test_same_place_other_class_is_another_track():
    window = torch.ones(1, 4, 4, 4)

    def predict(frames):
        probabilities = np.zeros((4, 1, NUM_CLASSES), np.float32)
        probabilities[:, 0, 0 if frames[0] == 0 else 1] = 0.9
        return ClipPrediction(probabilities, window)

    frames = track_video(range(6), each(predict), num_frames=4, overlap=2, link_iou=0.3)
    assert [frame.tracks[0].id for frame in frames] == [0, 0, 0, 0, 1, 1]


def test_streaming_holds_one_window():
    class Frame:
        pass

    alive = weakref.WeakSet()

    def source():
        for _ in range(2000):
            frame = Frame()
            alive.add(frame)
            yield frame

    def predict(frames):
        return ClipPrediction(np.full((4, 1, NUM_CLASSES), 0.25), torch.ones(1, 4, 2, 2))

    for _ in track_video(source(), each(predict), num_frames=4, overlap=1, link_iou=0.3):
        assert len(alive) <= 5


def test_a_video_keeps_nothing_of_slots_that_show_nothing(monkeypatch):
    """One object and two empty slots in every window, of which each gets tracks of its own."""
    alive = weakref.WeakSet()

    class Code(dict):
        __hash__ = object.__hash__

    def encode(runs):
        codes = [Code(code) for code in encode_runs(runs)]
        alive.update(codes)
        return codes

    monkeypatch.setattr("d2video.projects.vistr.video_inference.encode_runs", encode)
    masks = -torch.ones(3, 4, 2, 2)
    masks[1] = 1
    frames = track_video(
        range(400),
        each(lambda frames: ClipPrediction(np.full((4, 3, NUM_CLASSES), 0.25), masks)),
        num_frames=4,
        overlap=1,
        link_iou=0.3,
    )

    def watched():
        for t, frame in enumerate(frames):
            assert len(alive) <= t + 2 * 4 + 4
            yield frame

    answer = collect_video(watched(), (2, 2), 0.001, 0)
    assert answer["pred_ids"] == [1]
    assert len(answer["pred_masks"][0]) == 400
    assert None not in answer["pred_masks"][0]


def test_a_track_born_late_is_absent_before():
    answer = World(num_frames=8).collect(30)
    late = answer["pred_masks"][answer["pred_labels"].index(2)]
    assert len(late) == 30
    assert late[-1] is None


def test_a_frame_without_a_score_has_no_vote():
    """MASK_SCORES makes the probabilities of a slot without a mask 0."""
    track = Track(0, np.zeros(3, np.int64))
    track.add(np.array([[0.1, 0.7, 0.2], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    assert (track.category, track.num_frames) == (1, 3)


def frame_of(device: str) -> TrackedFrame:
    tracks = [Track(i, np.array([0, 3, 0]), 0.5, 1) for i in range(2)]
    logits = torch.ones(2, 4, 4, device=device)
    return TrackedFrame(tracks, np.ones(2, np.float32), logits)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_all_fields_of_a_frame_lie_on_the_device_of_its_masks(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU here")
    instances = frame_instances(frame_of(device), (8, 8), 0.1, 0)
    assert len(instances) == 2
    for name, value in instances.get_fields().items():
        assert value.device.type == device, name
    assert len(instances[instances.scores > 0.4]) == 2  # indexing needs one device


def test_frame_instances_leave_out_hidden_and_unknown_tracks():
    world = World(num_frames=8)
    frames = list(world.track(8))
    early = frame_instances(frames[0], world.size, 0.001, label_offset=0)
    assert early.pred_classes.tolist() == [0]
    both = frame_instances(frames[6], world.size, 0.001, label_offset=0)
    assert sorted(both.pred_classes.tolist()) == [0, 2]
    box = both.pred_boxes.tensor[both.pred_classes == 0][0]
    assert box.tolist() == [6, 0, 12, 3]
    # With an offset, class 0 is none of the data set's.
    assert frame_instances(frames[6], world.size, 0.001, label_offset=1).pred_classes.tolist() == [
        1
    ]
    assert len(frame_instances(frames[6], world.size, 0.9, label_offset=0)) == 0
