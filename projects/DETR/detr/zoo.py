"""The published weights of DETR."""

import re

from d2video.model_zoo import Entry, register_entries

_FILES = "https://dl.fbaipublicfiles.com/detr/"


def _entry(
    config: str, name: str, digest: str, metric: str, other: str = "", size: str = ""
) -> Entry:
    """A row.

    Args:
        name: of the file; the hexadecimal digits after it begin its sha256.
        other: those of a file that one version of the authors' page names in its place.
    """
    panoptic = "panoptic" in config
    digests = (digest, other) if other else (digest,)
    hub = re.sub("-r(?=[0-9])", "-resnet-", name)
    return Entry(
        system="DETR",
        config=f"DETR/{config}",
        file_name=f"{name}-{digest}.pth",
        addresses=(*(f"{_FILES}{name}-{each}.pth" for each in digests), f"hf://facebook/{hub}"),
        task="panoptic segmentation" if panoptic else "detection",
        data="COCO 2017",
        metric=metric,
        format="detr_segm" if panoptic else "detr",
        licence="Apache-2.0",
        page="https://github.com/facebookresearch/detr#model-zoo",
        sha256=digest,
        size=size,
    )


_PANOPTIC = "PQ {}, box AP {}, mask AP {}"

register_entries(
    [
        _entry("detr_R50_500ep", "detr-r50", "e632da11", "box AP 42.0", size="159 MB"),
        _entry("detr_R50_DC5_500ep", "detr-r50-dc5", "f0fb7ef5", "box AP 43.3"),
        _entry("detr_R101_500ep", "detr-r101", "2c7b67e5", "box AP 43.5", size="232 MB"),
        _entry("detr_R101_DC5_500ep", "detr-r101-dc5", "a2e86def", "box AP 44.9"),
        _entry(
            *("detr_panoptic_R50", "detr-r50-panoptic", "00ce5173"),
            *(_PANOPTIC.format(43.4, 38.8, 31.1), "b423a359"),
        ),
        _entry(
            *("detr_panoptic_R50_DC5", "detr-r50-dc5-panoptic", "da08f1b1"),
            *(_PANOPTIC.format(44.6, 40.2, 31.9), "ac925135"),
        ),
        _entry(
            *("detr_panoptic_R101", "detr-r101-panoptic", "40021d53"),
            *(_PANOPTIC.format(45.1, 40.1, "33.0"), "0fa498b3"),
        ),
        Entry(
            system="DETR",
            config="",
            file_name="detr_demo-da2a99e9.pth",
            addresses=(f"{_FILES}detr_demo-da2a99e9.pth",),
            task="detection",
            data="COCO 2017",
            metric="",
            format="",
            licence="Apache-2.0",
            page="https://github.com/facebookresearch/detr#notebooks",
            sha256="da2a99e9",
            note="the network of the authors' 50 lines, which no config builds: its positions are learned",
        ),
    ]
)
