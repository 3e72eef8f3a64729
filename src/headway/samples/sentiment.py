"""sentiment: sentences of four domains with the mean of people's ratings."""

from __future__ import annotations

import tarfile
from pathlib import Path

from headway import fetch
from headway.samples._sample import Sample, Sources
from headway.samples._tables import save_csv

DOMAINS = {
    "tweets": "tweets",
    "products": "amazonReviewSnippets",
    "films": "movieReviewSnippets",
    "newspaper": "nytEditorialSnippets",
}


def _sentiment(to: Path, sources: Sources) -> None:
    archive = fetch.from_package(
        "vaderSentiment",
        "3.3.2",
        "additional_resources/hutto_ICWSM_2014.tar.gz",
        kind="sdist",
        sha256="d5bb07d87474b3eb8d30b4deccbc23f19d742a6c5718fbacc65485b70b95c5fa",
        archive_sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
        cache=sources.cache,
        offline=sources.offline,
    )
    with tarfile.open(archive) as tar:
        for domain, prefix in DOMAINS.items():
            file = tar.extractfile(f"hutto_ICWSM_2014/{prefix}_GroundTruth.txt")
            assert file is not None, "the archive's checksum was verified"
            rows = [line.split("\t") for line in file.read().decode("utf-8").splitlines()]  # id, mean rating, sentence
            save_csv(
                to / f"{domain}.csv", ["text", "score", "domain"], ([text, mean, domain] for _, mean, text in rows)
            )


SAMPLES = (
    Sample(
        name="sentiment",
        modality="text",
        task="regression",
        items=23708,
        description="sentences rated from -4 (negative) to 4 (positive), mean of 20 people; tweets, product reviews, "
        "film reviews and newspaper editorials, one CSV file a domain",
        source="PyPI package vaderSentiment 3.3.2, sdist (C. J. Hutto and E. Gilbert, ICWSM 2014)",
        licence="MIT",
        build=_sentiment,
    ),
)
