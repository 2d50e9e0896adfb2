"""The drawings in the documentation are what docs/draw_systems.py writes."""

import runpy
import xml.etree.ElementTree as ET

from tests.helpers import ROOT

DRAWINGS = runpy.run_path(str(ROOT / "docs/draw_systems.py"))["drawings"]()


def test_drawings_are_not_stale():
    for name, content in DRAWINGS.items():
        path = ROOT / "docs/images" / name
        assert path.read_text() == content, f"{path} is stale: run python docs/draw_systems.py"


def test_each_project_shows_its_drawing():
    for readme in ROOT.glob("projects/*/README.md"):
        name = f"{readme.parent.name.lower()}.svg"
        assert name in DRAWINGS
        assert f"(../../docs/images/{name})" in readme.read_text()


def test_drawings_are_readable():
    """They have a title, text as text, and no text begins or ends outside."""
    for name, content in DRAWINGS.items():
        root = ET.fromstring(content)
        space = "{http://www.w3.org/2000/svg}"
        assert root.findtext(f"{space}title"), name
        texts = root.findall(f"{space}text")
        assert len(texts) > 5
        height = int(root.attrib["height"])
        for each in texts:
            assert 0 < float(each.attrib["y"]) < height, (name, each.text)
            assert 0 < float(each.attrib["x"]) < 760, (name, each.text)
