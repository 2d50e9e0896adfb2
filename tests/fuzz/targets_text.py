"""Lines of text: the MOTChallenge's files, csv, lists."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from d2video.data.datasets.mot import load_mot
from d2video.data.datasets.mot_split import read_sequences
from d2video.data.datasets.video_classification import load_kinetics, load_video_list
from d2video.evaluation.mot.ground_truth import MOTGroundTruth
from d2video.formats.mot_ground_truth import read_mot_detections
from d2video.formats.mot_results import read_mots_results
from d2video.formats.mot_rules import object_rule
from tests.fuzz.mutators import mutate_text
from tests.fuzz.session import MakeInput, target
from tests.helpers.mot_folders import write_sequence
from tests.helpers.ytvis_content import compressed_rle, rectangle_mask

RULE = object_rule("MOT17", min_visibility=None)
GT = "\n".join(f"{t},{i},{3 * i},{t},8,9.5,1,1,0.{t}" for t in (1, 2, 3) for i in (1, 2))
GT15 = "\n".join(f"{t},{i},{3 * i},{t},8,9.5,1,-1,-1,-1" for t in (1, 2, 3) for i in (1, 2))
DET = "\n".join(f"{t},-1,{5 * i},{t},8,9.5,0.{t}" for t in (1, 2, 3) for i in (1, 2))
MOT_RESULTS = "\n".join(
    f"{t},{i},{5 * i},{t},8,9.5,0.5,-1,-1,-1" for t in (1, 2, 3) for i in (1, 2)
)
KINETICS = "label,youtube_id,time_start,time_end,split\n" + "\n".join(
    f"riding {k},abc-_{k},{k},{k + 10},train" for k in range(4)
)

VIDEO_LIST = "\n".join(f"clip {k}.mp4 {k}" for k in range(4))


def mots_lines() -> str:
    codes = [compressed_rle(rectangle_mask(1 + 12 * i, 2, 8, 6))["counts"] for i in (0, 1)]
    return "\n".join(f"{t} {2000 + i} 2 24 32 {codes[i]}" for t in (1, 2) for i in (0, 1))


def texts(
    path: Path, seeds: list[str], read: Callable[[], Any], separators: str = ","
) -> MakeInput:
    """Inputs that are one text file."""

    def make_input(rng: random.Random) -> Callable[[], Any]:
        path.write_bytes(mutate_text(rng, rng.choice(seeds), separators))
        return read

    return make_input


def counted(records: list[dict[str, Any]]) -> int:
    """Looks at every annotation."""
    return sum(len(frame) for r in records for frame in r.get("annotations", ()))


@target("mot_gt", 2500)
def mot_gt(folder: Path) -> MakeInput:
    sequence = write_sequence(folder / "data" / "A", length=3, gt="")

    def read() -> None:
        split = read_sequences(str(folder / "data"))
        for rule in (
            object_rule("MOT17", min_visibility=0.1),
            object_rule("MOT17", classes=[1, 3]),
        ):
            counted(load_mot(split, rule, "fuzz"))
            MOTGroundTruth.read("fuzz", rule, split)

    return texts(sequence / "gt" / "gt.txt", [GT, GT15], read)


@target("mot_det", 1500)
def mot_det(folder: Path) -> MakeInput:
    sequence = write_sequence(folder / "data" / "A", length=3, gt=GT, det="")

    def read() -> None:
        load_mot(read_sequences(str(folder / "data")), RULE, "fuzz", public_detections=True)
        read_mot_detections(str(sequence / "det" / "det.txt"), range(1, 4))

    return texts(sequence / "det" / "det.txt", [DET], read)


@target("seqinfo", 1500)
def seqinfo(folder: Path) -> MakeInput:
    sequence = write_sequence(folder / "data" / "A", length=3, gt=GT)
    seed = (sequence / "seqinfo.ini").read_text()

    def read() -> None:
        split = read_sequences(str(folder / "data"), frame_range=(0.0, 0.5))
        counted(load_mot(split, RULE, "fuzz"))

    return texts(sequence / "seqinfo.ini", [seed], read, "==]\n")


@target("mots_gt", 1500)
def mots_gt(folder: Path) -> MakeInput:
    sequence = write_sequence(folder / "data" / "A", length=3, gt="")

    def read() -> None:
        split = read_sequences(str(folder / "data"))
        counted(load_mot(split, object_rule("MOTS20"), "fuzz"))

    return texts(sequence / "gt" / "gt.txt", [mots_lines()], read, " ")


@target("mot_results", 1500)
def mot_results(folder: Path) -> MakeInput:
    write_sequence(folder / "data" / "A", length=3, gt=GT)
    truth = MOTGroundTruth.read("fuzz", RULE, read_sequences(str(folder / "data")))
    (folder / "results").mkdir()

    def read() -> None:
        truth.compare("A", truth.read_results(folder / "results")["A"])

    return texts(folder / "results" / "A.txt", [MOT_RESULTS], read)


@target("mots_results", 1000)
def mots_results(folder: Path) -> MakeInput:
    path = folder / "A.txt"

    def read() -> None:
        read_mots_results(path, range(1, 4), (24, 32))
        read_mots_results(path, range(1, 4))

    return texts(path, [mots_lines()], read, " ")


@target("kinetics", 1500)
def kinetics(folder: Path) -> MakeInput:
    path, videos = folder / "a.csv", folder / "videos"
    videos.mkdir()
    for k in range(4):
        (videos / f"abc-_{k}_{k:06d}_{k + 10:06d}.mp4").touch()
    return texts(path, [KINETICS], lambda: load_kinetics(str(path), str(videos)), ",,,\n")


@target("video_list", 1000)
def video_list(folder: Path) -> MakeInput:
    path, videos = folder / "a.txt", folder / "videos"
    videos.mkdir()
    for k in range(4):
        (videos / f"clip {k}.mp4").touch()

    def read() -> None:
        load_video_list(str(path), str(videos), on_missing="skip")

    return texts(path, [VIDEO_LIST], read, "  /")
