"""Data sets with bent labels: check_dataset's verdict is that of training and evaluation.

An input that both find sound is a result, one that both refuse an error; where they differ, an
AssertionError is the fault.
"""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data.datasets import register_coco_instances
from PIL import Image

from d2video.data.datasets.coco_panoptic import register_coco_panoptic
from d2video.data.datasets.coco_tracks import register_coco_tracks
from d2video.data.datasets.crowdhuman import register_crowdhuman
from d2video.data.datasets.mot import register_mot
from d2video.data.datasets.video_classification import register_kinetics, register_video_list
from d2video.data.datasets.ytvis import register_ytvis_instances
from tests.fuzz import targets_json as json_seeds
from tests.fuzz import targets_text as text_seeds
from tests.fuzz.mutators import mutate_bytes
from tests.fuzz.session import MakeInput, target
from tests.helpers import coco_sets, ytvis_content
from tests.helpers.mot_folders import write_sequence
from tests.helpers.verdicts import check_agrees
from tests.video.test_video_reader import write_mp4

NAME = "fuzz_check"


def judged(register: Callable[[], None]) -> Callable[[], None]:
    """What judges a set that has been written, registered under ``NAME``."""

    def read() -> None:
        with json_seeds.scratch_names(NAME):
            register()
            check_agrees(NAME)

    return read


def write_pictures(folder: Path, *names: str) -> None:
    rng = np.random.default_rng(0)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (coco_sets.HEIGHT, coco_sets.WIDTH, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)


@target("check_ytvis", 1000)
def check_ytvis(folder: Path) -> MakeInput:
    path = folder / "a.json"
    frames = range(ytvis_content.LENGTH)
    write_pictures(folder, *(f"{v}/{t:05d}.png" for v in ("first", "second") for t in frames))
    register = lambda: register_ytvis_instances(NAME, {}, str(path), str(folder))  # noqa: E731
    return json_seeds.structures(path, [ytvis_content.content()], judged(register))


@target("check_coco", 1000)
def check_coco(folder: Path) -> MakeInput:
    path = folder / "a.json"
    coco_sets.write_images(folder)
    register = lambda: register_coco_instances(NAME, {}, str(path), str(folder))  # noqa: E731
    return json_seeds.structures(path, [coco_sets.instance_content()], judged(register))


@target("check_picture", 100)
def check_picture(folder: Path) -> MakeInput:
    path, picture = folder / "a.json", folder / "5.jpg"
    coco_sets.write_images(folder)
    path.write_text(json.dumps(coco_sets.instance_content()))
    seed = picture.read_bytes()
    read = judged(lambda: register_coco_instances(NAME, {}, str(path), str(folder)))

    def make_input(rng: random.Random) -> Callable[[], Any]:
        picture.write_bytes(mutate_bytes(rng, seed, header=64))
        return read

    return make_input


@target("check_panoptic", 1000)
def check_panoptic(folder: Path) -> MakeInput:
    path, root = folder / "a.json", str(folder)
    json_seeds.write_panoptic_pictures(folder)
    register = lambda: register_coco_panoptic(NAME, {}, root, root, str(path))  # noqa: E731
    return json_seeds.structures(path, [json_seeds.panoptic_content()], judged(register))


@target("check_coco_tracks", 1000)
def check_coco_tracks(folder: Path) -> MakeInput:
    path = folder / "a.json"
    write_pictures(folder, "5/1.jpg", "5/2.jpg", "5/3.jpg")
    register = lambda: register_coco_tracks(NAME, str(path), str(folder))  # noqa: E731
    return json_seeds.structures(path, [json_seeds.tracks_content()], judged(register))


@target("check_crowdhuman", 500)
def check_crowdhuman(folder: Path) -> MakeInput:
    path = folder / "a.odgt"
    write_pictures(folder, "27,c9d.jpg", "1,a.jpg")
    read = judged(lambda: register_crowdhuman(NAME, str(path), str(folder)))
    return json_seeds.json_lines(path, json_seeds.crowdhuman_content(), read)


def mot_target(path: Path, seed: str, benchmark: str, separators: str = ",") -> MakeInput:
    """Sequences of which one has a file that is bent."""
    root = str(path.parent.parent.parent if path.parent.name == "gt" else path.parent.parent)
    read = judged(lambda: register_mot(NAME, root, benchmark=benchmark, min_visibility=None))
    return text_seeds.texts(path, [seed], read, separators)


@target("check_mot", 1000)
def check_mot(folder: Path) -> MakeInput:
    sequence = write_sequence(folder / "data" / "A", length=3, gt="")
    write_sequence(folder / "data" / "B", length=3, gt=text_seeds.GT)
    return mot_target(sequence / "gt" / "gt.txt", text_seeds.GT, "MOT17")


@target("check_mot15", 500)
def check_mot15(folder: Path) -> MakeInput:
    sequence = write_sequence(folder / "data" / "A", length=3, gt="")
    return mot_target(sequence / "gt" / "gt.txt", text_seeds.GT15, "MOT15")


@target("check_mots", 1000)
def check_mots(folder: Path) -> MakeInput:
    sequence = write_sequence(folder / "data" / "A", length=3, gt="")
    return mot_target(sequence / "gt" / "gt.txt", text_seeds.mots_lines(), "MOTS20", " ")


@target("check_seqinfo", 500)
def check_seqinfo(folder: Path) -> MakeInput:
    sequence = write_sequence(folder / "data" / "A", length=3, gt=text_seeds.GT)
    seed = (sequence / "seqinfo.ini").read_text()
    return mot_target(sequence / "seqinfo.ini", seed, "MOT17", "==]\n")


def write_clips(folder: Path, *names: str) -> None:
    frames = np.broadcast_to(np.arange(6, dtype=np.uint8)[:, None, None, None] * 40, (6, 48, 64, 3))
    folder.mkdir()
    for name in names:
        write_mp4(folder / name, frames)


@target("check_kinetics", 200)
def check_kinetics(folder: Path) -> MakeInput:
    path, videos = folder / "a.csv", folder / "videos"
    write_clips(videos, *(f"abc-_{k}_{k:06d}_{k + 10:06d}.mp4" for k in range(4)))
    read = judged(lambda: register_kinetics(NAME, str(path), str(videos)))
    return text_seeds.texts(path, [text_seeds.KINETICS], read, ",,,\n")


@target("check_video_list", 200)
def check_video_list(folder: Path) -> MakeInput:
    path, videos = folder / "a.txt", folder / "videos"
    write_clips(videos, *(f"clip {k}.mp4" for k in range(4)))
    read = judged(lambda: register_video_list(NAME, str(path), str(videos)))
    return text_seeds.texts(path, [text_seeds.VIDEO_LIST], read, "  /")
