"""A bank's file: what is in it is what was put in, or it is refused."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from makers_files import bank, bank_parts, endless, forged, within
from safetensors.torch import save_file

from a2m2_zoo import load_model
from a2m2_zoo.backbones import Features
from a2m2_zoo.errors import ArgumentError, BankError, CheckpointError, SaveError
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.recognition.bank import SupportBank, UncheckedBankWarning
from a2m2_zoo.recognition.support_set import SupportSet

pytestmark = pytest.mark.usefixtures("seen_once")

INF, NAN = float("inf"), float("nan")


def same(a: SupportBank, b: SupportBank) -> bool:
    tensors, record = bank_parts(a)
    others, other = bank_parts(b)
    return record == other and all(torch.equal(tensors[n], others[n]) for n in tensors | others)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return bank().save(tmp_path / "bank.safetensors")


def test_every_flipped_bit_is_noticed(file: Path) -> None:
    raw, sound, chance = file.read_bytes(), bank(), random.Random(0)
    header = 8 + int.from_bytes(raw[:8], "little")
    bits = [
        *range(64, 8 * header, 7),
        *(chance.randrange(8 * header, 8 * len(raw)) for _ in range(60)),
    ]
    silent = 0
    for bit in bits:
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        try:
            found = SupportBank.load(file)  # a warning would fail the test
        except BankError:
            continue
        assert same(found, sound), f"bit {bit}"
        silent += 1
    assert silent < len(bits) / 50  # of a letter's case in an escape, say


def test_a_bank_of_an_earlier_version_is_read_with_a_warning(tmp_path: Path) -> None:
    tensors, record = bank_parts(bank())
    own = json.dumps({"format": 1, "kind": "bank", "record": record})
    save_file(tensors, tmp_path / "old.safetensors", metadata={"a2m2_zoo": own})
    with pytest.warns(UncheckedBankWarning, match="no hash of its content"):
        found = SupportBank.load(tmp_path / "old.safetensors")
    assert same(found, bank())
    found.save(tmp_path / "new.safetensors")
    assert same(SupportBank.load(tmp_path / "new.safetensors"), found)  # without a warning


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_numbers_that_are_none_are_neither_written_nor_read(tmp_path: Path, value: float) -> None:
    tensors, record = bank_parts(bank())
    tensors["descriptor.pooled"][1, 2] = value
    path = forged(tmp_path / "b.safetensors", record, tensors, kind="bank")
    with pytest.raises(BankError, match=r"not finite, in 'descriptor.pooled'"):
        SupportBank.load(path)
    with pytest.raises(SaveError, match="not finite"):
        checkpoint.save(tmp_path / "c.safetensors", tensors, kind="bank", record=record)
    with pytest.raises(SaveError, match="cannot be saved"):
        checkpoint.save(tmp_path / "c.safetensors", {}, kind="bank", record={"x": value})
    assert not (tmp_path / "c.safetensors").exists()


RECORDS: dict[str, Any] = {
    "labels": [[INF, 0, 1], [10**400, 0, 1], [-1, 0, 1], [0.5, 0, 1], [True, 0, 1], ["0"], {}, 3],
    "class_names": [[1, 2], ["a"], "ab", [["a"], ["b"]], ["a" * 10_000, "b"], {"a": 0, "b": 1}],
    "sources": [[1, 2, 3], [], [None] * 3, "abc"],
    "durations": [[1e300] * 3, [-1.0] * 3, [INF] * 3, ["1"] * 3, [[]] * 3, [10**17] * 3, 3, {}],
    "shapes": [
        [[3]] * 3,
        [[3, 5]],
        [[0, 5]] * 3,
        [[3, 1 << 40]] * 3,
        [[3.0, 5]] * 3,
        [3] * 3,
        "ab",
        {},
    ],
    "model": [7, None, ["m"], "m" * 10_000],
    "weights_hash": [7, None, {"a": 1}],
}


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, vs in RECORDS.items() for v in vs])
def test_no_value_of_a_record_is_believed(tmp_path: Path, key: str, value: Any) -> None:
    tensors, record = bank_parts(bank())
    path = forged(tmp_path / "b.safetensors", {**record, key: value}, tensors, kind="bank")
    with within(5), pytest.raises(BankError) as caught:
        SupportBank.load(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_tensors_that_are_no_banks_are_refused(tmp_path: Path) -> None:
    tensors, record = bank_parts(bank())
    whole = torch.zeros(3, 4, dtype=torch.int64)
    for changed in (
        {"descriptor.pooled": whole},
        {"descriptor.pooled": torch.zeros(3)},
        {"descriptor.pooled": torch.zeros(2, 5)},
        {"thumbnails": torch.zeros(3, 0, 3, 4, 3, dtype=torch.uint8)},
        {"thumbnails": torch.zeros(3, 2, 3, 4, 3)},
    ):
        path = forged(tmp_path / "b.safetensors", record, {**tensors, **changed}, kind="bank")
        with pytest.raises(BankError, match="not a sound support bank"):
            SupportBank.load(path)


def test_only_files_of_bounded_size_are_read(tmp_path: Path) -> None:
    for path in endless(tmp_path, ".safetensors"):
        with within(5), pytest.raises(BankError, match=r"cannot read|the limit is"):
            SupportBank.load(path)


# Processes, each of which adds one support; forked after the imports, before torch has threads.
ADDERS = """
import os, sys
from dataclasses import replace
from makers_files import bank
from a2m2_zoo.recognition.bank import SupportBank
path = sys.argv[1]
def more(now):
    one = bank(1, classes=1)
    return now.add(replace(one, class_names=(f"added {number}",), sources=(f"{number}.mp4",)))
children = []
for number in range(int(sys.argv[2])):
    if not (child := os.fork()):
        SupportBank.update(path, more)
        os._exit(0)
    children.append(child)
sys.exit(any(os.waitpid(child, 0)[1] for child in children))
"""


def test_many_that_add_at_once_lose_nothing(file: Path) -> None:
    many = 50 if os.environ.get("A2M2_LONG") else 12
    here = str(Path(__file__).parents[1])  # where the makers are
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; sys.path.insert(0, {here!r})\n{ADDERS}",
            file,
            str(many),
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = SupportBank.load(file)
    assert set(found.class_names) == {*bank().class_names, *(f"added {i}" for i in range(many))}
    assert len(found.labels) == 3 + many
    assert list(file.parent.iterdir()) == [file]


def test_a_bank_that_is_not_there_cannot_be_changed(tmp_path: Path) -> None:
    with pytest.raises(BankError, match="No such file"):
        SupportBank.update(tmp_path / "no" / "b.safetensors", lambda bank: bank)
    assert list(tmp_path.iterdir()) == []


def test_what_fails_while_a_bank_is_changed_leaves_it_as_it_was(file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(BankError, match="has no class 'x'"):
        SupportBank.update(file, lambda bank: bank.remove(["x"]))
    with pytest.raises(ArgumentError, match="change gave None; expected the bank"):
        SupportBank.update(file, lambda bank: None)  # type: ignore[arg-type, return-value]
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_a_descriptor_of_another_name_or_shape_is_one_line() -> None:
    model = load_model("a2m2-lite0")
    found = {"moments": torch.zeros(2, 3, 6), "pooled": torch.zeros(2, 5)}
    labels = torch.tensor([0, 0, 1])
    wrong = {"renamed": torch.zeros(3, 3, 6), "pooled": torch.zeros(3, 5)}
    for call in (
        lambda: SupportSet.encoded(model, wrong, labels, way=2),
        lambda: model.pairs(found, wrong),
        lambda: model.frame_plans(found, wrong),
    ):
        with pytest.raises(BankError, match="are not what 'a2m2-lite0' computes") as caught:
            call()
        assert "\n" not in str(caught.value)


def test_descriptors_of_another_shape_are_one_line() -> None:
    model = load_model("a2m2-lite0")
    found = {"moments": torch.zeros(2, 3, 6), "pooled": torch.zeros(2, 5)}
    with pytest.raises(BankError, match="are not what 'a2m2-lite0' computes"):
        model.logits(found, found, labels=torch.tensor([0, 1]), way=2)


def test_a_model_that_gives_no_numbers_says_so() -> None:
    model = load_model("protonet-lite0")
    sound = model.method.encode(Features({}, torch.ones(1, 8, 1280)))
    found = {name: torch.full_like(value, NAN) for name, value in sound.items()}
    with pytest.raises(CheckpointError, match="scores that are not finite"):
        model.pairs(found, found)


def test_shapes_of_pictures_are_kept_where_all_are_known(tmp_path: Path) -> None:
    one, two = bank(2), bank(3)
    assert one.add(two).shapes == ((3, 5),) * 5
    assert two.remove("class 1").shapes == ((3, 5),) * 2
    tensors, record = bank_parts(two)
    del record["shapes"]  # as it was before there were such
    earlier = SupportBank.load(forged(tmp_path / "b.safetensors", record, tensors, kind="bank"))
    assert earlier.shapes == earlier.remove("class 1").shapes == one.add(earlier).shapes == ()
