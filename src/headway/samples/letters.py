"""spoken-letters: the names of the letters a to z, each speaker a domain."""

from __future__ import annotations

import shutil
import string
from pathlib import Path

from headway import fetch
from headway.samples._sample import Sample, Sources
from headway.samples._tables import save_csv

# speaker: package, and the folder with a file a letter
SPEAKERS = {
    "american": ("klettres-data", "usr/share/klettres/en/alpha"),
    "british": ("klettres-data", "usr/share/klettres/en_GB/alpha"),
    "allison": ("asterisk-core-sounds-en-wav", "usr/share/asterisk/sounds/en_US_f_Allison/letters"),
}


def _spoken_letters(to: Path, sources: Sources) -> None:
    rows = []
    for speaker, (package, folder) in SPEAKERS.items():
        root = fetch.from_debian(package, cache=sources.cache, offline=sources.offline) / folder
        for sound in sorted(root.iterdir()):
            letter = sound.stem.lower()
            if letter in string.ascii_lowercase:
                path = f"{letter}/{speaker}{sound.suffix}"
                (to / letter).mkdir(exist_ok=True)
                shutil.copyfile(sound, to / path)
                rows.append((path, letter, speaker))
    save_csv(to / "items.csv", ["path", "label", "speaker"], sorted(rows))


SAMPLES = (
    Sample(
        name="spoken-letters",
        modality="audio",
        task="classification",
        items=78,
        description="the English names of 26 letters by three speakers, Ogg and WAV; items.csv names the speaker",
        source="Debian packages klettres-data and asterisk-core-sounds-en-wav (Allison Smith)",
        licence="GPL-2+ (klettres-data), CC-BY-SA-3.0 (asterisk)",
        build=_spoken_letters,
    ),
)
