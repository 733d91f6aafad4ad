"""Which model is meant: the default one, or what stands for one."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from a2m2_zoo._utils.arguments import kind, path_text
from a2m2_zoo._utils.files import exists
from a2m2_zoo._utils.locks import Lock
from a2m2_zoo.errors import A2M2Error, ArgumentError, BankError, DependencyError, FetchError
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
    with _default_lock:
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
    try:
        return as_model(bank.opened_as or bank.model)
    except (DependencyError, FetchError):
        raise
    except A2M2Error as error:
        raise not_at_hand(bank) from error


def not_at_hand(bank: SupportBank) -> BankError:
    """What to say of a bank whose model is not found by its name."""
    name, weights = bank.opened_as or bank.model, bank.weights_hash[:12]
    return BankError(
        f"the bank was made by model {name!r} (weights {weights}), which is not at hand by that name: "
        "give it (model=..., or --model), your own by its path, a library's backbone with its weights, a "
        "plugin's with its file (--import)"
    )
