"""Predict with an exported model, without torch.

The results of an image or a video are written as JSON, in the format of ``d2video predict --results``. A
model that makes images, such as IPT, writes these as well.

Example: python -m d2video.deploy exported street.mp4 --output results.json
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2

from d2video.deploy.answers import DEFAULT_TOPK, Answer
from d2video.deploy.runner import Runner
from d2video.deploy.sources import is_image
from d2video.utils.errors import UserError, exit_on_user_error
from d2video.utils.files import open_text


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m d2video.deploy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", help="folder written by 'd2video export'")
    parser.add_argument("input", help="image, video, or folder of frames")
    parser.add_argument("--output", default="results.json", help="(default: %(default)s)")
    parser.add_argument(
        "--pictures",
        type=Path,
        metavar="FOLDER",
        help="folder for the images of a model that makes images, as PNG",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--threads", type=int, default=0, help="CPU threads (default: the runtime chooses)"
    )
    parser.add_argument(
        "--stop-at-damage",
        action="store_true",
        help="keep the frames before the damage of a video that is cut off or damaged (default: an error)",
    )
    args = parser.parse_args(argv)
    runner = Runner(args.folder, device=args.device, threads=args.threads)
    if is_image(args.input):
        answers = iter([runner.predict(args.input)])
    else:
        answers = runner(args.input, stop_at_damage=args.stop_at_damage)
    write_results(args.output, args.input, with_pictures(answers, args.pictures))
    print(f"written to {' and '.join(map(str, filter(None, [args.output, args.pictures])))}")


def with_pictures(answers: Iterator[Answer], folder: Path | None) -> Iterator[Answer]:
    """The answers, after their pictures have been written.

    Raises:
        UserError: the model makes pictures and no folder is given, or the reverse; or a picture cannot be
            written.
    """
    for answer in answers:
        picture, frame = answer.found.picture(), answer.frame
        if (picture is None) != (folder is None):
            advice = "leave out --pictures" if picture is None else "give --pictures FOLDER"
            makes = "no pictures" if picture is None else "pictures"
            raise UserError(f"this model makes {makes}: {advice}")
        if picture is not None and folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{Path(frame.file_name or f'{frame.index:06d}').stem}.png"
            if not cv2.imwrite(str(path), picture[:, :, ::-1]):
                raise UserError(f"cannot write {path}: check free disk space and permissions")
        yield answer


def write_results(
    path: str, source: str, answers: Iterator[Answer], topk: int = DEFAULT_TOPK
) -> None:
    """Write answers in the form of ``d2video predict --results``, a frame a line.

    Raises:
        UserError: the source cannot be read, or the path not be written.
    """
    first = next(answers)
    name = Path(source).name
    height, width = first.frame.image.shape[:2]
    head: dict[str, Any] = {"images": name}
    if first.frame.file_name is None:
        head = {"video": name, "height": height, "width": width}
    head["categories"] = first.class_names
    count, last = 1, first
    with open_text(path) as put:
        put(json.dumps(head)[:-1] + ',\n"frames": [\n' + json.dumps(first.entries(topk)))
        for last in answers:
            put(",\n" + json.dumps(last.entries(topk)))
            count += 1
        tail = {} if last.frame.file_name is not None else last.found.video_record(topk)
        put(f"\n],\n{json.dumps({'num_frames': count} | tail)[1:]}\n")


if __name__ == "__main__":
    main()
