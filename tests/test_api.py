"""The public names of the package, and what importing it costs."""

import importlib
import subprocess
import sys
import typing

import pytest

import d2video
from tests.helpers.fresh_process import run_fresh

HEAVY = ("av", "cv2", "detectron2", "matplotlib", "numpy", "PIL", "scipy", "torch")


def test_importing_costs_nothing():
    code = f"import d2video, sys; dir(d2video); print([m for m in {HEAVY} if m in sys.modules])"
    # An interpreter of its own: the server of fresh processes has all of them.
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("name", d2video.__all__)
def test_every_public_name_is_there(name):
    assert getattr(d2video, name) is not None
    assert name in dir(d2video)


def test_type_checkers_see_the_same_names(monkeypatch):
    """What is imported for them is what is imported on use."""
    lazy = {name: getattr(d2video, name) for name in d2video.__all__}
    monkeypatch.setattr(typing, "TYPE_CHECKING", True)
    source = importlib.util.find_spec("d2video").loader.get_source("d2video")
    seen: dict = {"__name__": "d2video", "__path__": d2video.__path__}
    exec(compile(source, "d2video", "exec"), seen)
    assert {name: seen.get(name) for name in d2video.__all__} == lazy


def test_all_data_set_formats_are_public():
    from d2video.data.datasets.from_config import DATASET_FORMATS

    d2video.get_cfg()  # registers the projects, which may bring formats
    ours = {
        function.__name__
        for function in DATASET_FORMATS.values()
        if function.__module__.startswith("d2video.data.")
    }
    assert ours
    assert ours <= set(d2video.__all__)


def test_a_wrong_name_is_told():
    with pytest.raises(AttributeError, match="module 'd2video' has no attribute 'lod'"):
        _ = d2video.lod
    with pytest.raises(ImportError, match="lod"):
        exec("from d2video import lod")


def test_projects_register_themselves():
    run = run_fresh("-c", "import d2video; print(*d2video.get_cfg().MODEL)", imported=False)
    assert {"DETR", "VISTR", "TRACKFORMER", "VTN", "IPT"} <= {*run.stdout.split()}
