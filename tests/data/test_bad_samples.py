"""Bad samples are replaced, counted where the training runs, named once; too many end it."""

import itertools
import logging
from types import SimpleNamespace

import pytest
from detectron2.utils import comm
from detectron2.utils.events import EventStorage

from d2video.config import get_cfg
from d2video.data import build_test_loader, build_train_loader, register_ytvis_instances
from d2video.data.bad_samples import BadSamples, CountingLoader, RetryingDataset
from d2video.engine.hooks.bad_samples import LEAST_SAMPLES, BadSampleHook
from d2video.utils.errors import BrokenFile, UserError
from d2video.utils.random_state import seeded

LOGGER = "d2video.data.bad_samples"


@pytest.fixture
def cfg(ytvis_content, write_json, image_root, scratch_catalog):
    """Training on clips of two videos; the second cannot be read."""
    register_ytvis_instances("tiny", {}, write_json(ytvis_content), str(image_root))
    for path in image_root.glob("second/*.png"):
        path.write_bytes(path.read_bytes()[:60])
    cfg = get_cfg()
    cfg.DATASETS.TRAIN = ("tiny",)
    cfg.INPUT.DATASET_MAPPER = "ClipDatasetMapper"
    cfg.INPUT.FORMAT = "RGB"
    cfg.INPUT.CLIP.NUM_FRAMES = 1
    cfg.INPUT.EPOCH_UNIT = "video"
    cfg.SOLVER.IMS_PER_BATCH = 2
    cfg.SEED = 3
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = False
    cfg.DATALOADER.MAX_RETRIES = 50
    return cfg


def test_clips_are_counted_and_named_with_any_number_of_workers(cfg, caplog):
    found = {}
    for workers in (0, 2):
        cfg.DATALOADER.NUM_WORKERS = workers
        loader = build_train_loader(cfg)
        caplog.clear()
        with caplog.at_level(logging.WARNING, LOGGER):
            batches = list(itertools.islice(loader, 10))
        counts = loader.bad_samples
        assert {sample["video_id"] for batch in batches for sample in batch} == {7}
        assert not any("bad_samples" in sample for batch in batches for sample in batch)
        # Half of the samples are of the bad video, and some of their replacements.
        assert counts.bad >= 10
        assert counts.drawn == 20 + counts.bad
        messages = [record.message for record in caplog.records if record.name == LOGGER]
        assert len(messages) == len(set(messages)) == len(counts.faults)
        assert all("/second/0000" in message for message in messages)
        found[workers] = [s["frame_indices"] for batch in batches for s in batch], counts.faults
    assert found[0] == found[2]


def test_in_evaluation_a_bad_sample_is_an_error(cfg):
    cfg.DATALOADER.NUM_WORKERS = 0
    (sound,), (broken,) = build_test_loader(cfg, "tiny")
    assert len([*sound["image"]]) == 5
    with pytest.raises(BrokenFile, match="cannot read image .*second"):
        list(broken["image"])


def mapper(record):
    if record["bad"]:
        raise BrokenFile(f"{record['index']} is bad")
    return {"index": record["index"]}


def dataset(max_retries, good=5, bad=5):
    records = [{"index": k, "bad": k >= good} for k in range(good + bad)]
    return RetryingDataset(records, mapper, max_retries)


def test_the_replacement_depends_on_the_seed_of_the_sample_alone():
    def replacement(*seed):
        with seeded(*seed):
            return dataset(30)[7]

    assert replacement(1, 4) == replacement(1, 4)
    assert len({replacement(1, k)["index"] for k in range(40)}) == 5
    assert replacement(1, 4)["bad_samples"][0] == "7 is bad"


def test_retries_are_bounded():
    with pytest.raises(BrokenFile, match="7 is bad"):
        dataset(0)[7]
    with pytest.raises(UserError, match=r"4 samples in a row .*MAX_RETRIES.* is bad"):
        dataset(3, good=0)[2]
    with pytest.raises(UserError, match="must not be negative"):
        dataset(-1)


def counts(drawn, faults):
    found = BadSamples()
    found.add(drawn, faults)
    return found


def run_hook(monkeypatch, own, others, max_share=0.05, steps=20, hook=None):
    """A hook's look at the counts of this process and of others; what is in the metrics after it."""
    news = [(c.drawn, c.bad, list(c.faults)) for c in others]
    monkeypatch.setattr(comm, "all_gather", lambda data: [data, *news])
    hook = hook or BadSampleHook(lambda: own, max_share)
    with EventStorage() as storage:
        hook.trainer = SimpleNamespace(iter=steps - 1, max_iter=1000, storage=storage)
        hook.after_step()
        return {key: value for key, (value, _) in storage.latest().items()}, hook


def test_all_processes_are_in_the_metrics_and_named_in_the_log_of_the_main_one(monkeypatch, caplog):
    with caplog.at_level(logging.WARNING, LOGGER):
        own = counts(1000, ["a", "b"])
        metrics, hook = run_hook(monkeypatch, own, [counts(1000, ["c", "b", "c"])])
        run_hook(monkeypatch, own, [], hook=hook, steps=40)
    assert metrics == {"bad_samples": 5, "bad_sample_share": 5 / 2000}
    # Those of the other process were logged there, which is here.
    for fault, times in (("a", 1), ("b", 2), ("c", 2)):
        named = [r for r in caplog.records if r.message.startswith(f"bad sample: {fault}.")]
        assert len(named) == times
    assert run_hook(monkeypatch, own, [], steps=19)[0] == {}


def test_too_many_bad_samples_stop_the_run(monkeypatch):
    limit = int(0.05 * LEAST_SAMPLES)
    few = counts(60, ["x"] * limit)
    run_hook(monkeypatch, few, [])
    few.add(1, ["y"])
    with pytest.raises(UserError, match=rf"{limit + 1} of 61 .*MAX_BAD_SHARE 0.05.*: y$"):
        run_hook(monkeypatch, few, [])
    run_hook(monkeypatch, few, [counts(9 * LEAST_SAMPLES, [])])
    run_hook(monkeypatch, few, [], max_share=1.0)
    with pytest.raises(UserError, match="MAX_BAD_SHARE is 2"):
        BadSampleHook(BadSamples, 2)


def test_counts_go_on_with_a_training_that_goes_on(monkeypatch):
    _, hook = run_hook(monkeypatch, counts(1000, ["a"]), [counts(1000, ["b"])])
    resumed = BadSampleHook(lambda: counts(500, ["a"]), 0.05)
    resumed.load_state_dict(hook.state_dict())
    metrics, _ = run_hook(monkeypatch, None, [], hook=resumed)
    assert metrics == {"bad_samples": 3, "bad_sample_share": 3 / 2500}


def test_a_loader_takes_out_what_it_counts():
    loader = CountingLoader([[{"k": 1}, {"k": 2, "bad_samples": ["a", "b"]}], [{"k": 3}]])
    assert list(loader) == [[{"k": 1}, {"k": 2}], [{"k": 3}]]
    assert (loader.bad_samples.drawn, loader.bad_samples.bad) == (5, 2)
