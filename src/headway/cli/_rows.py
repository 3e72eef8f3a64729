"""Rows as a table where the terminal is wide enough, and one below the other where it is not: no number is ever cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headway.cli._screen import add, plain, table

if TYPE_CHECKING:
    from rich.console import Console

FOLDED = 14  # characters that a column of words keeps at least: below that, its lines are not read any more
GAP = 3  # around each column


def show_rows(
    screen: Console,
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    styles: Sequence[str | None] = (),
) -> None:
    """``columns`` as ``headway.cli._screen.table`` takes them; ``styles`` one a row, or none at all."""
    cells = [[plain(cell) for cell in row] for row in rows]
    if _least_width(columns, cells) > screen.width:
        _stacked(screen, title, columns, cells)
        return
    shown = table(title, *columns)
    for row, style in zip(cells, styles or [None] * len(cells), strict=True):
        add(shown, *row, style=style)
    screen.print(shown)


def line(screen: Console, text: str) -> None:
    """A line of text, broken by the terminal and nobody else, so that it is one line where it is copied."""
    from rich.text import Text

    screen.print(Text(plain(text)), soft_wrap=True)


def _least_width(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> int:
    width = 2
    for place, name in enumerate(columns):
        longest = max(len(name.lstrip(">=")), *(len(row[place]) for row in cells))
        width += GAP + (longest if name.startswith((">", "=")) else min(longest, FOLDED))
    return width


def _stacked(screen: Console, title: str, columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    line(screen, title)
    for row in cells:
        line(screen, f"- {row[0]}")
        for name, cell in zip(columns[1:], row[1:], strict=True):
            line(screen, f"  {name.lstrip('>=')}: {cell}")
