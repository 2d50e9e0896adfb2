"""Files by address: fetched once into detectron2's cache, checked, or refused in one line.

The environment variable ``D2VIDEO_MIRROR``, such as ``http://mirror.local:8000``, sends every request
for ``https://host/path`` (and for Google Drive) to ``http://mirror.local:8000/host/path``: for networks
that reach only a mirror, and for tests. The Hugging Face Hub has its own ``HF_ENDPOINT``. With
``D2VIDEO_CHECK_SHA256=0`` files with another hash than the published one are taken.
"""

from d2video.fetching.addresses import HUB_WEIGHTS, shown
from d2video.fetching.cache import sha256_of
from d2video.fetching.download import is_web_page
from d2video.fetching.known_files import KnownFile, address_key, known_file, register_file
from d2video.fetching.local_files import cached, fetch, is_address, place, web_page
from d2video.fetching.unpacking import around, unpack

__all__ = [
    "HUB_WEIGHTS",
    "KnownFile",
    "address_key",
    "around",
    "cached",
    "fetch",
    "is_address",
    "is_web_page",
    "known_file",
    "place",
    "register_file",
    "sha256_of",
    "shown",
    "unpack",
    "web_page",
]
