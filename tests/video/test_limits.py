"""Small files that would fill the memory are refused by what their heads say."""

import resource
import struct
import zlib

import av
import numpy as np
import pytest
from PIL import Image

from d2video.data.datasets.image_folder import load_image_pairs
from d2video.data.datasets.ytvis import load_ytvis_json
from d2video.formats.mot_sequence import read_seqinfo
from d2video.utils import limits
from d2video.utils.errors import BrokenFile, UserError
from d2video.utils.limits import MAX_IMAGE_PIXELS, MAX_IMAGE_SIDE, size_fault
from d2video.video import video_file
from d2video.video.image_io import read_image_size, read_rgb
from d2video.video.video_file import VideoFile
from d2video.video.video_reader import open_video


def write_png_head(path, width, height):
    """A PNG that claims a size, and holds one row of it."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + rows + chunk(b"IEND", b""))
    return path


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("width", "height"), [(100_000, 100_000), (12_000, 9_000), (1, MAX_IMAGE_SIDE + 1)]
)
def test_large_images_are_refused_before_they_are_decoded(tmp_path, width, height):
    path = write_png_head(tmp_path / "bomb.png", width, height)
    before = peak_bytes()
    for read in (read_rgb, read_image_size):
        with pytest.raises(
            BrokenFile, match=r"cannot read image .*bomb\.png \(.*(size|limit)"
        ) as error:
            read(path)
        assert "\n" not in str(error.value)
    assert peak_bytes() - before < 2**26
    (tmp_path / "small").mkdir()
    write_png_head(tmp_path / "small/bomb.png", 4, 4)
    with pytest.raises(UserError, match="bomb"):
        load_image_pairs(str(tmp_path), str(tmp_path / "small"), "sr_x2", scale=2)


@pytest.mark.filterwarnings("error::PIL.Image.DecompressionBombWarning")
def test_a_warning_made_an_error_is_ours(tmp_path):
    with pytest.raises(BrokenFile, match="cannot read image"):
        read_rgb(write_png_head(tmp_path / "bomb.png", 12_000, 9_000))


def test_formats_by_content_not_by_name(tmp_path):
    """Pillow would give this file to Ghostscript."""
    path = tmp_path / "a.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    with pytest.raises(BrokenFile, match="cannot identify"):
        read_rgb(path)


def test_sizes():
    assert size_fault(1, 1) is None
    assert size_fault(MAX_IMAGE_PIXELS // 2000, 2000) is None
    assert "above the limit" in size_fault(MAX_IMAGE_PIXELS // 2000 + 1, 2000)
    assert "above the limit" in size_fault(1, MAX_IMAGE_SIDE + 1)
    assert "cannot be" in size_fault(0, 5)


def write_video(path, side=64):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        for k in range(3):
            image = np.full((side, side, 3), 40 * k, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("side", [100_000, 12_000])
def test_videos_whose_header_claims_a_huge_size(tmp_path, side):
    path = write_video(tmp_path / "a.avi")
    data = bytearray(path.read_bytes())
    place = data.find(b"strf") + 12
    assert struct.unpack_from("<ii", data, place) == (64, 64)
    struct.pack_into("<ii", data, place, side, side)
    path.write_bytes(data)
    before = peak_bytes()
    for read in (VideoFile, open_video):
        with pytest.raises(
            BrokenFile, match=f"no size, or above {MAX_IMAGE_PIXELS} pixels"
        ) as error:
            read(path)
        assert "\n" not in str(error.value)
    assert peak_bytes() - before < 2**26


def test_limits_of_videos(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.avi")
    VideoFile(path).close()
    monkeypatch.setattr(video_file, "MAX_VIDEO_FRAMES", 2)
    with pytest.raises(BrokenFile, match="above the limit of 2 frames"):
        VideoFile(path)
    monkeypatch.undo()
    monkeypatch.setattr(limits, "MAX_IMAGE_PIXELS", 64 * 64 - 1)
    with pytest.raises(BrokenFile, match="pixels"):
        VideoFile(path)


def test_names_with_a_colon_are_files_and_playlists_lead_nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "http:a.avi")
    VideoFile("http:a.avi").close()
    (tmp_path / "list.m3u8").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(BrokenFile, match="cannot read video"):
        VideoFile(tmp_path / "list.m3u8")


def test_stated_sizes(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(
        '{"categories": [{"id": 1, "name": "a"}], "videos": [{"id": 1, "width": 100000, '
        '"height": 100000, "file_names": ["a.png"]}]}'
    )
    with pytest.raises(UserError, match="video 1: its size, 100000x100000, is above the limit"):
        load_ytvis_json(str(path), str(tmp_path))
    for width, length, folder, message in (
        (100_000, 5, "img1", "its size, 100000x100000, is above the limit"),
        (100, 10**9, "img1", "seqLength 1000000000 is above the limit"),
        (100, 5, "../img1", "imDir ../img1 lies outside the sequence"),
    ):
        (tmp_path / "seqinfo.ini").write_text(
            f"[Sequence]\nimDir={folder}\nframeRate=30\nseqLength={length}\nimWidth={width}\n"
            f"imHeight={width}\n"
        )
        with pytest.raises(UserError, match=message):
            read_seqinfo(tmp_path)


def test_an_image_of_the_largest_side_is_read(tmp_path):
    Image.new("1", (1, 60_000)).save(tmp_path / "a.png")
    assert read_rgb(tmp_path / "a.png").shape == (60_000, 1, 3)
