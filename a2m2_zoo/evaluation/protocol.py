"""The standard protocol: many W-way K-shot episodes on clips that were encoded once.

Episodes are scored in tiles whose size depends on the descriptors alone, each tile by one thread, so that the
same seed gives the same logits to the last bit for any number of workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from a2m2_zoo._utils.cores import usable_cores
from a2m2_zoo._utils.typing import Bool, Float, Int
from a2m2_zoo._utils.workers import plain
from a2m2_zoo.data.draws import Draw, draw_episodes
from a2m2_zoo.data.plans import EpisodeForm
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.evaluation.statistics import expected_calibration_error, mean_interval
from a2m2_zoo.methods.base import Descriptors, Method, PairwiseMethod, as_pairwise, take
from a2m2_zoo.methods.rules import fit_rule
from a2m2_zoo.recognition.support_set import SupportSet
from a2m2_zoo.zoo.choose import AnyModel, as_model

#: Called with how much is done and how much there is.
Progress = Callable[[int, int], None]

_STANDARD = EpisodeForm()
_TILE_BYTES = 1 << 25  # descriptors of one tile
_LARGEST_TILE = 64
_ROWS = 64  # clips whose pair scores with all others are computed together


@dataclass(frozen=True)
class Outcome:
    """What a run of the protocol found.

    Attributes:
        draw: The episodes.
        right: (E, W·Q) whether each query of each episode got its label.
        confidence: (E, W·Q) probability of the answer that was given.
        logits: (E, W·Q, W) raw scores; the queries of a class follow each other.
    """

    draw: Draw
    right: Bool[np.ndarray, "e q"]
    confidence: Float[np.ndarray, "e q"]
    logits: Float[Tensor, "e q w"]

    @property
    def accuracy(self) -> tuple[float, float]:
        """Mean accuracy over episodes and half width of its 95 % interval, in percent."""
        mean, half = mean_interval(100 * self.right.mean(1))
        return mean, half

    @property
    def calibration_error(self) -> float:
        """Expected calibration error of the answers, 0 to 1."""
        return expected_calibration_error(self.confidence.ravel(), self.right.ravel())


@plain()
def score_draw(
    method: Method,
    descriptors: Descriptors,
    draw: Draw,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Float[Tensor, "e q w"]:
    """Logits of every episode.

    Args:
        method: The method that made the descriptors.
        descriptors: Descriptors of all N clips.
        draw: The episodes.
        workers: Threads; as many as there are cores if None. It does not change the result.
        progress: Called with episodes done and all episodes; before that, where every pair of clips is
            scored once, with clips done and all clips.
    """
    how: dict[str, Any] = {"workers": workers, "progress": progress}
    pairwise = as_pairwise(method)
    if pairwise is None:

        def score(tile: slice) -> Tensor:
            queries, supports = gathered(method, descriptors, draw, tile)
            labels = draw.labels.to(_device(method))
            return method.score(queries, supports, labels=labels, way=draw.way).cpu()

        return torch.cat(in_tiles(score, descriptors, draw, **how))
    rule, among = pairwise.rule or "mean", pairwise.rule != "mean"
    pairs = episode_pairs(pairwise, descriptors, draw, among=among, **how)

    def logits(tile: slice) -> Tensor:
        asked, known = pairs(tile)
        return fit_rule(rule, known, draw.labels, way=draw.way).scores(asked)

    return torch.cat(in_tiles(logits, descriptors, draw, **how))


@plain()
def evaluate(
    model: AnyModel,
    descriptors: Descriptors,
    labels: Int[Tensor, " n"],
    *,
    form: EpisodeForm = _STANDARD,
    sources: Int[Tensor, " n"] | None = None,
    leave_one_out: bool = True,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Run episodes over clips that ``Model.encode`` has encoded, probabilities included.

    Args:
        model: The model that made the descriptors, its name or path.
        descriptors: Descriptors of all N clips.
        labels: Class of each clip, 0..C-1, each at least ``shot + query`` times.
        form: The episodes' sizes, how many, and the seed: 10,000 of 5-way 1-shot if not given.
        sources: Of each clip, see ``draw_episodes``.
        leave_one_out: Fit the probabilities to the supports, as ``classify`` does. It costs time and
            changes no answer, only the confidence.
        workers: Threads; as many as there are cores if None. It does not change the result.
        progress: Called with episodes done and all episodes; before that, where every pair of clips is
            scored once, with clips done and all clips.

    Raises:
        EpisodeError: Too few classes or clips.
    """
    model = as_model(model)
    draw = draw_episodes(labels, form, sources=sources)
    how: dict[str, Any] = {"workers": workers, "progress": progress}
    pairwise = as_pairwise(model.method)
    if pairwise is not None and form.shot > 1 and leave_one_out:
        pairs = episode_pairs(pairwise, descriptors, draw, among=True, **how)

        def both(tile: slice) -> Tensor:
            asked, among = pairs(tile)
            supports = SupportSet.of(model, among, draw.labels, way=form.way)
            scale = supports.scale[:, None, None].expand(-1, asked.shape[1], 1)
            return torch.cat([supports.logits(asked), scale], -1)

        found = torch.cat(in_tiles(both, descriptors, draw, **how))
        logits, scale = found[..., :-1].float(), found[:, 0, -1]
    else:
        logits = score_draw(model.method, descriptors, draw, **how)
        scale = SupportSet.of(model, None, draw.labels, way=form.way).scale
    confidence, answer = (logits.double() * scale[..., None, None]).softmax(-1).max(-1)
    return Outcome(draw, (answer == draw.truth).numpy(), confidence.numpy(), logits)


def pair_scores(
    method: PairwiseMethod,
    descriptors: Descriptors,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Float[Tensor, "n n"]:
    """Scores of every clip against every clip, as one episode."""
    device = _device(method)
    every = {name: tensor[None].to(device) for name, tensor in descriptors.items()}
    count = _count(descriptors)
    with torch.inference_mode(), plain():
        against = method.against(every)

    def rows(start: int) -> Tensor:
        return against({k: v[:, start : start + _ROWS] for k, v in every.items()})[0].cpu()

    return torch.cat(_mapped(rows, range(0, count, _ROWS), count, workers, progress))


#: A tile of episodes to the scores (E, Q, N) of queries against supports and (E, N, N) among supports.
Pairs = Callable[[slice], tuple[Tensor, "Tensor | None"]]


def episode_pairs(
    method: PairwiseMethod,
    descriptors: Descriptors,
    draw: Draw,
    *,
    among: bool,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Pairs:
    """Pair scores of the episodes, tile by tile.

    Where a pair's score does not depend on the other supports and there are fewer pairs of clips than
    pairs in the episodes, every pair is computed once, now, and the episodes are gathered from that.

    Args:
        method: The method that made the descriptors.
        descriptors: Descriptors of all clips.
        draw: The episodes.
        among: Also score the supports against each other.
        workers: Threads; as many as there are cores if None.
        progress: Called with clips done and all clips, if pairs are computed now.
    """
    asked = draw.query.shape[1] + (draw.support.shape[1] if among else 0)
    needed = len(draw) * asked * draw.support.shape[1]
    if method.context_free and _count(descriptors) ** 2 <= needed:
        table = pair_scores(method, descriptors, workers=workers, progress=progress)

        def read(tile: slice) -> tuple[Tensor, Tensor | None]:
            columns = draw.support[tile, None, :]
            known = table[draw.support[tile, :, None], columns] if among else None
            return table[draw.query[tile, :, None], columns], known

        return read

    def scored(tile: slice) -> tuple[Tensor, Tensor | None]:
        queries, supports = gathered(method, descriptors, draw, tile)
        if not among:
            return method.pairs(queries, supports).cpu(), None
        both = {name: torch.cat([queries[name], supports[name]], 1) for name in queries}
        found = method.pairs(both, supports).cpu()
        return found[:, : draw.query.shape[1]], found[:, draw.query.shape[1] :]

    return scored


def gathered(
    method: Method, descriptors: Descriptors, draw: Draw, tile: slice
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Descriptors (E, Q, ...) and (E, N, ...) of a tile's queries and supports, where the method is."""
    device = _device(method)
    query, support = (take(descriptors, index[tile]) for index in (draw.query, draw.support))
    queries, supports = ({k: v.to(device) for k, v in part.items()} for part in (query, support))
    return queries, supports


def in_tiles(
    work: Callable[[slice], Tensor],
    descriptors: Descriptors,
    draw: Draw,
    *,
    workers: int | None,
    progress: Progress | None,
) -> list[Tensor]:
    """``work`` of every tile of the episodes, in order; tiles depend on the sizes alone."""
    clips = draw.query.shape[1] + draw.support.shape[1]
    held = clips * sum(t[0].numel() * t.element_size() for t in descriptors.values())
    size = min(max(_TILE_BYTES // held, 1), _LARGEST_TILE)
    starts = range(0, len(draw), size)
    return _mapped(lambda i: work(slice(i, i + size)), starts, len(draw), workers, progress)


def _mapped(
    work: Callable[[int], Tensor],
    starts: range,
    total: int,
    workers: int | None,
    progress: Progress | None,
) -> list[Tensor]:
    """``work`` of every start, in order, by threads that compute on one core each."""
    if workers is not None and workers < 1:
        raise ArgumentError(f"workers is {workers}; expected 1 or more")

    @torch.inference_mode()
    @plain()
    def guarded(start: int) -> Tensor:
        return work(start)

    found: list[Tensor] = []
    with _one_core_each(), ThreadPoolExecutor(workers or usable_cores()) as pool:
        try:
            for start, part in zip(starts, pool.map(guarded, starts), strict=True):
                found.append(part)
                if progress is not None:
                    progress(min(start + starts.step, total), total)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return found


@contextmanager
def _one_core_each() -> Iterator[None]:
    """Sums split over cores depend on how many there are; these must not."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _device(method: Method) -> torch.device:
    held: Any = next(method.parameters(), None)
    held = next(method.buffers(), None) if held is None else held
    return torch.device("cpu") if held is None else held.device


def _count(descriptors: Descriptors) -> int:
    return len(next(iter(descriptors.values())))
