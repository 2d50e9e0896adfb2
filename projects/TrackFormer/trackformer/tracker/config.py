"""Config keys of the tracker."""

from detectron2.config import CfgNode as CN


def add_tracker_config(node: CN) -> None:
    """Add the tracker's keys to ``cfg.MODEL.TRACKFORMER``; the defaults are the official ones."""
    # Classes that are tracked: queries of another class count as "nothing there". Empty: all.
    node.TRACKED_CLASSES = [0]
    # Boxes may reach beyond the image, in training as in the answers. False: cut at the border.
    node.OVERFLOW_BOXES = False

    node.TRACKER = CN()
    # A detection starts a track if its score is higher …
    node.TRACKER.DETECTION_SCORE_THRESH = 0.4
    # … and a track goes on if its query's score is higher.
    node.TRACKER.TRACK_SCORE_THRESH = 0.4
    # Non-maximum suppression among the tracks, and then of new tracks by known ones: greatest IoU.
    # 0: none.
    node.TRACKER.TRACK_NMS_THRESH = 0.9
    node.TRACKER.DETECTION_NMS_THRESH = 0.9
    # Frames in a row without sight of a track until it becomes inactive. Before that it is answered
    # where it was last seen.
    node.TRACKER.STEPS_TERMINATION = 1
    # Frames for which an inactive track is looked for. 0 or less: none (the official "reid" setting,
    # with which the published results were made, has 5).
    node.TRACKER.INACTIVE_PATIENCE = -1
    # An inactive track comes back if its query's score is higher. 1: never.
    node.TRACKER.REID_SCORE_THRESH = 0.4
    # It also comes back where a detection's embedding is at most this far from its own (Euclidean
    # distance). At 0 that never happens.
    node.TRACKER.REID_SIMILARITY_THRESH = 0.0
    # Every track is inactive between two frames; with REID_SCORE_THRESH 1 similarity alone decides.
    node.TRACKER.REID_SIMILARITY_ONLY = False
    # Look for a detection nearby in place of a similar one.
    node.TRACKER.REID_GREEDY = False
    # Start tracks only at detections given with the sequence (MOT's public detections). Which of
    # the model's own they support: "min_iou_0_5", "center_distance"; "": no such condition.
    node.TRACKER.PUBLIC_DETECTIONS = ""
    # Defects of the official tracker, off by default (see Tracker).
    node.TRACKER.OFFICIAL = False
