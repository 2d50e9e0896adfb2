"""Install detectron2 from PyPI without a compiler, if it is not installed yet.

PyPI has no detectron2, but the wheel of LabGym 3.1.2 contains its pure-Python code (version 0.6, Apache-2.0)
in the folder ``LabGym/detectron2``. This command extracts only that folder, restores the import names, and
installs the result as an ordinary distribution ``detectron2``.

An installed detectron2 is kept. If you want its compiled operators, build detectron2 first, as described at
https://detectron2.readthedocs.io.
"""

# Standard library only, because this runs before anything else is installed.
import base64
import hashlib
import importlib.metadata
import importlib.util
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from d2video.cli.arguments import command_parser
from d2video.utils.errors import UserError, exit_on_user_error

SOURCE = "LabGym==3.1.2"
SOURCE_SHA256 = "a2900cff8a3fb508e1975f19b5f9abd9f261966db87b0c332697fb4138c1cb2b"
SOURCE_FOLDER = "LabGym/detectron2/"
VERSION = "0.6"

# The requirements of detectron2 0.6, without black (needed only to print LazyConfig as code), and with those
# that it does not declare: torch, numpy, and pkg_resources, which setuptools 81 removed. iopath 0.1.10 is
# allowed; detectron2 excluded it before its release.
METADATA = f"""\
Metadata-Version: 2.1
Name: detectron2
Version: {VERSION}
Summary: FAIR's platform for object detection and segmentation (pure-Python part)
Home-page: https://github.com/facebookresearch/detectron2
Author: FAIR
License: Apache-2.0
Requires-Python: >=3.7
Requires-Dist: Pillow>=7.1
Requires-Dist: cloudpickle
Requires-Dist: fvcore>=0.1.5,<0.1.6
Requires-Dist: hydra-core>=1.1
Requires-Dist: iopath>=0.1.7,<=0.1.10
Requires-Dist: matplotlib
Requires-Dist: numpy
Requires-Dist: omegaconf>=2.1,<2.4
Requires-Dist: packaging
Requires-Dist: pycocotools>=2.0.2
Requires-Dist: setuptools<81
Requires-Dist: tabulate
Requires-Dist: tensorboard
Requires-Dist: termcolor>=1.1
Requires-Dist: torch>=1.8
Requires-Dist: torchvision
Requires-Dist: tqdm>4.29.0
Requires-Dist: yacs>=0.1.8

The pure-Python code of detectron2 {VERSION}, without its compiled operators. NOTICE says where it
comes from and what was changed.
"""

NOTICE = f"""\
detectron2
Copyright (c) Facebook, Inc. and its affiliates.
Licensed under the Apache License, Version 2.0 (LICENSE beside this file).

Origin: the folder {SOURCE_FOLDER} of the wheel of {SOURCE} on PyPI (sha256 {SOURCE_SHA256}).
No other part of that wheel is in this distribution.

Changes: modules renamed from LabGym.detectron2 to detectron2, as in the original. The compiled
operators (detectron2._C) are not included.
"""

WHEEL = """\
Wheel-Version: 1.0
Generator: d2video install_detectron2
Root-Is-Purelib: true
Tag: py3-none-any
"""


def find_installed() -> str | None:
    """Describe the detectron2 installed for this Python, or return None if there is none."""
    spec = importlib.util.find_spec("detectron2")
    # A folder of that name without __init__.py has no origin.
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent
    try:
        version = importlib.metadata.version("detectron2")
    except importlib.metadata.PackageNotFoundError:
        version = "of unknown version (not installed by pip)"
    compiled = any(folder.glob("_C.*"))
    return f"detectron2 {version}, {'compiled' if compiled else 'pure Python'}, in {folder}"


def download(folder: Path) -> Path:
    """Fetch the wheel named by SOURCE into ``folder`` with pip; return its path."""
    # LabGym requires Python < 3.11; its detectron2 folder also runs on newer versions.
    options = ["--no-deps", "--only-binary=:all:", "--python-version", "3.10"]
    _pip("download", SOURCE, *options, "--dest", str(folder), failure=f"cannot download {SOURCE}")
    (wheel,) = folder.glob("*.whl")
    return wheel


def read_source(wheel: Path, sha256: str = SOURCE_SHA256) -> dict[str, bytes]:
    """Check the downloaded wheel and extract detectron2 from it, with the import names restored.

    Returns:
        The files of the package: a dict from ``"detectron2/..."`` to content.

    Raises:
        UserError: if the hash of the wheel is not ``sha256``.
    """
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != sha256:
        raise UserError(
            f"{wheel.name} has sha256 {found}, expected {sha256}: the download is damaged or not "
            "the expected file, nothing was installed; download it again"
        )
    with zipfile.ZipFile(wheel) as archive:
        return {
            name.removeprefix("LabGym/"): archive.read(name).replace(
                b"LabGym.detectron2", b"detectron2"
            )
            for name in archive.namelist()
            if name.startswith(SOURCE_FOLDER) and not name.endswith("/")
        }


def licence() -> bytes:
    """Return the text of the Apache License 2.0, d2video's licence, from the checkout or the distribution."""
    checkout = Path(__file__).resolve().parents[2] / "LICENSE"
    files = importlib.metadata.files("d2video") or [] if not checkout.is_file() else []
    installed = [file.read_binary() for file in files if file.name == "LICENSE"]
    return installed[0] if installed else checkout.read_bytes()


def write_wheel(files: dict[str, bytes], folder: Path) -> Path:
    """Pack a package into a wheel of the distribution detectron2 in ``folder``; return its path.

    The same files give the same bytes.
    """
    info = f"detectron2-{VERSION}.dist-info"
    contents = dict(sorted(files.items()))
    contents |= {
        f"{info}/METADATA": METADATA.encode(),
        f"{info}/WHEEL": WHEEL.encode(),
        f"{info}/top_level.txt": b"detectron2\n",
        f"{info}/licenses/LICENSE": licence(),
        f"{info}/licenses/NOTICE": NOTICE.encode(),
    }
    record = "".join(f"{name},{_digest(data)},{len(data)}\n" for name, data in contents.items())
    contents[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    path = folder / f"detectron2-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            entry = zipfile.ZipInfo(name)  # dated 1980
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return path


def _digest(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest())
    return f"sha256={digest.decode().rstrip('=')}"


def install(wheel: Path, pip_arguments: Sequence[str] = ()) -> None:
    """Install a wheel of detectron2 with pip and import it; remove it again if that fails."""
    _pip("install", str(wheel), *pip_arguments, failure="pip could not install detectron2")
    trial = "import detectron2.config, detectron2.model_zoo, detectron2.modeling"
    result = subprocess.run([sys.executable, "-c", trial], capture_output=True, text=True)
    if result.returncode:
        _pip("uninstall", "--yes", "detectron2", failure="pip could not remove detectron2 again")
        reason = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"detectron2 was installed but cannot be imported, so removed: {reason}")


def _pip(*arguments: str, failure: str) -> None:
    """Run this Python's pip with its output visible."""
    if subprocess.run([sys.executable, "-m", "pip", *arguments]).returncode:
        raise UserError(f"{failure} (pip's message is above)")


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    parser = command_parser(__doc__, "install-detectron2")
    parser.add_argument(
        "-c",
        "--constraint",
        type=Path,
        help="constraints file of exact versions, passed to pip for the requirements",
    )
    parser.add_argument(
        "--wheel", type=Path, help=f"local wheel of {SOURCE}, for machines without network"
    )
    args = parser.parse_args(argv)
    if installed := find_installed():
        print(f"kept: {installed}")
        return
    for option, path in (("--wheel", args.wheel), ("--constraint", args.constraint)):
        if path is not None and not path.is_file():
            raise UserError(f"{option} {path}: no such file")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = write_wheel(read_source(args.wheel or download(folder)), folder)
        install(wheel, ["-c", str(args.constraint)] if args.constraint else [])
    importlib.invalidate_caches()
    print(f"installed: {find_installed()}, from the wheel of {SOURCE}")
