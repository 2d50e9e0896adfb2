"""A server on a free port of this machine that stands in for the official addresses."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Reply:
    """What a path answers.

    Args:
        body: of the answer.
        status: of HTTP.
        length: announced; None: the true one, -1: none.
        wait: called between the head and the body.
        headers: further ones.
    """

    def __init__(
        self,
        body: bytes = b"",
        status: int = 200,
        length: int | None = None,
        wait: Callable[[], object] = lambda: None,
        **headers: str,
    ):
        self.body, self.status, self.wait = body, status, wait
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if length != -1:
            self.headers["Content-Length"] = str(len(body) if length is None else length)


class FileServer:
    """
    Attributes:
        address: such as "http://127.0.0.1:8000".
        replies: by path (with query, or without); any other path answers 404.
        asked: "GET /path" of all requests.
        headers: of the last one.
    """

    def __init__(self, port: int):
        self.address = f"http://127.0.0.1:{port}"
        self.replies: dict[str, Reply] = {}
        self.asked: list[str] = []
        self.headers: dict[str, str] = {}

    def reply(self, path: str) -> Reply:
        return (
            self.replies.get(path) or self.replies.get(path.partition("?")[0]) or Reply(status=404)
        )


@contextmanager
def file_server() -> Iterator[FileServer]:
    """Serve until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(f"{self.command} {self.path}")
            served.headers = dict(self.headers)
            reply = served.reply(self.path)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            reply.wait()
            if self.command == "GET":
                self.wfile.write(reply.body)

        do_HEAD = do_GET

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = FileServer(server.server_port)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
