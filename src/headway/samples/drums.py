"""drum-hits: single strokes of drum kits; a kit's sounds belong together, so the kit is the group."""

from __future__ import annotations

import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

from headway import fetch
from headway.samples._sample import Sample, Sources
from headway.samples._tables import save_csv

PACKAGES = ("hydrogen-data", "hydrogen-drumkits")

# A kit's file names its instruments; the first pattern that fits decides, anything else is left out.
CLASSES = {
    "stick": r"stick|rim ?click",
    "snare": r"snare|_SN_",
    "kick": r"kick|bass ?drum|_BD_|^bd\d|_K_\d",
    "tom": r"\btom|tom\d?\b",
    "hihat": r"hat|HH",
    "ride": r"ride",
    "crash": r"crash|cra_",
    "clap": r"clap",
    "cowbell": r"cowbell",
}
# By content: one kit names AIFF files .wav.
SUFFIXES = {b"RIFF": ".wav", b"FORM": ".aiff", b"fLaC": ".flac"}
SILENT = "emptySample.flac"


def _drum_hits(to: Path, sources: Sources) -> None:
    rows: dict[str, tuple[str, str]] = {}
    for package in PACKAGES:
        root = fetch.from_debian(package, cache=sources.cache, offline=sources.offline)
        for notes in sorted((root / "usr/share/hydrogen/data/drumkits").glob("*/drumkit*")):
            for name, label in _sounds(notes):
                suffix = SUFFIXES[(notes.parent / name).read_bytes()[:4]]
                path = f"{label}/{notes.parent.name}__{Path(name).stem}{suffix}".replace(" ", "_")
                (to / label).mkdir(exist_ok=True)
                shutil.copyfile(notes.parent / name, to / path)
                rows[path] = (label, notes.parent.name)
    save_csv(to / "items.csv", ["path", "label", "kit"], ((path, *row) for path, row in sorted(rows.items())))


def _sounds(notes: Path) -> Iterator[tuple[str, str]]:
    """File name and class of every sound that a kit's instruments use and whose class is known."""
    for instrument in ET.parse(notes).iter():
        if _tag(instrument) == "instrument":
            names = [part.text or "" for part in instrument if _tag(part) == "name"]
            label = _label(names[0] if names else "")
            files = {part.text for part in instrument.iter() if _tag(part) == "filename"}
            for name in sorted(name for name in files if name and name != SILENT):
                if label and (notes.parent / name).is_file():  # one kit names a sound that it lacks
                    yield name, label


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _label(instrument: str) -> str | None:
    kind = instrument.partition("(")[0]  # the make follows in brackets, and may name another drum
    return next((label for label, pattern in CLASSES.items() if re.search(pattern, kind, re.IGNORECASE)), None)


SAMPLES = (
    Sample(
        name="drum-hits",
        modality="audio",
        task="classification",
        items=587,
        description="single drum strokes of 15 kits in nine classes, WAV, FLAC and AIFF; items.csv names each one's "
        "kit, to be used as --group",
        source="Debian packages hydrogen-data and hydrogen-drumkits",
        licence="GPL-2, CC0, CC-BY-3.0 or CC-BY-SA-3.0 by kit; see the packages' copyright files",
        build=_drum_hits,
    ),
)
