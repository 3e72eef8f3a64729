"""What the user should know of the data before anything is learnt from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from headway.data.dataset import target_array, target_codes
from headway.modalities._lengths import lengths
from headway.types import ByteArray, Dataset, Finding, IntArray

NEAR_BITS = 20
"""Most bits in which hashes of near-duplicates differ, and :data:`NEAR_SHARE` the most as a share of the bits set."""
NEAR_SHARE = 0.13
# Measured on 716 drawings and 189 photo cut-outs: of copies recompressed at JPEG quality 75 these limits find 99 % on
# both sets, of copies at half size 98 % and 93 %, of copies with 2 % cut off each edge only 30 % and 23 %. They join 31
# of 255,970 pairs of drawings, nearly all of them variants of one drawing by their names, no pair of photos, and 119 of
# 1,797 digits of 8 x 8 pixels, all within a class. The share is what keeps small drawings on an empty page apart: they
# differ in few bits because they have few.

ClosePairs: TypeAlias = Callable[[ByteArray], tuple[IntArray, IntArray]]
_SHOWN = 10
_BLOCK = 128  # rows compared at a time with all others: 50 MB of words at 50,000 items
_MOST_EDGES = 2_000_000
_TINY = 5
_IMBALANCE = 10
_LONG = 200_000  # characters from which a text is more than the classical features and any network look at


def near_duplicates(hashes: ByteArray, digests: ByteArray, *, close: ClosePairs | None = None) -> IntArray:
    """Cluster numbers ``[n]`` from perceptual hashes ``[n, k]`` and content digests ``[n, 16]``.

    ``close`` is the modality's own way to tell near-copies by their hashes, as pairs of rows. Without it two items are
    joined where their digests are equal or their hashes differ in at most :data:`NEAR_BITS` bits and in at most
    :data:`NEAR_SHARE` of the bits that either sets, and all pairs are compared, a block of rows at a time: time grows
    with n squared, memory with n. Clusters are what is connected.

    >>> near_duplicates(np.full((3, 46), [[0], [0], [255]], np.uint8), np.eye(3, 16, dtype=np.uint8)).tolist()
    [0, 0, 1]
    """
    n = len(hashes)
    _, alike = np.unique(_words(hashes), axis=0, return_inverse=True)
    first = np.unique(alike.ravel(), return_index=True)[1]
    left, right = _close_pairs(_words(hashes)[first]) if close is None else close(hashes[first])
    same = np.unique(digests, axis=0, return_inverse=True)[1].ravel()
    # Nodes: the items, then the distinct hashes, then the distinct digests; an item is tied to its hash and its digest.
    rows = np.concatenate([np.arange(n), np.arange(n), n + left])
    columns = np.concatenate([n + alike.ravel(), n + len(first) + same, n + right])
    return numbered(connected(rows, columns, 2 * n + len(first))[:n])


def connected(left: IntArray, right: IntArray, nodes: int) -> IntArray:
    """Component number of each node ``[nodes]`` of the graph with edges ``left[i] - right[i]``."""
    import scipy.sparse as sp

    graph = sp.coo_array((np.ones(len(left), bool), (left, right)), shape=(nodes, nodes))
    labels: IntArray = sp.csgraph.connected_components(graph, directed=False)[1].astype(np.int64)
    return labels


def _words(hashes: ByteArray) -> NDArray[np.uint64]:
    padded = np.zeros((len(hashes), -(-hashes.shape[1] // 8) * 8), np.uint8)
    padded[:, : hashes.shape[1]] = hashes
    return padded.view(np.uint64)


def _close_pairs(words: NDArray[np.uint64]) -> tuple[IntArray, IntArray]:
    """Edges that connect what is close: all close pairs, or fewer with the same components where they are very many."""
    set_bits = np.bitwise_count(words).sum(1, dtype=np.int64)
    order = np.argsort(set_bits, kind="stable")
    words, set_bits, n = words[order], set_bits[order], len(words)
    # Hashes whose numbers of set bits differ by more than the limit cannot be close: each row is compared up to here.
    ends = np.searchsorted(set_bits, set_bits + NEAR_BITS, side="right")
    edges = np.zeros((2, 0), np.int64)
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        others = words[start : ends[stop - 1]]
        near = _distance(words[start:stop, None, :2], others[None, :, :2]) <= NEAR_BITS
        i, j = np.nonzero(np.triu(near, 1))  # two words decide most pairs, and the rest only for those left
        i, j = i + start, j + start
        bits = _distance(words[i], words[j])
        either = np.bitwise_count(words[i] | words[j]).sum(1, dtype=np.int64)
        close = (bits <= NEAR_BITS) & (bits <= NEAR_SHARE * either)
        edges = np.concatenate([edges, [i[close], j[close]]], axis=1)
        if edges.shape[1] > _MOST_EDGES:
            edges = np.stack([np.arange(n), _representatives(connected(edges[0], edges[1], n))])
    return order[edges[0]], order[edges[1]]


def _distance(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.int16]:
    """Hamming distance over the last axis, a word at a time."""
    total: NDArray[np.int16] = np.bitwise_count(a[..., 0] ^ b[..., 0]).astype(np.int16)
    for word in range(1, a.shape[-1]):
        total += np.bitwise_count(a[..., word] ^ b[..., word])
    return total


def _representatives(labels: IntArray) -> IntArray:
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    result: IntArray = first[inverse.ravel()]
    return result


def numbered(labels: IntArray) -> IntArray:
    """Any labels as 0, 1, 2, ... in order of first appearance.

    >>> numbered(np.array([7, 7, 3])).tolist()
    [0, 0, 1]
    """
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    result: IntArray = rank[inverse.ravel()]
    return result


def check(dataset: Dataset) -> tuple[Finding, ...]:
    """Imbalance, tiny classes or labels, equal contents, equal contents with unequal targets, and very long texts.

    Classes of one item and bad items are found while reading. Targets may be absent.
    """
    findings = [_equal_contents(dataset), _long_texts(dataset)]
    if dataset.targets is not None:
        if dataset.task == "classification":
            counts = class_counts(dataset)
            findings += [_tiny(dataset, counts, "classes"), _imbalance(dataset, counts), _conflicts(dataset, "class")]
        elif dataset.classes and not isinstance(dataset.targets, tuple):
            findings += [_tiny(dataset, class_counts(dataset), "labels"), _conflicts(dataset, "set of labels")]
        else:
            findings += [_conflicts(dataset, "target")]
    return tuple(finding for finding in findings if finding is not None)


def _equal_contents(dataset: Dataset) -> Finding | None:
    clusters = exact_duplicates(dataset.digests)
    sizes = np.bincount(clusters)
    extra = int((sizes - 1).sum())
    if not extra:
        return None
    shown = tuple(_together(dataset, clusters == cluster) for cluster in np.flatnonzero(sizes > 1)[:_SHOWN])
    message = f"{extra} items are exact copies of others; copies stay on one side of every split."
    return Finding(check="exact_duplicates", severity="note", message=message, evidence=shown)


def _long_texts(dataset: Dataset) -> Finding | None:
    if dataset.modality != "text":
        return None
    texts = [source for source in dataset.sources if isinstance(source, str | tuple)]
    sizes = [sum(map(len, (text,) if isinstance(text, str) else text)) for text in texts]
    over = [row for row, size in enumerate(sizes) if size > _LONG]
    if not over:
        return None
    usual = lengths(texts)
    message = (
        f"{len(over)} texts have more than {_LONG:,} characters, the most that is looked at of each; the median has "
        f"{usual.median:,.0f}, and one in twenty more than {usual.p95:,.0f}."
    )
    shown = tuple(f"{dataset.names[row]}: {sizes[row]:,} characters" for row in over[:_SHOWN])
    return Finding(check="long_texts", severity="note", message=message, evidence=shown)


def exact_duplicates(digests: ByteArray) -> IntArray:
    """Cluster numbers ``[n]`` of equal content digests ``[n, 16]``.

    >>> exact_duplicates(np.array([[5] * 16, [1] * 16, [5] * 16], np.uint8)).tolist()
    [0, 1, 0]
    """
    return numbered(np.unique(digests, axis=0, return_inverse=True)[1].ravel())


def class_counts(dataset: Dataset) -> IntArray:
    """Items ``[C]`` of each class, or on which each label is on."""
    targets = target_array(dataset)
    if targets.ndim == 2:
        counts: IntArray = targets.sum(axis=0).astype(np.int64)
        return counts
    return np.bincount(targets.astype(np.int64), minlength=len(dataset.classes))


def _conflicts(dataset: Dataset, what: str) -> Finding | None:
    """Items of equal content with different targets: at most one of these can be right."""
    clusters = exact_duplicates(dataset.digests)
    pairs = np.unique(np.stack([clusters, target_codes(dataset)]), axis=1)
    torn = np.flatnonzero(np.bincount(pairs[0]) > 1)
    if not len(torn):
        return None
    items = int(np.isin(clusters, torn).sum())
    right = "at most one of the labels is right" if what == "class" else "at most one of them is right"
    message = f"{items} items have the same content as an item of another {what}: {right}."
    shown = tuple(_together(dataset, clusters == cluster) for cluster in torn[:_SHOWN])
    return Finding(check="conflicting_labels", severity="warn", message=message, evidence=shown)


def _together(dataset: Dataset, member: NDArray[np.bool_]) -> str:
    return " = ".join(dataset.names[row] for row in np.flatnonzero(member)[:3])


def _tiny(dataset: Dataset, counts: IntArray, what: str) -> Finding | None:
    tiny = np.flatnonzero((counts > 1) & (counts < _TINY))
    if not len(tiny):
        return None
    message = f"{len(tiny)} of {len(counts)} {what} have fewer than {_TINY} items: what is measured of them is rough."
    shown = tuple(f"{dataset.classes[c]}: {counts[c]}" for c in tiny[:_SHOWN])
    return Finding(check=f"tiny_{what}", severity="warn", message=message, evidence=shown)


def _imbalance(dataset: Dataset, counts: IntArray) -> Finding | None:
    present = np.flatnonzero(counts)
    least, most = present[counts[present].argmin()], present[counts[present].argmax()]
    if counts[most] < _IMBALANCE * counts[least]:
        return None
    message = f"The largest class has {counts[most] / counts[least]:.0f} times the items of the smallest."
    shown = tuple(f"{dataset.classes[c]}: {counts[c]}" for c in (most, least))
    return Finding(check="imbalance", severity="note", message=message, evidence=shown)
