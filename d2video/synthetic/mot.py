"""Generated videos on disk in the layouts of MOTChallenge: MOT17 (boxes) and MOTS20 (masks)."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from d2video.synthetic.files import encode_masks, write_image
from d2video.synthetic.folder import Samples, register_format, write_folder
from d2video.synthetic.render import draw_without_hidden, finish_video, whole_extents
from d2video.synthetic.scene import sample_scene
from d2video.synthetic.spec import ShapesSpec

_FRAME_RATE = 25  # of no meaning here, but readers expect one
# The benchmarks' number for a pedestrian, the one class that counts.
_MOT_CLASS = 1
_MOTS_CLASS = 2
_SPEC = ShapesSpec(num_frames=(20, 40))


@register_format("mot", _SPEC, {"masks": False}, jpeg_quality=95)
@register_format("mots", _SPEC, {"masks": True}, jpeg_quality=95)
def write_mot_shapes(
    root: str | os.PathLike,
    splits: Mapping[str, int],
    spec: ShapesSpec | None = None,
    seed: int = 0,
    *,
    masks: bool = False,
    jpeg_quality: int = 95,
    **how: Any,
) -> bool:
    """Write tracking data: ``<root>/<split>/<split>-0001/`` and so on, one folder a sequence.

    A sequence has ``img1/000001.jpg`` and so on, ``seqinfo.ini`` and ``gt/gt.txt``: one line for
    each object in each frame that shows at least a pixel of it, whatever its shape of one class.

    Without ``masks`` lines are as in MOT17, ``frame,id,left,top,width,height,1,1,visibility``, by
    object: the box is that of the whole object, also of what others cover or of what lies beyond
    the border of the image, visibility the share of its pixels that shows, above 0 to 1. With
    ``masks`` they are as in MOTS20, ``frame id class height width rle``, by frame: compressed RLE of
    the visible part, so that no pixel belongs to two; class 2, ids from 2001 on. Frames, ids and
    the corner of the image (``left`` and ``top``) count from 1.

    Args:
        splits: name of each split and how many sequences it has.
        spec: what the videos look like (default: ``ShapesSpec()`` with 20 to 40 frames).
        masks: write the layout of MOTS20. The images are the same.
        jpeg_quality: 1..100.
        seed, how: as in :func:`write_folder`.

    Returns:
        True if the dataset was written, False if the one there was kept.

    Raises:
        UserError: as :func:`write_folder`.
    """
    spec = spec or _SPEC

    def write_split(folder: Path, name: str, samples: Samples) -> None:
        for index, rng in samples:
            sequence = folder / name / f"{name}-{index + 1:04d}"
            _write_sequence(sequence, spec, rng, masks, jpeg_quality)

    return write_folder(
        root,
        splits,
        spec,
        seed,
        {"format": "mots" if masks else "mot", "jpeg_quality": jpeg_quality},
        write_split,
        **how,
    )


def _write_sequence(
    folder: Path, spec: ShapesSpec, rng: np.random.Generator, masks: bool, jpeg_quality: int
) -> None:
    scene, frames, visible = draw_without_hidden(sample_scene(spec, rng))
    video = finish_video(spec, rng, scene, frames, visible)
    (folder / "img1").mkdir(parents=True)
    (folder / "gt").mkdir()
    for t, frame in enumerate(video.frames):
        write_image(folder / "img1" / f"{t + 1:06d}.jpg", frame, jpeg_quality)
    lines = _mask_lines(visible) if masks else _box_lines(visible, *whole_extents(scene))
    (folder / "gt" / "gt.txt").write_text("".join(f"{line}\n" for line in lines))
    (folder / "seqinfo.ini").write_text(
        f"[Sequence]\nname={folder.name}\nimDir=img1\nframeRate={_FRAME_RATE}\n"
        f"seqLength={len(video.frames)}\nimWidth={spec.width}\nimHeight={spec.height}\nimExt=.jpg\n"
    )


def _box_lines(masks: np.ndarray, boxes: np.ndarray, areas: np.ndarray) -> list[str]:
    """Lines of MOT17 from visible masks (N, L, H, W), whole boxes (N, L, 4) and areas (N, L)."""
    shown = masks.sum(axis=(2, 3))
    corners, extents = boxes[..., :2] + 1, boxes[..., 2:] - boxes[..., :2]
    # Pixels at the border of the image may count a little differently in the two areas.
    visibility = np.minimum(shown / np.maximum(areas, 1), 1)
    lines = []
    for i, t in np.argwhere(shown > 0).tolist():
        box = ",".join(map(str, [*corners[i, t], *extents[i, t]]))
        lines.append(f"{t + 1},{i + 1},{box},1,{_MOT_CLASS},{visibility[i, t]:.5g}")
    return lines


def _mask_lines(masks: np.ndarray) -> list[str]:
    """Lines of MOTS20 from visible masks (N, L, H, W)."""
    lines = []
    for t, frame in enumerate(masks.swapaxes(0, 1)):
        for i, (rle, area) in enumerate(zip(*encode_masks(frame)[:2], strict=True)):
            if area > 0:
                height, width = rle["size"]
                track = 1000 * _MOTS_CLASS + i + 1
                lines.append(f"{t + 1} {track} {_MOTS_CLASS} {height} {width} {rle['counts']}")
    return lines
