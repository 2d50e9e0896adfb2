"""The committed drawings are those that docs/draw_systems.py makes."""

import importlib.util
import xml.etree.ElementTree as ElementTree

import pytest

from tests.helpers import ROOT

_spec = importlib.util.spec_from_file_location("draw_systems", ROOT / "docs" / "draw_systems.py")
assert _spec is not None
draw_systems = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(draw_systems)


@pytest.mark.parametrize("name", draw_systems.SYSTEMS)
def test_drawing(name):
    text = draw_systems.SYSTEMS[name]().svg()
    assert (ROOT / "docs" / "images" / f"{name}.svg").read_text() == text
    ElementTree.fromstring(text)
