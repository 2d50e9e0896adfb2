"""KITTI's, BDD100K's and CocoVID's labels, read into records."""

from pathlib import Path

from d2video.data.datasets.label_sets import load_labels
from tests.formats import test_bdd100k, test_cocovid, test_kitti
from tests.fuzz.session import MakeInput, target
from tests.fuzz.targets_json import structures
from tests.fuzz.targets_text import counted, texts
from tests.helpers.true_labels import true_videos


@target("kitti", 700)
def kitti(folder: Path) -> MakeInput:
    root = test_kitti.write(folder, true_videos()[1:])
    path = root / "label_02" / "clip_a.txt"
    seeds = [path.read_text()]
    return texts(path, seeds, lambda: counted(load_labels(str(path), format="kitti")), " ")


@target("bdd100k", 700)
def bdd100k(folder: Path) -> MakeInput:
    path = test_bdd100k.write(folder, "box_track_20") / "clip_a.json"
    video = test_bdd100k.videos()[1]
    # Few labels: the mutators take long over many.
    seeds = [[*test_bdd100k.frames_of(video, masks=masks)[-2:]] for masks in (False, True)]
    seeds.append({"frames": [{**each, "index": 3, "frameIndex": None} for each in seeds[0][:1]]})
    return structures(path, seeds, lambda: counted(load_labels(str(path), format="bdd100k")))


@target("cocovid", 700)
def cocovid(folder: Path) -> MakeInput:
    path = folder / "a.json"
    content = test_cocovid.content_of(true_videos()[1:])
    options = {"format": "cocovid", "image_root": str(folder)}
    return structures(path, [content], lambda: counted(load_labels(str(path), **options)))
