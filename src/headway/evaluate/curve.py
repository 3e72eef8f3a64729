"""What labels are worth: accuracy against their number, a power law through it, and what more of them would bring.

The law is ``err(n) = a + b * n**-c`` with ``a >= 0``, ``b >= 0`` and ``0 < c <= 2`` (Hestness et al., arXiv 1712.00409;
Viering and Loog, arXiv 2103.10948, on where it fails). Beyond the data it is a guess, and the intervals say how wide a
guess; where the law does not fit, nothing is said but why.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from headway.errors import DataError, OptionError
from headway.evaluate.bootstrap import unseen_limits
from headway.evaluate.power_law import Doubles, exactly, law, on_grid, reaching
from headway.evaluate.subsamples import nested
from headway.linear.coding import class_numbers
from headway.linear.head import linear_scores
from headway.seeds import seed_of
from headway.types import ByteArray, Features, FitFn, FloatArray, IntArray, Interval

LEAST_SIZES = 4  # one more than the law has parameters: fewer sizes cannot show that it does not fit
FARTHEST = 1000  # times the labels there are: farther than that, no number is given
FARTHEST_CROSSING = 100  # the same of where two curves meet, which stands on the tails of both
_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Scores with ``S`` numbers of labels, ``D`` draws of each; a score of 1 is perfect, ``err = 1 - score``."""

    sizes: Doubles  # [S] labels learnt from, rising; means over draws where groups are kept whole
    scores: Doubles  # [D, S]
    items: Doubles | None = None  # [D, S, m] of each scored item: the score is their mean, weighted by worth
    worth: Doubles | None = None  # [m] weights of items; None: all alike

    def points(self) -> list[dict[str, float]]:
        """``{n, value, low, high}`` a size, with 95 % intervals over draws and items."""
        values, replicates = self.scores.mean(0), 1 - _replicates(self, resamples=1000, seed=0)
        low, high = _limits(replicates)
        return [
            {"n": float(n), "value": float(v), "low": float(min(lo, v)), "high": float(max(hi, v))}
            for n, v, lo, hi in zip(self.sizes, values, low, high, strict=True)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """``err(n) = a + b * n**-c``, and the same of ``R`` bootstrap replicates; ``why`` says why it is not to be used."""

    a: float
    b: float
    c: float
    replicates: Doubles  # [R, 3]: a, b, c
    largest: float  # labels of the largest size
    least: float = 0.0  # half-width that any interval has at least: what the scored items cannot have shown
    why: str = ""  # empty: the law fits

    def error(self, n: float) -> float:
        """Expected error with ``n`` labels, by the law."""
        return float(law(self.row, n)[0])

    @property
    def row(self) -> Doubles:
        """``[1, 3]``: as a replicate is written."""
        return np.array([[self.a, self.b, self.c]])


# --- measuring ------------------------------------------------------------------------------------


def learning_curve(
    score: Callable[[IntArray], float | FloatArray],
    y: IntArray,
    *,
    sizes: Sequence[int],
    draws: int,
    seed: int,
    groups: IntArray | None = None,
    digests: ByteArray | None = None,
) -> Curve:
    """Scores of what ``score(rows)`` learns from ``rows`` of the ``[n]`` training rows, for nested subsamples of them.

    ``score`` gives one number, or ``[m]`` numbers of the items it scored, of which the score is the mean. The draws of
    all rows are one and the same, so that they are asked for once.

    >>> curve = learning_curve(lambda rows: 1 - 1 / len(rows), np.arange(64) % 2, sizes=(8, 64), draws=2, seed=0)
    >>> curve.scores.tolist()
    [[0.875, 0.984375], [0.875, 0.984375]]
    """
    _check_draws(draws)
    found, used, whole = [], [], None
    for draw in range(draws):
        line = []
        subsamples = nested(y, sizes=sizes, seed=seed_of("curve", seed, draw), groups=groups, digests=digests)
        for rows in subsamples:
            if len(rows) == len(y):
                whole = np.atleast_1d(score(rows)) if whole is None else whole
            line.append(whole if len(rows) == len(y) and whole is not None else np.atleast_1d(score(rows)))
        found.append(line)
        used.append([len(rows) for rows in subsamples])
    return _curve(np.mean(used, axis=0), np.array(found, np.float64))


def probe_curve(
    features: Features,
    fit: FitFn,
    *,
    folds: Sequence[tuple[IntArray, IntArray]],
    sizes: Sequence[int],
    draws: int,
    seed: int,
) -> Curve:
    """Balanced accuracy of a probe on held-out folds: each draw learns from a subsample of every fold's other rows.

    ``folds`` are pairs of rows to learn from and rows to score; ``sizes`` above what a fold has to learn from are left
    out, with a message where none remains. ``fit`` is a method's, ``headway.adapt``'s ridge for one.
    """
    _check_draws(draws)
    smallest = min(len(learnt) for learnt, _ in folds)
    kept = tuple(size for size in sizes if size <= smallest)
    if not kept:
        raise DataError("no fold has so many rows to learn from", given=list(sizes), allowed=f"up to {smallest}")
    asked = np.unique(np.concatenate([rows for _, rows in folds]))
    items = np.zeros((draws, len(kept), len(features.y)))
    used = np.zeros((draws, len(folds), len(kept)))
    for draw in range(draws):
        for number, (learnt, scored) in enumerate(folds):
            own = None if features.groups is None else features.groups[learnt]
            name = seed_of("probe curve", seed, draw, number)
            for place, chosen in enumerate(
                nested(class_numbers(features.y)[learnt], sizes=kept, seed=name, groups=own)
            ):
                rows = learnt[chosen]
                head = fit(_rows_of(features, rows), seed=seed).head
                right = linear_scores(head, features.X[scored]).argmax(1) == features.y[scored]
                items[draw, place, scored] = right
                used[draw, number, place] = len(rows)
    worth = 1 / np.bincount(features.y[asked])[features.y[asked]]  # the mean is then balanced accuracy
    return _curve(used.mean((0, 1)), items[:, :, asked], worth)


def held_out_curve(sizes: Sequence[int], said: IntArray, y: IntArray) -> Curve:
    """Balanced accuracy on ``[m]`` held-out items of classes ``y``, for which ``said [S, m]`` was said, a row a size.

    One draw a size: its interval is that of the items alone.

    >>> held_out_curve([2, 4], np.array([[0, 1, 1, 0], [0, 0, 1, 1]]), np.array([0, 0, 1, 1])).scores.tolist()
    [[0.5, 1.0]]
    """
    if said.shape != (len(sizes), len(y)):
        raise DataError("what was said is not of these items", given=said.shape, allowed=f"[{len(sizes)}, {len(y)}]")
    worth = 1 / np.bincount(y)[y]
    return _curve(np.asarray(sizes, np.float64), (said == y)[None].astype(np.float64), worth)


def _rows_of(features: Features, rows: IntArray) -> Features:
    groups = None if features.groups is None else features.groups[rows]
    return Features(
        X=features.X[rows], y=features.y[rows], classes=features.classes, blocks=features.blocks, groups=groups
    )


def _check_draws(draws: int) -> None:
    if draws < 1:
        raise OptionError("a curve needs draws", given=draws, allowed="1 or more")


def _curve(sizes: Doubles, items: Doubles, worth: Doubles | None = None) -> Curve:
    """From ``[D, S, m]`` scores of items, or of nothing but one number each."""
    if not np.isfinite(items).all():
        raise DataError("a learning curve needs finite scores", given=f"{np.count_nonzero(~np.isfinite(items))} others")
    scores = np.average(items, axis=2, weights=worth)
    return Curve(sizes=sizes, scores=scores, items=items if items.shape[2] > 1 else None, worth=worth)


# --- the law --------------------------------------------------------------------------------------


def fit_curve(curve: Curve, *, resamples: int = 1000, seed: int = 0) -> Fit:
    """The law by weighted least squares, and its replicates by a bootstrap over draws and, where known, items.

    Sizes weigh by the inverse binomial variance of their mean. Few draws make a bootstrap too narrow: its spread is
    stretched to that of Student's t. ``Fit.why`` is set where there are fewer than 4 sizes, a single draw of unknown
    items, or errors that grow with the number of labels.

    >>> sizes = np.array([16.0, 32, 64, 128, 256])
    >>> fit = fit_curve(Curve(sizes=sizes, scores=1 - (0.1 + 2 / sizes)[None].repeat(3, 0)))
    >>> round(fit.a, 4), round(fit.b, 4), round(fit.c, 4)
    (0.1, 2.0, 1.0)
    """
    errors = 1 - curve.scores.mean(0)
    why, weights = _unusable(curve), _weights(errors)
    replicates = _replicates(curve, resamples=resamples, seed=seed)
    if not why and np.mean(_slopes(replicates, curve.sizes, weights) > 1e-9) > (1 + _CONFIDENCE) / 2:
        why = "the error grows with the number of labels, so no falling curve fits it"
    a, b, c = exactly(errors, curve.sizes, weights)
    laws, largest = on_grid(replicates, curve.sizes, weights), float(curve.sizes[-1])
    return Fit(a=a, b=b, c=c, replicates=laws, largest=largest, least=_unseen(curve), why=why)


def gain_of(fit: Fit, n: float, more: float) -> Interval | None:
    """What ``more`` labels would bring beyond ``n``: the fall of the error, in 0..1, with its 95 % interval.

    None where the law is not to be used (``fit.why``), or would have to reach farther than 1000 times its data.

    >>> sizes = np.array([16.0, 32, 64, 128, 256])
    >>> fit = fit_curve(Curve(sizes=sizes, scores=1 - (2 / sizes)[None].repeat(3, 0)))
    >>> round(gain_of(fit, 100, 100).value, 4)
    0.01
    """
    if n <= 0 or more < 0:
        raise OptionError("no such numbers of labels", given=f"n={n}, more={more}", allowed="n > 0, more >= 0")
    if fit.why or n + more > FARTHEST * fit.largest:
        return None
    value = fit.error(n) - fit.error(n + more)
    low, high = _limits(law(fit.replicates, n) - law(fit.replicates, n + more))
    widest = min(1.0, max(float(high), value, fit.least if more else 0.0))
    return Interval(value=value, low=max(0.0, min(float(low), value)), high=widest)


def catch_up(transfer: Fit, scratch: Fit, *, n: float | None = None) -> tuple[Interval | None, str]:
    """Labels at which ``scratch`` would reach what ``transfer`` has with ``n`` (default: all it was measured with).

    Gives the number and its 95 % interval, whose upper end is infinite where the data allow that it never does; or
    None, and why: a law that is not to be used, or one that reaches the score beyond 100 times the data or never.
    """
    why = transfer.why or scratch.why
    if why:
        return None, why
    at = transfer.largest if n is None else n
    value = float(reaching(scratch.row, law(transfer.row, at))[0])
    bound = FARTHEST_CROSSING * max(at, scratch.largest)
    if not value <= bound:
        return None, f"by the fitted curve not within {FARTHEST_CROSSING} times the labels there are"
    pairs = min(len(scratch.replicates), len(transfer.replicates))
    # Backwards, so that replicates of one number, which one seed may have made alike, do not meet.
    reached = reaching(scratch.replicates[:pairs], law(transfer.replicates[::-1][:pairs], at))
    low, high = np.quantile(reached, [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2], method="inverted_cdf")
    high = math.inf if high > bound else float(high)
    return Interval(value=value, low=min(float(low), value), high=max(high, value)), ""


# --- what the draws and items cannot tell -------------------------------------------------------------


def _replicates(curve: Curve, *, resamples: int, seed: int) -> Doubles:
    """Mean errors ``[R, S]`` as other draws, and other items, might have given them."""
    from scipy.special import stdtrit

    draws = len(curve.scores)
    errors = np.repeat((1 - curve.scores.mean(0))[None], resamples, axis=0)
    rng = np.random.default_rng(seed_of("curve bootstrap", seed))
    if draws > 1:
        share = rng.multinomial(draws, np.full(draws, 1 / draws), size=resamples) / draws
        # Resampling D draws has the variance of D - 1 and a normal's tails, where the mean of D has Student's.
        tail = (1 + _CONFIDENCE) / 2
        stretch = math.sqrt(draws / (draws - 1)) * stdtrit(draws - 1, tail) / NormalDist().inv_cdf(tail)
        errors -= stretch * (share @ curve.scores - curve.scores.mean(0))
    if curve.items is not None:
        m = curve.items.shape[2]
        weights = rng.multinomial(m, np.full(m, 1 / m), size=resamples) * (1.0 if curve.worth is None else curve.worth)
        errors -= weights @ curve.items.mean(0).T / weights.sum(1, keepdims=True) - curve.scores.mean(0)
    return errors


def _weights(errors: Doubles) -> Doubles:
    """``[S]`` inverse variances of items that are right or wrong: a few draws would tell their own too loosely."""
    weights: Doubles = 1 / np.maximum(errors * (1 - errors), 0.01)
    return weights


def _slopes(errors: Doubles, sizes: Doubles, weights: Doubles) -> Doubles:
    """Slope of each line of ``errors [R, S]`` over the logarithm of sizes."""
    x = np.log(sizes)
    centred = weights * (x - np.average(x, weights=weights))
    found: Doubles = errors @ centred / (centred @ x)
    return found


def _limits(replicates: Doubles) -> Doubles:
    """``[2, ...]``: the 95 % limits over the first axis."""
    found: Doubles = np.quantile(replicates, [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2], axis=0)
    return found


def _unusable(curve: Curve) -> str:
    if len(np.unique(curve.sizes)) < LEAST_SIZES:
        return f"{len(np.unique(curve.sizes))} numbers of labels are too few for a curve of three parameters"
    if len(curve.scores) < 2 and curve.items is None:
        return "a single draw does not tell how far its scores scatter"
    return ""


def _unseen(curve: Curve) -> float:
    """The change that may hide behind items that never changed with the labels, or all were right at last."""
    if curve.items is None or (curve.scores[:, -1].min() < 1 and np.ptp(curve.items.mean(0), axis=0).any()):
        return 0.0
    return float(unseen_limits(0.0, curve.items.shape[2], (0.0, 1.0), confidence=_CONFIDENCE)[1])
