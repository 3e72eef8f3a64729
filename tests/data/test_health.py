"""Near-duplicates against brute force and on real drawings; what is said of a data set's health."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from headway.data import health
from headway.data.health import NEAR_BITS, NEAR_SHARE, check, near_duplicates
from headway.data.read import read
from headway.data.split import split
from headway.modalities import image as M
from headway.types import ByteArray, IntArray


def different(n: int) -> ByteArray:
    return np.arange(n, dtype="<u8").reshape(-1, 1).view(np.uint8).repeat(2, axis=1)


def brute_force(hashes: ByteArray, digests: ByteArray) -> list[int]:
    """Clusters by the definition, one pair at a time."""
    n = len(hashes)
    label = list(range(n))
    bits = np.unpackbits(hashes, axis=1).astype(bool)
    for i in range(n):
        for j in range(i):
            apart = int((bits[i] ^ bits[j]).sum())
            close = apart <= NEAR_BITS and apart <= NEAR_SHARE * int((bits[i] | bits[j]).sum())
            if close or (digests[i] == digests[j]).all():
                old, new = label[i], label[j]
                label = [new if x == old else x for x in label]
    first: dict[int, int] = {}
    return [first.setdefault(x, len(first)) for x in label]


def families(rng: np.random.Generator, n: int, width: int, flips: int) -> ByteArray:
    """Hashes in families: some of a base's bits are flipped, around the limit."""
    bases = (rng.random((5, width * 8)) < rng.uniform(0.02, 0.6, (5, 1))).astype(np.uint8)
    bits = bases[rng.integers(0, 5, n)]
    for row in bits:
        row[rng.choice(width * 8, rng.integers(0, flips + 1), replace=False)] ^= 1
    return np.packbits(bits, axis=1)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 60),
    block=st.sampled_from([1, 7, 128]),
    most=st.sampled_from([3, 10**6]),
)
def test_clusters_are_those_of_brute_force(seed: int, n: int, block: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    hashes = families(rng, n, 46, 16)
    digests = different(n)[rng.integers(0, n, n)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(health, "_BLOCK", block)
        patch.setattr(health, "_MOST_EDGES", most)
        assert near_duplicates(hashes, digests).tolist() == brute_force(hashes, digests)


@pytest.mark.parametrize("block", [1, 128])
def test_the_limits_themselves(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(health, "_BLOCK", block)
    base = np.zeros(46 * 8, np.uint8)
    base[:200] = 1
    for flips, joined in ((NEAR_BITS, True), (NEAR_BITS + 1, False)):
        other = base.copy()
        other[200 : 200 + flips] = 1
        got = near_duplicates(np.packbits([base, other], axis=1), different(2))
        assert bool(got[0] == got[1]) is joined
    few, other = np.zeros((2, 46 * 8), np.uint8)
    few[:20], other[2:22] = 1, 1  # 4 bits apart, which is little, of 22 that are set, which is not
    assert near_duplicates(np.packbits([few, other], axis=1), different(2)).tolist() == [0, 1]


def test_many_equal_and_many_unequal_hashes_take_little_memory() -> None:
    import tracemalloc

    rng = np.random.default_rng(0)
    n = 6_000
    hashes = rng.integers(0, 256, (n, 46), np.uint8)
    hashes[: n // 2] = 0  # blank pages: 4.5 million pairs
    tracemalloc.start()
    got = near_duplicates(hashes, different(n))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (got[: n // 2] == 0).all() and len(np.unique(got)) == n // 2 + 1
    assert peak < 60e6


def copies(picture: Image.Image) -> list[np.ndarray]:
    files = []
    for change in (picture, picture.resize((picture.width * 3 // 5, picture.height * 3 // 5))):
        file = io.BytesIO()
        change.save(file, "JPEG", quality=70)
        files.append(M.decode(file.getvalue()))
    return files


def test_copies_of_pictures_are_found_and_pictures_kept_apart() -> None:
    """Shapes on white, as drawings are: their hashes share most bits."""
    from PIL import ImageDraw

    rng = np.random.default_rng(1)
    images: list[np.ndarray] = []
    for _ in range(40):
        picture = Image.new("RGB", (300, 260), "white")
        draw = ImageDraw.Draw(picture)
        for _ in range(4):
            x, y, w, h = rng.integers(0, 180), rng.integers(0, 140), rng.integers(30, 120), rng.integers(30, 120)
            draw.ellipse([x, y, x + w, y + h], fill=tuple(map(int, rng.integers(0, 256, 3))), outline="black", width=3)
        images += [np.asarray(picture), *copies(picture)]
    clusters = near_duplicates(np.stack([M.perceptual_hash(i) for i in images]), different(len(images)))
    expected = np.repeat(np.arange(40), 3)
    together = (clusters[:, None] == clusters) & (expected[:, None] == expected)
    assert together.sum() >= 0.95 * 40 * 9
    assert ((clusters[:, None] == clusters) & (expected[:, None] != expected)).sum() == 0


def test_near_copies_never_straddle_a_split_of_real_hashes() -> None:
    rng = np.random.default_rng(2)
    base = [Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).resize((200, 200)) for _ in range(20)]
    images = [image for picture in base for image in (np.asarray(picture), *copies(picture))]
    data = read((images, [i // 3 % 2 for i in range(60)]))
    clusters = near_duplicates(np.stack([M.perceptual_hash(i) for i in images]), data.digests)
    assert clusters.tolist() == [i // 3 for i in range(60)]
    for seed in range(5):
        result = split(data, seed=seed, duplicates=clusters)
        for left, right in ((result.train, result.test), *result.folds):
            assert not set((left // 3).tolist()) & set((right // 3).tolist())
    straddles = 0
    for seed in range(5):
        blind = split(data, seed=seed)  # digests alone do not see re-encoded copies
        straddles += len(set((blind.train // 3).tolist()) & set((blind.test // 3).tolist()))
    assert straddles > 0


def findings(labels: list[str], X: np.ndarray | None = None) -> dict[str, tuple[str, tuple[str, ...]]]:
    pixels = np.arange(len(labels), dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8) if X is None else X
    return {f.check: (f.severity, f.evidence) for f in check(read((pixels, labels)))}


def test_a_healthy_data_set_has_no_findings() -> None:
    assert findings(["a", "b"] * 10) == {}


def test_imbalance_and_tiny_classes() -> None:
    assert findings(["a"] * 50 + ["b"] * 5) == {"imbalance": ("note", ("a: 50", "b: 5"))}
    assert findings(["a"] * 49 + ["b"] * 5) == {}
    assert findings(["a"] * 9 + ["b"] * 4) == {"tiny_classes": ("warn", ("b: 4",))}


def test_copies_and_conflicting_labels() -> None:
    X = np.arange(20, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)
    X[[5, 7]] = X[3]  # rows 3, 5 and 7, all of class b
    assert findings(["a", "b"] * 10, X) == {"exact_duplicates": ("note", ("row 3 = row 5 = row 7",))}
    X[4] = X[3]
    found = findings(["a", "b"] * 10, X)
    assert found["conflicting_labels"] == ("warn", ("row 3 = row 4 = row 5",))


def test_unlabelled_data_have_copies_only() -> None:
    data = read(np.zeros((3, 4, 4), np.uint8), labelled=False)
    assert [f.check for f in check(data)] == ["exact_duplicates"]


@pytest.mark.samples
def test_on_drawings_few_items_are_joined_and_those_are_variants(tmp_path: Path) -> None:
    from headway import samples

    paths = sorted(samples.build("clip13", tmp_path / "clip13").rglob("*.png"))
    hashes = np.stack([M.perceptual_hash(M.decode(path)) for path in paths])
    clusters: IntArray = near_duplicates(hashes, different(len(paths)))
    sizes = np.bincount(clusters)
    assert sizes.max() <= 8
    assert 20 <= (sizes[clusters] > 1).sum() <= 80
