"""Text networks for tagging: opened word by word, and their states of all sentences within the budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headway import backbones
from headway.engine.token_network import of_backbone
from headway.engine.tokenwise import Tokenwise, compile_tokens, prepare
from headway.errors import ModelError, UserError
from headway.features.pieces import Cutter, cutter
from headway.features.words import store_states
from headway.recipe.session import CLOSING, Session, compiled_cache
from headway.types import Backbone, Dataset, IntArray

FIRST = 15.0  # seconds that building and converting a network may take
MOST = 3  # networks that are tried where none was named: each costs a pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A network that reads words."""

    name: str
    network: Tokenwise
    cutter: Cutter
    backbone: Backbone


def open_readers(models: Sequence[str], session: Session) -> list[Reader]:
    """Networks that give a state for every token, those that could not be had noted as cut.

    Raises:
        ModelError: there is none at all.
    """
    readers: list[Reader] = []
    with session.timed("open"):
        specs = backbones.resolve(models, modality="text", offline=session.offline)
        for spec in sorted(specs, key=lambda spec: spec.params) if not models else specs:
            late = not session.deadline.allows(FIRST, keep=session.reserve)
            if readers and (late or (not models and len(readers) >= MOST)):
                session.cut[spec.name] = "opening it did not fit the budget"
                continue
            try:
                readers.append(_opened(backbones.open(spec, offline=session.offline), session))
            except UserError as error:
                session.cut[spec.name] = str(error)
    if not readers:
        raise ModelError("no network that reads words could be opened", given="; ".join(session.cut.values()))
    return readers


def random_reader(reader: Reader, session: Session) -> Reader | None:
    """The same architecture with random weights: one fixed draw for every run; None where it cannot be had."""
    try:
        return _opened(backbones.sibling(reader.backbone, seed=0), session)
    except UserError as error:
        session.cut["random"] = f"there is no arm of random weights: {error}"
        return None


def states_of(
    dataset: Dataset, rows: IntArray, readers: Sequence[Reader], session: Session, *, later: int, keep: float = CLOSING
) -> IntArray:
    """Put the states of sentences into the store; comes back with those rows that are done for every network.

    ``later`` are sentences that will still have to be read: time in proportion is left for them. Where there are none,
    ``keep`` seconds are left.
    """
    sentences = [source for row in rows.tolist() if isinstance(source := dataset.sources[row], tuple)]
    done = len(rows)
    share = len(rows) / max(len(rows) + later, 1)
    until = (session.deadline.remaining - (session.reserve if later else keep)) * (share * 0.6 if later else 1.0)
    for reader in readers:
        started, allowed = session.deadline.elapsed, max(until / len(readers), 2.0)

        def go_on(at: int, started: float = started, allowed: float = allowed) -> bool:
            session.report("embed", at, len(sentences))
            return session.deadline.elapsed - started < allowed

        with session.timed(f"embed {reader.name}"):
            count = store_states(sentences[:done], reader.network, reader.cutter, store=session.store, go_on=go_on)
        done = min(done, count)
    if done < len(rows):
        session.cut["sentences"] = f"{len(rows) - done} of {len(rows)} were not read within the budget"
    return np.asarray(rows[:done])


def _opened(backbone: Backbone, session: Session) -> Reader:
    seen = of_backbone(backbone)
    backbone.obtain()
    network = compile_tokens(prepare(seen, cache=compiled_cache(session)))
    session.findings += network.findings
    words = cutter(network.ir.folder / "tokenizer.json", tokens=network.ir.tokens)
    return Reader(name=backbone.spec.name, network=network, cutter=words, backbone=backbone)
