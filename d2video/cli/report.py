"""Rewrite the report page of a training, for example of one that was stopped, or with other config keys.

``d2video train`` writes this page at its end: curves, results and predictions on held-out data. It is one
file, report.html in OUTPUT_DIR::

    d2video report output/vistr TEST.VISUALIZE.NUM_CLIPS 8
"""

from collections.abc import Sequence
from pathlib import Path

from d2video.cli.arguments import add_opts, command_parser
from d2video.utils.errors import UserError, exit_on_user_error


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    parser = command_parser(__doc__, "report")
    parser.add_argument("folder", type=Path, help="OUTPUT_DIR of the training")
    add_opts(parser)
    args = parser.parse_args(argv)
    config = args.folder / "config.yaml"
    if not config.is_file():
        raise UserError(f"{config} does not exist: give the OUTPUT_DIR of a training")

    from d2video.config import load_cfg
    from d2video.report.run import write_run_page

    cfg = load_cfg(str(config), ["OUTPUT_DIR", str(args.folder), *args.opts])
    print(write_run_page(cfg))
