"""Images in COCO's JSON, and videos in COCO's JSON with track ids (data/datasets/coco_tracks.py)."""

from collections.abc import Iterator, Sequence
from typing import Any

from d2video.data.export.objects import (
    box_of,
    categories_of,
    frame_objects,
    json_rle,
    labelled,
    relative_names,
)
from d2video.data.records import Annotation, Record
from d2video.formats.faults import Report, refuse
from d2video.formats.geometry.rle import mask_areas, to_rle
from d2video.video.frame_names import image_size


def coco_content(
    records: Sequence[Record],
    class_names: Sequence[str],
    *,
    image_root: str | None = None,
    source: str = "the dataset",
    report: Report = refuse,
) -> dict[str, Any]:
    """The content of a file, of values that JSON has: of images, or of videos with ``track_id``.

    COCO knows all that records hold but frame numbers and visibilities of videos, which are in the keys
    ``frame_number`` of images and ``visibility`` of annotations.

    Args:
        records: of images or of videos, with labels or without.
        class_names: by category id.
        image_root: the folder that ``file_name`` are relative to; None: they stay as they are.
        source: what messages call the data.
        report: takes what is left out: records without labels where others have some.

    Raises:
        UserError: the labels are not objects, or a file is not in ``image_root``.
        BrokenFile: a record states no size, and its image cannot be read.
    """
    records = labelled(records, source, report)
    content: dict[str, Any] = {"images": [], "categories": categories_of(class_names)}
    if "length" in records[0]:
        content = {"videos": [], **content}
    if "annotations" in records[0]:
        content["annotations"] = []
    for record in records:
        add = _add_video if "length" in record else _add_image
        for annotation in add(content, record, image_root):
            content["annotations"].append({"id": len(content["annotations"]) + 1, **annotation})
    return content


def _add_image(
    content: dict[str, Any], record: Record, image_root: str | None
) -> Iterator[dict[str, Any]]:
    """Add an image, and give its annotations without ids."""
    height, width = (record.get(key) for key in ("height", "width"))
    if height is None or width is None:
        height, width = image_size(record["file_name"])
    (name,) = relative_names([record["file_name"]], image_root)
    image = {"id": record["image_id"], "file_name": name, "height": height, "width": width}
    content["images"].append(image)
    for each in record.get("annotations", ()):
        annotation = _annotation(image, each, bool(each.get("iscrowd")))
        if each.get("keypoints"):
            # In COCO they are the numbers of pixels, in detectron2 places on the image.
            points = each["keypoints"]
            annotation["keypoints"] = [v if k % 3 == 2 else v - 0.5 for k, v in enumerate(points)]
        yield annotation


def _add_video(
    content: dict[str, Any], record: Record, image_root: str | None
) -> Iterator[dict[str, Any]]:
    """Add a video and its images; see :func:`_add_image`."""
    video_id, first = record["video_id"], len(content["images"])
    size = {"height": record["height"], "width": record["width"]}
    name = record.get("sequence", f"video_{video_id}")
    content["videos"].append({"id": video_id, "name": name, **size})
    names = relative_names(record["file_names"], image_root)
    numbers = record.get("frame_numbers", range(1, len(names) + 1))
    for frame, (file_name, number) in enumerate(zip(names, numbers, strict=True)):
        content["images"].append(
            {
                "id": first + frame + 1,
                "file_name": file_name,
                **size,
                "video_id": video_id,
                "frame_id": frame,
                "frame_number": int(number),
            }
        )
    if "annotations" not in record:
        return
    for frame, each, ignored in frame_objects(record):
        annotation = _annotation(content["images"][first + frame], each, ignored)
        annotation |= {"video_id": video_id, "track_id": int(each.get("id", 0))}
        if each.get("visibility", 1) != 1:
            annotation["visibility"] = float(each["visibility"])
        yield annotation


def _annotation(image: dict[str, Any], each: Annotation, ignored: bool) -> dict[str, Any]:
    box = box_of(each)
    annotation = {
        "image_id": image["id"],
        "category_id": int(each["category_id"]) + 1,
        "iscrowd": int(ignored),
        "bbox": box,
        "area": box[2] * box[3],
    }
    segmentation = each.get("segmentation")
    if segmentation:
        mask = to_rle(segmentation, image["height"], image["width"])
        annotation["area"] = int(mask_areas([mask])[0])
        is_polygons = isinstance(segmentation, list)
        annotation["segmentation"] = segmentation if is_polygons else json_rle(mask)
    return annotation
