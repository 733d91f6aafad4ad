"""Methods and backbones of other people: installed, or in a file; whole, broken, and two of one name."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from a2m2_zoo import classify, load_model
from a2m2_zoo._utils import plugins
from a2m2_zoo._utils.plugins import Registry
from a2m2_zoo.backbones import BACKBONES, build_backbone
from a2m2_zoo.cli import main
from a2m2_zoo.errors import ArgumentError, ModelNotFoundError, PluginError
from a2m2_zoo.methods import METHODS, build_method
from a2m2_zoo.synthetic import ClipFormat, draw_clip, write_dataset
from a2m2_zoo.testing import check_backbone, check_method
from a2m2_zoo.zoo import computed
from a2m2_zoo.zoo.training_free import Amounts

pytestmark = pytest.mark.usefixtures("seen_once")

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = ROOT / "examples" / "plugin"
SMALL = [
    *("--steps", "1", "--hold-out", "0.5", "--device", "cpu", "--workers", "1"),
    *("--set", "way=2", "--set", "query=1", "--set", "batch=1", "--set", "warmup=0"),
    *("--set", "validate_shots=[1]", "--set", "validate_episodes=10"),
]


@pytest.fixture
def installed(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example, installed by pip into a folder of its own that Python looks into."""
    source = tmp_path_factory.mktemp("source") / "plugin"
    shutil.copytree(PLUGIN, source)
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    pip += ["--no-index", "--disable-pip-version-check", "--target", str(target), str(source)]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    monkeypatch.syspath_prepend(target)
    return target


def put(target: Path, package: str, code: str, **entries: str) -> None:
    """A package with entry points, as an installer leaves it."""
    (target / f"{package}.py").write_text(code)
    info = target / f"{package}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
    lines = [f"[a2m2_zoo.{group}]\n{row}\n" for group, row in entries.items()]
    (info / "entry_points.txt").write_text("\n".join(lines))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(computed, "Amounts", lambda: Amounts(2, 2, 2, 4))
    monkeypatch.setenv("A2M2_CACHE", str(tmp_path / "cache"))


def test_an_installed_plugin_is_seen_by_all(
    installed: Path, few: None, forgotten: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_method("spread")
    check_backbone("stripes")
    assert main(["models", "list", "--released"]) == 0
    said = capsys.readouterr().out
    assert "method spread of a2m2-plugin-example: --method spread" in said
    assert "backbone stripes of a2m2-plugin-example: --model backbone:stripes" in said

    data, run = tmp_path / "clips", str(tmp_path / "run")
    write_dataset(data, classes=4, clips=2, style="stick", form=ClipFormat(size=64, frames=8))
    model = load_model("backbone:stripes", device="cpu")
    supports = {n: [draw_clip(3, i, 0, frames=8)] for i, n in enumerate(("kick", "wave"))}
    first = classify(draw_clip(3, 0, 1, frames=8), supports, model=model).probabilities
    (tmp_path / "saved").mkdir()
    model.save(tmp_path / "saved" / "model.safetensors")
    again = load_model(tmp_path / "saved", device="cpu")
    assert classify(draw_clip(3, 0, 1, frames=8), supports, model=again).probabilities == first

    trained = ["train", str(data), "--model", "backbone:stripes", "--out", run, *SMALL]
    assert main(trained) == 0
    assert load_model(run, device="cpu").backbone_hash == model.backbone_hash
    headed = ["train", str(data), "--method", "spread", "--out", str(tmp_path / "other"), *SMALL]
    assert main(headed) == 2
    assert "Spread has no parameters to train" in capsys.readouterr().err.replace("\n", " ")
    compared = ["compare", str(data), "--model", run, "--methods", "a2m2,spread", "--json"]
    few_episodes = ["--episodes", "10", "--shot", "1", "--way", "2", "--device", "cpu", "--no-pose"]
    assert main([*compared, *few_episodes]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert {result["method"] for result in results} == {"a2m2", "spread"}


FILE = """
from a2m2_zoo.backbones import BACKBONES
from a2m2_zoo.backbones.tiny import build_tiny
from a2m2_zoo.methods import METHODS
from a2m2_zoo.methods.protonet import ProtoNet, ProtoNetConfig

class Mine(ProtoNet):
    pass

def build(weights):
    made = build_tiny(weights)
    made.name = "mine"
    return made

METHODS["mine"] = (Mine, ProtoNetConfig)
BACKBONES["mine"] = build
"""


def test_a_file_is_imported_and_one_that_raises_is_named(
    forgotten: None, few: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(FILE)
    (tmp_path / "bad.py").write_text("1 / 0\n")
    (tmp_path / "exit.py").write_text("raise SystemExit(3)\n")
    data = tmp_path / "clips"
    write_dataset(data, classes=2, clips=2, style="stick", form=ClipFormat(size=64, frames=8))
    files = ["mine.py", "bad.py", "exit.py"]
    imports = [word for name in files for word in ("--import", str(tmp_path / name))]
    words = ["compare", str(data), "--model", "backbone:mine", "--methods", "protonet,mine"]
    rest = ["--episodes", "10", "--shot", "1", "--way", "2", "--device", "cpu", "--json"]
    assert main([*words, *rest, *imports]) == 0
    said = capsys.readouterr()
    assert {r["method"] for r in json.loads(said.out)["results"]} == {"a2m2", "protonet", "mine"}
    complaints = [line for line in said.err.splitlines() if "cannot be imported" in line]
    assert len(complaints) == 2
    assert "ZeroDivisionError: division by zero" in complaints[0]
    assert "SystemExit: 3" in complaints[1]
    assert main([*words, *rest, "--import", str(tmp_path / "none.py")]) == 2
    assert "none.py' to import; check the path" in capsys.readouterr().err
    assert main(["models", "list", "--import", str(tmp_path / "mine.py")]) == 0
    assert "method mine of a file: --method mine" in capsys.readouterr().out


def test_a_method_that_breaks_is_named_with_its_line_and_the_others_are_compared(
    forgotten: None, few: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, data = tmp_path / "breaks.py", tmp_path / "clips"
    broken = "    def pairs(self, query, support):\n        return query['clp']\n"
    file.write_text(FILE.replace("    pass\n", broken).replace('"mine"', '"breaks"'))
    at = file.read_text().splitlines().index("        return query['clp']")
    write_dataset(data, classes=2, clips=2, style="stick", form=ClipFormat(size=64, frames=8))
    words = [
        "compare",
        str(data),
        "--import",
        str(file),
        "--methods",
        "breaks,protonet",
        "--no-pose",
    ]
    assert main([*words, "--episodes", "10", "--shot", "1", "--way", "2", "--json"]) == 1
    said = capsys.readouterr()
    assert [r["method"] for r in json.loads(said.out)["results"]] == ["a2m2", "protonet"]
    assert f"'breaks': breaks with KeyError: 'clp' (breaks.py, line {at + 1})" in said.err


def test_a_backbone_without_maps_is_a_model_for_methods_that_need_its_vector(
    forgotten: None, few: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, data = tmp_path / "bare.py", tmp_path / "clips"
    file.write_text(FILE.replace('made.name = "mine"', 'made.name, made.stages = "mine", {}'))
    write_dataset(data, classes=2, clips=2, style="stick", form=ClipFormat(size=64, frames=8))
    given = [str(data), "--model", "backbone:mine", "--import", str(file), "--device", "cpu"]
    form = ["--episodes", "10", "--shot", "1", "--way", "2", "--json"]
    assert main(["compare", *given, *form, "--methods", "protonet,otam"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert {result["method"] for result in results} == {"protonet", "otam"}
    assert main(["evaluate", *given, *form]) == 0
    capsys.readouterr()
    assert main(["compare", *given, *form, "--methods", "a2m2"]) == 2
    said = capsys.readouterr().err
    assert "mine gives no maps and A2M2 reads maps" in said
    assert said.count("\n") == 1
    bank = str(tmp_path / "bank.safetensors")
    assert main(["bank", "create", *given[:-2], "-o", bank]) == 0
    clip = str(next(data.rglob("*.mp4")))
    assert main(["classify", clip, "--supports", bank, "--import", str(file), "--json"]) == 0


TRAINABLE = FILE.replace("ProtoNet", "A2M2").replace("methods.protonet", "methods.a2m2")


def test_a_model_of_an_imported_file_goes_where_others_go(
    forgotten: None, few: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, data, run = tmp_path / "my file.py", tmp_path / "clips", tmp_path / "run"
    file.write_text(TRAINABLE)
    imports, bank = ["--import", str(file)], str(tmp_path / "bank.safetensors")
    write_dataset(data, classes=4, clips=2, style="stick", form=ClipFormat(size=64, frames=8))

    def forget() -> None:
        for table in (METHODS, BACKBONES):
            table.pop("mine", None)
        plugins._imported.clear()

    mine = ["--model", "backbone:mine", *imports]
    assert main(["bank", "create", str(data), *mine, "-o", bank]) == 0
    assert "model backbone:mine" in " ".join(capsys.readouterr().out.split())
    clip = ["classify", str(next(data.rglob("*.mp4"))), "--supports", bank, "--no-pose"]
    assert main([*clip, *imports]) == 0
    forget()
    capsys.readouterr()
    assert main(clip) == 2
    said = capsys.readouterr().err
    assert "the bank was made by model 'backbone:mine'" in said
    assert "--import" in said
    assert said.count("\n") == 1

    trained = ["train", str(data), *mine, "--method", "mine", "--out", str(run), *SMALL]
    assert main(trained) == 0
    next_one = (
        f"--model {shlex.quote(str(run / 'model.safetensors'))} --import {shlex.quote(str(file))}"
    )
    assert capsys.readouterr().out.count(next_one) == 2
    calls = [
        ["show", str(run)],
        ["show", "backbone:mine"],
        ["verify", str(run), "backbone:mine"],
        ["publish", str(run), "--repo", "org/mine", "--license", "apache-2.0", "--data", "drawn"],
        ["pull", "backbone:mine", "--to", str(tmp_path / "pulled")],
    ]
    calls[3] += ["--dry-run", str(tmp_path / "dry")]
    for call in calls:
        forget()
        assert main(["models", *call, *imports]) == 0, call
        capsys.readouterr()
    forget()
    assert main(["models", "show", str(run)]) == 2


def test_a_plugin_that_raises_is_named_and_the_others_go_on(
    forgotten: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sound = FILE.partition("METHODS[")[0] + "PAIR = (Mine, ProtoNetConfig)\n"
    put(tmp_path, "sound", sound, methods="fine = sound:PAIR", backbones="bare = sound:build")
    put(tmp_path, "broken", "1 / 0\n", methods="bad = broken:PAIR")
    put(tmp_path, "odd", "PAIR = 3\n", methods="odd = odd:PAIR\nlost = odd:GONE")
    put(tmp_path, "one", sound, methods="twice = one:PAIR")
    put(tmp_path, "two", sound, methods="twice = two:PAIR\nprotonet = two:PAIR")
    monkeypatch.syspath_prepend(tmp_path)
    with caplog.at_level("WARNING", "a2m2_zoo"):
        usable = METHODS.usable()
    assert "fine" in usable
    assert not {"bad", "odd", "lost", "twice"} & set(usable)
    lines = [record.getMessage() for record in caplog.records]
    for said in (
        "'bad' of broken cannot be used: ZeroDivisionError: division by zero",
        "expected (Method, Config)",
        "'lost' of odd cannot be used: AttributeError",
        "two plugins have a method 'twice', two and one; uninstall one",
        "'protonet' of two is called as ours",
    ):
        assert sum(said in line for line in lines) == 1, (said, lines)
    assert not any("\n" in line for line in lines)
    assert build_method("fine", {}).stages == ()
    with pytest.raises(PluginError, match="uninstall one of them"):
        build_method("twice", {})
    with pytest.raises(ModelNotFoundError, match="did you mean"):
        build_method("protonett", {})
    assert build_backbone("bare").name == "mine"


def test_a_name_that_is_taken_is_refused() -> None:
    table: Registry[type] = Registry("thing", {"a": int})
    table["b"] = str
    table["b"] = str  # a cell of a notebook that is run again
    with pytest.raises(ArgumentError, match="there is a thing 'a' already"):
        table["a"] = str
    assert len(table) == 2


def test_what_breaks_the_contract_is_found() -> None:
    from a2m2_zoo.backbones.tiny import build_tiny

    def bad(**changes: object) -> object:
        made = build_tiny().eval()
        for name, value in changes.items():
            setattr(made, name, value)
        return made

    for changes, said in (
        ({"stages": {}}, "no feature maps"),
        ({"stages": {"s14": 9, "s7": 16}}, "the maps of 's14' have the shape"),
        ({"pooled_channels": 4}, "the pooled vectors have the shape"),
        ({"training": True}, "training mode"),
        ({"default_preprocess": {"size": 64}}, "expected mean, std, size"),
    ):
        with pytest.raises(AssertionError, match=said):
            check_backbone(bad(**changes))  # type: ignore[arg-type]
    check_backbone("tiny")


def test_nothing_is_imported_before_a_name_is_looked_up(installed: Path) -> None:
    code = (
        "import sys; from a2m2_zoo.cli import main; main(['--help']); "
        "print([m for m in ('torch', 'timm', 'transformers', 'torchvision', 'a2m2_plugin_example') "
        "if m in sys.modules])"
    )
    path = os.pathsep.join([str(installed), str(ROOT)])
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout.splitlines()[-1] == "[]"


def test_the_files_are_short() -> None:
    for name in ("method", "backbone"):
        text = (PLUGIN / "a2m2_plugin_example" / f"{name}.py").read_text()
        lines = [
            line
            for line in text.splitlines()
            if line.strip() and not line.startswith(("import", "from"))
        ]
        assert len(lines) <= 30, name
