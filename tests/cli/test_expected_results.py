"""tools/train_net.py compares what it measured with TEST.EXPECTED_RESULTS."""

import pytest

from d2video.synthetic import ShapesSpec, write_ytvis_shapes
from tests.helpers.fresh_process import run_fresh
from tests.projects.VisTR.tiny import CONFIG, SMALL

pytestmark = pytest.mark.slow


def test_training_and_evaluation_fail_on_other_results_than_expected(tmp_path):
    spec = ShapesSpec(num_frames=(2, 3))
    write_ytvis_shapes(tmp_path / "shapes", {"train": 2, "val": 2}, spec, progress=False)
    fixed = ["MODEL.DEVICE", "cpu", "SOLVER.MAX_ITER", 1, "SOLVER.IMS_PER_BATCH", 1, *SMALL]
    fixed += ["DATALOADER.NUM_WORKERS", 0, "OUTPUT_DIR", tmp_path / "out"]

    def status(expected_ap: float, *arguments: object) -> int:
        results = ["TEST.EXPECTED_RESULTS", f"[['segm', 'AP', {expected_ap}, 30.0]]"]
        words = ("tools/train_net.py", "--config-file", CONFIG, *arguments, *fixed, *results)
        done = run_fresh(*words, environment={"DETECTRON2_DATASETS": str(tmp_path)})
        assert ("Result verification failed" in done.stdout + done.stderr) == (done.returncode != 0)
        return done.returncode

    # One step from random weights leaves the AP near 0.
    assert status(90.0) == 1
    evaluate = ("--eval-only", "MODEL.WEIGHTS", tmp_path / "out" / "model_final.pth")
    assert status(0.0, *evaluate) == 0
    assert status(90.0, *evaluate) == 1
