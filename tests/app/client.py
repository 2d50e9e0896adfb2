"""The page's server in this process, and a client that speaks as the page does."""

import contextlib
import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from torch import nn

from d2video.inference import Predictor
from d2video.video.video_writer import VideoWriter

NAMES = ["square", "dog"]


def predictor(model: nn.Module, names: list[str] | None = NAMES) -> Predictor:
    return Predictor(model=model.eval(), min_size=0, max_size=0, class_names=names)  # type: ignore[arg-type]


@contextlib.contextmanager
def serving(models: dict[str, Predictor], **options: Any) -> Iterator[str]:
    """A running server; yields the address of its page."""
    from d2video.app.server import open_server

    with open_server(models, port=0, **options) as (server, listening, address):
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield address
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


class Client:
    """A browser, as far as the server can tell: cookies, uploads, runs."""

    def __init__(self, address: str, session: str = "session1") -> None:
        page = address.partition("?")[0]
        self.http = httpx.Client(base_url=page, follow_redirects=True, timeout=60)
        self.session = session
        assert self.http.get(address).status_code == 200
        config = self.http.get("/config").json()
        (self._shown,) = (
            each["id"] for each in config["components"] if each["props"].get("elem_id") == "shown"
        )
        self._runs = [
            each["id"]
            for each in config["dependencies"]
            if each["outputs"] == [self._shown] and len(each["inputs"]) == 5
        ]

    def upload(self, content: bytes | Path, name: str) -> httpx.Response:
        content = content.read_bytes() if isinstance(content, Path) else content
        return self.http.post("/gradio_api/upload", files={"files": (name, content)})

    def run(self, path: str, model: int = 0, score: float = 0.5, classes: list[str] = []) -> str:  # noqa: B006
        """The page's last state after a run on an uploaded file, or its error."""
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        joined = self.http.post(
            "/gradio_api/queue/join",
            json={
                "fn_index": self._runs[model],
                "session_hash": self.session,
                "data": [file, None, score, classes, True],
            },
        )
        joined.raise_for_status()
        query = {"session_hash": self.session}
        with self.http.stream("GET", "/gradio_api/queue/data", params=query) as events:
            for line in events.iter_lines():
                event = json.loads(line.removeprefix("data: ")) if line else {}
                if event.get("msg") == "process_completed":
                    return str(event["output"].get("data", [event["output"].get("error")])[0])
        raise AssertionError("the run did not end")

    def annotate(self, content: bytes | Path, name: str, **options: Any) -> str:
        answer = self.upload(content, name)
        answer.raise_for_status()
        return self.run(answer.json()[0], **options)

    def result(self, shown: str, suffix: str) -> httpx.Response:
        """A file that the page offers."""
        return self.http.get(result_url(shown, suffix))


def result_url(shown: str, suffix: str) -> str:
    (url,) = re.findall(rf'<a download href="([^"]*{re.escape(suffix)})"', shown)
    return f"/{url}"


def write_square(path: Path, length: int = 12, left: int = 0, size: int = 16) -> Path:
    """A bright square that moves to the right by 2 pixels a frame."""
    with VideoWriter(path, fps=10) as writer:
        for t in range(length):
            image = np.full((48, 96, 3), 60, np.uint8)
            image[16 : 16 + size, left + 2 * t : left + 2 * t + size] = 255
            writer.write(image)
    return path


def wait_until(condition: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            pytest.fail("it did not happen in time")
        time.sleep(0.02)
