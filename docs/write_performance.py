"""Measure every system with ``d2video benchmark`` and write the tables of docs/performance/speed.md.

``python docs/write_performance.py`` writes the tables from docs/performance.json; with ``--measure`` it first
runs the commands that are not in that file: remove the file to measure all, which takes about ten minutes on
two cores that have nothing else to do.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tabulate import tabulate

DOCS = Path(__file__).parent
START, END = "<!-- tables: written by write_performance.py -->", "<!-- end of the tables -->"

IPT_X2 = "IPT/ipt_finetune_sr_x2 --size 48 48 --video-size 96 96 MODEL.IPT.TASK sr_x2"
# What is measured; arguments of `d2video benchmark`.
COMMANDS = [
    "VisTR/vistr_R50_ytvis2019 --size 300 540 INPUT.CLIP.NUM_FRAMES 12",
    "VisTR/vistr_R50_ytvis2019 --size 300 540 INPUT.CLIP.NUM_FRAMES 12 TEST.PRECISION bfloat16",
    "TrackFormer/trackformer_mot17_private --size 384 672",
    "TrackFormer/trackformer_mot17_private --size 384 672 TEST.PRECISION bfloat16",
    "DETR/detr_R50_500ep --size 800 1066 --video-size 800 1066",
    "DETR/detr_panoptic_R50 --size 800 1066 --video-size 800 1066",
    "VTN/vtn_ViT_B_kinetics400 --size 224 224",
    IPT_X2,
    "--task training VisTR/vistr_R50_ytvis2019 --video-size 360 640 INPUT.CLIP.NUM_FRAMES 8",
    "--task training VisTR/vistr_R50_ytvis2019 --video-size 360 640 INPUT.CLIP.NUM_FRAMES 8 "
    "MODEL.ACTIVATION_CHECKPOINT True",
    "--task training VisTR/vistr_R50_ytvis2019 --video-size 360 640 INPUT.CLIP.NUM_FRAMES 8 "
    "SOLVER.AMP.ENABLED True SOLVER.AMP.DTYPE bfloat16",
    "--task training DETR/detr_R50_500ep --video-size 480 640",
    "--task training TrackFormer/trackformer_mot17_private --video-size 540 960",
    "--task loader VisTR/vistr_R50_ytvis2019 --video-size 720 1280",
    "--task loader DETR/detr_panoptic_R50 --video-size 480 640",
    "--task loader TrackFormer/trackformer_mot17_private --video-size 1080 1920",
    "--task evaluator --video-size 360 640",
]
DEVICE = "MODEL.DEVICE cpu"
LEFT_OUT = {"min_s", "max_s", "matmul_gflops"}  # they are in the file


def measure(path: Path) -> None:
    """Run what the file lacks, and write it after each command."""
    contents = json.loads(path.read_text()) if path.exists() else []
    for command in COMMANDS:
        words = ["d2video", "benchmark", *command.split()]
        words += [] if "evaluator" in words else DEVICE.split()
        if any(content["command"] == " ".join(words) for content in contents):
            continue
        print(*words, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            figures = Path(folder, "figures.json")
            program = [sys.executable, "-m", *words, "--json", str(figures)]
            subprocess.run(program, check=True)
            content = json.loads(figures.read_text())
        # Without the path of the file.
        contents.append(content | {"command": " ".join(words)})
        path.write_text(json.dumps(contents, indent=1) + "\n")


def tables(contents: list[dict]) -> str:
    """A table for each task, and the commands; all of one machine."""
    order = [" ".join(["d2video benchmark", command]) for command in COMMANDS]
    contents = sorted(
        contents, key=lambda each: order.index(each["command"].removesuffix(f" {DEVICE}"))
    )
    (about,) = {json.dumps(content["environment"]) for content in contents}
    lines = [", ".join(f"{key} {value}" for key, value in json.loads(about).items()) + "."]
    for task in dict.fromkeys(content["task"] for content in contents):
        rows = []
        for content in contents:
            if content["task"] == task:
                name = content["command"].removeprefix("d2video benchmark ")
                name = name.removeprefix(f"--task {task} ").removesuffix(DEVICE).strip()
                for row, figures in content["results"].items():
                    shown = {key: n for key, n in figures.items() if key not in LEFT_OUT}
                    rows.append({"`d2video benchmark`": f"`{name}`", "": row, **shown})
        table = tabulate(rows, "keys", "github", floatfmt=".3g", missingval="")
        lines += [f"## {task.capitalize()}", table]
    return "\n\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", action="store_true", help="run the commands first")
    measured = DOCS / "performance.json"
    if parser.parse_args().measure:
        measure(measured)
    page = DOCS / "performance" / "speed.md"
    before, _, after = page.read_text().partition(START)
    _, _, after = after.partition(END)
    written = tables(json.loads(measured.read_text()))
    page.write_text(f"{before}{START}\n\n{written}\n\n{END}{after}")


if __name__ == "__main__":
    main()
