"""The one thing setup.cfg cannot say: the README with links and pictures that work outside the repository.

The package index shows the README without the files beside it, so relative links become links to the
repository at this version's tag. The README itself keeps relative links, which work in any copy of the tree.
"""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent
#: Code, which stays as it is, or what comes before a link's target, and the target.
LINK = re.compile(
    r"```.*?```|`[^`\n]*`"
    r"|(?P<before>\]\(<?|^\[[^\]\n]+\]:\s*<?|\b(?:src|href|srcset)=[\"'])(?P<target>[^)\s\"'>]+)",
    re.DOTALL | re.MULTILINE,
)
PICTURES = (".gif", ".jpg", ".jpeg", ".png", ".svg", ".webp")


def absolute(text: str, *, repository: str, tag: str) -> str:
    """``text``, in Markdown, with every relative link pointing into the repository at ``tag``."""

    def replaced(found: re.Match[str]) -> str:
        target = found["target"]
        if target is None or target.startswith("#") or re.match(r"[a-z][a-z0-9+.-]*:", target):
            return found[0]
        path = target.partition("#")[0].removeprefix("./")
        kind = "tree" if (ROOT / path).is_dir() else "blob"
        kind = "raw" if path.lower().endswith(PICTURES) else kind
        return f"{found['before']}{repository}/{kind}/{tag}/{target.removeprefix('./')}"

    return LINK.sub(replaced, text)


def source() -> str:
    """Where the repository is."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    urls = dict(
        re.split(r"\s*=\s*", line, maxsplit=1)
        for line in config["metadata"]["project_urls"].strip().splitlines()
    )
    return urls["Source"]


def description() -> str:
    """The README for the package index."""
    code = (ROOT / "a2m2_zoo" / "_version.py").read_text(encoding="utf-8")
    version = re.search(r'__version__ = "(.+)"', code)
    if version is None:
        raise SystemExit("a2m2_zoo/_version.py has no line __version__ = ...")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return absolute(text, repository=source(), tag=f"v{version[1]}")


if __name__ == "__main__":  # which it is when a build runs it
    # Not above: the release's notes take what is there with nothing but Python.
    from setuptools import setup

    setup(long_description=description(), long_description_content_type="text/markdown")
