"""English to French interface strings of django: what LoRA on SmolLM2-135M brings over copying and over a prompt.

    python benchmarks/translation.py [--budgets 120 300] [--seed 0]

600 pairs to learn from, 150 to test on, drawn by the seed; no source is in both, in any case or spacing.
Prints chrF (0..100) of every arm on the test items with its 95 % interval, and the verdict. Nothing is compared with a
published number: the set has none.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from headway.data.dataset import fingerprint
from headway.recipe.seq2seq import fit_texts
from headway.recipe.session import open_session
from headway.samples import build
from headway.types import Dataset

TRAIN, TEST = 600, 150


def strings(folder: Path, *, seed: int) -> Dataset:
    """600 + 150 pairs, of each source the first translation only."""
    path = build("django-fr", folder, offline=False) / "django-fr.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    unique = {" ".join(row["en"].casefold().split()): row for row in reversed(rows)}
    order = np.random.default_rng(seed).permutation(len(unique))[: TRAIN + TEST]
    kept = [list(unique.values())[k] for k in order]
    digests = np.array([list(blake2b(row["en"].encode(), digest_size=16).digest()) for row in kept], np.uint8)
    sources: Any = tuple(row["en"] for row in kept)
    targets: Any = tuple(row["fr"] for row in kept)
    return Dataset(
        name="django-fr",
        modality="text",
        task="seq2seq",
        names=tuple(f"row {k}" for k in range(len(kept))),
        sources=sources,
        digests=digests,
        targets=targets,
        classes=(),
        parts=(*["train"] * TRAIN, *["test"] * TEST),
        fingerprint=fingerprint(digests, targets=None, classes=()),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budgets", nargs="+", type=float, default=[120.0, 300.0])
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        data = strings(Path(temporary) / "data", seed=given.seed)
        for budget in given.budgets:
            folder = Path(temporary) / f"{budget:.0f}"
            folder.mkdir()
            session = open_session(budget, seed=given.seed, device="auto", offline=False)
            report(fit_texts(data, folder=folder, session=session, columns=("English", "French")).manifest)


def report(manifest: Any) -> None:
    verdict, tuned = manifest["verdict"], manifest["contenders"][0]["params"]
    print(
        f"budget {manifest['budget']:.0f} s, took {manifest['timings']['total']:.0f} s, {manifest['data']['test']} test"
    )
    for arm, found in verdict["arms"].items():
        print(f"  {arm:10} chrF {100 * found['value']:5.1f} [{100 * found['low']:.1f}, {100 * found['high']:.1f}]")
    effect, low, high = (100 * verdict[key] for key in ("effect", "low", "high"))
    print(f"  {verdict['outcome']}: {effect:+.1f} [{low:+.1f}, {high:+.1f}] against {verdict['against']}")
    print(f"  shipped {manifest['chosen']['arm']}; tuned: {tuned}; timings {manifest['timings']}")
    for what, why in manifest["cut"].items():
        print(f"  left out: {what}: {why}")
    for example in manifest["examples"][:4]:
        print(f"  {example}", flush=True)


if __name__ == "__main__":
    main()
