"""The page that a training ends with."""

import json
import re

import numpy as np
import pytest
from detectron2.data import DatasetCatalog

from d2video.cli.report import main as report
from d2video.cli.train import _write_page
from d2video.config import get_cfg
from d2video.report.page import Table
from d2video.report.results import read_metrics
from d2video.report.run import picture_path, result_tables, run_charts, write_run_page
from d2video.utils.errors import UserError
from d2video.video.image_writer import ImageFileWriter


def write_metrics(folder, *lines):
    folder.mkdir(exist_ok=True)
    (folder / "metrics.json").write_text("".join(json.dumps(line) + "\n" for line in lines))


TRAINING = [
    {"iteration": 19, "total_loss": 3.0, "loss_ce": 1.0, "loss_ce_0": 2.0, "lr": 0.1},
    {"iteration": 39, "total_loss": 2.0, "loss_ce": 0.5, "loss_ce_0": 1.5, "lr": 0.1},
]
EVALUATED = {
    **{"segm/AP": 40.0, "segm/AP50": 60.0, "segm/AP-cat": 30.0, "segm/AP-t-shirt": 50.0},
    **{"held_out/total_loss": 2.5, "held_out/loss_ce": 0.8, "held_out/matched_iou": 70.0},
}


@pytest.fixture
def cfg(tmp_path):
    cfg = get_cfg()
    cfg.OUTPUT_DIR = str(tmp_path / "out")
    cfg.MODEL.META_ARCHITECTURE = "VisTR"
    cfg.DATASETS.TRAIN = ("mine",)
    return cfg


def test_without_evaluation(tmp_path, cfg):
    write_metrics(tmp_path / "out", *TRAINING)
    html = write_run_page(cfg).read_text()
    assert "DATASETS.TEST is empty" in html
    assert re.findall("<h2>(.*?)</h2>", html) == ["Curves", "Settings"]
    assert re.findall("<h3>(.*?)</h3>", html) == [
        *("Loss", "Terms of the loss in training", "Learning rate")
    ]
    assert "loss_ce_0" not in html


def test_without_labels(tmp_path, cfg, scratch_catalog):
    """Pictures of what is predicted, if the model takes the data; otherwise the page says why not."""
    cfg.DATASETS.TEST = ("unlabelled",)
    write_metrics(tmp_path / "out", *TRAINING)

    def no_data():
        raise UserError("unlabelled/1.jpg is missing")

    DatasetCatalog.register("unlabelled", no_data)
    html = write_run_page(cfg).read_text()
    assert "No clips: unlabelled/1.jpg is missing" in html
    cfg.TEST.VISUALIZE.NUM_CLIPS = 0
    assert "Predictions" not in write_run_page(cfg).read_text()


def test_pictures_and_results(tmp_path, cfg):
    cfg.DATASETS.TEST = ("/sets/val",)
    cfg.TEST.VISUALIZE.NUM_CLIPS = 0
    write_metrics(tmp_path / "out", *TRAINING, {"iteration": 40, **EVALUATED})
    for dataset, number in (("/sets/val", 10), ("/sets/val_2", 0), ("/sets/val", 9)):
        with ImageFileWriter(picture_path(cfg.OUTPUT_DIR, dataset, number)) as writer:
            writer.write(np.zeros((8, 8, 3), np.uint8))
    html = write_run_page(cfg).read_text()
    shown = re.findall(r"([^>]+), sample (\d+): labels, and what is predicted</fig", html)
    assert shown == [("sets/val", "9"), ("sets/val", "10")]
    assert html.count("data:image/jpeg;base64,") == 2
    headings = ["Results", "Predictions on /sets/val", "Curves", "Settings"]
    assert re.findall("<h2>(.*?)</h2>", html) == headings


def test_tables_and_charts_of_several_data_sets(tmp_path):
    results = {f"{name}/{key}": value for name in ("a", "b") for key, value in EVALUATED.items()}
    write_metrics(tmp_path / "out", *TRAINING, {"iteration": 40, **results})
    metrics = read_metrics(tmp_path / "out" / "metrics.json")
    first, by_class, *others = result_tables(metrics)
    assert first == Table(
        "a/segm: last evaluation", ["metric", "value"], [["AP", 40.0], ["AP50", 60.0]], 2
    )
    assert by_class.rows == [("cat", 30.0), ("t-shirt", 50.0)]
    assert by_class.caption == "a/segm: AP by class"
    assert [table.caption for table in others] == [
        *("b/segm: last evaluation", "b/segm: AP by class")
    ]
    charts = {chart.title: chart.series for chart in run_charts(metrics)}
    assert list(charts["Loss"]) == ["training", "held out, a", "held out, b"]
    assert charts["Loss"]["held out, b"] == [(40, 2.5)]
    assert list(charts["Evaluation"]) == ["a/segm/AP", "b/segm/AP"]
    assert list(charts["Terms of the loss in training"]) == ["loss_ce"]
    assert list(charts["Terms of the loss on held-out samples"]) == [*("loss_ce, a", "loss_ce, b")]
    assert list(charts["Matching of held-out samples (%)"]) == [
        *("IoU of matched boxes, a", "IoU of matched boxes, b")
    ]


def test_a_page_that_cannot_be_written_is_told(tmp_path, cfg, caplog):
    _write_page(cfg)
    assert "The report page of this training cannot be written" in caplog.text
    assert "metrics.json does not exist" in caplog.text


def test_the_page_of_a_stopped_training(tmp_path, cfg, capsys):
    write_metrics(tmp_path / "out", *TRAINING)
    with pytest.raises(SystemExit):
        report([str(tmp_path / "out")])
    assert "config.yaml does not exist: give the OUTPUT_DIR" in capsys.readouterr().err
    (tmp_path / "out" / "config.yaml").write_text(cfg.dump())
    (tmp_path / "out").rename(tmp_path / "moved")
    report([str(tmp_path / "moved"), "SEED", "5"])
    page = tmp_path / "moved" / "report.html"
    assert capsys.readouterr().out == f"{page}\n"
    assert "<td>5</td>" in page.read_text()
