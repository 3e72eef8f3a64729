"""The one place where errors become a message and an exit code, and where the process's streams are settled.

===  ==========================================================================
  0  done; also when the reader of our output had enough of it (``| head``)
  1  our fault, or the machine's: a short message; HEADWAY_DEBUG=1 adds the traceback
  2  the user can mend it: one message, no traceback; wrong options are 2 too
130  stopped by Ctrl-C
===  ==========================================================================
"""

from __future__ import annotations

import functools
import io
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import ParamSpec

import typer

from headway.cli._screen import note, plain
from headway.errors import HeadwayError

REPORT_AT = "https://github.com/headway-learn/headway/issues"
STOPPED = 130
_P = ParamSpec("_P")


def settle() -> None:
    """Any text can be printed, whatever the terminal's encoding, and libraries' warnings stay off the screen."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if not sys.warnoptions and not _debugging():
        warnings.simplefilter("ignore")
    # Quiet before they are imported: hub clients draw progress bars of their own.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def guarded(command: Callable[_P, None]) -> Callable[_P, None]:
    """A command that ends with an exit code, whatever happens in it."""

    @functools.wraps(command)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            command(*args, **kwargs)
            sys.stdout.flush()
        except BrokenPipeError:
            # Python would flush once more at exit, and complain then.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except KeyboardInterrupt:
            note("\nStopped. The same command takes the run up again: what was computed is kept.")
            raise typer.Exit(STOPPED) from None
        except typer.Exit:
            raise
        except Exception as error:
            raise typer.Exit(_explain(error)) from None

    return run


def _explain(error: Exception) -> int:
    """Say what went wrong on stderr; the exit code."""
    if _debugging():
        note("".join(traceback.format_exception(error)))
    ours = not isinstance(error, HeadwayError)
    if ours:
        said = f": {error}" if str(error) else ""
        note(
            f"Headway failed: {type(error).__name__}{said}\n"
            "This is a fault of Headway or of this machine. Repeat the command with HEADWAY_DEBUG=1 in its environment "
            f"and report what it prints at {REPORT_AT}."
        )
        return 1
    note(f"Error: {error}")
    return error.exit_code if isinstance(error, HeadwayError) else 1


def _debugging() -> bool:
    return plain(os.environ.get("HEADWAY_DEBUG", "")) not in ("", "0")
