"""What every probe shares: how features are normalised, and how a linear head is applied.

numpy only, so that a saved run predicts without anything heavier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.types import FloatArray, LinearHead, Link

TINY = 1e-12


def unit_blocks(X: FloatArray, /, blocks: Sequence[int]) -> NDArray[np.float32]:
    """Scale each block of each row to length 1: ``[n, d]`` with ``sum(blocks) == d``; an all-zero block stays zero.

    >>> unit_blocks(np.array([[3.0, 4.0, 2.0]]), (2, 1)).round(2).tolist()
    [[0.6000000238418579, 0.800000011920929, 1.0]]
    """
    out = np.array(X, dtype=np.float32)
    for start, stop in _edges(blocks):
        block = out[:, start:stop]
        block /= np.maximum(np.linalg.norm(block, axis=1, keepdims=True), TINY)
    return out


def standardise(
    X: FloatArray, /, blocks: Sequence[int], *, weights: FloatArray
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Unit blocks, centred, each block divided by the root of its total variance.

    Every block so has the same say in a joint linear model, however many columns it has: the kernels of the blocks are
    added on one scale. Returns ``(Z [n, d], mean [d], scale [d])`` with ``Z = (unit_blocks(X) - mean) / scale``.
    """
    Z = unit_blocks(X, blocks)
    share = (np.asarray(weights, np.float64) / np.sum(weights)).astype(np.float32)
    mean = (share @ Z).astype(np.float32)
    Z -= mean
    scale = np.ones(Z.shape[1], np.float32)
    for start, stop in _edges(blocks):
        variance = float(share @ np.einsum("nd,nd->n", Z[:, start:stop], Z[:, start:stop]))
        scale[start:stop] = max(np.sqrt(variance), 1e-6)
    Z /= scale
    return Z, mean, scale


def unit_head(
    blocks: Sequence[int],
    *,
    mean: FloatArray,
    scale: FloatArray,
    weight: FloatArray,
    bias: FloatArray,
    link: Link = "softmax",
) -> LinearHead:
    """The head of a model ``Z @ weight + bias`` that was fitted on what :func:`standardise` gave."""
    return LinearHead(
        blocks=tuple(blocks),
        unit_blocks=True,
        mean=mean.astype(np.float32),
        scale=scale.astype(np.float32),
        weight=np.ascontiguousarray(weight, np.float32),
        bias=bias.astype(np.float32),
        link=link,
    )


def linear_scores(head: LinearHead, X: FloatArray, /) -> NDArray[np.float32]:
    """The head's scores ``[n, C]`` of features ``[n, d]``, temperature not yet applied."""
    Z = np.array(X, np.float32)
    unit = head.unit_blocks if isinstance(head.unit_blocks, tuple) else (head.unit_blocks,) * len(head.blocks)
    for (start, stop), wanted in zip(_edges(head.blocks), unit, strict=True):
        if wanted:
            Z[:, start:stop] = unit_blocks(Z[:, start:stop], (stop - start,))
    Z -= head.mean
    Z /= head.scale
    scores: NDArray[np.float32] = Z @ head.weight + head.bias
    return scores


def blend(first: LinearHead, second: LinearHead, share: float) -> LinearHead:
    """The head on the blocks of both, whose scores are ``(1 - share) * first + share * second``.

    Each side's scores are divided by its temperature beforehand; the blend's own temperature is 1. Both have one link.

    >>> head = LinearHead(blocks=(1,), unit_blocks=False, mean=np.zeros(1, "f"), scale=np.ones(1, "f"),
    ...                   weight=np.ones((1, 2), "f"), bias=np.zeros(2, "f"))
    >>> linear_scores(blend(head, head, 0.25), np.array([[4.0, 8.0]])).tolist()
    [[5.0, 5.0]]
    """
    sides = ((first, 1.0 - share), (second, share))
    unit = [h.unit_blocks if isinstance(h.unit_blocks, tuple) else (h.unit_blocks,) * len(h.blocks) for h, _ in sides]
    weighted = [(h.weight * (part / h.temperature), h.bias * (part / h.temperature)) for h, part in sides]
    return replace(
        first,
        temperature=1.0,
        thresholds=None,
        blocks=(*first.blocks, *second.blocks),
        unit_blocks=(*unit[0], *unit[1]),
        mean=np.concatenate([first.mean, second.mean]),
        scale=np.concatenate([first.scale, second.scale]),
        weight=np.concatenate([weight for weight, _ in weighted]).astype(np.float32),
        bias=np.sum([bias for _, bias in weighted], axis=0).astype(np.float32),
    )


def probabilities(scores: FloatArray, /, *, temperature: float = 1.0) -> NDArray[np.float64]:
    """``softmax(scores / temperature)`` over the last axis, in float64.

    >>> probabilities(np.array([[0.0, 0.0]])).tolist()
    [[0.5, 0.5]]
    """
    shifted = np.asarray(scores, np.float64) / temperature
    shifted -= shifted.max(axis=-1, keepdims=True)
    raised = np.exp(shifted)
    shares: NDArray[np.float64] = raised / raised.sum(axis=-1, keepdims=True)
    return shares


def sigmoid(scores: FloatArray, /) -> NDArray[np.float64]:
    """``1 / (1 + exp(-scores))``, in float64, without overflow.

    >>> sigmoid(np.array([0.0, -1e4])).tolist()
    [0.5, 0.0]
    """
    shares: NDArray[np.float64] = 0.5 * (1.0 + np.tanh(0.5 * np.asarray(scores, np.float64)))
    return shares


def answers(head: LinearHead, scores: FloatArray, /) -> NDArray[np.float64]:
    """What the head says ``[n, C]`` of its scores ``[n, C]``: probabilities, or numbers where its link is the identity.

    Of classes they sum to 1 an item; of labels each is one's own.
    """
    if head.link == "softmax":
        return probabilities(scores, temperature=head.temperature)
    scaled = np.asarray(scores, np.float64) / head.temperature
    return sigmoid(scaled) if head.link == "sigmoid" else scaled


def _edges(blocks: Sequence[int]) -> list[tuple[int, int]]:
    stops: NDArray[Any] = np.cumsum(blocks)
    return [(int(stop) - width, int(stop)) for stop, width in zip(stops, blocks, strict=True)]
