"""The scikit-learn classifier on items: paths, PIL images and arrays."""

from __future__ import annotations

import doctest
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import headway.estimator
from headway.errors import DataError, ModelError, OptionError
from headway.estimator import TransferClassifier
from headway.recipe.selection import PROBES, best_probe

LITE = "*lite0*"
Digits = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def cache(session_cache: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADWAY_CACHE", str(session_cache))
        yield session_cache


@pytest.fixture(scope="module")
def paths(digit_folder: Path) -> list[str]:
    """In the order of ``digit_images``: the file names begin with the row."""
    return sorted(map(str, digit_folder.rglob("*.png")), key=lambda path: Path(path).name)


@pytest.fixture(scope="module")
def fitted(cache: Path, digit_images: Digits) -> TransferClassifier:
    X, y = digit_images
    return TransferClassifier(models=LITE).fit(X[::2], y[::2])


def test_it_learns(fitted: TransferClassifier, digit_images: Digits) -> None:
    X, y = digit_images
    assert fitted.score(X[1::2], y[1::2]) > 0.75
    assert fitted.classes_.tolist() == list(range(10))
    assert fitted.chosen_["backbones"] == ["packaged:efficientnet_lite0.in1k"]
    assert 0.5 < fitted.validation_score_ <= 1
    assert fitted.cut_ == {}
    assert not hasattr(fitted, "n_features_in_")


def test_probabilities_and_decisions_agree(fitted: TransferClassifier, digit_images: Digits) -> None:
    X = digit_images[0][1::2]
    P, scores, said = fitted.predict_proba(X), fitted.decision_function(X), fitted.predict(X)
    assert P.shape == scores.shape == (60, 10)
    np.testing.assert_allclose(P.sum(1), 1)
    np.testing.assert_array_equal(P.argmax(1), scores.argmax(1))
    np.testing.assert_array_equal(said, fitted.classes_[P.argmax(1)])


def test_paths_images_and_arrays_are_the_same_items(
    fitted: TransferClassifier, digit_images: Digits, paths: list[str]
) -> None:
    X, y = digit_images
    wanted = fitted.predict_proba(X)
    colour = np.repeat(X[..., None], 3, axis=3)
    images = [Image.open(path).convert("L") for path in paths[:20]]
    for items in (paths, np.array(paths), np.array(paths)[:, None], [Path(p) for p in paths], colour, list(X)):
        np.testing.assert_allclose(fitted.predict_proba(items), wanted, atol=1e-4)
    np.testing.assert_allclose(fitted.predict_proba(images), wanted[:20], atol=1e-4)
    np.testing.assert_allclose(fitted.predict_proba([Path(paths[0]).read_bytes()]), wanted[:1], atol=1e-4)
    again = TransferClassifier(models=LITE).fit(paths[::2], y[::2])
    np.testing.assert_array_equal(again.predict(paths), fitted.predict(X))


def test_equal_fits_are_equal(fitted: TransferClassifier, digit_images: Digits) -> None:
    X, y = digit_images
    again = clone(fitted).fit(X[::2], y[::2])
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    assert again.chosen_ == fitted.chosen_


def test_string_labels_and_two_classes(cache: Path, digit_images: Digits) -> None:
    X, y = digit_images
    rows = np.flatnonzero(y < 2)
    labels = np.array(["zéro", "10"])[y[rows]]
    made = TransferClassifier(models=[LITE]).fit(X[rows], labels)
    assert made.classes_.tolist() == ["10", "zéro"]
    assert made.score(X[rows], labels) == 1.0
    scores = made.decision_function(X[rows])
    assert scores.shape == (24,)
    np.testing.assert_array_equal(made.classes_[(scores > 0).astype(int)], made.predict(X[rows]))


def test_pickled_copies_predict_the_same(fitted: TransferClassifier, digit_images: Digits) -> None:
    X = digit_images[0][:10]
    wanted = fitted.predict_proba(X)
    content = pickle.dumps(fitted)
    headway.estimator._opened.cache_clear()
    again = pickle.loads(content)  # noqa: S301 (our own bytes)
    np.testing.assert_array_equal(again.predict_proba(X), wanted)
    assert len(content) < 1_000_000  # the head, not the network


def test_cross_validation_pipeline_and_grid_search(cache: Path, digit_images: Digits, paths: list[str]) -> None:
    X, y = digit_images
    piped = make_pipeline(FunctionTransformer(), TransferClassifier(models=LITE))
    assert cross_val_score(piped, X, y, cv=2).mean() > 0.7
    grid = {"models": [LITE, ["packaged:squeezenet1_1.in1k"]]}
    search = GridSearchCV(TransferClassifier(), grid, cv=2, error_score="raise").fit(paths, y)
    assert search.best_params_["models"] in grid["models"]
    assert search.best_estimator_.predict(paths[:3]).shape == (3,)
    chosen = {tuple(p["models"]) for p in search.cv_results_["params"]}
    assert len(chosen) == 2


def test_features_are_probed_directly(digit_images: Digits) -> None:
    X, y = digit_images
    flat = X[:, 4::8, 4::8].reshape(len(X), -1).astype(float)
    made = TransferClassifier().fit(flat[::2], y[::2])
    assert made.n_features_in_ == 64 and made.chosen_["backbones"] == [] and made.chosen_["method"] in PROBES
    assert made.score(flat[1::2], y[1::2]) > 0.8
    scaled = make_pipeline(StandardScaler(), TransferClassifier())
    assert cross_val_score(scaled, flat, y, cv=3).mean() > 0.8


def test_columns_of_any_scale_count_alike() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    X = np.column_stack([rng.normal(size=200) * 1e6, rng.normal(size=200) + 4 * y, np.full(200, 3.0)])
    assert TransferClassifier().fit(X[:100], y[:100]).score(X[100:], y[100:]) > 0.95


def test_a_row_keeps_its_length() -> None:
    """One column: scaled to length 1 without a constant beside it, nothing but its sign would be left."""
    y = np.arange(240) % 3
    X = (y + 0.1 * np.random.default_rng(0).normal(size=240))[:, None]
    assert TransferClassifier().fit(X[:120], y[:120]).score(X[120:], y[120:]) > 0.95


def test_the_best_probe_wins() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    X = rng.normal(size=(120, 5)) + 3 * np.eye(5)[y]
    probe = best_probe(X, y, classes=3, seed=0)
    assert probe.method in PROBES and probe.score > 0.85
    noise = best_probe(rng.normal(size=(120, 5)), y, classes=3, seed=0)
    assert abs(noise.score - 1 / 3) < 0.2


def test_unfitted(cache: Path, digit_images: Digits) -> None:
    for method in ("predict", "predict_proba", "decision_function"):
        with pytest.raises(NotFittedError):
            getattr(TransferClassifier(), method)(digit_images[0])


def test_wrong_items_are_named(
    cache: Path, fitted: TransferClassifier, digit_images: Digits, paths: list[str], tmp_path: Path
) -> None:
    X, y = digit_images
    (tmp_path / "notes.png").write_text("not an image")
    shutil.copy(paths[0], tmp_path / "cut.png")
    with open(tmp_path / "cut.png", "r+b") as file:
        file.truncate(60)
    for wrong in ("missing.png", "notes.png", "cut.png"):
        with pytest.raises(DataError, match=wrong.removesuffix(".png")):
            fitted.predict([paths[0], str(tmp_path / wrong)])
    with pytest.raises(DataError, match="item 1"):
        fitted.predict([X[0], 3.5])
    with pytest.raises(DataError, match="stack of images"):
        fitted.predict(np.zeros((2, 8, 8, 5)))
    with pytest.raises(DataError, match="not what the classifier was fitted on"):
        fitted.predict(np.zeros((2, 1280)))
    with pytest.raises(DataError, match="one class"):
        TransferClassifier(models=LITE).fit(X[:5], y[:5] * 0)
    with pytest.raises(DataError, match="label"):
        TransferClassifier(models=LITE).fit(X[:24], y[:23])


def test_wrong_options(cache: Path, digit_images: Digits) -> None:
    X, y = digit_images
    with pytest.raises(ModelError, match="nonsense"):
        TransferClassifier(models="packaged:nonsense*").fit(X, y)
    with pytest.raises(OptionError, match="budget"):
        TransferClassifier(models=LITE, budget="soon").fit(X, y)
    with pytest.raises(OptionError, match="device"):
        TransferClassifier(models=LITE, device="tpu").fit(X, y)  # type: ignore[arg-type]


def test_a_refit_on_the_other_kind_forgets_the_first(cache: Path, digit_images: Digits) -> None:
    X, y = digit_images
    made = TransferClassifier(models=LITE).fit(X.reshape(120, -1)[:, ::64].astype(float), y)
    made.fit(X, y)
    assert not hasattr(made, "n_features_in_")
    with pytest.raises(DataError, match="fitted on"):
        made.predict(np.zeros((2, 64)))


def test_the_example() -> None:
    assert doctest.testmod(headway.estimator)[0] == 0
