"""Which videos have been finished in a folder, and the names of their files."""

import os
import time

import pytest

from d2video.inference.ledger import Ledger, unfinished, video_id
from d2video.utils.errors import UserError

SETTINGS = {"weights": "1", "size": (1, 2)}


def ledger(folder, suffixes=(".json",), settings=SETTINGS) -> Ledger:
    made = Ledger(folder, frozenset(suffixes))
    made.read(settings)
    return made


def finish(made: Ledger, name: str, source: str) -> None:
    for suffix in made.suffixes:
        (made.folder / f"{name}{suffix}").write_text("")
    made.add(name, source)


def test_names_of_several_videos(tmp_path):
    sources = ["b/v.mp4", "a/v.mp4", "a/w.mp4", "http://a/x.mp4?k=1", "rtsp://u:p@b/2", "http://a"]
    named = dict(unfinished([*sources, "b/v.mp4"], [ledger(tmp_path)]))
    of_a = f"v_{video_id('a/v.mp4')}"
    assert named == dict(zip(sources, ["v", of_a, "w", "x", "2", "video"], strict=True))
    assert video_id("a/v.mp4") == video_id(os.path.abspath("a/v.mp4"))
    assert video_id("a/v.mp4") == video_id(f"file://{os.path.abspath('a/v.mp4')}")
    assert video_id("http://a/x?k=1") != video_id("http://a/x?k=2")


def test_names_stay_when_the_list_grows(tmp_path):
    """Whichever of the videos of one name was finished first, and wherever others come in."""
    finish(ledger(tmp_path), "v", "b/v.mp4")
    made = ledger(tmp_path)
    long = f"v_{video_id('a/v.mp4')}"
    assert list(unfinished(["a/v.mp4", "b/v.mp4"], [made])) == [("a/v.mp4", long)]
    finish(made, long, "a/v.mp4")
    for sources in (["a/v.mp4", "b/v.mp4"], ["b/v.mp4", "a/v.mp4"], ["a/v.mp4"]):
        assert list(unfinished(sources, [ledger(tmp_path)])) == []
    # A file that was taken away is made anew, under its name.
    (tmp_path / "v.json").unlink()
    again = list(unfinished(["a/v.mp4", "b/v.mp4"], [ledger(tmp_path)]))
    assert again == [("b/v.mp4", "v")]


def test_a_video_is_finished_if_all_its_files_are_there(tmp_path):
    folders = [tmp_path / "a", tmp_path / "b"]
    both = [ledger(folders[0], [".json", ".txt"]), ledger(folders[1])]
    for made in both:
        finish(made, "v", "v.mp4")

    def left() -> list:
        again = [ledger(folders[0], [".json", ".txt"]), ledger(folders[1])]
        return list(unfinished(["v.mp4"], again))

    assert left() == []
    (folders[0] / "v.txt").unlink()
    assert left() == [("v.mp4", "v")]
    finish(both[0], "v", "v.mp4")
    (folders[1] / "v.json").unlink()
    assert left() == [("v.mp4", "v")]
    # Without folders nothing is ever finished.
    assert list(unfinished(["v.mp4"], [])) == [("v.mp4", "v")]


def test_a_line_that_was_cut_off_is_no_entry(tmp_path):
    made = ledger(tmp_path)
    finish(made, "v", "v.mp4")
    (journal,) = (tmp_path / ".d2video").glob("finished-*.jsonl")
    text = journal.read_text()
    finish(made, "w", "w.mp4")
    with journal.open("r+") as file:
        file.truncate(len(text) + 20)
    assert list(unfinished(["v.mp4", "w.mp4"], [ledger(tmp_path)])) == [("w.mp4", "w")]
    made.add("w", "w.mp4")  # another process of the same number
    assert list(unfinished(["v.mp4", "w.mp4"], [ledger(tmp_path)])) == []


def test_other_settings_are_refused(tmp_path):
    ledger(tmp_path)
    message = (
        r"holds results with size \[1, 2\], and now it is \[1, 3\]: give another folder, or delete"
    )
    with pytest.raises(UserError, match=message):
        ledger(tmp_path, settings={"weights": "1", "size": (1, 3)})
    ledger(tmp_path, settings={"size": [1, 2], "a key of": "a newer version"})
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot create the folder"):
        ledger(tmp_path / "file" / "below")


def test_many_names_take_no_quadratic_time(tmp_path):
    sources = [f"/data/{number % 7}/{number % 10_000}.mp4" for number in range(20_000)]
    made = ledger(tmp_path)
    begin = time.process_time()
    assert len({name for _, name in unfinished(sources, [made])}) == 20_000
    assert time.process_time() - begin < 5  # it takes 0.3 s
