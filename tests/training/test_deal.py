"""Episodes that share clips: dealt rightly, and worth the same as episodes of copies."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from training_maker import features, run, same, saved, stop_at
from training_maker import settings as small

from a2m2_zoo.backbones import Features
from a2m2_zoo.data.plans import EpisodeForm
from a2m2_zoo.errors import ArgumentError, EpisodeError
from a2m2_zoo.methods.base import TrainingBatch
from a2m2_zoo.training import FeatureSource, TrainingConfig
from a2m2_zoo.training.distort import DistortedSource, Distortion
from a2m2_zoo.training.shared_clips import DealtSource, dealt, draws

SIZES: dict[str, Any] = {"way": 3, "shot": 2, "query": 1}


def source(*, pool: int = 5, shot: int = 1, query: int = 3, episodes: int = 2) -> FeatureSource:
    """Ten classes of six clips; clip i holds i."""
    number = torch.arange(60.0)[:, None, None]
    labels = torch.arange(10).repeat_interleave(6)
    found = Features({}, number)
    form = EpisodeForm(way=pool, shot=shot, query=query, episodes=episodes, seed=4)
    return FeatureSource(found, labels, form)


def clips_of(batch: TrainingBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Number of each clip: of the queries (E, Q) and of the supports (E, N)."""
    query, support = batch.by_episode({"n": batch.query.pooled}, {"n": batch.support.pooled})
    return query["n"][..., 0, 0], support["n"][..., 0, 0]


@settings(max_examples=40, deadline=None)
@given(
    pool=st.integers(3, 10),
    drawn=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dealt_out=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    deals=st.integers(1, 9),
    index=st.integers(0, 5),
)
def test_every_episode_is_whole_and_within_one_draw(
    pool: int, drawn: tuple[int, int], dealt_out: tuple[int, int], deals: int, index: int
) -> None:
    plain = source(pool=pool, shot=drawn[0], query=drawn[1])
    shot, query = dealt_out
    made = DealtSource(plain, way=3, shot=shot, query=query, deals=deals, seed=1)
    if shot + query > sum(drawn):
        with pytest.raises(EpisodeError, match=f"need {shot + query} clips per class"):
            made.batch(index)
        return
    batch, draw = made.batch(index), plain.batch(index)
    assert batch.episodes == 2 * deals
    assert batch.clips == draw.clips == 2 * pool * sum(drawn)
    queries, supports = clips_of(batch)
    assert supports.shape == (2 * deals, 3 * shot)
    assert queries.shape == (2 * deals, 3 * query)
    groups = draw.support.pooled.view(2, -1), draw.query.pooled.view(2, -1)
    for e in range(2 * deals):
        used = [*queries[e].tolist(), *supports[e].tolist()]
        assert len(set(used)) == len(used)
        assert set(used) <= set(torch.cat([group[e // deals] for group in groups]).tolist())
        classes = (supports[e] // 6).view(3, shot)
        assert (classes == classes[:, :1]).all()
        assert len(set(classes[:, 0].tolist())) == 3
        assert torch.equal(queries[e] // 6, classes[:, 0].repeat_interleave(query))
    assert torch.equal(batch.labels, torch.arange(3).repeat_interleave(shot))
    assert torch.equal(batch.query_labels, torch.arange(3).repeat_interleave(query))


def test_a_batch_depends_on_seed_and_index_alone() -> None:
    def places(index: int, seed: int = 0) -> torch.Tensor:
        found = DealtSource(source(), **SIZES, deals=6, seed=seed).batch(index).support_places
        assert found is not None
        return found

    assert torch.equal(places(3), places(3))
    assert not torch.equal(places(3), places(4))
    assert not torch.equal(places(3), places(3, seed=1))


def test_all_clips_are_supports_and_queries_in_turn_and_all_classes_meet() -> None:
    """Over many deals, each clip plays both parts, and each pair of classes meets."""
    queries, supports = clips_of(
        DealtSource(source(episodes=1), **SIZES, deals=200, seed=0).batch(0)
    )
    assert set(queries.flatten().tolist()) == set(supports.flatten().tolist())
    assert len(queries.unique()) == 5 * 4
    pairs = {(a, b) for row in (supports // 6).tolist() for a, b in product(row, row) if a < b}
    assert len(pairs) == 5 * 4 / 2


def test_settings_say_how_episodes_are_dealt() -> None:
    plain = TrainingConfig(way=3, query=2, batch=12)
    assert draws(plain) == EpisodeForm(way=3, shot=1, query=2, episodes=12, seed=0)
    first = source()
    assert dealt(first, plain) is first
    shared = TrainingConfig(way=3, query=2, batch=12, deals=6, pool=5)
    assert draws(shared) == EpisodeForm(way=5, shot=1, query=2, episodes=2, seed=0)
    assert dealt(source(query=2), shared).batch(0).episodes == 12
    assert draws(TrainingConfig(way=3, batch=4, deals=4)).way == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"deals": 0}, "deals is 0"),
        ({"deals": 3}, "batch is 4 and deals 3; expected a multiple of deals, such as 6"),
        ({"pool": 8}, "pool is 8 with deals 1"),
        ({"pool": 4, "deals": 4}, "pool is 4 with deals 4 and way 5"),
        ({"pool": -1}, "pool is -1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        TrainingConfig.from_dict(changes)


def test_deals_are_not_dealt_or_distorted_again() -> None:
    with pytest.raises(ArgumentError, match="deals is 0"):
        DealtSource(source(), **SIZES, deals=0, seed=0)
    made = DealtSource(source(), **SIZES, deals=2, seed=0)
    with pytest.raises(ArgumentError, match="dealt already"):
        DealtSource(made, **SIZES, deals=2, seed=0).batch(0)
    with pytest.raises(ArgumentError, match="deal from this source"):
        DistortedSource(made, Distortion(), seed=0).batch(0)


def test_too_few_classes_in_a_draw_are_refused() -> None:
    with pytest.raises(EpisodeError, match="5-way episodes need 5 classes and there are 4"):
        DealtSource(source(pool=4), way=5, shot=1, query=1, deals=2, seed=0).batch(0)


def test_a_run_on_shared_clips_learns_and_resumes_to_the_bit(tmp_path: Any) -> None:
    config = small(deals=4, batch=8, pool=6)
    found, labels = features(10, 6, seed=0)

    def episodes() -> Any:
        return dealt(FeatureSource(found, labels, draws(config)), config)

    whole, _ = run(tmp_path / "whole", config=config, source=episodes())
    run(tmp_path / "parts", config=config, source=episodes(), progress=stop_at(11))
    run(tmp_path / "parts", config=config, source=episodes(), resume=True)
    assert same(saved(tmp_path / "whole"), saved(tmp_path / "parts"))
    assert whole.best_step > 0
