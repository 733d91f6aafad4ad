"""Banks and embeddings that were made with people, and without: never put together without a word."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from a2m2_zoo import Embeddings, Recognizer, SupportBank, build_bank, classify, load_model
from a2m2_zoo.cli import main
from a2m2_zoo.errors import ArgumentError, BankError
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.synthetic import draw_named

pytestmark = pytest.mark.usefixtures("seen_once")

NAMES = ("kick", "squat", "wave")
SUPPORTS = {name: [draw_named(name, i, studio=2) for i in range(2)] for name in NAMES}
QUERIES = [draw_named(name, 5, studio=2) for name in NAMES]


@pytest.fixture(scope="module")
def plain() -> Model:
    """Looks for nobody."""
    return load_model(pose=False)


@pytest.fixture(scope="module")
def bank() -> SupportBank:
    return build_bank(SUPPORTS)


@pytest.fixture(scope="module")
def without(plain: Model) -> SupportBank:
    return build_bank(SUPPORTS, model=plain)


def test_a_model_that_looks_for_nobody_takes_no_people_from_a_bank(
    plain: Model, bank: SupportBank, without: SupportBank
) -> None:
    expected = classify(QUERIES, SUPPORTS, model=plain)
    assert classify(QUERIES, bank, model=plain) == expected
    assert Recognizer(plain, bank).classify(QUERIES) == expected
    assert classify(QUERIES, without, model=plain) == expected
    assert expected != classify(QUERIES, bank)  # people do count here
    assert not any(answer.warnings for answer in expected)


def test_a_bank_without_people_is_answered_without(
    plain: Model, bank: SupportBank, without: SupportBank
) -> None:
    expected = classify(QUERIES, without, model=plain)
    assert classify(QUERIES, without) == expected  # by the model that it names
    told = classify(QUERIES, without, model=load_model())
    for answer, right in zip(told, expected, strict=True):
        assert answer.probabilities == right.probabilities
        assert answer.known == right.known
        assert any("encoded without people" in line for line in answer.warnings)
    # What was looked for and not found is something else.
    nobody = replace(
        bank, descriptors={**bank.descriptors, "people": bank.descriptors["people"] * 0}
    )
    assert "without people" not in str(classify(QUERIES[0], nobody).warnings)


def test_no_pose_on_the_command_line_is_the_same_with_a_bank(
    demonstration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    supports, queries = str(demonstration / "supports"), str(demonstration / "queries")
    file = str(tmp_path / "bank.safetensors")
    assert main(["bank", "create", supports, "--out", file]) == 0
    found = []
    for given in (file, supports):
        capsys.readouterr()
        assert main(["classify", queries, "--supports", given, "--no-pose", "--json"]) == 0
        answers = json.loads(capsys.readouterr().out)
        found.append([(answer["probabilities"], answer["known"]) for answer in answers])
    assert found[0] == found[1]


def test_banks_with_and_without_people_do_not_mix(
    bank: SupportBank, without: SupportBank, demonstration: Path, tmp_path: Path
) -> None:
    for one, other in ((bank, without), (without, bank)):
        with pytest.raises(BankError, match="with people, the other without"):
            one.add(other)
    # The command line goes by the bank that is there.
    file = without.save(tmp_path / "bank.safetensors")
    assert main(["bank", "add", str(file), str(demonstration / "supports")]) == 0
    assert "people" not in SupportBank.load(file).descriptors


def test_embeddings_with_and_without_people_do_not_mix(plain: Model, bank: SupportBank) -> None:
    model = load_model()
    seen, unseen = model.embed(QUERIES), plain.embed(QUERIES)
    for one, other in ((seen, unseen), (unseen, seen), (unseen, bank)):
        with pytest.raises(ArgumentError, match="with people and others without"):
            model.similarity(one, other)
    with pytest.raises(ArgumentError, match="with people and others without"):
        Embeddings.concatenate([seen, unseen])
    # A model that looks for nobody compares pictures alone, whatever it is given.
    expected = plain.similarity(unseen)
    assert plain.similarity(seen, unseen).equal(expected)
    assert expected.diagonal().tolist() == [1.0] * len(QUERIES)
    assert bank.search(QUERIES[0], 2, model=plain) == build_bank(SUPPORTS, model=plain).search(
        QUERIES[0], 2, model=plain
    )
    assert not np.allclose(expected.numpy(), model.similarity(seen).numpy(), atol=1e-3)
