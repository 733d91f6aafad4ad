"""Print the notes of a release, or say what is not ready for it.

    python tools/release_notes.py v0.1.0

The tag must be that of the version, the changelog must have a dated section for it and the citation must
name it. Needs nothing but Python, since a release begins with it.
"""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def text(name: str) -> str:
    """A file of the tree."""
    return (ROOT / name).read_text(encoding="utf-8")


def notes(tag: str, *, version: str, changelog: str, citation: str) -> str:
    """The changelog's section for ``version``, its links leading into the repository at the tag.

    Raises:
        ValueError: Something does not fit; the message says what.
    """
    if tag != f"v{version}":
        raise ValueError(f"the tag is {tag}, a2m2_zoo/_version.py says {version}")
    found = re.search(
        rf"^## \[{re.escape(version)}\] - (\d{{4}}-\d\d-\d\d)\n(.*?)(?=^## \[|^\[[^\]]+\]: |\Z)",
        changelog,
        flags=re.DOTALL | re.MULTILINE,
    )
    if found is None:
        raise ValueError(f"CHANGELOG.md has no section '## [{version}] - YYYY-MM-DD'")
    date, section = found.groups()
    if not section.strip():
        raise ValueError(f"CHANGELOG.md says nothing about {version}")
    for line in (f"version: {version}", f"date-released: {date}"):
        if not re.search(rf"^{re.escape(line)}$", citation, flags=re.MULTILINE):
            raise ValueError(f"CITATION.cff has no line '{line}'")
    setup = runpy.run_path(str(ROOT / "setup.py"))
    made: str = setup["absolute"](section.strip(), repository=setup["source"](), tag=tag)
    return made


def main() -> None:
    """Check the tag that was given."""
    if len(sys.argv) != 2:
        raise SystemExit("give the tag, such as v0.1.0")
    found = re.search(r'__version__ = "(.+)"', text("a2m2_zoo/_version.py"))
    version = found[1] if found else "nothing"
    try:
        made = notes(
            sys.argv[1],
            version=version,
            changelog=text("CHANGELOG.md"),
            citation=text("CITATION.cff"),
        )
    except ValueError as error:
        raise SystemExit(f"not ready: {error}") from None
    sys.stdout.buffer.write(f"{made}\n".encode())


if __name__ == "__main__":
    main()
