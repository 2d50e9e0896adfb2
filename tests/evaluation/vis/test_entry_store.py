"""Entries of a result file that wait on disk."""

import pickle
import tracemalloc

from d2video.evaluation import YTVISEvaluator
from d2video.evaluation.vis.entry_store import EntryStore
from d2video.evaluation.vis.ground_truth import YTVISGroundTruth


def test_entries_come_back_in_any_order():
    store = EntryStore()
    entries = [[{"score": k, "segmentations": [None, {"counts": b"4"}]}] * k for k in (1, 0, 3)]
    stored = [store.put(each) for each in entries]
    for each, expected in [*zip(stored, entries)][::-1] * 2:
        assert [*each] == expected
    assert pickle.loads(pickle.dumps(stored)) == entries  # for another process


def test_an_evaluator_keeps_little_of_a_video():
    """Of 200 masks, with some 60 bytes of codes and as much again in objects each."""
    count, frames = 20, 10
    videos = [{"id": i, "width": 40, "height": 30, "length": frames} for i in range(1, 22)]
    categories = [{"id": 1, "name": "thing"}]
    truth = YTVISGroundTruth.from_dict(
        {"videos": videos, "categories": categories, "annotations": []}
    )
    evaluator = YTVISEvaluator(truth, {1: 0}, None)

    def answer():
        return {
            "image_size": (30, 40),
            "pred_scores": [0.5] * count,
            "pred_labels": [0] * count,
            "pred_masks": [
                [{"size": [30, 40], "counts": b"T;" + b"1O" * 28} for _ in range(frames)]
                for _ in range(count)
            ],
        }

    evaluator.process([{"video_id": 1}], [answer()])
    tracemalloc.start()
    try:
        for video_id in range(2, 22):
            evaluator.process([{"video_id": video_id}], [answer()])
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 20 * 5_000  # with the entries 40 kB a video
