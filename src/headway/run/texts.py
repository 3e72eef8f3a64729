"""A run that writes texts: its model folder, written and read, and its answers.

::

    RUN/model/model.json     who answers ("network", "copy", "lead" or "constant"), and how it is asked
    RUN/model/language/      of a network: config.json, model.safetensors with adapters merged, the tokenizer
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headway.errors import RunError
from headway.run.model import FORMAT, MODEL
from headway.run.write import unwritable, write_json
from headway.tasks._plain_answers import copied, led
from headway.types import Progress

if TYPE_CHECKING:
    from headway.engine.author import Author

LANGUAGE = "language"
WRITERS = ("network", "copy", "lead", "constant")


def save_texts(out: Path, facts: Mapping[str, Any], *, author: Author | None) -> None:
    """Write ``RUN/model``, whole or not at all.

    Raises:
        StorageError: the folder cannot be written.
    """
    scratch = out / f".{MODEL}.{os.getpid()}"
    try:
        scratch.mkdir()
        if author is not None:
            from headway.backbones._language import save

            (scratch / LANGUAGE).mkdir()
            save(author.model, author.language, scratch / LANGUAGE)
        write_json(scratch / "model.json", {"format": FORMAT, "modality": "text", "task": "seq2seq", **facts})
        shutil.rmtree(out / MODEL, ignore_errors=True)
        scratch.rename(out / MODEL)
    except OSError as error:
        raise unwritable(out, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class TextModel:
    """The shipped writer of a run; a network is read when it is first asked.

    Raises:
        RunError: a part is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.folder = path / MODEL
        self._author: Author | None = None
        try:
            self.facts: dict[str, Any] = json.loads((self.folder / "model.json").read_text("utf-8"))
            if self.facts["writer"] not in WRITERS:
                raise ValueError(f"a writer called {self.facts['writer']!r}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _unreadable(self.folder, error) from error

    def answers(self, sources: Sequence[str], *, progress: Progress | None = None) -> list[str]:
        """A text for each source, in order."""
        writer = self.facts["writer"]
        if writer == "network":
            return [str(text) for text in self._loaded().write(sources, progress=progress).texts]
        if writer == "constant":
            return [str(self.facts["text"])] * len(sources)
        return copied(sources) if writer == "copy" else led(sources)

    def _loaded(self) -> Author:
        if self._author is None:
            from headway.backbones._language import Language, build, tokenizer_of
            from headway.engine.author import Author
            from headway.engine.template import template_of
            from headway.engine.write import Limits
            from headway.errors import ModelError

            facts = self.facts
            try:
                language = Language(
                    name=facts["language"],
                    folder=self.folder / LANGUAGE,
                    encoder_decoder=bool(facts["encoder_decoder"]),
                )
                self._author = Author(
                    model=build(language),
                    tokenizer=tokenizer_of(language),
                    template=template_of(facts["template"]),
                    limits=Limits(**facts["limits"]),
                    language=language,
                    beams=int(facts["beams"]),
                )
            except (KeyError, TypeError, ValueError, OSError, ModelError) as error:
                raise _unreadable(self.folder, error) from error
        return self._author


def _unreadable(folder: Path, error: Exception) -> RunError:
    return RunError("the run's model cannot be read", given=f"{folder} ({error})", todo="Fit again")


def texts_of(sources: Sequence[Any]) -> tuple[list[str], list[int]]:
    """The sources that are texts, and their rows."""
    rows = [row for row, source in enumerate(sources) if isinstance(source, str)]
    return [sources[row] for row in rows], rows


__all__ = ["TextModel", "save_texts", "texts_of"]
