"""trees: photographs from the air with a box round every tree."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

from headway import fetch
from headway.samples._sample import Sample, Sources
from headway.samples._tables import save_csv

CORNERS = ("xmin", "ymin", "xmax", "ymax")


def _trees(to: Path, sources: Sources) -> None:
    tree = fetch.package_tree(
        "deepforest",
        "2.1.0",
        archive_sha256="8c2798d8e9be7f0004b194fe207b76c1d9fff6e711b3db67b9508dcd5d00ae54",
        keep=("deepforest/data/*.png", "deepforest/data/*.xml"),
        cache=sources.cache,
        offline=sources.offline,
    )
    rows: list[tuple[object, ...]] = []
    (to / "images").mkdir()
    for notes in sorted((tree / "deepforest/data").glob("*.xml")):
        photo = notes.with_suffix(".png")
        shutil.copyfile(photo, to / "images" / photo.name)
        rows += [(f"images/{photo.name}", *box) for box in _boxes(notes)]
    save_csv(to / "boxes.csv", ["path", *CORNERS, "label"], rows)


def _boxes(notes: Path) -> Iterator[tuple[object, ...]]:
    """``xmin, ymin, xmax, ymax, label`` of every object, in pixels, from a Pascal VOC file."""
    for thing in ET.parse(notes).iter("object"):
        yield *(int(float(thing.findtext(f"bndbox/{corner}", "nan"))) for corner in CORNERS), thing.findtext("name")


SAMPLES = (
    Sample(
        name="trees",
        modality="image",
        task="detection",
        items=4,
        description="four photographs from the air with 951 boxes round trees: images/ and boxes.csv (pixels)",
        source="PyPI package deepforest 2.1.0 (B. Weinstein and others; photographs by NEON)",
        licence="MIT",
        build=_trees,
    ),
)
