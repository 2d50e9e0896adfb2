import numpy as np
import pycocotools.mask as coco_mask
import pytest
from PIL import Image

from d2video.formats.mot_ground_truth import (
    read_mot_detections,
    read_mot_ground_truth,
    read_mots_ground_truth,
)
from d2video.formats.mot_sequence import list_frames, read_seqinfo
from d2video.utils.errors import UserError
from tests.helpers.mot_folders import SIZE, write_sequence

LENGTH = 6
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
    rows = read_mot_ground_truth(write(GROUND_TRUTH.replace(",", delimiter)), LENGTH)
    assert rows.frame.tolist() == [2, 1, 1]
    assert rows.id.tolist() == [7, 7, 3]
    assert rows.box.tolist() == [[-3.5, 4, 10, 20.25], [1, 2, 3, 4], [5, 6, 7, 8]]
    assert rows.flag.tolist() == [1, 1, 0]
    assert rows.cls.tolist() == [1, 1, 12]
    assert rows.visibility.tolist() == [0.5, 1, 0]
    integers = (rows.frame, rows.id, rows.flag, rows.cls)
    assert {column.dtype for column in integers} == {np.dtype(np.int64)}


def test_mot15_has_world_coordinates_in_place_of_classes(write):
    rows = read_mot_ground_truth(write("1,2,3,4,5,6,1,-8.5,3.2,0\n1,3,3,4,5,6,0,9,9,9\n"), LENGTH)
    assert rows.cls.tolist() == [1, 1]
    assert rows.visibility.tolist() == [1, 1]
    assert rows.flag.tolist() == [1, 0]


def test_line_ends_of_windows_and_byte_order_mark(write):
    text = b"\xef\xbb\xbf" + GROUND_TRUTH.replace("\n", "\r\n").encode()
    assert len(read_mot_ground_truth(write(text), LENGTH)) == 3


@pytest.mark.parametrize(
    "read", [read_mot_ground_truth, read_mots_ground_truth, read_mot_detections]
)
@pytest.mark.parametrize("text", ["", "\n \n"])
def test_empty_file_has_no_rows(write, read, text):
    assert len(read(write(text), LENGTH)) == 0


def test_part_of_a_sequence_counts_its_frames_from_1(write):
    rows = read_mot_ground_truth(
        write("1,1,1,1,1,1,1,1,1\n3,1,3,1,1,1,1,1,1\n5,1,5,1,1,1,1,1,1"), 5
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
    "half a frame": ("1.5,2,3,4,5,6,1,1,1", "frame 1.5 is no whole number"),
    "id twice": ("1,2,9,9,5,6,1,1,1", "id 2 is there twice in frame 1"),
    "negative id": ("1,-1,3,4,5,6,1,1,1", "id -1 is negative"),
    "half an id": ("1,2.5,3,4,5,6,1,1,1", "id 2.5 is no whole number"),
    "id beyond all integers": ("1,1e300,3,4,5,6,1,1,1", "id 1e+300 is no whole number"),
    "negative width": ("2,2,3,4,-5,6,0,1,1", "-5 wide and 6 high"),
    "no height": ("2,2,3,4,5,0,1,1,1", "5 wide and 0 high"),
    "nan": ("2,2,nan,4,5,6,1,1,1", "nan or infinite"),
    "infinite": ("2,2,3,inf,5,6,1,1,1", "nan or infinite"),
    "short": ("2,2,3,4,5,6,1,1", "8 columns split by commas, not 9 to 10 (frame,id,left"),
    "long": ("2,2,3,4,5,6,1,1,1,1", "10 columns, the lines before it 9"),
    "text": ("2,two,3,4,5,6,1,1,1", "'two' is no number"),
    "nothing": ("2,,3,4,5,6,1,1,1", "'' is no number"),
    "spaces alone": ("2 2 3 4 5 6 1 1 1", "1 columns split by commas"),
    "comment": ("# 2,2,3,4,5,6,1,1,1", "'# 2' is no number"),
}


@pytest.mark.parametrize("fault", BAD_ROWS)
def test_faulty_row_is_named_with_its_line(write, fault):
    row, message = BAD_ROWS[fault]
    path = write(GOOD + "\n" + row + "\n" + "3" + GOOD[1:])
    told = refused(read_mot_ground_truth, path, LENGTH)
    assert f"{path}, line 3: " in told
    assert message in told


def test_all_rows_of_a_wrong_width(write):
    assert "line 1: it has 7 columns" in refused(
        read_mot_ground_truth, write("1,2,3,4,5,6,1\n2,2,3,4,5,6,1\n"), LENGTH
    )


def test_box_without_size_that_is_not_considered(write):
    assert len(read_mot_ground_truth(write("1,2,3,4,0,6,0,1,1"), LENGTH)) == 1


@pytest.mark.parametrize("read", [read_mot_ground_truth, read_mots_ground_truth])
def test_file_that_is_missing_or_no_text(write, tmp_path, read):
    assert "does not exist" in refused(read, str(tmp_path / "no.txt"), LENGTH)
    assert "not a text file" in refused(read, write(b"\xff\xd8\xff\xe0\x00"), LENGTH)
    assert "cannot read" in refused(read, str(tmp_path), LENGTH)


@pytest.mark.parametrize("row", ["1,-1,3,4,5,6,0.25", "1,-1,3,4,5,6,0.25,-1,-1,-1"])
def test_detections(write, row):
    rows = read_mot_detections(write(row), LENGTH)
    assert (rows.frame.tolist(), rows.score.tolist()) == ([1], [0.25])
    assert rows.box.tolist() == [[3, 4, 5, 6]]


def test_detection_of_negative_size(write):
    assert "line 1: the box is -5 wide" in refused(
        read_mot_detections, write("1,-1,3,4,-5,6,0.25"), LENGTH
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
    rows = read_mots_ground_truth(write("\n".join(lines)), LENGTH)
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
    "text": ("1 2 two 24 32 abc", "'two' is no number"),
    "nan": ("1 2 nan 24 32 abc", "nan or infinite"),
    "other size": (mots_line(1, 2, 2, OTHER, (32, 24)), "the mask is 24x32, the image 32x24"),
    "cut off": ("1 2 2 24 32 PP", "not a COCO run-length code"),
    "too few pixels": ("1 2 2 24 32 11", "the runs of 'counts' cover 2 pixels"),
}


@pytest.mark.parametrize("fault", BAD_MASKS)
def test_faulty_mask_is_named_with_its_line(write, fault):
    row, message = BAD_MASKS[fault]
    path = write("\n" + mots_line(1, 1, 2, rle(0, 0, 5, 5)) + "\n" + row)
    told = refused(read_mots_ground_truth, path, LENGTH)
    assert f"{path}, line 3: " in told
    assert message in told


def test_masks_of_another_size_than_the_images(write):
    path = write(mots_line(1, 1, 2, OTHER))
    assert "line 1: the mask is 32x24, the image 64x48" in refused(
        read_mots_ground_truth, path, LENGTH, (48, 64)
    )


def test_masks_that_share_one_pixel(write):
    lines = [mots_line(f, i, 2, rle(0, 4 * i, 5, 4)) for f in (1, 2) for i in (0, 1)]
    read_mots_ground_truth(write("\n".join(lines)), LENGTH)
    lines[-1] = mots_line(2, 1, 2, rle(4, 3, 1, 1))
    assert "masks of frame 2 overlap" in refused(
        read_mots_ground_truth, write("\n".join(lines)), LENGTH
    )


def test_seqinfo(tmp_path):
    info = read_seqinfo(write_sequence(tmp_path / "A", length=2))
    assert (info.num_frames, info.height, info.width) == (2, *SIZE)
    assert (info.image_dir, info.frame_rate, info.image_suffix) == ("img1", 30, ".png")


def test_seqinfo_may_do_without_image_folder_and_suffix(tmp_path):
    folder = write_sequence(tmp_path / "A", length=3)
    path = folder / "seqinfo.ini"
    path.write_text(
        "\n".join(line for line in path.read_text().split() if not line.startswith(("im", "name")))
        + f"\nimWidth={SIZE[1]}\nimHeight={SIZE[0]}\n"
    )
    frames = list_frames(folder, read_seqinfo(folder))
    assert frames == [str(folder / "img1" / f"{t:06d}.png") for t in (1, 2, 3)]


BAD_SEQINFO = {
    "no width": ("imWidth=32\n", "", "'imWidth' is missing"),
    "text": ("seqLength=6", "seqLength=six", "'six'"),
    "no section": ("[Sequence]\n", "", "no section headers"),
    "other section": ("[Sequence]", "[Video]", "'Sequence' is missing"),
    "no frames": ("seqLength=6", "seqLength=0", "0 frames of 32x24"),
    "no rate": ("frameRate=30", "frameRate=nan", "nan a second"),
}


@pytest.mark.parametrize("fault", BAD_SEQINFO)
def test_faulty_seqinfo(tmp_path, fault):
    old, new, message = BAD_SEQINFO[fault]
    path = write_sequence(tmp_path / "A") / "seqinfo.ini"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    told = refused(read_seqinfo, tmp_path / "A")
    assert str(path) in told
    assert message in told


def test_missing_seqinfo(tmp_path):
    told = refused(read_seqinfo, tmp_path)
    assert "seqinfo.ini is missing" in told
    assert "seqLength, imWidth, imHeight, frameRate" in told
    assert "no folder" in refused(read_seqinfo, tmp_path / "no")


def test_frames_are_in_the_order_of_their_numbers(tmp_path):
    folder = write_sequence(tmp_path / "A", length=11)
    for path in (folder / "img1").iterdir():
        path.rename(path.with_name(f"{int(path.stem)}.png"))
    # Neither a thumbnail nor a hidden file is a frame.
    (folder / "img1" / "Thumbs.jpg").write_bytes(b"")
    (folder / "img1" / "._1.png").write_bytes(b"")
    frames = list_frames(folder, read_seqinfo(folder))
    assert frames == [str(folder / "img1" / f"{t}.png") for t in range(1, 12)]


def edit_gap(images):
    (images / "000003.png").unlink()


def edit_more(images):
    (images / "000007.png").write_bytes((images / "000003.png").read_bytes())


def edit_from_0(images):
    (images / "000006.png").rename(images / "000000.png")


def edit_name(images):
    (images / "000003.png").rename(images / "frame3.png")


def edit_twice(images):
    (images / "3.png").write_bytes((images / "000003.png").read_bytes())


def edit_size(images):
    Image.new("RGB", (32, 25)).save(images / "000001.png")


def edit_damage(images):
    (images / "000001.png").write_bytes(b"no image")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (edit_gap, "says 6 frames but .* holds 5 .png images, that of frame 3 is missing"),
        (edit_more, "says 6 frames but .* holds 7 .png images, there are more"),
        (edit_from_0, "that of frame 6 is missing"),
        (edit_name, "frame3.png: name it by its frame's number"),
        (edit_twice, "both of frame 3: take one away"),
        (edit_size, "is 32x25, but the sequence's seqinfo.ini says 32x24"),
        (edit_damage, "cannot read image .*000001.png"),
    ],
)
def test_images_that_contradict_the_seqinfo(tmp_path, edit, message):
    folder = write_sequence(tmp_path / "A")
    edit(folder / "img1")
    with pytest.raises(UserError, match=message):
        list_frames(folder, read_seqinfo(folder))


def test_no_folder_of_images(tmp_path):
    folder = write_sequence(tmp_path / "A")
    (folder / "img1").rename(folder / "images")
    with pytest.raises(UserError, match="img1 is missing: a sequence's images are img1/000001.jpg"):
        list_frames(folder, read_seqinfo(folder))
