"""Convert any labels that d2video reads to a standard format, for other programs.

Formats: youtube-vis (JSON; tracks with masks), coco (JSON; images, or videos with track ids), mot
(MOTChallenge folders; boxes) and mots (the same folders; masks that do not overlap)::

    d2video import-labels job_12.zip labels.json --format youtube-vis
    d2video import-labels recordings/ tracks.json --format coco --image-root recordings/frames
    d2video import-labels datasets/bdd100k out --format mot --no-images --opts classes '["car"]'

Labels that the format cannot hold are counted by reason. The last line of the output is the config key that
registers the new labels.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from d2video.cli.arguments import command_parser
from d2video.cli.labels import (
    WRITTEN_FORMATS,
    add_labels,
    check_output,
    read_labels,
    register_entry,
    summary,
    tell,
)
from d2video.utils.errors import exit_on_user_error


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser(__doc__, "import-labels")
    add_labels(parser)
    parser.add_argument(
        "output", metavar="OUT", help="JSON file to write; for mot and mots, a new folder"
    )
    parser.add_argument("--format", required=True, choices=WRITTEN_FORMATS, help="format of OUT")
    parser.add_argument(
        "--no-images",
        dest="images",
        action="store_false",
        help="for mot and mots: do not write the frames (else hard links or copies, in img1)",
    )
    return parser.parse_args(argv)


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from detectron2.data import MetadataCatalog

    from d2video.data.export import write_labels

    labels = read_labels(args, needs_images=args.images)
    check_output(args.output, labels, args.labels)
    kind, arguments = write_labels(
        labels.records,
        labels.class_names,
        args.output,
        args.format,
        images=args.images,
        image_root=args.image_root,
        source=args.labels,
        track_advice=MetadataCatalog.get(labels.name).get("track_advice"),
        report=tell,
    )
    print(f"{args.output}: {summary(labels.records)}")
    print(register_entry(Path(args.output).stem, kind, arguments))
