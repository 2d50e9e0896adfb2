"""The page: content, escaping, and videos that really play in a browser."""

import base64
import contextlib
import io
import json
import math
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from PIL import Image
from playwright.sync_api import Page, TimeoutError, sync_playwright

from d2video.inspection import inspect
from d2video.report import Chart, Media, Section, Table, write_page
from d2video.report.chart import line_chart
from d2video.report.results import read_metrics
from d2video.utils.errors import UserError
from d2video.video.video_writer import VideoWriter
from tests.helpers.looks import look_at, random_frames
from tests.projects.DETR.tiny import tiny_cfg

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
ORANGE = (230, 120, 30)
NASTY = "<script>alert('x')</script> & \"quotes\""


def write_clip(path: Path, size=(62, 95)) -> Path:
    """A second of plain orange."""
    with VideoWriter(path, fps=25) as writer:
        for _ in range(25):
            writer.write(np.full((*size, 3), ORANGE, np.uint8))
    return path


class _Checker(HTMLParser):
    """Collects tags and checks that they are balanced."""

    VOID = {"meta", "line", "img"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_page(tmp_path):
    clip = write_clip(tmp_path / "demo" / "a clip #1.mp4")
    picture = tmp_path / "a picture.png"
    Image.new("RGB", (4, 3)).save(picture)
    section = Section(
        NASTY,
        notes=[NASTY],
        media=[Media(NASTY, clip), Media(NASTY, picture, wide=True)],
        tables=[Table(NASTY, ["Class", NASTY], [[NASTY, 41.26], ["b", None], ["c", 3]])],
        charts=[Chart(NASTY, {NASTY: [(0, 3.0), (10, 1.5)], "b": [(0, 1.0), (10, 0.5)]})],
    )
    page = write_page(
        tmp_path / "demo" / "index.html",
        NASTY,
        [section],
        notes=[NASTY],
        links=[(NASTY, tmp_path / "how it learns.md")],
    )
    assert page == tmp_path / "demo" / "index.html"
    text = page.read_text(encoding="utf-8")
    parsed = _Checker(text)
    assert not parsed.all("script")
    assert "alert(&#x27;x&#x27;)" in text
    (video,), (image,) = parsed.all("video"), parsed.all("img")
    for element, kind, file in ((video, "video/mp4", clip), (image, "image/png", picture)):
        content = element["src"].removeprefix(f"data:{kind};base64,")
        assert base64.b64decode(content, validate=True) == file.read_bytes()
    assert [figure.get("class") for figure in parsed.all("figure")] == [None, "wide"]
    assert [link["href"] for link in parsed.all("a")] == ["../how%20it%20learns.md"]
    assert {"autoplay", "muted", "loop", "playsinline"} <= set(video)
    assert text.count("stroke: var(--c0)") == text.count("stroke: var(--c1)") == 1
    assert [cell.get("class") for cell in parsed.all("th")] == [None, "number"]
    assert ">41.3<" in text
    assert ">–<" in text
    assert ">3<" in text
    # Self-contained: nothing is fetched.
    assert not re.search(r"https?://|<link|@import|url\(", text)


def test_empty_sections_are_left_out(tmp_path):
    text = write_page(tmp_path / "index.html", "Nothing", [Section("Empty")]).read_text()
    assert "<h2>" not in text


def test_missing_clip(tmp_path):
    section = Section("x", media=[Media("a", tmp_path / "none.mp4")])
    with pytest.raises(UserError, match=r"none\.mp4 for the page does not exist"):
        write_page(tmp_path / "index.html", "x", [section])
    assert not list(tmp_path.iterdir())


def test_metrics(tmp_path):
    path = tmp_path / "metrics.json"
    lines = [
        {"iteration": 0, "loss": 5.0},
        {"iteration": 20, "loss": 4.0, "lr": 0.1},
        {"iteration": 40, "loss": float("nan")},
        {"iteration": 60, "loss": 1.0},
        {"iteration": 49, "segm/AP": 1.0},  # written with the losses of a later step
        {"iteration": 41, "loss": 3.5},  # after a resume
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    metrics = read_metrics(path)
    assert metrics["loss"][:2] == [(0, 5.0), (20, 4.0)]
    assert metrics["loss"][3:] == [(41, 3.5)]
    assert math.isnan(metrics["loss"][2][1])
    assert metrics["lr"] == [(20, 0.1)]
    assert metrics["segm/AP"] == [(49, 1.0)]
    assert metrics.keys() == {"loss", "lr", "segm/AP"}
    path.write_text('{"iteration": 0}\nno json\n')
    with pytest.raises(UserError, match="line 2: expected a JSON object"):
        read_metrics(path)
    with pytest.raises(UserError, match="does not exist"):
        read_metrics(tmp_path / "none.json")


def path_of(svg):
    """The curve's points, (n,2), in pixels of the picture."""
    (path,) = re.findall(r'<path d="([^"]+)"[^>]*stroke: var\(--c0\)', svg)
    return np.array(re.findall(r"[ML] (\S+) (\S+)", path), float)


def test_chart_geometry():
    svg = line_chart("loss", {"loss": [(0, 4.0), (50, 2.0), (75, math.nan), (100, 0.0)]})
    (x0, y0), (x1, y1), (x2, y2) = path_of(svg)
    assert x0 < x1 < x2
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.11)
    assert y0 < y1 < y2  # SVG's y runs down: larger values lie higher
    assert y1 - y0 == pytest.approx(y2 - y1, abs=0.11)
    width, height = map(float, re.findall(r'viewBox="0 0 (\S+) (\S+)"', svg)[0])
    assert 0 < x0 < x2 < width
    assert 0 < y0 < y2 < height
    # The axis begins at 0, where the curve ends.
    ticks = dict(re.findall(r' y="([^"]+)"[^>]*>([^<]+)</text>', svg))
    assert any(text == "0" and abs(float(y) - y2) < 5 for y, text in ticks.items())
    assert ' id="' not in svg  # two charts on a page would have the same
    assert line_chart("loss", {"loss": [], "nan": [(0, math.nan)]}) is None
    # Degenerate ranges draw without dividing by zero.
    assert "var(--c0)" in line_chart("loss", {"loss": [(3, 0.0)]})


def test_long_series_are_thinned():
    points = path_of(line_chart("loss", {"loss": [(i, float(i % 2)) for i in range(100_000)]}))
    assert 100 < len(points) <= 600
    assert np.ptp(points[:, 1]) < 5  # the means of neighbours
    short = path_of(line_chart("loss", {"loss": [(i, float(i % 2)) for i in range(100)]}))
    assert np.ptp(short[:, 1]) > 100


@pytest.fixture(scope="module")
def browser():
    """An empty page of a headless Chromium."""
    if not CHROMIUM:
        pytest.skip("no Chromium here; install it (Debian: apt-get install chromium) to run this")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM)
        yield chromium.new_page(viewport={"width": 800, "height": 600})
        chromium.close()


def video_states(page: Page, seconds: float = 15) -> list[dict]:
    """How each <video> is, once all play or have failed, or after some seconds."""
    settled = "v => v.error || (v.videoWidth > 0 && v.currentTime > 0.2)"
    with contextlib.suppress(TimeoutError):
        page.wait_for_function(
            f"[...document.querySelectorAll('video')].every({settled})", timeout=1000 * seconds
        )
    return page.evaluate(
        """[...document.querySelectorAll("video")].map(v => ({
            time: v.currentTime, width: v.videoWidth, height: v.videoHeight, paused: v.paused,
            muted: v.muted, loop: v.loop, error: v.error && v.error.code}))"""
    )


def test_videos_play_in_a_browser(browser, tmp_path):
    clips = [Media("odd sizes", write_clip(tmp_path / "a.mp4", (63, 95)))]
    clips.append(Media("second", write_clip(tmp_path / "b c.mp4", (240, 320))))
    browser.goto(write_page(tmp_path / "index.html", "Demo", [Section("x", media=clips)]).as_uri())
    first, second = video_states(browser)
    for state, size in [(first, (96, 64)), (second, (320, 240))]:
        assert state["error"] is None
        assert state["time"] > 0.2  # it moves, without a click
        assert not state["paused"]
        assert (state["width"], state["height"]) == size
        assert state["muted"]
        assert state["loop"]
    # And it shows what was written: the colour in the middle of the second video.
    where = "document.querySelectorAll('video')[1].getBoundingClientRect()"
    box = browser.evaluate(f"(r => [r.x + r.width / 2, r.y + r.height / 2])({where})")
    picture = Image.open(io.BytesIO(browser.screenshot())).convert("RGB")
    seen = picture.getpixel((round(box[0]), round(box[1])))
    np.testing.assert_allclose(seen, ORANGE, atol=8)


def test_opencv_default_codec_does_not_play(browser, tmp_path):
    # Why VideoWriter exists, and proof that the check above can fail.
    path = tmp_path / "opencv.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (96, 64))
    for _ in range(25):
        writer.write(np.full((64, 96, 3), ORANGE[::-1], np.uint8))
    writer.release()
    section = Section("x", media=[Media("mp4v", path)])
    browser.goto(write_page(tmp_path / "index.html", "Demo", [section]).as_uri())
    (state,) = video_states(browser)
    assert state["error"]
    assert state["time"] == 0


@pytest.mark.parametrize("dark", [False, True])
def test_page_fits_and_is_readable(browser, tmp_path, dark):
    long = "a" * 300
    section = Section(
        long,
        notes=[long],
        media=[Media(long, write_clip(tmp_path / "a.mp4"), wide=True)],
        tables=[Table("wide", [f"column {i}" for i in range(30)], [[1.0] * 30])],
        charts=[Chart("loss", {f"series {i}": [(0, 1.0), (1, 0.5 * i)] for i in range(9)})],
    )
    page = write_page(tmp_path / "index.html", long, [section], notes=[long])
    browser.emulate_media(color_scheme="dark" if dark else "light")
    browser.goto(page.as_uri())
    assert browser.evaluate("document.documentElement.scrollWidth") <= 800
    channels = re.compile(r"\d+")
    ink, ground = (
        sum(map(int, channels.findall(browser.evaluate(f"getComputedStyle(document.body).{name}"))))
        for name in ("color", "backgroundColor")
    )
    assert (ink > 600 and ground < 150) if dark else (ink < 150 and ground > 600)


def test_a_page_of_inspect_in_a_browser(browser, tmp_path):
    torch.manual_seed(0)
    model = build_model(tiny_cfg()).eval()
    look = look_at(model, random_frames(1, 40, 56), tmp_path / "page_files", queries=[2])
    browser.goto(write_page(tmp_path / "page.html", "DETR", inspect(look)).as_uri())
    loaded = browser.evaluate(
        "[...document.images].filter(i => i.complete && i.naturalWidth).length"
    )
    assert loaded == len(look.pictures) == 5
    assert browser.evaluate("document.documentElement.scrollWidth") <= 800
    for name, picture in look.pictures.items():
        number = list(look.pictures).index(name)
        seen = Image.open(io.BytesIO(browser.locator("img").nth(number).screenshot()))
        # What is seen has another size: the mean colour stays.
        expected = picture.mean((0, 1))
        np.testing.assert_allclose(np.asarray(seen.convert("RGB")).mean((0, 1)), expected, atol=6)
