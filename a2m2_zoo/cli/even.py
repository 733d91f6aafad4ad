"""What all commands have alike, given to each in one place: metavars, --quiet and --verbose, flowing help."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import OptionInfo

#: What stands for a value, by the option's name, or by the type where the name says nothing.
_NAMED = {
    "benchmark": "NAME",
    "cache": "DIR",
    "cut": "DIR",
    "device": "DEVICE",
    "html": "FILE",
    "list_file": "FILE",
    "method": "NAME",
    "model": "MODEL",
    "name": "NAME",
    "plot": "FILE",
    "recipe": "NAME",
    "runtime": "NAME",
    "supports": "SUPPORTS",
    "validation": "DATA",
    "backbone_weights": "FILE",
}
_TYPES: dict[Any, str] = {int: "N", float: "X", Path: "PATH", str: "TEXT"}

Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        help="Only answers and faults: no progress, no notes.",
        rich_help_panel="Talk",
    ),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        help="Also say what is loaded and what is behind a fault.",
        rich_help_panel="Talk",
    ),
]


class _Flags:
    """In the help no word for a value stands behind a switch, be it --help itself."""

    def get_params(self, ctx: Any) -> list[Any]:
        found: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for option in found:
            if getattr(option, "is_flag", False):
                option.metavar = ""
        return found


class _Command(_Flags, TyperCommand):
    """A command."""


class Group(_Flags, TyperGroup):
    """Commands under one name."""


def even_out(commands: typer.Typer) -> None:
    """Give every command of a tree what all have."""
    for command in commands.registered_commands:
        assert command.callback is not None
        said = inspect.getdoc(command.callback) or ""
        # Let the help break its lines where the terminal does, not where the source does.
        command.help = "\n\n".join(" ".join(part.split()) for part in said.split("\n\n"))
        command.callback, command.cls = _spoken(command.callback), _Command
    for group in commands.registered_groups:
        if group.typer_instance is not None:
            group.typer_instance.info.cls = Group
            even_out(group.typer_instance)


def _spoken(command: Callable[..., None]) -> Callable[..., None]:
    """The command with --quiet and --verbose, and with metavars where it names none."""
    hints = get_type_hints(command, include_extras=True)
    given = [p.replace(annotation=hints[p.name]) for p in signature(command).parameters.values()]
    talk = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for name, kind in (("quiet", Quiet), ("verbose", Verbose))
    ]
    for parameter in (*given, *talk):
        _name_value(parameter.name, parameter.annotation)

    @wraps(command)
    def run(*, quiet: bool = False, verbose: bool = False, **options: Any) -> None:
        from a2m2_zoo.cli import output

        if quiet and verbose:
            raise typer.BadParameter("--quiet and --verbose exclude each other")
        output.speak(quiet=quiet, verbose=verbose)
        command(**options)

    flags = [*(p.replace(kind=Parameter.KEYWORD_ONLY) for p in given), *talk]
    run.__signature__ = Signature(flags)  # type: ignore[attr-defined]
    run.__annotations__ = {flag.name: flag.annotation for flag in flags}
    return run


def _name_value(name: str, annotation: Any) -> None:
    """Say what stands after an option, by its name or by its type."""
    kind, *infos = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    while get_origin(kind) in (list, Union, types.UnionType):
        kind = next(part for part in get_args(kind) if part is not type(None))
    for info in infos:
        if isinstance(info, OptionInfo) and info.metavar is None:
            info.metavar = _NAMED.get(name, _TYPES.get(kind))
