"""Attributes and groups of shapes in CVAT's XML: used, or counted."""

from d2video.formats.faults import Doubt, Tally
from d2video.formats.labels.label_set import LabelSet
from d2video.formats.xml_text import Node

# Attributes by which CVAT writes regions to ignore for MOT and COCO.
_IGNORED = ("ignored", "is_crowd")


class Remarks:
    """Counts attributes and groups."""

    def __init__(self, labels: LabelSet) -> None:
        self._labels = labels
        self._attributes = Tally(labels.source, "attributes of shapes")
        self._groups = 0

    def is_ignored(self, shape: Node) -> bool:
        """Whether an attribute says that a shape is a region to ignore; the others are counted."""
        ignored = False
        for each in shape.children:
            name = each.attributes.get("name", "")
            if name in _IGNORED:
                ignored |= each.text.strip().lower() == "true"
            elif each.tag == "attribute":
                self._attributes.leave_out(f"called {name}")
        return ignored

    def count_group(self, node: Node) -> None:
        """Count a shape or a track, if it has a group."""
        self._groups += node.attributes.get("group_id", "0") != "0"

    def tell(self, what: str) -> None:
        """Report what was counted; ``what`` has groups: "tracks" or "shapes"."""
        labels = self._labels
        if self._groups:
            text = f"{what} with a group_id ({self._groups}) are each an object of their own"
            labels.report(Doubt(labels.source, text))
        self._attributes.tell(labels.report)
