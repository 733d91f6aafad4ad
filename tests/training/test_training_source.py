"""Episodes to train on: pure functions of seed and index."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from a2m2_zoo.backbones import Features
from a2m2_zoo.data.plans import EpisodeForm
from a2m2_zoo.errors import ArgumentError, EpisodeError
from a2m2_zoo.training import FeatureSource

CLASSES, CLIPS = 12, 5


def numbered(**changes: Any) -> FeatureSource:
    """Features that say which clip they are of; classes lie mixed."""
    order = torch.randperm(CLASSES * CLIPS, generator=torch.Generator().manual_seed(3))
    number = torch.arange(CLASSES * CLIPS, dtype=torch.float32)[:, None, None].expand(-1, 2, 1)
    maps = {"s7": number[..., None, None].half()}
    form = {"way": 4, "shot": 2, "query": 1, "episodes": 3, "seed": 5}
    form |= {name: changes.pop(name) for name in set(form) & set(changes)}
    return FeatureSource(Features(maps, number), order % CLASSES, EpisodeForm(**form), **changes)


def clips(source: FeatureSource, index: int) -> tuple[torch.Tensor, torch.Tensor]:
    batch = source.batch(index)
    return batch.support.pooled[:, 0, 0], batch.query.pooled[:, 0, 0]


def test_a_batch_depends_on_seed_and_index_alone() -> None:
    source, fresh = numbered(), numbered()
    first = [clips(source, index) for index in (0, 1, 2)]
    assert torch.equal(clips(fresh, 2)[0], first[2][0])
    assert torch.equal(clips(source, 0)[1], first[0][1])
    assert not torch.equal(first[0][0], first[1][0])
    assert not torch.equal(clips(numbered(seed=6), 0)[0], first[0][0])


def test_clips_are_of_the_classes_they_are_said_to_be_and_none_comes_twice() -> None:
    order = torch.randperm(CLASSES * CLIPS, generator=torch.Generator().manual_seed(3))
    batch = numbered().batch(7)
    support, query = clips(numbered(), 7)
    assert batch.episodes == 3
    assert batch.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert batch.query_labels.tolist() == [0, 1, 2, 3]
    truth = order % CLASSES
    assert torch.equal(truth[support.long()], batch.support_classes)
    assert torch.equal(truth[query.long()], batch.query_classes)
    for episode in range(3):
        used = [*support.view(3, -1)[episode].tolist(), *query.view(3, -1)[episode].tolist()]
        assert len(set(used)) == len(used)
        classes = batch.support_classes.view(3, 4, 2)[episode]
        assert torch.equal(classes[:, 0], classes[:, 1])
        assert len(set(classes[:, 0].tolist())) == 4
        assert torch.equal(classes[:, 0], batch.query_classes.view(3, 4)[episode])


def test_half_precision_is_given_out_in_full() -> None:
    batch = numbered().batch(0)
    assert batch.support.maps["s7"].dtype == torch.float32
    assert torch.equal(batch.support.maps["s7"][:, 0, 0, 0, 0], batch.support.pooled[:, 0, 0])


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_share_of_the_episodes_is_drawn_within_one_group(share: float) -> None:
    groups = [c // 4 for c in range(CLASSES)]  # as many classes as an episode has
    source = numbered(groups=groups, group_share=share, episodes=300)
    batch = source.batch(1)
    family = batch.query_classes.view(300, 4) // 4
    together = (family == family[:, :1]).all(1).double().mean().item()
    assert together == pytest.approx(share, abs=0.1)
    assert torch.equal(batch.query_classes, source.batch(1).query_classes)
    assert len(batch.query_classes.unique()) == CLASSES
    places = batch.query_classes.view(300, 4)
    assert all(len(set(row)) == 4 for row in places.tolist())


def test_groups_that_are_too_small_are_filled_up() -> None:
    groups = [c // 2 for c in range(CLASSES)]
    batch = numbered(groups=groups, group_share=1.0, episodes=50).batch(0)
    for row in batch.query_classes.view(50, 4).tolist():
        pairs = [c // 2 for c in row]
        assert len(set(row)) == 4
        assert max(pairs.count(p) for p in pairs) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"episodes": 0}, "episodes is 0"),
        ({"groups": [0]}, "1 groups and 12 classes"),
        ({"group_share": 1.5}, "group_share is 1.5"),
        ({"shot": 0}, "shot is 0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        numbered(**changes)


def test_too_few_classes_or_clips_are_refused() -> None:
    with pytest.raises(EpisodeError, match="13-way"):
        numbered(way=13)
    with pytest.raises(EpisodeError, match="need 6 clips"):
        numbered(shot=5)
    with pytest.raises(ArgumentError, match="60 clips and 3 labels"):
        FeatureSource(Features({}, torch.zeros(60, 1, 1)), torch.arange(3), EpisodeForm(way=2))
