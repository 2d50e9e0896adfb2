import numpy as np
import pytest
from PIL import ExifTags, Image

from d2video.utils.errors import UserError
from d2video.video.image_io import read_rgb

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def saved(path, image, **options):
    image.save(path, **options)
    return read_rgb(path)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK"])
def test_colour_modes_become_rgb(tmp_path, mode):
    image = Image.fromarray(PIXELS).convert(mode)
    if "A" in mode:
        image.putalpha(Image.fromarray(PIXELS[..., 0]))  # transparency is dropped, not applied
    suffix = "jpg" if mode == "CMYK" else "png"
    got = saved(tmp_path / f"image.{suffix}", image, quality=100)
    assert got.dtype == np.uint8
    expected = np.asarray(image.convert("RGB"), int)
    assert np.abs(got - expected).max() <= (30 if mode == "CMYK" else 0)
    assert got.shape == PIXELS.shape


def test_16_bit_grey_is_scaled(tmp_path):
    grey = (PIXELS[..., 0].astype(np.uint16) << 8) + 77
    got = saved(tmp_path / "image.png", Image.fromarray(grey))
    assert np.array_equal(got, PIXELS[..., :1].repeat(3, 2))


def test_pixels_of_unknown_range(tmp_path):
    for values in (PIXELS[..., 0].astype(np.float32), PIXELS[..., 0].astype(np.int32) - 99999):
        with pytest.raises(UserError, match=r"image\.tif .*use 8 or 16 bits"):
            saved(tmp_path / "image.tif", Image.fromarray(values))


# What the picture looks like when the stored pixels are turned as the orientation says.
UPRIGHT = {
    1: PIXELS,
    2: PIXELS[:, ::-1],
    3: PIXELS[::-1, ::-1],
    4: PIXELS[::-1],
    5: PIXELS.transpose(1, 0, 2),
    6: np.rot90(PIXELS, -1),
    7: PIXELS.transpose(1, 0, 2)[::-1, ::-1],
    8: np.rot90(PIXELS),
    9: PIXELS,  # undefined
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation(tmp_path, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    got = saved(tmp_path / "image.png", Image.fromarray(PIXELS), exif=exif)
    assert np.array_equal(got, UPRIGHT[orientation])


def test_odd_exif_entries_do_not_hide_the_image(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "maker"
    exif[ExifTags.Base.Orientation] = 6
    # The text becomes the value of a tag for numbers; Pillow's exif_transpose fails on it.
    odd = exif.tobytes().replace(b"\x01\x0f\0\x02", b"\x01\x1f\0\x02")
    assert odd != exif.tobytes()
    assert saved(tmp_path / "a.jpg", Image.fromarray(PIXELS), exif=odd).shape == (9, 6, 3)


def test_unreadable_exif_does_not_hide_the_image(tmp_path):
    got = saved(tmp_path / "a.jpg", Image.fromarray(PIXELS), exif=b"Exif\0\0no TIFF header")
    assert got.shape == PIXELS.shape


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_missing_and_damaged_files(tmp_path, suffix):
    path = tmp_path / f"image.{suffix}"
    with pytest.raises(UserError, match=rf"image\.{suffix} does not exist"):
        read_rgb(path)
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(UserError, match=rf"cannot read image .*image\.{suffix}"):
        read_rgb(path)
    path.write_bytes(b"no image")
    with pytest.raises(UserError, match=rf"cannot read image .*image\.{suffix}"):
        read_rgb(path)
    with pytest.raises(UserError, match="cannot read image"):
        read_rgb(tmp_path)


@pytest.mark.parametrize("name", ["pages.tif", "moving.png", "moving.webp"])
def test_a_file_of_several_pictures_is_told(tmp_path, caplog, name):
    pictures = [Image.new("RGB", (8, 6), (value, 0, 0)) for value in (0, 90)]
    pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:])
    assert read_rgb(tmp_path / name).max() < 5
    assert f"{name} holds 2 pictures, of which the first is read" in caplog.text
