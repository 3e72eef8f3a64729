"""clip13: drawings of 13 kinds of things from the Open Clip Art Library."""

from __future__ import annotations

from pathlib import Path

from headway import fetch
from headway.samples._images import save_capped
from headway.samples._sample import Sample, Sources

PACKAGE = "openclipart-png"

# The class is the last part of the folder's path; a folder below it (mammals/horses) belongs to it.
FOLDERS = (
    "animals/birds",
    "animals/mammals",
    "animals/bugs",
    "animals/fish",
    "food/fruit",
    "plants/flowers",
    "plants/trees",
    "transportation/vehicles",
    "transportation/boating",
    "food/beverages",
    "food/desserts",
    "tools",
    "buildings",
)
LONGEST = 512  # pixels: every network here reads less


def _clip13(to: Path, sources: Sources) -> None:
    root = fetch.from_debian(PACKAGE, cache=sources.cache, offline=sources.offline) / "usr/share/openclipart/png"
    for folder in FOLDERS:
        name = folder.rpartition("/")[2]
        for drawing in sorted((root / folder).rglob("*.png")):
            if not drawing.is_symlink():  # the package links identical drawings to one another
                save_capped(drawing, to / name / drawing.name, longest=LONGEST)


SAMPLES = (
    Sample(
        name="clip13",
        modality="image",
        task="classification",
        items=716,
        description=f"drawings of 13 kinds of things, PNG with alpha, longest side at most {LONGEST} pixels",
        source=f"Debian package {PACKAGE} (Open Clip Art Library 0.18)",
        licence="public domain",
        build=_clip13,
    ),
)
