"""The ridge probe, all penalties and exact leave-one-out, against scikit-learn's LogisticRegressionCV.

    python benchmarks/probe.py              about 6 minutes on 2 cores

Features are EfficientNet-Lite0's of real images: 500 a class of Fashion-MNIST's training part (n = 5,000, d = 1,280, 10
classes) to learn from, all 10,000 of its test part to measure on. Each fit is timed alone, in turn, in one process.
"""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _ranking import open_member
from _shared import Target, arguments, cold_store, in_turn, note, ratio, report, timed
from headway import fetch
from headway.adapt import ridge
from headway.data.read import read
from headway.features.embed import default_store, embed, matrix
from headway.linear.head import linear_scores
from headway.types import Features, IntArray

NETWORK = "packaged:efficientnet_lite0.in1k"
OURS = "headway ridge: 13 penalties, exact leave-one-out"
PEER = "StandardScaler + LogisticRegressionCV(Cs=10, cv=5)"
CLASSES = 10


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often both are fitted (default 3)")
    options = parser.parse_args()
    shots, tests, rounds = (30, 20, 1) if options.quick else (500, 1000, options.rounds)
    X, y = features(*part("train", shots))
    X_test, y_test = features(*part("t10k", tests))
    train = Features(X=X, y=y, classes=CLASSES, blocks=(X.shape[1],))
    fitted: dict[str, Any] = {}

    def ours() -> None:
        fitted[OURS] = ridge.fit(train, seed=0)

    def peer() -> None:
        fitted[PEER] = logistic_cv(X, y)

    found = in_turn(rounds, {OURS: lambda: timed(ours), PEER: lambda: timed(peer)})
    accuracy = {
        OURS: 100 * float((linear_scores(fitted[OURS].head, X_test).argmax(1) == y_test).mean()),
        PEER: 100 * float((fitted[PEER].predict(X_test) == y_test).mean()),
    }
    faster, lead = ratio(found[PEER], found[OURS]), accuracy[OURS] - accuracy[PEER]
    targets = [
        Target(what="times faster than LogisticRegressionCV", value=faster, limit=10, least=True),
        Target(what="accuracy over LogisticRegressionCV's", value=lead, limit=-0.5, least=True, unit="points"),
    ]
    rows = [
        ("fit", "seconds", "accuracy on test"),
        *((name, f"{median(found[name]):.2f}", f"{accuracy[name]:.2f} %") for name in (OURS, PEER)),
    ]
    numbers = {"n": len(X), "d": X.shape[1], "tested": len(X_test), "seconds": found, "accuracy": accuracy}
    numbers |= {"ratio": faster, "difference": lead}
    title = f"n = {len(X)}, d = {X.shape[1]}, {CLASSES} classes, tested on {len(X_test)}"
    report("probe", numbers, targets, options, tables=[(title, rows)])


def logistic_cv(X: NDArray[np.float32], y: IntArray) -> Any:
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it does not converge in the 100 steps that are its default
        return make_pipeline(StandardScaler(), LogisticRegressionCV(Cs=10, cv=5)).fit(X, y)


def features(images: NDArray[np.uint8], labels: IntArray) -> tuple[NDArray[np.float32], IntArray]:
    """Embeddings ``[n, 1280]`` and labels of grey images ``[n, 28, 28]``."""
    dataset = read((images, labels))
    assert dataset.targets is not None
    member = open_member(NETWORK)
    note(f"embedding {len(images)} images")
    with cold_store():
        store = default_store(fetch.cache_dir())
        embed(dataset, [member.frozen], store=store)
        last = str(len(member.frozen.dims) - 1)
        return matrix(store, [(member.frozen.key, last)], dataset.digests), dataset.targets


def part(prefix: str, per_class: int) -> tuple[NDArray[np.uint8], IntArray]:
    """The first images of each class of Fashion-MNIST's ``train`` or ``t10k`` part, and their labels."""
    tree = fetch.from_debian("dataset-fashion-mnist", cache=fetch.cache_dir(), offline=False)
    folder = tree / "usr/share/datasets/fashion-mnist"
    images = unpacked(folder / f"{prefix}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
    labels = unpacked(folder / f"{prefix}-labels-idx1-ubyte.gz", 8).astype(np.int64)
    rows = np.concatenate([np.flatnonzero(labels == code)[:per_class] for code in range(CLASSES)])
    return images[rows], labels[rows]


def unpacked(path: Path, header: int) -> NDArray[np.uint8]:
    """The bytes of an IDX file after its header."""
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), np.uint8, offset=header)


if __name__ == "__main__":
    main()
