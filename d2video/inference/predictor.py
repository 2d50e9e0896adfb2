"""From videos and images to predictions, frame by frame."""

import copy
import hashlib
import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import build_model
from PIL.Image import Image as PILImage
from torch import Tensor, nn

from d2video.checkpoint import VideoCheckpointer
from d2video.config.files import flatten
from d2video.config.stored import decides_answers
from d2video.data.augmentation import ResizeShortestEdge
from d2video.data.class_names import class_names, known_categories
from d2video.data.frame_sequence import frame_to_tensor
from d2video.inference.push_stream import PushStream
from d2video.inference.side_by_side import SideBySide, SteppingModel
from d2video.inference.sources import Images, Source, open_source
from d2video.inference.tasks.classification import (
    ClassificationTask,
    VideoClasses,
    collect_classes,
)
from d2video.inference.tasks.frame import VideoFrame, check_topk
from d2video.inference.tasks.task import StreamingModel, Task
from d2video.structures import ClassHead, class_names_of
from d2video.utils.errors import UserError
from d2video.video.frame_source import Frame, FrameSource, check_frame
from d2video.video.pictures import Picture, own_name, picture_names, read_picture
from d2video.video.prefetch import prefetch
from d2video.video.video_reader import OnBroken, VideoSource, open_video
from d2video.video.window import Window
from d2video.visualization.options import DEFAULT_TOPK, DrawingOptions, drawing_options

logger = logging.getLogger(__name__)

# Photos are large, and a model is slower than reading them.
_IMAGES_AHEAD = 2
IMAGE_SHOWN = 1000  # milliseconds for which a window shows an image


class Predictor:
    """Run a model on videos and images, in bounded memory.

    :func:`d2video.load` builds it by the name of a model. Here it is built from a config, like
    detectron2's ``DefaultPredictor``, or from plain arguments::

        predictor = Predictor(cfg)
        for frame in predictor("video.mp4"):
            frame.plot(); frame.instances
        predictor.predict("photo.jpg").save("annotated.jpg")
        for image in my_own_loop():  # one at a time, as they come
            frame = predictor.predict_frame(image)
        predictor.classify("video.mp4").names  # by a model that classifies, best first

    A config gives the model and its weights (``MODEL.WEIGHTS``). The class names are the checkpoint's;
    where it has none, those of the first dataset in ``DATASETS.TRAIN`` or ``DATASETS.TEST`` whose names
    are known. Decoding and resizing run ahead in a background thread.
    """

    @configurable
    def __init__(
        self,
        *,
        model: StreamingModel,
        min_size: int,
        max_size: int,
        image_format: str = "RGB",
        class_names: list[str] | None = None,
        categories: list[dict[str, Any]] | None = None,
        keys: Mapping[str, Any] | None = None,
    ):
        """
        Args:
            model: in evaluation mode, on its device, with ``task`` and ``stream_video``.
            min_size: the short side is resized to this many pixels; 0: no resizing.
            max_size: limit of the long side in pixels, which may shrink the short side further; 0:
                none. The test mapper has the same rule.
            image_format: the model's channel order, "RGB" or "BGR".
            class_names: by class index, for pictures and results; "" for a class without a name;
                ``None`` if unknown.
            categories: see :class:`VideoFrame`.
            keys: the config keys by which the model answers, for :meth:`settings`.
        """
        assert image_format in ("RGB", "BGR"), image_format
        self.model = model
        self.task = _task_of(model)
        self.class_names = class_names
        self.categories = categories
        self._keys = dict(keys or {})
        self._resize = ResizeShortestEdge(min_size, max_size)
        self._image_format = image_format
        self._stream: PushStream | None = None  # of predict_frame, since time.monotonic's _start
        self._start = 0.0
        self._together: SideBySide | None = None

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        cfg = cfg.clone()  # models may change theirs
        model = build_model(cfg).eval()
        VideoCheckpointer(model, strict=True).load(cfg.MODEL.WEIGHTS)
        task = _task_of(model)
        datasets = (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST)
        names = class_names_of(model)
        if names is None and task.has_classes:
            names = class_names(*datasets)
        names = ClassHead.of(model).of_all(names or ()) or names
        return {
            "model": model,
            "min_size": cfg.INPUT.MIN_SIZE_TEST if task.resizes else 0,
            "max_size": cfg.INPUT.MAX_SIZE_TEST if task.resizes else 0,
            "image_format": cfg.INPUT.FORMAT,
            "class_names": names,
            "categories": known_categories(names or (), *datasets),
            "keys": {key: value for key, value in flatten(cfg) if decides_answers(key)},
        }

    def settings(self) -> dict[str, Any]:
        """What the answers depend on beside the frames: two predictors with the same settings answer alike.

        Returns:
            the hash of the parameters ("weights"), how images are prepared, and the values of config keys
            by full key.
        """
        digest = hashlib.sha256()
        model, resize = cast(nn.Module, self.model), self._resize
        for name, value in sorted(model.state_dict().items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        return {
            "weights": digest.hexdigest()[:16],
            **self._keys,
            "image size": [*resize.short_edge_lengths, resize.max_size],
            "image format": self._image_format,
        }

    def __call__(
        self,
        source: VideoSource | Source,
        *,
        show: bool = False,
        fps: float | None = None,
        on_broken: OnBroken = "raise",
        **drawing: Any,
    ) -> Generator[VideoFrame, None, None]:
        """Predict on a video, several videos, or images.

        Args:
            source: what :func:`~d2video.inference.open_source` takes, or its result.
            show: show each frame in a window when it comes out; q, Esc or closing the window ends the
                iteration.
            fps: frame rate of a source that states none; see :func:`open_video`.
            on_broken: at damage, "raise" or "stop"; see :func:`open_video`.
            drawing: how frames are shown; see :class:`DrawingOptions`.

        Returns:
            an iterator over all frames in order, of several videos one after another
            (:attr:`Frame.source` names the video). You may stop early. Each frame is yielded as soon as
            the model has answered it. Memory holds the frames read ahead and those not yet answered.

        Raises:
            UserError: the source cannot be read, no window can be opened, or a drawing option is unknown.
                Damage later in a video raises it during iteration.
        """
        options = drawing_options(drawing)
        opened = open_source(
            source, takes_images=self.task.takes_images, fps=fps, on_broken=on_broken
        )
        frames: Generator[Any, None, None]
        if isinstance(opened, FrameSource):
            frames = self._predict(opened)
        elif isinstance(opened, Images):
            frames = self.predict_images(opened.pictures, on_broken)
        else:
            frames = (frame for video in opened.opened() for frame in self._predict(video))
        return self._shown(frames, Window(opened.name), options) if show else frames

    def _shown(
        self, frames: Generator[Any, None, None], window: Window, options: DrawingOptions
    ) -> Generator[Any, None, None]:
        """The frames, each shown before it comes out, until the window is closed."""
        with window, closing(frames):
            for frame in frames:
                is_image = frame.file_name is not None
                if frame.index == 0 or is_image:  # another video
                    draw = self.task.drawer(self.class_names, options)
                goes_on = window.show(draw(frame), IMAGE_SHOWN if is_image else 1)
                yield frame
                if not goes_on:
                    return

    @torch.no_grad()
    def predict(self, image: Picture) -> VideoFrame:
        """Predict on one image of any size.

        Args:
            image: an uint8 array (H,W,3), RGB; anything else that :func:`check_frame` takes (a PIL image, a
                uint8 tensor); or the path or address of an image file.

        Returns:
            the answer; ``file_name`` is the image's, "" if it has none.

        Raises:
            UserError: the image cannot be read, or is something else.
        """
        array = read_picture(image, "predict")
        return self._predict_image(Frame(0, 0.0, array, own_name(image)), self.prepare(array))

    @property
    def videos_at_once(self) -> int:
        """Videos whose iterators, advanced in turns, go through the model in one call: 1, but for
        :meth:`side_by_side`."""
        return 1 if self._together is None else self._together.most

    def side_by_side(self) -> "Predictor":
        """A predictor with the same model, for several videos that are open at once.

        The next frames of all videos go through the model together, where it can (``TEST.VIDEO.BATCH``);
        see :class:`SideBySide`.
        """
        other = copy.copy(self)
        other._stream = None
        if isinstance(self.model, SteppingModel):
            other._together = SideBySide(self.model)
        return other

    # As a decorator of a generator, no_grad is off again while the caller's loop body runs.
    @torch.no_grad()
    def _predict(self, video: FrameSource) -> Generator[Any, None, None]:
        def prepare(frame: Frame) -> tuple[Frame, Tensor]:
            return frame, self.prepare(frame.image)

        with closing(prefetch(map(prepare, video.frames()), video.prefetch)) as prepared:
            frames = _TakenFrames(prepared, one_at_a_time=video.is_live)
            waiting = frames.waiting
            model = self._together or self.model
            for answer in model.stream_video(frames, output_size=video.size):
                assert waiting, "stream_video answered a frame before it took it"
                yield self._answered(waiting.popleft(), answer)
                del answer  # not kept while the next one is worked out
            assert not waiting, f"stream_video left {len(waiting)} frames without an answer"

    @torch.no_grad()
    def predict_frame(self, image: np.ndarray | Tensor | PILImage) -> VideoFrame:
        """Predict on the next frame of a video whose frames come one at a time.

        The state of this video is kept from call to call, until :meth:`reset`; other methods do not
        touch it. If the model raises, the next call begins a new video.

        Args:
            image: uint8 (H,W,3), RGB, or what else :func:`check_frame` takes, of the same size as the
                frame before.

        Returns:
            the answer; its ``time`` is the time in seconds since the first frame.

        Raises:
            UserError: ``image`` has another form, or another size than the frame before; or the
                model answers a frame only after it has seen later ones.
        """
        now = time.monotonic()
        index = self._stream.count if self._stream else 0
        image = check_frame("predict_frame", index, image)
        height, width = image.shape[:2]
        if self._stream is None:
            self._stream, self._start = PushStream(self.model, (height, width)), now
        stream = self._stream
        if (height, width) != stream.output_size:
            before = stream.output_size
            raise UserError(
                f"predict_frame: frame {index} is {width}x{height} pixels, the one "
                f"before {before[1]}x{before[0]}; call reset() before another video"
            )
        try:
            answer = stream.push(self.prepare(image))
        except BaseException:  # the model's iterator is over
            self.reset()
            raise
        return self._answered(Frame(index, now - self._start, image), answer)

    def reset(self) -> None:
        """Let the next :meth:`predict_frame` begin a new video."""
        if self._stream is not None:
            self._stream.close()
        self._stream = None

    def classify(self, source: VideoSource | FrameSource, topk: int = DEFAULT_TOPK) -> VideoClasses:
        """Classify a video: the best classes, and the time line.

        Args:
            source: as for :meth:`__call__`, but not a camera, which has no end.
            topk: number of classes, at least 1.

        Raises:
            UserError: the model does not classify, ``topk`` is below 1, or the source cannot be
                read or has no end.
        """
        check_topk("classify", topk)
        if not isinstance(self.task, ClassificationTask):
            raise UserError(
                f"{type(self.model).__name__} {self.task.does} and does not classify videos; choose a "
                "classifying model, such as VTN, in MODEL.META_ARCHITECTURE"
            )
        if not isinstance(source, FrameSource):
            source = open_video(source)
        if source.is_live:
            raise UserError(
                f"classify: {source.name} has no end; iterate over predictor(...) instead, each frame has "
                "class_scores"
            )
        return collect_classes(self._predict(source), topk, self.class_names)

    @torch.no_grad()
    def predict_images(
        self, pictures: Sequence[Picture], on_broken: OnBroken = "raise"
    ) -> Generator[VideoFrame, None, None]:
        """Predict on images of any size, each as a video of one frame.

        Args:
            pictures: what :func:`read_picture` takes.
            on_broken: at an image that cannot be read, ``"raise"`` an error, or ``"stop"`` with a
                logged warning; the first image always raises it.

        Returns:
            an iterator over the images in order; ``file_name`` is set (to a number for an image without
            one), ``time`` is 0.

        Raises:
            UserError: on reaching an image that cannot be read.
        """

        def prepare() -> Iterator[tuple[Frame, Tensor]]:
            for index, (picture, name) in enumerate(
                zip(pictures, picture_names(pictures), strict=True)
            ):
                try:
                    image = read_picture(picture, index=index)
                except UserError as error:
                    if on_broken == "raise" or index == 0:
                        raise
                    logger.warning(
                        "%s; stopped before image %d of %d", error, index + 1, len(pictures)
                    )
                    return
                yield Frame(index, 0.0, image, name), self.prepare(image)

        with closing(prefetch(prepare(), _IMAGES_AHEAD)) as prepared:
            for frame, tensor in prepared:
                yield self._predict_image(frame, tensor)

    def _predict_image(self, frame: Frame, tensor: Tensor) -> Any:
        height, width = frame.image.shape[:2]
        answer = self.task.answer_image(self.model, tensor, (height, width))
        return self._answered(frame, answer)

    def drawer(self, **options: Any) -> Callable[[VideoFrame], np.ndarray]:
        """Return a function that draws the frames of one video in order.

        Unlike :meth:`VideoFrame.plot`, it also draws the paths of tracks and the curves of scores.

        Args:
            options: see :class:`DrawingOptions`.

        Raises:
            UserError: a drawing option is unknown.
        """
        return self.task.drawer(self.class_names, drawing_options(options))

    def _answered(self, frame: Frame, answer: Any) -> Any:
        found = self.task.read(frame, answer)
        if not isinstance(found, VideoFrame):  # a project's task may do without its methods
            return found
        names, categories = self.class_names, self.categories
        return replace(found, task=self.task, class_names=names, categories=categories)

    def prepare(self, image: np.ndarray) -> Tensor:
        """(H,W,3), RGB, to (3,h,w), resized, in the model's channel order."""
        resized = self._resize.get_transform(image, np.random.default_rng(0)).apply_image(image)
        return frame_to_tensor(resized if self._image_format == "RGB" else resized[..., ::-1])


class _TakenFrames(Iterator[Tensor]):
    """The frames of a video as the model sees them.

    Attributes:
        waiting: frames that the model has taken and not yet answered.
        one_at_a_time: the model must not ask for a frame before the last one is answered: a camera's next
            one is yet to come.
    """

    def __init__(self, prepared: Iterator[tuple[Frame, Tensor]], *, one_at_a_time: bool) -> None:
        self.waiting: deque[Frame] = deque()
        self.one_at_a_time = one_at_a_time
        self._prepared = prepared

    def __next__(self) -> Tensor:
        frame, tensor = next(self._prepared)
        self.waiting.append(frame)
        return tensor


VideoPredictor = Predictor  # the name before d2video.load


def _task_of(model: object) -> Task[Any]:
    if not hasattr(model, "stream_video"):
        raise UserError(
            f"{type(model).__name__} cannot run on video (it has no stream_video); "
            "choose a video model in MODEL.META_ARCHITECTURE"
        )
    task = getattr(model, "task", None)
    assert isinstance(task, Task), f"{type(model).__name__} has stream_video and must name its task"
    return task
