"""The installer of detectron2, on a tiny stand-in for LabGym's wheel."""

import base64
import csv
import hashlib
import importlib
import subprocess
import sys
import venv
import zipfile

import pytest

from d2video.cli import install_detectron2 as tool
from tests.helpers import ROOT

FILES = {
    "LabGym/__init__.py": "raise RuntimeError('LabGym itself must stay out')\n",
    "LabGym/gui.py": "import wx\n",
    "LabGym/detectron2/__init__.py": "from LabGym.detectron2.ops import add\nVALUE = add(1, 2)\n",
    "LabGym/detectron2/ops.py": "import logging\n\n\ndef add(a, b):\n    return a + b\n\n\n"
    'logger = logging.getLogger("LabGym.detectron2")\n',
    "LabGym/detectron2/config/__init__.py": "",
    "LabGym/detectron2/modeling/__init__.py": "import LabGym.detectron2.ops as ops\n",
    "LabGym/detectron2/model_zoo/__init__.py": "",
    "LabGym/detectron2/model_zoo/configs/Base.yaml": "MODEL: {}\n",
    "labgym-3.1.2.dist-info/METADATA": "Name: LabGym\n",
}


@pytest.fixture
def no_pip(monkeypatch):
    """Fail the test if pip is called."""

    def refuse(*arguments, failure):
        raise AssertionError(f"pip was called: {arguments}")

    monkeypatch.setattr(tool, "_pip", refuse)


def fake_wheel(folder, changes=()):
    path = folder / "labgym-3.1.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**FILES, **dict(changes)}.items():
            archive.writestr(name, text)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def built(folder):
    return tool.write_wheel(tool.read_source(*fake_wheel(folder)), folder)


def test_wrong_hash_stops_before_anything_is_installed(tmp_path, monkeypatch, capsys, no_pip):
    wheel, _ = fake_wheel(tmp_path)
    monkeypatch.setattr(tool, "find_installed", lambda: None)
    with pytest.raises(SystemExit, match=r"^1$"):
        tool.main(["--wheel", str(wheel)])
    said = capsys.readouterr()
    assert said.err.startswith("error: labgym-3.1.2-py3-none-any.whl has sha256 ")
    assert said.err.count("\n") == 1
    assert tool.SOURCE_SHA256 in said.err
    assert not said.out


@pytest.mark.parametrize("option", ["--wheel", "--constraint"])
def test_missing_file_is_one_line(option, tmp_path, monkeypatch, capsys, no_pip):
    monkeypatch.setattr(tool, "find_installed", lambda: None)
    with pytest.raises(SystemExit, match=r"^1$"):
        tool.main([option, str(tmp_path / "none")])
    assert capsys.readouterr().err == f"error: {option} {tmp_path}/none: no such file\n"


def test_only_the_folder_is_taken_and_its_imports_named_back(tmp_path):
    files = tool.read_source(*fake_wheel(tmp_path))
    expected = {
        name.removeprefix("LabGym/") for name in FILES if name.startswith("LabGym/detectron2/")
    }
    assert set(files) == expected
    assert files["detectron2/__init__.py"].startswith(b"from detectron2.ops import add\n")
    assert b'getLogger("detectron2")' in files["detectron2/ops.py"]
    assert files["detectron2/modeling/__init__.py"] == b"import detectron2.ops as ops\n"


def test_wheel_is_complete(tmp_path):
    wheel = built(tmp_path)
    assert wheel.name == "detectron2-0.6-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    info = "detectron2-0.6.dist-info/"
    rows = list(csv.reader(contents[info + "RECORD"].decode().splitlines()))
    assert {name for name, _, _ in rows} == set(contents)
    for name, digest, size in rows:
        if name == info + "RECORD":
            assert digest == size == ""
            continue
        sha256 = hashlib.sha256(contents[name]).digest()
        assert digest == "sha256=" + base64.urlsafe_b64encode(sha256).decode().rstrip("=")
        assert int(size) == len(contents[name])
    metadata = contents[info + "METADATA"].decode()
    for line in (
        "Name: detectron2",
        "Version: 0.6",
        "Requires-Dist: setuptools<81",
        "Requires-Dist: fvcore>=0.1.5,<0.1.6",
    ):
        assert line in metadata.splitlines()
    assert "tensorflow" not in metadata.lower()
    assert b"Apache License" in contents[info + "licenses/LICENSE"]
    assert tool.SOURCE_SHA256.encode() in contents[info + "licenses/NOTICE"]


def test_same_source_gives_the_same_wheel(tmp_path):
    digests = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        digests.add(hashlib.sha256(built(tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1


def test_installed_detectron2_is_kept(monkeypatch, capsys, no_pip):
    """This environment has one, or no other test would run."""
    tool.main([])
    assert capsys.readouterr().out.startswith("kept: detectron2 ")


def test_compiled_build_is_recognised(tmp_path, monkeypatch):
    package = tmp_path / "detectron2"
    package.mkdir()
    monkeypatch.delitem(sys.modules, "detectron2", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert tool.find_installed() is None  # a folder of that name is no package
    (package / "__init__.py").touch()
    importlib.invalidate_caches()
    assert "pure Python" in tool.find_installed()
    (package / "_C.cpython-311-x86_64-linux-gnu.so").touch()
    assert "compiled" in tool.find_installed()


@pytest.mark.slow
def test_pip_lists_and_removes_it(tmp_path):
    """In an environment of its own: install, import, list, remove; a broken one does not stay."""
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"

    def run(*arguments):
        return subprocess.run([python, *arguments], capture_output=True, text=True, cwd=tmp_path)

    def call(statement):
        code = (
            f"import sys, pathlib; sys.path.insert(0, {str(ROOT)!r})\n"
            f"from d2video.cli import install_detectron2 as tool; {statement}"
        )
        return run("-c", code)

    def install(wheel):
        return call(f"tool.install(pathlib.Path({str(wheel)!r}), ['--no-deps', '--no-index'])")

    result = install(built(tmp_path))
    assert result.returncode == 0, result.stderr
    assert run("-c", "import detectron2; print(detectron2.VALUE)").stdout == "3\n"
    assert "detectron2 0.6" in " ".join(run("-m", "pip", "list").stdout.split())
    kept = call("tool.main([])")
    assert kept.stdout.startswith("kept: detectron2 0.6, pure Python, in ")
    assert run("-m", "pip", "uninstall", "--yes", "detectron2").returncode == 0
    assert run("-c", "import detectron2").returncode != 0

    broken = {"LabGym/detectron2/modeling/__init__.py": "import no_such_module\n"}
    source = tool.read_source(*fake_wheel(tmp_path, broken))
    result = install(tool.write_wheel(source, tmp_path))
    assert "cannot be imported, so removed: ModuleNotFoundError" in result.stderr
    assert "detectron2" not in run("-m", "pip", "list").stdout
