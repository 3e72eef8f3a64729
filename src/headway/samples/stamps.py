"""stamp7 and stamp9: photographs cut out of their background, from Tux Paint's stamps.

The classes carry the names of clip13's, so clip13 → stamp7 is a pair of domains: drawings against photographs.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from headway import fetch
from headway.samples._images import save_capped
from headway.samples._sample import Sample, Sources

PACKAGE = "tuxpaint-stamps-default"

FOLDERS = {
    "birds": ("animals/birds",),
    "mammals": ("animals/mammals", "animals/marsupials"),
    "bugs": ("animals/insects",),
    "fish": ("animals/fish",),
    "fruit": ("food/fruit",),
    "flowers": ("plants/flowers",),
    "trees": ("plants/trees",),
    # Road vehicles: ships, aircraft, cycles and single wheels are left out.
    "vehicles": tuple(f"vehicles/{kind}" for kind in ("auto", "construction", "emergency", "masstransit", "race")),
    "tools": ("household/tools",),
}
FEW = ("bugs", "trees")  # fewer than ten pictures: in stamp9 only
LONGEST = 512  # pixels: every network here reads less


def _stamps(classes: tuple[str, ...], to: Path, sources: Sources) -> None:
    root = fetch.from_debian(PACKAGE, cache=sources.cache, offline=sources.offline) / "usr/share/tuxpaint/stamps"
    for name in classes:
        for folder in FOLDERS[name]:
            for stamp in sorted((root / folder).rglob("*.png")):
                if "cartoon" not in stamp.parts:  # drawings among the photographs
                    save_capped(stamp, to / name / stamp.name, longest=LONGEST)


def _sample(name: str, classes: tuple[str, ...], items: int) -> Sample:
    return Sample(
        name=name,
        modality="image",
        task="classification",
        items=items,
        description=f"photographs cut out of their background, {len(classes)} of clip13's classes, PNG with alpha",
        source=f"Debian package {PACKAGE} (Tux Paint stamps)",
        licence="GPL-2",
        build=partial(_stamps, classes),
    )


SAMPLES = (
    _sample("stamp7", tuple(name for name in FOLDERS if name not in FEW), 189),
    _sample("stamp9", tuple(FOLDERS), 205),
)
