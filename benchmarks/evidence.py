"""What each part of an answer is worth: the rule over supports, people, and the alignment under ridge.

    python benchmarks/evidence.py ../shared/videos/jhmdb ../shared/videos/ut_interaction

Every clip is encoded once; all forms answer the same episodes. Prints a JSON receipt.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from _folders import opened, parser
from _receipt import publish, receipt

from a2m2_zoo import load_model
from a2m2_zoo.data.draws import draw_episodes
from a2m2_zoo.data.plans import EpisodeForm
from a2m2_zoo.evaluation.protocol import score_draw
from a2m2_zoo.evaluation.statistics import mean_interval
from a2m2_zoo.methods.a2m2 import A2M2

SHOTS = (1, 5)
ALIGNMENTS = ("diagonal", "bimhm", "otam", "global")
#: Name → what differs from the shipped head.
FORMS: dict[str, dict[str, Any]] = {
    "shipped": {},
    "mean of pair scores": {"shots": "scores"},
    "without people": {"pose": 0.0},
    "mean of pair scores, without people": {"shots": "scores", "pose": 0.0},
    "mean of pair scores, without people, as before": {
        "shots": "scores",
        "pose": 0.0,
        "centring": 20.0,
        "pool": 0.2,
    },
    "half the weight of people": {"pose": 0.5},
    "twice the weight of people": {"pose": 2.0},
    "with appearance": {"pool": 0.2},
}


def forms(head: A2M2) -> dict[str, A2M2]:
    """The head in every form; all have its weights."""
    found = {}
    for name, changes in FORMS.items():
        found[name] = A2M2(replace(head.config, **changes))
        found[name].load_state_dict(head.weights())
    plain = found["without people"]
    for alignment in ALIGNMENTS:
        found[f"{alignment}, without people"] = plain.with_alignment(alignment)
    return {name: method.eval() for name, method in found.items()}


def main() -> None:
    given = parser(__doc__)
    given.add_argument("--model", default="a2m2-lite0")
    options = given.parse_args()
    model = load_model(options.model)
    assert isinstance(model.method, A2M2)
    rows: list[dict[str, Any]] = []
    for folder in opened(options, model):
        labels, sources, encoded = folder.labels, folder.sources, folder.encoded(model.method)
        way = min(5, int(labels.max()) + 1)
        for shot in SHOTS:
            form = EpisodeForm(way=way, shot=shot, episodes=options.episodes, seed=options.seed)
            draw = draw_episodes(labels, form, sources=sources)
            for name, method in forms(model.method).items():
                right = score_draw(method, encoded, draw).argmax(-1) == draw.truth
                accuracy, interval = mean_interval(100 * right.double().mean(1).numpy())
                found = {"accuracy": round(accuracy, 2), "interval": round(interval, 2)}
                rows.append({"data": folder.name, "form": name, "shot": shot, **found})
                print(rows[-1], file=sys.stderr)
    facts = {"model": model.id, "weights": model.weights_hash, "episodes": options.episodes}
    publish(receipt(**facts, seed=options.seed, results=rows), options.out)


if __name__ == "__main__":
    main()
