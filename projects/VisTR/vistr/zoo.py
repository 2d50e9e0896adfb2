"""The published weights of VisTR, and of the DETR that its training starts from."""

from d2video.model_zoo import Entry, register_entries

_PAGE = "https://github.com/Epiphqny/VisTR#models"
_STARTS = "https://drive.google.com/drive/folders/1DlN8uWHT2WaKruarGW2_XChhpZeI9MFG"

register_entries(
    Entry(
        system="VisTR",
        config=f"VisTR/vistr_{depth}_ytvis2019",
        file_name=f"vistr_{depth.lower()}.pth",
        addresses=(f"gdrive://{drive_id}/vistr_{depth.lower()}.pth",),
        task="video instance segmentation",
        data="YouTube-VIS 2019",
        metric=f"mask AP {ap}",
        format="vistr",
        licence="Apache-2.0",
        page=_PAGE,
    )
    for depth, drive_id, ap in (
        ("R50", "10lfe_QJSoZJzcJKxWoxt67QbJG35X55e", 36.2),
        ("R101", "1WTkrpbITPsjVQESaetgI-nPyjQybRc2M", 40.1),
    )
)
register_entries(
    Entry(
        system="VisTR",
        config=f"DETR/detr_{depth}_d384",
        file_name=f"384_coco_{depth.lower()}.pth",
        addresses=(f"by-hand://VisTR/384_coco_{depth.lower()}.pth",),
        task="detection with masks",
        data="COCO 2017",
        metric="",
        format="detr_segm",
        licence="Apache-2.0",
        page=_STARTS,
        note="the DETR of width 384 that the training of VisTR starts from, in a folder of Google Drive",
    )
    for depth in ("R50", "R101")
)
