"""The head of CVAT's XML files: classes and tasks."""

import os
import re
from dataclasses import dataclass, replace

from d2video.formats.faults import EntryError, refuse, reporting
from d2video.formats.labels.recognition import Seen
from d2video.formats.text import check_size
from d2video.formats.xml_text import Node, read_xml
from d2video.utils.errors import UserError
from d2video.utils.limits import MAX_VIDEO_FRAMES
from d2video.utils.whole_numbers import whole_number
from d2video.video.image_io import visible_files

OUTERMOST = "annotations"
_STEP = re.compile(r"\s*step\s*=\s*(\d{1,9})\s*")


@dataclass(frozen=True)
class Task:
    """A task, or a job, which is a part of one.

    Attributes:
        id: of the task; "" where the file has only one.
        name: "" of a job.
        source: the name of its video file; "" of a job, and of a task of images.
        subset: the folder below ``images`` where a project has its frames; "" elsewhere.
        size: height and width of its video in pixels, or None.
        numbers: of its frames in its video; None: not stated.
        offset: what a project's frame numbers are more than these: it counts through the tasks of a subset.
        is_video: its frames have numbers; the images of a task of images are only in an order.
    """

    id: str = ""
    name: str = ""
    source: str = ""
    subset: str = ""
    size: tuple[int, int] | None = None
    numbers: range | None = None
    offset: int = 0
    is_video: bool = True


@dataclass(frozen=True)
class Meta:
    """The head of a file.

    Attributes:
        path: of the file.
        classes: in its order; None: it lists none.
        tasks: several only of a project.
        content: the tag of its entries: "track", "image", or "" if there are none.
    """

    path: str
    classes: list[str] | None
    tasks: list[Task]
    content: str


def read_meta(path: str) -> Meta:
    """Read a file as far as its first track or image.

    Raises:
        UserError: it is not an XML file of CVAT, or a number in its head cannot be.
    """
    meta = Node("meta", 1, {})
    for node in read_xml(path, OUTERMOST):
        if node.tag == "meta":
            meta = node
        elif node.tag in ("track", "image"):
            return _meta(path, meta, node.tag)
    return _meta(path, meta, "")


def meta_at(root: str, content: str, other: str) -> Meta:
    """The head of an XML file, or of the only one in a folder.

    Args:
        root: the file or the folder.
        content: what the file must hold: "track" or "image".
        other: the format of files that hold the other.

    Raises:
        UserError: there is none, or several, or as :func:`read_meta`.
    """
    path = _file(root)
    if path is None and _is_backup(Seen(root)):
        raise UserError(
            f"{root} is a backup of CVAT, which holds keyframes only: export the task as 'CVAT for video 1.1'"
        )
    if path is None:
        raise UserError(f"{root} holds no XML file, or several: give the one with CVAT's labels")
    meta = read_meta(path)
    if meta.content not in (content, ""):
        raise UserError(f"{meta.path} holds {meta.content}s: its format is {other}")
    return meta


def holds(seen: Seen, content: str) -> bool:
    """Whether the XML file, or the only one in a folder, is one of CVAT that holds "track"s or "image"s.

    Raises:
        UserError: it is damaged, see :func:`read_meta`.
    """
    path = _file(seen.path)
    if path is None and _is_backup(seen):
        return content == "track"  # and refused by name
    head = "" if path is None else Seen(path).head.replace("\0", "")  # zeros of UTF-16
    if path is None or not head.startswith("<") or f"<{OUTERMOST}" not in head:
        return False
    meta = read_meta(path)
    # Without either, the mode of its task says what they would be.
    mode = "track" if any(task.is_video for task in meta.tasks) else "image"
    return (meta.content or mode) == content


def _is_backup(seen: Seen) -> bool:
    return seen.has("annotations.json") and seen.has("task.json")


def _file(root: str) -> str | None:
    if not os.path.isdir(root):
        return root
    found = visible_files(root, (".xml",))
    return str(found[0]) if len(found) == 1 else None


def _meta(path: str, meta: Node, content: str) -> Meta:
    kinds = [node for node in meta.children if node.tag in ("task", "job", "project")]
    if not kinds:
        return Meta(path, None, [Task()], content)
    head = kinds[0]
    labels = head.child("labels")
    classes = None
    if labels is not None:
        # Those with a parent are the points of a skeleton.
        classes = [label.text_of("name") for label in labels.children if not label.child("parent")]
    with reporting(refuse, path, "line", head.line):
        tasks = [_task(head, meta)] if head.tag != "project" else _project(head.child("tasks"))
    return Meta(path, classes, tasks, content)


def _project(tasks: Node | None) -> list[Task]:
    found: list[Task] = []
    offset, subset = 0, None
    for node in tasks.children if tasks is not None else ():
        if node.text_of("subset") != subset:
            offset, subset = 0, node.text_of("subset")
        task = _task(node, node)
        if task.numbers is None:
            raise EntryError(
                f"task {node.text_of('id')} has no size, and the frames of a project's tasks are numbered "
                "by their sizes: export each task"
            )
        place = _plain(subset or "default")
        found.append(replace(task, id=node.text_of("id"), subset=place, offset=offset))
        offset += task.numbers.start + task.numbers.step * len(task.numbers)
    if not found:
        raise EntryError("its project has no tasks; export it again")
    return found


def _task(node: Node, beside: Node) -> Task:
    """A task, or a job. What older versions of CVAT, and jobs, do not have in it is read from beside it."""
    stated = node.child("original_size") or beside.child("original_size")
    size = None
    if stated is not None:
        size = _number(stated, "height") or 0, _number(stated, "width") or 0
        check_size(*size)
    start, stop, count = (_number(node, key) for key in ("start_frame", "stop_frame", "size"))
    step = _STEP.fullmatch(node.text_of("frame_filter"))
    numbers = None
    if count is not None or stop is not None:
        first, each = start or 0, max(1, int(step[1])) if step else 1
        # A video's stop_frame need not be one of the frames.
        last = first + each * (count - 1) if count is not None else stop or 0
        numbers = range(first, last + 1, each)
        if len(numbers) > MAX_VIDEO_FRAMES:
            raise EntryError(f"it has {len(numbers)} frames, above {MAX_VIDEO_FRAMES}; correct it")
    return Task(
        name=_plain(node.text_of("name")),
        source=_file_name(node.text_of("source") or beside.text_of("source")),
        size=size,
        numbers=numbers,
        is_video=node.text_of("mode") != "annotation",
    )


def _number(node: Node, key: str) -> int | None:
    text = node.text_of(key)
    if not text:
        return None
    number = whole_number(text, 9)
    if number is None:
        raise EntryError(f"its {key}, {text[:40]!r}, is not a whole number; correct it")
    return number


def _file_name(path: str) -> str:
    """The end of a path, which may be of Windows."""
    return _plain(re.split(r"[/\\]", path)[-1])


def _plain(name: str) -> str:
    """A name that a stranger's file gives a file or folder, if it is one."""
    is_path = any(each in name for each in "/\\:\0") or name in (".", "..")
    return "" if is_path else name
