"""From frames to one feature each, a few at a time where a video is long.

Shapes: F: frames, C: width of the features, h×w: a frame.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import torch
from detectron2.modeling import Backbone
from torch import Tensor, nn

from d2video.modeling.pixels import PixelNormalizer, channels_last, rows_at_once
from d2video.utils.transfer import to_device

# Numbers of the largest tensor of a frame, for each of its pixels: 64 channels at half the size in the
# stem of a ResNet; 4 · 768 for 16·16 pixels in a ViT-B are fewer.
_NUMBERS_A_PIXEL = 16


class FrameEncoder(nn.Module):
    """A backbone and the mean over space of the last of its outputs.

    Args:
        backbone: of detectron2; its outputs go from fine to coarse.
        normalize: of its input.
        frozen: the backbone is neither trained nor, in training, put into training mode.
    """

    def __init__(self, backbone: Backbone, normalize: PixelNormalizer, *, frozen: bool = False):
        super().__init__()
        self.backbone = backbone
        self.normalize = normalize
        self.frozen = frozen
        self.feature, shape = list(backbone.output_shape().items())[-1]
        self.width: int = shape.channels
        if frozen:
            backbone.requires_grad_(False).eval()
        self._fingerprint = (-1, "")

    def fingerprint(self) -> str:
        """What tells backbones apart: a digest of all names and numbers of the state.

        It takes a second for a large one, so it is kept until a number changes.
        """
        state = self.state_dict()
        version = sum(value._version for value in state.values())  # grows with changes in place
        if version != self._fingerprint[0]:
            digest = hashlib.sha256()
            for name, value in state.items():
                digest.update(name.encode())
                digest.update(value.cpu().numpy().tobytes())
            self._fingerprint = version, digest.hexdigest()
        return self._fingerprint[1]

    def train(self, mode: bool = True) -> "FrameEncoder":
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def forward(self, frames: Tensor) -> Tensor:
        """(F, 3, h, w), 0 to 255, to (F, C)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return self.backbone(channels_last(self.normalize(frames)))[self.feature].mean((-2, -1))

    @torch.no_grad()
    def encode_video(self, frames: Tensor | Sequence[Tensor], frame_index: Tensor) -> Tensor:
        """The features of a video of any length; of its frames only a few are in memory at a time.

        Args:
            frames: (F, 3, h, w), or F tensors (3, h, w) that may be read when they are asked for.
            frame_index: (F,) int64. A frame like the one before it, with the same number, is not
                computed again.

        Returns:
            (F, C).
        """
        assert len(frames) == len(frame_index) > 0
        rows: list[int] = []  # of each frame, which of the computed ones it is
        chosen = _without_repeats(frames, frame_index.tolist(), rows)
        features = torch.cat([self(torch.stack(chunk)) for chunk in self._chunks(chosen)])
        return features[to_device(torch.tensor(rows), features.device)]

    def _chunks(self, frames: Iterable[Tensor]) -> Iterator[list[Tensor]]:
        frames = iter(frames)
        for first in frames:
            numbers = _NUMBERS_A_PIXEL * first.shape[-2:].numel()
            rows = rows_at_once(numbers, self.normalize.device)
            yield [first, *islice(frames, rows - 1)]


def _without_repeats(
    frames: Iterable[Tensor], numbers: list[int], rows: list[int]
) -> Iterator[Tensor]:
    """The frames that are not the one before them; ``rows`` is filled on the way."""
    last: tuple[int, Tensor] | None = None
    for number, frame in zip(numbers, frames, strict=True):
        if last is not None and number == last[0] and torch.equal(frame, last[1]):
            rows.append(rows[-1])
            continue
        rows.append(rows[-1] + 1 if rows else 0)
        last = number, frame
        yield frame
