"""Files of the web: fetched once, checked, whole or not at all; each failure is one line."""

import base64
import errno
import hashlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from detectron2.utils.file_io import PathManager

from d2video.fetching import KnownFile, cached, fetch, is_address, place, register_file
from tests.fetching.conftest import fault
from tests.helpers.file_server import Reply

BODY = bytes(range(256)) * 40
DIGEST = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def address(server):
    server.replies["/a/m.pth"] = Reply(BODY)
    return f"{server.address}/a/m.pth"


def test_a_file_is_fetched_once_with_a_progress_bar(server, cache, files, address, capsys):
    path = fetch(address)
    assert path.read_bytes() == BODY
    assert path == place(address) == cached(address)
    assert "m.pth: 100%" in capsys.readouterr().err
    assert fetch(address) == path
    assert PathManager.get_local_path(address) == str(path)
    with PathManager.open(address, "rb") as file:
        assert file.read() == BODY
    assert server.asked == ["GET /a/m.pth"]
    assert files() == [str(path.relative_to(cache))]


def test_paths_stay_as_they_are(tmp_path):
    for path in ("a/m.pth", tmp_path / "none.pth"):
        assert not is_address(path)
        assert str(fetch(path)) == str(path)


def test_a_path_of_an_address_has_lost_a_slash(cache, address):
    assert fetch(address.replace("//", "/")).read_bytes() == BODY


def test_same_names_on_two_hosts_and_with_two_queries_are_two_files(server, cache, address):
    other = address.replace("127.0.0.1", "localhost")
    server.replies["/a/m.pth?v=2"] = Reply(b"two")
    assert len({fetch(each) for each in (address, other, f"{address}?v=2")}) == 3
    assert fetch(f"{address}?v=2").read_bytes() == b"two"
    assert fetch(f"{address}?v=2").suffix == ".pth"


def test_detectron2_finds_its_own_files(cache):
    found = place("https://dl.fbaipublicfiles.com/detectron2/MSRA/R-50.pkl")
    assert found == cache / "detectron2" / "MSRA" / "R-50.pkl"


def test_no_address_leads_out_of_the_cache(server, cache):
    assert place(f"{server.address}/../../../etc/m.pth").is_relative_to(cache)
    assert len(place(f"{server.address}/{'x' * 400}.pth").name) < 255


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(status=404), "the server answers 404"),
        (Reply(status=500), "the server answers 500"),
        (
            Reply(BODY, length=len(BODY) + 7),
            f"broke off after {len(BODY)} of {len(BODY) + 7} bytes",
        ),
        (Reply(b"<!DOCTYPE html><html>log in</html>"), "a web page came"),
        (Reply(b"\n<HTML><body>"), "a web page came"),
        (Reply(b""), "is empty"),
        (Reply(status=302, Location="/b/n.pth"), "infinite loop. The last"),
        (
            Reply(BODY + b"x", length=-1),
            f"has the sha256 {hashlib.sha256(BODY + b'x').hexdigest()}",
        ),
    ],
)
def test_faults_of_the_server_are_one_line_and_leave_nothing(server, cache, files, reply, words):
    server.replies["/b/n.pth"] = reply
    address = f"{server.address}/b/n.pth"
    register_file(address, KnownFile(sha256=DIGEST, page="https://authors.org/page", note="old"))
    message = fault(address)
    assert words in message
    for part in (address, "get n.pth", f"sha256 {DIGEST}", "https://authors.org/page", "old"):
        assert part in message
    assert message.endswith(f"put it into {place(address).parent}")
    assert files() == []


def test_no_network(cache, files):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert "no connection to the server: Connection refused" in fault(
        f"http://127.0.0.1:{port}/m.pth"
    )
    assert files() == []


def test_a_server_that_sends_nothing_is_given_up(server, cache, files, monkeypatch):
    monkeypatch.setattr("d2video.fetching.download._TIMEOUT", 0.1)
    server.replies["/m.pth"] = Reply(BODY, wait=lambda: time.sleep(0.5))
    assert "the transfer broke off: " in fault(f"{server.address}/m.pth")
    assert files() == []


def test_by_hand(server, cache):
    address = f"{server.address}/never/m.pth"
    place(address).parent.mkdir(parents=True)
    place(address).write_bytes(BODY)
    assert fetch(address).read_bytes() == BODY
    assert server.asked == []


def test_a_file_with_another_hash_is_fetched_again_once(server, cache, address, caplog):
    register_file(address, KnownFile(sha256=DIGEST[:8]))
    path = place(address)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"damaged")
    assert fetch(address).read_bytes() == BODY
    assert "m.pth has the sha256" in caplog.text
    fetch(address)
    assert len(server.asked) == 1
    register_file(address, KnownFile(sha256="0123"))
    assert "instead of 0123" in fault(address)
    assert path.read_bytes() == BODY  # which may be somebody's own


def test_a_hash_in_the_name_is_checked(server, cache, files, monkeypatch):
    monkeypatch.setenv("D2VIDEO_MIRROR", server.address)
    for host in ("dl.fbaipublicfiles.com", "download.pytorch.org"):
        for name, body in ((f"m-{DIGEST[:8]}.pth", BODY), ("m-0123abcd.pth", BODY)):
            server.replies[f"/{host}/x/{name}"] = Reply(body)
        assert fetch(f"https://{host}/x/m-{DIGEST[:8]}.pth").read_bytes() == BODY
        assert "instead of 0123abcd" in fault(f"https://{host}/x/m-0123abcd.pth")
    server.replies["/other.org/m-0123abcd.pth"] = Reply(BODY)
    fetch("https://other.org/m-0123abcd.pth")  # who knows what these digits are there
    server.replies["/download.pytorch.org/m-20240131.pth"] = Reply(BODY)
    fetch("https://download.pytorch.org/m-20240131.pth")  # a date


def test_a_mirror_stands_in_for_all_other_hosts(server, cache, address, monkeypatch):
    monkeypatch.setenv("D2VIDEO_MIRROR", f"{server.address}/")
    server.replies["/dl.fbaipublicfiles.com/detectron2/MSRA/R-50.pkl"] = Reply(BODY)
    assert fetch("detectron2://MSRA/R-50.pkl") == cache / "detectron2" / "MSRA" / "R-50.pkl"
    assert fetch(address).read_bytes() == BODY
    assert server.asked[-1] == "GET /a/m.pth"


def test_a_mirror_that_is_none(cache, monkeypatch):
    monkeypatch.setenv("D2VIDEO_MIRROR", "mirror.local:8000")
    assert fault("https://other.org/m.pth").startswith("D2VIDEO_MIRROR is mirror.local:8000: give")


def test_other_addresses_are_tried_where_the_file_is_missing(server, cache, address, caplog):
    gone = f"{server.address}/gone.pth"
    register_file(gone, KnownFile(fallbacks=(f"{server.address}/gone2.pth", address)))
    assert fetch(gone).read_bytes() == BODY
    assert "gone.pth: the server answers 404" in caplog.text
    assert fetch(gone) == place(address)
    assert len(server.asked) == 3  # the second time none: the file that stands in is there
    broken = f"{server.address}/broken.pth"
    server.replies["/broken.pth"] = Reply(status=503)
    register_file(broken, KnownFile(fallbacks=(f"{server.address}/unasked.pth",)))
    assert "503" in fault(broken)
    assert "GET /unasked.pth" not in server.asked


def test_all_addresses_missing_is_one_line(server, cache):
    gone = [f"{server.address}/gone{k}.pth" for k in range(3)]
    register_file(gone[0], KnownFile(fallbacks=(gone[1], gone[2])))
    message = fault(gone[0])
    assert message.count("answers 404") == 3
    assert gone[2] in message


def test_of_several_processes_one_fetches(server, cache, files, address):
    started = threading.Event()
    server.replies["/a/m.pth"].wait = lambda: started.wait(0.3)
    with ThreadPoolExecutor(4) as pool:
        found = {*pool.map(fetch, [address] * 4)}
    assert found == {place(address)}
    assert len(server.asked) == 1
    assert len(files()) == 1


def test_a_waiting_process_goes_on_where_the_first_one_failed(server, cache, files, address):
    replies = [Reply(BODY, length=len(BODY) + 1, wait=lambda: time.sleep(0.2)), Reply(BODY)]
    server.reply = lambda path: replies.pop(0)
    with ThreadPoolExecutor(2) as pool:
        results = [pool.submit(fetch, address) for _ in range(2)]
    assert sorted(type(r.exception()).__name__ for r in results) == ["NoneType", "UserError"]
    assert place(address).read_bytes() == BODY
    assert len(files()) == 1


def test_what_a_killed_process_left_goes(cache, files, address):
    place(address).parent.mkdir(parents=True)
    (place(address).parent / ".m.pth.partial").write_bytes(b"x" * 100_000)
    assert fetch(address).read_bytes() == BODY
    assert len(files()) == 1


def test_a_full_disk(cache, files, address, monkeypatch):
    def write(url, file, title):
        file.write(b"begun")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("d2video.fetching.local_files.download", write)
    message = fault(address)
    assert f"cannot write {place(address)}: No space left on device; make room" in message
    assert "FVCORE_CACHE" in message
    assert files() == []


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch, address):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path / "file" / "cache"))
    assert "cannot write" in fault(address)


@pytest.mark.parametrize(
    "text", ["https://", "https:///m.pth", "hf://org", "gdrive://", "by-hand://a"]
)
def test_half_an_address(cache, text):
    assert is_address(text)
    assert fault(text).startswith(text)


@pytest.mark.parametrize(
    "text",
    [
        *("https://a", "https://a/", "https://a/..", "http://a:99999/m.pth"),
        *("http://me:secret@a:b:c/m.pth", "http://[::1/m.pth", "HTTP://me:secret@a:x/m.pth"),
    ],
)
def test_a_web_address_without_a_file_or_with_a_broken_host(cache, text):
    message = fault(text)
    assert "this is not the address of a file" in message or "no host that can be read" in message
    assert "secret" not in message


def test_protocols_in_capitals_and_blanks_around_an_address(address, cache):
    assert fetch(f" {address.replace('http', 'HTTP')}\n").read_bytes() == BODY
    assert is_address(" Hf://facebook/detr-resnet-50 ")
    assert place("HF://a/b") == place("hf://a/b")


def test_files_of_this_machine(tmp_path):
    (tmp_path / "a b.pth").touch()
    assert fetch(f"file://{tmp_path}/a%20b.pth") == tmp_path / "a b.pth"


def test_other_kinds_of_addresses(cache):
    assert "addresses of this kind cannot be fetched" in fault("gs://a/m.pth")
    assert fault("catalog://x/y.pkl").startswith("catalog://x/y.pkl: cannot be fetched")


def test_a_password_is_used_and_not_shown(server, cache, monkeypatch, caplog):
    secret = base64.b64encode(b"me:wo@rd").decode()
    answers = {True: Reply(BODY), False: Reply(status=401, WWW_Authenticate='Basic realm="x"')}
    server.reply = lambda path: answers[server.headers.get("Authorization") == f"Basic {secret}"]
    address = server.address.replace("//", "//me:wo%40rd@") + "/m.pth?token=abc"
    assert fetch(address).read_bytes() == BODY
    message = fault(address.replace("me:", "you:").replace("/m.pth", "/n.pth"))
    for text in (message, caplog.text, str(place(address))):
        assert not any(part in text for part in ("wo%40rd", "wo@rd", "abc", "you:"))
    assert "the server answers 401" in message
