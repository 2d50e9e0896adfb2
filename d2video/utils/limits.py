"""How large pictures and videos may be, so that a small untrusted file cannot fill the memory.

Sizes stated by headers and annotation files are checked before anything is decoded. For larger
pictures, set these constants before data are read.
"""

# Of one picture: 256 MiB as RGB. From here on Pillow warns of a decompression bomb.
MAX_IMAGE_PIXELS = 2**28 // 3
# Of one side: a line of a picture made larger is a bomb, too. JPEG has no more.
MAX_IMAGE_SIDE = 2**16
# Of one video: 46 hours at 60 frames a second.
MAX_VIDEO_FRAMES = 10_000_000


def size_fault(height: int, width: int) -> str | None:
    """What is wrong with a picture's stated size in pixels; ``None`` if nothing is."""
    if min(height, width) < 1:
        return f"its size is {width}x{height}, which cannot be"
    if max(height, width) > MAX_IMAGE_SIDE or height * width > MAX_IMAGE_PIXELS:
        return (
            f"its size, {width}x{height}, is above the limit of {MAX_IMAGE_PIXELS} pixels and "
            f"{MAX_IMAGE_SIDE} a side (d2video.utils.limits)"
        )
    return None
