"""The text cue: what a model with a text tower says of a clip given the names of the classes.

Class texts and their average over prompts are those of Radford et al., "Learning Transferable Visual Models
From Natural Language Supervision" (ICML 2021), section 3.1.4; the mixture with the answer from the supports
is that of Wang et al., "CLIP-guided Prototype Modulating for Few-shot Action Recognition" (IJCV 2024).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from a2m2_zoo._utils.arguments import kind, real
from a2m2_zoo._utils.locks import Lock
from a2m2_zoo._utils.typing import Float
from a2m2_zoo._utils.workers import apart
from a2m2_zoo.backbones import ClipText, has_text
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.hub.manifest import list_models, read_manifest
from a2m2_zoo.ops.fusion import fuse_text

if TYPE_CHECKING:
    from a2m2_zoo.recognition.model import Model

#: What a name is put into where nobody says otherwise, as in CLIP-FSAR.
TEMPLATES = ("a photo of {}",)

#: Class → the name that goes into the templates, or prompts that are taken as they are.
ClassNames: TypeAlias = Mapping[str, "str | Sequence[str] | None"]

_SHARE = "0 (supports alone) to 1 (text alone)"
_KEPT = 10_000  # embedded prompts, two kilobytes each; the oldest go first


class TextTower:
    """A model's text tower, opened when it is first asked; every prompt is embedded once.

    It computes on the CPU in float32, wherever the model is. Safe to share between threads.

    Args:
        build: Gives the tower.
    """

    def __init__(self, build: Callable[[], ClipText]) -> None:
        self._build = build
        self._tower: ClipText | None = None
        self._embedded: dict[str, Tensor] = {}
        self._lock = Lock()  # taken in the package's own threads only

    @property
    @apart
    def scale(self) -> float:
        """The model's own factor on cosines between images and texts."""
        with self._lock.held:
            return self._opened().scale

    @apart
    @torch.inference_mode()
    def embed(self, prompts: Sequence[str]) -> Float[Tensor, "n c"]:
        """Embeddings of prompts, not normalised.

        Raises:
            ArgumentError: The weights have no text tower after all.
            CheckpointError: The file that had the tower is gone or was replaced.
        """
        with self._lock.held:
            new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._embedded]
            # One by one: a prompt's embedding is the same to the last bit whatever comes with it.
            found = {prompt: self._opened().encode_text([prompt])[0].float() for prompt in new}
            known = self._embedded | found
            self._embedded = dict(list(known.items())[-_KEPT:])
            return torch.stack([known[prompt] for prompt in prompts])

    def _opened(self) -> ClipText:
        if self._tower is None:
            self._tower = self._build()
        return self._tower


@dataclass(frozen=True)
class TextCue:
    """The texts of the classes of a bank, embedded.

    Attributes:
        weight: α, the share of the text in the answer.
        prompts: Class → what stands for it, in the order of the classes.
        texts: Mean embedding of each class's prompts as they come from the tower.
        directions: Mean of their unit vectors, of unit length.
        scale: The model's own factor on cosines.
    """

    weight: float
    prompts: Mapping[str, tuple[str, ...]]
    texts: Float[Tensor, "w c"]
    directions: Float[Tensor, "w c"]
    scale: float

    @classmethod
    @apart
    def of(
        cls, tower: TextTower, prompts: Mapping[str, tuple[str, ...]], *, weight: float
    ) -> TextCue:
        """Embed the prompts of the classes."""
        each = tower.embed([prompt for some in prompts.values() for prompt in some])
        parts = torch.split(each, [len(some) for some in prompts.values()])
        unit = [functional.normalize(part, dim=-1).mean(0) for part in parts]
        return cls(
            weight=weight,
            prompts=prompts,
            texts=torch.stack([part.mean(0) for part in parts]),
            directions=functional.normalize(torch.stack(unit), dim=-1),
            scale=tower.scale,
        )

    def probabilities(self, clips: Float[Tensor, "q c"]) -> Float[Tensor, "q w"]:
        """What the texts alone say.

        Args:
            clips: Mean unit frame vector of each clip, of any length, see ``Model.encode_both``.
        """
        cosine = functional.normalize(clips, dim=-1) @ self.directions.mT
        return (self.scale * cosine.double()).softmax(-1)

    def mixed(
        self, visual: Float[Tensor, "q w"], clips: Float[Tensor, "q c"]
    ) -> Float[Tensor, "q w"]:
        """The answer of both: p ∝ p_text^α · p_visual^(1−α).

        Args:
            visual: Probabilities from the supports.
            clips: As for ``probabilities``.
        """
        return fuse_text(visual, self.probabilities(clips), beta=self.weight)


def text_cue(
    model: Model,
    classes: Sequence[str],
    *,
    text_weight: float = 0.0,
    class_names: ClassNames | None = None,
    templates: str | Sequence[str] | None = None,
) -> TextCue | None:
    """The embedded texts of classes for a model; None where they have no share in its answers.

    Args:
        model: The model.
        classes: The classes, in order.
        text_weight: See ``options.TextOptions``, as the others.
        class_names: Class → what it is called.
        templates: What a name is put into.

    Raises:
        ArgumentError: The model has no text tower, or mixes texts in itself with another weight.
    """
    check_weight(text_weight)
    own = model.method.own_text_weight
    if own is not None and own != text_weight:
        raise ArgumentError(
            f"text_weight is {text_weight} and the head of {model.id} mixes texts in itself with a weight "
            f"of {own}; give text_weight={own}"
        )
    if text_weight == 0:
        return None
    if model.text is None:
        raise ArgumentError(
            f"text_weight is {text_weight} and {model.id} has no text tower; expected 0, or a model on "
            "CLIP: " + ", ".join(models_with_text())
        )
    prompts = class_prompts(classes, class_names=class_names, templates=templates)
    return TextCue.of(model.text, prompts, weight=text_weight)


def class_prompts(
    classes: Sequence[str],
    *,
    class_names: ClassNames | None = None,
    templates: str | Sequence[str] | None = None,
) -> dict[str, tuple[str, ...]]:
    """What stands for each class.

    Args:
        classes: The classes, in order.
        class_names: Class → a name, which goes into every template, or a list of prompts, which are
            taken as they are. A class that is not in it, or whose value is None, goes by its own name
            with ``_`` and ``-`` as spaces.
        templates: One or several texts with ``{}`` where the name goes; ``TEMPLATES`` if None.

    Raises:
        ArgumentError: A template has no ``{}``, a name or prompt is empty, or a class is unknown.

    >>> class_prompts(["high_jump", "run"], class_names={"run": ["a person runs"]})
    {'high_jump': ('a photo of high jump',), 'run': ('a person runs',)}
    """
    names: ClassNames = {} if class_names is None else class_names
    if not isinstance(names, Mapping):
        raise ArgumentError(f"class_names is {kind(names)}; expected a mapping {{class: name}}")
    if unexpected := sorted(set(names) - set(classes)):
        raise ArgumentError(
            f"class_names speaks of {', '.join(map(repr, unexpected[:5]))}; the classes are "
            f"{', '.join(map(repr, classes))}"
        )
    frames = (
        TEMPLATES if templates is None else [templates] if isinstance(templates, str) else templates
    )
    if not frames:
        raise ArgumentError("templates is empty; give at least one, such as 'a photo of {}'")
    for frame in frames:
        if not isinstance(frame, str) or "{}" not in frame:
            raise ArgumentError(
                f"template {frame!r} has no {{}} where the name goes; expected one such as 'a photo of {{}}'"
            )
    return {name: _prompts(name, names.get(name), frames) for name in classes}


def _prompts(
    name: str, given: str | Sequence[str] | None, frames: Sequence[str]
) -> tuple[str, ...]:
    if given is None:
        given = " ".join(name.replace("_", " ").replace("-", " ").split()) or name
    texts = [given] if isinstance(given, str) else given
    if (
        not isinstance(texts, Sequence)
        or not texts
        or not all(isinstance(text, str) and text.strip() for text in texts)
    ):
        raise ArgumentError(
            f"class {name!r} has the text {given!r}; expected a name or a list of prompts"
        )
    if isinstance(given, str):
        return tuple(frame.replace("{}", given) for frame in frames)
    return tuple(texts)


def check_weight(weight: float) -> None:
    """Refuse a share of the text that is none.

    Raises:
        ArgumentError: It is not from 0 to 1.
    """
    if real("text_weight", weight, _SHARE, least=0, most=1) is None:
        raise ArgumentError(f"text_weight is None; expected {_SHARE}")


def models_with_text() -> list[str]:
    """Names of the models that can be told the names of classes in words.

    >>> "a2m2-lite0" in models_with_text()
    False
    """
    listed = read_manifest()
    return [
        name
        for name in list_models()
        if has_text(listed.backbones[listed.models[name].backbone].architecture)
    ]
