"""The tables in the documents are today's."""

from d2video.model_zoo import ENTRIES
from d2video.model_zoo.tables import documents
from d2video.projects import register_all
from tests.helpers import ROOT


def test_documents_are_not_stale():
    register_all()
    found = documents(ROOT, ENTRIES)
    assert len(found) == 6
    for path, text in found.items():
        assert path.read_text() == text, f"{path} is stale: run python docs/write_model_zoo.py"
        assert text.count("| `") >= 1
