"""All formats of labels: importing this module registers them."""

from d2video.formats import standard_formats  # noqa: F401
