"""What each part of an answer is worth: the rule over supports, people, appearance, and the alignment.

    python benchmarks/evidence.py ../shared/videos/jhmdb ../shared/videos/ut_interaction

Every clip is encoded once, every pair of clips is scored once for each alignment or method, all forms answer
the same episodes; where recordings are known, none is on both sides of an episode. Prints a JSON receipt.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import torch
from _folders import Folder, opened, parser
from _receipt import publish, receipt
from torch import Tensor

from a2m2_zoo import load_model
from a2m2_zoo.data.draws import Draw, draw_episodes
from a2m2_zoo.data.plans import EpisodeForm
from a2m2_zoo.evaluation.baselines import build_baseline
from a2m2_zoo.evaluation.protocol import pair_scores
from a2m2_zoo.evaluation.statistics import mean_interval
from a2m2_zoo.methods import a2m2
from a2m2_zoo.methods.a2m2 import A2M2
from a2m2_zoo.methods.base import as_pairwise
from a2m2_zoo.methods.rules import RULES, Fitted, fit_rule
from a2m2_zoo.ops.ridge import Ridge
from a2m2_zoo.pose.joints_head import limbs_alone
from a2m2_zoo.pose.kernel import joint_vectors
from a2m2_zoo.recognition.model import Model

SHOTS = (1, 5)
ALIGNMENTS = ("diagonal", "bimhm", "otam", "global")
BASELINES = ("protonet", "bimhm", "otam")
#: Name → weight of people and of appearance beside A²'s pair scores, in units of the shipped ones.
FORMS = {
    "without people": (0.0, 0.0),
    "shipped": (1.0, 0.0),
    "half the weight of people": (0.5, 0.0),
    "twice the weight of people": (2.0, 0.0),
    "with appearance": (1.0, 1.0),
}
STRENGTHS = (0.01, 0.03, 0.3, 1.0, 10.0)  # penalties beside the shipped one
_APPEARANCE = 0.2  # of the temperature: what models before ridge regression had


def tables(model: Model, folder: Folder) -> Iterator[tuple[str, Tensor]]:
    """Name of a form → scores of all pairs of clips."""
    head = model.method
    assert isinstance(head, A2M2)
    encoded = folder.encoded(head)

    def scored(method: A2M2) -> Tensor:
        with torch.inference_mode():
            return pair_scores(method.eval(), encoded).double()

    def changed(**values: Any) -> A2M2:
        made = A2M2(replace(head.config, **values))
        made.load_state_dict(head.weights())
        return made

    plain = changed(pose=0.0)
    alone = scored(plain)
    people = scored(changed()) - alone
    pooled = encoded["pooled"].double()
    cosine = _APPEARANCE * float(head.align.temperature) * (pooled @ pooled.mT)
    for name, (pose, appearance) in FORMS.items():
        yield name, alone + pose * people + appearance * cosine
    with patch.object(a2m2, "joint_vectors", lambda people: limbs_alone(joint_vectors(people))):
        limbs = scored(changed())
    yield "people by their limbs alone", limbs
    for alignment in ALIGNMENTS:
        yield f"{alignment}, without people", scored(plain.with_alignment(alignment))
    for name in BASELINES:
        method = as_pairwise(build_baseline(name, model).method)
        assert method is not None
        with torch.inference_mode():
            yield f"method {name}", pair_scores(method, folder.encoded(method)).double()


def measured(pairs: Tensor, draw: Draw) -> Iterator[dict[str, Any]]:
    """Accuracy under every rule, and of ridge regression with other penalties."""
    known = pairs[draw.support[:, :, None], draw.support[:, None, :]]
    asked = pairs[draw.query[:, :, None], draw.support[:, None, :]]
    fits: list[tuple[str, Fitted]] = [
        (rule, fit_rule(rule, known, draw.labels, way=draw.way)) for rule in RULES
    ]
    fits += [
        (f"ridge {strength:g}", Ridge.fit(known, draw.labels, way=draw.way, strength=strength))
        for strength in STRENGTHS
    ]
    for rule, fitted in fits:
        right = (fitted.scores(asked).argmax(-1) == draw.truth).double().mean(1)
        accuracy, interval = mean_interval(100 * right.numpy())
        yield {"rule": rule, "accuracy": round(accuracy, 2), "interval": round(interval, 2)}


def main() -> None:
    given = parser(__doc__)
    given.add_argument("--model", default="a2m2-lite0")
    options = given.parse_args()
    model = load_model(options.model)
    rows: list[dict[str, Any]] = []
    for folder in opened(options, model):
        way = min(5, int(folder.labels.max()) + 1)
        draws = {
            shot: draw_episodes(
                folder.labels,
                EpisodeForm(way=way, shot=shot, episodes=options.episodes, seed=options.seed),
                sources=folder.sources,
            )
            for shot in SHOTS
        }
        for form, pairs in tables(model, folder):
            for shot, draw in draws.items():
                for found in measured(pairs, draw):
                    rows.append({"data": folder.name, "form": form, "shot": shot, **found})
                    print(rows[-1], file=sys.stderr)
    facts = {"model": model.id, "weights": model.weights_hash, "episodes": options.episodes}
    publish(receipt(**facts, seed=options.seed, results=rows), options.out)


if __name__ == "__main__":
    main()
