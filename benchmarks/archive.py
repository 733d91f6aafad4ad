"""What an archive's descriptors lose: accuracy by the bytes of a clip, 5-way (2-way of two classes).

    python benchmarks/archive.py ../shared/videos/jhmdb ../shared/videos/ut_interaction

Every clip is encoded once; all sizes answer the same episodes, supports and queries both as they come back.
``kept`` is what archives keep, the others are for the curve: whole numbers of so many bits with a scale for
each vector. Prints a JSON receipt.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from math import prod
from typing import Any

import torch
from _folders import opened, parser
from _receipt import publish, receipt
from torch import Tensor

from a2m2_zoo import load_model
from a2m2_zoo.archive.codec import Codec, rounded
from a2m2_zoo.data.draws import draw_episodes
from a2m2_zoo.data.plans import EpisodeForm
from a2m2_zoo.evaluation.protocol import pair_scores
from a2m2_zoo.evaluation.statistics import mean_interval
from a2m2_zoo.methods.base import as_pairwise, take
from a2m2_zoo.methods.rules import fit_rule

SHOTS = (1, 5)
BITS = (3, 2)  # beyond what archives know


def forms(real: dict[str, Tensor]) -> Iterator[tuple[str, int, dict[str, Tensor]]]:
    """Name, bytes of a clip, descriptors."""
    values = sum(prod(value.shape[1:]) for value in real.values())
    yield "float32", 4 * values, real
    yield "float16", 2 * values, {name: value.half().float() for name, value in real.items()}
    eight = Codec.of(real, least=8)
    yield "8 bits", eight.size, rounded(real, eight)
    kept = Codec.of(real)
    yield "kept", kept.size, rounded(real, kept)
    for bits in BITS:
        made, size = rounded(real, kept), kept.size
        for part in kept.parts:
            if part.bits == 4:
                flat = real[part.name].flatten(0, -2 if len(part.shape) > 1 else 0)
                made[part.name] = _rounded(flat, bits).view_as(real[part.name])
                size -= part.rows * (part.row_bytes - (part.width * bits + 7) // 8)
        yield f"{bits} bits", size, made


def _rounded(rows: Tensor, bits: int) -> Tensor:
    """Vectors in whole numbers of 2 bits and more."""
    top = 2 ** (bits - 1) - 1
    step = (rows.abs().amax(-1, keepdim=True) / top).clamp_min(1e-12)
    return (rows / step).round().clamp(-top, top) * step


def main() -> None:
    given = parser(__doc__)
    given.add_argument("--model", default="a2m2-lite0")
    given.add_argument("--clips", type=int, default=10**9, help="of each set, at most")
    options = given.parse_args()
    model = load_model(options.model)
    method = as_pairwise(model.method)
    assert method is not None
    rows: list[dict[str, Any]] = []
    for folder in opened(options, model):
        classes = range(int(folder.labels.max()) + 1)
        most = options.clips // len(classes)
        chosen = [(folder.labels == c).nonzero()[:most, 0] for c in classes]
        kept = torch.cat(chosen)
        labels = folder.labels[kept]
        sources = None if folder.sources is None else folder.sources[kept]
        real = take(folder.encoded(model.method), kept)
        way = min(5, len(classes))
        draws = {
            shot: draw_episodes(
                labels,
                EpisodeForm(way=way, shot=shot, episodes=options.episodes, seed=options.seed),
                sources=sources,
            )
            for shot in SHOTS
        }
        whole: dict[int, float] = {}
        for form, size, descriptors in forms(real):
            with torch.inference_mode():
                pairs = pair_scores(method, descriptors).double()
            for shot, draw in draws.items():
                known = pairs[draw.support[:, :, None], draw.support[:, None, :]]
                asked = pairs[draw.query[:, :, None], draw.support[:, None, :]]
                fitted = fit_rule(method.rule or "mean", known, draw.labels, way=draw.way)
                right = (fitted.scores(asked).argmax(-1) == draw.truth).double().mean(1)
                accuracy, interval = mean_interval(100 * right.numpy())
                whole.setdefault(shot, accuracy)
                rows.append(
                    {
                        "data": folder.name,
                        "clips": len(labels),
                        "form": form,
                        "bytes": size,
                        "shot": shot,
                        "accuracy": round(accuracy, 2),
                        "interval": round(interval, 2),
                        "change": round(accuracy - whole[shot], 2),
                    }
                )
                print(rows[-1], file=sys.stderr, flush=True)
    ours = [row for row in rows if row["form"] == "kept"]
    facts = receipt(
        model=model.id,
        weights=model.weights_hash,
        episodes=options.episodes,
        seed=options.seed,
        bytes={"float32": rows[0]["bytes"], "kept": ours[0]["bytes"]},
        worst_change=min(row["change"] for row in ours),
        results=rows,
    )
    publish(facts, options.out)


if __name__ == "__main__":
    main()
