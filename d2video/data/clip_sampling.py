"""Strategies that choose the frames of a training clip.

A sampler is called as ``sampler(length, key_frame, rng)`` and returns ``num_frames`` frame indices
of 0..length-1, the key frame among them; ``sampler.reach(length, key_frame)`` are all that it may
choose. A video with fewer frames than the clip is repeated cyclically, the official VisTR rule: the clip
is then made of the consecutive frames modulo the length that end at the key frame.
"""

import numpy as np
from detectron2.config import CfgNode, configurable
from fvcore.common.registry import Registry

from d2video.utils.errors import UserError
from d2video.utils.registry import lookup

CLIP_SAMPLER_REGISTRY = Registry("CLIP_SAMPLER")
CLIP_SAMPLER_REGISTRY.__doc__ = "Clip samplers by name, chosen by INPUT.CLIP.SAMPLER."


@CLIP_SAMPLER_REGISTRY.register()
class WindowSampler:
    """Consecutive frames that end at the key frame, modulo the length of the video.

    The official VisTR choice: near its beginning the window wraps to the end of the video.
    """

    @configurable
    def __init__(self, *, num_frames: int):
        assert num_frames > 0
        self.num_frames = num_frames

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        return {"num_frames": cfg.INPUT.CLIP.NUM_FRAMES}

    def __call__(self, length: int, key_frame: int, rng: np.random.Generator) -> list[int]:
        assert 0 <= key_frame < length
        return self.reach(length, key_frame).tolist()

    def reach(self, length: int, key_frame: int) -> np.ndarray:
        """The frames that may be chosen; here those that are."""
        return (key_frame + np.arange(1 - self.num_frames, 1)) % length


@CLIP_SAMPLER_REGISTRY.register()
class RandomRangeSampler(WindowSampler):
    """The key frame and others drawn around it without replacement.

    The range is moved inwards at the ends of the video, so that frames there are drawn from as many
    neighbours as others, and widened where it holds fewer frames than the clip.
    """

    @configurable
    def __init__(self, *, num_frames: int, frame_range: int):
        """
        Args:
            num_frames: frames in a clip.
            frame_range: greatest distance from the key frame, in frames, away from the ends.
        """
        super().__init__(num_frames=num_frames)
        assert frame_range >= 0
        self.frame_range = frame_range

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        clip = cfg.INPUT.CLIP
        return {"num_frames": clip.NUM_FRAMES, "frame_range": clip.RANGE}

    def __call__(self, length: int, key_frame: int, rng: np.random.Generator) -> list[int]:
        assert 0 <= key_frame < length
        reach = self.reach(length, key_frame)
        if length < self.num_frames:
            return reach.tolist()
        others = reach[reach != key_frame]
        drawn = rng.choice(others, self.num_frames - 1, replace=False)
        return np.sort(np.append(drawn, key_frame)).tolist()

    def reach(self, length: int, key_frame: int) -> np.ndarray:
        """The frames that may be chosen."""
        if length < self.num_frames:
            return super().reach(length, key_frame)
        span = min(max(2 * self.frame_range + 1, self.num_frames), length)
        first = min(max(key_frame - span // 2, 0), length - span)
        return np.arange(first, first + span)


def build_clip_sampler(cfg: CfgNode):
    """The sampler that INPUT.CLIP.SAMPLER names, built from the config.

    Raises:
        UserError: no sampler has that name, or its numbers are out of range.
    """
    clip = cfg.INPUT.CLIP
    if clip.NUM_FRAMES < 1 or clip.RANGE < 0:
        raise UserError(
            f"INPUT.CLIP.NUM_FRAMES is {clip.NUM_FRAMES} and RANGE {clip.RANGE}: "
            "give at least 1 and 0"
        )
    return lookup(CLIP_SAMPLER_REGISTRY, clip.SAMPLER, "INPUT.CLIP.SAMPLER")(cfg)
