"""Register MOT15, MOT17, MOT20, MOTS20, DanceTrack, CrowdHuman and generated tracking shapes.

Layout below ``$DETECTRON2_DATASETS`` (./datasets)::

    MOT15/ MOT17/ MOT20/ MOTS20/
        {train,test}/<sequence>/{seqinfo.ini,img1,gt,det}
    DanceTrack/{train,val,test}/<sequence>/{seqinfo.ini,img1,gt}
    CrowdHuman/
        {train,val}/<image>.jpg
        annotations/annotation_{train,val}.odgt
    shapes_mot/ shapes_mots/           (made by tools/make_shapes_dataset.py)
        {train,val}/<sequence>/{seqinfo.ini,img1,gt}

Names and what they mean are in docs/datasets_tracking.md.
"""

import os

from d2video.data.datasets.crowdhuman import register_crowdhuman
from d2video.data.datasets.mot import register_mot

# The common protocol of validation: first and second half of every training sequence.
_HALVES = {"train_half": (0.0, 0.5), "val_half": (0.5, 1.0)}
_MOT = {"mot15": "MOT15", "mot17": "MOT17", "mot20": "MOT20", "mots20": "MOTS20"}


def register_builtin_mot(root: str) -> None:
    """Register every tracking data set of this module below the folder ``root``; no file is touched."""
    for prefix, benchmark in _MOT.items():
        folder = os.path.join(root, benchmark)
        train = os.path.join(folder, "train")
        # The three copies of each MOT17 sequence differ in the public detections alone.
        detector = "FRCNN" if benchmark == "MOT17" else None
        parts = {
            "train": (train, (0.0, 1.0)),
            "test": (os.path.join(folder, "test"), (0.0, 1.0)),
            **{name: (train, half) for name, half in _HALVES.items()},
        }
        for part, (path, frame_range) in parts.items():
            register_mot(
                f"{prefix}_{part}",
                path,
                benchmark=benchmark,
                detector=detector,
                frame_range=frame_range,
            )
            if benchmark in ("MOT17", "MOT20"):
                register_mot(
                    f"{prefix}_{part}_public",
                    path,
                    benchmark=benchmark,
                    frame_range=frame_range,
                    public_detections=True,
                )
    for part in ("train", "val", "test"):
        path = os.path.join(root, "DanceTrack", part)
        register_mot(f"dancetrack_{part}", path, benchmark="DanceTrack")
    for part in ("train", "val"):
        folder = os.path.join(root, "CrowdHuman")
        odgt = os.path.join(folder, "annotations", f"annotation_{part}.odgt")
        register_crowdhuman(f"crowdhuman_{part}", odgt, os.path.join(folder, part))
        for shapes, benchmark in (("shapes_mot", "MOT17"), ("shapes_mots", "MOTS20")):
            register_mot(
                f"{shapes}_{part}",
                os.path.join(root, shapes, part),
                benchmark=benchmark,
                class_name="shape",
            )


register_builtin_mot(os.path.expanduser(os.getenv("DETECTRON2_DATASETS", "datasets")))
