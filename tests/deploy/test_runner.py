"""The runner on a hand-made model: what it reads, answers and refuses."""

import json

import cv2
import numpy as np
import pytest

from d2video.deploy import Runner
from d2video.deploy.__main__ import main
from d2video.utils.errors import UserError
from tests.deploy.hand_made import write

FRAME = np.zeros((20, 40, 3), np.uint8)


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "exported")


def test_an_image_is_answered(folder):
    answer = Runner(folder).predict(FRAME)
    assert answer.found.classes.tolist() == [0]
    assert answer.to_dict() == {
        "index": 0,
        "file_name": "",
        "height": 20,
        "width": 40,
        "instances": [
            {
                "category_id": 0,
                "score": pytest.approx(0.9),
                "bbox": [10.0, 5.0, 20.0, 10.0],
                "category": "cat",
            }
        ],
    }


def test_files_by_the_command_line(folder, tmp_path, capsys):
    frames = tmp_path / "frames"
    frames.mkdir()
    for index in range(3):
        cv2.imwrite(str(frames / f"{index}.png"), FRAME)
    results = tmp_path / "results.json"
    for source, count in ((frames, 3), (frames / "0.png", 1)):
        main([str(folder), str(source), "--output", str(results)])
        content = json.loads(results.read_text())
        assert content["num_frames"] == len(content["frames"]) == count
        assert content["categories"] == ["cat", ""]
    assert content["images"] == "0.png"
    with pytest.raises(SystemExit):
        main([str(folder), str(tmp_path / "none.mp4"), "--output", str(results)])
    assert "none.mp4 does not exist" in capsys.readouterr().err


def test_images_are_turned_upright(folder, tmp_path):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(FRAME).save(tmp_path / "turned.jpg", exif=exif)
    assert Runner(folder).predict(tmp_path / "turned.jpg").frame.image.shape == (40, 20, 3)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ([FRAME.astype(np.float32)], "type float32; expected (H,W,3) of uint8"),
        ([FRAME[..., 0]], "has shape (20, 40)"),
        ([FRAME, FRAME[1:]], "frame 1 is 40x19 pixels, the first one 40x20"),
        ([], "is empty"),
        (["frame.png"], "is of type str"),
    ],
)
def test_videos_that_are_refused(folder, source, said):
    with pytest.raises(UserError) as error:
        [*Runner(folder)(source)]
    assert said in str(error.value)


def test_files_that_are_refused(folder, tmp_path):
    runner = Runner(folder)
    (tmp_path / "broken.png").write_bytes(b"no image")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    for name, said in (("none.png", "does not exist"), ("broken.png", "cannot read image")):
        with pytest.raises(UserError, match=said):
            runner.predict(tmp_path / name)
    with pytest.raises(UserError, match="cannot read video"):
        next(runner(tmp_path / "broken.mp4"))


def test_frames_of_a_folder_are_in_natural_order(folder, tmp_path):
    for index in (10, 2, 1):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((8, 8, 3), index, np.uint8))
    (tmp_path / ".0.png").write_bytes(b"no image")
    assert [answer.frame.image.max() for answer in Runner(folder)(tmp_path)] == [1, 2, 10]


@pytest.mark.parametrize("suffix", [".avi", ".mkv"])
def test_a_video_that_is_cut_off_is_an_error(folder, tmp_path, capsys, suffix):
    whole, short = tmp_path / f"whole{suffix}", tmp_path / f"short{suffix}"
    writer = cv2.VideoWriter(str(whole), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    rng = np.random.default_rng(0)
    for _ in range(20):
        writer.write(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    writer.release()
    content = whole.read_bytes()
    short.write_bytes(content[: len(content) // 2])
    results = tmp_path / "results.json"
    main([str(folder), str(whole), "--output", str(results)])
    assert json.loads(results.read_text())["num_frames"] == 20
    results.unlink()
    with pytest.raises(SystemExit) as ended:
        main([str(folder), str(short), "--output", str(results)])
    assert ended.value.code == 1
    message = capsys.readouterr().err
    assert "of 20 frames: it is cut off or damaged" in message
    main([str(folder), str(short), "--output", str(results), "--stop-at-damage"])
    assert 5 < json.loads(results.read_text())["num_frames"] < 15


def change(folder, **values):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def drop(folder, key):
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    del content[key]
    path.write_text(json.dumps(content))


def cut(path):
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "has no manifest.json"),
        (lambda folder: cut(folder / "manifest.json"), "cannot be read"),
        (lambda folder: change(folder, format=2), "has format 2, this d2video reads 1"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "has format None"),
        (lambda folder: drop(folder, "task"), "is damaged"),
        (lambda folder: change(folder, runtime="trt"), "runtime 'trt' is unknown"),
        (lambda folder: change(folder, task="os:system"), "is not one of d2video's"),
        (lambda folder: change(folder, task="d2video.deploy.none:X"), "is not there"),
        (lambda folder: (folder / "detect.onnx").unlink(), "detect.onnx is missing"),
        (lambda folder: cut(folder / "detect.onnx"), "detect.onnx cannot be loaded"),
    ],
)
def test_damaged_exports_end_in_one_line(folder, harm, said):
    harm(folder)
    with pytest.raises(UserError) as error:
        Runner(folder)
    assert said in str(error.value)


def test_a_size_that_the_graph_does_not_take(folder):
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"height"', "16"))
    with pytest.raises(
        UserError, match=r"'frames' is uint8 \(1, 3, 8, 16\).*\(batch, 3, 16, width"
    ):
        Runner(folder).predict(FRAME)


def test_devices_that_are_not_there(folder):
    with pytest.raises(UserError, match="device 'tpu' is unknown"):
        Runner(folder, device="tpu")
    with pytest.raises(UserError, match="lacks the CUDAExecutionProvider"):
        Runner(folder, device="cuda")
