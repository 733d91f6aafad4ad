"""Models by name: the zoo opens them. The only step from this room up, and a late one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeAlias

from a2m2_zoo.recognition.bank import SupportBank
from a2m2_zoo.recognition.model import Model

if TYPE_CHECKING:
    from a2m2_zoo.recognition.supports import AnySupports

#: A model, its name or the path of its checkpoint; None is the bank's own, else the default.
AnyModel: TypeAlias = "Model | str | os.PathLike[str] | None"


def model_for(model: AnyModel, supports: AnySupports) -> Model:
    """The model that was given, or the one that the supports name if they are a bank, or the default one.

    Raises:
        BankError: The bank's model is not at hand.
        ArgumentError: It is no model.
    """
    if isinstance(model, Model):
        return model
    from a2m2_zoo.zoo import choose

    if isinstance(supports, SupportBank):
        return choose.model_of(supports, model)
    return choose.as_model(model)
