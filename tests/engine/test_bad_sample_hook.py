"""A training in two processes with workers, on data of which one file is broken."""

import pytest

from d2video.synthetic import write_restoration_images
from tests.helpers.two_processes import metrics, train


@pytest.mark.slow
@pytest.mark.parametrize("max_share", [1.0, 0.0])
def test_two_processes(tmp_path, max_share):
    write_restoration_images(tmp_path / "shapes_images", {"train": 4}, progress=False)
    broken = sorted((tmp_path / "shapes_images/train").iterdir())[1]
    broken.write_bytes(broken.read_bytes()[:50])
    done = train(
        tmp_path,
        SEED=1,
        DATALOADER__NUM_WORKERS=2,
        DATALOADER__MAX_BAD_SHARE=max_share,
    )
    log = (tmp_path / "out/log.txt").read_text()
    assert log.count(f"bad sample: cannot read image {broken}") == 1
    if max_share == 0:
        assert done.returncode == 1
        assert "samples cannot be read, more than DATALOADER.MAX_BAD_SHARE 0 allows" in done.stderr
        return
    assert done.returncode == 0, done.stderr[-2000:]
    counted = [line["bad_samples"] for line in metrics(tmp_path) if "bad_samples" in line]
    # Of 50 samples a quarter are bad, and a quarter of their replacements.
    assert 5 <= counted[-1] <= 40
    assert counted == sorted(counted)
