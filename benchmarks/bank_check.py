"""What `a2m2 bank check` finds on real clips: planted wrong labels, false alarms, promised accuracy.

    python benchmarks/bank_check.py ../shared/videos/jhmdb

Draws banks of some classes with k clips each. With one clip in ten under another class's name, how many of
them are named, and how many right ones; and on the bank as it is, whether the accuracy promised for k + 1
clips is what k + 1 clips reach on the clips left over. Prints a JSON receipt.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from _folders import Folder
from _receipt import publish, receipt
from torch import Tensor

from a2m2_zoo import load_model
from a2m2_zoo.evaluation.bank_check.growth import growth
from a2m2_zoo.evaluation.bank_check.labels import DOUBT, leave_one_out
from a2m2_zoo.methods.base import take
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.recognition.support_set import SupportSet

SIZES = ((5, 5), (5, 10), (10, 10))  # classes, clips of each
WRONG = 0.1


def drawn(labels: Tensor, way: int, shot: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Clips of a bank, class by class, k + 1 of each, and the clips of these classes that are left."""
    order = torch.randperm(len(labels), generator=random)
    chosen = torch.randperm(int(labels.max()) + 1, generator=random)[:way]
    groups = [order[labels[order] == c] for c in chosen]
    return torch.stack([g[: shot + 1] for g in groups]), torch.cat([g[shot + 1 :] for g in groups])


def mislabelled(
    model: Model, found: dict[str, Tensor], labels: Tensor, way: int, shot: int, banks: int
) -> dict[str, Any]:
    """Planted wrong labels and false alarms."""
    random = torch.Generator().manual_seed(0)
    counts = dict.fromkeys(("wrong", "named", "right", "alarms", "right_class", "unlike"), 0)
    for _ in range(banks):
        clips = drawn(labels, way, shot, random)[0][:, :shot].flatten()
        true = torch.arange(way).repeat_interleave(shot)
        given = true.clone()
        some = torch.randperm(len(true), generator=random)[: max(1, round(WRONG * len(true)))]
        given[some] = (true[some] + torch.randint(1, way, some.shape, generator=random)) % way
        bank = take(found, clips)
        pairs = model.pairs(bank, bank)
        assert pairs is not None
        seen = leave_one_out(SupportSet.of(model, pairs.double(), given, way=way))
        doubtful = {n: answer for n, answer, *_ in seen.doubtful()}
        wrong = set((given != true).nonzero()[:, 0].tolist())
        counts["wrong"] += len(wrong)
        counts["named"] += len(wrong & set(doubtful))
        counts["right_class"] += sum(doubtful[n] == true[n] for n in wrong & set(doubtful))
        counts["right"] += len(true) - len(wrong)
        counts["alarms"] += len(set(doubtful) - wrong)
        counts["unlike"] += len({n for n, _ in seen.outliers()} - wrong - set(doubtful))
    return {
        "clips_with_wrong_labels": counts["wrong"],
        "of_them_named": round(counts["named"] / counts["wrong"], 3),
        "of_the_named_with_their_class": round(
            float(counts["right_class"]) / max(counts["named"], 1), 3
        ),
        "right_labels": counts["right"],
        "false_alarms": round(counts["alarms"] / counts["right"], 4),
        "false_alarms_unlike": round(counts["unlike"] / counts["right"], 4),
    }


def promised(
    model: Model, found: dict[str, Tensor], labels: Tensor, way: int, shot: int, banks: int
) -> dict[str, Any]:
    """Promised against reached accuracy, percent."""
    random = torch.Generator().manual_seed(1)
    rows = []
    inside = 0
    for _ in range(banks):
        clips, left = drawn(labels, way, shot, random)
        reached = []
        for k in (shot, shot + 1):
            given = torch.arange(way).repeat_interleave(k)
            names = labels[clips[:, 0]]
            logits = model.logits(
                take(found, left), take(found, clips[:, :k].flatten()), labels=given, way=way
            )
            right = (names[logits.argmax(-1)] == labels[left]).double()
            reached.append(
                100 * float(torch.stack([right[labels[left] == c].mean() for c in names]).mean())
            )
        bank = take(found, clips[:, :shot].flatten())
        pairs = model.pairs(bank, bank)
        assert pairs is not None
        given = torch.arange(way).repeat_interleave(shot)
        rule = SupportSet.of(model, pairs.double(), given, way=way).rule
        grown = growth(pairs, given, way=way, rule=rule)
        assert grown is not None
        gain = reached[1] - reached[0]
        inside += grown.interval[0] <= gain <= grown.interval[1]
        rows.append(
            [grown.now, reached[0], grown.gain, gain, grown.interval[1] - grown.interval[0]]
        )
    mean = torch.tensor(rows).mean(0).tolist()
    apart = torch.tensor(rows)
    return {
        "promised_now": round(mean[0], 2),
        "reached_now": round(mean[1], 2),
        "typical_error_now": round(float((apart[:, 0] - apart[:, 1]).square().mean().sqrt()), 2),
        "promised_gain": round(mean[2], 2),
        "reached_gain": round(mean[3], 2),
        "gain_inside_interval": round(inside / banks, 3),
        "width_of_interval": round(mean[4], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--model", default="a2m2-lite0")
    parser.add_argument("--banks", type=int, default=40)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--out")
    options = parser.parse_args()
    model = load_model(options.model)
    rows = []
    for folder in options.folders:
        opened = Folder.open(folder, model, options.cache)
        found, labels = opened.encoded(model.method), opened.labels
        for way, shot in SIZES:
            facts = {"data": folder.name, "way": way, "clips_per_class": shot}
            found_labels = mislabelled(model, found, labels, way, shot, options.banks)
            rows.append(
                {
                    **facts,
                    **found_labels,
                    **promised(model, found, labels, way, shot, options.banks),
                }
            )
            print(rows[-1], file=sys.stderr, flush=True)
    facts = receipt(
        model=model.id, weights=model.weights_hash, banks=options.banks, doubt=DOUBT, results=rows
    )
    publish(facts, options.out)


if __name__ == "__main__":
    main()
