"""breast-cancer, diabetes and photos: what scikit-learn itself carries."""

from __future__ import annotations

import shutil
from pathlib import Path

from headway.samples._sample import Sample, Sources
from headway.samples._tables import save_csv


def _breast_cancer(to: Path, _: Sources) -> None:
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    rows = ([*row, bunch.target_names[label]] for row, label in zip(bunch.data.tolist(), bunch.target, strict=True))
    save_csv(to / "breast-cancer.csv", [*bunch.feature_names, "label"], rows)


def _diabetes(to: Path, _: Sources) -> None:
    from sklearn.datasets import load_diabetes

    bunch = load_diabetes(scaled=False)
    rows = ([*row, label] for row, label in zip(bunch.data.tolist(), bunch.target.tolist(), strict=True))
    save_csv(to / "diabetes.csv", [*bunch.feature_names, "label"], rows)


def _photos(to: Path, _: Sources) -> None:
    from sklearn.datasets import load_sample_images

    for path in load_sample_images().filenames:
        shutil.copyfile(path, to / Path(path).name)


SAMPLES = (
    Sample(
        name="breast-cancer",
        modality="table",
        task="classification",
        items=569,
        description="30 measurements of cell nuclei, benign or malignant, one CSV file",
        source="scikit-learn, sklearn.datasets.load_breast_cancer (UCI, Wisconsin diagnostic)",
        licence="CC-BY-4.0",
        build=_breast_cancer,
    ),
    Sample(
        name="diabetes",
        modality="table",
        task="regression",
        items=442,
        description="ten measurements of patients and the disease's progression a year later, one CSV file",
        source="scikit-learn, sklearn.datasets.load_diabetes (B. Efron and others, 2004)",
        licence="none stated",
        build=_diabetes,
    ),
    Sample(
        name="photos",
        modality="image",
        task="none",
        items=2,
        description="two colour photographs, china.jpg and flower.jpg, 640 x 427 pixels, without labels",
        source="scikit-learn, sklearn.datasets.load_sample_images",
        licence="CC-BY (china.jpg: Ultrablack; flower.jpg: Fernando Ochoa)",
        build=_photos,
    ),
)
