"""The page in headless Chromium: upload, watch, play, download; and a user who closes it in the middle."""

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from detectron2.structures import Instances
from playwright.sync_api import sync_playwright
from torch import Tensor

pytest.importorskip("gradio")

from d2video.video.video_reader import open_video
from tests.app.client import predictor, serving, wait_until, write_square
from tests.helpers.stub_video_model import StubTracker
from tests.report.test_page import CHROMIUM

pytestmark = pytest.mark.slow


class SlowTracker(StubTracker):
    """Takes a while for each frame, and counts them."""

    count = 0

    def stream_video(
        self, frames: Iterator[Tensor], output_size: tuple[int, int]
    ) -> Iterator[Instances]:
        for answer in super().stream_video(frames, output_size):
            time.sleep(0.12)
            self.count += 1
            yield answer


@pytest.fixture(scope="module")
def chromium():
    if not CHROMIUM:
        pytest.skip("no Chromium here; install it (Debian: apt-get install chromium) to run this")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


def give(page, path: Path) -> None:
    """Drop a file and press the button."""
    page.set_input_files("#file input[type=file]", path)
    page.wait_for_selector("#file .file-preview")
    page.click("button.annotate:visible")


def test_a_video_and_a_user_who_leaves(chromium, tmp_path):
    model = SlowTracker()
    before = {*Path(tempfile.gettempdir()).glob("d2video_app_*")}
    clip = write_square(tmp_path / "street <b>x.mp4")
    with serving({"tracker": predictor(model)}) as address:
        (folder,) = {*Path(tempfile.gettempdir()).glob("d2video_app_*")} - before
        page = chromium.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        give(page, clip)
        page.wait_for_selector("#shown img")  # as it comes
        assert "of 12" in page.inner_text("#shown")
        page.wait_for_selector("#shown video")
        page.wait_for_function("document.querySelector('#shown video').currentTime > 0.2")
        assert page.evaluate("document.querySelector('#shown video').duration") == pytest.approx(
            1.2
        )
        assert "12 instances of 1 track drawn" in page.inner_text("#shown")
        for kind, suffix in (("Video", "mp4"), ("JSON", "json"), ("Tracks", "txt")):
            with page.expect_download() as download:
                page.click(f"#shown a:has-text('{kind}')")
            download.value.save_as(tmp_path / f"got.{suffix}")
        assert len(list(open_video(tmp_path / "got.mp4"))) == 12
        assert json.loads((tmp_path / "got.json").read_text())["num_frames"] == 12
        assert (tmp_path / "got.txt").read_text().startswith("1,")
        hosts = {urlsplit(url).netloc for url in asked if url.startswith("http")}
        assert hosts == {urlsplit(address).netloc}  # it works without the web

        # A broken file is a message, and the page goes on.
        broken = tmp_path / "broken.mp4"
        broken.write_bytes(clip.read_bytes()[:300])
        page.reload()
        give(page, broken)
        page.wait_for_selector("#shown [role=alert]")
        assert "broken.mp4" in page.inner_text("#shown")

        # Closed in the middle: the work ends at the next frame, and the files go.
        page.reload()
        model.count = 0
        give(page, write_square(tmp_path / "long.mp4", 39))
        wait_until(lambda: model.count >= 3)
        page.close()
        wait_until(lambda: not [path for path in folder.rglob("*.*") if path.is_file()])
        count = model.count
        assert count < 35
        time.sleep(0.5)
        assert model.count <= count + 1
