"""The tables in the documents are today's."""

import runpy

from d2video.model_zoo import ENTRIES
from tests.helpers import ROOT


def test_documents_are_not_stale():
    documents = runpy.run_path(str(ROOT / "docs/write_model_zoo.py"))["documents"]
    found = documents(ROOT, ENTRIES)
    assert len(found) == 6
    for path, text in found.items():
        assert path.read_text() == text, f"{path} is stale: run python docs/write_model_zoo.py"
        assert text.count("| `") >= 1
