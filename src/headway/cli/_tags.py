"""Predicted tags as JSON lines, or as CSV of words parted by blanks."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from headway.cli._predictions import as_item, as_label, writer
from headway.run import Run
from headway.run.tagger import Tagged, predict_tags

HEADER = ("item", "tokens", "tags")


def write_tags(run: Run, paths: Sequence[str], out: str | None) -> None:
    """JSON lines of item, tokens and tags, and of raw text each word's place; CSV where ``out`` ends so.

    All are predicted before the first line, so that an error leaves no half a file.
    """
    found = [tagged for path in paths for tagged in predict_tags(run.path, path)]
    with writer(out) as file:
        if out is not None and Path(out).suffix.lower() == ".csv":
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(HEADER)
            rows.writerows((as_item(t.name), as_label(" ".join(t.tokens)), as_label(" ".join(t.tags))) for t in found)
            return
        file.writelines(json.dumps(_as_json(tagged)) + "\n" for tagged in found)


def _as_json(tagged: Tagged) -> dict[str, object]:
    places = {} if tagged.words is None else {"offsets": [[word.start, word.stop] for word in tagged.words]}
    return {"item": tagged.name, "tokens": tagged.tokens, "tags": tagged.tags, **places}
