"""Write docs/images/demo.webp: the demo's model on the first held-out videos, one after the other.

Run ``make demo`` first, which trains the model. The videos are not chosen: they are the first ones of the
held-out split, which training has not seen.
"""

import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import av
from PIL import Image

from demo.quick_start import trained_cfg
from demo.recipe import ROOT, load_recipe

NUM_CLIPS = 4
SCALE = 5  # of the videos' 96×64 pixels
MILLISECONDS = 320  # that a frame is shown


def annotated_frames(demo: Path) -> list[Image.Image]:
    """The annotated frames of all clips, in their order.

    Args:
        demo: the output folder of ``make demo``.
    """
    # Datasets are registered below this folder when d2video.data is imported.
    os.environ["DETECTRON2_DATASETS"] = str(demo / "datasets")
    from d2video.projects import register_all

    register_all()
    recipe = replace(load_recipe("VisTR"), num_clips=NUM_CLIPS, scale=SCALE)
    (run,) = recipe.runs
    cfg = trained_cfg(run, demo / run.name, ["MODEL.DEVICE", "cpu"])
    frames = []
    with TemporaryDirectory() as folder:
        for clip in run.render(recipe, cfg, Path(folder)):
            with av.open(str(clip.file)) as video:
                frames += [frame.to_image() for frame in video.decode(video=0)]
    return frames


if __name__ == "__main__":
    first, *others = annotated_frames(ROOT / "output" / "demo")
    first.save(
        ROOT / "docs" / "images" / "demo.webp",
        save_all=True,
        append_images=others,
        duration=MILLISECONDS,
        loop=0,
        quality=80,
        method=6,
    )
