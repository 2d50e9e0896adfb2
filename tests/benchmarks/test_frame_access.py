"""The speed of frames from video files, against JPEG files."""

import json

import numpy as np

from benchmarks.frame_access import main, measure, write_sources
from d2video.video.frame_names import read_images


def test_tool(tmp_path, capsys):
    path = tmp_path / "figures.json"
    small = "--frames 12 --height 48 --width 64 --samples 2 --repeats 1"
    main([*small.split(), "--json", str(path)])
    assert "single frames" in capsys.readouterr().out
    figures = json.loads(path.read_text())
    assert figures["samples"] == 2
    assert figures["figures"]["all frames in order"]["JPEG"] > 0


def test_clips_and_whole_videos_cost_at_most_twice_as_much_as_jpeg(tmp_path):
    """At a size of which JPEG files are read in milliseconds; 720p: docs/performance/figures.md."""
    sources = write_sources(tmp_path, 40, 240, 432)
    jpeg, *videos = (read_images(names[-1:])[names[-1]] for names in sources.values())
    for image in videos:  # the same frames
        assert np.abs(image.astype(int) - jpeg).mean() < 6
    figures = measure(sources, 3, 3)
    for access in ("clips of 36 frames", "all frames in order"):
        times = figures[access]
        assert times["H.264, groups of 30"] < 2 * times["JPEG"]
