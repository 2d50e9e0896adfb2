"""Time and memory of the temporal encoder and of transformers' Longformer, by the number of frames."""

import importlib.util
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from d2video.projects.vtn.temporal_encoder import TemporalEncoder

from d2video.utils.files import write_json
from d2video.utils.measuring import Run, apart, environment, peak_memory, spread, timed

LENGTHS = [128, 512, 2048, 8192]
SIZES = {
    "hidden_dim": 768,
    "num_heads": 12,
    "num_layers": 3,
    "dim_feedforward": 3072,
    "window": 18,
    "max_positions": 288,
}


def vtn(sizes: dict[str, Any], num_frames: int, device: torch.device) -> Run:
    """The feature of a video of ``num_frames`` frames."""
    encoder = TemporalEncoder(**sizes).eval().to(device)
    features = torch.randn(1, num_frames, sizes["hidden_dim"], device=device)
    frame_index = torch.arange(num_frames, device=device)[None]
    return lambda: encoder(features, frame_index)


def longformer(sizes: dict[str, Any], num_frames: int, device: torch.device) -> Run:
    """The same from transformers' model."""
    from transformers import LongformerConfig, LongformerModel
    from transformers.utils import logging

    logging.set_verbosity_error()
    width, window, rows = sizes["hidden_dim"], sizes["window"], sizes["max_positions"] - 2
    config = LongformerConfig(
        hidden_size=width,
        num_attention_heads=sizes["num_heads"],
        num_hidden_layers=sizes["num_layers"],
        intermediate_size=sizes["dim_feedforward"],
        attention_window=[window] * sizes["num_layers"],
        max_position_embeddings=sizes["max_positions"],
        vocab_size=2,
        pad_token_id=-1,
        type_vocab_size=2,
        layer_norm_eps=1e-12,
    )
    model = LongformerModel(config, add_pooling_layer=False).eval().to(device)
    missing = -(num_frames + 1) % window
    is_frame = torch.ones(1, num_frames, dtype=torch.int64)
    is_cls = F.pad(0 * is_frame, (1, missing)).index_fill(1, torch.tensor(0), 1)
    positions = torch.arange(num_frames)[None] % rows
    inputs = {
        "inputs_embeds": torch.randn(1, num_frames + 1 + missing, width),
        "attention_mask": F.pad(is_frame, (1, missing)) + is_cls,
        "global_attention_mask": is_cls,
        "token_type_ids": is_cls,
        "position_ids": F.pad(F.pad(positions, (1, 0), value=rows), (0, missing), value=rows + 1),
    }
    inputs = {name: x.to(device) for name, x in inputs.items()}
    return lambda: model(**inputs).last_hidden_state[:, 0]


ENCODERS: dict[str, Callable[..., Run]] = {"VTN": vtn, "Longformer": longformer}


@torch.no_grad()
def times_in_turn(
    names: list[str],
    sizes: dict[str, Any],
    num_frames: int,
    device: torch.device,
    warmup: int,
    repeats: int,
) -> dict[str, dict[str, float]]:
    """Median and spread in seconds of each encoder, all in this process, one after the other.

    ``cpu_s`` is the median of the seconds that this process had a core, all of its threads together:
    on a busy machine the better figure.
    """
    runs = {name: ENCODERS[name](sizes, num_frames, device) for name in names}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for turn in range(warmup + repeats):
        for name, run in runs.items():
            start = time.process_time()
            seconds = timed(run, device)
            if turn >= warmup:
                times[name].append((seconds, time.process_time() - start))
    rows = {}
    for name, pairs in times.items():
        wall, on_core = (list(column) for column in zip(*pairs))
        rows[name] = spread(wall) | {"cpu_s": statistics.median(on_core)}
    return rows


@torch.no_grad()
def memory(
    name: str, sizes: dict[str, Any], num_frames: int, device: torch.device
) -> dict[str, float]:
    """Peak of this process in GB: altogether, and how much a run adds to it."""
    # A first run of a few frames loads what torch loads on demand.
    ENCODERS[name](sizes, sizes["window"], device)()
    run = ENCODERS[name](sizes, num_frames, device)
    before = peak_memory(device)
    run()
    peak = peak_memory(device)
    return {"peak_gb": peak / 1e9, "added_gb": (peak - before) / 1e9}


def growth(shorter: dict[str, float], longer: dict[str, float]) -> dict[str, float]:
    """By what the figures of the longer video exceed those of the shorter one; NaN where the shorter
    one added no memory."""
    return {
        key: longer[key] / shorter[key] if shorter[key] > 0 else math.nan
        for key in ("median_s", "cpu_s", "peak_gb", "added_gb")
    }


def report(warmup: int, repeats: int, path: Path | None) -> None:
    """Measure all lengths, print a table, and write the figures to ``path``."""
    names = list(ENCODERS)
    if importlib.util.find_spec("transformers") is None:
        names.remove("Longformer")
        print("transformers is not installed, Longformer is left out: pip install transformers")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    about = environment(device)
    print(", ".join(f"{key} {value}" for key, value in (about | SIZES).items()))
    print(
        f"{'frames':>6} {'':12}{'median s':>10}{'min':>9}{'max':>9}{'CPU s':>9}{'peak GB':>9}"
        f"{'added GB':>10}"
    )
    results: dict[int, dict[str, dict[str, float]]] = {}
    for length in LENGTHS:
        rows = apart(times_in_turn, names, SIZES, length, device, warmup, repeats)
        for name, row in rows.items():
            row |= apart(memory, name, SIZES, length, device)
            print(
                f"{length:6} {name:12}{row['median_s']:10.4f}{row['min_s']:9.4f}{row['max_s']:9.4f}"
                f"{row['cpu_s']:9.4f}"
                f"{row['peak_gb']:9.2f}{row['added_gb']:10.3f}",
                flush=True,
            )
        results[length] = rows
    before, last = LENGTHS[-2:]
    growths = {name: growth(results[before][name], results[last][name]) for name in names}
    for name, by in growths.items():
        print(
            f"{name}, {last} frames against {before}: time x{by['median_s']:.2f} (CPU "
            f"seconds x{by['cpu_s']:.2f}), peak memory x{by['peak_gb']:.2f}, "
            f"what a run adds to it x{by['added_gb']:.2f}"
        )
    if path:
        content = {
            "command": " ".join(sys.argv),
            "sizes": SIZES,
            "environment": about,
            "results": results,
            "growth": growths,
        }
        write_json(path, content)
