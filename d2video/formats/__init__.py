"""Files on disk: read, checked and written; no tensors."""

from d2video.formats.coco import read_coco_instances
from d2video.formats.coco_panoptic import PanopticFile
from d2video.formats.coco_tracks import COCOTracksFile
from d2video.formats.faults import Fault, Report, refuse
from d2video.formats.mot_results import (
    MOTResults,
    open_mot_results,
    open_mots_results,
    read_mot_results,
    read_mots_results,
)
from d2video.formats.mot_rows import (
    MOTRows,
    MOTSRows,
    read_mot_detections,
    read_mot_ground_truth,
    read_mots_ground_truth,
)
from d2video.formats.mot_sequence import MOTSequence, read_seqinfo
from d2video.formats.rle import encode_masks, encode_tracks, to_rle
from d2video.formats.ytvis import YTVISFile

__all__ = [
    "COCOTracksFile",
    "Fault",
    "MOTResults",
    "MOTRows",
    "MOTSRows",
    "MOTSequence",
    "PanopticFile",
    "Report",
    "YTVISFile",
    "encode_masks",
    "encode_tracks",
    "open_mot_results",
    "open_mots_results",
    "read_coco_instances",
    "read_mot_detections",
    "read_mot_ground_truth",
    "read_mot_results",
    "read_mots_ground_truth",
    "read_mots_results",
    "read_seqinfo",
    "refuse",
    "to_rle",
]
