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
maximum_signature_line_length = 88
# Names in the docstrings that other packages own: their sites cannot be asked while this one is built.
nitpick_ignore_regex = [
    ("py:.*", r"(?!a2m2_zoo\.).*"),
    (
        "py:class",
        r"a2m2_zoo\.methods\.blocks\.(_config\.C|m2_config\.Branch|candidates\.Partition)",
    ),  # aliases
    ("py:class", r"a2m2_zoo\.synthetic\.vocabulary\.Cycle"),
    ("py:class", r"a2m2_zoo\._utils\.plugins\._T"),
    (
        "py:class",
        r"a2m2_zoo\.hub\.source\.Source",
    ),  # in an alias; it stands where the manifest does
    ("py:(obj|class)", r"a2m2_zoo\.engine\.\w+\.[TR]"),
]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
# Two classes of one name in two rooms: a link to either is right enough.
suppress_warnings = ["ref.python"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True}
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_preprocess_types = False
napoleon_attr_annotations = False

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

# The files of the repository's root that are pages of the site, too.
ROOT_FILES = {"contributing": "CONTRIBUTING.md", "changelog": "CHANGELOG.md"}
_PAGES = {file: f"{page}.md" for page, file in ROOT_FILES.items()}
_FIGURE = re.compile(r"<!-- (figure: [^>]*|/) -->")
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")


def _prepared(_app: object, page: str, source: list[str]) -> None:
    """Take in the root's file for its page, and take off the marks of tools/figures.py."""
    file = HERE.parent / ROOT_FILES.get(page, "-")
    if file.is_file():
        source[0] = _LINK.sub(_from_here, file.read_text(encoding="utf-8"))
    source[0] = _FIGURE.sub("", source[0])


def _from_here(link: re.Match[str]) -> str:
    """A link of a file in the root as one of a page in docs/; one that is no page or file is text."""
    text, target = link.groups()
    path, mark, anchor = target.partition("#")
    if "://" in target or not path or target.startswith("mailto:"):
        return link[0]
    if path in _PAGES:
        return f"[{text}]({_PAGES[path]}{mark}{anchor})"
    if path.startswith("docs/"):
        return f"[{text}]({path.removeprefix('docs/')}{mark}{anchor})"
    is_file = (HERE.parent / path).is_file() and not path.endswith(".md")
    return f"[{text}](../{path})" if is_file else text


def _escaped(
    _app: object, _what: str, _name: str, _of: object, _options: object, lines: list[str]
) -> None:
    """Keep shapes such as (*batch, d) and amounts such as |t| from being read as markup."""
    lines[:] = [
        "``".join(
            part if code else re.sub(r"(?<!\S)(\(?)([*|])(?=[\w(])|(?<=[\w·])\|", _backslash, part)
            for code, part in ((i % 2, part) for i, part in enumerate(line.split("``")))
        )
        for line in lines
    ]


def _whole(
    _app: object, what: str, _name: str, _of: object, _options: object, lines: list[str]
) -> None:
    """Keep what a constant's comment says before a colon from being read as its type."""
    if what == "data" and lines and ": " in lines[0]:
        before, _, after = lines[0].partition(": ")
        lines[:1] = [f"{before}\\", f": {after}"]  # a line's end behind a backslash is nothing


def _plain(
    _app: object,
    _what: str,
    _name: str,
    _of: object,
    _options: object,
    signature: str,
    returned: str,
) -> tuple[str | None, str | None] | None:
    """Drop the module's name where a dataclass's signature has it before a type."""
    return signature and re.sub(r"~(?:\w+\.)+", "", signature), returned


def _backslash(found: re.Match[str]) -> str:
    return re.sub(r"([*|])", r"\\\1", found[0])


def setup(app: object) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-signature", _plain)  # type: ignore[attr-defined]
    app.connect("source-read", _prepared)  # type: ignore[attr-defined]
    app.connect("autodoc-process-docstring", _whole, priority=400)  # type: ignore[attr-defined]
    app.connect("autodoc-process-docstring", _escaped)  # type: ignore[attr-defined]
