"""Arguments and functions for commands that read labels, given as a dataset's name or the labels' path."""

import argparse
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from d2video.cli.arguments import is_config_key
from d2video.utils.errors import UserError

if TYPE_CHECKING:
    from d2video.data.records import Record
    from d2video.formats.faults import Finding

# The formats of d2video.data.export.write_labels, and those of them that are folders.
WRITTEN_FORMATS = ("youtube-vis", "coco", "mot", "mots")
FOLDER_FORMATS = ("mot", "mots")


def add_labels(parser: argparse.ArgumentParser) -> None:
    """Add the labels to read, in the form of :func:`read_labels`."""
    parser.add_argument(
        "labels",
        metavar="IN",
        help="labels as written by a tool or a benchmark (file, folder, zip), or the name of a registered "
        "dataset",
    )
    add_format(parser)
    parser.add_argument(
        "--opts",
        nargs="*",
        default=[],
        metavar="KEY VALUE",
        help="options of the format of IN, such as classes '[\"car\"]', and config keys, such as "
        "DATASETS.REGISTER",
    )


def add_format(parser: argparse.ArgumentParser) -> None:
    """Add ``--input-format`` and ``--image-root``, which say how to read labels."""
    parser.add_argument(
        "--input-format",
        metavar="NAME",
        help="format of the labels (default: recognised)",
    )
    parser.add_argument(
        "--image-root",
        metavar="FOLDER",
        help="folder of the labels' frames or images (default: found automatically)",
    )


class Labels(NamedTuple):
    """A dataset that was read: its name in the catalog, its records, and its classes by category id."""

    name: str
    records: "list[Record]"
    class_names: list[str]


def read_labels(args: argparse.Namespace, *, needs_images: bool = True) -> Labels:
    """Read the labels of :func:`add_labels`; print what is doubtful or left out.

    Args:
        args: arguments of :func:`add_labels`.
        needs_images: see :func:`~d2video.data.datasets.by_path.register_path`.

    Raises:
        UserError: for the first fault of the labels.
    """
    from detectron2.data import MetadataCatalog

    from d2video.data.loading import load_records
    from d2video.data.records import frames_of
    from d2video.formats.faults import Doubt
    from d2video.video.frame_names import file_of_frame

    name = data_set(
        args.labels,
        args.opts,
        format=args.input_format,
        image_root=args.image_root,
        needs_images=needs_images,
    )
    records = load_records(name, tell)
    frame = next(frames_of(*records))
    if not os.path.isfile(file_of_frame(frame)):
        text = f"its images do not exist ({frame}): give their folder as image_root"
        if needs_images:
            raise UserError(f"{args.labels}: {text}")
        tell(Doubt(args.labels, text))
    return Labels(name, records, [*MetadataCatalog.get(name).get("thing_classes", ())])


def data_set(source: str, words: Sequence[str], **given: Any) -> str:
    """Register a dataset, if necessary, and return its name.

    Args:
        source: name of the dataset, or path of its labels.
        words: KEY VALUE or KEY=VALUE, config keys and options of the format.
        given: further arguments of :func:`~d2video.data.datasets.by_path.register_path`.

    Raises:
        UserError: if there is neither a dataset of this name nor labels at this path, or if they do not
            accept the options.
    """
    from d2video.config import load_cfg
    from d2video.config.files import override_pairs
    from d2video.data.datasets.by_path import is_path, register_path
    from d2video.data.loading import check_registered

    pairs = override_pairs(words)
    config = [item for key, value in pairs.items() if is_config_key(key) for item in (key, value)]
    options = {key: value for key, value in pairs.items() if not is_config_key(key)}
    load_cfg("", config)  # registers datasets
    if is_path(source):
        return register_path(source, **given, **options)
    check_registered(source)
    asked = [*(key for key in ("format", "image_root") if given.get(key)), *options]
    if asked:
        raise UserError(
            f"{source} is a registered dataset, which defines its {asked[0]}: leave it out"
        )
    return source


def tell(finding: "Finding") -> None:
    """Print a finding that is a doubt or about labels left out.

    Raises:
        UserError: if the finding is a fault.
    """
    from d2video.formats.faults import Fault, LeftOut

    if isinstance(finding, Fault):
        raise UserError(str(finding))
    print(f"{'left out' if isinstance(finding, LeftOut) else 'doubt'}: {finding}", flush=True)


def summary(records: "Sequence[Record]") -> str:
    """Return the number of videos or images, and of the objects labelled in them."""
    from d2video.data.records import is_labelled, object_classes
    from d2video.utils.counted import counted

    of_videos = "length" in records[0]
    text = counted(len(records), "video" if of_videos else "image")
    if not any(map(is_labelled, records)):
        return f"{text} without labels"
    classes = [k for record in records for k in object_classes(record)]
    objects, kinds = counted(len(classes), "track" if of_videos else "object"), len({*classes})
    return f"{text}, {objects} of {kinds} {'class' if kinds == 1 else 'classes'}"


def check_output(path: str, labels: Labels, source: str) -> None:
    """Check that an output is not part of the input.

    Raises:
        UserError: if the path is a file or folder of the input, or inside such a folder.
    """
    from detectron2.data import MetadataCatalog

    metadata = MetadataCatalog.get(labels.name)
    inputs = [source, *filter(None, (metadata.get(key) for key in ("json_file", "labels_root")))]
    target = os.path.realpath(path)
    for each in map(os.path.realpath, inputs):
        if target == each or target.startswith(each + os.sep):
            raise UserError(f"{path} is part of the input: choose another output")


def register_entry(name: str, kind: str, arguments: Mapping[str, Any]) -> str:
    """Return the config key and value that register a dataset, for a command line."""
    entry = ", ".join(map(_literal, (name, kind, arguments)))
    return f"DATASETS.REGISTER {shlex.quote(f'[[{entry}]]')}"


def _literal(value: Any) -> str:
    """Return JSON, except that keys may be numbers, which JSON does not have."""
    if isinstance(value, Mapping):
        fields = (f"{_literal(key)}: {_literal(each)}" for key, each in value.items())
        return "{" + ", ".join(fields) + "}"
    return json.dumps(value, ensure_ascii=False)
