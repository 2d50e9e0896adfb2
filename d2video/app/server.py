"""The server of the page."""

import contextlib
import ipaddress
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse

# Read when Gradio is imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr

from d2video.app.access import Access
from d2video.app.limits import Limits
from d2video.app.page import STYLE, THEME, build_page
from d2video.app.users import Users
from d2video.inference import Predictor
from d2video.utils.errors import UserError

_END = 1  # seconds that open connections get when the server ends


@contextlib.contextmanager
def open_server(
    models: Mapping[str, Predictor],
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    token: str = "",
    limits: Limits | None = None,
) -> Iterator[tuple[uvicorn.Server, socket.socket, str]]:
    """Open a server; yield it, the socket to run it with, and the address of its page.

    Users' files are in a temporary folder, which is removed at the end of the block.

    Args:
        models: models by the names that the page shows.
        host: name or address of the network interface.
        port: port; 0: any free one.
        token: token that a user's first address must contain. "": no token for a host that only this machine
            reaches, a random token for others.
        limits: limits on users' input.

    Raises:
        UserError: if the host is unknown, or the port is in use.
    """
    limits = limits or Limits()
    is_local = _is_local(host)
    if not is_local:
        token = token or secrets.token_urlsafe(16)
    hosts = None if token else frozenset({"127.0.0.1", "localhost", "[::1]", host})
    listening = _listen(host, port)
    with listening, tempfile.TemporaryDirectory(prefix="d2video_app_") as folder:
        users = Users(Path(folder))
        os.environ["GRADIO_TEMP_DIR"] = str(users.uploads)
        pages = _with_page(FastAPI(openapi_url=None), models, users, limits)
        access = Access(
            pages, users=users, token=token or None, hosts=hosts, upload_bytes=limits.upload_bytes
        )
        config = uvicorn.Config(
            access, log_level="warning", timeout_graceful_shutdown=_END, ws="none", lifespan="on"
        )
        shown_host = socket.gethostname() if host in ("0.0.0.0", "::", "") else host
        query = f"?token={quote(token)}" if token else ""
        address = f"http://{shown_host}:{listening.getsockname()[1]}/{query}"
        yield uvicorn.Server(config), listening, address


def serve(models: Mapping[str, Predictor], **options: object) -> None:
    """Print the address of the page and serve it until Ctrl-C or SIGTERM.

    Args:
        models, options: see :func:`open_server`.

    Raises:
        UserError: as :func:`open_server`.
    """
    # uvicorn stops the server and raises the signal again. By default the process would then end without
    # removing the files.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with open_server(models, **options) as (server, listening, address):  # type: ignore[arg-type]
        print(f"d2video app: {address} (Ctrl-C ends it)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listening])


def _with_page(
    pages: FastAPI, models: Mapping[str, Predictor], users: Users, limits: Limits
) -> FastAPI:
    @pages.api_route("/results/{folder}/{name}", methods=["GET", "HEAD"])
    def result(folder: str, name: str, request: Request) -> FileResponse:
        path = users.result(request.scope["user"], folder, name)
        if path is None:
            raise HTTPException(404)
        return FileResponse(path, headers={"Cache-Control": "private, no-store"})

    return gr.mount_gradio_app(
        pages,
        build_page(models, users, limits),
        path="/",
        theme=THEME,
        css=STYLE,
        allowed_paths=[],
        max_file_size=limits.upload_bytes,
        show_error=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        footer_links=[],
    )


def _is_local(host: str) -> bool:
    """Whether only this machine can reach a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, place = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(place[:2], family=family)
    except OSError as error:
        raise UserError(
            f"cannot serve at {host}:{port} ({error.strerror}); choose another --host or --port"
        ) from error
