"""Label Studio's exports of videos, written as Label Studio writes them, and what is wrong with some."""

import json
from pathlib import Path

import numpy as np
import pytest

from d2video.formats.faults import Fault, LeftOut
from d2video.formats.label_studio import read_label_studio
from d2video.formats.readers import read_labels
from d2video.utils.errors import UserError
from tests.helpers.true_labels import (
    HEIGHT,
    WIDTH,
    TrueVideo,
    assert_equal,
    renumbered,
    true_videos,
    write_images,
    write_video,
)

BLANK = TrueVideo("blank", 9, ())


def keyframe(frame: int, box=(0, 0, 32, 24), **more) -> dict:
    """A box in pixels, as per cent."""
    x, y, w, h = box
    per_cent = {"x": x / WIDTH, "width": w / WIDTH, "y": y / HEIGHT, "height": h / HEIGHT}
    fields = {key: 100 * value for key, value in per_cent.items()}
    return {"frame": frame, "enabled": True, "rotation": 0, "time": frame / 24, **fields, **more}


def rectangle(identity: str, sequence: list[dict], label="cat", count=9, **more) -> dict:
    value = {"framesCount": count, "duration": count / 10, "sequence": sequence, "labels": [label]}
    return {
        "value": value | more,
        "id": identity,
        "from_name": "box",
        "to_name": "video",
        "type": "videorectangle",
        "origin": "manual",
    }


def task(identity: int, results: list[dict], video="/data/upload/1/0a1b2c3d-blank.mp4") -> dict:
    annotation = {"id": 10 * identity, "result": results, "was_cancelled": False}
    return {
        "id": identity,
        "annotations": [annotation],
        "drafts": [],
        "predictions": [],
        "data": {"video": video},
    }


def write(folder: Path, *tasks: dict) -> Path:
    path = folder / "project-1-at-2024-05-01.json"
    path.write_text(json.dumps([*tasks]))
    return path


def result_of(objects, count: int, auto: bool) -> dict:
    """A track as keyframes in each of its frames, of which some stand there as interpolated ones."""
    frames = [each.frame for each in objects]
    sequence = [
        keyframe(each.frame + 1, each.box, enabled=each.frame + 1 in frames)
        | ({"auto": True} if auto and k % 2 else {})
        for k, each in enumerate(objects)
    ]
    if frames[-1] == count - 1:
        sequence[-1]["enabled"] = True
    return rectangle(f"x{objects[0].track}", sequence[::-1], objects[0].category, count)


def write_truth(truth, folder: Path, auto: bool = False) -> Path:
    tasks = []
    for number, video in enumerate(truth, 1):
        objects = [video.of_track(track) for track in video.tracks]
        results = [result_of(each, video.num_frames, auto) for each in objects]
        tasks.append(task(number, results, f"/data/upload/1/0a1b2c3d-{video.name}.mp4"))
    return write(folder, *tasks)


@pytest.mark.parametrize("auto", [False, True])
@pytest.mark.parametrize("write_frames", [write_video, write_images])
def test_round_trip(tmp_path, auto, write_frames):
    truth = renumbered(true_videos(crowd=False))
    path = write_truth(truth, tmp_path, auto)
    for video in truth:
        name = f"{video.name}.mp4" if write_frames is write_video else video.name
        write_frames(video, tmp_path / name)
    labels = read_labels(str(path))
    assert labels.classes == ["cat", "dog"]
    assert [*labels.videos[0].numbers] == [*range(1, 9)]
    # Per cent in binary: off by rounding only.
    assert_equal(labels, truth, masks=False, box_error=1e-12)


def objects_of(tmp_path, *results: dict, **options):
    """{frame as Label Studio counts: box} of the tracks in a video of nine frames, one a result."""
    if not (tmp_path / "blank.mp4").exists():
        write_video(BLANK, tmp_path / "blank.mp4")
    labels = read_label_studio(str(write(tmp_path, task(1, [*results]))), **options)
    (video,) = labels.videos
    found = [{} for _ in results]
    for each in video.objects:
        found[each.track - 1][video.numbers[each.frame]] = np.round(each.box, 9).tolist()
    return found


def test_between_keyframes_all_numbers_are_linear(tmp_path):
    (found,) = objects_of(
        tmp_path,
        rectangle("a", [keyframe(5, (16, 8, 12, 4)), keyframe(1, (0, 0, 4, 8), enabled=True)]),
    )
    assert found == {
        1: [0, 0, 4, 8],
        2: [4, 2, 6, 7],
        3: [8, 4, 8, 6],
        4: [12, 6, 10, 5],
        **{frame: [16, 8, 12, 4] for frame in range(5, 10)},  # enabled: to the end
    }


def test_absent_after_a_keyframe_that_is_not_enabled(tmp_path):
    first, second = objects_of(
        tmp_path,
        rectangle(
            "a",
            [
                keyframe(2, (0, 0, 4, 4)),
                keyframe(4, (8, 0, 4, 4), enabled=False),
                {key: v for key, v in keyframe(7, (20, 0, 4, 4)).items() if key != "enabled"},
                keyframe(9, (24, 0, 4, 4), enabled=False),
            ],
        ),
        rectangle("b", [keyframe(3, (5, 5, 5, 5), enabled=False)], "dog"),
    )
    assert {frame: box[0] for frame, box in first.items()} == {
        2: 0,
        3: 4,
        4: 8,
        7: 20,
        8: 22,
        9: 24,
    }
    assert second == {3: [5, 5, 5, 5]}


def test_rotated_boxes_are_the_upright_ones_around(tmp_path):
    write_video(BLANK, tmp_path / "blank.mp4")
    sequence = [
        keyframe(1, (30, 10, 20, 10), rotation=0),
        keyframe(3, (30, 10, 20, 10), rotation=90),
    ]
    path = write(tmp_path, task(1, [rectangle("a", sequence)]))
    found = []
    (video,) = read_label_studio(str(path), found.append).videos
    upright, between, turned = (np.array(each.box) for each in video.objects[:3])
    np.testing.assert_allclose(upright, [30, 10, 20, 10])
    np.testing.assert_allclose(turned, [20, 10, 10, 20], atol=1e-9)  # clockwise about the left top
    half = np.sqrt(0.5)
    np.testing.assert_allclose(between, [30 - 10 * half, 10, 30 * half, 30 * half])
    assert [str(each).split(": ")[1] for each in found] == [
        "0 of 1 rotations of boxes are used; left out"
    ]


def test_another_number_of_frames_asks_for_the_rate(tmp_path):
    # The video has 9 frames at 10 a second; 24 a second make 21 or 22 of them.
    sequence = [keyframe(1, (0, 0, 4, 4)), keyframe(13, (10, 0, 4, 4)), keyframe(20, enabled=False)]
    result = rectangle("a", sequence, count=22)
    with pytest.raises(
        UserError, match=r"framesCount is 22, and .*blank.mp4 has 9 frames.* fps"
    ) as e:
        objects_of(tmp_path, result)
    assert "(by the times of its keyframes it is 24)" in str(e.value)
    (found,) = objects_of(tmp_path, result, fps=24)
    # Frame 13 is shown at 0.5 s, frame 20 at 0.79 s: those are frames 5 and 8 from 0.
    assert {frame: box[0] for frame, box in found.items()} == {
        **{number + 1: 2 * number for number in range(6)},
        7: pytest.approx(20 / 3),
        8: pytest.approx(10 / 3),
        9: 0,
    }
    # Two keyframes on one frame of the video: the later one counts.
    close = [keyframe(13, (9, 0, 4, 4)), keyframe(14, (8, 0, 4, 4), enabled=False)]
    (found,) = objects_of(tmp_path, rectangle("a", close, count=22), fps=24)
    assert found == {6: [8, 0, 4, 4]}
    with pytest.raises(UserError, match="it has a keyframe behind the 9 frames"):
        objects_of(tmp_path, rectangle("a", [keyframe(30)], count=22), fps=24)
    # Where the numbers agree, the rate is not used.
    (found,) = objects_of(tmp_path, rectangle("a", [keyframe(3, enabled=False)]), fps=24)
    assert [*found] == [3]


def test_images_have_no_times(tmp_path):
    write_images(BLANK, tmp_path / "blank")
    path = write(tmp_path, task(1, [rectangle("a", [keyframe(1)], count=22)]))
    with pytest.raises(UserError, match="has 9 frames: give the video file"):
        read_label_studio(str(path), fps=24)


def test_the_annotation_that_counts(tmp_path):
    write_video(BLANK, tmp_path / "blank.mp4")
    one = task(7, [])
    results = [rectangle(name, [keyframe(1, enabled=False)]) for name in "abc"]
    results[2]["value"]["labels"] = []
    results[1]["value"]["labels"] = ["dog", "cat"]
    choices = {"type": "choices", "id": "z", "value": {"choices": ["day"]}}
    one["annotations"] = [
        {"result": [results[2]], "was_cancelled": False},
        {"result": [results[0]]},
        {"result": [*results, choices], "was_cancelled": False},
        {"result": [results[0]], "was_cancelled": True},
    ]
    one |= {"predictions": [{"result": []}], "drafts": [{}]}
    unlabelled = {"id": 8, "annotations": [], "data": {"video": "other.mp4"}}
    empty = task(9, [], "https://example.org/a%20b.mp4?signature=1#t")
    write_video(BLANK, tmp_path / "a b.mp4")
    found = []
    path = str(write(tmp_path, one, unlabelled, empty))
    labels = read_label_studio(path, found.append)
    assert [labels.classes[each.category] for _, each in labels.objects()] == ["cat", "dog"]
    assert [(v.name, len(v.objects)) for v in labels.videos] == [("blank", 2), ("a b", 0)]
    assert all(isinstance(each, LeftOut) for each in found)
    assert [str(each).removeprefix(f"{path}: ") for each in found] == [
        "2 of 3 tasks are used; left out: 1 without an annotation, which nobody has labelled",
        "2 of 7 annotations are used; left out: 2 before the last one of their task, 1 that are "
        "cancelled, 1 that are drafts, 1 that are predictions",
        "2 of 4 results are used; left out: 1 of type choices, 1 without a label",
        "2 of 3 labels of objects are used; left out: 1 behind the first of their object",
    ]


@pytest.mark.parametrize(
    ("source", "place", "image_root"),
    [
        ("/data/upload/1/0a1b2c3d-blank.mp4", "0a1b2c3d-blank.mp4", None),
        ("/data/local-files/?d=set%20a/blank.mp4", "set a/blank.mp4", None),
        ("s3://bucket/set/blank.mp4", "set/blank.mp4", None),
        ("C:\\videos\\blank.mp4", "elsewhere/blank.avi", "elsewhere"),
        ("/x/other.mp4", "elsewhere/blank.mp4", "elsewhere/blank.mp4"),
        ("https://host/set/blank.mp4?X-Amz-Signature=1&d=2#t=0", "blank.mp4", None),
        ("/data/upload/1/0a1b2c3d-50% #1?.mp4", "50% #1?.mp4", None),
    ],
)
def test_where_videos_are(tmp_path, source, place, image_root):
    written = tmp_path / "blank.mp4"
    write_video(BLANK, written)
    (tmp_path / place).parent.mkdir(exist_ok=True)
    written.rename(tmp_path / place)
    root = image_root and str(tmp_path / image_root)
    path = write(tmp_path, task(1, [], source))
    (video,) = read_label_studio(str(path), image_root=root).videos
    assert video.frames[3] == f"{tmp_path / place}#frame=3"


@pytest.mark.parametrize(
    ("sequence", "words"),
    [
        ([keyframe(0)], "its keyframe 0 is before the first frame.*set first_frame to 0"),
        ([keyframe(1), keyframe(1)], "its keyframe 1 is there twice"),
        ([keyframe(10)], "it has a keyframe behind the 9 frames of .*blank.mp4"),
        ([keyframe(1, x=None)], "its keyframe 1 has no numbers as x, y, width"),
        ([keyframe(1) | {"frame": 1.5}], "has no whole number as frame"),
        ([None], "its keyframe null has no whole number as frame"),
        ([], "it has no keyframes"),
    ],
)
def test_bad_keyframes_are_one_line_with_their_place(tmp_path, sequence, words):
    with pytest.raises(UserError, match=words) as error:
        objects_of(tmp_path, rectangle("abc", sequence))
    assert f"{tmp_path / 'project-1-at-2024-05-01.json'}: result abc of task 1: " in str(
        error.value
    )


def test_faults_do_not_end_the_reading(tmp_path):
    write_video(BLANK, tmp_path / "blank.mp4")
    results = [rectangle("a", []), None, rectangle("b", [keyframe(2)], label=3)]
    results += [rectangle("c", [keyframe(2)]), {"type": "videorectangle", "id": "d"}]
    path = write(tmp_path, {"id": 3}, task(1, results), task(2, results))
    content = json.loads(path.read_text())
    path.write_text(json.dumps([content[1], content[0], content[2]]))
    found = []
    labels = read_label_studio(str(path), found.append)
    faults = [str(each).removeprefix(f"{path}: ") for each in found if isinstance(each, Fault)]
    assert labels.tally.used == 8
    assert len(faults) == 9
    assert faults[3].startswith("task 3: it has no data")
    assert faults[-1].startswith("task 2: its video is")


def test_files_of_programs_may_count_from_0(tmp_path):
    (found,) = objects_of(
        tmp_path, rectangle("a", [keyframe(0), keyframe(8, enabled=False)]), first_frame=0
    )
    assert [*found] == [*range(9)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            [{"id": 1, "video": "a.mp4", "annotator": 1, "annotation_id": 2, "box": []}],
            "is Label Studio's JSON-MIN.*export the project as JSON",
        ),
        ({"images": [], "categories": []}, "is not Label Studio's JSON, a list of tasks"),
        ([[]], "is not Label Studio's JSON"),
        ([task(1, None)], "task 1: its annotation has no list called result"),
        (
            [task(1, [rectangle("a", [])]), task(2, [], "a.jpg") | {"data": {"image": "a.jpg"}}],
            "has tasks of videos and of images",
        ),
        (
            [
                task(
                    1,
                    [
                        rectangle("a", [keyframe(1)]),
                        {"type": "brushlabels", "id": "b", "value": {"brushlabels": ["cat"]}},
                    ],
                )
            ],
            "task 1: it has objects of a video and of an image",
        ),
        ([task(1, []) | {"data": {"text": "a"}}], "task 1: its data, .* name no image"),
        ([task(1, [], "gone.mp4")], "the frames are not in .*gone.mp4.*image_root"),
    ],
)
def test_bad_files_are_one_line(tmp_path, content, words):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=words):
        read_labels(str(path), "label_studio")


def test_a_rate_below_0(tmp_path):
    with pytest.raises(UserError, match="fps is -1"):
        read_label_studio(str(write(tmp_path, task(1, []))), fps=-1)
