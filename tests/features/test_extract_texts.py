"""Texts through the extraction loop: order and company change nothing, and what was cut off is known, warm or cold."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest

from headway.engine.frozen import compile_frozen
from headway.engine.ir import read
from headway.errors import DataError
from headway.features.decoded import Kept
from headway.features.extract import Fact, extract
from headway.features.lengths import token_counts
from headway.features.store import Store
from headway.modalities import text

WORDS = ("the", "cat", "sat", "market", "goal", "film", "vote", "zebra")
KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_extract_texts as t
network = t.compile_frozen(t.read(Path(sys.argv[2])))
forward = network.forward
def slowly(batches):
    for said in forward(batches):
        time.sleep(0.004)
        yield said
network.forward = slowly
texts = t.texts(1500)
print("ready", flush=True)
t.extract(texts, t.digests(texts), networks=[network], decoder=t.text, store=t.Store(Path(sys.argv[3])))
"""


def texts(n):
    rng = np.random.default_rng(0)
    return [f"{' '.join(rng.choice(WORDS, rng.integers(0, 60)))} {row}" for row in range(n)]


def digests(items):
    rows = [blake2b(repr(item).encode(), digest_size=16).digest() for item in items]
    return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, 16)


@pytest.fixture(scope="module")
def network(tiny_text_ir):
    return compile_frozen(tiny_text_ir)


def _stages(store, network, items):
    return store.get(network.key, digests(items), [str(i) for i in range(len(network.stages))])


def test_neither_order_nor_company_changes_a_feature(network, tmp_path):
    items = texts(150)
    order = np.random.default_rng(1).permutation(150)
    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    extract(items, digests(items), networks=[network], decoder=text, store=one)
    few = items[:7]
    extract(few, digests(few), networks=[network], decoder=text, store=two)
    extract(items, digests(items), networks=[network], decoder=text, store=two, order=order)
    np.testing.assert_array_equal(_stages(one, network, items), _stages(two, network, items))


def test_equal_texts_are_computed_once_and_pairs_are_items(network, tmp_path):
    items = ["the cat", ("the cat", "sat"), "the cat", ("the", "cat sat")]
    store = Store(tmp_path)
    found = extract(items, digests(items), networks=[network], decoder=text, store=store)
    assert found.computed == {network.name: 3}
    X = _stages(store, network, items)
    np.testing.assert_array_equal(X[0], X[2])
    assert not np.allclose(X[1], X[3], atol=1e-3)


def test_what_is_cut_off_is_counted_cold_and_warm(network, tmp_path):
    items, most = [*texts(40), "cat " * 38, "cat " * 39], network.view.tokens
    for _ in range(2):
        store = Store(tmp_path)
        found = extract(items, digests(items), networks=[network], decoder=text, store=store)
        counts = token_counts(store, network, digests(items))
        assert counts[-2:].tolist() == [most, most + 1]
        assert found.truncated == {network.name: int((counts > most).sum())}
    assert found.computed == {network.name: 0}
    assert 1 < found.truncated[network.name] < 40


def test_files_are_read_once_and_what_is_no_text_is_named(network, tmp_path, monkeypatch):
    paths = []
    for row, content in enumerate([b"the cat", b"", b"%PDF-1.7 \x00\x01\x02\xff", "sat on the mat".encode("utf-16")]):
        paths.append(tmp_path / f"{row}.txt")
        paths[-1].write_bytes(content)
    reads = []
    plain = text.decode
    monkeypatch.setattr(text, "decode", lambda source: reads.append(source) or plain(source))
    kept, store = Kept(text), Store(tmp_path / "store")
    fact = Fact(key="length", compute=lambda item: np.array([len(item)]))
    found = extract(paths, digests(paths), networks=[], decoder=kept, store=store, facts=[fact])
    again = extract(paths, digests(paths), networks=[network], decoder=kept, store=store)
    good = [row for row in range(4) if row not in found.bad]
    assert set(found.bad) == set(again.bad)
    assert 0 not in found.bad and 3 not in found.bad
    assert 2 in found.bad
    assert all(reads.count(paths[row]) == 1 for row in good)
    lengths = store.get("length", digests([paths[0], paths[3]]), ["0"])
    assert lengths[:, 0].tolist() == [7, 14]
    with pytest.raises(DataError):
        plain(paths[2])


def test_killed_and_taken_up_again_it_is_as_if_nothing_had_happened(network, tiny_text_ir, tmp_path):
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", KILLED, here, str(tiny_text_ir.folder), str(tmp_path / "killed")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        until = time.monotonic() + 60
        while not list((tmp_path / "killed").glob("*/*.safetensors")) and time.monotonic() < until:
            time.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    items = texts(1500)
    store, whole = Store(tmp_path / "killed"), Store(tmp_path / "whole")
    kept = int(store.have(network.key, digests(items)).sum())
    assert 0 < kept < 1500
    found = extract(items, digests(items), networks=[network], decoder=text, store=store)
    assert found.computed == {network.name: 1500 - kept}
    extract(items, digests(items), networks=[network], decoder=text, store=whole)
    np.testing.assert_array_equal(_stages(store, network, items), _stages(whole, network, items))


def test_the_run_folder_s_network_is_the_same_network(network, tiny_text_ir):
    assert compile_frozen(read(tiny_text_ir.folder)).key == network.key
