"""The tree of commands. Every command is a few lines over a public function."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from a2m2_zoo._version import __version__
from a2m2_zoo.cli import (
    WRONG_CALL,
    app_command,
    archive,
    bank,
    classify,
    compare,
    data,
    demo,
    embed,
    episode,
    evaluate,
    features,
    find,
    misalign,
    models,
    spot,
    train,
    watch,
)
from a2m2_zoo.cli.even import Group, even_out


class Interrupted(Exception):  # noqa: N818 - somebody asked for it
    """Ctrl-C, or another signal that asks to end, that no command answered itself."""


class _Commands(Group):
    """Typer would turn Ctrl-C and SIGTERM into Ctrl-C's exit code and say nothing."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        with _noticed():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        with _noticed():
            return super().invoke(ctx)


@contextmanager
def _noticed() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as stop:
        raise Interrupted from stop


app = typer.Typer(
    name="a2m2",
    cls=_Commands,
    help="Few-shot video action recognition: a handful of labelled clips, one query clip, the action.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("app")(app_command.app)
app.command("classify")(classify.classify)
app.command("embed")(embed.embed)
app.command("episode")(episode.episode)
app.command("compare")(compare.compare)
app.command("evaluate")(evaluate.evaluate)
app.command("demo")(demo.demo)
app.command("features")(features.features)
app.command("find")(find.find)
app.command("suggest")(find.suggest)
app.command("misalign")(misalign.misalign)
app.command("train")(train.train)
app.command("spot")(spot.spot)
app.command("watch")(watch.watch)
app.add_typer(archive.app, name="archive")
app.add_typer(bank.app, name="bank")
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Few-shot video action recognition."""
    if version:
        print(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(WRONG_CALL)


even_out(app)
