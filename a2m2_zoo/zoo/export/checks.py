"""Whether a written graph computes what the model computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from a2m2_zoo.errors import ExportError
from a2m2_zoo.methods.base import take
from a2m2_zoo.recognition.bank import SupportBank
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.recognition.recognizer import Recognizer
from a2m2_zoo.synthetic import draw_clip
from a2m2_zoo.video import Clip, read_clip
from a2m2_zoo.zoo.export.runtimes import Run

#: The largest difference allowed, as a share of the largest value where that exceeds 1.
TOLERANCE = 1e-4

_SEED = 0
_DRAWN = 4
_TOGETHER = 7  # clips; more at once would take memory without telling more
# (queries, classes of the supports): one of each, as many, unequal shots, a support alone.
_EPISODES = (
    (1, (0, 1)),
    (3, (0, 1, 2)),
    (2, (0, 1, 0, 0)),
    (6, (1, 0, 2, 2, 1, 0)),
    (1, (0,)),
)


@dataclass(frozen=True)
class Reference:
    """What the model itself computes of some clips.

    Attributes:
        model: The model.
        pixels: (B, T, size, size, 3) uint8.
        descriptors: Of those.
    """

    model: Model
    pixels: Tensor
    descriptors: dict[str, Tensor]

    @classmethod
    def of(cls, model: Model, clips: Sequence[Clip] = ()) -> Reference:
        """From noise, a picture that stands still, drawn figures in motion, and the clips given."""
        spec = model.preprocess
        rng = np.random.default_rng(_SEED)
        shape = (spec.frames, spec.size, spec.size, 3)
        made = [rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(2)]
        made.append(np.broadcast_to(made[0][:1], shape).copy())
        made += [draw_clip(_SEED, c, 0, frames=3 * spec.frames, size=256) for c in range(_DRAWN)]
        found = [*(read_clip(array, spec) for array in made), *clips]
        pixels = torch.stack([torch.from_numpy(clip.frames) for clip in found])
        return cls(model, pixels, model.encode(found, batch_size=1))

    def check_encoder(self, run: Run) -> dict[str, float]:
        """Largest difference of each descriptor, clips one by one and several at once.

        Raises:
            ExportError: One is above ``TOLERANCE``.
        """
        runs = [self._encoded(run, size) for size in (1, _TOGETHER)]
        found = {
            name: max(_difference(encoded[name], expected) for encoded in runs)
            for name, expected in self.descriptors.items()
        }
        return _sound("encoder", found)

    def _encoded(self, run: Run, size: int) -> dict[str, Tensor]:
        """The graph's descriptors of all clips, ``size`` of them at once."""
        parts = [run([some]) for some in torch.split(self.pixels, size)]
        joined = (torch.cat(part) for part in zip(*parts, strict=True))
        return dict(zip(self.descriptors, joined, strict=True))

    def check_matcher(self, run: Run, encoder: Run) -> dict[str, float]:
        """Largest difference of the scores, from the graph's own descriptors on.

        Raises:
            ExportError: One is above ``TOLERANCE``.
        """
        own = self._encoded(encoder, _TOGETHER)
        count = len(self.pixels)
        found = {"logits": 0.0, "pairs": 0.0}
        for start in range(count):
            for wanted, classes in _EPISODES:
                query = (torch.arange(wanted) + start) % count
                support = (torch.arange(len(classes)) + start + wanted) % count
                sides = (take(own, query), take(own, support))
                rule, expected = self._answered(query, support, classes)
                got = run([*sides[0].values(), *sides[1].values(), *rule])
                for name, value, right in zip(found, got, expected, strict=True):
                    found[name] = max(found[name], _difference(value, right))
        return _sound("matcher", found)

    def _answered(
        self, query: Tensor, support: Tensor, classes: tuple[int, ...]
    ) -> tuple[list[Tensor], tuple[Tensor, Tensor]]:
        """The rule over the supports that a program is given, and the model's logits and pairs."""
        queries, supports = (take(self.descriptors, side) for side in (query, support))
        pairs = self.model.pairs(queries, supports)
        assert pairs is not None
        if len(classes) == 1:  # no choice, so nobody answers; what is given is passed through
            return [torch.ones(1, 1), torch.zeros(1)], (pairs, pairs)
        bank = SupportBank(
            class_names=tuple(map(str, sorted(set(classes)))),
            labels=classes,
            descriptors=supports,
            thumbnails=self.pixels[support],
            sources=tuple(map(str, support.tolist())),
            model=self.model.id,
            weights_hash=self.model.weights_hash,
        )
        recognizer = Recognizer(self.model, bank)
        rule = [value.float() for value in recognizer.supports.fitted.linear()]
        return rule, (recognizer.scores(queries).logits, pairs)


def _difference(value: Tensor, expected: Tensor) -> float:
    """Infinite where it is not finite or of another shape."""
    if value.shape != expected.shape or not bool(value.isfinite().all()):
        return float("inf")
    return float((value - expected).abs().max() / expected.abs().max().clamp_min(1))


def _sound(part: str, differences: dict[str, float]) -> dict[str, float]:
    for name, difference in differences.items():
        if difference > TOLERANCE:
            raise ExportError(
                f"the exported {part} differs from the model by {difference:.1e} in {name}, more than "
                f"{TOLERANCE:.0e}; the export was removed. Report it with the versions of torch and onnx"
            )
    return {name: float(f"{value:.2g}") for name, value in differences.items()}
