"""tools/demo.py with a model that restores images."""

import numpy as np
import pytest
import torch
from PIL import Image

from d2video.video.image_io import read_rgb
from d2video.video.image_writer import lossless_names
from d2video.video.video_reader import open_video
from d2video.video.video_writer import VideoWriter


@pytest.fixture
def files(tmp_path):
    """A video, images of two sizes, and all that the tool needs to run on them."""
    (tmp_path / "images").mkdir()
    with VideoWriter(tmp_path / "in.mp4", fps=10) as writer:
        for _ in range(3):
            writer.write(np.full((32, 48, 3), 50, np.uint8))
    for name, size in (("a", (20, 31)), ("b", (16, 16))):
        pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{name}.png")
    # The least size would enlarge what comes in, but nothing that is restored is resized.
    (tmp_path / "stub.yaml").write_text(
        f"MODEL: {{META_ARCHITECTURE: StubRestorer, DEVICE: cpu, WEIGHTS: {tmp_path}/model.pth}}\n"
        "INPUT: {FORMAT: RGB, MIN_SIZE_TEST: 64}\nDATASETS: {TEST: []}\n"
    )
    torch.save({"model": {"weight": torch.ones(1)}}, tmp_path / "model.pth")
    return tmp_path


def arguments(files, source, *more) -> list[str]:
    head = ["--config-file", files / "stub.yaml", "--input", files / source]
    return [str(part) for part in (*head, *more)]


def restored(image):
    negative = np.minimum(256 - image.astype(int), 255).astype(np.uint8)
    return negative.repeat(2, 0).repeat(2, 1)


def test_folder_and_image(demo, files, capsys):
    demo.main(arguments(files, "images", "--output", files / "out"))
    assert "2 images restored, in 2 times their size" in capsys.readouterr().out
    for name in ("a", "b"):
        given = read_rgb(files / "images" / f"{name}.png")
        assert (read_rgb(files / "out" / f"{name}.png") == restored(given)).all()
    demo.main(arguments(files, "images/a.png", "--output", files / "o.png", "--side-by-side"))
    both = read_rgb(files / "o.png")
    given = read_rgb(files / "images" / "a.png")
    assert both.shape == (40, 124, 3)
    assert (both[:, 62:] == restored(given)).all()
    large = Image.fromarray(given).resize((62, 40), Image.Resampling.BICUBIC)
    assert (both[:, :62] == np.asarray(large)).all()


def test_folders_lose_nothing(demo, files):
    """JPEG would be up to 100 levels from such noise."""
    rng = np.random.default_rng(1)
    for name in ("c.jpg", "d.jpg", "d.webp"):
        pixels = rng.integers(0, 256, (16, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(files / "images" / name)
    demo.main(arguments(files, "images", "--output", files / "out"))
    written = {"a.png", "b.png", "c.png", "d.jpg.png", "d.webp.png"}
    assert {path.name for path in (files / "out").iterdir()} == written
    for given, name in (("c.jpg", "c.png"), ("d.webp", "d.webp.png")):
        expected = restored(read_rgb(files / "images" / given))
        assert (read_rgb(files / "out" / name) == expected).all()
    demo.main(arguments(files, "in.mp4", "--output", files / "frames"))
    assert sorted(path.name for path in (files / "frames").iterdir()) == [
        *("000000.png", "000001.png", "000002.png")
    ]
    demo.main(arguments(files, "images/c.jpg", "--output", files / "c.jpg"))
    with Image.open(files / "c.jpg") as image:
        assert image.format == "JPEG"


def test_names_without_loss():
    assert lossless_names(["a.jpg", "b.c.png"]) == ["a.png", "b.c.png"]
    assert lossless_names(["a.jpg", "a.webp", "b.jpg"]) == ["a.jpg.png", "a.webp.png", "b.png"]
    odd = ["a.jpg", "a.webp", "a.jpg.bmp"]
    assert lossless_names(odd) == ["a.jpg.png", "a.webp.png", "a.jpg.bmp.png"]


def test_a_broken_image_ends_a_folder(demo, files, capsys):
    (files / "images" / "aa.png").write_bytes((files / "images" / "a.png").read_bytes()[:90])
    with pytest.raises(SystemExit):
        demo.main(arguments(files, "images", "--output", files / "out"))
    assert not (files / "out").exists()
    demo.main(arguments(files, "images", "--output", files / "out", "--stop-at-damage"))
    assert [path.name for path in (files / "out").iterdir()] == ["a.png"]
    (message,) = [line for line in capsys.readouterr().out.splitlines() if "stopped" in line]
    assert "aa.png" in message
    assert message.endswith("stopped before image 2 of 3")
    (files / "images" / "a.png").write_bytes(b"")  # nothing is left to keep
    with pytest.raises(SystemExit):
        demo.main(arguments(files, "images", "--output", files / "none", "--stop-at-damage"))
    assert not (files / "none").exists()


@pytest.mark.parametrize(("more", "width"), [((), 96), (("--side-by-side", "--scale", "2"), 384)])
def test_video(demo, files, more, width):
    demo.main(arguments(files, "in.mp4", "--output", files / "out.mp4", *more))
    frames = [frame.image for frame in open_video(files / "out.mp4")]
    assert len(frames) == 3
    assert frames[0].shape[1] == width
    # A compressed video's colours are near.
    assert abs(frames[2][:, -20:].mean() - 206) < 6
    if more:
        assert abs(frames[2][:, :20].mean() - 50) < 6


def test_refused(demo, files, capsys):
    before = set(files.iterdir())
    for option, message in (
        ("--mot-results", "StubRestorer does not track"),
        ("--mots-results", "StubRestorer does not track"),
        ("--results", "leave out --results"),
    ):
        with pytest.raises(SystemExit):
            demo.main(arguments(files, "in.mp4", option, files / "out.txt"))
        assert message in capsys.readouterr().err
    config = (files / "stub.yaml").read_text().replace("StubRestorer", "StubClassifier")
    (files / "stub.yaml").write_text(config)
    with pytest.raises(SystemExit):
        demo.main(arguments(files, "in.mp4", "--output", files / "o.mp4", "--side-by-side"))
    assert "StubClassifier does not restore images" in capsys.readouterr().err
    assert set(files.iterdir()) == before
