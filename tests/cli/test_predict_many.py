"""``d2video predict`` of several videos: in one process and in two, stopped and taken up again."""

import json
import logging
import re
import signal
import socket
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from d2video.video.video_reader import open_video
from d2video.video.video_writer import VideoWriter
from tests.helpers.fresh_process import run_fresh
from tests.helpers.stub_video_model import StubStepper, StubTracker

PROGRAM = ("-m", "tests.helpers.predict_with_stubs")


@pytest.fixture
def videos(tmp_path):
    """A folder with a model and videos of three frames: a/0, a/1 and b/1, and a list of them."""
    (tmp_path / "stub.yaml").write_text(
        "MODEL:\n  META_ARCHITECTURE: StubTracker\n  DEVICE: cpu\n"
        f"  WEIGHTS: {tmp_path}/model.pth\n"
        "INPUT:\n  FORMAT: RGB\n  MIN_SIZE_TEST: 24\nDATASETS:\n  TEST: []\n"
    )
    torch.save({"model": {"weight": torch.ones(1)}}, tmp_path / "model.pth")
    names = ["a/0.mp4", "a/1.mp4", "b/1.mp4"]
    for name in names:
        write_video(tmp_path / name)
    (tmp_path / "list.txt").write_text("\n".join(names))
    return tmp_path


def write_video(path: Path, frames: int = 3) -> None:
    path.parent.mkdir(exist_ok=True)
    with VideoWriter(path, fps=10) as writer:
        for t in range(frames):
            image = np.full((48, 64, 3), 60, np.uint8)
            image[20:32, 3 * t : 3 * t + 12] = 255
            writer.write(image)


def words(folder: Path, *more: str) -> list[str]:
    return [f"{folder}/list.txt", "--config-file", f"{folder}/stub.yaml", *more]


def results(folder: Path) -> list[str]:
    return ["--results", f"{folder}/json"]


def finished(folder: Path) -> Counter[str]:
    """How often each video was finished, by its path from ``folder``."""
    return Counter(
        str(Path(json.loads(line)["video"]).relative_to(folder))
        for journal in (folder / "json" / ".d2video").glob("finished-*.jsonl")
        for line in journal.read_text().splitlines()
        if line
    )


def failing(demo, arguments, capsys) -> str:
    """The error of a command that fails."""
    with pytest.raises(SystemExit) as stop:
        demo.main(arguments)
    assert stop.value.code == 1
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    return error


def test_finished_videos_are_left_out(demo, videos, capsys):
    files = ["--output", f"{videos}/out", *results(videos)]
    demo.main(words(videos, *files))
    assert "3 videos: 3 done, 0 finished before, 0 failed; 9 frames in" in capsys.readouterr().out
    made = sorted((videos / "out").glob("*.mp4"))
    assert [path.name[:2] for path in made] == ["0.", "1.", "1_"]
    assert len(list(open_video(made[2]))) == 3
    before = {path: path.stat().st_mtime_ns for path in made}
    (videos / "json" / "0.json").unlink()
    write_video(videos / "a" / "2.mp4")
    with (videos / "list.txt").open("r+") as file:
        content = file.read()
        file.seek(0)
        file.write(f"a/2.mp4\n{content}")
    demo.main(words(videos, *files))
    said = capsys.readouterr().out
    assert "4 videos: 2 done, 2 finished before, 0 failed; 6 frames in" in said
    changed = [path.name for path in made if path.stat().st_mtime_ns != before[path]]
    assert changed == ["0.mp4"]
    assert finished(videos) == {"a/0.mp4": 2, "a/1.mp4": 1, "a/2.mp4": 1, "b/1.mp4": 1}


def test_a_broken_video_is_named_and_tried_again(demo, videos, capsys):
    (videos / "a" / "1.mp4").write_bytes(b"no video")
    error = failing(demo, words(videos, *results(videos)), capsys)
    assert f"1 of 3 videos failed: {videos}/a/1.mp4; see the reasons above" in error
    assert finished(videos) == {"a/0.mp4": 1, "b/1.mp4": 1}
    write_video(videos / "a" / "1.mp4")
    demo.main(words(videos, *results(videos)))
    assert finished(videos) == {"a/0.mp4": 1, "a/1.mp4": 1, "b/1.mp4": 1}


def test_a_video_without_room_on_the_gpu_fails_like_a_broken_one(demo, videos, capsys, monkeypatch):
    def out_of_memory(self, frames, output_size):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried ...")
        yield

    monkeypatch.setattr(StubTracker, "stream_video", out_of_memory)
    assert "3 of 3 videos failed" in failing(demo, words(videos, *results(videos)), capsys)


def test_videos_side_by_side(demo, videos, capsys, monkeypatch):
    """A broken video is named, one that ends makes room, and the results are those of one by one."""
    lengths = [8, 9, 3, 12, 6, 9]
    for number, length in enumerate(lengths):
        write_video(videos / "a" / f"{number}.mp4", length)
    (videos / "a" / "1.mp4").write_bytes((videos / "a" / "1.mp4").read_bytes()[:-30])  # cut off
    (videos / "a" / "2.mp4").write_bytes(b"no video")
    (videos / "list.txt").write_text("\n".join(f"a/{n}.mp4" for n in range(6)))
    (videos / "stub.yaml").write_text(
        (videos / "stub.yaml").read_text().replace("StubTracker", "StubStepper")
    )
    monkeypatch.setattr(StubStepper, "calls", calls := [])
    written = []
    for batch in (3, 1):
        calls.clear()
        files = ["--output", f"{videos}/out{batch}", "--results", f"{videos}/json{batch}"]
        error = failing(demo, words(videos, *files, "TEST.VIDEO.BATCH", str(batch)), capsys)
        assert "2 of 6 videos failed: " in error
        assert max(calls) == batch
        made = sorted((videos / f"json{batch}").glob("*.json"))
        assert [path.stem for path in made] == ["0", "3", "4", "5"]
        assert sorted(path.stem for path in (videos / f"out{batch}").glob("*.mp4")) == list("0345")
        written.append([path.read_text() for path in made])
        assert [json.loads(text)["num_frames"] for text in written[-1]] == [8, 12, 6, 9]
    assert written[0] == written[1]
    # What is finished is finished, whatever the batch.
    failing(demo, words(videos, "--results", f"{videos}/json1", "TEST.VIDEO.BATCH", "3"), capsys)


def test_interrupted_side_by_side(demo, videos, capsys, monkeypatch):
    """Nothing of the videos that are open stays."""
    (videos / "stub.yaml").write_text(
        (videos / "stub.yaml").read_text().replace("StubTracker", "StubStepper")
    )
    push = StubStepper.step_together

    def interrupted(self, streams, frames):
        if len(frames) == 3:
            signal.raise_signal(signal.SIGTERM)
        return push(self, streams, frames)

    monkeypatch.setattr(StubStepper, "step_together", interrupted)
    with pytest.raises(SystemExit):
        demo.main(words(videos, *results(videos), "TEST.VIDEO.BATCH", "3"))
    assert "stopped: 0 of 3 videos are finished" in capsys.readouterr().out
    assert [path.name for path in (videos / "json").iterdir()] == [".d2video"]


def test_a_cut_off_video_is_kept_if_asked(demo, videos, capsys):
    write_video(videos / "a" / "1.mp4", frames=9)
    data = (videos / "a" / "1.mp4").read_bytes()
    (videos / "a" / "1.mp4").write_bytes(data[: len(data) - 30])
    assert "1 of 3 videos failed" in failing(demo, words(videos, *results(videos)), capsys)
    stopping = [f"{videos}/json2" if word.endswith("/json") else word for word in results(videos)]
    demo.main(words(videos, *stopping, "--stop-at-damage"))
    kept = [json.loads(path.read_text()) for path in (videos / "json2").glob("*.json")]
    assert sorted(each["num_frames"] for each in kept)[:2] == [3, 3]
    assert 3 < max(each["num_frames"] for each in kept) < 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--stop-at-damage"], "stop-at-damage False, and now it is True"),
        (["INPUT.MIN_SIZE_TEST", "30"], "INPUT.MIN_SIZE_TEST 24, and now it is 30"),
        (["TEST.PRECISION", "bfloat16"], "TEST.PRECISION float32, and now it is bfloat16"),
        (["--fps", "5"], "fps None, and now it is 5.0: give another folder, or delete"),
        (["MODEL.WEIGHTS", "{}/other.pth"], "holds results with weights"),
    ],
)
def test_other_settings_are_refused(demo, videos, capsys, change, message):
    demo.main(words(videos, *results(videos)))
    torch.save({"model": {"weight": torch.zeros(1)}}, videos / "other.pth")
    changed = [word.format(videos) for word in change]
    error = failing(demo, words(videos, *results(videos), *changed), capsys)
    assert re.search(message, error), error
    # What is drawn does not matter to them.
    demo.main(words(videos, *results(videos), "--opacity", "0.2"))


def test_interrupted(demo, videos, capsys, monkeypatch):
    """What is finished stays, nothing of the video in work does, and the next run goes on."""
    answers, count = StubTracker.stream_video, 0

    def interrupted(self, frames, output_size):
        nonlocal count
        for answer in answers(self, frames, output_size):
            count += 1
            if count == 5:
                signal.raise_signal(signal.SIGTERM)
            yield answer

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(StubTracker, "stream_video", interrupted)
    with pytest.raises(SystemExit) as stop:
        demo.main(words(videos, *results(videos)))
    assert stop.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    assert (
        "stopped: 1 of 3 videos are finished; run the same command to continue"
        in capsys.readouterr().out
    )
    assert sorted(path.name for path in (videos / "json").iterdir()) == [".d2video", "0.json"]
    demo.main(words(videos, *results(videos)))
    assert finished(videos) == {"a/0.mp4": 1, "a/1.mp4": 1, "b/1.mp4": 1}


def torchrun(videos: Path, *more: str, **environment: str):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = ("-m", "tests.helpers.forked_torchrun", "--nproc-per-node", 2, "--master-port", port)
    return run_fresh(*launcher, *PROGRAM, *words(videos, *more), environment=environment)


@pytest.mark.slow
def test_two_processes_share_out_videos(videos):
    """Each video is made once; one that takes long does not hold the others up; all is said once."""
    names = [f"a/{number}.mp4" for number in range(8)]
    for name in names[2:]:
        write_video(videos / name)
    (videos / "a" / "1.mp4").write_bytes(b"no video")
    (videos / "list.txt").write_text("\n".join(names))
    # Process 1 does not go on before the last video is done.
    environment = {"WAITS": f"{videos}/json/7.json"}
    done = torchrun(videos, *results(videos), **environment)
    assert done.returncode == 1
    expected = dict.fromkeys(names, 1)
    del expected["a/1.mp4"]
    assert finished(videos) == expected, done.stderr
    assert len(list((videos / "json" / ".d2video").glob("finished-*.jsonl"))) == 2
    assert done.stdout.count("a/1.mp4 failed: cannot read video") == 1, done.stdout
    assert done.stderr.count("error: 1 of 8 videos failed: ") == 1
    said = "8 videos: 7 done, 0 finished before, 1 failed; 21 frames in"
    assert done.stdout.count(said) == 1
    assert "frames/s, by 2 processes" in done.stdout
    # The lines of both processes come through one, whole.
    assert done.stdout.count(": 3 instances of 1 track in the results") == 7


@pytest.mark.slow
@pytest.mark.parametrize("victim", [1, pytest.param(0, marks=pytest.mark.long)])
def test_a_process_that_is_killed_ends_the_run_and_the_next_one_goes_on(videos, victim):
    names = [f"a/{number}.mp4" for number in range(6)]
    for name in names:
        write_video(videos / name)
    (videos / "list.txt").write_text("\n".join(names))
    killed = torchrun(videos, *results(videos), KILLED=f"{victim} 5")
    assert killed.returncode != 0
    before = finished(videos)
    assert 1 <= len(before) < 6
    again = torchrun(videos, *results(videos))
    assert again.returncode == 0, again.stderr
    assert f"6 videos: {6 - len(before)} done, {len(before)} finished before" in again.stdout
    assert finished(videos) == dict.fromkeys(names, 1)


@pytest.mark.slow
def test_processes_started_here(videos):
    more = [*results(videos), "--num-gpus", "2", "--dist-url", "auto"]
    done = run_fresh(*PROGRAM, *words(videos, *more))
    assert done.returncode == 0, done.stderr
    assert finished(videos) == {"a/0.mp4": 1, "a/1.mp4": 1, "b/1.mp4": 1}
    one = run_fresh(*PROGRAM, f"{videos}/a/0.mp4", *words(videos, *more)[1:])
    assert one.stderr.count("several processes need several videos, but") == 1
    assert one.returncode == 1


def test_loggers_are_as_before(demo, videos):
    demo.main(words(videos, *results(videos)))
    kinds = [type(each).__name__ for each in logging.getLogger("d2video").handlers]
    assert "_ToMain" not in kinds
