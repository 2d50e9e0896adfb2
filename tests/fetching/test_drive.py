"""Files of Google Drive: a stand-in for its pages, and gdown."""

import sys

import pytest

from d2video.fetching import KnownFile, fetch, place, register_file
from tests.fetching.conftest import fault
from tests.helpers.file_server import Reply

BODY = b"\x80weights" * 100
FILE_ID = "1aB-cD_eF"
ADDRESS = f"gdrive://{FILE_ID}/m.pth"
WARNING = b"""<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>
<form id="download-form" action="https://drive.usercontent.google.com/download" method="get">
<input type="submit" value="Download anyway"/><input type="hidden" name="id" value="1aB-cD_eF">
<input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="u-1"></form>
</body></html>""".replace(b"\n", b"")
QUOTA = b"""<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head><body>
<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently.</p>
</body></html>"""


@pytest.fixture
def drive(server, cache, monkeypatch):
    """The stand-in; it gives the file at once."""
    monkeypatch.setenv("D2VIDEO_MIRROR", server.address)
    monkeypatch.setenv("HOME", str(cache.parent))
    server.replies[f"/drive.google.com/uc?id={FILE_ID}"] = Reply(BODY, Content_Type="application/x")
    return server


@pytest.mark.parametrize(
    "address",
    [
        ADDRESS,
        f"https://drive.google.com/file/d/{FILE_ID}/view?usp=sharing",
        f"https://drive.google.com/uc?export=download&id={FILE_ID}",
        f"https://drive.google.com/open?id={FILE_ID}",
        f"https://drive.usercontent.google.com/download?id={FILE_ID}&confirm=t",
    ],
)
def test_a_file_by_all_its_addresses(drive, address):
    register_file(ADDRESS, KnownFile(file_name="m.pth"))
    assert fetch(address).read_bytes() == BODY
    assert fetch(ADDRESS) == fetch(address) == place(ADDRESS)
    assert len(drive.asked) == 1


def test_a_large_file_behind_the_warning(drive, capsys):
    drive.replies[f"/drive.google.com/uc?id={FILE_ID}"] = Reply(WARNING, Content_Type="text/html")
    confirmed = f"/drive.usercontent.google.com/download?id={FILE_ID}&confirm=t&uuid=u-1"
    drive.replies[confirmed] = Reply(BODY)
    assert fetch(ADDRESS).read_bytes() == BODY
    assert "m.pth: 100%" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(QUOTA, Content_Type="text/html"), "Too many users have viewed"),
        (Reply(b"<html>sign in</html>", Content_Type="text/html"), "public link"),
        (Reply(status=404), "Google Drive answers 404"),
        (Reply(BODY, length=len(BODY) + 1), "Google Drive"),
    ],
)
def test_refusals_are_one_line_and_leave_nothing(drive, files, reply, words):
    drive.replies[f"/drive.google.com/uc?id={FILE_ID}"] = reply
    register_file(ADDRESS, KnownFile(sha256="ab" * 32, page="https://authors.org"))
    message = fault(ADDRESS)
    assert words in message
    assert f"get m.pth (sha256 {'ab' * 32}) by hand from https://authors.org" in message
    assert str(place(ADDRESS).parent) in message
    assert files() == []


@pytest.mark.parametrize("why", ["quota", "no gdown"])
def test_another_address_stands_in(drive, files, monkeypatch, caplog, why):
    """As the Hub for Deformable DETR, whose files on Drive are often over their quota."""
    drive.replies[f"/drive.google.com/uc?id={FILE_ID}"] = Reply(QUOTA, Content_Type="text/html")
    if why == "no gdown":
        monkeypatch.setitem(sys.modules, "gdown", None)
    drive.replies["/authors.org/m.pth"] = Reply(BODY)
    register_file(ADDRESS, KnownFile(fallbacks=("https://authors.org/m.pth",)))
    assert fetch(ADDRESS).read_bytes() == BODY
    assert ("Too many users" if why == "quota" else "pip install") in caplog.text
    assert files() == ["authors.org/m.pth"]


def test_no_network(cache, files, monkeypatch, capsys):
    monkeypatch.setenv("D2VIDEO_MIRROR", "http://127.0.0.1:1")
    register_file(ADDRESS, KnownFile())
    message = fault(ADDRESS)
    assert "no connection to Google Drive: [Errno 111] Connection refused; get m.pth" in message
    assert f"https://drive.google.com/file/d/{FILE_ID}/view" in message
    assert "B/s" not in capsys.readouterr().err  # no empty progress bar
    assert files() == []


def test_without_gdown(cache, files, monkeypatch):
    monkeypatch.setitem(sys.modules, "gdown", None)
    assert "pip install 'd2video[zoo]'" in fault(ADDRESS)
    assert files() == []


def test_a_link_to_a_folder_is_no_file(cache):
    assert "this is not the address of a file" in fault(
        "https://drive.google.com/drive/folders/1MVSdU"
    )
