#!/usr/bin/env python3
"""Convert official checkpoints to d2video's and back, checked key by key.

Example: tools/convert_checkpoint.py --config-file configs/VisTR/vistr_R50_ytvis2019.yaml \\
    --format vistr --input vistr_r50.pth --output vistr_r50_d2video.pth
"""

import argparse
from pathlib import Path

import torch
from detectron2.modeling import build_model

from d2video.checkpoint import (
    CONVERTER_REGISTRY,
    from_foreign,
    load_checkpoint_file,
    state_dict_of,
    to_foreign,
)
from d2video.engine import load_cfg
from d2video.projects import register_all
from d2video.utils.errors import exit_on_user_error
from d2video.utils.files import replace_on_success


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    register_all()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, help="of the d2video model")
    parser.add_argument(
        "--format", required=True, help="foreign format: " + ", ".join(CONVERTER_REGISTRY.names())
    )
    parser.add_argument("--input", required=True, type=Path)
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--reverse", action="store_true", help="from d2video to the foreign format")
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="config keys to change")
    args = parser.parse_args(argv)

    cfg = load_cfg(args.config_file, [*args.opts, "MODEL.DEVICE", "meta"])
    fmt = CONVERTER_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE, args.format)
    source = state_dict_of(load_checkpoint_file(args.input), args.input)
    model = build_model(cfg).state_dict()
    if args.reverse:
        converted = to_foreign(source, model, fmt)
    else:
        converted, fresh, unused = from_foreign(source, model, fmt)
        for title, names in (("start anew", fresh), ("have no use here", unused)):
            if names:
                print(f"{len(names)} parameters {title}: {', '.join(names)}")
    with replace_on_success(args.output) as partial:
        torch.save({"model": converted}, partial)
    print(f"{len(converted)} parameters written to {args.output}")


if __name__ == "__main__":
    main()
