"""``d2video models``."""

import json

import pytest

from d2video.cli.models import main
from d2video.fetching import place
from d2video.model_zoo import ENTRIES


@pytest.fixture
def listed(tmp_path, monkeypatch, capsys):
    """A function that gives what the command prints."""
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path / "cache"))

    def run(*words: str) -> str:
        main([*words])
        return capsys.readouterr().out

    return run


def test_all_rows_and_all_configs(listed):
    text = listed()
    for entry in ENTRIES:
        assert entry.config in text
    assert "DETR/detr_tiny_shapes" in text.partition("without published weights")[2]
    assert "Base-" not in text
    assert "common" not in text


@pytest.mark.parametrize("pattern", ["panoptic", "PANOPTIC", "DETR/*panoptic*", "segmentation"])
def test_a_pattern(listed, pattern):
    text = listed(pattern)
    assert "DETR/detr_panoptic_R50 " in text
    assert "detr_R50_500ep" not in text


def test_one_model(listed):
    for name in ("DETR/detr_R50_500ep", "DETR/detr_R50_500ep.yaml", "detr-r50-e632da11.pth"):
        text = listed(name)
        for part in ("box AP 42.0", "e632da11…", "hf://facebook/detr-resnet-50", "Apache-2.0"):
            assert part in text
        assert "no; it belongs at" in text
        assert "DC5" not in text
    assert "no weights are published" in listed("DETR/detr_tiny_shapes")


def test_what_is_in_the_cache_is_told(listed):
    address = "gdrive://10lfe_QJSoZJzcJKxWoxt67QbJG35X55e/vistr_r50.pth"
    assert "Google Drive" in listed("vistr_R50_ytvis2019")
    place(address).parent.mkdir(parents=True)
    place(address).write_bytes(b"weights")
    assert "in the cache" in listed("vistr_R50_ytvis")
    assert str(place(address)) in listed("VisTR/vistr_R50_ytvis2019")


def test_json(listed, tmp_path):
    rows = json.loads(listed("mot17", "--json"))
    assert {"TrackFormer/trackformer_mot17_private", "TrackFormer/trackformer_mot17_half"} <= {
        row["config"] for row in rows
    }
    assert next(row for row in rows if "mot17_private" in row["config"])["state"] == "gone"
    listed("mot17", "--json", str(tmp_path / "rows.json"))
    assert json.loads((tmp_path / "rows.json").read_text()) == rows


def test_an_unknown_name_is_one_line(listed, capsys):
    with pytest.raises(SystemExit) as stop:
        listed("detr_R50_501ep")
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "did you mean DETR/detr_R50_500ep" in error
