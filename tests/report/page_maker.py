"""Made-up comparisons for the tests of the page: every status, hostile names, any size."""

from __future__ import annotations

import numpy as np

from a2m2_zoo.evaluation.results import Comparison, Difference, Failure, MethodResult

METHODS = {
    "a2m2": "trained",
    "a2m2-otam": "trained",
    "a2m2-diagonal": "trained",
    "protonet": "no parameters",
    "otam": "no parameters",
    "bimhm": "no parameters",
    "deepemd": "no parameters",
    "trx": "untrained",
    "strm": "untrained",
    "hyrsm": "untrained",
    "hyrsm++": "untrained",
    "molo": "untrained",
    "clip-fsar": "training-free",
    "a-trained-head-of-our-own-with-a-long-name.safetensors": "trained",
}

HOSTILE = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(2)>",
    "x" * 200,
    "many words " * 18,
    "رمي الكرة إلى الأعلى",
    "\u202eturned around",
    "跳ぶ & 走る",
    "nul\x00 and a half \udc80 character",
    "</style></title>-->",
    "javascript:alert(3)",
)


def comparison(
    classes: int = 20, *, shots: tuple[int, ...] = (1, 5), hostile: bool = True, seed: int = 0
) -> Comparison:
    """A plausible comparison of ``METHODS`` over ``classes`` classes."""
    draw = np.random.default_rng(seed)
    names = [f"action number {i}" for i in range(classes)]
    if hostile:
        names[: min(len(HOSTILE), classes)] = HOSTILE[:classes]
    results = tuple(r for shot in shots for r in _block(draw, classes, shot))
    return Comparison(
        title="14 methods on drawn figures <b>bold</b>" if hostile else "14 methods on figures",
        reference="a2m2",
        class_names=tuple(names),
        clips=tuple(int(n) for n in draw.integers(20, 31, classes)),
        way=5,
        shots=shots,
        query=1,
        episodes=10_000,
        seed=seed,
        model="a2m2-lite0",
        receipt={"versions": {"torch": "2"}, "data": {"sha256": "0f" * 32, "note": "</pre><b>"}},
        results=results,
        failures=(
            Failure("clip", "jump/<i>broken</i>.mp4", "it cannot be decoded"),
            Failure("class", "sit", "3 clips; 6 are needed"),
        ),
    )


def _block(draw: np.random.Generator, classes: int, shot: int) -> list[MethodResult]:
    skill = {name: draw.uniform(-8, 2) for name in METHODS}
    skill["a2m2"] = 0.0
    for name, status in METHODS.items():
        skill[name] -= 25 * (status == "untrained")
    base = 62 + 8 * np.log2(shot)
    found = []
    for name, status in METHODS.items():
        accuracy = base + skill[name]
        confusion = _confusion(draw, classes, accuracy / 100)
        rows = confusion.sum(1)
        per_class = 100 * np.diag(confusion) / np.maximum(rows, 1)
        difference = Difference(
            mean=skill[name],
            interval=0.6,
            class_interval=2.4,
            p_value=float(np.exp(-abs(skill[name]) * 9)),
        )
        found.append(
            MethodResult(
                method=name,
                shot=shot,
                status=status,
                parameters=0 if status == "no parameters" else 1_234_567,
                accuracy=float(accuracy),
                interval=0.4,
                class_interval=4.2,
                calibration_error=0.031 if name == "a2m2" else None,
                per_class=(*(float(p) for p in per_class[:-1]), None),
                confusion=tuple(tuple(int(c) for c in row) for row in confusion),
                difference=None if name == "a2m2" else difference,
                score_ms=float(np.exp(draw.uniform(-3, 4))),
                encode_ms=0.8,
            )
        )
    return sorted(found, key=lambda r: -r.accuracy)


def _confusion(draw: np.random.Generator, classes: int, accuracy: float) -> np.ndarray:
    queries = 50_000 // classes
    wrong = draw.dirichlet(np.full(classes, 0.3), classes) * (1 - np.eye(classes))
    wrong /= wrong.sum(1, keepdims=True)
    right = np.clip(accuracy + draw.normal(0, 0.12, classes), 0, 1)[:, None]
    shares = right * np.eye(classes) + (1 - right) * wrong
    counts = np.stack([draw.multinomial(queries, row / row.sum()) for row in shares])
    counts[-1] = 0  # a class that was never asked
    return counts
