from __future__ import annotations

import contextlib
import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2m2_zoo import list_models
from a2m2_zoo.errors import CheckpointError, ModelNotFoundError
from a2m2_zoo.hub.manifest import package_file, parse_manifest, read_manifest

RAW: dict[str, Any] = json.loads(package_file("weights_manifest.json").read_bytes())


def test_every_file_is_there_with_its_size_and_hash() -> None:
    manifest = read_manifest()
    entries = [*manifest.backbones.values(), *manifest.models.values()]
    assert entries
    for entry in entries:
        data = package_file(entry.file).read_bytes()
        assert len(data) == entry.size, entry.id
        assert hashlib.sha256(data).hexdigest() == entry.sha256, entry.id


def test_measured_metrics_carry_what_repeats_them() -> None:
    for entry in read_manifest().models.values():
        for metric in entry.metrics:
            assert set(metric) == {
                "kind", "data", "way", "shot", "episodes", "seed", "accuracy", "interval", "receipt",
            }  # fmt: skip
            assert metric["kind"] == "measured"


def test_the_nearest_names_are_offered() -> None:
    assert list_models()[0] == "a2m2-lite0"
    with pytest.raises(ModelNotFoundError, match="did you mean a2m2-lite0"):
        read_manifest().model("a2m2-lite")


def change(path: list[Any], value: Any) -> Any:
    raw = copy.deepcopy(RAW)
    at = raw
    for key in path[:-1]:
        at = at[key]
    if value is None:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return raw


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["schema"], 2, "manifest.schema is 2; this version reads 1"),
        (["extra"], 1, "manifest.extra is not a known key"),
        (["models"], None, "manifest.models is missing"),
        (["models"], {}, "manifest.models is dict; expected a list"),
        (["models", 0, "licence"], "x", r"models\[a2m2-lite0\].licence is not a known key"),
        (["models", 0, "sha256"], None, r"models\[a2m2-lite0\].sha256 is missing"),
        (["models", 0, "size"], "big", r"size is str; expected int"),
        (["models", 0, "size"], True, r"size is bool; expected int"),
        (["models", 0, "sha256"], "ABC", "sha256 is not 64 lower-case hex digits"),
        (["models", 0, "status"], "rumoured", "status is 'rumoured'; expected one of"),
        (["models", 0, "backbone"], "none", "names 'none', which is not listed"),
        (["models", 0, "file"], "../../etc/passwd", "expected a path inside the package"),
        (["models", 0, "file"], "/etc/passwd", "expected a path inside the package"),
        (["models", 0, "file"], "C:\\x", "expected a path inside the package"),
        (["models", 0], "x", r"manifest.models\[0\] is str; expected an object"),
    ],
)
def test_refusals_name_the_key(path: list[Any], value: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        parse_manifest(change(path, value))


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


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["schema", "models", "backbones", "id", "file", "sha256", "x"]), inner
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_no_json_value_gets_past_as_anything_but_a_checkpoint_error(raw: Any) -> None:
    with contextlib.suppress(CheckpointError):
        parse_manifest(raw)
