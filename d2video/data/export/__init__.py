"""Records of any data set in the formats of other programs.

What a format cannot hold is counted (:class:`~d2video.formats.faults.LeftOut`) and reported.
"""

from d2video.data.export.coco import coco_content
from d2video.data.export.mot import write_mot, write_mots
from d2video.data.export.youtube_vis import youtube_vis_content

__all__ = ["coco_content", "write_mot", "write_mots", "youtube_vis_content"]
