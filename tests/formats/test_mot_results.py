"""Result files of MOT and MOTS: round trip, streaming, and every fault with its line."""

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

from d2video.formats.geometry.rle import encode_masks
from d2video.formats.mot_ground_truth import masks_overlap
from d2video.formats.mot_results import (
    MOTResults,
    mot_results,
    mots_results,
    open_mot_results,
    read_mot_results,
    read_mots_results,
    write_results,
)
from d2video.utils.errors import UserError

SIZE = (12, 16)


def _boxes(ids, boxes, scores=None) -> Instances:
    scores = [0.5] * len(ids) if scores is None else scores
    return Instances(
        SIZE,
        pred_boxes=Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)),
        scores=torch.tensor(scores, dtype=torch.float32),
        track_ids=torch.tensor(ids, dtype=torch.int64),
    )


def _rectangle(x0, y0, x1, y1, size=SIZE) -> torch.Tensor:
    mask = torch.zeros(*size, dtype=torch.bool)
    mask[y0:y1, x0:x1] = True
    return mask


def _masks(ids, masks, as_codes=False) -> Instances:
    frame = Instances(SIZE, track_ids=torch.tensor(ids, dtype=torch.int64))
    stack = torch.stack(masks) if masks else torch.zeros(0, *SIZE, dtype=torch.bool)
    if as_codes:
        frame.pred_rles = encode_masks(stack)
    else:
        frame.pred_masks = stack
    return frame


BOX_FRAMES = [
    _boxes([3, 0], [[0, 0, 4, 6], [-2.5, 1.25, 3.0004, 20]], [0.25, 1.0]),
    _boxes([], []),
    _boxes([0], [[1.00049, 2, 3, 4.5]]),
]
BOX_TEXT = (
    "1,4,1.000,1.000,4.000,6.000,0.250000,-1,-1,-1\n"
    "1,1,-1.500,2.250,5.500,18.750,1.000000,-1,-1,-1\n"
    "3,1,2.000,3.000,2.000,2.500,0.500000,-1,-1,-1\n"
)


def test_boxes_count_from_1_and_keep_their_size(tmp_path):
    path = tmp_path / "new" / "a.txt"
    results = mot_results(BOX_FRAMES)
    write_results(path, results, range(1, 4))
    assert path.read_text() == BOX_TEXT
    again = read_mot_results(path, range(1, 4))
    for column in ("frame", "id", "box", "score"):
        # What is scored while the model runs is what stands in the file, to the last bit.
        np.testing.assert_array_equal(getattr(again, column), getattr(results, column))
    assert results.box.dtype == np.float64
    assert results.frame.tolist() == [1, 1, 3]


def test_boxes_frame_by_frame(tmp_path):
    path = tmp_path / "a.txt"
    with open_mot_results(path) as write:
        for t, frame in enumerate(BOX_FRAMES, 1):
            write(t, frame)
        assert not path.exists()
    assert path.read_text() == BOX_TEXT


@pytest.mark.parametrize("masks", [False, True])
def test_nothing_is_left_of_an_interrupted_file(tmp_path, masks):
    frame = _boxes([3, 0], [[0, 0, 4, 6], [1, 2, 3, 4]])
    frame.pred_masks = torch.zeros(2, *SIZE, dtype=torch.bool)

    def interrupted() -> None:
        with open_mot_results(tmp_path / "a.txt", masks=masks) as write:
            write(1, frame)
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert not list(tmp_path.iterdir())


def test_boxes_without_area_are_left_out():
    frame = _boxes([0, 1, 2, 3], [[0, 0, 0.0004, 5], [5, 5, 4, 9], [0, 0, 0.001, 1], [3, 3, 9, 3]])
    results = mot_results([frame])
    assert results.id.tolist() == [3]
    assert results.box[0, 2] == 0.001


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (_boxes([0, 4], [[0, 0, 1, 1], [0, 0, float("nan"), 1]]), "frame 8: box .*nan.*diverged"),
        (_boxes([0], [[0, 0, 1, 1]], [float("inf")]), "frame 8: box .* score inf"),
        (_boxes([2, 2], [[0, 0, 1, 1]] * 2), "frame 8: track id 2 is given to two"),
        (_boxes([2, 1, 3, 2], [[0, 0, 1, 1]] * 4), "frame 8: track id 2 is given to two"),
        (_boxes([-1], [[0, 0, 1, 1]]), "frame 8: track id -1 is negative"),
    ],
)
def test_answers_that_cannot_be_written(frame, message):
    with pytest.raises(UserError, match=message):
        mot_results([BOX_FRAMES[0], frame], [7, 8])


def test_no_frames_are_no_rows():
    assert len(mot_results([])) == len(mots_results([])) == 0


LINE = "1,1,10,20,30,40,0.5,-1,-1,-1"


@pytest.mark.parametrize("text", ["", "\n\n", LINE, f"{LINE}\r\n", " 1, 1, 10, 20, 30, 40, 0.5\n"])
def test_sound_files_of_others(tmp_path, text):
    path = tmp_path / "a.txt"
    path.write_text(text)
    results = read_mot_results(path, range(1, 2))
    assert len(results) == (1 if text.strip() else 0)
    assert results.box.tolist() == [[10, 20, 30, 40]][: len(results)]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("1,2,10,20,30", "line 3: it has 5 columns"),
        ("1,2,10,20,30,40,0.5", "line 3: it has 7 columns, the lines before it 10"),
        ("1,2,10,20,30,40,0.5,-1,-1,-1,-1", "line 3: it has 11 columns"),
        ("1,2,10,wide,30,40,0.5,-1,-1,-1", "line 3: 'wide' is not a number"),
        ("1,2,10,20,nan,40,0.5,-1,-1,-1", "line 3: a number is nan"),
        ("0,2,10,20,30,40,0.5,-1,-1,-1", "line 3: frame 0 is not among .* 1 to 5"),
        ("6,2,10,20,30,40,0.5,-1,-1,-1", "line 3: frame 6 is not among"),
        ("1.5,2,10,20,30,40,0.5,-1,-1,-1", "line 3: the frame 1.5 is not a whole"),
        ("1,2.5,10,20,30,40,0.5,-1,-1,-1", "line 3: the id 2.5 is not a whole"),
        ("1,-1,10,20,30,40,0.5,-1,-1,-1", "line 3: the id -1 is negative"),
        ("1,1,0,0,30,40,0.5,-1,-1,-1", "line 3: id 1 is there twice in frame 1"),
        ("1,2,10,20,0,40,0.5,-1,-1,-1", "line 3: the box is 0 wide and 40 high"),
        ("1,2,10,20,30,-4,0.5,-1,-1,-1", "line 3: the box is 30 wide and -4 high"),
        ("1,2,10,20,30,40,0.5,2,-1,-1", "line 3: column 8 is 2"),
    ],
)
def test_faults_of_box_files_name_the_line(tmp_path, second, message):
    path = tmp_path / "a.txt"
    path.write_text(f"{LINE}\n\n{second}\n2,1,10,20,30,40,0.5,-1,-1,-1\n")
    with pytest.raises(UserError, match=f"{path}, {message}"):
        read_mot_results(path, range(1, 6))


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(UserError, match=r"a.txt does not exist"):
        read_mot_results(tmp_path / "a.txt", range(1, 6))
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    for read in (read_mot_results, read_mots_results):
        with pytest.raises(UserError, match=r"a.txt is not a text file"):
            read(tmp_path / "a.txt", 5)


@pytest.mark.parametrize("as_codes", [False, True])
def test_masks_round_trip(tmp_path, as_codes):
    frames = [
        _masks([5, 0], [_rectangle(0, 0, 4, 6), _rectangle(4, 0, 16, 12)], as_codes),
        _masks([], [], as_codes),
        _masks([0, 1], [_rectangle(3, 3, 3, 3), _rectangle(1, 2, 9, 9)], as_codes),  # one is empty
    ]
    path = tmp_path / "a.txt"
    with open_mot_results(path, masks=True) as write:
        for t, frame in enumerate(frames, 1):
            write(t, frame)
    streamed = path.read_text()
    results = mots_results(frames)
    write_results(path, results, range(1, 4))
    assert path.read_text() == streamed
    lines = [line.split(" ") for line in streamed.splitlines()]
    assert [line[:5] for line in lines] == [
        ["1", "6", "2", "12", "16"],
        ["1", "1", "2", "12", "16"],
        ["3", "2", "2", "12", "16"],
    ]
    again = read_mots_results(path, range(1, 4), SIZE)
    assert again.rle.tolist() == results.rle.tolist()
    assert again.rle[2] == encode_masks(_rectangle(1, 2, 9, 9)[None])[0]
    assert again.frame.tolist() == [1, 1, 3]
    assert again.id.tolist() == [6, 1, 2]


def test_more_masks_than_pycocotools_takes_at_once(tmp_path):
    frame = _masks([0, 1], [_rectangle(0, 0, 4, 6), _rectangle(4, 0, 16, 12)], True)
    results = mots_results([frame] * 150)
    write_results(tmp_path / "a.txt", results, range(1, 151))
    assert len(read_mots_results(tmp_path / "a.txt", range(1, 151), SIZE)) == len(results) == 300


def test_models_without_masks_or_with_overlapping_ones():
    with pytest.raises(UserError, match="predicts no masks"):
        mots_results([BOX_FRAMES[0]])
    both = _masks([0, 1], [_rectangle(0, 0, 5, 5), _rectangle(4, 4, 8, 8)])
    with pytest.raises(UserError, match="frame 2: masks of the model overlap"):
        mots_results([_masks([], []), both])


def test_overlap_of_one_pixel():
    first, second, third = (
        encode_masks(_rectangle(*box)[None])[0]
        for box in ((0, 0, 5, 5), (5, 0, 9, 5), (4, 4, 5, 9))
    )
    assert not masks_overlap([])
    assert not masks_overlap([first])
    assert not masks_overlap([first, second])
    assert masks_overlap([second, first, third])


def _mask_line(frame=1, track=1, cls=2, box=(0, 0, 4, 4), size=SIZE, code=None) -> str:
    code = code or encode_masks(_rectangle(*box, size)[None])[0]["counts"].decode()
    return f"{frame} {track} {cls} {size[0]} {size[1]} {code}"


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("1 2 2 12 16", "line 3: it has 5 columns"),
        (_mask_line(frame="x"), "line 3: 'x' is not a number"),
        (_mask_line(frame=0), "line 3: frame 0 is not among"),
        (_mask_line(frame=6), "line 3: frame 6 is not among"),
        (_mask_line(track=-1), "line 3: the id -1 is negative"),
        (_mask_line(box=(8, 8, 9, 9)), "line 3: id 1 is there twice in frame 1"),
        (_mask_line(track=2, cls=7, box=(8, 8, 9, 9)), "line 3: class 7"),
        (_mask_line(track=2, box=(8, 8, 9, 9), size=(12, 17)), "line 3: the mask is 17x12"),
        (_mask_line(track=2, code="f4"), "line 3: the runs of 'counts' cover"),
        (_mask_line(track=2, box=(3, 3, 3, 3)), "line 3: the mask is empty"),
        (_mask_line(track=2, box=(3, 3, 5, 5)), "line .: masks of frame 1 overlap"),
    ],
)
def test_faults_of_mask_files_name_the_line(tmp_path, second, message):
    path = tmp_path / "a.txt"
    path.write_text(f"{_mask_line()}\n\n{second}\n{_mask_line(frame=2)}\n")
    with pytest.raises(UserError, match=f"{path}, {message}"):
        read_mots_results(path, range(1, 6))


def test_masks_must_have_the_size_of_the_sequence(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(_mask_line())
    assert len(read_mots_results(path, range(1, 2))) == 1
    with pytest.raises(UserError, match="line 1: the mask is 16x12, the image 12x16"):
        read_mots_results(path, range(1, 2), (16, 12))


def test_an_unwritable_path(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot create the folder"):
        write_results(tmp_path / "file" / "a.txt", mot_results(BOX_FRAMES), range(1, 4))
    assert isinstance(mot_results(BOX_FRAMES), MOTResults)
