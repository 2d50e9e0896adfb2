"""One picture for each frame that a predictor answered, whatever its model predicts."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from d2video.inference.streaming import VideoFrame
from d2video.structures.class_scores import DEFAULT_TOPK
from d2video.visualization.class_bars import ScoreHistory, add_class_panel
from d2video.visualization.instances import draw_instances
from d2video.visualization.panoptic import draw_panoptic
from d2video.visualization.trails import TrailHistory

DEFAULT_TRAIL_LENGTH = 30


class FrameDrawer:
    """Draws the frames of one video in order, or images: panoptic maps, or else instances, and,
    of a model that classifies, a panel of the best classes under the picture. Of a model that restores
    images, the restored one."""

    def __init__(
        self,
        class_names: Sequence[str] | None = None,
        *,
        score_threshold: float = 0.5,
        draw_boxes: bool = False,
        trail_length: int | None = None,
        scale: int = 1,
        topk: int = DEFAULT_TOPK,
        side_by_side: bool = False,
    ) -> None:
        """
        Args:
            class_names: by class index; ``None`` shows the index.
            score_threshold: instances with a lower score are left out.
            draw_boxes: draw the boxes of instances that have masks too.
            trail_length: each track's way through this many frames is drawn, 0 for none; ``None``:
                :data:`DEFAULT_TRAIL_LENGTH` for instances without masks, none for those with.
            scale: whole number to enlarge everything by.
            topk: number of classes in the panel, at least 1.
            side_by_side: left of a restored image, show the input, enlarged by a bicubic to its size.
        """
        self._class_names = class_names
        self._score_threshold = score_threshold
        self._draw_boxes = draw_boxes
        self._scale = scale
        self._only_boxes = trail_length is None
        length = DEFAULT_TRAIL_LENGTH if trail_length is None else trail_length
        self._trails = TrailHistory(length) if length else None
        self._topk = topk
        self._side_by_side = side_by_side
        self._scores = ScoreHistory()

    def __call__(self, frame: VideoFrame) -> np.ndarray:
        """The picture, uint8 (scale·H, scale·W, 3), RGB; higher where there are class scores; of a
        restored image its own size times ``scale``, twice as wide ``side_by_side``.

        Raises:
            UserError: a class has no name.
        """
        if frame.restored is not None:
            return self._show_restored(frame.image, frame.restored)
        picture = self._draw_objects(frame)
        if frame.class_scores is None:
            return picture
        is_video = frame.file_name is None
        if is_video:
            self._scores.add(frame.time, frame.class_scores)
        return add_class_panel(
            picture,
            frame.class_scores,
            self._class_names,
            topk=self._topk,
            history=self._scores if is_video else None,
        )

    def _show_restored(self, image: np.ndarray, restored: np.ndarray) -> np.ndarray:
        shown = restored
        if self._side_by_side:
            height, width = restored.shape[:2]
            enlarged = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
            shown = np.concatenate([np.asarray(enlarged), restored], axis=1)
        return shown.repeat(self._scale, 0).repeat(self._scale, 1)

    def _draw_objects(self, frame: VideoFrame) -> np.ndarray:
        if frame.panoptic_seg is not None:
            return draw_panoptic(
                frame.image, frame.panoptic_seg, self._class_names, scale=self._scale
            )
        shown = frame.instances
        if shown.has("scores"):
            shown = shown[shown.scores >= self._score_threshold]
        if self._trails is not None:
            self._trails.add(shown)
        has_trails = not (self._only_boxes and shown.has("pred_masks"))
        return draw_instances(
            frame.image,
            shown,
            self._class_names,
            draw_boxes=self._draw_boxes,
            scale=self._scale,
            trails=self._trails if has_trails else None,
        )
