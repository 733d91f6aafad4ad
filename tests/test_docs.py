"""The pages of docs/: their figures are the receipts', and the how-tos' commands run as they stand."""

from __future__ import annotations

import os
import re
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any, get_origin

import pytest
from pages import ROOT, blocks, run_page

pytestmark = pytest.mark.usefixtures("seen_once")

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
START = DOCS / "start.md"
GUIDES = sorted(DOCS.glob("howto/*.md"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where somebody stands who has done what the first page says."""
    root = tmp_path_factory.mktemp("docs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        run_page(START)
    return root


def test_the_first_page_leaves_what_it_says(folder: Path) -> None:
    named = re.findall(r"^\| `(demo/[^`]+)` \|", START.read_text(), re.MULTILINE)
    assert len(named) == 4
    for name in named:
        assert (folder / name).exists()
    assert (folder / "demo" / "actions.safetensors").is_file()


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_a_guide_runs_as_it_stands(
    page: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("A2M2_CACHE", str(folder / "cache"))
    (tmp_path / "demo").symlink_to(folder / "demo")
    run_page(page)


def test_most_guides_have_something_that_runs() -> None:
    alive = {p.stem for p in GUIDES if any(b.commands and b.why is None for b in blocks(p))}
    assert {p.stem for p in GUIDES} - alive <= {
        "browser_page", "convert", "export", "index", "official_lists", "own_backbone", "publish", "text",
    }  # fmt: skip


@pytest.fixture(scope="module")
def program() -> Any:
    """The command line's program, with all that it knows."""
    from typer.main import get_command

    from a2m2_zoo.cli.app import app

    return get_command(app)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_option_that_a_page_names_exists(page: Path, program: Any) -> None:
    """Of commands that cannot run here, too: the program knows their words and options."""
    for block in blocks(page):
        for command in block.commands:
            words = [word for word in shlex.split(command) if "=" not in word or word[0] == "-"]
            if words[0] != "a2m2":
                continue
            found = program
            while hasattr(found, "commands"):
                words = words[1:]
                assert words[0] in found.commands, command
                found = found.commands[words[0]]
            known = {opt for p in found.params for opt in (*p.opts, *p.secondary_opts)}
            given = {word.partition("=")[0] for word in words if word.startswith("-")}
            assert given - {"-"} <= known, command


def test_every_figure_is_the_receipts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "tools")
    import figures

    text = "".join(page.read_text() for page in PAGES)
    assert [line for page in PAGES for line in figures.differences(page)] == []
    assert set(figures.TABLES) == {found[2] for found in figures.TABLE.finditer(text)}
    assert text.count("<!-- figure:") == len(figures.FIGURE.findall(text)) > 30


def test_a_wrong_figure_is_found_and_put_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(ROOT / "tools")
    import figures

    page = tmp_path / "page.md"
    mark = "<!-- figure: accuracy; results[data=jhmdb,model=a2m2-lite0,shot=5].interval; .1f -->"
    page.write_text(f"one\n± {mark}0.4<!-- / -->\n")
    monkeypatch.setattr(figures, "ROOT", tmp_path)
    monkeypatch.setattr(figures, "pages", lambda: [page])
    monkeypatch.setattr("sys.argv", ["figures.py", "--check"])
    assert figures.main() == 1
    assert capsys.readouterr().out.startswith("page.md:2: accuracy; results[data=jhmdb")
    monkeypatch.setattr("sys.argv", ["figures.py"])
    assert figures.main() == 0
    assert page.read_text() == f"one\n± {mark}0.3<!-- / -->\n"
    monkeypatch.setattr("sys.argv", ["figures.py", "--check"])
    assert figures.main() == 0


def test_the_way_to_a_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "tools")
    import figures

    held = {"a b": [{"c": 1, "d": 2.5}, {"c": 1, "d": 3.5}], "e": [7, 8]}
    assert figures.value(held, "a b[c=1,d=3.5].d") == 3.5
    assert figures.value(held, "e[-1]") == 8
    with pytest.raises(ValueError, match="2 rows have c=1, one was expected"):
        figures.value(held, "a b[c=1].d")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_page_is_in_the_index() -> None:
    named = set()
    for page in DOCS.rglob("*.md"):
        for block in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), re.DOTALL):
            lines = [line for line in block.splitlines() if line and not line.startswith(":")]
            named |= {os.path.normpath(page.parent / f"{line}.md") for line in lines}
    assert named == {str(page) for page in DOCS.rglob("*.md")} - {str(DOCS / "index.md")}


@pytest.mark.parametrize(
    "page", sorted(DOCS.glob("reference/api/*.md")), ids=lambda page: page.stem
)
def test_every_constant_of_a_room_is_shown(page: Path) -> None:
    """A module's own are found by their comments; a page speaks of those that it takes from elsewhere."""
    named = re.findall(r"autodata:: \S+\.(\w+)", page.read_text())
    modules = [import_module(name) for name in re.findall(r"automodule:: (\S+)", page.read_text())]
    code = "".join(Path(str(module.__file__)).read_text() for module in modules)
    shown = {*named, *re.findall(r"^#: .*\n(?:#.*\n)*(\w+)\b", code, re.MULTILINE)}
    for module in modules:
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            constant = not callable(value) or get_origin(value) is not None
            assert name in shown or name[0] == "_" or not constant, (module.__name__, name)
