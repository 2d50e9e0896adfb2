"""Convert official checkpoints to d2video's and back, with every key checked.

The format of the input is recognised from its parameter names. If several formats use these names, choose
one with --format. From a checkpoint of a d2video training, only the model is written, ready for release,
without the state that only training needs.

If --output ends in .safetensors, it is written in that format; MODEL.WEIGHTS accepts both. The config, the
metrics and the class names are kept. A file without class names gets the built-in ones of the first dataset
in DATASETS.TRAIN. Give --config-file if the file is not recognised and holds no config.

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
        help="foreign format, such as vistr (a wrong name lists the model's formats); default: recognised "
        "from the parameter names",
    )
    parser.add_argument(
        "--input",
        required=True,
        help="checkpoint, output folder of a training, URL, or name in the model zoo",
    )
    parser.add_argument("--output", required=True, type=new_file, help="file to write")
    parser.add_argument(
        "--reverse", action="store_true", help="convert from d2video to the foreign format"
    )
    parser.add_argument(
        "--widen",
        action="store_true",
        help="enlarge the parameters of a smaller model to the sizes of --config-file",
    )
    parser.add_argument(
        "--base", type=Path, help="d2video checkpoint for parameters that the format does not have"
    )
    args = parser.parse_args(argv)
    if not args.format and args.reverse:
        raise UserError("--reverse needs the foreign --format")
    if args.reverse and (args.widen or args.base):
        raise UserError("--widen and --base only work towards d2video: leave out --reverse")
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

    # With --widen, parts of a parameter are newly initialised, which needs values.
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
    # Formats that use d2video's parameter names can differ only in shapes.
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
    if args.output.suffix == ".safetensors":  # holds only parameters, without a level above them
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
    """Return the converted parameters and the names of those missing in the file.

    Everything beyond a change of name is printed.
    """
    from d2video.checkpoint import adapt_foreign, from_foreign, load_checkpoint_file, state_dict_of

    widen = fmt.widen(cfg) if args.widen and fmt.widen else None
    source, notes = adapt_foreign(source, model, fmt, widen)
    converted, fresh, unused = from_foreign(source, model, fmt)
    print("".join(f"{note}\n" for note in notes), end="")
    not_in_file = fresh
    lines = {"are not used": unused}
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
    for title, names in {"are newly initialised": fresh, **lines}.items():
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
    """Return the class names to write, by row.

    They come from the file that provides the class head, else from the dataset.

    Args:
        model: model built from the config.
        in_file: names of its parameters that come from the input file.
        content: content of the input file.
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
