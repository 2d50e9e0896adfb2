"""Records of any dataset in the formats of other programs.

What a format cannot hold is counted (:class:`~d2video.formats.faults.LeftOut`) and reported.
"""

from d2video.data.export.coco import coco_content
from d2video.data.export.files import write_content, write_labels
from d2video.data.export.mot import write_mot
from d2video.data.export.mots import write_mots
from d2video.data.export.parts import part_of, standard_format, write_part
from d2video.data.export.youtube_vis import youtube_vis_content

__all__ = [
    "coco_content",
    "part_of",
    "standard_format",
    "write_content",
    "write_labels",
    "write_mot",
    "write_mots",
    "write_part",
    "youtube_vis_content",
]
