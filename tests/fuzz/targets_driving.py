"""Labels of benchmarks of tracks, read into records."""

from pathlib import Path

from d2video.data.datasets.label_sets import load_labels
from tests.formats import (
    test_bdd100k,
    test_burst,
    test_cocovid,
    test_kitti,
    test_mots_png,
    test_sa_v,
    test_youtube_vos,
)
from tests.fuzz.session import MakeInput, target
from tests.fuzz.targets_json import structures
from tests.fuzz.targets_text import counted, texts
from tests.helpers.mask_pngs import of_one_class
from tests.helpers.true_labels import true_videos, write_images, write_video


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


@target("burst", 200)
def burst(folder: Path) -> MakeInput:
    path, content = folder / "a.json", test_burst.content()
    content["sequences"] = content["sequences"][1:]
    write_images(true_videos()[1], folder / "HACS" / "clip_a", "frame{:04d}.jpg")
    options = {"format": "burst", "image_root": str(folder)}
    return structures(path, [content], lambda: counted(load_labels(str(path), **options)))


@target("youtube_vos", 100)
def youtube_vos(folder: Path) -> MakeInput:
    path = test_youtube_vos.write(true_videos(crowd=False)[1:], folder) / "meta.json"
    seeds = [test_youtube_vos.meta_of(true_videos(crowd=False)[1:])]
    return structures(path, seeds, lambda: counted(load_labels(str(path), format="youtube_vos")))


@target("sa_v", 100)
def sa_v(folder: Path) -> MakeInput:
    video = of_one_class(true_videos(crowd=False), "object")[1]
    write_video(test_sa_v.with_frames_between(video), folder / "clip_a.mp4")
    path, content = folder / "clip_a_manual.json", test_sa_v.content_of(video)
    seeds = [content, {"masks": content["masklet"], "fps": 6}, content["masklet"]]
    return structures(path, seeds, lambda: counted(load_labels(str(path), format="sa_v")))


@target("mots_text", 100)
def mots_text(folder: Path) -> MakeInput:
    videos = of_one_class(true_videos(), "car")[1:]
    path = test_mots_png.write_kitti(videos, folder, "txt") / "instances_txt" / "0000.txt"
    write_images(videos[0], folder / "images" / "0000", "{:06d}.png")
    seeds = [path.read_text()]
    return texts(path, seeds, lambda: counted(load_labels(str(folder), format="mots_png")), " ")
