"""Tagging end to end on real weights: fit, the run folder, prediction without torch, evaluation, the command line."""

import json
import sys

import numpy as np
import pytest

from headway.recipe import fit
from headway.recipe.evaluation import evaluate
from headway.run import open_run
from headway.run.tagger import predict_tags

NAMES, PLACES = ("Anna Berg", "Jon", "Maria Silva", "Peter", "Li Wei"), ("Rome", "New York", "Oslo", "Lima")
FRAMES = (
    "{n} lives in {p} .",
    "Yesterday {n} flew to {p} with {n} .",
    "The train to {p} was late .",
    "{n} and {n} met .",
    "It rained in {p} , {n} said .",
)


BLOCKED = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers"):
            raise ImportError(name)

sys.meta_path.insert(0, Absent())
"""


def sentences(n, seed):
    """Words and tags of made-up news: real words, so that a pretrained network knows them."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        words, tags = [], []
        for word in FRAMES[rng.integers(len(FRAMES))].split():
            kind = {"{n}": "PER", "{p}": "LOC"}.get(word)
            found = str(rng.choice(NAMES if kind == "PER" else PLACES)).split() if kind else [word]
            words += found
            tags += [f"{'I' if i else 'B'}-{kind}" for i in range(len(found))] if kind else ["O"]
        yield words, tags


def written(path, n, seed):
    path.write_text("\n".join("".join(f"{w}\t{t}\n" for w, t in zip(*s, strict=True)) for s in sentences(n, seed)))
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory, session_cache):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADWAY_CACHE", str(session_cache))
        folder = tmp_path_factory.mktemp("tagging")
        data = written(folder / "news.conll", 120, 0)
        found = fit(data, out=folder / "run", models=["packaged:minilm_l6*"], task="tagging", budget="120s")
        yield found


def test_the_manifest_says_what_was_measured(run):
    manifest = run.manifest
    assert manifest["task"] == "tagging" and manifest["verdict"]["metric"] == "span_f1"
    assert set(manifest["verdict"]["arms"]) >= {"transfer", "classical", "prior"}
    assert manifest["classes"] == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert manifest["test"]["span_f1"]["value"] > 0.8
    transfer = next(line for line in manifest["contenders"] if line["arm"] == "transfer")
    assert transfer["validation"] > 0.8
    assert {r.arm for r in run.records()} >= {"transfer", "classical", "prior"}


def test_raw_text_is_tagged_with_places(run):
    text = "Maria Silva lives in Oslo. Peter flew to New York."
    found = predict_tags(run.path, text)
    assert len(found) == 2
    assert all(text[w.start : w.stop] == t for one in found for w, t in zip(one.words, one.tokens, strict=True))
    allowed = set(run.classes)
    assert all(set(one.tags) <= allowed and len(one.tags) == len(one.tokens) for one in found)


def test_a_run_measures_data_it_never_saw_in_another_scheme(run, tmp_path, session_cache, monkeypatch):
    monkeypatch.setenv("HEADWAY_CACHE", str(session_cache))
    same = evaluate(run, written(tmp_path / "a.conll", 40, 7)).metrics
    other = written(tmp_path / "b.conll", 40, 7)
    other.write_text(other.read_text().replace("\tB-", "\tI-"))
    assert same["span_f1"] > 0.8
    assert evaluate(run, other).metrics["n"] == same["n"] == 40


def test_the_command_line_tags_without_torch(run, headway, tmp_path):
    data = written(tmp_path / "new.conll", 5, 3)
    blocked = tmp_path / "blocked" / "sitecustomize.py"
    blocked.parent.mkdir()
    blocked.write_text(BLOCKED)
    path = ":".join([str(blocked.parent), *[p for p in sys.path if p.endswith("src")]])
    done = headway("predict", run.path, data, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 5 and all(len(row["tokens"]) == len(row["tags"]) for row in rows)
    assert headway("predict", run.path, data, "--out", tmp_path / "tags.csv", PYTHONPATH=path).returncode == 0
    assert (tmp_path / "tags.csv").read_text().startswith("item,tokens,tags\n")


def test_a_run_is_read_again(run):
    assert open_run(run.path).task == "tagging"
