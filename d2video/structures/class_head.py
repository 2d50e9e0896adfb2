"""Which part of a model predicts classes, and what the classes are called."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import nn

from d2video.utils.errors import UserError


def class_names_of(model: nn.Module) -> list[str] | None:
    """The names of a model's classes by class index ("": one without a name), where they are known: of
    the checkpoint that its class head comes from, or of the data that it is trained on.

    Args:
        model: may be wrapped in DistributedDataParallel.
    """
    return getattr(getattr(model, "module", model), "class_names", None)


def set_class_names(model: nn.Module, names: Sequence[str] | None) -> None:
    """Let :func:`class_names_of` find them, in an attribute of the (unwrapped) model."""
    # torch's modules declare that only tensors and modules are set.
    setattr(model, "class_names", None if names is None else [*names])  # noqa: B010


@dataclass(frozen=True)
class ClassHead:
    """The part of a model that predicts classes.

    The attribute ``class_head`` of a model holds it. The default is for a model without that attribute.

    Attributes:
        parameters: prefixes of the names of its parameters; empty: not known.
        rows: the row of these parameters that predicts each class, by class index; None: row c
            predicts class c, and the number of classes is not known.
        key: of the config, which sets the number of classes, for messages.
    """

    parameters: tuple[str, ...] = ()
    rows: Sequence[int] | None = None
    key: str = ""

    @classmethod
    def of(cls, model: nn.Module) -> "ClassHead":
        """The class head of a model."""
        return getattr(model, "class_head", cls())

    def is_among(self, loaded: set[str], all_names: Iterable[str]) -> bool:
        """Whether parameters of the class head are among the ``loaded`` ones of ``all_names``. Of a
        head that is not known this is certain only if all are loaded."""
        if not self.parameters:
            return loaded.issuperset(all_names)
        return any(name.startswith(self.parameters) for name in loaded)

    def by_row(self, names: Sequence[str]) -> list[str]:
        """Class names by row, from names by class index; "" for a row without one."""
        rows = range(len(names)) if self.rows is None else self.rows
        found = [""] * (1 + max(rows[: len(names)], default=-1))
        for name, row in zip(names, rows):
            found[row] = name
        return found

    def by_index(self, names: Sequence[str]) -> list[str]:
        """Class names by class index, from names by row; "" for a class without one, but none at the
        end."""
        rows = range(len(names)) if self.rows is None else self.rows
        found = [names[row] if row < len(names) else "" for row in rows]
        while found and not found[-1]:
            found.pop()
        return found

    def of_all(self, names: Sequence[str]) -> list[str]:
        """Names by class index, with "" for the classes that come after the last name."""
        return [*names, *[""] * (len(self.rows or ()) - len(names))]

    def check_count(self, names: Sequence[str], source: str) -> None:
        """
        Args:
            names: by class index.
            source: what has these classes, for the message.

        Raises:
            UserError: there are more names than classes.
        """
        if self.rows is not None and len(names) > len(self.rows):
            unused = self.rows[0] if isinstance(self.rows, range) else 0
            raise UserError(
                f"{source} has {len(names)} classes: set {self.key} to {len(names) + unused} or more, "
                f"not {len(self.rows) + unused}"
            )
