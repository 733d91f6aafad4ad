"""Publishing through the real client to a hub on loopback, read back and used by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hub_server import COMMIT, TOKEN, Hub, Repo, environment, point_client_at
from hub_uploads import FRONT, sha256
from makers import draw_video, still
from makers_models import tiny_model

from a2m2_zoo import load_model
from a2m2_zoo.cli import main
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.hub.manifest import package_file, parse_manifest
from a2m2_zoo.synthetic import ClipFormat, write_dataset

pytestmark = pytest.mark.usefixtures("seen_once")

WORDS = ["--license", "apache-2.0", "--data", "Clips drawn by a program."]


@pytest.fixture(autouse=True)
def token(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)


@pytest.fixture
def lite(tmp_path: Path) -> Path:
    """The default model as a checkpoint of one's own."""
    load_model("a2m2-lite0").save(tmp_path / "lite.safetensors")
    return tmp_path / "lite.safetensors"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    return tiny_model(folder)


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]) -> Any:
    """Runs the command; gives exit code, stdout and stderr, none of which ever has the token."""

    def run(model: Path, *words: str | Path, repo: str = "org/Name") -> tuple[int, str, str]:
        code = main(["models", "publish", str(model), "--repo", repo, *map(str, words)])
        said = capfd.readouterr()
        assert TOKEN not in said.out + said.err
        return code, said.out, said.err

    return run


def fragment(text: str) -> dict[str, Any]:
    """The printed entries, which a manifest takes."""
    found: dict[str, Any] = json.loads(text)
    own = json.loads(package_file("weights_manifest.json").read_bytes())
    merged = {**own, **{key: own[key] + found[key] for key in ("backbones", "models")}}
    (entry,) = found["models"]
    assert parse_manifest(merged).model(entry["id"]).status == "released"
    return found


def test_a_checkpoint_is_published_and_its_entry_printed(hub: Hub, say: Any, lite: Path) -> None:
    code, out, err = say(lite, *WORDS, "--message", "First", "--trained-with", "a2m2 train CLIPS")
    assert code == 0, err
    repo = hub.repos["org/Name"]
    files = repo.files[str(repo.head)]
    assert set(files) == {".gitattributes", "README.md", "config.json", "model.safetensors"}
    assert files["model.safetensors"] == lite.read_bytes()
    assert json.loads(files["config.json"])["record"]["id"] == "a2m2-lite0"
    match = FRONT.match(files["README.md"].decode())
    assert match is not None
    assert yaml.safe_load(match[1])["license"] == "apache-2.0"
    (entry,) = fragment(out)["models"]
    assert entry["id"] == "name"
    assert entry["source"]["commit"] == repo.head
    assert entry["sha256"] == sha256(lite.read_bytes())
    assert entry["trained_with"] == "a2m2 train CLIPS"
    assert f"hf-hub:org/Name@{repo.head}" in err
    assert not repo.private


def test_what_is_published_works_by_name_with_an_empty_cache(
    hub: Hub, say: Any, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert say(tiny, *WORDS)[0] == 0
    name = f"hf-hub:org/Name@{hub.repos['org/Name'].head}"
    point_client_at(hub, tmp_path / "empty", monkeypatch)
    model = load_model(name)
    assert model.weights_hash == load_model(tiny).weights_hash
    assert (tmp_path / "empty" / "hub" / "models--org--Name").is_dir()


def test_another_process_classifies_with_the_snippet_on_the_card(
    hub: Hub, say: Any, lite: Path, tmp_path: Path
) -> None:
    assert say(lite, *WORDS)[0] == 0
    repo = hub.repos["org/Name"]
    card = repo.files[str(repo.head)]["README.md"].decode()
    snippet = card.split("```python\n")[1].split("```")[0]
    draw_video(tmp_path / "query.mp4", 20)
    draw_video(tmp_path / "supports" / "right" / "a.mp4", 22)
    still(tmp_path / "supports" / "still" / "b.mp4", 21)
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", snippet],
        cwd=tmp_path,
        env={**environment(hub, tmp_path / "fresh"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stderr == ""
    assert run.stdout.split()[0] == "right"


def test_a_backbone_beside_the_checkpoint_goes_with_it(hub: Hub, say: Any, tiny: Path) -> None:
    code, out, _ = say(tiny, *WORDS)
    assert code == 0
    repo = hub.repos["org/Name"]
    assert (
        repo.files[str(repo.head)]["backbone.safetensors"]
        == (tiny / "backbone.safetensors").read_bytes()
    )
    (backbone,) = fragment(out)["backbones"]
    assert backbone["id"] == "name-backbone"
    assert backbone["source"]["file"] == "backbone.safetensors"


def test_large_files_go_in_parts_where_the_hub_asks_for_it(hub: Hub, say: Any, tiny: Path) -> None:
    hub.multipart = 1000  # type: ignore[attr-defined]
    assert say(tiny, *WORDS)[0] == 0
    parts = [seen.path for seen in hub.seen if seen.method == "PUT"]
    assert len(parts) > 10
    assert hub.repos["org/Name"].lfs.keys() == {
        sha256((tiny / name).read_bytes()) for name in ("model.safetensors", "backbone.safetensors")
    }


def test_a_trained_model_with_the_receipts_of_its_evaluation(
    hub: Hub, say: Any, tiny: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    clips, run, cache = tmp_path / "clips", tmp_path / "run", str(tmp_path / "cache")
    write_dataset(clips, classes=6, clips=4, style="stick", form=ClipFormat(size=64, frames=8))
    common = ["--cache", cache, "--workers", "1", "--device", "cpu"]
    settings = ["way=2", "query=1", "validate_shots=[1]", "validate_episodes=20", "seed=5"]
    fields = [word for setting in settings for word in ("--set", setting)]
    trained = ["train", str(clips), "--out", str(run), "--model", str(tiny), "--method", "hyrsm"]
    assert main([*trained, "--steps", "3", "--hold-out", "0.5", *fields, *common]) == 0
    capfd.readouterr()
    settings = ["--way", "3", "--shot", "1,2", "--episodes", "30", "--json", *common]
    assert main(["evaluate", str(clips), "--model", str(run), *settings]) == 0
    receipt = tmp_path / "eval.json"
    receipt.write_text(capfd.readouterr().out)
    code, out, err = say(run, *WORDS, "--metrics", receipt, "--benchmark", "hmdb51")
    assert code == 0, err
    repo = hub.repos["org/Name"]
    files = repo.files[str(repo.head)]
    assert files["metrics.json"] == receipt.read_bytes()
    card = files["README.md"].decode()
    results = json.loads(receipt.read_text())["results"]
    (entry,) = fragment(out)["models"]
    assert [(m["shot"], m["accuracy"]) for m in entry["metrics"]] == [
        (r["shot"], round(r["accuracy"], 2)) for r in results
    ]
    for row in results:
        shown = f"{round(row['accuracy'], 2):.1f} ± {round(row['interval'], 2):.1f}"
        assert f"| clips | 3-way {row['shot']}-shot | {shown} | 33.3 | 30 |" in card
    assert "| episodes | 2-way 1-shot, 1 queries per class |" in card
    assert "| seed | 5 |" in card
    assert "| benchmark | hmdb51 |" in card
    assert entry["benchmark"] == "hmdb51"
    code, _, err = say(tiny, *WORDS, "--metrics", receipt)
    assert code == 2
    assert "is about other weights" in err
    # Published again without them, the old receipts do not stay beside other weights.
    assert say(tiny, *WORDS)[0] == 0
    assert "metrics.json" not in repo.files[str(repo.head)]


def test_publishing_twice_makes_one_commit(hub: Hub, say: Any, tiny: Path) -> None:
    assert say(tiny, *WORDS)[0] == 0
    head, commits = hub.repos["org/Name"].head, len(hub.repos["org/Name"].files)
    puts = hub.count("PUT")
    assert say(tiny, *WORDS)[0] == 0
    assert hub.repos["org/Name"].head == head
    assert len(hub.repos["org/Name"].files) == commits
    assert hub.count("PUT") == puts


def test_private_repositories(hub: Hub, say: Any, tiny: Path) -> None:
    code, _, _ = say(tiny, *WORDS, "--private", "--json")
    assert code == 0
    assert hub.repos["org/Name"].private


def test_a_dry_run_writes_the_folder_and_sends_nothing(
    hub: Hub, say: Any, tiny: Path, tmp_path: Path
) -> None:
    code, out, err = say(tiny, *WORDS, "--dry-run", tmp_path / "dry")
    assert code == 0
    assert "is not on the Hub yet" in out
    assert "nothing was uploaded" in err
    written = {path.name for path in (tmp_path / "dry").iterdir()}
    assert written == {"README.md", "config.json", "model.safetensors", "backbone.safetensors"}
    assert load_model(tmp_path / "dry").weights_hash == load_model(tiny).weights_hash
    assert hub.count("POST") == hub.count("PUT") == 0
    assert not hub.repos


def test_a_dry_run_shows_what_would_change(hub: Hub, say: Any, tiny: Path, tmp_path: Path) -> None:
    assert say(tiny, *WORDS)[0] == 0
    head, before = hub.repos["org/Name"].head, hub.count("POST")
    other = tmp_path / "other"
    other.mkdir()
    tiny_model(other, "other \x1b[31m")
    words = [*WORDS[:3], "Other clips.", "--dry-run", tmp_path / "dry"]
    code, out, _ = say(other, *words)
    assert code == 0
    assert f"org/Name is at commit {head}" in out
    assert any(line.startswith("-") and "drawn by a program" in line for line in out.splitlines())
    assert any(line.startswith("+") and "Other clips." in line for line in out.splitlines())
    assert "model.safetensors: " in out
    assert sha256((other / "model.safetensors").read_bytes()) in out
    assert "\x1b" not in out
    assert "backbone.safetensors: unchanged" in out
    assert hub.count("POST") == before
    assert say(tiny, *WORDS, "--dry-run", tmp_path / "dry")[1].count(": unchanged") == 4


def test_a_dry_run_without_a_hub_says_so(
    say: Any, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_client_at("http://127.0.0.1:9", tmp_path / "hf", monkeypatch)
    code, out, _ = say(tiny, *WORDS, "--dry-run", tmp_path / "dry")
    assert code == 0
    assert "not compared with the Hub: the connection to the Hub broke" in out
    assert (tmp_path / "dry" / "README.md").is_file()


def test_a_dry_run_spares_folders_of_others(say: Any, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years")
    code, _, err = say(tiny, *WORDS, "--dry-run", tmp_path)
    assert code == 2
    assert "holds other files" in err
    assert (tmp_path / "thesis.tex").read_text() == "years"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--license", "apache-2.0"], "must say what the model was made from"),
        (["--data", "x"], "give --license"),
        (["--license", "mine", "--data", "x"], "is not one that the Hub knows"),
        ([*WORDS, "--repo", "Name"], "expected ORG/NAME"),
        ([*WORDS, "--repo", "a/b/c"], "expected ORG/NAME"),
        ([*WORDS, "--repo", "org/na me"], "expected ORG/NAME"),
        ([*WORDS, "--repo", "../etc"], "expected ORG/NAME"),
        ([*WORDS, "--dataset", "nowhere"], "expected ORG/NAME"),
        ([*WORDS, "--benchmark", "hmdb52"], "hmdb51"),
        ([*WORDS, "--metrics", "none.json"], "cannot read the receipt"),
    ],
)
def test_wrong_calls_ask_nobody(
    hub: Hub, say: Any, tiny: Path, words: list[str], message: str
) -> None:
    code, out, err = say(tiny, *words)
    assert code == 2
    assert message in err
    assert len(err.splitlines()) == 1
    assert out == ""
    assert hub.count() == 0


def test_a_checkpoint_that_does_not_load_is_not_published(
    hub: Hub, say: Any, tiny: Path, tmp_path: Path
) -> None:
    backbone_file = tiny / "backbone.safetensors"
    backbone_file.write_bytes(backbone_file.read_bytes()[:-1] + b"\x07")
    code, _, err = say(tiny, *WORDS)
    assert code == 2
    assert "sha256" in err
    checkpoint.save(tmp_path / "model.safetensors", {}, kind="model", record={"id": "x"})
    code, _, err = say(tmp_path, *WORDS)
    assert code == 2
    assert "does not describe a model" in err
    assert hub.count() == 0


def test_an_unchanged_model_of_the_manifest_brings_its_origin(hub: Hub, say: Any) -> None:
    code, out, err = say(package_file("weights/a2m2_lite0.safetensors"), "--license", "apache-2.0")
    assert code == 0, err
    assert "a2m2_zoo.synthetic" in fragment(out)["models"][0]["data"]


def test_a_hostile_name_in_the_record_does_not_break_the_card(
    hub: Hub, say: Any, tmp_path: Path
) -> None:
    tiny_model(tmp_path, "x\n---\nlicense: mit\n---\n# <b>| \ud800 \x1b[31m")
    code, _, err = say(tmp_path, *WORDS)
    assert code == 0, err
    repo = hub.repos["org/Name"]
    card = repo.files[str(repo.head)]["README.md"].decode()
    match = FRONT.match(card)
    assert match is not None
    assert yaml.safe_load(match[1])["license"] == "apache-2.0"
    assert "<b>" not in card


def test_what_is_no_model_of_ours_is_not_overwritten(hub: Hub, say: Any, tiny: Path) -> None:
    files = {"README.md": b"---\nlibrary_name: other\n---\n", "pytorch_model.bin": b"precious"}
    hub.repos["org/Name"] = Repo({COMMIT: files}, head=COMMIT)
    code, _, err = say(tiny, *WORDS)
    assert code == 1
    assert "holds something that is no model of a2m2_zoo" in err
    assert hub.repos["org/Name"].head == COMMIT
    assert hub.count("POST") == 0


def test_help_loads_nothing_heavy() -> None:
    code = "import sys; from a2m2_zoo.cli import main; main(['models', 'publish', '--help']);"
    probe = "print([m for m in ('torch', 'huggingface_hub', 'numpy') if m in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", code + probe],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    assert run.stdout.splitlines()[-1] == "[]"
    assert "--license" in run.stdout
