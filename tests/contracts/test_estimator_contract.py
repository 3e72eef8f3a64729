"""The estimator keeps scikit-learn's own contract: everything that ``check_estimator`` checks, on tables of numbers."""

from __future__ import annotations

from typing import Any

from sklearn.utils.estimator_checks import parametrize_with_checks

from headway.estimator import TransferClassifier


@parametrize_with_checks([TransferClassifier()])
def test_scikit_learn_contract(estimator: TransferClassifier, check: Any) -> None:
    check(estimator)
