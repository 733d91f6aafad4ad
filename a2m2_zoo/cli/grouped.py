"""Commands with many flags take them in groups: dataclasses whose fields are Typer's options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Any, get_type_hints

from a2m2_zoo._utils.remote.addresses import place


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """The command as Typer wants it, every field of its groups a parameter of its own.

    Args:
        command: Parameters that are annotated with a dataclass are groups. No two groups, and no group and
            the command, have a parameter of the same name.
    """
    flags: list[Parameter] = []
    groups: dict[str, type[Any]] = {}
    for given in signature(command, eval_str=True).parameters.values():
        if isinstance(given.annotation, type) and is_dataclass(given.annotation):
            groups[given.name] = given.annotation
            flags += _flags(given.annotation)
        else:
            flags.append(given.replace(kind=Parameter.KEYWORD_ONLY))

    @wraps(command)
    def run(**given: Any) -> None:
        given = {name: _placed(value) for name, value in given.items()}
        made = {
            name: kind(**{field.name: given.pop(field.name) for field in fields(kind)})
            for name, kind in groups.items()
        }
        command(**given, **made)

    run.__signature__ = Signature(flags)  # type: ignore[attr-defined]
    run.__annotations__ = {flag.name: flag.annotation for flag in flags}
    return run


def _placed(value: Any) -> Any:
    """Paths, of which some are addresses."""
    if isinstance(value, list):
        return [_placed(one) for one in value]
    return place(value) if isinstance(value, Path) else value


def _flags(kind: type[Any]) -> list[Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    return [
        Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(kind)
    ]
