"""Headway as a scikit-learn classifier, for images and for features that the user has already."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from headway import backbones
from headway.budget import Deadline, seconds_of
from headway.data.index import ContentIndex
from headway.data.read import read
from headway.engine.pool import Device, Member, open_network
from headway.errors import DataError
from headway.features.embed import default_store, embed, matrix
from headway.fetch import cache_dir
from headway.linear.head import probabilities
from headway.recipe.embedding import embed_all, entrant, open_models, read_data
from headway.recipe.selection import best_probe, select
from headway.recipe.session import open_session
from headway.types import LinearHead

NO_LIMIT = 1e9  # seconds
_RUNNING = threading.Lock()  # a compiled network has a fixed set of requests, which two threads must not share


class TransferClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Pretrained networks and the probe on them, chosen by cross-validation on the rows given to ``fit``.

    ``X`` is one of

    - **items**: a list of paths, PIL images, encoded bytes or arrays, or an array ``[n, h, w]`` or ``[n, h, w, 3]``.
      Networks are ranked, and probes on single, multi-stage and fused features compete, as in :func:`headway.fit`;
    - **features**: a table of numbers ``[n, d]``. Ridge, prototype and logistic probes compete on them. Columns are
      standardised, and a constant is appended before rows are scaled to length 1, so no row loses its length.

    Parameters
    ----------
    models : str or sequence of str, default=None
        Globs over names of ``headway models``, or one such glob; none: the packaged general networks.
    budget : float or str, default=None
        Wall-clock of one ``fit`` on items, as 60 or "60s"; none: no limit, so equal inputs give equal results.
    random_state : int, RandomState instance or None, default=0
        What the validation folds are drawn from.
    device : {"auto", "cpu", "cuda"}, default="auto"
    offline : bool, default=False
        Never use the network.

    Attributes
    ----------
    classes_ : ndarray of shape (C,)
        The labels, sorted; columns of probabilities are in this order.
    chosen_ : dict
        The ``backbones``, ``stages`` of each, ``method`` and its ``params``.
    validation_score_ : float
        Mean balanced accuracy of the chosen over the validation folds, 0..1; optimistic, as it was chosen by it.
    cut_ : dict
        What the budget or a fault left out, in words.
    n_features_in_ : int
        Columns of the features; not there after a fit on items.

    Raises
    ------
    DataError
        An item cannot be read or decoded, or there is one class only. It is a ValueError too.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> bool(TransferClassifier().fit(X[:500], y[:500]).score(X[500:700], y[500:700]) > 0.8)
    True
    """

    def __init__(
        self,
        *,
        models: str | Sequence[str] | None = None,
        budget: float | str | None = None,
        random_state: int | np.random.RandomState | None = 0,
        device: Device = "auto",
        offline: bool = False,
    ) -> None:
        self.models = models
        self.budget = budget
        self.random_state = random_state
        self.device = device
        self.offline = offline

    def fit(self, X: Any, y: ArrayLike) -> TransferClassifier:
        """Choose, fit and calibrate on all rows."""
        found = _as_items(X)
        if found is None:
            X, y = validate_data(self, X, y)
        check_classification_targets(y)
        labels = column_or_1d(y, warn=True)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise DataError(
                "there is only one class, so there is nothing to tell apart",
                given=f"{len(labels)} items of {self.classes_[:1].tolist()}",
                allowed="2 or more classes",
            )
        seed = _seed(self.random_state)
        if found is None:
            self._fit_features(X, codes.astype(np.int64), seed)
        else:
            self._fit_items(found, codes, seed)
        return self

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Scores ``[n, C]`` before calibration, or ``[n]`` in favour of the second of two classes."""
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Calibrated probabilities ``[n, C]``; columns as in ``classes_``."""
        return probabilities(self._scores(X), temperature=self.head_.temperature)

    def predict(self, X: Any) -> NDArray[Any]:
        """Labels ``[n]``."""
        scores = self._scores(X)
        labels: NDArray[Any] = self.classes_[scores.argmax(axis=1)]
        return labels

    def _fit_features(self, X: NDArray[Any], codes: NDArray[np.int64], seed: int) -> None:
        self.mean_ = X.mean(axis=0, dtype=np.float64)
        spread = X.std(axis=0, dtype=np.float64)
        self.scale_ = np.where(spread > 0, spread, 1.0)
        probe = best_probe(self._standardised(X), codes, classes=len(self.classes_), seed=seed)
        self.head_ = probe.adapted.head
        self.networks_: tuple[tuple[str, tuple[int, ...]], ...] = ()
        self.chosen_: dict[str, Any] = {
            "backbones": [],
            "stages": [],
            "method": probe.method,
            "params": dict(probe.adapted.params),
        }
        self.validation_score_ = probe.score
        self.cut_: dict[str, str] = {}

    def _fit_items(self, X: Any, codes: NDArray[np.int64], seed: int) -> None:
        if hasattr(self, "n_features_in_"):
            del self.n_features_in_
        limit = NO_LIMIT if self.budget is None else seconds_of(self.budget)
        session = open_session(
            limit, seed=seed, device=self.device, offline=self.offline, strict=True, deadline=Deadline(limit)
        )
        dataset = read_data((X, codes), session, label=None, group=None, task="classification")
        members = open_models(_patterns(self.models), dataset.modality, session)
        dataset, members = embed_all(dataset, members, session)
        result = select(dataset, members, session)
        ids = {member.spec.name: member.spec.id for member in members}
        contender = result.contender
        self.head_ = result.adapted.head
        self.networks_ = tuple(
            (ids[e.name], taken) for e, taken in zip(contender.entrants, contender.taken, strict=True)
        )
        self.chosen_ = {
            "backbones": [e.name for e in contender.entrants],
            "stages": list(contender.stages),
            "method": contender.method.name,
            "params": dict(result.adapted.params),
        }
        self.validation_score_ = result.score
        self.cut_ = dict(session.cut)

    def _scores(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        found = _as_items(X)
        if (found is None) != (not self.networks_):
            kinds = ("a table of numbers", "items")
            raise DataError(
                "this is not what the classifier was fitted on",
                given=kinds[found is not None],
                allowed=kinds[bool(self.networks_)],
            )
        if found is None:
            return _head_scores(self.head_, self._standardised(validate_data(self, X, reset=False)))
        return _head_scores(self.head_, self._embedded(found))

    def _standardised(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """Columns standardised, and one of constants whose length is that of a typical row."""
        Z = (X.astype(np.float64) - self.mean_) / self.scale_
        return np.column_stack([Z, np.full(len(Z), np.sqrt(Z.shape[1]))])

    def _embedded(self, items: Any) -> NDArray[np.float32]:
        """Features ``[n, d]`` of the chosen networks' chosen stages."""
        cache = cache_dir()
        dataset = read(items, labelled=False, strict=True, index=ContentIndex(cache / "content.sqlite"))
        with _RUNNING:
            members = [_opened(name, self.device, self.offline, cache) for name, _ in self.networks_]
            store = default_store(cache)
            found = embed(dataset, [member.frozen for member in members], store=store)
        if found.bad:
            raise DataError(f"{len(found.bad)} items cannot be decoded", given="; ".join(list(found.bad.values())[:5]))
        blocks = []
        for member, (_, stages) in zip(members, self.networks_, strict=True):
            blocks += [entrant(member).block(stage) for stage in stages]
        return matrix(store, blocks, dataset.digests)


@lru_cache(maxsize=16)
def _opened(name: str, device: Device, offline: bool, cache: Path) -> Member:
    """Networks stay open for the process, not for the estimator, so that estimators can be pickled and copied."""
    return open_network(backbones.open(name, offline=offline), device=device, cache=cache / "networks")


def _as_items(X: Any) -> Any:
    """``X`` as items that :func:`headway.data.read.read` takes, or ``None`` where it is a table of numbers."""
    if getattr(X, "ndim", 1) > 2:
        return np.asarray(X)
    if getattr(X, "ndim", 1) == 2:
        values = np.asarray(X) if not hasattr(X, "toarray") else np.empty((0, 0))  # sparse is never items
        column = values.shape[1:] == (1,) and values.dtype.kind in "OUS"
        return [*values[:, 0]] if column and all(map(_is_item, values[:, 0])) else None
    listed = list(X) if hasattr(X, "__len__") and not isinstance(X, str | bytes | dict) else []
    return listed if any(map(_is_item, listed)) else None


def _is_item(x: object) -> bool:
    """A path, encoded bytes, a PIL image (told without importing PIL), or a grid of pixels."""
    if isinstance(x, str | os.PathLike | bytes) or hasattr(x, "has_transparency_data"):
        return True
    return getattr(x, "ndim", 0) >= 2


def _head_scores(head: LinearHead, X: NDArray[Any]) -> NDArray[np.float64]:
    """:func:`headway.linear.head.linear_scores` in float64, so that a row's scores do not depend on its batch."""
    Z = X.astype(np.float64)
    edges = np.cumsum((0, *head.blocks))
    if head.unit_blocks:
        for start, stop in pairwise(edges.tolist()):
            length = np.linalg.norm(Z[:, start:stop], axis=1, keepdims=True)
            Z[:, start:stop] /= np.maximum(length, 1e-12)
    scores: NDArray[np.float64] = (Z - head.mean) / head.scale @ head.weight.astype(np.float64) + head.bias
    return scores


def _seed(random_state: int | np.random.RandomState | None) -> int:
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def _patterns(models: str | Sequence[str] | None) -> Sequence[str]:
    if models is None:
        return ()
    return [models] if isinstance(models, str) else list(models)
