"""Which class of a model is which class of a dataset: by name, whatever their numbers."""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from d2video.formats.faults import Fault, LeftOut, Report, refuse

logger = logging.getLogger(__name__)

_MOST_NAMED = 8  # classes in an error, which is one line


@dataclass(frozen=True)
class ClassMatch:
    """The classes of a model and those of a dataset, matched by name.

    Attributes:
        model_names: by model index; "" for a class without a name, which is none of the dataset's.
        data_names: by the dataset's contiguous index.
    """

    model_names: tuple[str, ...]
    data_names: tuple[str, ...]

    @property
    def to_data(self) -> list[int | None]:
        """Of each class of the model its index in the dataset, None if that lacks it."""
        return _positions(self.model_names, self.data_names)

    @property
    def to_model(self) -> list[int | None]:
        """Of each class of the dataset its index in the model, None if that lacks it."""
        return _positions(self.data_names, self.model_names)

    @property
    def is_identity(self) -> bool:
        """Whether both have the same classes in the same order."""
        return self.model_names == self.data_names

    @property
    def is_complete(self) -> bool:
        """Whether the model has all classes of the dataset."""
        return len(self.common) == len(self.data_names)

    @property
    def common(self) -> list[int]:
        """The dataset's indices of the classes that both have, ascending."""
        return sorted(index for index in self.to_data if index is not None)


def match_classes(
    model_names: Sequence[str],
    data_names: Sequence[str],
    annotated: Callable[[], Collection[int]],
    *,
    model_source: str,
    data_source: str,
    common_only: bool = False,
    remedy: str = "use a dataset of the model's classes",
    report: Report = refuse,
) -> ClassMatch:
    """Match the classes of a model and of a dataset by their names, letter by letter.

    A dataset need not have all classes of the model. A class that the model lacks is passed over and
    reported if no annotation has it: a parent class of an exporter, or a dummy class 0. Classes that are
    called "0", "1", … without names, as in PySlowFast's lists, are the model's of these numbers.

    Args:
        model_names, data_names: see :class:`ClassMatch`.
        annotated: gives the indices of the dataset's classes that annotations have. It is called only
            if the model lacks a class, since it may have to read the dataset.
        model_source, data_source: what messages call them: "the model", "dataset my_test".
        common_only: classes with annotations that the model lacks are passed over as well.
        remedy: of these, for the message.
        report: takes the fault (a class with annotations that the model lacks, no class in common, a
            name that two classes have) and what is passed over.

    Raises:
        UserError: by the default ``report``, at a fault.
    """

    def fault(text: str) -> None:
        report(Fault(data_source, "file", None, text))

    for source, names in ((model_source, model_names), (data_source, data_names)):
        repeated = [name for name, count in Counter(names).items() if name and count > 1]
        if repeated:
            fault(
                f"{source}: several classes are called {_listed(repeated)}, and classes are matched by "
                "name: give each its own"
            )
    numbers = [str(k) for k in range(len(data_names))]
    if (
        [*data_names] == numbers
        and len(numbers) <= len(model_names)
        and numbers[0] not in model_names
    ):
        logger.warning(
            "the classes of %s have only numbers: they are taken for those of %s",
            *(data_source, model_source),
        )
        data_names = model_names[: len(numbers)]
    match = ClassMatch(tuple(model_names), tuple(data_names))
    lacking = [index for index, found in enumerate(match.to_model) if found is None]
    if not lacking:
        return match
    with_annotations = {*annotated()}
    unknown = [data_names[index] for index in lacking if index in with_annotations]
    known = [name for name in model_names if name]
    hint = _spelled_otherwise([data_names[index] for index in lacking], known)
    if "" in unknown and not common_only:
        fault(f"{data_source}: a class with annotations has an empty name: give it one")
    elif unknown and not common_only:
        fault(
            f"{data_source} has annotations of {_listed(unknown)}, which {model_source} does not know"
            f"{hint}; it knows {_listed(known)}: {remedy}"
        )
    elif len(lacking) == len(data_names):
        fault(
            f"{data_source} has none of the classes that {model_source} knows{hint}: they are "
            f"{_listed(data_names)} and {_listed(known)}; call the same classes by the same names, or "
            "choose another model or dataset"
        )
    reasons = Counter({f"that the model lacks ({', '.join(unknown)})": len(unknown)})
    empty = [data_names[index] for index in lacking if index not in with_annotations]
    reasons[f"that the model lacks, without annotations ({', '.join(empty)})"] = len(empty)
    report(LeftOut(data_source, "classes", len(data_names) - len(lacking), +reasons))
    return match


def _positions(names: Sequence[str], others: Sequence[str]) -> list[int | None]:
    position: Mapping[str, int] = {name: k for k, name in enumerate(others) if name}
    return [position.get(name) for name in names]


def _spelled_otherwise(names: Sequence[str], known: Sequence[str]) -> str:
    """A hint at names that differ from a known one only in case, spaces, underscores or hyphens."""
    by_letters = {_letters(name): name for name in known}
    pairs = [(name, by_letters[_letters(name)]) for name in names if _letters(name) in by_letters]
    if not pairs:
        return ""
    return f" (did you mean {', '.join(f'{ours!r} for {name!r}' for name, ours in pairs)}?)"


def _letters(name: str) -> str:
    return "".join(c for c in name.casefold() if not c.isspace() and c not in "_-")


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    text = ", ".join(f"'{name}'" for name in names[:_MOST_NAMED])
    return f"{text} and {more} more" if more > 0 else text
