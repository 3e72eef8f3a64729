"""A tagger in a run folder: written, read, and predicting without torch.

::

    RUN/model/model.json            task, tags, which of the three kinds of tagger it is, and its blocks
    RUN/model/head.safetensors      the probe's or the table's numbers, and those of the row of tags
    RUN/model/network/              the converted network and its tokenizer, where the tagger reads its states
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.data.read import read
from headway.engine.tokenwise import FILES, Tokenwise, compile_tokens
from headway.engine.tokenwise import read as read_ir
from headway.errors import DataError, RunError, StorageError
from headway.evaluate.taggers import Tagger, tag
from headway.features.pieces import Cutter, cutter
from headway.features.words import Block, shifted, word_states
from headway.linear.chain import Decoder
from headway.linear.multinomial import Solution
from headway.modalities._words import Word, sentences_of
from headway.modalities.text import load
from headway.run.model import MODEL
from headway.run.write import write_json
from headway.types import LinearHead

AT_ONCE = 256  # sentences whose states are held in memory


@dataclass(slots=True, kw_only=True)
class Ready:
    """A tagger with its network compiled."""

    tagger: Tagger
    network: Tokenwise | None = None
    cutter: Cutter | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """A sentence and its tags; of raw text ``words`` say where each word stands."""

    name: str
    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    words: tuple[Word, ...] | None = None


def save_tagger(out: Path, tagger: Tagger, network: Tokenwise | None) -> None:
    """Write ``RUN/model``, whole or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    from safetensors.numpy import save_file

    scratch = out / f".{MODEL}.{os.getpid()}"
    try:
        scratch.mkdir(parents=True)
        if tagger.blocks and network is not None:
            (scratch / "network").mkdir()
            for name in FILES:
                shutil.copyfile(network.ir.folder / name, scratch / "network" / name)
        arrays = {name: np.ascontiguousarray(array) for name, array in _arrays(tagger).items()}
        save_file(arrays, scratch / "head.safetensors")
        write_json(scratch / "model.json", _facts(tagger))
        shutil.rmtree(out / MODEL, ignore_errors=True)
        scratch.rename(out / MODEL)
    except OSError as error:
        raise StorageError(
            "the run folder cannot be written",
            given=f"{out} ({error.strerror or error})",
            todo="Free some space, or name another folder with --out",
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def read_tagger(run: Path) -> Ready:
    """The tagger of a run.

    Raises:
        RunError: a part is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    folder = run / MODEL
    try:
        facts = json.loads((folder / "model.json").read_text("utf-8"))
        tagger = _tagger(facts, load_file(folder / "head.safetensors"))
    except (OSError, ValueError, KeyError, IndexError, TypeError, SafetensorError) as error:
        raise RunError("the run's model cannot be read", given=f"{folder} ({error})", todo="Fit again") from error
    if not tagger.blocks:
        return Ready(tagger=tagger)
    network = compile_tokens(read_ir(folder / "network"))
    words = cutter(folder / "network" / "tokenizer.json", tokens=network.ir.tokens)
    return Ready(tagger=tagger, network=network, cutter=words)


def tag_sentences(ready: Ready, sentences: Sequence[Sequence[str]]) -> Iterator[tuple[str, ...]]:
    """The tags of each sentence, in order; a sentence without words has none."""
    classes = ready.tagger.classes
    for start in range(0, len(sentences), AT_ONCE):
        part = sentences[start : start + AT_ONCE]
        for numbers in tag(ready.tagger, part, _states(ready, part)):
            yield tuple(classes[number] for number in numbers.tolist())


def predict_tags(run: Path, data: object) -> list[Tagged]:
    """The tags of sentences that were split into words already, or of raw text, whose words get places.

    ``data`` is anything that :func:`headway.data.read.read` takes of tagging; a text or list of texts; or the path of
    a file that is read as raw text where it does not hold a token a line. A raw text gives one item a sentence.

    Raises:
        DataError: there is nothing to tag.
        RunError: the run's model cannot be read.
    """
    items = _items(data)
    if not items:
        raise DataError("there are no words to tag", given=repr(data)[:100], todo="Give sentences, or a text")
    sentences = [tuple(word.text for word in words) for _, words, _ in items]
    found = tag_sentences(read_tagger(run), sentences)
    return [
        Tagged(name=name, tokens=tokens, tags=tags, words=words if raw else None)
        for (name, words, raw), tokens, tags in zip(items, sentences, found, strict=True)
    ]


def _items(data: object) -> list[tuple[str, tuple[Word, ...], bool]]:
    """Name, words and whether they were cut from raw text, of each sentence."""
    if isinstance(data, str) and not _is_path(data):
        return [(f"sentence {i}", words, True) for i, words in enumerate(sentences_of(data))]
    if isinstance(data, list | tuple) and data and all(isinstance(one, str) and not _is_path(one) for one in data):
        cut = [
            (f"row {row} sentence {i}", words)
            for row, one in enumerate(data)
            for i, words in enumerate(sentences_of(one))
        ]
        return [(name, words, True) for name, words in cut]
    if isinstance(data, str | os.PathLike) and Path(data).is_file() and _is_raw(Path(data)):
        text = load(Path(data))[0]
        assert isinstance(text, str)
        return [(f"{Path(data).name} sentence {i}", words, True) for i, words in enumerate(sentences_of(text))]
    dataset = read(data, labelled=False, task="tagging")
    pairs = zip(dataset.names, dataset.sources, strict=True)
    return [(name, tuple(Word(w, 0, 0) for w in source), False) for name, source in pairs if isinstance(source, tuple)]


def _is_path(text: str) -> bool:
    return len(text) < 4096 and "\n" not in text and "\0" not in text and Path(text).exists()


def _is_raw(path: Path) -> bool:
    """Whether a ``.txt`` file is a text: most of its lines have more than four words."""
    if path.suffix.lower() != ".txt":
        return False
    text = load(path)[0]
    assert isinstance(text, str)
    lines = [line.split() for line in text.split("\n") if line.strip()][:200]
    return sum(len(line) > 4 for line in lines) > len(lines) / 2


def _states(ready: Ready, sentences: Sequence[Sequence[str]]) -> NDArray[np.float32] | None:
    if ready.network is None or ready.cutter is None:
        return None
    columns = word_states(sentences, ready.network, ready.cutter)
    lengths = [len(words) for words in sentences]
    blocks = ready.tagger.blocks
    parts = [shifted(columns[f"{b.stage}.{b.pooling}"].astype(np.float32), lengths, b.offset) for b in blocks]
    return np.hstack(parts)


def _facts(tagger: Tagger) -> dict[str, Any]:
    return {
        "format": 1,
        "modality": "text",
        "task": "tagging",
        "classes": list(tagger.classes),
        "kind": "states" if tagger.head is not None else "marks" if tagger.solution is not None else "table",
        "transitions": tagger.decoder.weight,
        "blocks": [asdict(block) for block in tagger.blocks],
        "widths": list(tagger.head.blocks) if tagger.head is not None else [],
        "table": list(tagger.table),
    }


def _arrays(tagger: Tagger) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {"moves": tagger.decoder.moves, "prior": tagger.decoder.prior}
    if tagger.head is not None:
        arrays |= {name: getattr(tagger.head, name) for name in ("mean", "scale", "weight", "bias")}
    elif tagger.solution is not None and tagger.columns is not None:
        arrays |= {"columns": tagger.columns, "weight": tagger.solution.weight, "bias": tagger.solution.bias}
    elif tagger.counts is not None:
        arrays["counts"] = tagger.counts
    return arrays


def _tagger(facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Tagger:
    """Raises ValueError or KeyError where parts do not fit each other."""
    classes = tuple(facts["classes"])
    decoder = Decoder(moves=arrays["moves"], prior=arrays["prior"], weight=float(facts["transitions"]))
    if decoder.moves.shape != (len(classes) + 1, len(classes)):
        raise ValueError(f"transitions are {decoder.moves.shape}, for {len(classes)} tags")
    if facts["kind"] == "table":
        table = {word: row for row, word in enumerate(facts["table"])}
        return Tagger(classes=classes, decoder=decoder, table=table, counts=arrays["counts"])
    if arrays["weight"].shape[1] != len(classes):
        raise ValueError(f"the probe's weight is {arrays['weight'].shape}, for {len(classes)} tags")
    if facts["kind"] == "marks":
        solution = Solution(weight=arrays["weight"], bias=arrays["bias"])
        return Tagger(classes=classes, decoder=decoder, columns=arrays["columns"], solution=solution)
    mean, scale, weight, bias = (arrays[name] for name in ("mean", "scale", "weight", "bias"))
    widths = tuple(facts["widths"])
    head = LinearHead(blocks=widths, unit_blocks=True, mean=mean, scale=scale, weight=weight, bias=bias)
    return Tagger(classes=classes, decoder=decoder, head=head, blocks=tuple(Block(**b) for b in facts["blocks"]))
