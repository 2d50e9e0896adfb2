"""The server of the page, without a browser: runs side by side, hostile files, other people's files."""

import io
import struct
import tempfile
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio")

from d2video.app.limits import Limits
from d2video.app.server import open_server
from d2video.utils.errors import UserError
from tests.app.client import Client, predictor, result_url, serving, write_square
from tests.helpers.stub_video_model import StubClassifier, StubRestorer, StubTracker, StubVideoModel
from tests.helpers.video_files import write_coded

pytestmark = pytest.mark.slow
LIMITS = Limits(upload_mb=1, seconds=3, frames=25, megapixels=0.1)


@pytest.fixture(scope="module")
def address():
    models = {
        "tracker": predictor(StubTracker()),
        "window": predictor(StubVideoModel()),
        "classes": predictor(StubClassifier(), ["dark", "bright", "red", "blue"]),
        "twice": predictor(StubRestorer(), None),
    }
    with serving(models, limits=LIMITS) as address:
        yield address


def test_ten_at_once_get_their_own(address, tmp_path):
    clips = [
        write_square(tmp_path / f"{i}.mp4", length=6 + i, left=3 * i, size=12 + i)
        for i in range(10)
    ]
    clips[9] = clips[0]  # the same file from two users

    def use(number: int) -> tuple[dict, str]:
        client = Client(address, f"user{number}")
        shown = client.annotate(clips[number], "clip.mp4")
        assert "<video" in shown, shown
        return client.result(shown, ".json").json(), client.result(shown, ".txt").text

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(use, range(10)))
    for number, (found, rows) in zip([*range(9), 0], answers, strict=True):
        assert found["video"] == "clip.mp4"
        assert found["num_frames"] == 6 + number == len(rows.splitlines())
        for t, frame in enumerate(found["frames"]):
            (box,) = (each["bbox"] for each in frame["instances"])
            expected = [3 * number + 2 * t, 16, 12 + number, 12 + number]
            np.testing.assert_allclose(box, expected, atol=1)  # H.264 blurs the edges


def test_pictures_and_other_models(address, tmp_path):
    client = Client(address)
    clip = write_square(tmp_path / "clip.mp4")
    shown = client.annotate(clip, "clip.mp4", model=1, classes=["square"])
    assert len(client.result(shown, ".json").json()["frames"][5]["instances"]) == 1
    shown = client.annotate(clip, "clip.mp4", model=1, classes=["dog"])
    assert not any(each["instances"] for each in client.result(shown, ".json").json()["frames"])
    assert "no class &#x27;dgo&#x27;: did you mean dog?" in client.annotate(
        clip, "clip.mp4", model=1, classes=["dgo"]
    )
    shown = client.annotate(clip, "clip.mp4", model=2)
    assert "dark" in shown
    assert client.result(shown, ".json").json()["classes"][0]["category_id"] == 0
    picture = np.full((30, 40, 3), 90, np.uint8)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    shown = client.annotate(file.getvalue(), "photo.png", model=3)
    restored = np.asarray(Image.open(io.BytesIO(client.result(shown, ".png").content)))
    assert restored.shape == (60, 160, 3)  # the input beside it
    assert (restored[:, 80:] == 166).all()


def bomb(width: int, height: int) -> bytes:
    """A PNG that says it is that large, and has hardly any data."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 10**6)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened:
        opened.writestr("../../evil.mp4", b"x")
    return file.getvalue()


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("text.mp4", b"this is no video", "cannot read video text.mp4"),
        ("list.mp4", PLAYLIST, "cannot read video list.mp4"),
        ("list.m3u8", PLAYLIST, "cannot read video list.m3u8"),
        ("a.zip", archive(), "cannot read video a.zip"),
        ("empty.mp4", b"", "cannot read video empty.mp4"),
        ("bomb.png", bomb(60000, 60000), "exceeds limit"),
        ("wide.png", bomb(800, 400), "800x400 pixels, above the limit of 0.1 megapixels"),
        ("cut.png", bomb(300, 300)[:60], "cannot read image cut.png"),
        ("<img src=x onerror=alert(1)>.mp4", b"no video", "cannot read video"),
        ("../../../../tmp/evil.mp4", b"no video", "cannot read video evil.mp4"),
        ("camera:0", b"no video", "cannot read video"),
        ("*.mp4", b"no video", "cannot read video"),
        ("x" * 300 + ".mp4", b"no video", "cannot read video xxx"),
    ],
)
def test_hostile_files(address, name, content, expected):
    client = Client(address)
    shown = client.annotate(content, name)
    assert expected in shown
    assert 'class="error"' in shown
    assert "<img" not in shown
    assert "/tmp" not in shown
    assert tempfile.gettempdir() not in shown


def test_a_picture_with_the_suffix_of_a_video(address):
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (255, 255, 255)).save(file, "PNG")
    assert "<video" in Client(address).annotate(file.getvalue(), "picture.mp4")


def test_limits_of_length(address, tmp_path):
    client = Client(address)
    long = write_square(tmp_path / "long.mp4", 26)
    assert "long.mp4 is longer than this page takes, 3 s and 25 frames" in client.annotate(
        long, "long.mp4"
    )
    # A head that lies: a bare stream states no length.
    bare = write_coded(tmp_path, "bare.h264")
    assert "<video" in client.annotate(bare, "bare.h264")  # of 24 frames
    with serving({"tracker": predictor(StubTracker())}, limits=Limits(frames=23)) as other:
        assert "bare.h264 is longer than this page takes" in Client(other).annotate(
            bare, "bare.h264"
        )
    assert client.upload(b"0" * 1_200_000, "huge.mp4").status_code == 413
    assert client.upload(b"0" * 1_050_000, "huge.mp4").status_code == 413
    chunks = client.http.post("/gradio_api/upload", content=iter([b"0"]))
    assert chunks.status_code == 411  # its length is not stated
    assert "<video" in client.annotate(write_square(tmp_path / "short.mp4"), "short.mp4")


def test_only_own_files(address, tmp_path):
    owner, other = Client(address, "a"), Client(address, "b")
    secret = tmp_path / "secret.mp4"
    clip = write_square(secret)
    path = owner.upload(clip, "clip.mp4").json()[0]
    shown = owner.run(path)
    url = result_url(shown, ".json")
    assert owner.http.get(f"/gradio_api/file={path}").status_code == 200
    assert owner.http.get(url).status_code == 200
    folder = url.rpartition("/")[0]
    for refused in (
        f"/gradio_api/file={path}",
        url,
        "/gradio_api/file=/etc/passwd",
        f"/gradio_api/file={path}/../../../../../../etc/passwd",
        f"/gradio_api/file/{path}",
        "/gradio_api/proxy=http://127.0.0.1:1/",
        f"{folder}/..%2f..%2fuploads",
        f"{folder}/../../../../etc/passwd",
        "/results/..%2fuploads/x",
        "/static/..%2f..%2f..%2fblocks.py",
        "/assets/..%2f..%2f..%2f..%2fblocks.py",
        "/gradio_api/stream/x/1/1/playlist.m3u8",
        "/monitoring",
        "/docs",
        "/openapi.json",
    ):
        assert other.http.get(refused).status_code in (403, 404), refused
    assert owner.http.get("/gradio_api/file=/etc/passwd").status_code == 404
    # Paths of the server in a request, and another user's upload.
    for given in ("/etc/passwd", str(secret), path, f"{path}/../../../../etc/passwd"):
        said = other.run(given)
        assert "<video" not in said
        assert "root:" not in said
    for route in (
        "/gradio_api/run/predict",
        "/gradio_api/call/run",
        "/gradio_api/process_recording",
    ):
        assert other.http.post(route, json={"data": [path]}).status_code == 404


def test_token(tmp_path):
    models = {"tracker": predictor(StubTracker())}
    # A host that others reach gets a token, this machine none.
    with open_server(models, host="0.0.0.0", port=0) as (_, _, made_up):
        token = made_up.partition("?token=")[2]
        assert len(token) > 20
    with open_server(models, port=0) as (_, _, local):
        assert "token" not in local
    with serving(models, token="se cret") as address:
        page, _, query = address.partition("?")
        assert query == "token=se%20cret"
        for url in (page, f"{page}?token=wrong", f"{page}?token=", f"{page}config?{query}"):
            assert httpx.get(url).status_code == 401
        answer = httpx.get(address)
        assert answer.status_code == 303
        assert "token" not in answer.headers["location"]
        assert "HttpOnly" in answer.headers["set-cookie"]
        name, value = answer.headers["set-cookie"].partition(";")[0].split("=")
        assert httpx.get(page, cookies={name: value}).status_code == 200
        forged = {name: f"other.{value.partition('.')[2]}"}
        assert httpx.get(page, cookies=forged).status_code == 401
        client = Client(address)
        assert "<video" in client.annotate(write_square(tmp_path / "a.mp4"), "a.mp4")


def test_other_names_of_this_machine(address):
    # A page of the web whose name leads here would act as the user.
    assert httpx.get(address, headers={"Host": "evil.example"}).status_code == 403
    assert httpx.get(address, headers={"Host": "localhost:1"}).status_code == 303


def test_nothing_is_left(tmp_path):
    before = {*Path(tempfile.gettempdir()).glob("d2video_app_*")}
    with serving({"tracker": predictor(StubTracker())}) as address:
        (folder,) = {*Path(tempfile.gettempdir()).glob("d2video_app_*")} - before
        Client(address).annotate(write_square(tmp_path / "a.mp4"), "a.mp4")
        assert {path.suffix for path in folder.rglob("*.*")} == {".mp4", ".json", ".txt"}
    assert not folder.exists()


def test_a_port_in_use(address):
    port = int(address.rpartition(":")[2].strip("/"))
    with (
        pytest.raises(UserError, match=f"cannot serve at 127.0.0.1:{port} .*--port"),
        open_server({"tracker": predictor(StubTracker())}, port=port),
    ):
        pass
