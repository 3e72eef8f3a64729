"""Text to text from data to a run: honest arms, the budget, what is shipped, and what a killed fit leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headway.errors import DataError, OptionError, RunError
from headway.evaluate.metrics import measure
from headway.recipe.pin import Pin
from headway.recipe.seq2seq import fit_texts
from headway.recipe.session import open_session
from headway.run import open_run

ARMS = {"transfer", "copy", "prior", "untuned"}


@pytest.fixture(scope="module")
def network(toys, tmp_path_factory):
    return toys.decoder(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def writes(network, tmp_path, monkeypatch):
    """``writes(data, out, budget=..., ...)``: fit on the tiny network."""
    monkeypatch.setenv("HEADWAY_CACHE", str(tmp_path / "cache"))

    def run(data, out, *, budget=40, model=network, **options):
        folder = tmp_path / out
        folder.mkdir(exist_ok=True)
        session = open_session(budget, seed=0, device="auto", offline=True)
        return fit_texts(data, folder=folder, session=session, models=[str(model)], columns=("en", "de"), **options)

    run.folder = tmp_path
    return run


def _copies(toys, n=60):
    """Pairs whose target is nearly the source: nothing beats copying."""
    return toys.dataset([(source, f"{source} !") for source, _ in toys.pairs(n)])


def test_a_run_has_all_arms_and_negative_transfer_is_not_shipped(writes, toys, tmp_path):
    data = _copies(toys)
    run = writes(data, "run", budget=30)
    manifest = run.manifest
    assert set(manifest["verdict"]["arms"]) >= ARMS
    assert manifest["chosen"]["arm"] == "copy" and manifest["verdict"]["outcome"] in ("harms", "undecided")
    assert manifest["verdict"]["metric"] == "chrf" and manifest["kind"] == "translation"
    assert run.predict_dataset(data).labels == data.sources
    assert {record.arm for record in run.records()} == set(manifest["verdict"]["arms"])
    assert {(record.split, record.metric) for record in run.records()} >= {("val", "chrf"), ("test", "bleu")}
    example = manifest["examples"][0]
    assert example["copy"] == example["source"] and example["target"] == f"{example['source']} !"
    assert manifest["test_touched"] and not (tmp_path / "run" / ".work").exists()


def test_another_method_can_be_pinned_and_a_reopened_run_answers_as_it_was_measured(writes, toys):
    found = toys.pairs(60)
    data = toys.dataset([(s, "immer dasselbe") if k % 4 else (s, "manchmal") for k, (s, _) in enumerate(found)])
    manifest = writes(data, "run", budget=60, pin=Pin(method="full")).manifest
    tuned = next(line for line in manifest["contenders"] if line["arm"] == "transfer")
    assert tuned["method"] == "full" and tuned["params"]["epochs"] >= 1
    rows = [data.sources.index(example["source"]) for example in manifest["examples"]]
    said = open_run(writes.folder / "run").predict_dataset(data).labels
    assert [said[row] for row in rows] == [example[manifest["chosen"]["arm"]] for example in manifest["examples"]]


def test_the_saved_model_is_the_model(toys, network, tmp_path):
    import torch

    from headway.backbones._language import build, on_half_grid, open_language, tokenizer_of
    from headway.engine.author import Author
    from headway.engine.template import Template
    from headway.engine.write import Limits
    from headway.recipe.seq2seq_proof import Arm
    from headway.run.texts import TextModel, save_texts

    language = open_language(str(network), cache=tmp_path, offline=True)
    model = build(language)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    on_half_grid(model)
    author = Author(
        model=model,
        tokenizer=tokenizer_of(language),
        template=Template(source="en", target="de", shots=(("cat", "katze"),)),
        limits=Limits(slope=1.0, offset=4, most=12),
        language=language,
        beams=2,
    )
    sources = [source for source, _ in toys.pairs(10)]
    arm = Arm(name="transfer", method="lora", said=[], author=author)
    save_texts(tmp_path, arm.writer_facts("translation"), author=author)
    again = TextModel(tmp_path)
    assert again.answers(sources) == author.write(sources).texts
    assert sorted(p.name for p in (tmp_path / "model" / "language").glob("*.safetensors")) == ["model.safetensors"]
    (tmp_path / "model" / "language" / "model.safetensors").write_bytes(b"gone")
    with pytest.raises(RunError, match="cannot be read"):
        TextModel(tmp_path).answers(["cat"])


def test_the_budget_is_kept(writes, toys):
    budget = 15
    started = time.monotonic()
    run = writes(toys.dataset(toys.pairs(400)), "run", budget=budget)
    assert time.monotonic() - started < budget + 10
    assert run.manifest["verdict"]["arms"]


def test_no_source_straddles_the_split_in_any_case_or_spacing(writes, toys):
    from headway.recipe.seq2seq import _arranged

    found = toys.pairs(30)
    twice = [*found, *((source.upper().replace(" ", "  "), target) for source, target in found)]
    data = _arranged(toys.dataset(twice), open_session(10, seed=0, device="auto", offline=True))
    sides = [{data.sources[row].casefold().replace("  ", " ") for row in rows} for rows in (data.fit, data.test)]
    assert sides[0] and sides[1] and not sides[0] & sides[1]
    assert not set(data.fit) & set(data.judge) and not set(data.judge) & set(data.test)


def test_summaries_have_lead_3_and_rouge(writes, toys):
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(40):
        sentences = [" ".join(rng.choice(["red", "cat", "sees", "big", "dog", "eats"], 9)) + "." for _ in range(6)]
        rows.append((" ".join(sentences), " ".join(sentences[:3])[:60]))
    run = writes(toys.dataset(rows), "run", budget=90, pin=Pin(tunes=False))
    manifest = run.manifest
    assert manifest["kind"] == "summarisation" and manifest["verdict"]["metric"] == "rougeL"
    assert "lead" in manifest["verdict"]["arms"] and manifest["chosen"]["arm"] == "lead"
    shown = manifest["examples"][0]
    assert measure("rougeL", np.array([shown["target"]], object), np.array([shown["lead"]], object)) > 0.4
    assert "pinned" in manifest["cut"]["tuning"]


def test_what_cannot_be_fitted_is_refused(writes, toys):
    few = toys.dataset(toys.pairs(6))
    with pytest.raises(DataError, match="too few"):
        writes(few, "few")
    data = toys.dataset(toys.pairs(60))
    with pytest.raises(DataError, match="no text"):
        writes(replace(data, sources=(b"bytes", *data.sources[1:])), "bytes")
    with pytest.raises(DataError, match="no target"):
        writes(replace(data, targets=None), "none")
    with pytest.raises(OptionError, match="does not tune a language model"):
        writes(data, "method", pin=Pin(method="surgical"))
    with pytest.raises(OptionError, match="place to cut"):
        writes(data, "cut", pin=Pin(cut="layers.9"))


def test_odd_texts_are_read(writes, toys):
    odd = ["", "\x00", "😀😀", "\u05e9\u05dc\u05d5\u05dd abc", "x " * 5000, 'a,b\n"c"', "\ufeff"]
    rows = [*toys.pairs(40), *((text, f"ziel {k}") for k, text in enumerate(odd))]
    run = writes(toys.dataset(rows), "run", budget=20, pin=Pin(tunes=False))
    assert any(finding["check"] == "truncated" for finding in run.manifest["findings"])
    assert len(run.predict_dataset(toys.dataset(rows)).labels) == len(rows)


KILLED = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import language_toys as toys
from headway.recipe.seq2seq import fit_texts
from headway.recipe.pin import Pin
from headway.recipe.session import open_session
folder = Path(sys.argv[3])
folder.mkdir(exist_ok=True)
session = open_session(240, seed=0, device="auto", offline=True)
data = toys.dataset([(source, f"{source} !") for source, _ in toys.pairs(60)])
fit_texts(
    data, folder=folder, session=session, models=[sys.argv[2]], pin=Pin(cut="layers.0"), columns=("en", "de")
)
"""


def test_a_killed_fit_leaves_a_checkpoint_that_is_taken_up(network, writes, toys, tmp_path):
    out = tmp_path / "run"
    arguments = [sys.executable, "-c", KILLED, str(Path(__file__).parents[1]), str(network), str(out)]
    child = subprocess.Popen(arguments, env=dict(os.environ), stderr=subprocess.DEVNULL)
    checkpoint = out / ".work" / "tuned.safetensors"
    until = time.monotonic() + 90
    while not checkpoint.exists() and child.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    assert checkpoint.exists()
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not (out / "manifest.json").exists() and not (out / "model").exists()
    from safetensors import safe_open

    with safe_open(checkpoint, framework="pt") as file:
        done = len(json.loads(file.metadata()["headway"])["epochs"])
    assert done >= 1
    run = writes(_copies(toys), "run", budget=60, pin=Pin(cut="layers.0"))
    assert not [f["message"] for f in run.manifest["findings"] if f["check"] == "checkpoint_ignored"]
    assert run.manifest["verdict"]["arms"]
