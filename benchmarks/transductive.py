"""What answering queries together is worth, however the classes share the queries.

    python benchmarks/transductive.py ../shared/videos/jhmdb ../shared/videos/ut_interaction

Every clip is encoded once. Episodes share their queries out in three ways: as many of each class; uneven,
from a Dirichlet distribution with concentration 2 (Veilleux et al., NeurIPS 2021); all of one class.
Both ways answer the same queries. Prints a JSON receipt.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from _folders import opened, parser
from _receipt import publish, receipt
from torch import Tensor

from a2m2_zoo import load_model
from a2m2_zoo.evaluation.protocol import pair_scores
from a2m2_zoo.evaluation.statistics import expected_calibration_error, mean_interval
from a2m2_zoo.methods.base import as_pairwise
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.recognition.support_set import SupportSet

SHOTS = (1, 5)
SHARES = ("even", "uneven", "one class")
_QUERIES = 6  # of each class, where they are even


@dataclass(frozen=True)
class Episode:
    """Places of clips.

    Attributes:
        support: Class by class.
        query: Class by class.
        truth: Class of each query.
    """

    support: Tensor
    query: Tensor
    truth: Tensor


def drawn(
    labels: Tensor,
    sources: Tensor | None,
    *,
    way: int,
    shot: int,
    shares: str,
    count: int,
    seed: int,
) -> Iterator[Episode]:
    """Episodes; where recordings are known, none is on both sides of a class."""
    places = [(labels == label).nonzero()[:, 0].numpy() for label in range(int(labels.max()) + 1)]
    for index in range(count):
        random = np.random.default_rng([seed, index])
        classes = random.permutation(len(places))[:way]
        wanted = np.full(way, _QUERIES)
        if shares == "uneven":
            wanted = np.rint(random.dirichlet([2.0] * way) * _QUERIES * way).astype(int)
        elif shares == "one class":
            wanted = np.where(np.arange(way) == random.integers(way), 2 * _QUERIES, 0)
        support, query, truth = [], [], []
        for label, (one, number) in enumerate(zip(classes, wanted, strict=True)):
            order = random.permutation(places[one])
            chosen, rest = order[:shot], order[shot:]
            if sources is not None:
                rest = rest[~np.isin(sources[rest], sources[chosen])]
            support.append(chosen)
            query.append(rest[:number])
            truth += [label] * len(query[-1])
        if truth:
            yield Episode(
                torch.from_numpy(np.concatenate(support)),
                torch.from_numpy(np.concatenate(query)),
                torch.tensor(truth),
            )


def answered(model: Model, pairs: Tensor, episode: Episode, *, way: int) -> list[Tensor]:
    """Probabilities of the queries alone, and together."""
    support, query = episode.support, episode.query
    labels = torch.arange(way).repeat_interleave(len(support) // way)
    known = SupportSet.of(model, pairs[support][:, support], labels, way=way)
    asked = pairs[query][:, support]
    together = known.logits_together(asked, pairs[query][:, query])
    return [known.probabilities(logits) for logits in (known.logits(asked), together)]


def measured(
    model: Model, pairs: Tensor, episodes: Iterator[Episode], *, way: int
) -> dict[str, Any]:
    """Accuracy and calibration error of both ways, and the paired difference."""
    rates: list[list[float]] = [[], []]
    sure: list[list[Tensor]] = [[], []]
    right: list[list[Tensor]] = [[], []]
    for episode in episodes:
        for i, found in enumerate(answered(model, pairs, episode, way=way)):
            hit = found.argmax(-1) == episode.truth
            rates[i].append(100 * float(hit.double().mean()))
            sure[i].append(found.amax(-1))
            right[i].append(hit)
    gain, interval = mean_interval(np.subtract(rates[1], rates[0]))
    row: dict[str, Any] = {"gain": round(gain, 2), "gain_interval": round(interval, 2)}
    for i, name in enumerate(("alone", "together")):
        row[name] = round(float(np.mean(rates[i])), 2)
        error = expected_calibration_error(torch.cat(sure[i]).numpy(), torch.cat(right[i]).numpy())
        row[f"{name}_calibration_error"] = round(error, 3)
    return row


def main() -> None:
    given = parser(__doc__)
    given.add_argument("--model", default="a2m2-lite0")
    options = given.parse_args()
    model = load_model(options.model)
    method = as_pairwise(model.method)
    assert method is not None
    rows: list[dict[str, Any]] = []
    for folder in opened(options, model):
        labels, sources = folder.labels, folder.sources
        with torch.inference_mode():
            pairs = pair_scores(method, folder.encoded(method)).double()
        way = min(5, int(labels.max()) + 1)
        for shot in SHOTS:
            for shares in SHARES:
                how: dict[str, Any] = {"way": way, "shot": shot, "shares": shares}
                plan = drawn(labels, sources, count=options.episodes, seed=options.seed, **how)
                rows.append({"data": folder.name, **how, **measured(model, pairs, plan, way=way)})
                print(rows[-1], file=sys.stderr)
    facts = {"model": model.id, "weights": model.weights_hash, "episodes": options.episodes}
    publish(receipt(**facts, seed=options.seed, results=rows), options.out)


if __name__ == "__main__":
    main()
