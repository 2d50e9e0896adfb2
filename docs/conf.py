"""Sphinx's settings; ``make docs`` builds the site into output/docs."""

import re
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]

import site_pages  # noqa: E402

project = "d2video"
author = "the d2video authors"
copyright = "2026, the d2video authors. Apache-2.0"
release = re.search(
    r'__version__ = "(.+)"', (DOCS.parent / "d2video" / "__init__.py").read_text()
).group(1)  # type: ignore[union-attr]
version = release

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]

html_theme = "furo"
html_title = f"d2video {release}"
html_show_sourcelink = False
# The navigation of a page would hold all objects of the API.
toc_object_entries = False

myst_enable_extensions = ["attrs_block", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4

# detectron2 writes its docstrings in another form.
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_typehints_format = "short"
autodoc_use_type_comments = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Keys", "params_style")]

# Every reference to d2video must be found. Those to other projects are not looked up: the site is built
# without a network.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(?!\.?d2video\b).*"),
    (r"py:class", r".*\.T"),  # type variables
]


def setup(app) -> None:
    app.connect("builder-inited", lambda app: site_pages.write(DOCS))
    app.connect("source-read", site_pages.rewrite_links)
    app.connect("missing-reference", site_pages.resolve)
