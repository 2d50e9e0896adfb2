"""XML files from elsewhere, read as a stream: no entity is ever expanded, and no file is held as a whole."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO
from xml.parsers import expat

from d2video.utils.errors import UserError

_CHUNK = 1 << 16  # bytes


@dataclass(slots=True)
class Node:
    """An element.

    Attributes:
        tag: its name.
        line: of the file, from 1 on, where it begins.
        attributes: by name.
        text: what is between its tags, apart from elements and from white space around them.
        children: the elements in it, in order.
    """

    tag: str
    line: int
    attributes: dict[str, str]
    text: str = ""
    children: list["Node"] = field(default_factory=list)

    def child(self, *tags: str) -> "Node | None":
        """The first element by this path of tags, or None."""
        node: Node | None = self
        for tag in tags:
            node = next((each for each in node.children if each.tag == tag), None) if node else None
        return node

    def text_of(self, *tags: str) -> str:
        """The text of the first element by this path of tags, stripped; "" if there is none."""
        node = self.child(*tags)
        return node.text.strip() if node is not None else ""


def read_xml(path: str, outermost: str) -> Iterator[Node]:
    """Yield the elements in the outermost one, each as soon as it is read.

    Args:
        path: of the file.
        outermost: the tag that the outermost element must have.

    Raises:
        UserError: the file does not exist or cannot be read, is not XML, is cut off, has another
            outermost element, or declares a document type, which may contain entities.
    """
    try:
        with open(path, "rb") as file:
            yield from _nodes(file, path, outermost)
    except FileNotFoundError:
        raise UserError(f"file {path} does not exist: correct the path") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def _nodes(file: BinaryIO, path: str, outermost: str) -> Iterator[Node]:
    reader = _Reader(path, outermost)
    chunk = file.read(_CHUNK)
    while True:
        try:
            reader.parser.Parse(chunk, not chunk)
        except expat.ExpatError as error:
            raise UserError(
                f"{path}, line {error.lineno}: it is not XML, or cut off here "
                f"({expat.ErrorString(error.code)}): write or export it again"
            ) from None
        except (LookupError, ValueError) as error:  # the encoding that the file names
            raise UserError(f"{path} cannot be read ({error}): save it as UTF-8") from None
        yield from reader.done
        reader.done.clear()
        if not chunk:
            return
        chunk = file.read(_CHUNK)


class _Reader:
    """Collects the elements below the outermost one, as they end, in ``done``."""

    def __init__(self, path: str, outermost: str) -> None:
        self.path, self.outermost = path, outermost
        self.open: list[Node] = []
        self.done: list[Node] = []
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.StartDoctypeDeclHandler = self._refuse

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        node = Node(tag, self.parser.CurrentLineNumber, attributes)
        if not self.open and tag != self.outermost:
            raise UserError(
                f"{self.path}: the outermost element is <{tag}>, not <{self.outermost}>: give the file "
                "that the tool wrote"
            )
        if len(self.open) > 1:
            self.open[-1].children.append(node)
        self.open.append(node)

    def _end(self, tag: str) -> None:
        node = self.open.pop()
        if len(self.open) == 1:
            self.done.append(node)

    def _text(self, text: str) -> None:
        if len(self.open) > 1 and not text.isspace():
            self.open[-1].text += text

    def _refuse(self, *declaration: object) -> None:
        raise UserError(
            f"{self.path}, line {self.parser.CurrentLineNumber}: it declares a document type, in which "
            "entities may stand, and no labelling tool writes one: remove the declaration"
        )
