"""Every score against an independent implementation of the same quantity."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import BayesianRidge, Ridge
from sklearn.metrics import balanced_accuracy_score, mutual_info_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from headway.linear.solve import balanced_weights
from headway.scores import gbc, hscore, logme, loo_knn, loo_ridge, nleep, parc, reg_hscore, transrate
from headway.scores._check import principal_components
from headway.scores._leep import leep


def _data(n: int, d: int, *, classes: int = 3, apart: float = 1.0, seed: int = 0):
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    return rng.normal(size=(n, d)) + apart * rng.normal(size=(classes, d))[y] + 0.5, y


# --- LogME --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "d"), [(60, 8), (30, 30), (40, 90)])
def test_logme_is_the_evidence_of_bayesian_ridge(n, d):
    X, y = _data(n, d, apart=0.5)
    evidence = []
    for c in np.unique(y):
        oracle = BayesianRidge(
            max_iter=5000, tol=1e-10, compute_score=True, fit_intercept=False,
            alpha_1=0, alpha_2=0, lambda_1=0, lambda_2=0,
        )  # fmt: skip
        evidence.append(oracle.fit(X, (y == c).astype(float)).scores_[-1] / n)
    assert logme.score(X, y) == pytest.approx(np.mean(evidence), abs=1e-5)


@pytest.mark.parametrize("d", [16, 59, 60, 61, 128, 512, 2048])
def test_logme_of_noise_is_the_same_at_every_width(d):
    # Three balanced 0/1 targets explained by nothing: -½(1 + ln(2π/3)) = -0.8695 each.
    values = [logme.score(np.random.default_rng(s).normal(size=(60, d)), np.arange(60) % 3) for s in range(5)]
    assert np.mean(values) == pytest.approx(-0.87, abs=0.015)


def test_logme_does_not_prefer_a_model_for_its_width():
    y = np.arange(60) % 3
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(60, 16)) + np.eye(3, 16)[y] * 4
    assert logme.score(signal, y) > logme.score(rng.normal(size=(60, 2048)), y) + 0.2


def test_logme_without_features_is_the_evidence_of_noise_alone():
    y = np.array([0, 0, 1, 1, 2, 2])
    assert logme.score(np.zeros((6, 4)), y) == pytest.approx(-0.5 * (1 + np.log(2 * np.pi / 3)))


def test_logme_of_a_class_does_not_depend_on_how_long_another_takes():
    X, y = _data(400, 300, apart=0.05, classes=40)
    targets = np.eye(40)[y]
    squares, onto = logme._spectrum(X, targets)
    together = logme._evidence(squares, onto**2, targets.sum(axis=0), 400)
    alone = [logme._evidence(squares, onto[:, [c]] ** 2, targets[:, c].sum(keepdims=True), 400)[0] for c in range(40)]
    assert together == pytest.approx(np.array(alone), abs=1e-10, rel=0)


def test_logme_spends_no_steps_on_classes_that_have_converged(monkeypatch):
    sizes, step = [], logme._step
    monkeypatch.setattr(logme, "_step", lambda *given: sizes.append(len(given[3])) or step(*given))
    logme.score(*_data(400, 300, apart=0.05, classes=40))
    assert sizes[0] == 40
    assert sum(sizes) < 0.6 * 40 * len(sizes)
    assert sizes == sorted(sizes, reverse=True)


# --- H-scores -----------------------------------------------------------------------------------


def test_hscore_is_pillais_trace():
    from statsmodels.multivariate.manova import MANOVA

    X, y = _data(50, 6)
    table = MANOVA(X, np.column_stack([np.ones(50), np.eye(3)[y][:, 1:]])).mv_test([("y", np.eye(3)[1:])])
    assert hscore.score(X, y) == pytest.approx(table.results["y"]["stat"].loc["Pillai's trace", "Value"])


def test_hscore_saturates_where_features_outnumber_items():
    X, y = _data(20, 50, apart=0.0)
    assert hscore.score(X, y) == pytest.approx(2.0)


@pytest.mark.parametrize(("n", "d"), [(50, 6), (30, 80)])
def test_reg_hscore_is_made_of_ledoit_wolf(n, d):
    X, y = _data(n, d, apart=0.3)
    oracle = LedoitWolf().fit(X)
    between = np.stack([X[y == c].mean(axis=0) for c in range(3)])[y]
    expected = (1 - oracle.shrinkage_) * np.trace(np.linalg.solve(oracle.covariance_, np.cov(between.T, ddof=0)))
    assert 0.01 < oracle.shrinkage_ < 1
    assert reg_hscore.score(X, y) == pytest.approx(expected, rel=1e-9)


# --- leave-one-out ------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "d"), [(40, 5), (24, 50)])
def test_loo_ridge_is_what_refitting_without_each_item_gets_right(n, d):
    X, y = _data(n, d, apart=0.4)
    ours, weights = loo_ridge.leave_one_out(X, y), balanced_weights(y)
    right = np.zeros(n, dtype=bool)
    for i in range(n):
        rest = np.arange(n) != i
        model = Ridge(alpha=ours.penalty, solver="svd").fit(X[rest], np.eye(3)[y[rest]], sample_weight=weights[rest])
        mean = np.average(np.eye(3)[y[rest]], axis=0, weights=weights[rest])
        right[i] = (model.predict(X[[i]])[0] - mean).argmax() == y[i]
    np.testing.assert_array_equal(ours.correct, right)
    assert 0.2 < right.mean() < 1
    assert loo_ridge.score(X, y) == pytest.approx(np.mean([right[y == c].mean() for c in range(3)]))


def test_loo_ridge_chooses_the_penalty_with_the_least_error():
    X, y = _data(60, 300, apart=0.15)
    X *= np.geomspace(1, 0.01, 300)
    ours = loo_ridge.leave_one_out(X, y)
    weights = balanced_weights(y)

    def error(penalty):
        model = Ridge(alpha=penalty, solver="svd")
        out = cross_val_predict(model, X, np.eye(3)[y], cv=LeaveOneOut(), params={"sample_weight": weights})
        return float(weights @ ((out - np.eye(3)[y]) ** 2).sum(axis=1)) / 60

    assert error(ours.penalty) == pytest.approx(ours.squared_error, rel=1e-6)
    assert ours.squared_error < min(error(ours.penalty * 10), error(ours.penalty / 10))


@pytest.mark.parametrize(("n", "d"), [(60, 5), (60, 400)])
def test_loo_ridge_of_noise_is_chance_not_below_it(n, d):
    values = [loo_ridge.score(np.random.default_rng(s).normal(size=(n, d)), np.arange(n) % 4) for s in range(60)]
    assert np.mean(values) == pytest.approx(0.25, abs=0.04)
    assert loo_ridge.score(np.ones((n, d)), np.arange(n) % 4) == 0.25


def test_loo_ridge_does_not_look_into_the_group_of_an_item():
    rng = np.random.default_rng(0)
    copies = np.repeat(rng.normal(size=(20, 30)), 3, axis=0) + 1e-3 * rng.normal(size=(60, 30))
    y, groups = np.repeat(np.arange(20) % 2, 3), np.repeat(np.arange(20), 3)
    assert loo_ridge.score(copies, y) == 1.0  # near-copies give the labels away
    assert loo_ridge.leave_one_out(copies, y, groups=groups).balanced_accuracy < 0.75
    assert loo_knn.score(copies, y) == 1.0
    assert loo_knn.score(copies, y, groups=groups) < 0.75


def test_loo_knn_is_scikit_learns(monkeypatch):
    X, y = _data(60, 6, classes=2, apart=0.7)
    accuracy = []
    for k in (1, 5):  # odd k and two classes: no vote ends equal
        model = KNeighborsClassifier(k, metric="cosine", algorithm="brute")
        oracle = cross_val_predict(model, X, y, cv=LeaveOneOut())
        np.testing.assert_array_equal(loo_knn._correct(X, y, 2, None)[loo_knn.NEIGHBOURS.index(k)], oracle == y)
        accuracy.append(balanced_accuracy_score(y, oracle))
    monkeypatch.setattr(loo_knn, "NEIGHBOURS", (1, 5))
    assert loo_knn.score(X, y) == pytest.approx(max(accuracy))


def test_loo_knn_breaks_equal_votes_by_similarity():
    # The two nearest of item 0 disagree; the nearer one is right, whatever the labels are called.
    angles = np.array([0.0, 0.1, -0.2, 1.5, 1.6])
    closeness = np.cos(angles[1:3])[None, :]
    for labels in ([[0, 1]], [[1, 0]]):
        assert loo_knn._vote(np.array(labels), closeness, 2)[0] == labels[0][0]


def test_loo_knn_takes_no_word_from_exact_copies():
    rng = np.random.default_rng(0)
    X, y = np.repeat(rng.normal(size=(30, 16)), 2, axis=0), np.repeat(np.arange(30) % 2, 2)
    assert loo_knn.score(X, y) < 0.8
    assert loo_knn.score(X + 1e-9 * rng.normal(size=X.shape), y) == 1.0  # had they a voice, this is what they would say


def test_loo_knn_in_pieces_is_loo_knn_at_once(monkeypatch):
    X, y = _data(50, 4, apart=0.5)
    whole = loo_knn._correct(X, y, 3, None)
    monkeypatch.setattr(loo_knn, "_ROWS", 7)
    np.testing.assert_array_equal(loo_knn._correct(X, y, 3, None), whole)


# --- GBC, TransRate, PARC, NLEEP ----------------------------------------------------------------


def test_gbc_is_the_integral_of_the_overlap():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 30)
    X = rng.normal(size=(90, 1)) * np.array([1.0, 2.0, 0.5])[y][:, None] + np.array([0.0, 1.0, 2.5])[y][:, None]
    sides = [norm(X[y == c].mean(), X[y == c].std()) for c in range(3)]
    total = 0.0
    for i, j in [(0, 1), (0, 2), (1, 2)]:
        total += 2 * quad(lambda x, i=i, j=j: np.sqrt(sides[i].pdf(x) * sides[j].pdf(x)), -30, 30, limit=200)[0]
    assert gbc.score(X, y) == pytest.approx(-total, rel=1e-6)


def test_gbc_is_least_where_classes_are_the_same():
    X = np.tile(np.random.default_rng(0).normal(size=(10, 3)), (4, 1))
    assert gbc.score(X, np.repeat(np.arange(4), 10)) == pytest.approx(-12.0)


@pytest.mark.parametrize(("n", "d"), [(40, 5), (20, 60)])
def test_transrate_is_a_sum_over_singular_values(n, d):
    X, y = _data(n, d)

    def rate(Z):
        return 0.5 * np.log1p(np.linalg.svd(Z, compute_uv=False) ** 2 / (len(Z) * 1e-4)).sum()

    Z = X - X.mean(axis=0)
    within = sum((y == c).mean() * rate(Z[y == c]) for c in range(3))
    assert transrate.score(X, y) == pytest.approx(rate(Z) - within)


@pytest.mark.parametrize("d", [5, 60])
def test_parc_is_rsatoolboxs_spearman(d):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from rsatoolbox.data import Dataset
        from rsatoolbox.rdm import RDMs, calc_rdm, compare
    X, y = _data(40, d)
    centred = X - X.mean(axis=0)
    U, S, _ = np.linalg.svd(centred, full_matrices=False)
    Z = (U * S)[:, :32]
    Z *= np.where((Z**3).sum(axis=0) < 0, -1, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        distances = calc_rdm(Dataset(Z), method="correlation")
    upper = np.triu_indices(40, k=1)
    labels = RDMs((y[upper[0]] != y[upper[1]]).astype(float)[None, :])
    assert parc.score(X, y) == pytest.approx(float(compare(distances, labels, method="spearman")[0, 0]), abs=1e-6)


def test_leep_of_hard_labels_is_minus_conditional_entropy():
    rng = np.random.default_rng(0)
    z = rng.integers(0, 5, 300)
    y = np.where(rng.random(300) < 0.6, z % 3, rng.integers(0, 3, 300))
    entropy = mutual_info_score(y, y)
    assert leep(np.eye(5)[z], y, 3) == pytest.approx(mutual_info_score(y, z) - entropy)
    assert leep(np.full((300, 4), 0.25), y, 3) == pytest.approx(-entropy)


def test_nleep_is_leep_on_a_gaussian_mixture():
    X, y = _data(120, 4, apart=3.0)
    Z = principal_components(X, variance=0.8)
    mixture = GaussianMixture(15, covariance_type="diag", n_init=5, random_state=1).fit(Z)
    assert nleep.score(X, y) == pytest.approx(leep(mixture.predict_proba(Z), y, 3), abs=0.1)


def test_nleep_knows_perfect_features_from_noise():
    rng = np.random.default_rng(0)
    y = np.arange(2000) % 4
    assert nleep.score(np.eye(4)[y] * 50 + rng.normal(size=(2000, 4)), y) == pytest.approx(0.0, abs=1e-3)
    assert nleep.score(rng.normal(size=(2000, 4)), y) == pytest.approx(-np.log(4), abs=0.05)


def test_principal_components_are_scikit_learns_up_to_sign():
    from sklearn.decomposition import PCA

    X, _ = _data(40, 12)
    oracle = PCA(svd_solver="full").fit(X)
    kept = int(np.searchsorted(np.cumsum(oracle.explained_variance_ratio_), 0.8)) + 1
    ours = principal_components(X, variance=0.8)
    unit = oracle.transform(X) / np.sqrt(X.var(axis=0).sum())
    np.testing.assert_allclose(np.abs(ours), np.abs(unit[:, :kept]), atol=1e-9)
    assert principal_components(X, most=2).shape == (40, 2)
