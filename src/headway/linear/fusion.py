"""Which backbones to fuse: blocks are added while exact leave-one-out says that they pay."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headway.linear.coding import coded, strata_of
from headway.linear.head import standardise
from headway.linear.solve import factorise, loo, penalty_grid
from headway.seeds import seed_of
from headway.types import Features, FloatArray, IntArray, Targets

MOST_ROWS = (
    1024  # rows the choice is made on: the cost is cubic in them, and the order of blocks is settled long before
)
LEAST_GAIN = (
    0.01  # a further backbone costs a forward pass an item for ever: its share of the squared error it must save
)


def forward_selection(candidates: Sequence[Features], /, *, seed: int) -> tuple[int, ...]:
    """Numbers of the candidates to fuse, in the order they were chosen; the first is the best on its own.

    Each candidate is one backbone's features ``[n, d_i]`` of the same rows. The criterion is the squared error
    (class-balanced for classes) of leave-one-out (leave-group-out) ridge at its best penalty. Standardised blocks side
    by side have the sum of the blocks' kernels, so a set costs one ``n x n`` factorisation, whatever the widths.
    Forward selection: Whitney (1971), IEEE Transactions on Computers C-20, 1100-1103.
    """
    rows = _sample(candidates[0].y, seed)
    y = candidates[0].y[rows]
    groups = None if candidates[0].groups is None else candidates[0].groups[rows]
    code = coded(y, candidates[0].classes)
    weights, targets = code.weights, code.columns
    blocks = [standardise(c.X[rows], c.blocks, weights=weights)[0] for c in candidates]
    # Any square root of a kernel gives the same ridge fit; n columns are the fewest that hold it whatever the width.
    narrow = [_narrow(block) for block in blocks]

    def error(chosen: Sequence[int]) -> float:
        factor = factorise(np.hstack([narrow[i] for i in chosen]), weights=weights)
        left_out = loo(factor, targets, penalty_grid(factor), groups=groups)
        return float(np.einsum("n,pnc->p", weights, (left_out - targets) ** 2).min())

    chosen: list[int] = []
    least = np.inf
    while len(chosen) < len(candidates):
        trials = [(error([*chosen, i]), i) for i in range(len(candidates)) if i not in chosen]
        best, added = min(trials)
        if best > least * (1 - LEAST_GAIN):
            break
        chosen.append(added)
        least = best
    return tuple(chosen)


def _narrow(block: FloatArray) -> FloatArray:
    """``[n, min(n, d)]`` columns with the block's kernel."""
    from threadpoolctl import threadpool_limits

    if block.shape[1] <= block.shape[0]:
        return block
    with threadpool_limits(1, user_api="blas"):  # beside other processes its threads wait for each other
        values, vectors = np.linalg.eigh(block.astype(np.float64) @ block.T.astype(np.float64))
    narrow: FloatArray = vectors * np.sqrt(np.maximum(values, 0))
    return narrow


def _sample(y: Targets, seed: int) -> IntArray:
    """At most ``MOST_ROWS`` rows, classes (or what stands for them in other tasks) in proportion."""
    if len(y) <= MOST_ROWS:
        return np.arange(len(y))
    rng = np.random.default_rng(seed_of("fusion-rows", seed))
    shuffled = rng.permutation(len(y))
    by_class = shuffled[np.argsort(strata_of(y)[shuffled], kind="stable")]
    return np.sort(by_class[np.linspace(0, len(y) - 1, MOST_ROWS).astype(np.int64)])
