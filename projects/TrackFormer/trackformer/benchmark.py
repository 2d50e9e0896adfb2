"""What ``d2video benchmark`` measures of a TrackFormer: the steps of its tracker."""

from functools import partial

import numpy as np
from d2video.projects.trackformer.tracker.frame_output import Candidates
from d2video.projects.trackformer.tracker.tracker import Tracker
from d2video.projects.trackformer.tracker.tracks import Tracks
from detectron2.config import CfgNode
from torch import nn

from d2video.inference.benchmark import BENCHMARK_REGISTRY, Row, Setting
from d2video.utils.measuring import Run


def tracking_step(cfg: CfgNode, model: nn.Module, setting: Setting, num_tracks: int) -> Run:
    """One frame of a video to its answer, while ``num_tracks`` tracks live; none ends or starts."""
    stream = model.new_stream(setting.video_size)  # type: ignore[operator]
    stream.tracker = Tracker(
        detection_score_thresh=1.0,
        track_score_thresh=0.0,
        detection_nms_thresh=0.0,
        track_nms_thresh=0.0,
        tracked_classes=None,
    )
    random = np.random.default_rng(0)
    corner = random.random((num_tracks, 2), np.float32) * 300
    candidates = Candidates(
        np.ones(num_tracks, np.float32),
        np.zeros(num_tracks, np.int64),
        np.concatenate([corner, corner + 50], axis=1),
        random.standard_normal((num_tracks, cfg.MODEL.TRACKFORMER.HIDDEN_DIM), np.float32),
    )
    stream.tracker.active = Tracks.start(candidates, np.arange(num_tracks), 0)
    frames = setting.frames(2)
    stream.step(frames[0])  # now there is a previous frame

    def step() -> None:
        assert len(stream.step(frames[1])) == num_tracks

    return step


def step_rows(cfg: CfgNode) -> dict[str, Row]:
    """The rows, by name."""
    return {
        f"step with {n} tracks": Row(partial(tracking_step, num_tracks=n), 1)
        for n in (0, 20, 60, 100)
    }


BENCHMARK_REGISTRY["TrackFormer"] = step_rows
