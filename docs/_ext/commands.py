"""The directive ``commands``: every command of ``a2m2`` with its options, read from the program itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from typer.main import get_command

from a2m2_zoo.cli.app import app as program

PROGRAM = "a2m2"


def walk(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every command below a group, groups included, with the words that call it."""
    for name, found in command.commands.items():
        here = f"{path} {name}"
        yield here, found
        if hasattr(found, "commands"):
            yield from walk(found, here)


def entry(parameter: Any) -> list[str]:
    """The lines of one argument or option, in MyST."""
    names = list(parameter.opts)
    if parameter.param_type_name == "argument":
        shown = parameter.metavar or names[0].upper()
        names = [shown]
    else:
        kind = _kind(parameter)
        both = [*sorted(names, key=len, reverse=True), *parameter.secondary_opts]
        shown = ", ".join(f"{name} {kind}".strip() for name in both)
    text = _options_as_code((parameter.help or "").strip())
    if parameter.param_type_name == "option" and parameter.multiple:
        text += "" if "repeat" in text or "again" in text else " May be repeated."
    default = parameter.default
    if isinstance(default, (str, int, float)) and not isinstance(default, bool) and default != "":
        text += f" Default: `{default}`."
    if parameter.required and parameter.param_type_name == "option":
        text += " Required."
    return [f":::{{option}} {shown}", text.strip(), ":::", ""]


def _options_as_code(text: str) -> str:
    """Options that a help text names, set as code: two hyphens would become a dash."""
    return re.sub(r"(?<![`\w-])(--[a-z][\w-]*)", r"`\1`", text)


def _kind(parameter: Any) -> str:
    """What stands after an option's name; nothing for a switch."""
    if parameter.is_flag or parameter.count:
        return ""
    return str(parameter.metavar or parameter.name.strip("_").replace("_", "-").upper())


def page(command: Any) -> str:
    """The whole reference, in MyST."""
    lines: list[str] = []
    for path, found in walk(command, PROGRAM):
        lines += [f"## {path}", "", _options_as_code((found.help or "").strip()), ""]
        if hasattr(found, "commands"):
            continue
        shown = [p for p in found.params if not getattr(p, "hidden", False) and p.name != "help"]
        arguments = [p for p in shown if p.param_type_name == "argument"]
        words = [p.metavar or p.name.upper() for p in arguments]
        usage = [
            word if p.required else f"[{word}]" for word, p in zip(words, arguments, strict=True)
        ]
        lines += [
            "```text",
            " ".join([path, *usage, "[OPTIONS]"]),
            "```",
            "",
            f":::{{program}} {path}",
            ":::",
            "",
        ]
        for parameter in shown:
            lines += entry(parameter)
    return "\n".join(lines)


class Commands(SphinxDirective):
    """``commands``: a section for each command."""

    def run(self) -> list[nodes.Node]:
        """The sections."""
        return self.parse_text_to_nodes(page(get_command(program)), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
