"""A member of a zip archive as a file."""

import io
import os
import zipfile

import pytest

from d2video.fetching import KnownFile, fetch, is_address, place, register_file
from d2video.utils.errors import UserError
from tests.fetching.conftest import fault
from tests.helpers.file_server import Reply

MEMBERS = {"run/a.pth": b"aaa" * 1000, "run/b.pth": b"b", "deep/run/c.pth": b"c"}


def packed(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_a_member_of_an_address(server, cache, files):
    server.replies["/m.zip"] = Reply(packed(MEMBERS))
    address = f"{server.address}/m.zip!/run/a.pth"
    assert fetch(address).read_bytes() == MEMBERS["run/a.pth"]
    assert fetch(address) == place(address)
    assert fetch(f"{server.address}/m.zip!/c.pth").read_bytes() == b"c"  # the end is enough
    assert server.asked == ["GET /m.zip"]
    assert len(files()) == 3
    place(f"{server.address}/m.zip").unlink()
    assert fetch(address).read_bytes() == MEMBERS["run/a.pth"]


def test_a_member_put_by_hand_needs_no_archive(cache):
    address = "http://127.0.0.1:1/m.zip!/run/a.pth"
    place(address).parent.mkdir(parents=True)
    place(address).write_bytes(b"by hand")
    assert fetch(address).read_bytes() == b"by hand"


def test_an_archive_that_is_gone(cache):
    register_file("http://127.0.0.1:1/m.zip", KnownFile(page="https://page.org", note="gone"))
    message = fault("http://127.0.0.1:1/m.zip!/run/a.pth")
    assert "get m.zip (gone) by hand from https://page.org and put it into" in message


def test_a_member_of_a_local_archive(tmp_path, cache):
    archive = tmp_path / "m.zip"
    archive.write_bytes(packed(MEMBERS))
    assert is_address(f"{archive}!/run/a.pth")
    assert fetch(f"{archive}!/run/b.pth").read_bytes() == b"b"
    archive.write_bytes(packed({"run/b.pth": b"another"}))
    os.utime(archive, (1, 1))
    assert fetch(f"{archive}!/run/b.pth").read_bytes() == b"another"
    assert "there is no file" in fault(f"{tmp_path}/none.zip!/a.pth")


def test_faults(tmp_path, cache, files):
    archive = tmp_path / "m.zip"
    archive.write_bytes(packed(MEMBERS))
    assert "has no member run/d.pth; it has run/b.pth, run/a.pth" in fault(f"{archive}!/run/d.pth")
    archive.write_bytes(packed(MEMBERS)[:200])
    assert "is damaged or no zip archive" in fault(f"{archive}!/run/a.pth")
    content = bytearray(packed(MEMBERS))
    content[40:43] = b"\0\0\0"
    archive.write_bytes(content)
    assert "is damaged" in fault(f"{archive}!/run/a.pth")
    assert files() == []


def test_an_archive_without_a_member(server, cache):
    with pytest.raises(UserError, match="name a file of the archive after"):
        fetch(f"{server.address}/models.zip!/")
    assert server.asked == []


def test_no_member_leads_out_of_the_cache(tmp_path, cache):
    archive = tmp_path / "m.zip"
    archive.write_bytes(packed({"../../../evil.pth": b"evil"}))
    found = fetch(f"{archive}!/../../../evil.pth")
    assert found.is_relative_to(cache)
    assert not [*tmp_path.glob("evil*"), *tmp_path.parent.glob("evil*")]
