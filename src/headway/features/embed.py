"""From a data set to feature columns: one pass through the extraction loop, then rows out of the store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from headway import plugins
from headway.budget import Deadline
from headway.engine.frozen import Frozen
from headway.features.extract import Decoder, Extraction, Fact, Replan, extract
from headway.features.store import Store
from headway.seeds import seed_of
from headway.types import ByteArray, Dataset, IntArray, Progress

Block = tuple[str, str]
"""A store key and a column: one network's stage, or a fact."""


def modality_of(dataset: Dataset) -> ModuleType:
    return plugins.load("modalities", dataset.modality)


def classical_fact(modality: ModuleType) -> Fact | None:
    """The classical features of one item; None where a modality learns them from many (``fit_classical``)."""
    compute = getattr(modality, "classical", None)
    return None if compute is None else Fact(key=modality.CLASSICAL_VERSION, compute=compute)


def hash_fact(modality: ModuleType) -> Fact:
    """What tells near-copies."""
    return Fact(key=modality.HASH_VERSION, compute=modality.perceptual_hash)


def facts_of(modality: ModuleType) -> tuple[Fact, ...]:
    """What a modality says of one item without a network: classical features where it can, what tells near-copies."""
    classical = classical_fact(modality)
    return (hash_fact(modality),) if classical is None else (classical, hash_fact(modality))


def embed(
    dataset: Dataset,
    networks: Sequence[Frozen],
    *,
    store: Store,
    facts: Sequence[Fact] = (),
    decoder: Decoder | None = None,
    seed: int = 0,
    deadline: Deadline | None = None,
    replan: Replan | None = None,
    progress: Progress | None = None,
) -> Extraction:
    """Put every stage of every network, and every fact, of every item into the store.

    ``decoder`` is the modality itself, or one that wraps it.
    """
    return extract(
        dataset.sources,
        dataset.digests,
        networks=networks,
        decoder=decoder or modality_of(dataset),
        store=store,
        facts=facts,
        order=even_order(dataset, seed=seed),
        deadline=deadline,
        replan=replan,
        progress=progress,
    )


def matrix(store: Store, blocks: Sequence[Block], digests: ByteArray) -> NDArray[np.float32]:
    """Features ``[n, d]``: the blocks side by side, rows in the order of ``digests``."""
    if not blocks:
        return np.zeros((len(digests), 0), np.float32)
    return np.concatenate([store.get(key, digests, [column]) for key, column in blocks], axis=1)


def even_order(dataset: Dataset, *, seed: int) -> IntArray:
    """Rows in an order in which every beginning has all strata and parts in proportion, should time run out."""
    n = len(dataset.names)
    shuffled = np.random.default_rng(seed_of("order", seed)).permutation(n)
    if dataset.targets is None:
        return shuffled
    parts = np.zeros(n, np.int64)
    if dataset.parts is not None:
        parts = np.unique([part or "" for part in dataset.parts], return_inverse=True)[1]
    strata = plugins.load("tasks", dataset.task).strata(dataset.targets)
    stratum = parts * (int(strata.max(initial=0)) + 1) + strata
    by_stratum = shuffled[np.argsort(stratum[shuffled], kind="stable")]
    sizes = np.bincount(stratum)
    ends = np.cumsum(sizes)
    rank = np.arange(n) - np.repeat(ends - sizes, sizes)
    share = (rank + 0.5) / np.repeat(sizes, sizes)
    order: IntArray = by_stratum[np.argsort(share, kind="stable")]
    return order


def default_store(cache: Path) -> Store:
    """The store that all runs of a user share."""
    return Store(cache / "features")
