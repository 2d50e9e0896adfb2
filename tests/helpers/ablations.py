"""The tables of ablations in the projects' READMEs, and their rows as tiny trainings.

A README has them in its section "Ablations". A table has the columns "row", "keys" and "paper", and may have
more. Its rows start from the config that the text before it, or an earlier table's, names last in
backticks, such as `DETR/detr_R50_300ep.yaml`. The cell "keys" is that config's own row ("—"), or, in
backticks, a config, a line of KEY VALUE, or both. The cell "paper" begins with the paper's figure, or is
"not given".

``tests/projects/<Name>/system.py`` of such a project declares ``ABLATION_SIZES``, keys and values that make
each row's model tiny, and ``ablation_batch(cfg)``, a batch of training samples for it.
"""

import re
import shlex
from dataclasses import dataclass
from functools import cached_property

from detectron2.config import CfgNode

from d2video.config import load_cfg
from d2video.projects import register_all
from tests.helpers import ROOT
from tests.helpers.systems import declared

COLUMNS = ("row", "keys", "paper")
OWN = "—"


@dataclass(frozen=True)
class Row:
    """One row: the project, its cells, and the config that the table starts from."""

    project: str
    name: str
    keys: str
    paper: str
    start: str

    def __str__(self) -> str:
        return f"{self.project}: {self.name}"

    @cached_property
    def _words(self) -> list[str]:
        return [] if self.keys == OWN else shlex.split(self.keys.strip("`"))

    @property
    def config(self) -> str:
        named = self._words[:1] and self._words[0].endswith(".yaml")
        return self._words[0] if named else self.start

    @property
    def overrides(self) -> list[str]:
        return self._words[self._words[:1] == [self.config] :]

    def cfg(self, *sizes: object) -> CfgNode:
        """The row's config, its own keys after the ``sizes``."""
        register_all()
        return load_cfg(self.config, ["MODEL.DEVICE", "cpu", *sizes, *self.overrides])

    def tiny_cfg(self) -> CfgNode:
        return self.cfg(*declared(self.project).ABLATION_SIZES)


def rows() -> list[Row]:
    """Of all projects with such a section, in the order of the files."""
    found = []
    for readme in sorted((ROOT / "projects").glob("*/README.md")):
        section = re.search(r"^## Ablations\n(.*?)(?=^## |\Z)", readme.read_text(), re.M | re.S)
        if section:
            found += _rows(readme.parent.name, section[1])
    return found


def _rows(project: str, section: str) -> list[Row]:
    found, start, header = [], "", None
    for line in section.splitlines():
        if not line.startswith("|"):
            header = None
            start = (re.findall(r"`([^`]+\.yaml)`", line) or [start])[-1]
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if header is None:
            header = cells
        elif set(line) - set("|-: "):
            of = dict(zip(header, cells, strict=True))
            found.append(Row(project, *(of[column] for column in COLUMNS), start))
    return found
