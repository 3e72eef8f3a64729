"""``headway demo``: real data, a real fit, and a command to type next."""

from __future__ import annotations

import time
from pathlib import Path

from headway.budget import Deadline
from headway.cli._fit import claimed
from headway.cli._progress import live
from headway.cli._screen import say
from headway.cli._show import quoted, show_run
from headway.errors import OptionError, PackageClientError

ALIASES = {"mnist": "mnist5k", "text": "bbc"}
FALLBACKS = ("clip13", "mnist5k", "digits")  # Debian's packages, PyPI's packages, nothing to fetch
ITEMS = {"image": (".png", ".jpg", ".jpeg"), "text": (".txt",)}


def run_demo(name: str | None, *, seconds: float, offline: bool) -> None:
    """Build the sample (the first that can be had, where none is named), fit, show, and say what to type next."""
    folder = _sample(name, offline=offline)
    say(f"Data: {folder}")
    deadline = Deadline(seconds, started=time.monotonic())
    from headway.recipe import fit

    with claimed(None, str(folder)) as out, live(quiet=False, deadline=deadline) as progress:
        run = fit(str(folder), out=out, offline=offline, deadline=deadline, progress=progress)
    show_run(run)
    say(f"Try:   headway predict {quoted(run.path)} {quoted(_example(folder, run.modality))}")


def _sample(name: str | None, *, offline: bool) -> Path:
    """The folder of the sample, built now or by an earlier demo."""
    if name is not None:
        return _built(_known(name), offline=offline)
    for wanted in FALLBACKS[:-1]:
        try:
            return _built(wanted, offline=offline)
        except PackageClientError as error:
            say(f"{wanted} cannot be had here, so the demo takes another data set. {error}")
    return _built(FALLBACKS[-1], offline=offline)


def _known(name: str) -> str:
    from headway.samples import available

    suited = [s.name for s in available() if s.modality in ITEMS and s.task == "classification"]
    name = ALIASES.get(name, name)
    if name not in suited:
        raise OptionError(
            f"there is no demo of {name!r}", allowed=", ".join([*ALIASES, *suited]), todo="See headway samples"
        )
    return name


def _built(name: str, *, offline: bool) -> Path:
    from headway.samples import build

    folder = Path("samples") / name
    # A sample appears whole or not at all, its README among it.
    return folder if (folder / "README.txt").exists() else Path("samples") / build(name, folder, offline=offline).name


def _example(folder: Path, modality: str) -> Path:
    return min(path for path in folder.rglob("*") if path.suffix.lower() in ITEMS[modality] and path.parent != folder)
