"""The published weights of TrackFormer and of Deformable DETR."""

from d2video.fetching import KnownFile, register_file
from d2video.model_zoo import Entry, register_entries

_PAGE = "https://github.com/timmeinhardt/trackformer/blob/main/docs/INSTALL.md"
_ZIP = "https://vision.in.tum.de/webshare/u/meinhard/trackformer_models_v1.zip"
_GONE = "about 1.2 GB; users report it gone since 2025-11, timmeinhardt/trackformer#127"
_DEFORMABLE_PAGE = "https://github.com/fundamentalvision/Deformable-DETR#main-results"

register_file(_ZIP, KnownFile(page=_PAGE, file_name="trackformer_models_v1.zip", note=_GONE))


def _tracker(config: str, member: str, task: str, data: str, metric: str) -> Entry:
    return Entry(
        system="TrackFormer",
        config=f"TrackFormer/{config}" if config else "",
        file_name=member,
        addresses=(f"{_ZIP}!/{member}",),
        task=task,
        data=data,
        metric=metric,
        format="trackformer" if config else "deformable_detr",
        licence="Apache-2.0",
        page=_PAGE,
        note=f"in trackformer_models_v1.zip, {_GONE}",
    )


def _detector(config: str, drive_id: str, hub: str, ap: float) -> Entry:
    name = f"r50_deformable_detr{config}-checkpoint.pth"
    return Entry(
        system="TrackFormer",
        config=f"DeformableDETR/{_CONFIGS[config]}",
        file_name=name,
        addresses=(f"gdrive://{drive_id}/{name}", f"hf://SenseTime/deformable-detr{hub}"),
        task="detection",
        data="COCO 2017",
        metric=f"box AP {ap}",
        format="deformable_detr",
        licence="Apache-2.0",
        page=_DEFORMABLE_PAGE,
    )


_REFINE = "_plus_iterative_bbox_refinement"
# By the middle of the official file's name.
_CONFIGS = {
    "_single_scale": "deformable_detr_R50_single_scale",
    "_single_scale_dc5": "deformable_detr_R50_single_scale_DC5",
    "": "deformable_detr_R50",
    _REFINE: "deformable_detr_R50_box_refine",
    f"{_REFINE}_plus_plus_two_stage": "deformable_detr_R50_two_stage",
}
_TRACKING, _MOT17 = "multi-object tracking", "CrowdHuman, MOT17"

register_entries(
    [
        _tracker(
            "trackformer_mot17_private",
            "mot17_crowdhuman_deformable_multi_frame/checkpoint_epoch_40.pth",
            *(_TRACKING, _MOT17),
            "MOT17 test, private detections: MOTA 74.1, IDF1 68.0",
        ),
        _tracker(
            "trackformer_mot17_public",
            "mot17_deformable_multi_frame/checkpoint_epoch_50.pth",
            *(_TRACKING, "MOT17"),
            "MOT17 test, public detections: MOTA 62.3, IDF1 57.6",
        ),
        _tracker(
            "trackformer_mot20",
            "mot20_crowdhuman_deformable_multi_frame/checkpoint_epoch_50.pth",
            *(_TRACKING, "CrowdHuman, MOT20"),
            "MOT20 test, private detections: MOTA 68.6, IDF1 65.7",
        ),
        _tracker(
            "trackformer_mots20",
            "mots20_train_masks/checkpoint.pth",
            *("multi-object tracking and segmentation", "MOTS20"),
            "MOTS20 test: sMOTSA 54.9, IDF1 63.6",
        ),
        _tracker(
            "trackformer_crowdhuman",
            "crowdhuman_deformable_trackformer/checkpoint_epoch_80.pth",
            *(_TRACKING, "CrowdHuman"),
            "",
        ),
        _tracker(
            "",
            "r50_deformable_detr_plus_iterative_bbox_refinement-checkpoint_hidden_dim_288.pth",
            *("detection, the start of trackformer_mot17_public", "COCO 2017"),
            "",
        ),
        _detector("_single_scale", "1WEjQ9_FgfI5sw5OZZ4ix-OKk-IJ_-SDU", "-single-scale", 39.4),
        _detector(
            "_single_scale_dc5", "1m_TgMjzH7D44fbA-c_jiBZ-xf-odxGdk", "-single-scale-dc5", 41.5
        ),
        _detector("", "1nDWZWHuRwtwGden77NLM9JoWe-YisJnA", "", 44.5),
        _detector(_REFINE, "1JYKyRYzUH7uo9eVfDaVCiaIGZb5YTCuI", "-with-box-refine", 46.2),
        _detector(
            f"{_REFINE}_plus_plus_two_stage",
            *("15I03A7hNTpwuLNdfuEmW9_taZMNVssEp", "-with-box-refine-two-stage", 46.9),
        ),
    ]
)
