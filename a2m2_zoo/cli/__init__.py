"""The command line: Typer over the public functions, one module per group of commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from a2m2_zoo._utils.printable import printable
from a2m2_zoo._utils.streams import Stream, safe
from a2m2_zoo.cli import signals
from a2m2_zoo.errors import A2M2Error, EngineError, FetchError, SaveError

#: Some inputs failed; the others are answered.
FAILED = 1
#: The call itself is wrong.
WRONG_CALL = 2
#: Ctrl-C, as shells number it.
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; the console script ``a2m2``.

    Args:
        argv: Arguments without the program's name; those of the process if None.
    """
    with safe() as stdout, signals.heeded():
        try:
            code = _run(argv)
        except KeyboardInterrupt:
            code = _complain("interrupted", signals.exit_code())
        return _delivered(stdout, code)


def _run(argv: Sequence[str] | None) -> int:
    from a2m2_zoo.cli.app import Interrupted, app
    from a2m2_zoo.cli.notes import notes
    from a2m2_zoo.cli.output import speak

    speak(quiet=False, verbose=False)
    try:
        with notes():
            code = app(
                args=None if argv is None else list(argv), prog_name="a2m2", standalone_mode=False
            )
        return code if isinstance(code, int) else 0
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except (SaveError, FetchError, EngineError) as error:
        return _complain(error, FAILED)
    except A2M2Error as error:
        return _complain(error, WRONG_CALL)
    except Interrupted:
        return _complain("interrupted", signals.exit_code())
    except MemoryError:
        return _complain("out of memory; lower --batch-size or --workers", FAILED)
    except OSError as error:
        return _complain(error, FAILED)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        return _misused(error)


def _misused(error: Exception) -> int:
    """The call is wrong in a way that Typer has found."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":  # the help is shown
        return WRONG_CALL
    said = " ".join(error.format_message().split()).rstrip(".")  # type: ignore[attr-defined]
    more = f"; see `{context.command_path} --help`" if context is not None else ""
    return _complain(said + more, getattr(error, "exit_code", WRONG_CALL))


def _delivered(stdout: Stream, code: int) -> int:
    """The exit code, once it is known whether the answers could be written."""
    stdout.flush()
    fault = stdout.fault
    if fault is None:
        return code
    if not isinstance(
        fault, BrokenPipeError
    ):  # else the reader, head for instance, has seen enough
        reason = getattr(fault, "strerror", None) or fault
        _complain(f"the answers could not be written to stdout: {reason}", FAILED)
    return code or FAILED


def _complain(error: object, code: int) -> int:
    print(f"a2m2: {printable(str(error))}", file=sys.stderr, flush=True)
    if isinstance(error, BaseException):
        from a2m2_zoo.cli.output import detail

        while (error := error.__cause__) is not None:
            detail(f"because of {type(error).__name__}: {error}")
    return code
