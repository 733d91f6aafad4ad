"""Accuracy against a known temporal misalignment of the queries.

Adaptive alignment claims to find an action wherever and however fast it happens in a clip, so that is
measured: supports stay as they are, and each query is shifted, trimmed, padded with idle or sped up
unevenly by a known amount. Backbones here see single frames, so a clip is encoded once on a dense grid of
frames and every misaligned clip is a choice among those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from a2m2_zoo._utils.notebooks import Bar
from a2m2_zoo._utils.words import counted
from a2m2_zoo._utils.workers import plain
from a2m2_zoo._version import __version__
from a2m2_zoo.backbones import Features
from a2m2_zoo.data.draws import Draw, draw_episodes, labelled
from a2m2_zoo.data.lists import open_dataset
from a2m2_zoo.data.plans import EpisodeForm
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.evaluation.baselines import CONTROLS
from a2m2_zoo.evaluation.bench import Protocol
from a2m2_zoo.evaluation.dataset import copies, used
from a2m2_zoo.evaluation.leaving_out import usable
from a2m2_zoo.evaluation.protocol import Progress, score_draw
from a2m2_zoo.evaluation.results import Copies, Failure
from a2m2_zoo.evaluation.statistics import mean_interval
from a2m2_zoo.evaluation.warps import KINDS, instants, looked_at
from a2m2_zoo.features import FeatureCache, default_cache
from a2m2_zoo.methods.a2m2 import A2M2
from a2m2_zoo.methods.base import Descriptors, Method, concatenate
from a2m2_zoo.zoo.choose import AnyModel, as_model

#: Frames of the dense grid a clip is encoded on.
DENSE = 32
_FORM = EpisodeForm(episodes=2000)
AMOUNTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)


@dataclass(frozen=True)
class Curve:
    """Accuracy of one alignment against the amount of one kind of misalignment.

    Attributes:
        method: Name of the alignment.
        kind: A key of ``KINDS``.
        amounts: Part of the clip, 0..1.
        accuracy: Mean over episodes, percent.
        interval: Half width of its 95 % interval.
        behind: By how many points it is behind the first alignment on the same episodes.
        behind_interval: Half width of the 95 % interval of that difference.
    """

    method: str
    kind: str
    amounts: tuple[float, ...]
    accuracy: tuple[float, ...]
    interval: tuple[float, ...]
    behind: tuple[float, ...]
    behind_interval: tuple[float, ...]


@torch.inference_mode()
def encode_misaligned(
    encoder: Method,
    dense: Iterable[Features],
    *,
    frames: int,
    kinds: Sequence[str] = tuple(KINDS),
    amounts: Sequence[float] = AMOUNTS,
    seed: int = 0,
) -> dict[tuple[str, float], dict[str, Tensor]]:
    """Descriptors of all clips under every misalignment, and aligned under ``("", 0.0)``.

    Args:
        encoder: The method whose ``encode`` is used.
        dense: Features of all clips on a dense grid of frames, some clips at a time.
        frames: T of the method.
        kinds: Keys of ``KINDS``.
        amounts: Parts of the clip.
        seed: Of the draws; the same for every amount, so that a curve follows the same clips.
    """
    cases = [("", 0.0), *((kind, amount) for kind in kinds for amount in amounts if amount)]
    found: dict[tuple[str, float], list[Descriptors]] = {case: [] for case in cases}
    done = 0
    for part in dense:
        clips = len(part.pooled)
        for kind, amount in cases:
            at = instants(frames, done + clips, kind=kind or "shift", amount=amount, seed=seed)[
                done:
            ]
            found[kind, amount].append(encoder.encode(looked_at(part, at)))
        done += clips
    return {case: concatenate(parts) for case, parts in found.items()}


def misalignment_curves(
    methods: Mapping[str, Method],
    encoded: Mapping[tuple[str, float], Descriptors],
    draw: Draw,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[Curve, ...]:
    """Accuracy of methods that share their descriptors, queries misaligned, supports not.

    Args:
        methods: Name → method, all with the same ``encode``.
        encoded: What ``encode_misaligned`` gave.
        draw: The episodes, the same for every amount and method.
        workers: Threads; they do not change the result.
        progress: Called with how many runs of the protocol are done, and how many there are.
    """
    aligned = encoded["", 0.0]
    clips = len(next(iter(aligned.values())))
    moved = replace(draw, query=draw.query + clips)
    kinds = tuple(dict.fromkeys(kind for kind, _ in encoded if kind))
    total, done = len(methods) * len(encoded), 0
    curves = []
    first: dict[tuple[str, float], np.ndarray] = {}
    for name, method in methods.items():
        right: dict[tuple[str, float], np.ndarray] = {}
        for case, descriptors in encoded.items():
            both = concatenate([aligned, descriptors])
            logits = score_draw(method, both, moved, workers=workers)
            right[case] = 100 * (logits.argmax(-1) == draw.truth).double().mean(-1).numpy()
            done += 1
            if progress is not None:
                progress(done, total)
        first = first or right
        for kind in kinds:
            cases = {0.0: ("", 0.0)} | {amount: (k, amount) for k, amount in encoded if k == kind}
            means, halves = _intervals([right[case] for case in cases.values()])
            behind = _intervals([first[case] - right[case] for case in cases.values()])
            curves.append(Curve(name, kind, tuple(cases), means, halves, *behind))
    return tuple(curves)


def _intervals(values: Sequence[np.ndarray]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    means, halves = zip(*(mean_interval(some) for some in values), strict=True)
    return means, halves


@dataclass(frozen=True)
class Misalignment:
    """What was measured.

    Attributes:
        title: What on what.
        curves: One per alignment and kind, the adaptive alignment's first.
        receipt: What it was measured with.
        failures: Clips that cannot be read, and classes that have too few.
        copies: Clips that are there more than once; None where all differ.
    """

    title: str
    curves: tuple[Curve, ...]
    receipt: dict[str, Any]
    failures: tuple[Failure, ...] = ()
    copies: Copies | None = None


@plain()
def measure_misalignment(
    model: AnyModel,
    data: str | Path,
    *,
    kinds: Sequence[str] = tuple(KINDS),
    amounts: Sequence[float] = AMOUNTS,
    form: EpisodeForm = _FORM,
    cache: str | Path | None = None,
    workers: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Misalignment:
    """Accuracy of the model's alignment and of its fixed controls against misalignment of the queries.

    Args:
        model: A model with an A²M² head, its name or path.
        data: A folder with one folder of clips per class.
        kinds: Keys of ``KINDS``.
        amounts: Parts of the clip, 0 to less than 1.
        form: The episodes; its seed is that of the misalignments, too.
        cache: Folder of cached features; ``features.default_cache()`` if None.
        workers: Threads; they do not change the result.
        progress: Told of every step: what is done, how much of it, how much there is.

    Raises:
        ArgumentError: The model has another head or mixes frames, a kind is unknown, or an amount is no part
            of a clip.
        EpisodeError: Too few classes or clips, or too few of them can be read.
    """
    model = as_model(model)
    if not isinstance(model.method, A2M2):
        raise ArgumentError(
            f"{model.id!r} has a {model.method_name} head, whose alignment has no controls; give a model "
            "with an A2M2 head"
        )
    if model.backbone.mixes_frames:
        raise ArgumentError(
            f"{model.backbone_name} mixes the frames of a clip, and this moves frames that were encoded one "
            "by one; give a model on a backbone over pictures"
        )
    for kind in kinds:
        for amount in amounts:
            instants(1, 1, kind=kind, amount=amount, seed=form.seed)
    tell = progress or Bar()
    features = FeatureCache(
        default_cache() if cache is None else cache,
        backbone=model.backbone,
        backbone_hash=model.backbone_hash,
        preprocess=replace(model.preprocess, frames=DENSE),
        stages=model.method.stages,
        half=True,
    )
    fill = partial(features.fill, workers=workers, progress=partial(tell, "encoding frames"))
    protocol = Protocol(form.way, (form.shot,), form.query, form.episodes, form.seed)
    listing = open_dataset(data)
    classes, left_out = usable(listing.classes, protocol, fill)
    measured = used(classes, listing, features.content)
    clips, labels = labelled(classes)
    draw = draw_episodes(labels, form)
    encoded = encode_misaligned(
        model.method,
        _counted(features.read(clips, batch=4), len(clips), tell),
        frames=model.preprocess.frames,
        kinds=kinds,
        amounts=amounts,
        seed=form.seed,
    )
    methods: dict[str, Method] = {model.method_name: model.method}
    for name, alignment in CONTROLS.items():
        methods[name] = model.method.with_alignment(alignment)
    scoring = partial(tell, "scoring episodes")
    curves = misalignment_curves(methods, encoded, draw, workers=workers, progress=scoring)
    name = Path(data).resolve().name
    return Misalignment(
        f"{model.id} on {name}: {form.way}-way {form.shot}-shot, {counted(form.episodes, 'episode')}, only "
        "the query is misaligned",
        curves,
        {
            "a2m2_zoo": __version__,
            "model": model.id,
            "weights_hash": model.weights_hash,
            "runtime": model.runtime,
            "people": False,  # features on the dense grid are kept without
            "data": name,
            **measured.facts,
            "dense_frames": DENSE,
            **asdict(form),
        },
        tuple(left_out),
        copies(measured),
    )


def _counted(
    parts: Iterable[Features], total: int, tell: Callable[[str, int, int], None]
) -> Iterator[Features]:
    done = 0
    for part in parts:
        yield part
        done += len(part.pooled)
        tell("describing misaligned clips", done, total)
