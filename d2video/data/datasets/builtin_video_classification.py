"""Register Kinetics-400, -600, -700 and the generated videos of motion.

Layout below ``$DETECTRON2_DATASETS`` (./datasets)::

    kinetics400/ kinetics600/ kinetics700/
        annotations/{train,val}.csv          label,youtube_id,time_start,time_end,split
        {train,val}/<youtube_id>_<start>_<end>.mp4
    motion/                                  (tools/make_shapes_dataset.py --format motion)
        {train,val}/<class>/<video>.mp4

Names and other layouts are in docs/datasets_video_classification.md.
"""

import os

from d2video.data.datasets.video_classification import register_kinetics, register_video_folders


def register_builtin_video_classification(root: str) -> None:
    """Register every data set of this module below the folder ``root``; no file is touched."""
    for split in ("train", "val"):
        for count in (400, 600, 700):
            folder = os.path.join(root, f"kinetics{count}")
            register_kinetics(
                f"kinetics{count}_{split}",
                os.path.join(folder, "annotations", f"{split}.csv"),
                os.path.join(folder, split),
                num_classes=count,
            )
        register_video_folders(f"motion_{split}", os.path.join(root, "motion", split))


register_builtin_video_classification(
    os.path.expanduser(os.getenv("DETECTRON2_DATASETS", "datasets"))
)
