"""The classes that a dataset's annotation file sets in its metadata."""

from collections.abc import Mapping
from itertools import zip_longest

from detectron2.data import MetadataCatalog

from d2video.utils.errors import UserError


def set_classes(
    dataset_name: str, class_names: list[str], contiguous_id: Mapping[int, int], source: str
) -> None:
    """Set ``thing_classes`` and ``thing_dataset_id_to_contiguous_id`` of a dataset's metadata.

    Args:
        class_names: by contiguous id.
        contiguous_id: of each category id of the file.
        source: path of the file, for messages.

    Raises:
        UserError: the dataset is registered with other classes.
    """
    meta = MetadataCatalog.get(dataset_name)
    registered = meta.get("thing_classes", class_names)
    if list(registered) != class_names:
        # Name one difference: whole lists of 40 classes do not fit on a line.
        pairs = enumerate(zip_longest(registered, class_names, fillvalue="(none)"))
        position, (expected, found) = next((k, pair) for k, pair in pairs if pair[0] != pair[1])
        raise UserError(
            f"{source}: class {position} is '{found}', but dataset {dataset_name} is registered "
            f"with '{expected}'; use the file of that dataset or register this one by another name"
        )
    ids = meta.get("thing_dataset_id_to_contiguous_id", contiguous_id)
    if ids != contiguous_id:
        odd = sorted(ids.items() ^ contiguous_id.items())[0][0]
        raise UserError(
            f"{source}: category id {odd} is not what dataset {dataset_name} is registered with, though "
            "the names are; use the file of that dataset or register this one by another name"
        )
    meta.set(thing_classes=registered, thing_dataset_id_to_contiguous_id=ids)
