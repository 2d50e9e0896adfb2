"""Convert official checkpoints to d2video's and back, checked key by key.

The format of the input is recognised by the names of its parameters; --format decides where several
have them. Of d2video's own, of a training run, the model is written without what only the training
needs, to be released. An --output that ends in .safetensors is written in that format; both are loaded
as MODEL.WEIGHTS. The config, the metrics and the names of the classes are kept; to a file without names
the built-in ones of the first data set in DATASETS.TRAIN are added. --config-file is for a file that
holds no config and is not recognised.

Examples:
    d2video convert --input output/model_best.pth --output vistr_r50.safetensors
    d2video convert --config-file VisTR/vistr_R50_ytvis2019 \\
        --input vistr_r50.pth --output vistr_r50_d2video.safetensors
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d2video.cli.arguments import add_config, command_parser, new_file
from d2video.utils.errors import UserError, exit_on_user_error

if TYPE_CHECKING:
    from detectron2.config import CfgNode
    from torch import nn

    from d2video.checkpoint import CheckpointFormat, State


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser(__doc__, "convert")
    add_config(parser, required=False)
    parser.add_argument(
        "--format",
        help="foreign format, such as vistr (a wrong name lists those of the model); left out: "
        "recognised by the names of the parameters",
    )
    parser.add_argument(
        "--input",
        required=True,
        help="checkpoint, folder of a training, address, or name of the zoo",
    )
    parser.add_argument("--output", required=True, type=new_file)
    parser.add_argument("--reverse", action="store_true", help="from d2video to the foreign format")
    parser.add_argument(
        "--widen",
        action="store_true",
        help="enlarge a smaller model's parameters to --config-file's",
    )
    parser.add_argument(
        "--base", type=Path, help="d2video checkpoint that gives what the format does not provide"
    )
    args = parser.parse_args(argv)
    if not args.format and args.reverse:
        raise UserError("--reverse needs the foreign --format")
    if args.reverse and (args.widen or args.base):
        raise UserError("--widen and --base are for the way to d2video: leave out --reverse")
    if args.output.resolve() == Path(args.input).resolve():
        raise UserError(f"--output {args.output} is the input itself: give another file")
    return args


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    import torch
    from detectron2.modeling import build_model

    from d2video.checkpoint import (
        CheckpointFormat,
        about_model,
        checkpoint_format,
        load_checkpoint_file,
        metrics_in,
        state_dict_of,
        to_foreign,
        translated,
        write_checkpoint,
    )
    from d2video.checkpoint.convert import published_class_names
    from d2video.checkpoint.hub_config import hub_class_names
    from d2video.checkpoint.recognition import describe_origin, foreign_file
    from d2video.config.stored import config_text
    from d2video.fetching import fetch, shown
    from d2video.model_zoo import known_weights, model_config
    from d2video.structures import ClassHead

    # Values are needed where something starts anew in the middle of a parameter.
    device = "cpu" if args.widen else "meta"
    cfg = model_config(args.input, args.config_file, [*args.opts, "MODEL.DEVICE", device])
    file = fetch(known_weights(args.input))
    fmt = CheckpointFormat("d2video", name_of=lambda name: name)
    if args.format:
        fmt = checkpoint_format(cfg.MODEL.META_ARCHITECTURE, args.format)
    content = load_checkpoint_file(file)
    source = state_dict_of(content, file)
    torch.manual_seed(max(cfg.SEED, 0))
    built = build_model(cfg)
    model, names, about = built.state_dict(), None, None
    content["model"] = source
    if args.format:
        source, _ = translated(source)
    else:
        try:
            found = foreign_file(content, cfg.MODEL.META_ARCHITECTURE, model)
        except UserError as error:
            raise UserError(f"checkpoint {shown(args.input)}: {error}") from error
        if found is not None:
            source, fmt = found.state, found.format
            print(f"recognised as {found.title}")
    if args.widen and fmt.widen is None:
        raise UserError(f"--widen: models of the format '{fmt.description}' cannot be enlarged")
    # Formats that use this library's names differ from it in shapes at most.
    same_names = all(fmt.name_of(name) == name for name in model)
    given_as = "" if args.reverse or same_names else args.format
    try:
        if args.reverse:
            converted = to_foreign(source, model, fmt)
        else:
            converted, fresh = _to_ours(source, model, fmt, cfg, args)
    except UserError as error:
        origin = describe_origin(content, cfg.MODEL.META_ARCHITECTURE, given_as)
        raise UserError(f"checkpoint {shown(args.input)}: {origin or error}") from error
    if not args.reverse:
        head = ClassHead.of(built)
        content.setdefault(
            "class_names",
            hub_class_names(file, head) or published_class_names(converted, head, fmt),
        )
        names = _class_names(built, model.keys() - fresh, content, cfg, args)
        metrics = metrics_in(content, file)
        about = about_model(cfg.MODEL.META_ARCHITECTURE, config_text(cfg), metrics)
    key = fmt.file_key if args.reverse else "model"
    if args.output.suffix == ".safetensors":  # which holds parameters and nothing over them
        key = ""
    write_checkpoint({key: converted} if key else converted, args.output, names, about)
    print(f"{len(converted)} parameters written to {args.output}")
    if names is not None:
        print(f"names of {sum(map(bool, names))} classes: {', '.join(filter(None, names))}")


def _to_ours(
    source: "State",
    model: "State",
    fmt: "CheckpointFormat",
    cfg: "CfgNode",
    args: argparse.Namespace,
) -> tuple["State", list[str]]:
    """The converted parameters, and the names of those that the file does not have; prints what is more
    than a new name."""
    from d2video.checkpoint import adapt_foreign, from_foreign, load_checkpoint_file, state_dict_of

    widen = fmt.widen(cfg) if args.widen and fmt.widen else None
    source, notes = adapt_foreign(source, model, fmt, widen)
    converted, fresh, unused = from_foreign(source, model, fmt)
    print("".join(f"{note}\n" for note in notes), end="")
    not_in_file = fresh
    lines = {"have no use here": unused}
    if args.base:
        base = state_dict_of(load_checkpoint_file(args.base), args.base)
        taken = [name for name in fresh if name in base]
        misshapen = [name for name in taken if base[name].shape != model[name].shape]
        if misshapen or not taken:
            named = f"{', '.join(misshapen[:4])} of another shape"
            raise UserError(
                f"--base {args.base} has {named if misshapen else 'nothing missing'}: give a "
                "checkpoint of this config's model"
            )
        converted |= {name: base[name] for name in taken}
        lines[f"come from {args.base}"] = taken
        fresh = [name for name in fresh if name not in base]
    for title, names in {"start anew": fresh, **lines}.items():
        if names:
            print(f"{len(names)} parameters {title}: {', '.join(names)}")
    return converted, not_in_file


def _class_names(
    model: "nn.Module",
    in_file: set[str],
    content: dict[str, Any],
    cfg: "CfgNode",
    args: argparse.Namespace,
) -> list[str] | None:
    """The class names to write, by row: of the file that the class head comes from, else of the data.

    Args:
        model: of the config.
        in_file: its parameters that come from the input file.
        content: of the input file.
    """
    from detectron2.data import MetadataCatalog

    from d2video.checkpoint import class_names_in, load_checkpoint_file
    from d2video.structures import ClassHead

    head = ClassHead.of(model)
    if not head.is_among(in_file, model.state_dict()):
        return class_names_in(load_checkpoint_file(args.base), args.base) if args.base else None
    names = class_names_in(content, args.input)
    if names is None and cfg.DATASETS.TRAIN:
        dataset = cfg.DATASETS.TRAIN[0]
        of_data = MetadataCatalog.get(dataset).get("thing_classes")
        if of_data is not None:
            head.check_count(of_data, f"dataset {dataset}")
            names = head.by_row([str(name) for name in of_data])
    return names
