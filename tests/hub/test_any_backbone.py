"""Backbones of other libraries through the whole line: name, answer, file, training, comparison."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from clip_maker import register
from hub_server import COMMIT, Fault, Hub, Repo, environment
from library_maker import files_of, hf_name, weights_of
from safetensors.torch import load_file, save_file

from a2m2_zoo import SupportBank, build_bank, classify, load_model
from a2m2_zoo.backbones import build_backbone
from a2m2_zoo.cli import main
from a2m2_zoo.errors import A2M2Error
from a2m2_zoo.methods import build_method
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.spotting import Stream
from a2m2_zoo.synthetic import ClipFormat, draw_clip, draw_named, write_dataset
from a2m2_zoo.zoo.any_backbone import find_backbone
from a2m2_zoo.zoo.export import export_model

pytestmark = pytest.mark.usefixtures("seen_once", "few")

FILES = [
    "timm:test_resnet", "timm:test_efficientnet", "timm:test_convnext", "timm:test_vit",
    "torchvision:shufflenet_v2_x0_5", "open_clip:small-vit",
]  # fmt: skip
ON_THE_HUB = [
    "org/dinov2", "org/dinov2-reg", "org/dinov3", "org/siglip", "org/siglip2", "org/clip",
    "org/videomae", "org/vjepa2", "org/timesformer", "org/xclip",
]  # fmt: skip
OWN = ["backbone:lite"]
SMALL = [
    *("--steps", "1", "--hold-out", "0.5", "--device", "cpu", "--workers", "1"),
    *("--set", "way=2", "--set", "query=1", "--set", "batch=1", "--set", "warmup=0"),
    *("--set", "validate_shots=[1]", "--set", "validate_episodes=10"),
]


@pytest.fixture(autouse=True, scope="module")
def small_clip() -> None:
    register()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four classes of two clips, 64 pixels wide."""
    out = tmp_path_factory.mktemp("any") / "clips"
    write_dataset(out, classes=4, clips=2, style="stick", form=ClipFormat(size=64, frames=8))
    return out


def named(name: str, hub: Hub, folder: Path) -> str:
    """What ``load_model`` takes, with what stands behind it put in its place."""
    if "/" in name and ":" not in name:
        hub.repos[name] = Repo({COMMIT: files_of(name)}, head=COMMIT)
        return hf_name(name)
    if name.startswith("backbone:"):
        return name  # with the weights that it is built with
    return f"{name}@{weights_of(name, folder)}"


def answer(model: Model | str) -> dict[str, float]:
    clips = {label: [draw_clip(3, i, 0, frames=8)] for i, label in enumerate(("kick", "wave"))}
    return dict(classify(draw_clip(3, 0, 1, frames=8), clips, model=model).probabilities)


@pytest.mark.parametrize("name", [*FILES, *ON_THE_HUB, *OWN])
def test_the_whole_line(
    name: str, hub: Hub, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = load_model(named(name, hub, tmp_path), device="cpu")
    assert model.origin == "training-free"
    assert model.steps == model.backbone.steps(model.preprocess.frames)
    first = answer(model)

    (tmp_path / "saved").mkdir()
    model.save(tmp_path / "saved" / "model.safetensors")
    hub.repos.clear()
    again = load_model(tmp_path / "saved", device="cpu", offline=True)
    assert answer(again) == first
    assert again.backbone.name == model.backbone.name

    where, cache = str(tmp_path / "saved"), ["--cache", str(tmp_path / "cache")]
    run = str(tmp_path / "run")
    assert main(["train", str(data), "--model", where, "--out", run, *cache, *SMALL]) == 0
    trained = load_model(run, device="cpu", offline=True)
    assert trained.origin == "trained"
    assert trained.backbone_hash == model.backbone_hash
    assert answer(trained).keys() == first.keys()
    capsys.readouterr()
    compared = ["compare", str(data), "--model", run, "--methods", "a2m2,otam", "--json"]
    few = ["--no-pose", "--episodes", "10", "--shot", "1", "--way", "2", "--device", "cpu", *cache]
    assert main([*compared, *few]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert {result["method"] for result in results} == {"a2m2", "otam"}


@pytest.mark.parametrize(
    ("name", "to"),
    [
        ("timm:test_resnet", "torch-export"), ("torchvision:shufflenet_v2_x0_5", "torch-export"),
        ("open_clip:small-vit", "torch-export"), ("org/videomae", "torch-export"),
        ("org/siglip2", "torch-export"), ("org/siglip2", "onnx"), ("org/dinov3", "onnx"),
    ],
)  # fmt: skip
def test_each_library_and_family_is_exported(name: str, to: str, hub: Hub, tmp_path: Path) -> None:
    model = load_model(named(name, hub, tmp_path), device="cpu", pose=False)
    plain = replace(model, method=build_method("protonet", {}).eval(), method_name="protonet")
    made = export_model(plain, tmp_path / "exported", to=to)
    assert made.differences["encoder"]["mean"] < 1e-5


def test_another_process_finds_all_it_needs_in_the_folder(hub: Hub, tmp_path: Path) -> None:
    model = load_model(named("org/videomae", hub, tmp_path), device="cpu")
    (tmp_path / "saved").mkdir()
    model.save(tmp_path / "saved" / "model.safetensors")
    code = (
        "import sys; from a2m2_zoo import load_model; model = load_model(sys.argv[1], device='cpu'); "
        "print(model.backbone_hash, model.steps, model.backbone.name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "saved")],
        env={**environment(hub, tmp_path / "empty"), "HF_HUB_OFFLINE": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == [model.backbone_hash, "4", hf_name("org/videomae")], done.stderr
    assert "Loading" not in done.stderr


def test_a_long_video_is_spotted_by_a_backbone_that_mixes_frames(hub: Hub, tmp_path: Path) -> None:
    model = load_model(named("org/videomae", hub, tmp_path), device="cpu", pose=False)
    names = ("kick", "squat")
    bank = build_bank({n: [draw_named(n, 0, studio=2, size=64)] for n in names}, model=model)
    clip = draw_named("kick", 1, frames=24, studio=2, size=64)
    windows: list[Any] = []
    stream = Stream(
        model, bank, window=1.0, stride=0.5, reject_below=0.0, on_windows=windows.extend
    )
    for i, frame in enumerate(clip):
        stream.push(frame, i / 16)
    stream.close()
    assert len(windows) == 2
    whole = classify(clip[:16:2], bank, model=model)  # what the slots of the first second show
    first = dict(zip(bank.class_names, windows[0].probabilities, strict=True))
    assert first == pytest.approx(dict(whole.probabilities), abs=1e-6)


def refused(name: str, **options: Any) -> str:
    with pytest.raises(A2M2Error) as caught:
        load_model(name, device="cpu", **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_names_that_are_refused(hub: Hub, tmp_path: Path) -> None:
    assert "expected hf:ORG/NAME@COMMIT" in refused("hf:org/name")
    assert "expected hf:ORG/NAME@COMMIT" in refused("hf:org/name@main")
    assert "came with no weights" in refused("timm:resnet10t")
    assert "no repository of its own" in refused(f"torchvision:resnet18@{COMMIT}")
    assert "is a pickle" in refused("timm:resnet10t@weights.pth")
    assert "cannot read" in refused("timm:resnet10t@none.safetensors")
    assert "did you mean tiny" in refused("backbone:tinny")
    assert "brings no weights" in refused("backbone:resnet50")
    assert hub.count() == 0
    own = tmp_path / "own.safetensors"
    state = build_backbone("resnet50").state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, own)
    assert find_backbone(f"backbone:resnet50@{own}").path == own

    files = files_of("org/dinov2")
    pickle = {k: v for k, v in files.items() if k != "model.safetensors"}
    hub.repos["org/pickle"] = Repo({COMMIT: {**pickle, "pytorch_model.bin": b"\x80\x04."}})
    assert "as a pickle only (pytorch_model.bin)" in refused(hf_name("org/pickle"))
    shards = {**pickle, "model.safetensors.index.json": b"{}"}
    hub.repos["org/shards"] = Repo({COMMIT: shards})
    assert "is no index" in refused(hf_name("org/shards"))
    hub.repos["org/dinov2"] = Repo({COMMIT: files})
    assert "where " + "0" * 64 in refused(hf_name("org/dinov2"), sha256="0" * 64)
    hub.repos["org/none"] = Repo({COMMIT: {"config.json": files["config.json"]}})
    assert "preprocessor_config.json" in refused(hf_name("org/none"))
    hub.repos["org/bad"] = Repo({COMMIT: {**files, "config.json": b"{"}})
    assert "config.json of org/bad is not JSON" in refused(hf_name("org/bad"))
    assert "org/other" in refused(hf_name("org/other"))


def test_weights_of_a_library_come_from_its_own_repository(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = weights_of("timm:resnet10t", tmp_path).read_bytes()
    hub.repos["timm/resnet10t.c3_in1k"] = Repo({COMMIT: {"model.safetensors": weights}})
    name = f"timm:resnet10t.c3_in1k@{COMMIT}"
    assert main(["models", "pull", name]) == 0
    assert "resnet10t" in capsys.readouterr().out
    before = hub.count()
    assert main(["models", "pull", name, "--to", str(tmp_path / "pulled")]) == 0
    assert hub.count() == before
    model = load_model(tmp_path / "pulled", device="cpu", offline=True)
    assert model.backbone.name == "timm:resnet10t.c3_in1k"
    assert model.preprocess.mean == tuple(model.backbone.default_preprocess["mean"])


def test_a_model_on_such_a_backbone_is_published_and_pulled(hub: Hub, tmp_path: Path) -> None:
    model = load_model(named("org/vjepa2", hub, tmp_path), device="cpu", pose=False)
    (tmp_path / "saved").mkdir()
    model.save(tmp_path / "saved" / "model.safetensors")
    hub.repos.clear()
    log_in = ["models", "publish", str(tmp_path / "saved"), "--repo", "org/mine"]
    terms = ["--license", "apache-2.0", "--data", "drawn clips"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_TOKEN", hub.token)
        assert main([*log_in, *terms]) == 0
    commit = hub.repos["org/mine"].head
    found = load_model(f"hf-hub:org/mine@{commit}", device="cpu", pose=False)
    assert answer(found) == answer(load_model(tmp_path / "saved", device="cpu", pose=False))


def test_what_the_hub_announces_is_compared_where_nobody_else_has_a_hash(
    hub: Hub, tmp_path: Path
) -> None:
    name = named("org/dinov2", hub, tmp_path)
    hub.faults.append(Fault(flip=True))
    assert "was announced" in refused(name)


def test_a_bank_opens_its_model_by_the_name_it_was_given(
    hub: Hub, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, weights = "timm:test_resnet", weights_of("timm:test_resnet", tmp_path)
    pinned = f"timm:resnet10t.c3_in1k@{COMMIT}"
    published = {"model.safetensors": weights_of("timm:resnet10t", tmp_path).read_bytes()}
    hub.repos["timm/resnet10t.c3_in1k"] = Repo({COMMIT: published})
    for kind in sorted(path for path in data.iterdir() if path.is_dir())[:2]:
        (tmp_path / "two" / kind.name).mkdir(parents=True)
        shutil.copy(min(kind.iterdir()), tmp_path / "two" / kind.name)
    two, bank = tmp_path / "two", str(tmp_path / "bank.safetensors")
    clip = str(next(two.rglob("*.mp4")))
    asked = ["classify", clip, "--supports", bank, "--device", "cpu", "--no-pose"]
    for name in (pinned, f"{plain}@{weights}"):
        made = ["bank", "create", str(two), "--model", name, "-o", bank, "--force", "--json"]
        assert main(made) == 0
        assert json.loads(capsys.readouterr().out)["opened_as"] == name
        assert main([*asked, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)[0]["label"] == Path(clip).parent.name
    saved = SupportBank.load(bank)
    assert saved.remove(saved.class_names[0]).add(saved).opened_as == f"{plain}@{weights}"

    moved = weights.rename(tmp_path / "elsewhere.safetensors")
    assert main(asked) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"a2m2: the bank was made by model '{plain}@{weights}'")
    assert said.count("\n") == 1
    assert main([*asked, "--model", f"{plain}@{moved}"]) == 0
    tensors = load_file(moved)
    save_file({k: v + 1 if v.is_floating_point() else v for k, v in tensors.items()}, weights)
    assert main(asked) == 2
    assert "the model in use is 'timm:test_resnet'" in capsys.readouterr().err
    replace(saved, opened_as="").save(bank)  # as earlier versions wrote it
    assert main(asked) == 2
    assert "the bank was made by model 'timm:test_resnet'" in capsys.readouterr().err


def test_such_names_are_shown_and_verified(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(command: str, name: str, code: int = 0) -> Any:
        assert main(["models", command, name, "--json"]) == code
        return json.loads(capsys.readouterr().out)

    of_hub = named("org/dinov2", hub, tmp_path)
    config, *rest = told("verify", of_hub)
    assert (config["state"], rest) == ("missing", [])
    assert hub.count() == 0
    shown = told("show", of_hub)
    assert (shown["id"], shown["name"], shown["origin"]) == (of_hub, of_hub, "training-free")
    rows = told("verify", of_hub)
    assert [Path(row["path"]).name for row in rows] == [
        "config.json", "preprocessor_config.json", "model.safetensors"
    ]  # fmt: skip
    assert rows[-1]["state"] == "ok"
    weights = Path(rows[-1]["path"])
    data = bytearray(weights.read_bytes())
    data[-2] ^= 1
    weights.write_bytes(data)
    assert told("verify", of_hub, 1)[-1]["state"] == "damaged"

    of_file = named("timm:test_resnet", hub, tmp_path)
    (row,) = told("verify", of_file)
    assert (row["state"], row["path"]) == ("unchecked", of_file.partition("@")[2])
    assert told("show", of_file)["weights_hash"] == load_model(of_file).weights_hash
