"""Writing tables for the samples."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path


def save_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a UTF-8 CSV file with a header line."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
