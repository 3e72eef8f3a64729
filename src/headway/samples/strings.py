"""django-fr, django-de and django-es: a web framework's messages in English and another language."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from headway import fetch
from headway.samples._sample import Sample, Sources
from headway.samples._tables import save_csv


def _django(language: str, to: Path, sources: Sources) -> None:
    tree = fetch.package_tree(
        "Django",
        "5.2",
        archive_sha256="91ceed4e3a6db5aedced65e3c8f963118ea9ba753fc620831c77074e620e7d83",
        keep=tuple(f"*/locale/{code}/LC_MESSAGES/django.mo" for code in ("fr", "de", "es")),
        cache=sources.cache,
        offline=sources.offline,
    )
    pairs = dict.fromkeys(
        pair
        for catalogue in sorted(tree.rglob(f"locale/{language}/LC_MESSAGES/django.mo"))
        for pair in _messages(catalogue.read_bytes())
    )
    save_csv(to / f"django-{language}.csv", ["en", language], pairs)


def _messages(content: bytes) -> Iterator[tuple[str, str]]:
    """Message and translation from a GNU gettext .mo file; of a plural the singular, without its context."""
    count, messages, translations = struct.unpack_from("<3I", content, 8)
    for row in range(count):
        pair = []
        for table in (messages, translations):
            length, start = struct.unpack_from("<2I", content, table + 8 * row)
            pair.append(content[start : start + length].decode("utf-8").partition("\0")[0].rpartition("\x04")[2])
        if pair[0] and pair[1]:  # the empty message is the catalogue's header
            yield pair[0], pair[1]


def _sample(language: str, name: str, items: int) -> Sample:
    return Sample(
        name=f"django-{language}",
        modality="text",
        task="seq2seq",
        items=items,
        description=f"messages of a web framework in English and {name}, one CSV file with columns en and {language}",
        source="PyPI package Django 5.2",
        licence="BSD-3-Clause",
        build=partial(_django, language),
    )


SAMPLES = (_sample("fr", "French", 806), _sample("de", "German", 777), _sample("es", "Spanish", 790))
