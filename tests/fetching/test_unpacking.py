"""A whole zip archive as a folder in the cache."""

import stat
import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from d2video.fetching import around, unpack, unpacking
from d2video.formats.faults import Doubt, Fault, Tally
from d2video.utils.errors import UserError
from tests.helpers.findings import one_line

MEMBERS = {"a.json": b"{}", "images/1.jpg": b"abc" * 1000, "images\\2.jpg": b"d"}


def write(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def test_once_and_anew_where_the_archive_changes(tmp_path, cache, monkeypatch):
    path = write(tmp_path / "export.zip", MEMBERS.items())
    folder = unpack(path)
    files = {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }
    assert files == {name.replace("\\", "/"): content for name, content in MEMBERS.items()}
    with monkeypatch.context() as context:
        context.setattr(unpacking, "_unpack_into", None)
        assert unpack(path) == folder
    write(path, [*MEMBERS.items(), ("new", b"")])
    assert (unpack(path) / "new").is_file()
    assert not [p for p in cache.rglob("*") if p.name.endswith(("part", "partial"))]


def test_messages_name_the_archive(tmp_path, cache):
    write(tmp_path / "job.zip", [("in/a.xml", b"")])
    write(tmp_path / "outer.zip", [("more/job.zip", (tmp_path / "job.zip").read_bytes())])
    outer = unpack(tmp_path / "outer.zip")
    folder = unpack(outer / "more" / "job.zip")
    path, text, job = (
        f"{folder}/in/a.xml",
        f"not in {folder}",
        f"{tmp_path}/outer.zip!/more/job.zip",
    )
    tally = Tally(path, "shapes")
    tally.leave_out(text)
    for found in (
        *(Fault(path, "line", 3, text), Fault(path, "file", None, f"{path}: {text}")),
        *(Doubt(path, text), tally.left_out(), UserError(f"{path}: {text}")),
    ):
        assert str(found).startswith(f"{job}!/in/a.xml")
        assert str(found).endswith(f"not in {job}")


def test_what_belongs_to_a_folder_may_lie_beside_its_archive(tmp_path, cache):
    write(tmp_path / "job.zip", [("in/a.xml", b"")])
    write(tmp_path / "outer.zip", [("more/job.zip", (tmp_path / "job.zip").read_bytes())])
    folder, outer = unpack(tmp_path / "job.zip") / "in", unpack(tmp_path / "outer.zip")
    beside = [tmp_path / "job/in", tmp_path / "in", tmp_path]
    assert around(folder) == [*map(str, [folder, *beside])]
    assert around(folder.parents[1]) == [str(folder.parents[1]), str(tmp_path)]
    folder = unpack(outer / "more/job.zip") / "in"
    beside = [outer / "more/job/in", outer / "more/in", outer / "more"]
    beside += [tmp_path / "outer/more", tmp_path / "more", tmp_path]
    assert around(folder) == [*map(str, [folder, *beside])]
    assert around(str(tmp_path)) == [str(tmp_path)]


def _encrypted(path):
    _change(path, 6, 1)


def _of_windows(path):
    """Packed by Deflate64, as Windows does with large files."""
    _change(path, 8, 9)


def _change(path, place, value):
    """Set a number in the local header of the first member, and in that of the directory."""
    write(path, MEMBERS.items())
    content = bytearray(path.read_bytes())
    for mark, shift in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
        struct.pack_into("<H", content, content.index(mark) + place + shift, value)
    path.write_bytes(content)


def _damaged(path):
    write(path, MEMBERS.items())
    content = bytearray(path.read_bytes())
    place = content.index(b"images/1.jpg") + 14
    content[place : place + 5] = b"\0" * 5
    path.write_bytes(content)


def _link(path):
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    write(path, [(info, "/etc/passwd")])


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda path: write(path, [("../a", b"")]), "its member '../a' leads out"),
        (lambda path: write(path, [("/etc/a", b"")]), "its member '/etc/a' leads out"),
        (lambda path: write(path, [("a\\..\\..\\b", b"")]), "leads out"),
        (_link, "its member 'link' leads out"),
        (_encrypted, "it is encrypted: unpack it with its password"),
        (_damaged, "it is damaged or no zip archive"),
        (_of_windows, "That compression method is not supported: unpack it, and give the folder"),
        (lambda path: path.write_bytes(b"PK\x03\x04 and no more"), "it is damaged"),
        (lambda path: write(path, [("a", b"1"), ("a", b"2")]), "it has two members 'a'"),
        (lambda path: write(path, [("a", b"0" * 4000)]), "MB hold 4e-06 GB in 1 files"),
    ],
)
def test_refused_in_one_line(make, part, tmp_path, cache, files, monkeypatch):
    monkeypatch.setattr(unpacking, "_LARGE", 3999)
    monkeypatch.setattr(unpacking, "_MOST_SHRUNK", 20)
    make(tmp_path / "export.zip")
    with one_line(part, match="export.zip: "):
        unpack(tmp_path / "export.zip")
    assert files() == []


def test_a_full_disk(tmp_path, cache, monkeypatch):
    full = type("Usage", (), {"free": 1})
    monkeypatch.setattr(unpacking.shutil, "disk_usage", lambda path: full)
    write(tmp_path / "export.zip", MEMBERS.items())
    with pytest.raises(UserError, match="set FVCORE_CACHE to another folder"):
        unpack(tmp_path / "export.zip")


def test_several_at_once(tmp_path, cache, monkeypatch):
    """One unpacks, and the others wait for it."""
    calls, once = [], unpacking._unpack_into
    monkeypatch.setattr(unpacking, "_unpack_into", lambda *a: (calls.append(a), once(*a)))
    path = write(tmp_path / "export.zip", MEMBERS.items())
    with ThreadPoolExecutor(4) as pool:
        (folder,) = {*pool.map(unpack, [path] * 8)}
    assert len(calls) == 1
    assert (folder / "images/1.jpg").is_file()
