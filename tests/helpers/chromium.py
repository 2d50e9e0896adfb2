"""A headless Chromium, driven over its DevTools pipe: no driver program, no network port."""

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)

# Without the network flags it tries to reach its maker at every start.
_FLAGS = [
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
]

# Waits until every video plays or has failed, and says how each is.
_VIDEO_STATES = """
(async (seconds) => {
  const videos = [...document.querySelectorAll("video")];
  const settled = v => v.error || (v.videoWidth > 0 && v.currentTime > 0.2);
  const end = performance.now() + 1000 * seconds;
  while (performance.now() < end && !videos.every(settled))
    await new Promise(resolve => setTimeout(resolve, 20));
  return videos.map(v => ({
    time: v.currentTime, width: v.videoWidth, height: v.videoHeight, paused: v.paused,
    muted: v.muted, loop: v.loop, error: v.error && (v.error.message || `code ${v.error.code}`),
  }));
})(%f)
"""


class Browser:
    """One browser with one page. A context manager; :data:`CHROMIUM` must not be empty."""

    def __init__(self, profile: Path, width: int = 1280, height: int = 900) -> None:
        """
        Args:
            profile: a new folder for the browser's own files.
            width, height: of the window, in CSS pixels.
        """
        # Chromium reads commands from descriptor 3 and answers on 4; bash puts the pipes there.
        # High numbers on our side, so that neither is 3 or 4 itself.
        commands, self._write_end = os.pipe()
        self._read_end, answers = os.pipe()
        child = [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in (commands, answers)]
        os.close(commands)
        os.close(answers)
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # it refuses to start for root
        command = [CHROMIUM, *_FLAGS, *sandbox, "--remote-debugging-pipe"]
        command += [f"--user-data-dir={profile}", f"--window-size={width},{height}", "about:blank"]
        redirect = f'exec "$@" 3<&{child[0]} 4>&{child[1]}'
        self._process = subprocess.Popen(
            ["bash", "-c", redirect, "bash", *command],
            pass_fds=child,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for fd in child:
            os.close(fd)
        self._buffer = b""
        self._last_id = 0
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            os.close(self._write_end)  # the browser ends with its pipe
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read_end)

    def call(self, method: str, timeout: float = 30, **params: Any) -> dict[str, Any]:
        """Send a DevTools command and return its result."""
        self._last_id += 1
        message: dict[str, Any] = {"id": self._last_id, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write_end, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + timeout
        while True:
            answer = self._receive(end)
            if answer.get("id") == self._last_id:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def _receive(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read_end], [], [], max(0, end - time.monotonic()))
            assert ready, "Chromium does not answer"
            data = os.read(self._read_end, 1 << 20)
            assert data, f"Chromium ended with status {self._process.wait()}"
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(line)

    def open(self, page: Path) -> None:
        """Open a local HTML file."""
        result = self.call("Page.navigate", url=page.absolute().as_uri())
        assert "errorText" not in result, result
        self.evaluate(
            "new Promise(resolve => document.readyState === 'complete' ? resolve()"
            " : addEventListener('load', resolve))"
        )

    def evaluate(self, script: str, timeout: float = 30) -> Any:
        """The JSON value of a JavaScript expression, a promise's once it is kept."""
        result = self.call(
            "Runtime.evaluate",
            timeout,
            expression=script,
            awaitPromise=True,
            returnByValue=True,
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def video_states(self, seconds: float = 15) -> list[dict[str, Any]]:
        """How each <video> of the page is, once all play or have failed, or after ``seconds``."""
        return self.evaluate(_VIDEO_STATES % seconds, timeout=seconds + 15)

    def prefer_dark(self, dark: bool) -> None:
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def screenshot(self, full_page: bool = False) -> bytes:
        """The window, or the whole page, as PNG."""
        area: dict[str, Any] = {}
        if full_page:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            area = {"clip": {"x": 0, "y": 0, "scale": 1}, "captureBeyondViewport": True}
            area["clip"] |= {"width": size["width"], "height": size["height"]}
        result = self.call("Page.captureScreenshot", **area)
        return base64.b64decode(result["data"])
