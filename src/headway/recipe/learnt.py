"""The arm whose features are learnt from the training texts: what it costs, and how much of it the time holds."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from headway.errors import DataError
from headway.features.embed import modality_of
from headway.features.fitted import Fitted, fitted
from headway.recipe.session import CLOSING, Session
from headway.types import ByteArray, Dataset, IntArray

PIECE = 64  # training texts that are timed
SIDE = 512  # of the matrix whose decomposition is timed
SPANS = (2048, 1024, 512, 256, 128)  # training texts that may span the coordinates
MOST = 0.3  # of the budget that is left aside for this arm


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What was timed on this machine, as busy as it is."""

    item: float  # seconds that a text's terms take, learnt and counted
    flops: float  # a second, of a decomposition

    def seconds(self, n: int, span: int) -> float:
        """For ``n`` training texts of which ``span`` span the coordinates: features, and the probe on them."""
        m = min(n, span)
        return n * self.item + (24.0 * m**3 + 6.0 * n * m**2) / self.flops


def price(dataset: Dataset, rows: IntArray) -> Price | None:
    """From a piece of the texts ``rows`` and a small matrix; None where nothing is learnt from texts."""
    from threadpoolctl import threadpool_limits

    if getattr(modality_of(dataset), "fit_classical", None) is None or not len(rows):
        return None
    drawn = dataset.digests[rows[np.linspace(0, len(rows) - 1, min(PIECE, len(rows))).astype(np.int64)]]
    try:
        fitted(dataset, drawn[:2])  # what is imported then is imported once
        started = perf_counter()
        piece = fitted(dataset, drawn)
    except DataError:
        return None
    assert piece is not None
    piece.matrix(drawn)
    item = (perf_counter() - started) / len(drawn)
    gram = np.eye(SIDE) + np.add.outer(np.arange(SIDE), np.arange(SIDE)) % 7
    with threadpool_limits(1, user_api="blas"):
        started = perf_counter()
        np.linalg.eigh(gram)
    return Price(item=item, flops=12.0 * SIDE**3 / max(perf_counter() - started, 1e-6))


def set_aside(dataset: Dataset, rows: IntArray, session: Session) -> None:
    """Make everything before the arms leave it its time, as far as that is no more than :data:`MOST` of the budget."""
    with session.timed("look"):
        found = price(dataset, rows)
    if found is not None:
        session.aside = min(found.seconds(len(rows), SPANS[0]), MOST * session.deadline.seconds)


def learnt_features(dataset: Dataset, digests: ByteArray, tested: int, session: Session) -> Fitted | None:
    """The features, spanned by as many training texts as the time holds; ``tested`` texts are to be read later.

    Raises:
        DataError: no text holds a term.
    """
    known = {digest.tobytes(): row for row, digest in enumerate(dataset.digests)}
    found = price(dataset, np.array([known[digest.tobytes()] for digest in digests], np.int64))
    if found is None:
        return fitted(dataset, digests)
    n, left = len(digests), session.deadline.remaining - CLOSING - tested * found.item
    fitting = [span for span in SPANS if found.seconds(n, span) <= left]
    span = fitting[0] if fitting else SPANS[-1]
    if span < min(n, SPANS[0]):
        session.cut["classical"] = f"its features are spanned by {span} training texts: more did not fit the budget"
    return fitted(dataset, digests, span=span)
