"""The backbone's features of all frames of a dataset's videos, in files."""

import hashlib
import logging
from pathlib import Path
from typing import Any

import torch
from d2video.projects.vtn.feature_files import (
    INDEX,
    file_of,
    read_features,
    read_index,
    write_features,
    write_index,
)
from d2video.projects.vtn.vtn import VTN
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model
from tqdm import tqdm

from d2video.checkpoint import VideoCheckpointer
from d2video.data import build_mapper, build_test_loader
from d2video.utils.errors import BrokenFile, UserError

logger = logging.getLogger("d2video.extract_features")

_BACKBONE = "frame_encoder.backbone."


def extract_features(cfg: CfgNode, dataset: str, folder: Path, dtype: str) -> None:
    """Write the features of a registered dataset's videos; files that are there are kept.

    Args:
        cfg: of a VTN with weights.
        dataset: its name.
        folder: for the files and their index.
        dtype: of the stored numbers, "float16" or "float32".

    Raises:
        UserError: not a VTN, no backbone in its weights, or ``folder`` holds features that were made
            otherwise. Videos that cannot be read are left out with a warning.
    """
    build_test_loader(cfg, dataset)  # raises for a wrong name or a broken dataset
    records = DatasetCatalog.get(dataset)
    model = _build_model(cfg)
    source = {
        "dataset": dataset,
        "made_with": _made_with(cfg, dtype),
        "backbone": model.frame_encoder.fingerprint(),
    }
    _check_source(folder, source)

    mapper = build_mapper(cfg, is_train=False)
    videos, made, broken = [], 0, 0
    for record in tqdm(records, unit="video"):
        file = file_of(record)
        if (folder / file).exists():
            read_features(folder / file)  # a damaged one stops here, not in training
        else:
            try:
                features, index = _extract(model, mapper(record))
            except BrokenFile as error:
                logger.warning("left out: %s", error)
                broken += 1
                continue
            write_features(folder / file, features.to(getattr(torch, dtype)), index)
            made += 1
        video = {"video_id": record["video_id"], "file": file}
        videos.append(video | {"label": record["label"]} if "label" in record else video)
    classes = MetadataCatalog.get(dataset).get("thing_classes", [])
    write_index(folder, videos, list(classes), source)
    print(
        f"features of {len(videos)} videos in {folder}: {made} made, {len(videos) - made} kept; "
        f"{broken} videos left out, which cannot be read"
    )


class _BackboneCheckpointer(VideoCheckpointer):
    """Refuses files without the backbone; the rest of the model is not used."""

    def _check(self, names: set[str], incompatible: Any) -> None:
        super()._check(names, incompatible)
        missing = [name for name in incompatible.missing_keys if name.startswith(_BACKBONE)]
        # A count that only trained batch norms have, and that is not used.
        missing = [name for name in missing if not name.endswith(".num_batches_tracked")]
        if missing:
            raise UserError(
                f"checkpoint {self._path}: {len(missing)} parameters of the backbone are missing "
                f"({', '.join(missing[:4])}): name a checkpoint that holds it in MODEL.WEIGHTS"
            )


def _build_model(cfg: CfgNode) -> VTN:
    if cfg.MODEL.META_ARCHITECTURE != "VTN":
        raise UserError(
            f"MODEL.META_ARCHITECTURE is {cfg.MODEL.META_ARCHITECTURE}: give --config-file of a VTN"
        )
    if not cfg.MODEL.WEIGHTS and not cfg.MODEL.TIMM.PRETRAINED:
        raise UserError("MODEL.WEIGHTS is empty: name a checkpoint that holds the backbone")
    model = build_model(cfg).eval()
    assert isinstance(model, VTN)
    # Weights of timm are a whole backbone already.
    kind = VideoCheckpointer if cfg.MODEL.TIMM.PRETRAINED else _BackboneCheckpointer
    kind(model).load(cfg.MODEL.WEIGHTS)
    return model


def _made_with(cfg: CfgNode, dtype: str) -> str:
    """A fingerprint of what the numbers depend on besides the backbone: sizes, frames. It is written
    before the first file, so that a run that goes on with another's files is noticed."""
    digest = hashlib.sha256(f"{dtype}\n{cfg.INPUT.dump()}".encode())
    digest.update(str((cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD)).encode())
    return digest.hexdigest()


def _check_source(folder: Path, source: dict[str, str]) -> None:
    if not any(folder.glob("*.npz")):
        write_index(folder, [], [], source)
    elif not (folder / INDEX).exists():
        raise UserError(f"{folder} holds files of unknown origin: give another --output")
    elif read_index(folder)["source"] != source:
        raise UserError(
            f"{folder} holds features of another dataset, backbone, size or --dtype: give another "
            "--output, or delete it"
        )


def _extract(model: VTN, item: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (F, C) and frame numbers (F,)."""
    views = item.get("views", [item])
    if len(views) > 1:
        raise UserError(
            f"a video has {len(views)} views, and features are stored of one: set NUM_VIEWS and "
            "NUM_CROPS of INPUT.CLASSIFICATION to 1"
        )
    index = views[0]["frame_index"]
    return model.frame_encoder.encode_video(views[0]["image"], index), index
