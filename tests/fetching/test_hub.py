"""Files of the Hugging Face Hub: a stand-in for its server, and huggingface_hub."""

import hashlib
import sys

import pytest

from d2video.fetching import fetch, place
from tests.fetching.conftest import fault
from tests.helpers.file_server import Reply

COMMIT = "c" * 40
WEIGHTS, CONFIG = b"\x08weights" * 50, b'{"model_type": "detr"}'


def of_hub(body: bytes) -> Reply:
    etag = f'"{hashlib.sha256(body).hexdigest()}"'
    return Reply(body, ETag=etag, X_Repo_Commit=COMMIT)


def missing(code: str, status: int = 404) -> Reply:
    return Reply(b"", status, X_Error_Code=code, X_Repo_Commit=COMMIT)


@pytest.fixture
def hub(server, cache, tmp_path, monkeypatch):
    """The stand-in: the repository org/name with safetensors, org/old with the older format."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    for repo, file in (("name", "model.safetensors"), ("old", "pytorch_model.bin")):
        for each in ("model.safetensors", "pytorch_model.bin", "config.json"):
            server.replies[f"/org/{repo}/resolve/main/{each}"] = missing("EntryNotFound")
        server.replies[f"/org/{repo}/resolve/main/{file}"] = of_hub(WEIGHTS)
    server.replies["/org/name/resolve/main/config.json"] = of_hub(CONFIG)
    return server


@pytest.mark.parametrize(
    "address",
    [
        "hf://org/name",
        "hf://org/name/",
        "hf://org/name/model.safetensors",
        "hf://org/name@main",
        "https://huggingface.co/org/name",
        "https://huggingface.co/org/name/tree/main",
        "https://huggingface.co/org/name/blob/main/model.safetensors",
        "https://huggingface.co/org/name/resolve/main/model.safetensors?download=true",
        "https://hf.co/org/name",
    ],
)
def test_weights_by_all_their_addresses(hub, address):
    path = fetch(address)
    assert path.name == "model.safetensors"
    assert path.read_bytes() == WEIGHTS
    assert (path.parent / "config.json").read_bytes() == CONFIG
    asked = len(hub.asked)
    assert fetch(address) == path
    assert len(hub.asked) == asked  # the cache is enough


def test_older_formats_and_revisions(hub):
    assert fetch("hf://org/old").name == "pytorch_model.bin"
    hub.replies[f"/org/name/resolve/{COMMIT}/model.safetensors"] = of_hub(b"newer")
    assert fetch(f"hf://org/name@{COMMIT}/model.safetensors").read_bytes() == b"newer"


@pytest.mark.parametrize(
    ("address", "reply", "words"),
    [
        ("hf://org/none", missing("RepoNotFound", 401), "there is no org/none on the Hub"),
        ("hf://org/none", missing("GatedRepo", 403), "org/none is gated"),
        ("hf://org/none@v9", missing("RevisionNotFound"), "org/none has no revision v9"),
        ("hf://org/none", missing("EntryNotFound"), "no model.safetensors or pytorch_model.bin"),
        ("hf://org/none", Reply(status=404), "no model.safetensors or pytorch_model.bin"),
        ("hf://org/none", Reply(status=500), "500"),
        ("hf://org/none", Reply(WEIGHTS), "X-Repo-Commit"),
        ("hf://o r/none", None, "the Hub refuses it"),
        ("hf://org/none/../../x", missing("EntryNotFound"), "org/none has no ../../x"),
    ],
)
def test_faults_are_one_line(hub, address, reply, words):
    hub.reply = lambda path: reply
    message = fault(address)
    assert words in message
    assert message.startswith(f"{address}: cannot be fetched")
    assert f"put it into {place(address).parent}" in message


def test_no_network(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    message = fault("hf://org/name")
    assert "no connection to the Hub" in message
    assert "https://huggingface.co/org/name" in message


def test_without_network_what_is_there_is_used(hub, monkeypatch):
    path = fetch("hf://org/name")
    place("hf://org/own").parent.mkdir(parents=True)
    place("hf://org/own").write_bytes(b"by hand")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    assert fetch("hf://org/name") == path
    assert fetch("hf://org/own").read_bytes() == b"by hand"


def test_without_the_package(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "pip install 'd2video[zoo]'" in fault("hf://org/name")
