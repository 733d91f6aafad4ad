"""The files by which people join the project agree with the package and with each other."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from order import LONG_FILES
from readme_renderer import markdown

import a2m2_zoo
from a2m2_zoo.methods import METHODS

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / ".github").rglob("*.md"))]
REPOSITORY = "https://github.com/a2m2-zoo/a2m2_zoo"
LINK = re.compile(r"\]\(([^)#\s]+)")


def text(*parts: str) -> str:
    return ROOT.joinpath(*parts).read_text(encoding="utf-8")


def parsed(*parts: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text(*parts))
    return found


def workflow(name: str) -> dict[str, Any]:
    return parsed(".github", "workflows", name)


def config() -> ConfigParser:
    made = ConfigParser()
    made.read(ROOT / "setup.cfg", encoding="utf-8")
    return made


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(name).stem, ROOT / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_both_manifests_are_one() -> None:
    own, top = ROOT / "a2m2_zoo" / "weights_manifest.json", ROOT / "weights_manifest.json"
    for path in (own, top):
        assert not path.is_symlink()
    assert own.read_bytes() == top.read_bytes(), "run tools/write_manifest.py"


def test_every_supported_python_is_tested_on_every_system() -> None:
    matrix = workflow("ci.yml")["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python"] == ["3.10", "3.11", "3.12", "3.13"]
    assert matrix["system"] == ["ubuntu-latest", "macos-latest", "windows-latest"]
    classifiers = config()["metadata"]["classifiers"]
    assert re.findall(r"Python :: (3\.\d+)$", classifiers, re.MULTILINE) == matrix["python"]
    oldest = matrix["python"][0]
    assert config()["options"]["python_requires"] == f">={oldest}"
    assert f'python_version = "{oldest}"' in text("pyproject.toml")
    assert f'target-version = "py{oldest.replace(".", "")}"' in text("pyproject.toml")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_do_little_and_ends(path: Path) -> None:
    made = workflow(path.name)
    assert made["permissions"] == {"contents": "read"}
    assert made["concurrency"]["group"]
    for job in made["jobs"].values():
        assert "timeout-minutes" in job or job["uses"].startswith("./")
        for step in job.get("steps", []):
            pinned = r"(actions/[\w-]+@v\d+|pypa/[\w-]+@release/v\d+|\./[\w./-]+)"
            assert re.fullmatch(pinned, step.get("uses", "./own")), step
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_called_workflow_asks_for_no_more_than_its_caller_grants(path: Path) -> None:
    """The host refuses to start the caller otherwise, whatever an `if:` says."""
    order = ("none", "read", "write")
    made = workflow(path.name)
    for caller in made["jobs"].values():
        if "uses" not in caller:
            continue
        granted = caller.get("permissions", made["permissions"])
        called = parsed(*Path(caller["uses"]).parts)
        assert "workflow_call" in called[True]
        for name, job in called["jobs"].items():
            for right, level in job.get("permissions", called["permissions"]).items():
                assert order.index(level) <= order.index(granted.get(right, "none")), (name, right)


def test_a_release_is_published_by_a_trusted_workflow_after_all_checks() -> None:
    made = workflow("release.yml")
    assert made[True] == {"push": {"tags": ["v*"]}}  # YAML 1.1 reads the key "on" as true
    publish, checks = made["jobs"]["publish"], made["jobs"]["ci"]
    assert checks["uses"] == "./.github/workflows/ci.yml"
    assert (publish["needs"], checks["needs"]) == (["ci", "online"], "ready")
    assert made["jobs"]["online"]["uses"] == "./.github/workflows/verify.yml"
    assert publish["environment"]["name"] == "pypi"
    assert publish["permissions"] == {"id-token": "write"}
    assert "secrets." not in text(".github", "workflows", "release.yml")
    uploaded = [step for step in workflow("ci.yml")["jobs"]["package"]["steps"] if "with" in step]
    assert uploaded[-1]["with"]["name"] == publish["steps"][0]["with"]["name"] == "dist"


def test_what_a_network_tells_is_proposed_and_not_merged() -> None:
    """The job that runs other people's weights may write nothing; the other sees what it found as a patch."""
    calls, propose = (workflow("online.yml")["jobs"][name] for name in ("verify", "propose"))
    assert calls["uses"] == "./.github/workflows/verify.yml"
    verify = workflow("verify.yml")["jobs"]["verify"]
    assert "permissions" not in calls
    assert "permissions" not in verify
    assert propose["permissions"] == {"contents": "write", "pull-requests": "write"}
    asked = next(s["run"] for s in verify["steps"] if "verify_online" in s.get("run", ""))
    models = {entry["id"]: entry for entry in json.loads(text("weights_manifest.json"))["models"]}
    for name in re.findall(r"--skip (\S+)", asked):
        assert models[name]["status"] == "computed"
    # Text from outside reaches a shell through its environment only.
    assert not any("inputs.data }}" in step.get("run", "") for step in verify["steps"])
    # The patch, empty or not, is there whatever stopped the job.
    (kept,) = (step for step in verify["steps"] if "git diff" in step.get("run", ""))
    assert kept["if"] == "always()"
    assert kept["run"].startswith("mkdir -p verified && ")
    assert "gh pr create" in propose["steps"][-1]["run"]


def test_what_is_written_for_people_names_what_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    for page in PAGES:
        shown = re.sub(r"<!--.*?-->", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        named = set(re.findall(r"(?:`|^\$ |^)make ([a-z-]+)", shown, re.MULTILINE))
        assert named <= targets, f"{page.name}: make {named - targets}"
        if page.name == "CHANGELOG.md":
            continue  # it also tells of what was
        for path in re.findall(
            r"`((?:a2m2_zoo|tests|tools|docs|benchmarks|\.github)/[^\s`]*)`", shown
        ):
            assert (ROOT / path).exists(), f"{page.name}: {path}"
        for target in LINK.findall(shown):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"
    assert {"setup", "test", "lint", "types", "unit", "doctest"} <= set(
        re.findall(r"make ([a-z-]+)", text("CONTRIBUTING.md"))
    )


def test_pages_install_by_name_and_extras_that_exist() -> None:
    """A clone is spoken of where the project begins, until the first release, and by contributors."""
    clones = {"README.md", "start.md", "CONTRIBUTING.md"}
    for page in (*PAGES, *(ROOT / "docs").rglob("*.md")):
        named = re.findall(r"pip install.*?\"(\S*?)\[([^\]]+)\]", page.read_text(encoding="utf-8"))
        for package, extras in named:
            assert package == "a2m2_zoo" or (package == "." and page.name in clones), page.name
            assert set(extras.split(",")) <= set(config()["options.extras_require"]), page.name


def test_every_method_has_its_row() -> None:
    page = text("docs", "reference", "methods", "index.md")
    first = "".join(re.findall(r"^\|([^|]*)\|", page, re.MULTILINE))
    ours = {
        n for n, (made, _) in METHODS.usable().items() if made.__module__.startswith("a2m2_zoo.")
    }
    assert len(ours) >= 11
    assert ours <= set(re.findall(r"`([^`]+)`", first))


def test_the_citation_names_this_version_and_the_paper() -> None:
    cited = parsed("CITATION.cff")
    assert cited["version"] == a2m2_zoo.__version__
    assert cited["license"] == config()["metadata"]["license_expression"] == "Apache-2.0"
    assert cited["authors"] == [{"name": config()["metadata"]["author"]}]
    (paper,) = cited["references"]
    assert paper["title"].startswith("A2M2-Net: Adaptively Aligned Multi-Scale Moment")
    assert [a["family-names"] for a in paper["authors"]] == ["Gao", "Wang", "Zhang", "Hu", "Li"]


def test_one_address_everywhere() -> None:
    urls = config()["metadata"]["project_urls"]
    assert f"Source = {REPOSITORY}\n" in urls
    for path in (*PAGES, ROOT / "CITATION.cff", *(ROOT / ".github").rglob("*.yml")):
        shown = path.read_text(encoding="utf-8")
        for found in re.findall(r"https://github\.com/[\w.-]+/a2m2_zoo", shown):
            assert found == REPOSITORY, path.name


def test_the_hooks_are_the_tested_versions() -> None:
    hooks = {repo["repo"]: repo for repo in parsed(".pre-commit-config.yaml")["repos"]}
    ruff = hooks["https://github.com/astral-sh/ruff-pre-commit"]["rev"]
    assert f"ruff=={ruff.removeprefix('v')}\n" in text("constraints.txt")
    for repo in hooks.values():
        assert repo["repo"] == "local" or re.fullmatch(r"v?\d+\.\d+\.\d+", repo["rev"])


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[0-9]*.yml")), ids=lambda p: p.name
)
def test_a_form_asks_something_that_must_be_answered(path: Path) -> None:
    made = parsed(*path.relative_to(ROOT).parts)
    assert {"name", "description", "body"} <= set(made)
    names = [field["id"] for field in made["body"] if field["type"] != "markdown"]
    assert len(names) == len(set(names)) >= 3
    assert any(field.get("validations", {}).get("required") for field in made["body"])
    for label in made["labels"]:
        assert f"`{label}`" in text("RELEASING.md")  # somebody must have made it


class TestTheReadmeOnThePackageIndex:
    def test_it_has_no_relative_link_or_picture(self) -> None:
        made = script("setup.py").description()
        page = markdown.render(made)
        assert page is not None
        found = re.findall(r'(?:href|src)="([^"]+)"', page)
        assert len(found) >= len(LINK.findall(text("README.md")))
        assert [t for t in found if not t.startswith(("https://", "#"))] == []
        base = f"{REPOSITORY}/(blob|raw|tree)/v{re.escape(a2m2_zoo.__version__)}/"
        ours = [t for t in found if t.startswith(REPOSITORY)]
        assert ours
        for target in ours:
            path = re.sub(base, "", target).partition("#")[0]
            assert (ROOT / path).exists(), target

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ("[a](docs/reference/zoo.md#names)", "[a](R/blob/T/docs/reference/zoo.md#names)"),
            ("[a](./docs)", "[a](R/tree/T/docs)"),
            ("[a](docs/reference/methods/)", "[a](R/tree/T/docs/reference/methods/)"),
            ('![a](docs/x.PNG "title")', '![a](R/raw/T/docs/x.PNG "title")'),
            ("[![a](a.svg)](LICENSE)", "[![a](R/raw/T/a.svg)](R/blob/T/LICENSE)"),
            ('<img src="a.png" alt="A">', '<img src="R/raw/T/a.png" alt="A">'),
            ("<a href='NOTICE'>a</a>", "<a href='R/blob/T/NOTICE'>a</a>"),
            ("text\n[a]: docs/reference/zoo.md\n", "text\n[a]: R/blob/T/docs/reference/zoo.md\n"),
        ],
    )
    def test_relative_links_lead_into_the_repository(self, given: str, expected: str) -> None:
        assert script("setup.py").absolute(given, repository="R", tag="T") == expected

    @pytest.mark.parametrize(
        "given",
        [
            "[a](#here)",
            "[a](https://x.org/y.png)",
            "[a](mailto:a@b.org) <a@b.org>",
            "`x[0](docs/reference/zoo.md)`",
            "```python\ny = [1](docs/reference/zoo.md)\n```\n",
        ],
    )
    def test_other_links_and_code_stay(self, given: str) -> None:
        assert script("setup.py").absolute(given, repository="R", tag="T") == given


class TestReleaseNotes:
    ADDED = "### Added\n\n- this, see [that](NOTICE)"
    CHANGELOG = (
        "# Changelog\n\n[Unreleased]: x\n\n## [Unreleased]\n\n- later\n\n"
        f"## [0.2.0] - 2027-01-31\n\n{ADDED}\n\n## [0.1.0] - 2026-12-24\n\n- first\n"
    )
    CITATION = "version: 0.2.0\ndate-released: 2027-01-31\n"

    def test_they_are_the_section_of_the_version(self) -> None:
        made = script("tools/release_notes.py").notes(
            "v0.2.0", version="0.2.0", changelog=self.CHANGELOG, citation=self.CITATION
        )
        assert made == f"### Added\n\n- this, see [that]({REPOSITORY}/blob/v0.2.0/NOTICE)"

    @pytest.mark.parametrize(
        ("tag", "version", "changelog", "citation", "said"),
        [
            ("v0.2.1", "0.2.0", CHANGELOG, CITATION, "the tag is v0.2.1"),
            ("v0.3.0", "0.3.0", CHANGELOG, CITATION, "no section"),
            ("v0.2.0", "0.2.0", CHANGELOG.replace(" - 2027-01-31", ""), CITATION, "no section"),
            ("v0.2.0", "0.2.0", CHANGELOG.replace(ADDED, ""), CITATION, "nothing"),
            ("v0.1.0", "0.1.0", CHANGELOG, CITATION, "no line 'version: 0.1.0'"),
            ("v0.2.0", "0.2.0", CHANGELOG, "version: 0.2.0\n", "no line 'date-released"),
        ],
    )
    def test_what_is_not_ready_is_said(
        self, tag: str, version: str, changelog: str, citation: str, said: str
    ) -> None:
        with pytest.raises(ValueError, match=said):
            script("tools/release_notes.py").notes(
                tag, version=version, changelog=changelog, citation=citation
            )

    def test_the_tree_is_not_released_by_a_wrong_tag(self) -> None:
        command = [sys.executable, str(ROOT / "tools" / "release_notes.py"), "v99.0.0"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.startswith("not ready: the tag is v99.0.0")

    def test_the_changelog_keeps_its_form(self) -> None:
        found = re.findall(r"^## (.+)$", text("CHANGELOG.md"), re.MULTILINE)
        assert found[0] == "[Unreleased]"
        for section in found[1:]:
            assert re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", section)
        kinds = set(re.findall(r"^### (.+)$", text("CHANGELOG.md"), re.MULTILINE))
        assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_files_that_begin_first_are_there() -> None:
    assert len(set(LONG_FILES)) == len(LONG_FILES)
    assert set(LONG_FILES) <= {path.name for path in (ROOT / "tests").rglob("test_*.py")}


PIP_SAYS = """\
:env:.default-timeout='180'
:env:.find-links='/more/wheels'
global.cert='/ca.crt'
global.extra-index-url='file:///a file:///b'
global.find-links='/wheels'
global.index-url='https://index.example/simple'
install.constraint='/c.txt'
list.format='columns'
"""


def test_uv_is_told_what_pip_is_told() -> None:
    install = script("tools/install.py")
    assert install.settings("") == {"UV_INDEX_STRATEGY": "unsafe-best-match"}
    assert install.settings(PIP_SAYS) == {
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "/more/wheels,/wheels",
        "SSL_CERT_FILE": "/ca.crt",
        "UV_INDEX": "file:///a file:///b",
        "UV_DEFAULT_INDEX": "https://index.example/simple",
        "UV_CONSTRAINT": "/c.txt",
    }
    assert install.settings(f"{PIP_SAYS}global.no-binary='torch'\n") is None  # pip, then


@pytest.mark.parametrize(
    ("uv", "said", "runs"),
    [
        ("uv", "", ["uv"]),
        ("broken", "", ["broken", "pip"]),
        (None, "", ["pip"]),
        ("uv", "global.only-binary=':all:'", ["pip"]),
        ("uv", None, ["pip"]),
    ],
)
def test_where_uv_does_not_do_pip_installs(
    monkeypatch: pytest.MonkeyPatch, uv: str | None, said: str | None, runs: list[str]
) -> None:
    install = script("tools/install.py")
    ran: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        ran.append(command)
        return subprocess.CompletedProcess(command, int(command[0] == "broken"))

    monkeypatch.setattr(install, "quiet_pip", lambda *_: said)
    monkeypatch.setattr(install, "find_uv", lambda: uv)
    monkeypatch.setattr(install.subprocess, "run", run)
    assert install.install("there", ["--compile-bytecode", "numpy"]) == 0
    assert [command[2] if command[0] == "there" else command[0] for command in ran] == runs
    assert all(command[-1] == "numpy" for command in ran)
    assert all(("--compile-bytecode" in command) == (command[0] != "there") for command in ran)
