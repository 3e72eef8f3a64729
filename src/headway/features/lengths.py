"""How long texts are to a network: counted while they are tokenised, kept in the store beside its features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headway.engine.frozen import Frozen
from headway.features.store import Store
from headway.types import ByteArray, IntArray, TextView

TOKENS = "tokens"  # the column


def truncated(store: Store, networks: Sequence[Frozen], digests: ByteArray) -> dict[str, int]:
    """How many of the items that are stored are texts longer than a network reads, by name; none are left out."""
    found = {}
    for network in networks:
        if isinstance(network.view, TextView):
            counts = token_counts(store, network, digests)
            if over := int((counts > network.view.tokens).sum()):
                found[network.name] = over
    return found


def token_counts(store: Store, network: Frozen, digests: ByteArray) -> IntArray:
    """The tokens ``[n]`` of each text as a network's tokenizer counts them; 0 for what is not stored."""
    counts = np.zeros(len(digests), np.int64)
    there = store.have(network.key, digests)
    if there.any():
        counts[there] = store.get(network.key, digests[there], [TOKENS])[:, 0]
    return counts
