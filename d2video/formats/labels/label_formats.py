"""The readers of labels, by the names of their formats."""

from collections.abc import Callable
from typing import TypeVar

from d2video.formats.labels.label_set import LabelSet
from d2video.formats.labels.recognition import Recogniser, recogniser

Reader = Callable[..., LabelSet]
F = TypeVar("F", bound=Reader)

LABEL_FORMATS: dict[str, Reader] = {}


def label_format(name: str, recognises: Recogniser) -> Callable[[F], F]:
    """Decorate a reader of the format ``name``, as in DATASETS.REGISTER; see also
    :func:`~d2video.formats.labels.recognition.recogniser`.

    A reader has the form ``read(root: str, report: Report = refuse, *, image_root: str | None = None,
    ...) -> LabelSet``. ``root`` is the file or the folder as the tool wrote it, ``image_root`` where its
    frames are if they are not where the tool puts them; ``report`` takes faults, doubts and what is left
    out. Further arguments have types and defaults. A reader of folders may take ``videos``, the names of
    those to read, or None for all.
    """

    def register(function: F) -> F:
        assert name not in LABEL_FORMATS, f"format {name} is registered twice"
        LABEL_FORMATS[name] = function
        recogniser(name)(recognises)
        return function

    return register
