"""Text for terminals, whatever is in it: names and labels are shown as they are, never obeyed."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from headway.types import Finding

WIDTH = 120  # where output goes to a file, so that lines do not depend on who started the command
_JOINER = "\u200d"  # unprintable by itself, but emoji are made with it


def plain(text: object) -> str:
    r"""One line that moves no cursor: unprintable characters and lone surrogates as escapes.

    >>> print(plain("a\x1b[2J\nb\udcff"))
    a\x1b[2J\nb\udcff
    """
    return "".join(c if c.isprintable() or c == _JOINER else _escaped(c) for c in str(text))


def lines(text: object) -> str:
    """The same, with line breaks kept."""
    return "\n".join(plain(line) for line in str(text).split("\n"))


def say(text: str) -> None:
    """A line, or several, on stdout."""
    sys.stdout.write(lines(text) + "\n")


def note(text: str) -> None:
    """A line, or several, on stderr."""
    sys.stderr.write(lines(text) + "\n")
    sys.stderr.flush()


def say_json(content: object) -> None:
    """JSON on stdout and nothing else: ASCII, and null for what is no number."""
    sys.stdout.write(json.dumps(_finite(content), indent=1, allow_nan=False) + "\n")


def console() -> Console:
    """Rich on stdout, with every one of its text languages switched off."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else WIDTH
    return Console(markup=False, emoji=False, highlight=False, width=width)


def table(title: str, *columns: str) -> Table:
    """An empty table. ``>`` before a column's name: numbers; ``=``: kept on one line; else folded, never cut."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD)
    for name in columns:
        number, whole = name.startswith(">"), name.startswith("=")
        made.add_column(
            Text(name[number or whole :]),
            justify="right" if number else "left",
            no_wrap=number or whole,
            overflow="fold",
        )
    return made


def add(to: Table, *cells: object, style: str | None = None) -> None:
    """A row of plain text."""
    from rich.text import Text

    to.add_row(*(Text(plain(cell)) for cell in cells), style=style)


def finding_lines(findings: Iterable[Finding] | Iterable[Mapping[str, Any]]) -> list[str]:
    """Findings in words, warnings first, each with what shows it."""
    rows = [f if isinstance(f, Mapping) else _as_mapping(f) for f in findings]
    found = []
    for row in sorted(rows, key=lambda row: row["severity"] == "note"):
        word = "Note" if row["severity"] == "note" else "Warning"
        found.append(f"{word}: {plain(row['message'])}")
        found += [f"  - {plain(shown)}" for shown in row["evidence"]]
    return found


def cut_lines(cut: Mapping[str, str]) -> list[str]:
    """What was left out, in words."""
    return [f"Left out: {plain(what)}: {plain(why)}" for what, why in cut.items()]


def _as_mapping(finding: Finding) -> Mapping[str, Any]:
    return {"severity": finding.severity, "message": finding.message, "evidence": finding.evidence}


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


def _finite(content: object) -> object:
    if isinstance(content, Mapping):
        return {str(key): _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
