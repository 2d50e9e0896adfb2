"""Build description. The project packages in ``projects/`` become ``d2video.projects.<name>``, and the
configs in ``configs/`` files of ``d2video/configs``."""

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
CONFIGS = "d2video.configs"

setup(
    name="d2video",
    version=version(),
    description="Video transformers on Detectron2",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE", "THIRD_PARTY_NOTICES.md"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: GPU :: NVIDIA CUDA",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in (10, 11, 12, 13, 14)),
        "Topic :: Multimedia :: Video",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    packages=[*find_packages(include=["d2video", "d2video.*"]), *PROJECTS, CONFIGS],
    package_dir={**PROJECTS, CONFIGS: "configs"},
    package_data={"d2video": ["py.typed", "report/page.html.j2"], CONFIGS: ["**/*.yaml"]},
    entry_points={"console_scripts": ["d2video = d2video.cli:main"]},
    python_requires=">=3.10",
    # detectron2 is missing here because PyPI has none: `d2video install-detectron2` installs it.
    # trackeval (1.3.0) too: it asks for opencv-python, which lies where opencv-python-headless does.
    # The Makefile installs it without its requirements; those it really needs are in this list.
    # The tests gave the same results at these lower bounds (Python 3.11) as with constraints.txt, but for
    # those of torch, torchvision and safetensors, which were raised since and not tried.
    install_requires=[
        "av>=17.1",  # the test of rotated videos; before 17.0 colours came out wrong
        "fvcore>=0.1.5",
        "jinja2>=3.1",
        "matplotlib>=3.6",
        "numpy>=1.23.5",
        "opencv-python-headless>=4.8",
        "pillow>=9.3",
        "portalocker>=2.0",
        "pycocotools>=2.0.7",
        "pyyaml>=6.0",
        "safetensors>=0.4.3",
        "scikit-image>=0.22",  # SSIM
        "scipy>=1.9.3",
        "setuptools<81",  # detectron2 imports pkg_resources
        "tabulate>=0.8.10",
        "tensorboard>=2.11",
        "torch>=2.10",  # before, weights_only kept not all code out (CVE-2025-32434, CVE-2026-24747)
        "torchvision>=0.25",
        "tqdm>=4.60",
        "typing-extensions>=4.4",  # NotRequired, before Python 3.11
    ],
    # pytest 9.2: caplog sees loggers that do not propagate, as detectron2 sets them up.
    # playwright: drives an installed Chromium that looks at pages.
    # gdown: with a stand-in for Google Drive. timm: its networks as backbones. transformers: tests compare
    # with its Longformer. The rest is what [app] and [export] name.
    extras_require={
        "dev": [
            "codespell>=2.4",
            "furo>=2025.7",
            "gdown>=6.5",
            "gradio>=6.0",
            "hypothesis>=6.100",
            "import-linter>=2.15",
            "mypy>=1.8",
            "myst-parser>=4.0",
            "onnx>=1.19",
            "onnxruntime>=1.22",
            "onnxscript>=0.5",
            "playwright>=1.40",
            "pytest>=9.2",
            "pytest-xdist>=3.8",
            "ruff>=0.4",
            "sphinx>=8.1",
            "sphinx-copybutton>=0.5.2",
            "sphinx-design>=0.6",
            "timm>=1.0.31",
            "transformers>=4.57",
        ],
        # The page in the browser: d2video app.
        "app": ["gradio>=6.0"],
        # ONNX files and programs of torch.export: d2video export.
        "export": ["onnx>=1.19", "onnxruntime>=1.22", "onnxscript>=0.5"],
        # Official weights on Google Drive, and models on the Hugging Face Hub.
        "zoo": ["gdown>=6.5", "huggingface_hub>=0.34"],
        "timm": ["timm>=1.0.31"],
        # make release
        "release": ["build>=1.2", "check-wheel-contents>=0.6", "twine>=6.1"],
    },
)
