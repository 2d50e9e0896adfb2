"""Tests of the systems, a folder each; and of those in the trees that D2VIDEO_PROJECTS names."""

import os
from pathlib import Path

for _folder in filter(None, os.getenv("D2VIDEO_PROJECTS", "").split(os.pathsep)):
    __path__.append(str(Path(_folder).resolve().parent / "tests" / "projects"))
