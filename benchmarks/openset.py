"""Open-set figures on folders of real clips: how well clips of unknown actions are told apart.

    python benchmarks/openset.py ../shared/videos/msr_action3d ../shared/videos/jhmdb

Every head of the comparison on the default model's features, then the other embedded models; 5 known and 5
unknown classes. The embedded models are measured by their probabilities, and by their best raw score as the
untrained heads are. Prints a JSON receipt.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

from _folders import opened, parser
from _receipt import publish, receipt

from a2m2_zoo import load_model
from a2m2_zoo.data.plans import EpisodeForm
from a2m2_zoo.evaluation.baselines import build_baseline, known_baselines
from a2m2_zoo.evaluation.openset import OpenOutcome, evaluate_open
from a2m2_zoo.evaluation.statistics import accuracy_at

COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
THRESHOLDS = (0.1, 0.15, 0.2, 0.3, 0.5)


def row(outcome: OpenOutcome, **facts: Any) -> dict[str, Any]:
    """The figures, and how accurate the most confident answers to all queries are, unknown ones included."""
    curve = [
        round(100 * accuracy_at(outcome.confidence.ravel(), outcome.right.ravel(), c), 2)
        for c in COVERAGES
    ]
    figures = asdict(outcome.figures())
    rounded = {k: v if v is None else round(v, 4) for k, v in figures.items()}
    found = {**facts, **rounded, "accuracy_by_coverage": curve}
    if outcome.calibrated:
        found["rejected"] = [rejected(outcome, below) for below in THRESHOLDS]
    print(found, file=sys.stderr, flush=True)
    return found


def rejected(outcome: OpenOutcome, below: float) -> dict[str, float]:
    """Percent of the right answers, and of the clips of no class, that ``reject_below`` marks."""
    marked = outcome.confidence < below
    unknown = marked[:, ~outcome.inside]
    return {
        "below": below,
        "right": round(100 * float(marked[outcome.right].mean()), 2),
        "unknown": round(100 * float(unknown.mean()), 2),
    }


def main() -> None:
    given = parser(__doc__, models=True)
    given.add_argument("--methods", help="heads on the first model's features; all if not given")
    options = given.parse_args()
    models = [load_model(name) for name in options.models.split(",")]
    names = known_baselines(models[0]) if options.methods is None else options.methods.split(",")
    baselines = [build_baseline(n, models[0]) for n in names if n and n != models[0].method_name]
    rows: list[dict[str, Any]] = []
    for folder in opened(options, models[0]):
        entries = [(m.id, m.method, by, m.origin) for m in models for by in (m, None)]
        entries += [
            (baseline.name, baseline.method, None, baseline.status) for baseline in baselines
        ]
        for name, method, model, status in entries:
            descriptors = folder.encoded(method)
            for shot in (1, 5):
                outcome = evaluate_open(
                    method,
                    descriptors,
                    folder.labels,
                    model=model,
                    form=EpisodeForm(shot=shot, episodes=options.episodes, seed=options.seed),
                )
                facts = {"data": folder.name, "method": name, "status": status, "shot": shot}
                by = "probability" if outcome.calibrated else "best score"
                rows.append(row(outcome, **facts, by=by))
    weights = {model.id: model.weights_hash for model in models}
    facts = receipt(
        episodes=options.episodes,
        seed=options.seed,
        way=5,
        unknown=5,
        coverages=COVERAGES,
        weights=weights,
        results=rows,
    )
    publish(facts, options.out)


if __name__ == "__main__":
    main()
