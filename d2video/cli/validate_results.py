"""Check a YouTube-VIS result file before it goes to an evaluation server.

Names the first fault with its place (entry, field, frame) and exits with status 1; prints what the
file holds if it is sound::

    d2video validate-results output/results.json datasets/ytvis_2019/valid.json
"""

from collections.abc import Sequence

from d2video.cli.arguments import command_parser
from d2video.utils.errors import exit_on_user_error


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    parser = command_parser(__doc__, "validate-results")
    parser.add_argument("results", help="results.json, or the server's zip file")
    parser.add_argument("annotations", help="annotation file of the split, labels not needed")
    args = parser.parse_args(argv)

    from d2video.evaluation.vis.ground_truth import YTVISGroundTruth
    from d2video.evaluation.vis.results import check_results, read_results

    ground_truth = YTVISGroundTruth.from_json(args.annotations)
    results = read_results(args.results)
    check_results(results, ground_truth, source=args.results)
    answered = len({entry["video_id"] for entry in results})
    print(
        f"{args.results} is sound: {len(results)} tracks in {answered} of "
        f"{len(ground_truth.videos)} videos"
    )
