"""What the YouTube-VIS evaluator costs as the videos grow in number::

    python -m benchmarks.scale_videos 25 50 100

Generated videos of 30 frames of 360x640 with 20 predictions each, as run-length codes. CPU seconds on one
thread, the median of three rounds that take turns: of taking the answers, and of the AP at the end; and the
memory that the evaluator keeps until then. Exponents as in benchmarks.scale.
"""

import statistics
import time
import tracemalloc
from collections.abc import Sequence

from tabulate import tabulate

from benchmarks.scale import ROUNDS, exponents
from d2video.cli.arguments import command_parser, positive
from d2video.evaluation.benchmark_tracks import SetShape, make_set
from d2video.evaluation.vis.evaluator import YTVISEvaluator
from d2video.evaluation.vis.ground_truth import YTVISGroundTruth


def measure(counts: Sequence[int], shape: SetShape) -> list[dict[str, float]]:
    """A row for each number of videos, of a set of ``shape``."""
    annotations, answers = make_set(shape, seed=0)
    evaluators = [_evaluator(annotations, count) for count in counts]
    times: list[list[tuple[float, float]]] = [[] for _ in counts]
    for _ in range(ROUNDS):
        for evaluator, count, spent in zip(evaluators, counts, times, strict=True):
            start = time.process_time()
            _take(evaluator, answers[:count])
            taken = time.process_time()
            evaluator.evaluate()
            spent.append((taken - start, time.process_time() - taken))
    rows = []
    for evaluator, count, spent in zip(evaluators, counts, times, strict=True):
        evaluator.reset()
        tracemalloc.start()
        _take(evaluator, answers[:count])
        kept = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        taking, scoring = map(statistics.median, zip(*spent, strict=True))
        rows.append({"taking s": taking, "AP s": scoring, "kept MB": kept / 1e6})
    return rows


def _evaluator(annotations: dict, count: int) -> YTVISEvaluator:
    """Of the first videos."""
    chosen = {name: annotations[name] for name in annotations}
    chosen["videos"] = annotations["videos"][:count]
    chosen["annotations"] = [a for a in annotations["annotations"] if a["video_id"] <= count]
    truth = YTVISGroundTruth.from_dict(chosen)
    return YTVISEvaluator(truth, {c: k for k, c in enumerate(truth.categories)}, None)


def _take(evaluator: YTVISEvaluator, answers: Sequence) -> None:
    evaluator.reset()
    for video_id, answer in enumerate(answers, start=1):
        evaluator.process([{"video_id": video_id}], [answer])


def main(argv: Sequence[str] | None = None) -> None:
    parser = command_parser(__doc__)
    parser.add_argument("videos", type=positive, nargs="+")
    counts = parser.parse_args(argv).videos
    rows = measure(counts, SetShape(videos=max(counts), predictions=20))
    for name in list(rows[0]):
        for row, power in zip(rows, exponents(counts, [row[name] for row in rows]), strict=True):
            row[f"^ {name}"] = power
    table = [{"videos": count} | row for count, row in zip(counts, rows, strict=True)]
    print(tabulate(table, "keys", "plain", floatfmt=".3g"))


if __name__ == "__main__":
    main()
