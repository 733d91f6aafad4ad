"""The facts against the official lists and the class names that came with them."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from a2m2_zoo.data.benchmarks import (
    SPLITS,
    benchmark,
    fold,
    list_benchmarks,
    official_preprocess,
)
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.video import Preprocess

# Classes and videos of train, val, test, and the fewest and most videos of a class.
COUNTS = {
    "kinetics100": [(64, 6400, 100, 100), (12, 1200, 100, 100), (24, 2400, 100, 100)],
    "ssv2-full": [(64, 67013, 156, 3170), (12, 1926, 56, 360), (24, 2857, 17, 272)],
    "ssv2-small": [(64, 6400, 100, 100), (12, 1200, 100, 100), (24, 2400, 100, 100)],
    "hmdb51": [(31, 4280, 102, 548), (10, 1194, 102, 143), (10, 1292, 103, 232)],
    "ucf101": [(70, 9154, 100, 164), (10, 1421, 114, 167), (21, 2745, 109, 166)],
}


def rows(lists: Path, name: str, split: str) -> list[tuple[int, str]]:
    text = (lists / name.replace("-", "_") / f"{split}_few_shot.txt").read_text()
    found = [re.match(rf"{split}(\d+)//?(.+)", row) for row in text.split()]
    return [(int(match[1]), match[2]) for match in found if match]


def test_counts_are_the_published_ones() -> None:
    assert list_benchmarks() == list(COUNTS)
    for name, expected in COUNTS.items():
        splits = [benchmark(name).splits[split] for split in SPLITS]
        found = [(len(s.counts), s.videos, min(s.counts), max(s.counts)) for s in splits]
        assert found == expected, name


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("split", SPLITS)
def test_counts_are_those_of_the_lists(lists: Path, name: str, split: str) -> None:
    found = Counter(i for i, _ in rows(lists, name, split))
    assert tuple(found[i] for i in range(len(found))) == benchmark(name).splits[split].counts


@pytest.mark.parametrize("name", COUNTS)
def test_names_are_the_official_ones_and_those_of_the_folders(lists: Path, name: str) -> None:
    facts = benchmark(name)
    official = json.loads((lists / "classes.json").read_text())[name.replace("-", "_")]
    for split in ("train", "test"):
        assert list(facts.splits[split].classes or ()) == official[split]
    for split in SPLITS:
        for i, path in rows(lists, name, split):
            if "/" in path:
                assert fold(path.split("/")[-2]) == fold(facts.class_names(split)[i])


@pytest.mark.parametrize("name", COUNTS)
def test_classes_of_the_splits_are_disjoint_and_foldable(name: str) -> None:
    facts = benchmark(name)
    folded = [fold(c) for split in SPLITS for c in facts.class_names(split)]
    assert len(set(folded)) == len(folded)


def test_leaks_are_those_of_the_lists(lists: Path) -> None:
    videos = {
        (name, split): {path: i for i, path in rows(lists, name, split)}
        for name in ("ssv2-full", "ssv2-small")
        for split in SPLITS
    }
    facts = benchmark("ssv2-small")
    assert {leak.videos for leak in facts.leaks} == {200, 568, 4}
    for leak in facts.leaks:
        ours = videos["ssv2-small", leak.split]
        both = ours.keys() & videos[leak.benchmark, leak.other_split].keys()
        assert (len(both), len({ours[v] for v in both})) == (leak.videos, leak.classes)
    assert not benchmark("ssv2-full").leaks
    for split in ("val", "test"):
        evaluated = videos["ssv2-full", split].keys()
        assert not evaluated & videos["ssv2-small", "train"].keys()


def test_official_preprocessing_is_a_preprocessing() -> None:
    molo = Preprocess.from_dict(official_preprocess("molo"))
    assert (molo.crop, molo.resize, molo.size) == ("stretch-center", 256, 224)
    assert (molo.mean, molo.std) == ((0.45,) * 3, (0.225,) * 3)
    trx = Preprocess.from_dict(official_preprocess("trx"))
    assert (trx.crop, trx.mean, trx.std) == ("center", (0.0,) * 3, (1.0,) * 3)
    clip = Preprocess.from_dict(official_preprocess("clip-fsar"))
    assert clip.mean == (0.48145466, 0.4578275, 0.40821073)
    official_preprocess("molo")["mean"] = None  # a copy: the facts do not change
    assert official_preprocess("molo")["mean"] == [0.45] * 3


def test_unknown_names_are_refused_with_the_near_ones() -> None:
    assert benchmark("SSv2_full").id == "ssv2-full"
    with pytest.raises(ArgumentError, match=r"'kinetics'; did you mean kinetics100\?"):
        benchmark("kinetics")
    with pytest.raises(ArgumentError, match="split is 'testing'; expected one of train, val, test"):
        benchmark("ucf101").class_names("testing")
    with pytest.raises(ArgumentError, match="no family is called 'otam'"):
        official_preprocess("otam")
    assert benchmark("ssv2-full").class_names("val")[:2] == ("val0", "val1")
