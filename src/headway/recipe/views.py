"""Views to train on: how images may be changed without changing what they show, and activations at each cut, once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from headway.budget import Deadline
from headway.engine.ir import pixels_of
from headway.engine.pool import Member, open_network
from headway.errors import OptionError
from headway.evaluate.contenders import Arena
from headway.features._pixels import Decoder
from headway.features.activations import Activations, Batches, activations, batches
from headway.features.embed import matrix, modality_of
from headway.linear.coding import strata_of
from headway.modalities.image import cover_of
from headway.recipe.session import Session, compiled_cache
from headway.types import ByteArray, Dataset, Finding, FloatArray, ImageView, IntArray

if TYPE_CHECKING:
    from headway.modalities._augment import Augmentation

RANDOM_VIEWS = 6  # an item; epochs after the sixth see them again
TURN = 10.0  # degrees that any picture may be turned by and still show the same
MIRROR_ITEMS = 128  # looked at to decide whether mirroring is harmless
MIRROR_COST = 0.05  # of the neighbours' accuracy: what losing more means that left and right differ in meaning


@dataclass(slots=True, kw_only=True)
class Views:
    """The training rows' activations by network and cut, filled when first asked for."""

    dataset: Dataset
    session: Session
    policy: Augmentation
    known: dict[tuple[str, str | None], Activations] = field(default_factory=dict)

    def at(self, member: Member, cut: str | None, *, epochs: int) -> Activations:
        """All rows at a cut of a network, in as many views as so many epochs see; no cut: the pixels of its input."""
        # Pixels are the same for every network of one input size, so that all arms train on the same ones
        size = pixels_of(member.spec)
        key = (member.spec.id, cut) if cut else (f"{size.height} x {size.width} {size.interpolation}", None)
        with self.session.timed("activations"):
            if key not in self.known:
                self.known[key] = self._opened(member, cut)
            found = self.known[key]
            # What time does not allow now is computed when it is asked for
            until = Deadline(max(self.session.deadline.remaining, 0.0))
            views = range(min(epochs, RANDOM_VIEWS) + 1)
            found.fill(np.arange(len(self.dataset.names)), views=views, deadline=until, progress=self.session.progress)
        self.session.findings += [finding for finding in found.findings if finding not in self.session.findings]
        return found

    def batches(
        self,
        member: Member,
        cut: str | None,
        rows: IntArray,
        targets: Any,
        *,
        batch_size: int,
        seed: int,
        epochs: int,
        kind: Literal["rows", "pairs"] = "rows",
    ) -> Batches:
        """Batches of ``rows`` to train on for so many epochs; 0: to look at, in the clean view.

        Raises :class:`OptionError` for pairs: they are drawn of texts.
        """
        if kind == "pairs":
            raise OptionError("images are not tuned by pairs", todo="Choose another --method, such as partial")
        cache = self.at(member, cut, epochs=epochs)
        return batches(cache, rows, targets, batch_size=batch_size, seed=seed, train=epochs > 0)

    def cost(self, member: Member, cut: str | None, *, epochs: int) -> float:
        """Seconds that filling takes at most: those of whole forward passes."""
        if (member.spec.id, cut) in self.known:
            return 0.0
        a_view = len(self.dataset.names) * self.session.pace.get(member.spec.arch, 0.0)
        return a_view * (min(epochs, RANDOM_VIEWS) + 1)

    def _opened(self, member: Member, cut: str | None) -> Activations:
        from headway.engine.cut import prefix

        session, network = self.session, None
        if cut is not None:
            below = prefix(member.backbone, cut)
            network = open_network(below, device=session.device, cache=compiled_cache(session)).frozen
        return activations(
            self.dataset.sources,
            self.dataset.digests,
            network=network,
            expects=pixels_of(member.spec),
            modality=modality_of(self.dataset),
            decoder=session.decoder,
            root=session.cache / "activations",
            views=RANDOM_VIEWS,
            policy=self.policy,
            seed=session.seed,
        )


def open_views(dataset: Dataset, best: Member, arena: Arena, session: Session) -> Views:
    """The views of training rows; whether they may be mirrored is found out, not asked."""
    from headway.modalities.image import Augmentation

    with session.timed("views"):
        flip = mirrors(dataset, best, arena, session.decoder or modality_of(dataset))
    if not flip:
        session.findings.append(
            Finding(
                check="mirroring",
                severity="note",
                message="mirrored items look like other classes, so training does not mirror them",
            )
        )
    policy = Augmentation(flip=flip, rotate=TURN)
    return Views(dataset=dataset, session=session, policy=policy)


def mirrors(dataset: Dataset, member: Member, arena: Arena, decoder: Decoder) -> bool:
    """Whether an item's mirror image is still taken for its class: by its nearest neighbour among the other items.

    In other tasks, for its stratum: its rarest label, or its range of numbers.

    A subset is mirrored and embedded by ``member``; mirroring is harmless when the neighbour's class is right about as
    often as for the items themselves.
    """
    frozen, view = member.frozen, member.frozen.view
    assert isinstance(view, ImageView)
    rows = np.linspace(0, len(dataset.names) - 1, min(MIRROR_ITEMS, len(dataset.names))).astype(np.int64)
    cover = cover_of(view.height, view.width)

    def mirrored() -> Iterator[ByteArray]:
        for start in range(0, len(rows), frozen.batch):
            images = [
                decoder.decode(dataset.sources[row], cover=(cover, cover)) for row in rows[start : start + frozen.batch]
            ]
            yield np.stack(
                [
                    decoder.resize(image, view.height, view.width, interpolation=view.interpolation)[:, ::-1]
                    for image in images
                ]
            )

    turned = np.concatenate([stages[-1] for stages in frozen.forward(mirrored())])
    X = matrix(arena.store, [(frozen.key, str(len(frozen.stages) - 1))], dataset.digests)
    own = X[rows]
    groups = arena.groups
    scores = [_neighbours(A, X, strata_of(arena.y), rows, groups) for A in (own, turned)]
    return scores[1] >= scores[0] - MIRROR_COST


def _neighbours(A: FloatArray, X: FloatArray, y: IntArray, rows: IntArray, groups: IntArray) -> float:
    """How often the nearest of the other items, by cosine, has a row's class."""
    unit = [Z / np.maximum(np.linalg.norm(Z, axis=1, keepdims=True), 1e-12) for Z in (A, X)]
    near = unit[0] @ unit[1].T
    near[groups[rows][:, None] == groups[None]] = -np.inf  # itself, and near-copies of it
    return float((y[near.argmax(1)] == y[rows]).mean())
