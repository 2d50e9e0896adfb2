import shutil

import numpy as np
import pycocotools.mask as coco_mask
import pytest
from PIL import Image

from d2video.formats.mot_ground_truth import (
    read_mot_detections,
    read_mot_ground_truth,
    read_mots_ground_truth,
)
from d2video.formats.mot_sequence import SeqInfo, is_sequence, read_seqinfo, read_sequence
from d2video.utils.errors import UserError
from tests.helpers.mot_folders import SIZE, write_sequence

FRAMES = range(1, 7)
GROUND_TRUTH = "2,7,-3.5,4,10,20.25,1,1,0.5\n1,7,1,2,3,4,1,1,1\n\n1,3,5,6,7,8,0,12,0\n"


def rle(top, left, height, width):
    mask = np.zeros(SIZE, dtype=np.uint8, order="F")
    mask[top : top + height, left : left + width] = 1
    return coco_mask.encode(mask)


def mots_line(frame, track_id, cls, mask, size=SIZE):
    return f"{frame} {track_id} {cls} {size[0]} {size[1]} {mask['counts'].decode()}"


@pytest.fixture
def write(tmp_path):
    def write_text(text):
        path = tmp_path / "gt.txt"
        path.write_text(text) if isinstance(text, str) else path.write_bytes(text)
        return str(path)

    return write_text


def refused(read, *args):
    """The message, of one line, of the UserError that is raised."""
    with pytest.raises(UserError) as caught:
        read(*args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("delimiter", [",", ", ", " , "])
def test_ground_truth_is_kept_whole(write, delimiter):
    rows = read_mot_ground_truth(write(GROUND_TRUTH.replace(",", delimiter)), FRAMES)
    assert rows.frame.tolist() == [2, 1, 1]
    assert rows.id.tolist() == [7, 7, 3]
    assert rows.box.tolist() == [[-3.5, 4, 10, 20.25], [1, 2, 3, 4], [5, 6, 7, 8]]
    assert rows.flag.tolist() == [1, 1, 0]
    assert rows.cls.tolist() == [1, 1, 12]
    assert rows.visibility.tolist() == [0.5, 1, 0]
    integers = (rows.frame, rows.id, rows.flag, rows.cls)
    assert {column.dtype for column in integers} == {np.dtype(np.int64)}


def test_mot15_has_world_coordinates_in_place_of_classes(write):
    rows = read_mot_ground_truth(write("1,2,3,4,5,6,1,-8.5,3.2,0\n1,3,3,4,5,6,0,9,9,9\n"), FRAMES)
    assert rows.cls.tolist() == [1, 1]
    assert rows.visibility.tolist() == [1, 1]
    assert rows.flag.tolist() == [1, 0]


def test_line_ends_of_windows_and_byte_order_mark(write):
    text = b"\xef\xbb\xbf" + GROUND_TRUTH.replace("\n", "\r\n").encode()
    assert len(read_mot_ground_truth(write(text), FRAMES)) == 3


@pytest.mark.parametrize(
    "read", [read_mot_ground_truth, read_mots_ground_truth, read_mot_detections]
)
@pytest.mark.parametrize("text", ["", "\n \n"])
def test_empty_file_has_no_rows(write, read, text):
    assert len(read(write(text), FRAMES)) == 0


def test_part_of_a_sequence_counts_its_frames_from_1(write):
    rows = read_mot_ground_truth(
        write("1,1,1,1,1,1,1,1,1\n3,1,3,1,1,1,1,1,1\n5,1,5,1,1,1,1,1,1"), FRAMES
    )
    part = rows.of_frames(first_frame=2, num_frames=2)
    assert part.frame.tolist() == [2]
    assert part.box[:, 0].tolist() == [3]


GOOD = "1,2,3,4,5,6,1,1,1\n"
BAD_ROWS = {
    "beyond the sequence": (
        "7,2,3,4,5,6,1,1,1",
        "frame 7 is not among the sequence's frames 1 to 6",
    ),
    "frame 0": ("0,2,3,4,5,6,1,1,1", "frame 0 is not among"),
    "half a frame": ("1.5,2,3,4,5,6,1,1,1", "frame 1.5 is not a whole number"),
    "id twice": ("1,2,9,9,5,6,1,1,1", "id 2 is there twice in frame 1"),
    "negative id": ("1,-1,3,4,5,6,1,1,1", "id -1 is negative"),
    "half an id": ("1,2.5,3,4,5,6,1,1,1", "id 2.5 is not a whole number"),
    "id beyond all integers": ("1,1e300,3,4,5,6,1,1,1", "id 1e+300 is not a whole number"),
    "negative width": ("2,2,3,4,-5,6,0,1,1", "-5 wide and 6 high"),
    "no height": ("2,2,3,4,5,0,1,1,1", "5 wide and 0 high"),
    "far away": ("2,2,3,1e308,5,6,1,1,1", "lies beyond any image"),
    "wider than any image": ("2,2,3,4,1e300,6,1,1,1", "lies beyond any image"),
    "nan": ("2,2,nan,4,5,6,1,1,1", "nan or infinite"),
    "infinite": ("2,2,3,inf,5,6,1,1,1", "nan or infinite"),
    "short": ("2,2,3,4,5,6,1,1", "8 columns split by commas, not 9 to 10 (frame,id,left"),
    "long": ("2,2,3,4,5,6,1,1,1,1", "10 columns, the lines before it 9"),
    "text": ("2,two,3,4,5,6,1,1,1", "'two' is not a number"),
    "nothing": ("2,,3,4,5,6,1,1,1", "'' is not a number"),
    "spaces alone": ("2 2 3 4 5 6 1 1 1", "1 columns split by commas"),
    "comment": ("# 2,2,3,4,5,6,1,1,1", "'# 2' is not a number"),
}


@pytest.mark.parametrize("fault", BAD_ROWS)
def test_faulty_row_is_named_with_its_line(write, fault):
    row, message = BAD_ROWS[fault]
    path = write(GOOD + "\n" + row + "\n" + "3" + GOOD[1:])
    told = refused(read_mot_ground_truth, path, FRAMES)
    assert f"{path}, line 3: " in told
    assert message in told


def test_all_rows_of_a_wrong_width(write):
    assert "line 1: it has 7 columns" in refused(
        read_mot_ground_truth, write("1,2,3,4,5,6,1\n2,2,3,4,5,6,1\n"), FRAMES
    )


def test_box_without_size_that_is_not_considered(write):
    assert len(read_mot_ground_truth(write("1,2,3,4,0,6,0,1,1"), FRAMES)) == 1


@pytest.mark.parametrize("read", [read_mot_ground_truth, read_mots_ground_truth])
def test_file_that_is_missing_or_no_text(write, tmp_path, read):
    assert "does not exist" in refused(read, str(tmp_path / "no.txt"), FRAMES)
    assert "not a text file" in refused(read, write(b"\xff\xd8\xff\xe0\x00"), FRAMES)
    assert "cannot read" in refused(read, str(tmp_path), FRAMES)


def test_frames_with_gaps(write):
    rows = read_mot_ground_truth(write("5,1,1,1,1,1,1,1,1\n0,1,3,1,1,1,1,1,1"), (0, 3, 5))
    assert rows.frame.tolist() == [3, 1]
    assert "frame 4 is not among the sequence's frames 0, 3, 5 ... 9" in refused(
        read_mot_ground_truth, write("4,1,1,1,1,1,1,1,1"), (0, 3, 5, 9)
    )


@pytest.mark.parametrize("row", ["1,-1,3,4,5,6,0.25", "1,-1,3,4,5,6,0.25,-1,-1,-1"])
def test_detections(write, row):
    rows = read_mot_detections(write(row), FRAMES)
    assert (rows.frame.tolist(), rows.score.tolist()) == ([1], [0.25])
    assert rows.box.tolist() == [[3, 4, 5, 6]]


def test_detection_of_negative_size(write):
    assert "line 1: the box is -5 wide" in refused(
        read_mot_detections, write("1,-1,3,4,-5,6,0.25"), FRAMES
    )


def test_masks_are_kept_whole(write):
    masks = [rle(0, 0, 4, 5), rle(6, 0, 4, 5), rle(10, 0, 4, 5), rle(6, 0, 4, 5)]
    lines = [
        mots_line(1, 2001, 2, masks[0]),
        # An ignore region may come in pieces.
        mots_line(1, 10000, 10, masks[1]),
        mots_line(1, 10000, 10, masks[2]),
        mots_line(2, 1001, 1, masks[3]),
    ]
    rows = read_mots_ground_truth(write("\n".join(lines)), FRAMES)
    assert rows.frame.tolist() == [1, 1, 1, 2]
    assert rows.id.tolist() == [2001, 10000, 10000, 1001]
    assert rows.cls.tolist() == [2, 10, 10, 1]
    for found, mask in zip(rows.rle, masks, strict=True):
        assert np.array_equal(coco_mask.decode(found), coco_mask.decode(mask))


OTHER = rle(12, 10, 5, 5)
BAD_MASKS = {
    "beyond the sequence": (mots_line(9, 2, 2, OTHER), "frame 9 is not among"),
    "id twice": (mots_line(1, 1, 2, OTHER), "id 1 is there twice"),
    "short": ("1 2 2 24 32", "5 columns split by spaces, not 6"),
    "commas": ("1,2,2,24,32,abc", "1 columns split by spaces"),
    "text": ("1 2 two 24 32 abc", "'two' is not a number"),
    "nan": ("1 2 nan 24 32 abc", "nan or infinite"),
    "other size": (mots_line(1, 2, 2, OTHER, (32, 24)), "the mask is 24x32, the image 32x24"),
    "cut off": ("1 2 2 24 32 PP", "not a COCO run-length code"),
    "too few pixels": ("1 2 2 24 32 11", "the runs of 'counts' cover 2 pixels"),
}


@pytest.mark.parametrize("fault", BAD_MASKS)
def test_faulty_mask_is_named_with_its_line(write, fault):
    row, message = BAD_MASKS[fault]
    path = write("\n" + mots_line(1, 1, 2, rle(0, 0, 5, 5)) + "\n" + row)
    told = refused(read_mots_ground_truth, path, FRAMES)
    assert f"{path}, line 3: " in told
    assert message in told


def test_masks_of_another_size_than_the_images(write):
    path = write(mots_line(1, 1, 2, OTHER))
    assert "line 1: the mask is 32x24, the image 64x48" in refused(
        read_mots_ground_truth, path, FRAMES, (48, 64)
    )


def test_masks_that_share_one_pixel(write):
    lines = [mots_line(f, i, 2, rle(0, 4 * i, 5, 4)) for f in (1, 2) for i in (0, 1)]
    read_mots_ground_truth(write("\n".join(lines)), FRAMES)
    lines[-1] = mots_line(2, 1, 2, rle(4, 3, 1, 1))
    assert "masks of frame 2 overlap" in refused(
        read_mots_ground_truth, write("\n".join(lines)), FRAMES
    )


def test_seqinfo(tmp_path):
    info = read_seqinfo(write_sequence(tmp_path / "A", length=2))
    assert info == SeqInfo("img1", 30, 2, *SIZE, ".png")


def edit_ini(folder, old, new):
    path = folder / "seqinfo.ini"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    "left_out", ["seqLength=3\n", "imWidth=32\n", "imHeight=24\n", "imDir=img1\n", "imExt=.png\n"]
)
def test_seqinfo_needs_nothing_that_the_images_tell(tmp_path, left_out):
    whole = read_sequence(str(write_sequence(tmp_path / "A", length=3)))
    assert (len(whole.images), whole.frame_numbers, whole.size) == (3, range(1, 4), SIZE)
    edit_ini(tmp_path / "A", left_out, "")
    assert read_sequence(str(tmp_path / "A")) == whole


@pytest.mark.parametrize("name", ["img1", "frames"])
def test_missing_seqinfo(tmp_path, name):
    folder = write_sequence(tmp_path / "A", length=3)
    (folder / "seqinfo.ini").unlink()
    (folder / "img1").rename(folder / name)
    found = read_sequence(str(folder))
    assert found.images == tuple(str(folder / name / f"{t:06d}.png") for t in (1, 2, 3))
    assert (found.num_frames, found.size, found.frame_rate) == (3, SIZE, None)


def test_folder_of_images_that_nothing_tells(tmp_path):
    folder = write_sequence(tmp_path / "A", length=3)
    (folder / "seqinfo.ini").unlink()
    write_sequence(tmp_path / "B", length=3)
    (folder / "img1").rename(folder / "left")
    (tmp_path / "B" / "img1").rename(folder / "right")
    told = refused(read_sequence, str(folder))
    assert "several folders of images, left and right: name one as imDir" in told
    (folder / "seqinfo.ini").write_text("[Sequence]\nimDir=right\n")
    assert read_sequence(str(folder)).images[0] == str(folder / "right" / "000001.png")
    assert "no folder" in refused(read_seqinfo, tmp_path / "no")


def test_without_images_the_seqinfo_must_tell_the_length(tmp_path):
    folder = write_sequence(tmp_path / "A", length=3)
    shutil.rmtree(folder / "img1")
    found = read_sequence(str(folder))
    assert (found.images, found.frame_numbers, found.size) == (None, range(1, 4), SIZE)
    edit_ini(folder, "imWidth=32\n", "")
    assert read_sequence(str(folder)).size is None
    edit_ini(folder, "seqLength=3\n", "")
    assert "A has neither images (img1/000001.jpg ...) nor" in refused(read_sequence, str(folder))


def test_folders_that_are_no_sequences(tmp_path):
    (tmp_path / "seqmaps").mkdir()
    (tmp_path / "seqmaps" / "all.txt").touch()
    (tmp_path / "deep" / "img1").mkdir(parents=True)
    assert not is_sequence(tmp_path / "seqmaps")
    assert not is_sequence(tmp_path / "deep")
    for name, file in (("A", "gt/gt.txt"), ("B", "seqinfo.ini"), ("C", "frames/1.jpg")):
        (tmp_path / name / file).parent.mkdir(parents=True)
        (tmp_path / name / file).touch()
        assert is_sequence(tmp_path / name)


BAD_SEQINFO = {
    "text": ("seqLength=6", "seqLength=six", "'six'"),
    "no section": ("[Sequence]\n", "", "no section headers"),
    "other section": ("[Sequence]", "[Video]", "'Sequence' is missing"),
    "no frames": ("seqLength=6", "seqLength=0", "seqLength 0 cannot be"),
    "no height": ("imHeight=24", "imHeight=-24", "imHeight -24 cannot be"),
    "no rate": ("frameRate=30", "frameRate=nan", "frameRate nan cannot be"),
    "elsewhere": ("imDir=img1", "imDir=../img1", "imDir ../img1 lies outside"),
}


@pytest.mark.parametrize("fault", BAD_SEQINFO)
def test_faulty_seqinfo(tmp_path, fault):
    old, new, message = BAD_SEQINFO[fault]
    edit_ini(write_sequence(tmp_path / "A"), old, new)
    told = refused(read_seqinfo, tmp_path / "A")
    assert str(tmp_path / "A" / "seqinfo.ini") in told
    assert message in told


def rename(folder, name):
    """Give the images of a folder other names, ``name(t)`` the one of frame t."""
    (folder / "img1").rename(folder / "before")
    (folder / "img1").mkdir()
    for path in (folder / "before").iterdir():
        path.rename(folder / "img1" / name(int(path.stem)))
    (folder / "before").rmdir()


def test_frames_are_in_the_order_of_their_numbers(tmp_path):
    folder = write_sequence(tmp_path / "A", length=11)
    rename(folder, lambda t: f"{t}.png")
    # Neither a thumbnail nor a hidden file is a frame.
    (folder / "img1" / "Thumbs.jpg").write_bytes(b"")
    (folder / "img1" / "._1.png").write_bytes(b"")
    found = read_sequence(str(folder))
    assert found.images == tuple(str(folder / "img1" / f"{t}.png") for t in range(1, 12))


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        (lambda t: f"{2 * t - 1:06d}.png", (1, 3, 5, 7, 9, 11)),
        (lambda t: f"{t - 1:06d}.png", range(0, 6)),
        (lambda t: f"{t + 4}.png", range(5, 11)),
        # As CVAT's exports of videos: the place counts.
        (lambda t: f"frame_{5 * t:06d}.png", range(1, 7)),
    ],
)
def test_frames_have_the_numbers_of_their_images(tmp_path, name, numbers):
    folder = write_sequence(tmp_path / "A")
    rename(folder, name)
    found = read_sequence(str(folder))
    assert found.frame_numbers == numbers
    assert found.images[5] == str(folder / "img1" / name(6))


@pytest.mark.parametrize("written", ["png", ".PNG", ".png"])
def test_suffix_of_images(tmp_path, written):
    folder = write_sequence(tmp_path / "A")
    edit_ini(folder, "imExt=.png", f"imExt={written}")
    assert len(read_sequence(str(folder)).images) == 6


def edit_gap(images):
    (images / "000003.png").unlink()


def edit_more(images):
    (images / "000007.png").write_bytes((images / "000003.png").read_bytes())


def edit_name(images):
    (images / "000003.png").rename(images / "frame3.png")


def edit_twice(images):
    (images / "3.png").write_bytes((images / "000003.png").read_bytes())


def edit_size(images):
    Image.new("RGB", (32, 25)).save(images / "000001.png")


def edit_damage(images):
    (images / "000001.png").write_bytes(b"no image")


def edit_suffix(images):
    edit_ini(images.parent, "imExt=.png", "imExt=.jpg")


def test_scoring_needs_no_images(tmp_path, caplog):
    folder = write_sequence(tmp_path / "A")
    edit_gap(folder / "img1")
    found = read_sequence(str(folder), needs_images=False)
    assert (found.images, found.num_frames, [*found.frame_numbers]) == (None, 6, [1, 2, 3, 4, 5, 6])
    assert "that of frame 3 is missing: seqLength counts" in caplog.text


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (edit_gap, "says 6 frames but .* holds 5 .png images, that of frame 3 is missing"),
        (edit_more, "says 6 frames but .* holds 7 .png images, there are more"),
        (edit_name, "frame3.png: name it by its frame's number"),
        (edit_twice, "both of frame 3: take one away"),
        (edit_size, "is 32x25, but the sequence's seqinfo.ini says 32x24"),
        (edit_damage, "cannot read image .*000001.png"),
        (edit_suffix, "says imExt .jpg, but the 6 images of .*img1 are .png: correct imExt"),
    ],
)
def test_images_that_contradict_the_seqinfo(tmp_path, edit, message):
    folder = write_sequence(tmp_path / "A")
    edit(folder / "img1")
    with pytest.raises(UserError, match=message):
        read_sequence(str(folder))
