"""The settings of the documentation site; `make docs` builds it into build/docs."""

from __future__ import annotations

import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

from a2m2_zoo import __version__  # noqa: E402

project = "a2m2_zoo"
author = "the a2m2_zoo contributors"
copyright = author  # noqa: A001 - Sphinx calls it so
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "commands",
]
exclude_patterns = ["_ext", "receipts"]
default_role = "code"
# Names in the docstrings that other packages own: their sites cannot be asked while this one is built.
nitpick_ignore_regex = [
    ("py:.*", r"(?!a2m2_zoo\.).*"),
]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
suppress_warnings = [
    "myst.header"
]  # pages that are read on the code host, too, may begin at any level

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_preprocess_types = False

copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True

html_theme = "furo"
html_title = f"a2m2_zoo {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"footer_icons": []}

linkcheck_timeout = 20
linkcheck_retries = 2
linkcheck_ignore = [r"http://127\.0\.0\.1.*"]

_FIGURE = re.compile(r"<!-- (figure: [^>]*|/) -->")


def _without_marks(_app: object, _page: str, source: list[str]) -> None:
    """Take the marks of tools/figures.py off: inside a heading or a link they would be shown."""
    source[0] = _FIGURE.sub("", source[0])


def setup(app: object) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _without_marks)  # type: ignore[attr-defined]
