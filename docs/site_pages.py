"""The pages of the site that are not files below docs/: the READMEs of the projects, CONTRIBUTING, CHANGELOG,
and the API reference; and links, which work on the site as well as among the files of the repository.
"""

import os
import pkgutil
import pydoc
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")


def copied() -> dict[Path, Path]:
    """Documents of the repository, and the pages that :func:`write` makes of them, relative to the root."""
    pages = {
        readme.relative_to(ROOT): Path("docs/models", f"{readme.parent.name.lower()}.md")
        for readme in sorted(ROOT.glob("projects/*/README.md"))
    }
    return pages | {
        Path("CONTRIBUTING.md"): Path("docs/extend/contributing.md"),
        Path("CHANGELOG.md"): Path("docs/changelog.md"),
    }


def with_site_links(text: str, file: Path, page: Path) -> str:
    """Links to documents as links to their pages; of links to other files only the text.

    Args:
        text: of a Markdown file.
        file: where it is, relative to the root.
        page: where it is shown, relative to the root.
    """
    pages = copied() | {Path("README.md"): Path("docs/index.md")}

    def rewritten(link: re.Match[str]) -> str:
        target = link["target"]
        if "://" in target or target.startswith("mailto:"):
            return link[0]
        found = Path(os.path.normpath(file.parent / target))
        found = pages.get(found, found)
        if found.parts[0] != "docs" or found.suffix not in (".md", ".png", ".svg", ".gif", ".webp"):
            return link["text"]
        place = os.path.relpath(found, page.parent)
        return f"{link['image']}[{link['text']}]({place}{link['anchor'] or ''})"

    return LINK.sub(rewritten, text)


def rewrite_links(app: Any, name: str, source: list[str]) -> None:
    """Sphinx's event "source-read", for pages that are written in docs/."""
    page = Path("docs", f"{name}.md")
    if (ROOT / page).is_file() and page not in copied().values():
        source[0] = with_site_links(source[0], page, page)


def resolve(app: Any, env: Any, node: Any, text: Any) -> Any:
    """Sphinx's event "missing-reference". A name that a package offers links to where it is defined. A name
    that exists and has no page is plain text. What does not exist stays missing."""
    found = pydoc.locate(node["reftarget"]) if node.get("refdomain") == "py" else None
    if found is None:
        return None
    place = f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"
    if place in env.domains["py"].objects and place != node["reftarget"]:
        node["reftarget"] = place
        domain = env.domains["py"]
        return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", place, node, text)
    return text


def write(docs: Path) -> None:
    """Write the pages that are not in the repository; .gitignore names them."""
    for file, page in copied().items():
        _write(ROOT / page, with_site_links((ROOT / file).read_text(), file, page))
    pages = api_pages()
    for name, text in pages.items():
        _write(docs / "api" / name, text)
    for path in (docs / "api").iterdir():
        if path.name not in pages:  # of a package that has gone
            path.unlink()


def _write(path: Path, text: str) -> None:
    """Only if it differs, so that Sphinx reads again what has changed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)


# Packages whose modules are programs, pages or their own users only.
_NOT_API = ("app", "cli", "fetching", "projects", "report")


def api_pages() -> dict[str, str]:
    """File name and text of the index and of a page for each package, its modules one after the other."""
    import d2video.projects

    modules: dict[str, list[str]] = {}
    for path, prefix in (
        (d2video.__path__, "d2video."),
        (d2video.projects.__path__, "d2video.projects."),
    ):
        for module in pkgutil.walk_packages(path, prefix):
            package = module.name if module.ispkg else module.name.rpartition(".")[0]
            if path is d2video.__path__ and (f"{package}.".split(".")[1] in ("", *_NOT_API)):
                continue
            modules.setdefault(package, [])
            if not module.ispkg and not module.name.rpartition(".")[2].startswith("_"):
                modules[package].append(module.name)
    pages = {f"{package}.rst": _package(package, names) for package, names in modules.items()}
    public = "\n".join(f"* :obj:`d2video.{name}`" for name in d2video.__all__)
    packages = "\n".join(f"   {package}" for package in sorted(modules))
    pages["index.rst"] = _INDEX.format(public=public, packages=packages)
    return pages


_INDEX = """API reference
=============

Generated from the docstrings. ``import d2video`` offers these names:

{public}

.. toctree::
   :maxdepth: 1
   :caption: Packages

{packages}
"""


def _package(package: str, modules: list[str]) -> str:
    title = package.removeprefix("d2video.")
    parts = [f"{title}\n{'=' * len(title)}\n", f".. automodule:: {package}\n   :no-members:\n"]
    for module in sorted(modules):
        name = module.removeprefix(f"{package}.")
        parts.append(f"{name}\n{'-' * len(name)}\n\n.. automodule:: {module}\n")
    return "\n".join(parts)
