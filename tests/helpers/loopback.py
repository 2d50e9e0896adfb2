"""Servers on this machine, in place of the web and of network cameras."""

import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import StreamRequestHandler, ThreadingTCPServer


class Handler(BaseHTTPRequestHandler):
    """Calls the function for the path, without what follows "?", with itself; 404 for other paths."""

    pages: dict[str, Callable[["Handler"], None]]

    def do_GET(self) -> None:
        page = self.pages.get(self.path.partition("?")[0])
        if page is None:
            self.send_error(404)
            return
        try:
            page(self)
        except OSError:  # the client went
            self.close_connection = True

    def send(self, content: bytes, kind: str, length: int | None = None, status: int = 200) -> None:
        """An answer whose stated length may differ."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)

    def start(self, kind: str) -> None:
        """The head of an answer without a length; its body follows through ``wfile``."""
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()

    def log_message(self, *_) -> None:
        pass


@contextmanager
def serve(pages: dict[str, Callable[[Handler], None]]) -> Iterator[str]:
    """A web server of some pages; yields ``127.0.0.1:port``."""
    handler = type("Handler", (Handler,), {"pages": pages})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


_SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 33\r\na=control:track1\r\n"
)


@contextmanager
def serve_rtsp(mpegts: bytes, pause: float = 0.005) -> Iterator[str]:
    """An RTSP server that sends a transport stream over TCP to each client; yields its host and port."""
    answers = {
        "OPTIONS": ("Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n", ""),
        "DESCRIBE": (f"Content-Type: application/sdp\r\nContent-Length: {len(_SDP)}\r\n", _SDP),
        "SETUP": ("Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n", ""),
    }

    class Client(StreamRequestHandler):
        def handle(self) -> None:
            method = ""
            while method != "PLAY":
                lines = [
                    line.decode().strip() for line in iter(self.rfile.readline, b"\r\n") if line
                ]
                if not lines:
                    return
                method = lines[0].split()[0]
                count = next(line for line in lines if line.startswith("CSeq"))
                head, body = answers.get(method, ("Session: 1\r\n", ""))
                self.wfile.write(f"RTSP/1.0 200 OK\r\n{count}\r\n{head}\r\n{body}".encode())
            with suppress(OSError):  # the client went
                for number, start in enumerate(range(0, len(mpegts), 7 * 188)):
                    packet = struct.pack(">BBHII", 0x80, 33, number & 0xFFFF, 90 * number, 1)
                    packet += mpegts[start : start + 7 * 188]
                    self.wfile.write(b"$\0" + struct.pack(">H", len(packet)) + packet)
                    time.sleep(pause)

    with ThreadingTCPServer(("127.0.0.1", 0), Client) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
