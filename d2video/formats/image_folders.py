"""Where the images of a JSON file are: in the folders in which tools and benchmarks put them."""

import os
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from d2video.fetching import around
from d2video.utils.errors import UserError
from d2video.video.frame_names import file_of_frame

LOOKED_FOR = 10  # images


def find_folder_of(
    names: Iterable[str],
    file: str,
    path: str,
    places: Iterable[str] | None = None,
    *,
    needs_images: bool = True,
) -> str:
    """The folder below or beside a JSON file in which there is an image of these names.

    Args:
        names: of which only the first ones are looked for; some may be missing.
        path: what messages call the file.
        places: to look at; None: :func:`image_folders`.
        needs_images: False: if there is none, it is the file's own folder.

    Raises:
        UserError: there is none.
    """
    wanted, places = [*islice(names, LOOKED_FOR)], dict.fromkeys(places or image_folders(file))
    for name in wanted:
        for place in places:
            if os.path.isfile(file_of_frame(os.path.join(place, name))):
                return place
    if not needs_images:
        return os.path.dirname(file) or "."
    raise UserError(
        f"{path}: the folder of its images was not found ({wanted[0] if wanted else 'it names none'} is not "
        "beside it, nor in images or JPEGImages): name the folder as image_root"
    )


def image_folders(file: str, stated: Any = None) -> Iterator[str]:
    """Where images of a file such as ``train.json`` or ``instances_train.json`` are, the likeliest first.

    Args:
        stated: the folder that the file names as ``image_root``, relative to its own, as files that d2video
            writes do; None: it names none.
    """
    if isinstance(stated, str):
        yield os.path.normpath(os.path.join(os.path.dirname(file), stated))
    folder, name = os.path.split(os.path.abspath(file))
    stem = os.path.splitext(name)[0]
    splits = (stem, *reversed(re.split("[_-]", stem)))
    places = [*around(folder), *around(os.path.dirname(folder))]
    for split in splits:
        for place in places:
            for parts in ((split, "JPEGImages"), (split, "images"), ("images", split), (split,)):
                yield os.path.join(place, *parts)
    for place in places:
        for part in ("", "images", "JPEGImages", "frames"):
            yield os.path.join(place, part)
