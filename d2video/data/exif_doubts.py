"""Images whose EXIF orientation leaves open which pixels their labels count."""

from collections.abc import Iterable, Iterator

from d2video.data.records import Record, frames_of
from d2video.formats.faults import Doubt
from d2video.utils.errors import UserError
from d2video.video.frame_names import split_frame_name
from d2video.video.image_io import exif_orientation, read_image_size


def exif_doubts(records: Iterable[Record], title: str) -> list[Doubt]:
    """At most one doubt about a dataset with labels of places, ``title``.

    An image that an orientation makes tall or wide is of its stated size either upright or as it is
    stored, so that one of them decides for all. A half turn, a mirror image or a square does not show.
    """
    undecided: list[str] = []
    for path, is_stated in _labelled_images(records):
        if split_frame_name(path) is not None:
            continue
        try:
            orientation, (height, width) = exif_orientation(path), read_image_size(path)
        except UserError:
            continue  # a fault of its own
        if orientation == 1:
            continue
        if orientation > 4 and height != width and is_stated:
            return []
        undecided.append(path)
    if not undecided:
        return []
    return [
        Doubt(
            title,
            f"{len(undecided)} images, such as {undecided[0]}, are turned or mirrored by their EXIF "
            "orientation, and no size tells whether the labels are those of the upright images: draw "
            "some with d2video show-data; if they do not fit, set INPUT.EXIF_ORIENTATION False",
        )
    ]


def _labelled_images(records: Iterable[Record]) -> Iterator[tuple[str, bool]]:
    """Path of each image with labels of places, and whether a size is stated for it, be it by a label
    image."""
    for record in records:
        if "annotations" in record or "segments_info" in record:
            is_stated = record.get("height") is not None or "pan_seg_file_name" in record
            for path in frames_of(record):
                yield path, is_stated
