"""Configs are found by name, from any folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from d2video.config import files, find_config, load_cfg
from d2video.projects import register_all
from d2video.utils.errors import UserError
from tests.helpers import ROOT

register_all()
VISTR = ROOT / "configs/VisTR/vistr_R50_ytvis2019.yaml"


@pytest.mark.parametrize(
    "name",
    [
        "VisTR/vistr_R50_ytvis2019.yaml",
        "VisTR/vistr_R50_ytvis2019",
        "configs/VisTR/vistr_R50_ytvis2019.yaml",
        "./configs/VisTR/vistr_R50_ytvis2019",
        str(VISTR),
    ],
)
def test_a_name_leads_to_its_file(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Path(find_config(name)) == VISTR
    assert load_cfg(name, []).MODEL.META_ARCHITECTURE == "VisTR"


def test_a_file_that_exists_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "VisTR").mkdir()
    Path("VisTR/vistr_R50_ytvis2019.yaml").write_text("SEED: 7\n")
    assert load_cfg("VisTR/vistr_R50_ytvis2019.yaml", []).SEED == 7
    assert load_cfg("configs/VisTR/vistr_R50_ytvis2019.yaml", []).SEED != 7


def test_a_base_may_be_a_name(tmp_path):
    (tmp_path / "mine.yaml").write_text("_BASE_: VisTR/vistr_R50_ytvis2019.yaml\nSEED: 7\n")
    cfg = load_cfg(str(tmp_path / "mine.yaml"), [])
    assert (cfg.MODEL.META_ARCHITECTURE, cfg.SEED) == ("VisTR", 7)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("DETR/detr_R50_50ep.yaml", "did you mean DETR/detr_R50_500ep.yaml"),
        ("detr/detr_r50_500ep", "did you mean DETR/detr_R50_500ep.yaml"),
        ("vistr_R50_ytvis2019.yaml", "did you mean VisTR/vistr_R50_ytvis2019.yaml"),
        ("VisTR", "no such file, and d2video has none of that name"),
        ("run", "this is a folder: name a config in it"),
        ("run/model_final.pth", "this is a checkpoint: give it as MODEL.WEIGHTS"),
        ("../README.md", "no such file"),
        ("nothing_like_it", "correct the path$"),
    ],
)
def test_an_unknown_name_lists_the_nearest(name, near, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/model_final.pth").touch()
    with pytest.raises(UserError, match=near) as caught:
        find_config(name)
    assert str(caught.value).startswith(f"config {name}: ")


def test_a_project_may_hold_its_configs(tmp_path, monkeypatch):
    folder = tmp_path / "Toy/configs"
    (folder / "small").mkdir(parents=True)
    (folder / "small/toy.yaml").write_text("SEED: 7\n")
    monkeypatch.setattr(files, "CONFIG_FOLDERS", [*files.CONFIG_FOLDERS, ("Toy/", folder)])
    assert find_config("Toy/small/toy") == str(folder / "small/toy.yaml")


def test_folders_of_projects_are_named_by_the_environment(tmp_path):
    (tmp_path / "Toy/configs").mkdir(parents=True)
    (tmp_path / "Toy/configs/toy.yaml").write_text("SEED: 7\n")
    code = "from d2video.utils.project_folders import CONFIG_FOLDERS; print(CONFIG_FOLDERS[-1])"
    environment = {**os.environ, "D2VIDEO_PROJECTS": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.stdout == f"{('Toy/', tmp_path / 'Toy/configs')}\n", done.stderr
