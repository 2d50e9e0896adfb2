"""The page of a training: curves, results, and what the model finds in held-out data."""

import logging
import math
import re
from collections.abc import Mapping
from pathlib import Path

from detectron2.config import CfgNode

from d2video.checkpoint.run_folder import BEST, model_in
from d2video.config.device import check_device
from d2video.data.loading import load_records
from d2video.data.model_records import records_for_testing
from d2video.evaluation.main_metric import MAIN_METRICS
from d2video.fetching import shown
from d2video.inference import DrawingOptions, Predictor
from d2video.report.clips import draw_records
from d2video.report.page import Chart, Media, Section, Table, write_page
from d2video.report.results import Series, read_metrics
from d2video.utils.counted import counted
from d2video.utils.errors import UserError
from d2video.utils.files import data_set_folder

logger = logging.getLogger(__name__)

PAGE = "report.html"
_FINAL = "model_final.pth"
HELD_OUT = "held_out/"
PICTURES = "visualizations"
MOST_FRAMES = 100  # of a clip
_MATCHING = {
    "IoU of matched boxes": "matched_iou",
    "score of matched queries": "matched_score",
    "queries with an object": "queries_matched",
    "objects with another query than a layer before": "matches_changed_by_layer",
    "objects with another query than at the last evaluation": "matches_changed",
}
# Metrics of training steps, in percent.
_IN_PERCENT = ("class_error", "top1_accuracy")


def pictures_folder(output_dir: str | Path, dataset: str) -> Path:
    """Folder of the pictures and clips of a dataset."""
    return data_set_folder(Path(output_dir, PICTURES), dataset)


def picture_path(output_dir: str | Path, dataset: str, number: int) -> Path:
    """Path of the last picture of a dataset's held-out sample."""
    return pictures_folder(output_dir, dataset) / f"{number}.jpg"


def sample_pictures(output_dir: str | Path, dataset: str | None = None) -> list[Media]:
    """The pictures of a dataset's held-out samples, or of all datasets."""
    root = Path(output_dir, PICTURES)
    files = pictures_folder(root.parent, dataset).glob("*.jpg") if dataset else root.rglob("*.jpg")
    return [
        Media(
            f"{path.parent.relative_to(root)}, sample {path.stem}: labels, and what is predicted",
            path,
        )
        for path in sorted(files, key=lambda path: (path.parent, int(path.stem)))
    ]


def write_run_page(cfg: CfgNode) -> Path:
    """Write ``report.html`` into the folder of a training.

    Args:
        cfg: of the training. Its OUTPUT_DIR holds ``metrics.json`` and, for clips, a checkpoint.

    Returns:
        the path of the page, absolute.

    Raises:
        UserError: no metrics were found, or the page cannot be written.
    """
    folder = Path(cfg.OUTPUT_DIR)
    metrics = read_metrics(folder / "metrics.json")
    notes = []
    if not cfg.DATASETS.TEST:
        notes.append("DATASETS.TEST is empty, so nothing was evaluated: the page has curves only.")
    if (folder / BEST).is_file():
        notes.append(f"{BEST} is the best checkpoint of the evaluations, {_FINAL} the last.")
    sections = [
        Section("Results", tables=result_tables(metrics)),
        *(_predictions(cfg, name) for name in cfg.DATASETS.TEST),
        Section("Curves", charts=run_charts(metrics)),
        Section("Settings", tables=[_settings(cfg, metrics)]),
    ]
    return write_page(
        folder / PAGE,
        f"{cfg.MODEL.META_ARCHITECTURE} trained on {', '.join(cfg.DATASETS.TRAIN)}",
        sections,
        notes=notes,
    )


def result_tables(metrics: Mapping[str, Series]) -> list[Table]:
    """Tables of the last evaluation: a row for each metric, and for each class of metrics by class.

    Args:
        metrics: as in metrics.json; results are called "<task>/<metric>", with the dataset in front where
            there are several.
    """
    results: dict[str, dict[str, float]] = {}
    for name, points in metrics.items():
        task, _, metric = name.rpartition("/")
        if task and HELD_OUT not in name:
            results.setdefault(task, {})[metric] = points[-1][1]
    tables = []
    for task, found in results.items():
        plain = {name: value for name, value in found.items() if "-" not in name}
        rows: list[list[str | float | None]] = [[name, value] for name, value in plain.items()]
        tables.append(Table(f"{task}: last evaluation", ["metric", "value"], rows, decimals=2))
        by_class: dict[str, list[tuple[str, float]]] = {}
        for name, value in found.items():
            metric, dash, label = name.partition("-")
            if dash:
                by_class.setdefault(metric, []).append((label, value))
        for metric, values in by_class.items():
            tables.append(
                Table(f"{task}: {metric} by class", ["class", metric], values, decimals=2)
            )
    return tables


def run_charts(metrics: Mapping[str, Series]) -> list[Chart]:
    """Charts of a training: losses of training steps and of held-out samples, main metrics, matches.

    A chart without values is left out.
    """
    losses = {"training": metrics.get("total_loss", [])}
    matching: dict[str, Series] = {}
    main: dict[str, Series] = {}
    held_out_terms: dict[str, Series] = {}
    for name, points in metrics.items():
        prefix, held_out, figure = name.rpartition(HELD_OUT)
        data = f", {prefix[:-1]}" if prefix else ""
        if held_out and figure == "total_loss":
            losses[f"held out{data}"] = points
        if held_out and figure.startswith("loss_"):
            held_out_terms[figure + data] = points
        if held_out:
            matching |= {title + data: points for title, key in _MATCHING.items() if key == figure}
        elif any(f"/{name}".endswith(f"/{task}/{key}") for task, key in MAIN_METRICS.items()):
            main[name] = points
    terms = {name: metrics[name] for name in sorted(metrics) if re.fullmatch(r"loss_.*\D", name)}
    percent = {name: metrics[name] for name in _IN_PERCENT if name in metrics}
    charts = [
        Chart("Loss", losses),
        Chart("Evaluation", main),
        Chart("Terms of the loss in training", terms),
        Chart("Terms of the loss on held-out samples", held_out_terms),
        Chart("Matching of held-out samples (%)", matching),
        Chart("Training samples (%)", percent),
        Chart("Learning rate", {"lr": metrics.get("lr", [])}),
    ]
    return [chart for chart in charts if _has_values(chart)]


def _has_values(chart: Chart) -> bool:
    return any(math.isfinite(value) for points in chart.series.values() for _, value in points)


def _predictions(cfg: CfgNode, name: str) -> Section:
    """Pictures of a dataset's held-out samples, and clips or, without labels, pictures."""
    title, media = f"Predictions on {name}", sample_pictures(cfg.OUTPUT_DIR, name)
    if not cfg.TEST.VISUALIZE.NUM_CLIPS:
        return Section(title, media=media)
    try:
        return Section(title, media=[*media, *_clips(cfg, name, bool(media))])
    except UserError as error:
        return Section(title, notes=[f"No clips: {error}"], media=media)


def _clips(cfg: CfgNode, name: str, has_pictures: bool) -> list[Media]:
    count = cfg.TEST.VISUALIZE.NUM_CLIPS
    records = records_for_testing(cfg, name, load_records(name))
    if not records or ("image_id" in records[0] and has_pictures):
        return []
    check_device(cfg.MODEL.DEVICE)
    cfg = cfg.clone()
    cfg.defrost()
    final = Path(cfg.OUTPUT_DIR) / _FINAL
    cfg.MODEL.WEIGHTS = str(final if final.is_file() else model_in(final.parent))
    return draw_records(
        Predictor(cfg),
        records[:: max(1, len(records) // count)][:count],
        pictures_folder(cfg.OUTPUT_DIR, name),
        DrawingOptions(score_threshold=cfg.TEST.VISUALIZE.SCORE_THRESHOLD),
        most_frames=MOST_FRAMES,
        enlarge=True,
    )


def _settings(cfg: CfgNode, metrics: Mapping[str, Series]) -> Table:
    solver = cfg.SOLVER
    done = max((points[-1][0] for points in metrics.values() if points), default=0)
    rows = [
        ("model", cfg.MODEL.META_ARCHITECTURE),
        ("trained on", ", ".join(cfg.DATASETS.TRAIN)),
        ("evaluated on", ", ".join(cfg.DATASETS.TEST) or "nothing"),
        ("started from", shown(cfg.MODEL.WEIGHTS) or "random weights"),
        ("iterations", f"{done:,} of batches of {counted(solver.IMS_PER_BATCH, 'sample')}"),
        ("optimizer", f"{solver.OPTIMIZER}, learning rate {solver.BASE_LR:g}"),
        ("seed", str(cfg.SEED) if cfg.SEED >= 0 else "drawn"),
        ("folder", cfg.OUTPUT_DIR),
    ]
    return Table("The whole config is in config.yaml", ["setting", "value"], rows)
