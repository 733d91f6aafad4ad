"""The command line: Typer over the public functions, one module per group of commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from a2m2_zoo.errors import A2M2Error, FetchError, SaveError

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
    from a2m2_zoo.cli.app import app
    from a2m2_zoo.cli.output import notes

    try:
        with notes():
            app(args=None if argv is None else list(argv), prog_name="a2m2")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except (SaveError, FetchError) as error:
        return _complain(error, FAILED)
    except A2M2Error as error:
        return _complain(error, WRONG_CALL)
    except BrokenPipeError:
        # The reader, head for instance, has seen enough: no more output, and no complaint at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)
    except MemoryError:
        return _complain("out of memory; lower --batch-size or --workers", FAILED)
    except OSError as error:
        return _complain(error, FAILED)
    return 0


def _complain(error: object, code: int) -> int:
    print(f"a2m2: {error}", file=sys.stderr)
    return code
