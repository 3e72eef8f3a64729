"""addresses: lines of addresses of the United States, every word of them labelled by people."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

from headway import fetch
from headway.samples._sample import Sample, Sources


def _addresses(to: Path, sources: Sources) -> None:
    labelled = fetch.from_package(
        "usaddress",
        "0.5.16",
        "training/labeled.xml",
        kind="sdist",
        sha256="dbd125fa01fbdbc4e25cce722c648ce4e224e4c9bdb9b5a14498aa8a042aee32",
        archive_sha256="f7e614e2489c159cf85be1b6f86edbfaf329dbeedef4d002a025757afd1ec6c6",
        cache=sources.cache,
        offline=sources.offline,
    )
    with (to / "addresses.conll").open("w", encoding="utf-8") as file:
        for address in dict.fromkeys(tuple(_tagged(line)) for line in ET.parse(labelled).iter("AddressString")):
            if address:
                file.writelines(f"{word}\t{tag}\n" for word, tag in address)
                file.write("\n")


def _tagged(line: ET.Element) -> Iterator[tuple[str, str]]:
    """Words and their tags in IOB2: neighbours of one label are one span."""
    before = ""
    for part in line:
        for word in (part.text or "").split():
            yield word, f"{'I' if part.tag == before else 'B'}-{part.tag}"
            before = part.tag


SAMPLES = (
    Sample(
        name="addresses",
        modality="text",
        task="tagging",
        items=1488,
        description="addresses of the United States, one CoNLL file with a word and its tag (IOB2) a line, 29 kinds",
        source="PyPI package usaddress 0.5.16, sdist (DataMade, training/labeled.xml)",
        licence="MIT",
        build=_addresses,
    ),
)
