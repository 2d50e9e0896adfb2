"""Build description. The project packages in ``projects/`` become ``d2video.projects.<name>``."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def version() -> str:
    """The version that ``d2video/__init__.py`` states, read without importing it."""
    source = (ROOT / "d2video" / "__init__.py").read_text()
    return re.search(r'^__version__ = "(.+)"$', source, re.MULTILINE).group(1)


def project_packages() -> dict[str, str]:
    """Package name to folder for each ``projects/<Name>/<name>/`` and the packages below it."""
    mapping = {}
    for project in sorted((ROOT / "projects").iterdir()):
        for package in find_packages(str(project)):
            folder = project.relative_to(ROOT) / package.replace(".", "/")
            mapping[f"d2video.projects.{package}"] = folder.as_posix()
    return mapping


PROJECTS = project_packages()

setup(
    name="d2video",
    version=version(),
    description="Video transformers on Detectron2",
    license="Apache-2.0",
    packages=[*find_packages(include=["d2video", "d2video.*"]), *PROJECTS],
    package_dir=PROJECTS,
    python_requires=">=3.10",
    # detectron2 is missing here because PyPI has none: tools/install_detectron2.py installs it.
    # constraints.txt holds the exact versions that the tests run with.
    install_requires=[
        "av>=17.1",  # colours by the matrix that the file states since 17.0; tests need 17.1
        "fvcore>=0.1.5",
        "matplotlib>=3.5",
        "numpy>=1.23",
        "opencv-python-headless>=4.6",
        "pillow>=9.1",
        "pycocotools>=2.0.6",
        "scipy>=1.9",
        "setuptools<81",  # detectron2 imports pkg_resources
        "tensorboard>=2.11",
        "torch>=2.3",
        "torchvision>=0.18",
        "tqdm>=4.60",
    ],
    extras_require={"dev": ["mypy>=1.8", "pytest>=7.4", "pytest-xdist>=3.3", "ruff>=0.4"]},
)
