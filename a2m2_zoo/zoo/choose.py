"""Which model is meant: the default one, or what stands for one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from a2m2_zoo._utils.arguments import kind, path_text
from a2m2_zoo._utils.files import exists
from a2m2_zoo._utils.locks import Lock
from a2m2_zoo.errors import (
    A2M2Error,
    ArgumentError,
    BankError,
    CheckpointError,
    ModelNotFoundError,
    WeightsNotReleased,
)
from a2m2_zoo.hub import DEFAULT_MODEL
from a2m2_zoo.recognition.bank import SupportBank
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.zoo.load import load_model

#: A model, its name or the path of its checkpoint; None is the bank's own, else the default.
AnyModel: TypeAlias = "Model | str | os.PathLike[str] | None"

_default_lock = Lock()


@lru_cache(maxsize=2)
def _loaded_once(name: str) -> Model:
    return load_model(name)


def default_model() -> Model:
    """The default model, loaded once per process even when several threads ask at once."""
    return as_model(DEFAULT_MODEL)


def as_model(model: AnyModel) -> Model:
    """A model from what may stand for one; by name each is loaded once, while it is among the last two.

    Raises:
        ArgumentError: It is something else.
    """
    if isinstance(model, Model):
        return model
    if model is not None and not isinstance(model, (str, os.PathLike)):
        raise ArgumentError(
            f"model is {kind(model)}; expected what load_model gives, or a model's name or path"
        )
    name = DEFAULT_MODEL if model is None else path_text("model", model, "a model's name or path")
    if Path(name).suffix == ".safetensors" or exists(name):
        return load_model(name)  # The file may be another one by now.
    with _default_lock.held:
        return _loaded_once(name)


def model_of(bank: SupportBank, model: AnyModel = None) -> Model:
    """The model that was given, or the one that a bank names.

    Raises:
        BankError: The bank's model is not at hand.
        FetchError: It is on the Hub, which cannot be reached.
        DependencyError: Its library is not installed.
    """
    if model is not None:
        return as_model(model)
    with named_by(bank):
        found = as_model(bank.opened_as or bank.model)
    # What the bank does not have need not be looked for.
    return found if "people" in bank.descriptors else replace(found, pose=False)


def named_by(bank: SupportBank) -> AbstractContextManager[None]:
    """Say that it is a bank which names the model, where that is not found by its name."""
    name = bank.opened_as or bank.model
    return asked_for("the bank", name, weights=bank.weights_hash, error=BankError)


@contextmanager
def asked_for(owner: str, name: str, *, weights: str, error: type[A2M2Error]) -> Iterator[None]:
    """Say who names the model that is opened here, where it is not found by that name.

    Args:
        owner: What was made by the model, as an error calls it.
        name: That it names the model by.
        weights: Hash of the model's weights.
        error: To raise.
    """
    try:
        yield
    except (ModelNotFoundError, WeightsNotReleased, CheckpointError) as cause:
        raise error(
            f"{owner} was made by model {name!r} (weights {weights[:12]}), which is not at hand by that "
            "name: give it (model=..., or --model), your own by its path, a library's backbone with its "
            "weights, a plugin's with its file (--import)"
        ) from cause
