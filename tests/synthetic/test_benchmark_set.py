"""What a training sample costs, on generated data in place of a config's own."""

import pytest

from d2video.config.loading import load_cfg
from d2video.data.benchmark import loader_figures, workers_needed
from d2video.synthetic.benchmark_set import with_stand_in
from d2video.utils.errors import UserError


@pytest.mark.parametrize(
    ("config", "sample_mb", "reads_images"),
    [
        # Pixels, and masks of 4 to 6 objects, a byte each.
        ("VisTR/vistr_tiny_shapes", 2 * 48 * 64 * (3 + 6) / 1e6, True),
        ("DETR/detr_tiny_shapes", 48 * 64 * 3 / 1e6, True),
        ("DETR/detr_panoptic_tiny_shapes", 48 * 64 * (3 + 9) / 1e6, True),
        ("TrackFormer/trackformer_tiny_shapes", 2 * 48 * 64 * 3 / 1e6, True),
        ("VTN/vtn_tiny_motion", 9 * 32 * 32 * 3 / 1e6, False),
        ("IPT/ipt_tiny_images", None, True),
    ],
)
def test_every_mapper_has_data_to_be_timed_on(
    config, sample_mb, reads_images, tmp_path, scratch_catalog
):
    cfg = load_cfg(config, [])
    size = (96, 128) if sample_mb is None else (48, 64)
    timed = with_stand_in(cfg, tmp_path / "set", size)
    assert cfg.DATASETS.TRAIN != timed.DATASETS.TRAIN
    figures = loader_figures(timed, num_samples=2)
    assert figures["cpu_s"] > 0
    assert figures["samples_per_s"] > 0
    assert ("read_s" in figures) == reads_images
    if reads_images:
        assert figures["read_s"] < figures["cpu_s"]
    if sample_mb is not None:
        assert 0.5 * sample_mb < figures["sample_mb"] < 1.5 * sample_mb


def test_a_mapper_of_your_own_needs_data_of_your_own(tmp_path):
    cfg = load_cfg("VisTR/vistr_tiny_shapes", [])
    cfg.defrost()
    cfg.INPUT.DATASET_MAPPER = "MyMapper"
    with pytest.raises(UserError, match=r"MyMapper has no generated data: set DATASETS\.TRAIN"):
        with_stand_in(cfg, tmp_path, (48, 64))


def test_workers_keep_up_with_a_training_step():
    assert workers_needed(cpu_s=0.6, samples=1, step_s=0.5) == 2
    assert workers_needed(cpu_s=0.6, samples=2, step_s=0.3) == 4
    assert workers_needed(cpu_s=0.001, samples=1, step_s=0.5) == 1
