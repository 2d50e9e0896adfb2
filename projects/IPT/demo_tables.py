"""Figures of image restoration on the page of `make demo`, by task and method."""

import json
import re
from pathlib import Path

from d2video.utils.errors import UserError
from demo.report import Table

_MODEL = "IPT"
# As RestorationEvaluator names its results, with the data set in front where there are several.
_KEY = re.compile(r"(?:.+/)?restoration/(?:([a-z]+)-)?(PSNR-Y|PSNR-RGB|SSIM)-(\w+)")
_TITLES = {"input": "degraded input", "bilateral": "bilateral filter, best of several settings"}

# {task: {method: {measure: value}}}
Results = dict[str, dict[str, dict[str, float]]]


def read_restoration(metrics_file: Path) -> Results:
    """What the last evaluation of a training found, the baselines first.

    Raises:
        UserError: there was none.
    """
    lines = metrics_file.read_text(encoding="utf-8").splitlines() if metrics_file.is_file() else []
    results: Results = {}
    for line in lines:
        for key, value in json.loads(line).items():
            if match := _KEY.fullmatch(key):
                method, name, task = match.groups()
                results.setdefault(task, {}).setdefault(method or _MODEL, {})[name] = value
    if not results:
        raise UserError(
            f"{metrics_file} holds no results: delete {metrics_file.parent} and run again"
        )
    return {
        task: dict(sorted(methods.items(), key=lambda item: item[0] == _MODEL))
        for task, methods in results.items()
    }


def gain(methods: dict[str, dict[str, float]]) -> float:
    """PSNR-Y of the model less that of the best baseline, dB."""
    best = max(values["PSNR-Y"] for method, values in methods.items() if method != _MODEL)
    return methods[_MODEL]["PSNR-Y"] - best


def restoration_tables(results: Results, title: str) -> list[Table]:
    """One table: a row for each task and method."""
    rows: list[list[str | float | None]] = []
    for task, methods in results.items():
        for method, values in methods.items():
            shown = [values["PSNR-Y"], values["PSNR-RGB"], 100 * values["SSIM"]]
            more = gain(methods) if method == _MODEL else None
            rows.append([task, _TITLES.get(method, method), *shown, more])
    header = ("task", "method", "PSNR-Y (dB)", "PSNR-RGB (dB)", "SSIM (%)", "gain in PSNR-Y (dB)")
    return [Table(title, header, rows, decimals=2)]


def restoration_figures(results: Results) -> dict[str, float]:
    """PSNR-Y and gain of each task, by what they are called."""
    figures = {}
    for task, methods in results.items():
        figures[f"{task} PSNR-Y"] = methods[_MODEL]["PSNR-Y"]
        figures[f"{task} gain"] = gain(methods)
    return figures
