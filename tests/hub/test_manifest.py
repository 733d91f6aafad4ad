from __future__ import annotations

import contextlib
import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2m2_zoo import list_models, load_model
from a2m2_zoo.backbones import build_backbone
from a2m2_zoo.data.benchmarks import list_benchmarks
from a2m2_zoo.errors import (
    ArgumentError,
    CheckpointError,
    ModelNotFoundError,
    WeightsNotReleased,
)
from a2m2_zoo.hub.fetch import fetch
from a2m2_zoo.hub.manifest import Paper, json_schema, package_file, parse_manifest, read_manifest
from a2m2_zoo.hub.source import Source
from a2m2_zoo.training.recipes import recipe

RAW: dict[str, Any] = json.loads(package_file("weights_manifest.json").read_bytes())


LITE, FREE = 0, 1
PLANNED = next(i for i, m in enumerate(RAW["models"]) if m["status"] == "planned")
COMPUTED = next(i for i, m in enumerate(RAW["models"]) if m["status"] == "computed")
CLIP = next(i for i, b in enumerate(RAW["backbones"]) if b["id"] == "clip-vit-b-16")
HUB = {"repo_id": "org/name", "commit": "0" * 40, "file": "model.safetensors"}


def test_every_file_is_there_with_its_size_and_hash() -> None:
    manifest = read_manifest()
    entries = [*manifest.backbones.values(), *manifest.models.values()]
    local = [entry for entry in entries if entry.source and entry.source.repo_id is None]
    assert len(local) >= 4
    for entry in local:
        assert entry.source is not None
        data = fetch(entry.source, root=manifest.root).read_bytes()
        assert len(data) == entry.size, entry.id
        assert hashlib.sha256(data).hexdigest() == entry.sha256, entry.id


def test_the_benchmarks_are_listed_for_every_method() -> None:
    listed = {
        (m.method, read_manifest().backbones[m.backbone].architecture, m.benchmark)
        for m in read_manifest().models.values()
    }
    for benchmark in list_benchmarks():
        for method, backbone in (
            ("a2m2", "resnet50"),
            ("a2m2", "clip:ViT-B-16-quickgelu"),
            ("molo", "resnet50"),
            ("clip-fsar", "clip:RN50-quickgelu"),
        ):
            assert (method, backbone, benchmark) in listed


def test_planned_entries_say_what_their_recipe_would_make() -> None:
    for entry in read_manifest().models.values():
        if entry.status == "planned" and entry.backbone == "resnet50-imagenet":
            made = recipe(entry.id)
            head = made.build_method(build_backbone("resnet50"))
            assert head.config.to_dict() == entry.config, "run tools/write_manifest.py"
            assert made.preprocess.to_dict() == entry.preprocess
            assert f"--recipe {entry.id} " in str(entry.trained_with)


def test_the_nearest_names_are_offered() -> None:
    assert list_models()[0] == "a2m2-lite0"
    assert not set(list_models()) & {
        m.id for m in read_manifest().models.values() if m.status == "planned"
    }
    with pytest.raises(ModelNotFoundError, match="did you mean a2m2-lite0"):
        read_manifest().model("a2m2-lite")


def change(path: list[Any], value: Any) -> Any:
    raw = copy.deepcopy(RAW)
    at = raw
    for key in path[:-1]:
        at = at[key]
    if value is MISSING:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return raw


MISSING = object()
PAPER = {"kind": "paper", "data": "x", "way": 5, "shot": 1, "accuracy": 50.0, "citation": "a paper"}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["schema"], 1, "manifest.schema is 1; this version reads 2"),
        (["schema"], True, "manifest.schema is True"),
        (["extra"], 1, "manifest.extra is not a known key"),
        (["models"], MISSING, "manifest.models is missing"),
        (["models"], {}, "manifest.models is dict; expected a list"),
        (["models", LITE], "x", r"manifest.models\[0\] is .x.; expected an object"),
        (["models", LITE, "licence"], "x", r"models\[a2m2-lite0\].licence is not a known key"),
        (["models", LITE, "sha256"], MISSING, r"models\[a2m2-lite0\].sha256 is missing"),
        (["models", LITE, "sha256"], None, "sha256 is null; a file is loaded only with its hash"),
        (["models", LITE, "sha256"], "ABC", "expected 64 lower-case hex digits"),
        (["models", LITE, "size"], "big", "size is 'big'; expected a number of bytes"),
        (["models", LITE, "size"], True, "size is True; expected a number of bytes"),
        (["models", LITE, "size"], 0, "size is 0; expected a number of bytes"),
        (["models", LITE, "size"], None, "size is null; expected a number of bytes"),
        (["models", LITE, "id"], "A/b", "expected lower-case letters, digits, dots and dashes"),
        (["models", LITE, "summary"], "two\nlines", "expected one line of text"),
        (["models", LITE, "summary"], "", "expected one line of text"),
        (["models", LITE, "config"], [], "config is list; expected an object"),
        (["models", LITE, "status"], "rumoured", "status is 'rumoured'; expected one of"),
        (["models", LITE, "status"], "released", "does not fit status 'released'; expected a repo"),
        (["models", LITE, "status"], "planned", "does not fit status 'planned'; expected null"),
        (["models", LITE, "source"], HUB, "does not fit status 'embedded'"),
        (["models", LITE, "backbone"], "none", "names 'none', which is not listed"),
        (["models", LITE, "source"], None, "sha256 is given and .* is null"),
        (["models", LITE, "source", "file"], "../../a.safetensors", "inside its folder"),
        (["models", LITE, "source", "file"], "/etc/a.safetensors", "inside its folder"),
        (["models", LITE, "source", "file"], "C:\\x.safetensors", "inside its folder"),
        (["models", LITE, "source", "file"], "weights/x.pt", "a .safetensors file"),
        (["models", LITE, "source", "branch"], "main", "source.branch is not a known key"),
        (["backbones", CLIP, "source", "commit"], "main", "a commit of 40 lower-case hex digits"),
        (["backbones", CLIP, "source", "commit"], MISSING, "source.commit is missing"),
        (["backbones", CLIP, "source", "repo_id"], "../x", "expected ORG/NAME"),
        (["backbones", CLIP, "source", "repo_id"], "a/b/c", "expected ORG/NAME"),
        (["backbones", CLIP, "source", "repo_id"], "a/b..c", "expected ORG/NAME"),
        (["models", PLANNED, "trained_with"], None, "expected the command that would train it"),
        (["models", PLANNED, "metrics"], [RAW["models"][LITE]["metrics"][0]], "is planned"),
        (["models", COMPUTED, "source"], {"file": "a.safetensors"}, "sha256 is null"),
        (["models", LITE, "metrics"], {}, "metrics is dict; expected a list"),
        (["models", LITE, "metrics"], [{"kind": "guessed"}], "expected one of measured, paper"),
        (["models", LITE, "metrics", 0, "receipt"], MISSING, r"metrics\[0\].receipt is missing"),
        (["models", LITE, "metrics", 0, "accuracy"], 101, "expected a number from 0 to 100"),
        (["models", LITE, "metrics", 0, "accuracy"], float("nan"), "expected a number from 0"),
        (["models", LITE, "metrics", 0, "shot"], 1.5, "expected a whole number from 1"),
        (["models", PLANNED, "metrics"], [{**PAPER, "seed": 1}], "seed is not a known key"),
    ],
)
def test_refusals_name_the_key(path: list[Any], value: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        parse_manifest(change(path, value))


def test_a_planned_model_may_have_a_figure_of_its_paper() -> None:
    entry = parse_manifest(change(["models", PLANNED, "metrics"], [PAPER]))
    assert list(entry.models.values())[PLANNED].metrics == [Paper(*list(PAPER.values())[1:])]


@pytest.mark.parametrize("half", ["\\ud800", "a\\udfffb"])
def test_half_a_character_is_refused_as_a_key_and_as_a_value(half: str) -> None:
    """JSON can name one by its number; it is no text that anything else could take."""
    text = json.loads(f'"{half}"')
    key = copy.deepcopy(RAW)
    key["models"][0][text] = 1
    with pytest.raises(CheckpointError, match=r"manifest has .* expected text of whole characters"):
        parse_manifest(key)
    with pytest.raises(CheckpointError, match=r"summary is .* expected one line of text"):
        parse_manifest(change(["models", 0, "summary"], text))


def test_an_entry_listed_twice_is_refused() -> None:
    raw = copy.deepcopy(RAW)
    raw["models"].append(raw["models"][0])
    with pytest.raises(CheckpointError, match="is listed twice"):
        parse_manifest(raw)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot read the manifest"):
        read_manifest(tmp_path / "none.json")
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    with pytest.raises(CheckpointError, match="is not JSON"):
        read_manifest(broken)
    with broken.open("wb") as stream:
        stream.truncate(17 << 20)
    with pytest.raises(CheckpointError, match="the limit is"):
        read_manifest(broken)


def test_a_manifest_from_elsewhere_reaches_no_file_but_its_own(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "weights_manifest.json").write_text(json.dumps(RAW))
    listed = read_manifest(tmp_path / "weights_manifest.json")
    with pytest.raises(CheckpointError, match="cannot read"):  # ours has this very name
        load_model("a2m2-lite0", manifest=tmp_path / "weights_manifest.json")
    outside = tmp_path.parent / "outside.safetensors"
    outside.write_bytes(b"")
    (tmp_path / "link.safetensors").symlink_to(outside)
    with pytest.raises(CheckpointError, match="lies outside its folder"):
        fetch(Source("link.safetensors"), root=listed.root)


def test_planned_models_say_how_to_train_them() -> None:
    with pytest.raises(
        WeightsNotReleased, match=r"a2m2 train VIDEOS .*--recipe molo-resnet50-hmdb51"
    ):
        load_model("molo-resnet50-hmdb51")


def test_hub_names_need_a_commit_and_hashes_64_digits() -> None:
    for name in ("hf-hub:org/name", "hf-hub:org/name@main", "hf-hub:org@" + "0" * 40):
        with pytest.raises(ModelNotFoundError, match="expected hf-hub:ORG/NAME@COMMIT"):
            load_model(name)
    with pytest.raises(ArgumentError, match="expected 64 lower-case hex digits"):
        load_model("a2m2-lite0", sha256="A")
    with pytest.raises(ArgumentError, match="where the manifest announces"):
        load_model("a2m2-lite0", sha256="0" * 64)


def schema() -> Any:
    return json.loads(package_file("hub/manifest.schema.json").read_bytes())


def test_the_schema_is_that_of_the_structs_is_sound_and_takes_the_manifest() -> None:
    assert schema() == json_schema(), "run tools/write_manifest.py"
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.Draft202012Validator(schema()).validate(RAW)


words = st.sampled_from(
    ["", "a", "a b", "org/name", "0" * 40, "a" * 64, "x.safetensors", "embedded"]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 200) | st.floats(allow_nan=False) | words,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["schema", "models", "backbones", "id", "file", "sha256", "kind"]),
            inner,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_no_json_value_gets_past_as_anything_but_a_checkpoint_error(raw: Any) -> None:
    with contextlib.suppress(CheckpointError):
        parse_manifest(raw)


def spots(raw: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The place of every value."""
    items = raw.items() if isinstance(raw, dict) else enumerate(raw)
    inner = [
        spot
        for key, value in items
        if isinstance(value, (dict, list)) and key not in ("config", "preprocess")
        for spot in spots(value, (*at, key))
    ]
    keys = raw if isinstance(raw, dict) else range(len(raw))
    return [(*at, key) for key in keys] + inner


SHORT = {**RAW, "models": [RAW["models"][i] for i in (LITE, PLANNED, COMPUTED)]}
SPOTS = spots(SHORT)


@settings(max_examples=300)
@given(st.sampled_from(SPOTS), json_values | st.just(MISSING))
def test_the_schema_refuses_nothing_that_is_read(spot: tuple[Any, ...], value: Any) -> None:
    raw = copy.deepcopy(SHORT)
    at: Any = raw
    for key in spot[:-1]:
        at = at[key]
    if value is MISSING:
        del at[spot[-1]]
    else:
        at[spot[-1]] = value
    try:
        parse_manifest(raw)
    except CheckpointError:
        return
    jsonschema.Draft202012Validator(schema()).validate(raw)
