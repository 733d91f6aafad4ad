"""What a run starts from: a model's backbone and a head on it, or a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from a2m2_zoo._utils.bounded_json import OutOfBoundsError, parse
from a2m2_zoo._utils.files import sha256_of
from a2m2_zoo._utils.workers import plain
from a2m2_zoo.backbones import Backbone
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.hub.fetch import fetch
from a2m2_zoo.hub.manifest import read_manifest
from a2m2_zoo.methods import METHODS, build_method
from a2m2_zoo.methods.base import Method
from a2m2_zoo.methods.blocks._config import C
from a2m2_zoo.recognition.calibration import UNFITTED
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.recognition.rejection import Table
from a2m2_zoo.training.augment import Augment
from a2m2_zoo.training.config import TrainingConfig
from a2m2_zoo.training.distort import Distortion
from a2m2_zoo.training.finish import BackboneOrigin
from a2m2_zoo.training.generated import Generated
from a2m2_zoo.training.recipes import recipe as find_recipe
from a2m2_zoo.video import Preprocess
from a2m2_zoo.zoo.load import load_model


@dataclass(frozen=True)
class Start:
    """Everything but the clips.

    Attributes:
        method_name: Name in the table of methods.
        method: The head as it is before training.
        backbone: Network in evaluation mode.
        backbone_file: Where its weights come from.
        preprocess: How clips become frames.
        config: The settings.
        augment: For training from videos.
        scales: Of a head that is trained on; 1 for others.
        texts: Whether the recipe adds the texts of the classes, see ``prepare``.
        recipe: Its name, where there is one.
        generated: The classes that are drawn where no clips are given.
        distortion: What is done to features that are trained on.
        after: What differs in the head that is kept, see ``finished``.
        rejection: Weights of rejection of a head that is trained on.
        begins_with: Name and hash of the model whose head is trained on; empty for seeded weights.
        cautious: Whether the start is kept unless the trained head is better on clips that are held out.
    """

    method_name: str
    method: Method
    backbone: Backbone
    backbone_file: BackboneOrigin
    preprocess: Preprocess
    config: TrainingConfig
    augment: Augment | None
    scales: Mapping[int, float]
    recipe: str | None = None
    generated: Generated | None = None
    distortion: Distortion | None = None
    after: Mapping[str, Any] = field(default_factory=dict)
    rejection: Table | None = None
    begins_with: str = ""
    cautious: bool = False

    def to(self, device: torch.device) -> Start:
        """The same elsewhere."""
        return replace(self, method=self.method.to(device), backbone=self.backbone.to(device))

    def prepare(self, names: Sequence[str]) -> None:
        """Add what the losses need for these training classes, and drop a text tower that is done with."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            if self.recipe is None:
                self.method.prepare_training(classes=len(names))
            else:
                find_recipe(self.recipe).prepare(self.method, self.backbone, names=names)
        if getattr(self.backbone, "text", None) is not None:
            self.backbone.text = None  # type: ignore[assignment]

    def finished(self) -> Method:
        """The head to keep: the trained one, with what the recipe changes after training."""
        if not self.after:
            return self.method
        made = _seeded(self.method_name, self._values, self.config.seed)
        made.load_state_dict(self.method.weights())
        held = next(self.method.parameters(), torch.empty(0))
        return made.to(held.device).eval()

    @property
    def reads_people(self) -> bool:
        """Whether the head to keep takes the people of clips."""
        if not self.after:
            return self.method.reads_people
        return getattr(METHODS[self.method_name][1].from_dict(self._values), "reads_people", False)

    @property
    def _values(self) -> dict[str, Any]:
        """The configuration of the head to keep."""
        return _changed(self.method.config, self.after)


@plain()
def from_model(
    model: Model,
    *,
    folder: Path | None,
    method: str | None = None,
    from_scratch: bool = False,
    recipe: str | None = None,
    settings: Mapping[str, Any],
) -> Start:
    """A head on a model's backbone: the model's own, or another method's with seeded weights.

    Args:
        model: Gives backbone and preprocessing, and the head's weights if the method is its own.
        folder: Where the model's file lies, if its backbone has a file beside it.
        method: Name of a method; the model's own if None.
        from_scratch: Seeded weights for the model's own method too.
        recipe: A cautious one, with which the model's own head is trained on; what it changes in the method
            for training, where that has such fields, is changed back in the end.
        settings: Fields of ``TrainingConfig``, and of the method's configuration as ``method.<field>``; with
            a recipe also as ``distortion.<field>``. They replace the recipe's own.

    Raises:
        ModelNotFoundError: No method or recipe goes by that name.
        ArgumentError: A setting is refused, or the method cannot stand on this backbone.
    """
    name = method or model.method_name
    found = None if recipe is None else find_recipe(recipe)
    distortion = None if found is None else found.distortion
    parts = _parts(settings, "method", *(["distortion"] if distortion else []))
    config = TrainingConfig.from_dict({**(found.training if found else {}), **parts["training"]})
    own = name == model.method_name and not from_scratch
    if name not in METHODS:
        build_method(name, {})  # which says what names there are
    base = (
        model.method.config
        if own
        else METHODS[name][1].for_backbone(model.backbone, frames=model.steps)
    )
    known = base.to_dict()
    changes = {k: v for k, v in (found.method_config if found else {}).items() if k in known}
    values = _changed(base, {**changes, **parts["method"]})
    after = {field: known[field] for field in changes if field not in parts["method"]}
    head = _seeded(name, values, config.seed)
    if own:
        try:
            head.load_state_dict(model.method.weights())
        except RuntimeError as error:
            raise ArgumentError(
                f"the weights of {model.id!r} do not fit its method with these settings; start from scratch"
            ) from error
    file = model.weights_path
    if file is None and model.backbone_file is not None and folder is not None:
        file = folder / model.backbone_file
    built = file is not None and model.weights_path is None and not file.exists()
    backbone_file = BackboneOrigin(
        model.backbone_name, model.backbone_hash, None if built else file, built=built
    )
    scales = model.scales if own else UNFITTED
    made = Start(name, head, model.backbone, backbone_file, model.preprocess, config, None, scales)
    begins = f"{model.id} {model.weights_hash}" if own else ""
    made = replace(made, rejection=model.table if own else None, begins_with=begins)
    if found is None:
        return made
    if distortion is not None:
        distortion = _with(distortion, parts["distortion"])
    return replace(
        made, recipe=found.name, distortion=distortion, after=after, cautious=found.cautious
    )


@plain()
def from_recipe(name: str, *, weights: Path | None, settings: Mapping[str, Any]) -> Start:
    """What a recipe says.

    Args:
        name: Of the recipe.
        weights: Of its backbone; needed where the manifest has none.
        settings: As for ``from_model``, and as ``generated.<field>``, ``distortion.<field>`` and
            ``after.<field>`` where the recipe has such; they replace the recipe's own.

    Raises:
        ModelNotFoundError: There is no such recipe.
        ArgumentError: A setting is refused, or the backbone's weights are needed.
        CheckpointError: They cannot be read.
    """
    found = find_recipe(name)
    if found.cautious and found.start is not None and weights is None:
        start = load_model(found.start, device="cpu")
        return from_model(start, folder=None, recipe=name, settings=settings)
    own = {
        "generated": found.generated, "distortion": found.distortion, "after": found.after or None,
    }  # fmt: skip
    parts = _parts(settings, "method", *(part for part, value in own.items() if value is not None))
    config = TrainingConfig.from_dict({**found.training_config.to_dict(), **parts["training"]})
    generated = found.generated and _with(found.generated, parts["generated"])
    if found.start is not None and weights is not None:
        raise ArgumentError(
            f"recipe {found.name} starts from the head of {found.start}, which stands on the package's own "
            "backbone; leave --backbone-weights out"
        )
    listed = None if weights else _listed(found.backbone)
    backbone = found.build_backbone(weights if listed is None else listed.tensors)
    seed = config.seed + (generated.seed if generated else 0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = found.build_method(backbone)
    if parts["method"]:
        head = _seeded(found.method, _changed(head.config, parts["method"]), seed)
    begins = "" if found.start is None else _begin(head, found.start)
    if weights is not None:
        backbone_file = BackboneOrigin(found.backbone, sha256_of(weights), weights)
    else:
        assert listed is not None  # or the recipe would have asked for weights
        backbone_file = BackboneOrigin(listed.id, listed.sha256)
    return Start(
        found.method,
        head,
        backbone,
        backbone_file,
        found.preprocess,
        config,
        found.augment,
        UNFITTED,
        found.name,
        generated,
        found.distortion and _with(found.distortion, parts["distortion"]),
        {**found.after, **parts.get("after", {})},
        begins_with=begins,
    )


def _begin(head: Method, name: str) -> str:
    """Give a head the weights of a model's; what else it has, and the temperature, keep their start.

    Returns:
        Name and hash of the model.
    """
    model = load_model(name, device="cpu")
    known = model.method.weights()
    known.pop("align.log_temperature", None)
    try:
        head.load_state_dict({**head.weights(), **known})
    except RuntimeError as error:
        raise ArgumentError(
            f"the weights of {name!r} do not fit its method with these settings; leave some of them out"
        ) from error
    return f"{model.id} {model.weights_hash}"


@dataclass(frozen=True)
class _Listed:
    """A backbone that the manifest has: in the package, or fetched from the Hub once."""

    id: str
    sha256: str
    tensors: Mapping[str, Tensor]


def _listed(architecture: str) -> _Listed | None:
    manifest = read_manifest()
    for entry in manifest.backbones.values():
        if entry.architecture == architecture and entry.source and entry.sha256:
            path = fetch(entry.source, root=manifest.root, sha256=entry.sha256)
            return _Listed(
                entry.id, entry.sha256, checkpoint.read_tensors(path, sha256=entry.sha256)
            )
    return None


def read_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """``FIELD=VALUE`` as field → value; values are JSON, or plain words.

    Raises:
        ArgumentError: There is no ``=``, or the value is out of all bounds.

    >>> read_settings(["lr=3e-4", "precision=bfloat16", "validate_shots=[1]"])
    {'lr': 0.0003, 'precision': 'bfloat16', 'validate_shots': [1]}
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise ArgumentError(
                f"{pair[:60]!r} is no setting; expected FIELD=VALUE such as lr=3e-4"
            )
        try:
            found[name] = parse(text)
        except OutOfBoundsError as error:
            raise ArgumentError(f"{name}={text[:40]!r} is no setting: {error}") from error
        except ValueError:
            found[name] = text
    return found


def _parts(settings: Mapping[str, Any], *names: str) -> dict[str, dict[str, Any]]:
    """The settings below each of the names, and all others as those of the training."""
    found: dict[str, dict[str, Any]] = {name: {} for name in (*names, "training")}
    for path, value in settings.items():
        part, dot, rest = path.partition(".")
        if dot and part in names:
            found[part][rest] = value
        else:
            found["training"][path] = value
    return found


def _with(config: C, changes: Mapping[str, Any]) -> C:
    return config.from_dict({**config.to_dict(), **changes})


def _changed(config: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration's values with some changed; fields that it leaves out of them can be set too."""
    values: dict[str, Any] = config.to_dict()
    known = dict.fromkeys([*values, *getattr(config, "__dataclass_fields__", ())])
    for path, value in changes.items():
        *above, last = path.split(".")
        inner: Any = values
        for name in above:
            inner = inner.get(name) if isinstance(inner, dict) else None
        if not isinstance(inner, dict) or last not in (known if inner is values else inner):
            raise ArgumentError(
                f"the method has no setting {path!r}; its settings are {', '.join(known)}"
            )
        inner[last] = value
    return values


def _seeded(name: str, values: Mapping[str, Any], seed: int) -> Method:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_method(name, values)
