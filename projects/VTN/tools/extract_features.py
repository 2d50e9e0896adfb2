#!/usr/bin/env python3
"""Extract the features of all frames of a data set's videos with VTN's backbone, for training its
temporal encoder alone.

A run that was broken off goes on where it stopped: files that are there are kept. Afterwards the set
"<data set>_features" is there for DATASETS.TRAIN and TEST, if --output is left as it is
($DETECTRON2_DATASETS/vtn_features/<data set>).

Example: projects/VTN/tools/extract_features.py --config-file configs/VTN/vtn_ViT_B_kinetics400.yaml \\
    --dataset kinetics400_train MODEL.WEIGHTS vtn_vit_b.pth
"""

import argparse
import hashlib
import logging
from pathlib import Path
from typing import Any

import torch
from d2video.projects.vtn import VTN
from d2video.projects.vtn.features import (
    INDEX,
    default_folder,
    file_of,
    read_features,
    read_index,
    write_features,
    write_index,
)
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from tqdm import tqdm

from d2video.checkpoint import VideoCheckpointer
from d2video.config import load_cfg
from d2video.data import build_mapper, build_test_loader
from d2video.engine import check_device
from d2video.modeling.build import build_model
from d2video.projects import register_all
from d2video.utils.errors import BrokenFile, UserError, exit_on_user_error

logger = logging.getLogger("d2video.extract_features")

_BACKBONE = "frame_encoder.backbone."
_TYPES = {"float16": torch.float16, "float32": torch.float32}


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    register_all()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, help="of the VTN whose backbone is used")
    parser.add_argument("--dataset", required=True, help="a registered data set of videos")
    parser.add_argument("--output", type=Path, help="folder for the files")
    parser.add_argument("--dtype", choices=_TYPES, default="float32", help="of the stored numbers")
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="config keys to change")
    args = parser.parse_args(argv)

    cfg = load_cfg(args.config_file, args.opts)
    check_device(cfg.MODEL.DEVICE)
    build_test_loader(cfg, args.dataset)  # tells a wrong name or a broken data set
    records = DatasetCatalog.get(args.dataset)
    model = _build_model(cfg)
    folder = args.output or default_folder(args.dataset)
    source = {
        "dataset": args.dataset,
        "made_with": _made_with(cfg, args.dtype),
        "backbone": model.frame_encoder.fingerprint(),
    }
    _check_source(folder, source)

    mapper = build_mapper(cfg, is_train=False)
    videos, made, broken = [], 0, 0
    for record in tqdm(records, unit="video"):
        file = file_of(record)
        if (folder / file).exists():
            read_features(folder / file)  # a damaged one is told now, not in training
        else:
            try:
                features, index = _extract(model, mapper(record))
            except BrokenFile as error:
                logger.warning("left out: %s", error)
                broken += 1
                continue
            write_features(folder / file, features.to(_TYPES[args.dtype]), index)
            made += 1
        video = {"video_id": record["video_id"], "file": file}
        videos.append(video | {"label": record["label"]} if "label" in record else video)
    classes = MetadataCatalog.get(args.dataset).get("thing_classes", [])
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
            f"{folder} holds features of another data set, backbone, size or --dtype: give another "
            "--output, or delete it"
        )


def _extract(model: VTN, item: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (F, C) and frame numbers (F,)."""
    views = item.get("views", [item])
    if len(views) > 1:
        raise UserError(
            f"a video has {len(views)} views, and features are stored of one: set NUM_VIEWS and "
            "NUM_CROPS of INPUT.VIDEO to 1"
        )
    index = views[0]["frame_index"]
    return model.frame_encoder.encode_video(views[0]["image"], index), index


if __name__ == "__main__":
    main()
