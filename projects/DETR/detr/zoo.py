"""The published weights of DETR."""

from d2video.model_zoo import Entry, register_entries

_FILES = "https://dl.fbaipublicfiles.com/detr/"


def _entry(config: str, file: str, hub: str, metric: str, other: str = "", size: str = "") -> Entry:
    """A row; the hexadecimal digits at the end of a file's name begin its sha256.

    Args:
        hub: the same weights on the Hugging Face Hub.
        other: a file that one version of the authors' page names in place of ``file``.
    """
    panoptic = "panoptic" in config
    others = [_FILES + other] if other else []
    return Entry(
        system="DETR",
        config=f"DETR/{config}",
        file_name=file,
        addresses=(_FILES + file, *others, f"hf://facebook/{hub}"),
        task="panoptic segmentation" if panoptic else "detection",
        data="COCO 2017",
        metric=metric,
        format="detr_segm" if panoptic else "detr",
        licence="Apache-2.0",
        page="https://github.com/facebookresearch/detr#model-zoo",
        sha256=file.removesuffix(".pth").rpartition("-")[2],
        size=size,
    )


register_entries(
    [
        _entry(
            *("detr_R50_500ep", "detr-r50-e632da11.pth", "detr-resnet-50"),
            "box AP 42.0",
            size="159 MB",
        ),
        _entry(
            *("detr_R50_DC5_500ep", "detr-r50-dc5-f0fb7ef5.pth", "detr-resnet-50-dc5"),
            "box AP 43.3",
        ),
        _entry(
            *("detr_R101_500ep", "detr-r101-2c7b67e5.pth", "detr-resnet-101"),
            "box AP 43.5",
            size="232 MB",
        ),
        _entry(
            *("detr_R101_DC5_500ep", "detr-r101-dc5-a2e86def.pth", "detr-resnet-101-dc5"),
            "box AP 44.9",
        ),
        _entry(
            *("detr_panoptic_R50", "detr-r50-panoptic-00ce5173.pth", "detr-resnet-50-panoptic"),
            "PQ 43.4, box AP 38.8, mask AP 31.1",
            other="detr-r50-panoptic-b423a359.pth",
        ),
        _entry(
            "detr_panoptic_R50_DC5",
            *("detr-r50-dc5-panoptic-da08f1b1.pth", "detr-resnet-50-dc5-panoptic"),
            "PQ 44.6, box AP 40.2, mask AP 31.9",
            other="detr-r50-dc5-panoptic-ac925135.pth",
        ),
        _entry(
            *("detr_panoptic_R101", "detr-r101-panoptic-40021d53.pth", "detr-resnet-101-panoptic"),
            "PQ 45.1, box AP 40.1, mask AP 33.0",
            other="detr-r101-panoptic-0fa498b3.pth",
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
