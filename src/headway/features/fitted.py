"""Features that are learnt from training items: they belong to one run, so memory holds them, not the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.features.embed import modality_of
from headway.types import ByteArray, Dataset, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What a modality's ``fit_classical`` has learnt, and the items that it can be asked of."""

    model: Any  # transform(items) -> float32 [n, dim]; dim
    sources: dict[bytes, Source]  # by content hash
    decode: Callable[[Source], Any]
    _known: dict[bytes, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def width(self) -> int:
        return int(self.model.dim)

    def matrix(self, digests: ByteArray) -> NDArray[np.float32]:
        """Features ``[n, width]`` of items, by their content hashes; those asked for before are remembered."""
        known = digests.tobytes()
        if known not in self._known:
            items = [self.decode(self.sources[digest.tobytes()]) for digest in digests]
            self._known[known] = np.asarray(self.model.transform(items), np.float32)
        return self._known[known]


def fitted(dataset: Dataset, digests: ByteArray, *, span: int | None = None) -> Fitted | None:
    """The classical features of a modality that learns them, learnt from the items of those hashes; else None.

    At most ``span`` of the items span them, or as many as the modality takes of itself.
    """
    modality = modality_of(dataset)
    fit = getattr(modality, "fit_classical", None)
    if fit is None:
        return None
    sources = {digest.tobytes(): source for digest, source in zip(dataset.digests, dataset.sources, strict=True)}
    items = [modality.decode(sources[digest.tobytes()]) for digest in digests]
    return Fitted(model=fit(items) if span is None else fit(items, most=span), sources=sources, decode=modality.decode)
