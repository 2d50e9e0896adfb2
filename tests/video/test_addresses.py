"""Videos and images at addresses: files of a web server, live streams, and one clear line for each fault."""

import base64
import io
import logging
import socket
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from d2video.utils.errors import UserError
from d2video.video import stream, web
from d2video.video.video_reader import open_video
from d2video.video.video_writer import VideoWriter
from tests.helpers.loopback import serve, serve_rtsp

HEIGHT, WIDTH, LENGTH = 48, 64, 12


def frames(length: int = LENGTH) -> list[np.ndarray]:
    """Noise, each picture 15 brighter than the one before."""
    noise = np.random.default_rng(0).integers(0, 15, (length, HEIGHT, WIDTH, 1))
    shown = noise + 15 * np.arange(length)[:, None, None, None]
    return list(shown.repeat(3, axis=3).astype(np.uint8))


def brightness(video) -> list[int]:
    return [round(frame.image.mean() / 15 - 0.5) for frame in video]


@pytest.fixture(scope="module")
def mp4(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("web") / "in.mp4"
    with VideoWriter(path, fps=10) as writer:
        for image in frames():
            writer.write(image)
    return path.read_bytes()


def jpeg(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG")
    return file.getvalue()


def motion_jpeg(handler, images, pause: float = 0.0) -> None:
    """What a network camera sends: JPEG after JPEG, as parts of one answer."""
    for image in images:
        picture = jpeg(image)
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
        handler.wfile.write(head.encode() + picture + b"\r\n")
        time.sleep(pause)


def test_a_file_reads_as_on_disk(mp4):
    pages = {"/a b/in.mp4": lambda h: h.send(mp4, "video/mp4")}
    pages["/a%20b/in.mp4"] = pages["/a b/in.mp4"]
    with serve(pages) as host:
        video = open_video(f"http://{host}/a b/in.mp4?token=secret")
    # The server is gone: the copy is read, as often as wanted.
    for _ in range(2):
        assert brightness(video) == list(range(LENGTH))
    assert (video.fps, video.size, video.is_live) == (10, (HEIGHT, WIDTH), False)
    assert video.estimated_length == LENGTH
    assert video.name == f"http://{host}/a b/in.mp4?..."
    folder = video._copy.path.parent
    assert folder.is_dir()
    del video
    assert not folder.exists()


def test_an_image(mp4):
    picture = jpeg(frames()[9])
    pages = {"/photo.jpg": lambda h: h.send(picture, "image/jpeg")}
    pages["/snapshot"] = lambda h: h.send(picture, "image/jpeg")
    with serve(pages) as host:
        assert brightness(open_video(f"http://{host}/photo.jpg")) == [9]
        assert brightness(open_video(f"http://{host}/snapshot")) == [9]
        both = [f"http://{host}/photo.jpg", f"http://{host}/photo.jpg"]
        assert brightness(open_video(both)) == [9, 9]


def test_the_password_reaches_the_server_and_nothing_else(mp4):
    seen = []

    def page(handler) -> None:
        seen.append(handler.headers["Authorization"])
        if seen[-1] is None:
            handler.send_response(401)
            handler.send_header("WWW-Authenticate", 'Basic realm="camera"')
            handler.send_header("Content-Length", "0")
            handler.end_headers()
        else:
            handler.send(mp4, "video/mp4")

    with serve({"/in.mp4": page}) as host:
        video = open_video(f"http://me:p%40ss@{host}/in.mp4")
    assert base64.b64decode(seen[-1].split()[1]) == b"me:p@ss"
    assert video.name == f"http://{host}/in.mp4"
    assert next(iter(video)).source == video.name


def test_a_file_without_stated_length_is_read_in_order(mp4):
    asked = []

    def page(handler) -> None:
        asked.append(handler.path)
        handler.start("video/mp4")
        handler.wfile.write(mp4)

    with serve({"/in.mp4": page}) as host:
        video = open_video(f"http://{host}/in.mp4")
        assert not video.is_live
        for count in (1, 2):  # the first time from the answer that told the size
            shown = list(video)
            assert len(asked) == count
            assert brightness(shown) == list(range(LENGTH))
            assert [frame.time for frame in shown] == pytest.approx(np.arange(LENGTH) / 10)


def test_an_ordered_stream_that_breaks_off(mp4, caplog):
    def page(handler) -> None:
        handler.start("video/mp4")
        handler.wfile.write(mp4[: len(mp4) * 7 // 10])

    with serve({"/in.mp4": page}) as host:
        shown = []
        with pytest.raises(UserError, match=r"in\.mp4 broke off after frame \d+ "):
            shown.extend(open_video(f"http://{host}/in.mp4"))
        assert 0 < len(shown) < LENGTH
        assert len(list(open_video(f"http://{host}/in.mp4", on_broken="stop"))) == len(shown)
    assert "broke off after frame" in caplog.text


def test_motion_jpeg_of_a_camera(caplog):
    gate = threading.Event()

    def page(handler) -> None:
        handler.start("multipart/x-mixed-replace; boundary=frame")
        motion_jpeg(handler, frames(3))
        gate.wait(5)
        motion_jpeg(handler, frames()[3:], 0.01)

    with serve({"/stream": page}) as host:
        video = open_video(f"http://{host}/stream?pwd=1")
        assert (video.is_live, video.size, video.estimated_length) == (True, (HEIGHT, WIDTH), None)
        shown = iter(video)
        first = next(shown)
        gate.set()
        time.sleep(0.3)  # a slow model
        with caplog.at_level(logging.WARNING):
            rest = brightness(shown)
    assert first.time >= 0
    assert rest[-1] == LENGTH - 1
    assert len(rest) < LENGTH - 3
    assert "frames skipped" in caplog.text


def encoded(target, form: str, codec: str = "mpeg2video", **options: str) -> None:
    """Write the frames to a file."""
    with av.open(target, "w", format=form, options=options) as container:
        written = container.add_stream(codec, rate=25, options={"g": "4"})
        written.width, written.height, written.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for image in frames():
            container.mux(written.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(written.encode(None))


def test_rtsp():
    file = io.BytesIO()
    encoded(file, "mpegts")
    with serve_rtsp(file.getvalue(), pause=0.01) as host:
        video = open_video(f"rtsp://me:hidden@{host}/live?channel=1")
        assert (video.name, video.is_live) == (f"rtsp://{host}/live?...", True)
        assert video.size == (HEIGHT, WIDTH)
        for _ in range(2):  # connects anew
            shown = brightness(video)
            assert shown[-1] >= LENGTH - 3
            assert shown == sorted(shown)
            assert len(shown) > 1


def test_hls(tmp_path):
    encoded(str(tmp_path / "list.m3u8"), "hls", "libx264", hls_time="0.16", hls_playlist_type="vod")
    pages = {
        f"/{path.name}": lambda h, path=path: h.send(path.read_bytes(), "video/mp2t")
        for path in tmp_path.glob("*.ts")
    }
    text = (tmp_path / "list.m3u8").read_text()
    live = text.replace("#EXT-X-ENDLIST", "").replace("#EXT-X-PLAYLIST-TYPE:VOD", "")
    foreign = text.replace("list0.ts", f"file://{tmp_path}/list0.ts")
    for name, content in (("list", text), ("live", live), ("foreign", foreign)):
        pages[f"/{name}.m3u8"] = lambda h, content=content: h.send(
            content.encode(), "application/vnd.apple.mpegurl"
        )
    with serve(pages) as host:
        video = open_video(f"http://{host}/list.m3u8")
        assert not video.is_live
        assert brightness(video) == list(range(LENGTH))
        video = open_video(f"http://{host}/live.m3u8")
        assert video.is_live
        start, shown = time.monotonic(), iter(video)
        times = [next(shown).time for _ in range(8)]
        # Its parts come at once; they are shown at their times, none is skipped.
        assert times[-1] == pytest.approx(7 / 25, abs=0.1)
        assert time.monotonic() - start >= 0.2
        shown.close()
        # A server's list does not reach files of this machine: the first part is missing.
        rest = brightness(open_video(f"http://{host}/foreign.m3u8"))
        assert rest == list(range(LENGTH - len(rest), LENGTH))
        assert len(rest) < LENGTH


def send_mpegts(port: int, stop: threading.Event) -> None:
    with av.open(f"udp://127.0.0.1:{port}?pkt_size=1316", "w", format="mpegts") as container:
        sent = container.add_stream("mpeg2video", rate=25, options={"g": "1"})
        sent.width, sent.height, sent.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        while not stop.wait(0.02):
            for image in frames(1):
                container.mux(sent.encode(av.VideoFrame.from_ndarray(image + 90, format="rgb24")))


def free_port(kind=socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def test_udp_falls_silent(monkeypatch, caplog):
    monkeypatch.setattr(stream, "TIMEOUT", 1.0)
    port, stop = free_port(socket.SOCK_DGRAM), threading.Event()
    sender = threading.Thread(target=send_mpegts, args=(port, stop), daemon=True)
    sender.start()
    try:
        video = open_video(f"udp://127.0.0.1:{port}")
        assert (video.is_live, video.size) == (True, (HEIGHT, WIDTH))
        shown = iter(video)
        assert [brightness([next(shown)]) for _ in range(3)] == [[6]] * 3
    finally:
        stop.set()
        sender.join()
    with pytest.raises(UserError, match=rf"udp://127.0.0.1:{port} stopped after \d+ .*no data"):
        list(shown)


@pytest.mark.parametrize("scheme", ["rtsp", "rtmp", "http", "tcp"])
def test_nobody_answers(scheme):
    address = f"{scheme}://user:hidden@127.0.0.1:{free_port()}/live"
    with pytest.raises(UserError, match=r"Connection refused") as caught:
        open_video(address)
    assert "hidden" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_silent_servers(monkeypatch):
    monkeypatch.setattr(stream, "TIMEOUT", 0.3)
    monkeypatch.setattr(web, "TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for scheme in ("rtsp", "http", "rtmp"):
            with pytest.raises(UserError, match=r"within 0.3 s"):
                open_video(f"{scheme}://127.0.0.1:{port}/live")


def test_faults_are_one_line(mp4, tmp_path):
    pages = {
        "/page": lambda h: h.send(b"<html>watch</html>", "text/html; charset=utf-8"),
        "/text.mp4": lambda h: h.send(b"hello" * 100, "video/mp4"),
        "/short.mp4": lambda h: h.send(mp4[:500], "video/mp4", length=len(mp4)),
        "/cut.mp4": lambda h: h.send(mp4[: len(mp4) * 7 // 10], "video/mp4"),
        "/secret.mp4": lambda h: h.send(b"", "text/plain", status=403),
        "/endless": lambda h: (h.start("video/mp2t"), h.wfile.write(b"no video " * 4000)),
    }
    expected = {
        "/page": "is a web page, not a video; give the address of the video file",
        "/gone.mp4": r"gone\.mp4\?\.\.\.: the server answers 404 \(Not Found\); check the address",
        "/secret.mp4": "answers 403",
        "/text.mp4": r"text\.mp4.*not a video",
        "/short.mp4": r"short\.mp4\S+ the transfer broke off after 500 of \d+ bytes; try again",
        "/endless": "cannot open .*/endless",
    }
    with serve(pages) as host:
        for path, words in expected.items():
            with pytest.raises(UserError, match=words) as caught:
                open_video(f"http://x:hidden@{host}{path}?key=hidden")
            assert "hidden" not in str(caught.value)
            assert f"http://{host}{path}" in str(caught.value)
        with pytest.raises(
            UserError, match=rf"video http://{host}/cut\.mp4 is damaged after frame"
        ):
            list(open_video(f"http://{host}/cut.mp4"))


def test_other_addresses(tmp_path, mp4):
    for address, words in {
        "s3://bucket/a.mp4": r"s3://bucket/a\.mp4 cannot be opened; give .* http://, https://",
        "rtsp://user:pa/ss@cam/1": r"no host that can be read; write .* %2F",
        "http://nowhere.invalid/a.mp4": r"cannot open http://nowhere\.invalid/a\.mp4: no connection",
        Path(
            "http://nowhere.invalid/a.mp4"
        ): r"cannot open http://nowhere\.invalid/a\.mp4: no connection",
    }.items():
        with pytest.raises(UserError, match=words):
            open_video(address)
    (tmp_path / "in it.mp4").write_bytes(mp4)
    assert brightness(open_video(f"file://{tmp_path}/in%20it.mp4")) == list(range(LENGTH))
