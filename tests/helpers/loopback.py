"""Servers on this machine, in place of the web and of network cameras."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


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
