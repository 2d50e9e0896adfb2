"""What the pages' commands find: a folder of generated videos, labels and a trained model; small models in
place of the configs', and their checkpoints in place of published weights.
"""

import shutil
import sys
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from d2video.utils.errors import UserError
from tests.helpers.cvat_jobs import write_job
from tests.helpers.nothing_shown import NOTHING_SHOWN
from tests.helpers.true_labels import write_video

# Of every training, whatever a page says.
SHORT = [
    *("MODEL.DEVICE", "cpu", "SEED", 1, "SOLVER.STEPS", [], "SOLVER.WARMUP_ITERS", 0),
    *("SOLVER.MAX_EPOCHS", 0, "SOLVER.EPOCH_STEPS", [], "SOLVER.MAX_ITER", 1),
    *("SOLVER.IMS_PER_BATCH", 1, "DATALOADER.NUM_WORKERS", 0),
    *NOTHING_SHOWN,
]


def build(folder: Path) -> None:
    """Write the world into a folder, which is the working directory."""
    from d2video.cli import main

    stand_in(folder / "weights")
    for number in (1, 2):
        video = write_job(folder / "exports", number)
    for name in ("street.mp4", "new.mp4", "clips/one.mp4", "clips/two.mp4"):
        Path(name).parent.mkdir(exist_ok=True)
        write_video(video, folder / name)
    Path("videos.txt").write_text("clips/one.mp4\nclips/two.mp4\n")
    main(["extract-frames", "street.mp4", "frames"])
    Path("photos").mkdir()
    for number, picture in enumerate(sorted(Path("frames").rglob("*.jpg"))[:2]):
        shutil.copy(picture, f"photos/{number}.jpg")
    shutil.copy("photos/0.jpg", "photo.jpg")
    outputs = ["--train-output", "train.json", "--held-out", "held.json"]
    main(["split", "exports", *outputs, "--fraction", "0.5"])
    data = ["DATASETS.TRAIN", '("train.json",)', "DATASETS.TEST", '("held.json",)']
    main(["train", "VisTR/vistr_tiny_shapes", *data, "OUTPUT_DIR", "output/mine"])
    shutil.copy("output/mine/model_final.pth", "output/model_final.pth")


@cache
def small_keys() -> dict[str, dict[str, Any]]:
    """By meta-architecture, the keys that make a model of a shipped config small."""
    from tests.projects.DETR import tiny as detr
    from tests.projects.IPT import tiny as ipt
    from tests.projects.TrackFormer import tiny as trackformer
    from tests.projects.VisTR import tiny as vistr
    from tests.projects.VTN import tiny as vtn

    def pairs(options: Sequence[Any]) -> dict[str, Any]:
        kept = dict(zip(options[::2], options[1::2]))
        return {key: value for key, value in kept.items() if not key.startswith("DATASETS.")}

    return {
        "VisTR": pairs(vistr.SMALL),
        "DETR": pairs(detr.SMALL),
        "TrackFormer": pairs([*trackformer.SMALL, *trackformer.DEFORMABLE]),
        "DeformableDETR": pairs([*trackformer.SMALL, *trackformer.DEFORMABLE]),
        "VTN": pairs([*vtn.SMALL, *vtn.VIT]),
        "IPT": pairs(ipt.SIZES),
    }


def stand_in(weights: Path) -> None:
    """Replace configs and downloads in this process, for good.

    Args:
        weights: a folder for the checkpoints of small models.
    """
    from iopath.common.file_io import PathManager

    from d2video.config import loading
    from d2video.fetching import local_files

    read = loading.read_config
    loading.read_config = partial(_read_small, read)
    load = loading.load_cfg

    def load_short(config_file: str, overrides: Sequence[Any]) -> Any:
        cfg = load(config_file, overrides)  # with all checks of what the page says
        for key, value in zip(SHORT[::2], SHORT[1::2], strict=True):
            loading.set_value(cfg, key, value, "short trainings")
        return cfg

    for module in [*sys.modules.values()]:
        if getattr(module, "load_cfg", None) is load:
            module.load_cfg = load_short  # type: ignore[attr-defined]
    get_local_path = PathManager.get_local_path
    PathManager.get_local_path = lambda self, path, *args, **options: (
        _published(path, weights) or get_local_path(self, path, *args, **options)
    )
    fetch_member = local_files._fetch_member
    local_files._fetch_member = lambda text, archive, member: Path(
        _published(text, weights) or fetch_member(text, archive, member)
    )


def _read_small(read: Callable[[str], dict[str, Any]], path: str) -> dict[str, Any]:
    """A shipped config's values with small sizes, and without an address of weights."""
    values = read(path)
    if "/configs/" not in str(Path(path).resolve()):
        return values
    small = small_keys()[values["MODEL.META_ARCHITECTURE"]]
    return values | small | {"MODEL.WEIGHTS": ""}


def _published(address: str, weights: Path) -> str:
    """The checkpoint of a small model for an address in the zoo; "" for a path.

    Raises:
        UserError: an address that is in no table.
    """
    from detectron2.modeling import build_model

    from d2video.checkpoint import VideoCheckpointer
    from d2video.config import load_cfg
    from d2video.config.stored import config_text
    from d2video.fetching.addresses import parse
    from d2video.model_zoo.entries import ENTRIES

    if "://" not in address and "!/" not in address:
        return ""
    for number, entry in enumerate(ENTRIES):
        same = any(address == each or parse(address) == parse(each) for each in entry.addresses)
        if same and entry.config:
            path = weights / f"{number}.pth"
            if not path.is_file():
                cfg = load_cfg(entry.config, list(entry.opts))
                weights.mkdir(exist_ok=True)
                saver = VideoCheckpointer(build_model(cfg), str(weights), config=config_text(cfg))
                saver.save(str(number))
            return str(path)
    raise UserError(f"{address}: no address of the model zoo, and pages run without a network")
