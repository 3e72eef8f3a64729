"""Every error that Headway raises on purpose.

::

    HeadwayError            1  our fault, or the machine's
    ├── StorageError        2  the disk is full or refuses to be written
    └── UserError           2  the user can mend it
        ├── OptionError        an argument or option is off (also a ValueError)
        ├── DataError          the data cannot be read, or cannot answer the question
        ├── ModelError         a model's name is unknown, or it cannot be built
        │   ├── WeightsMissing     offline, and these files are not here
        │   └── WeightsRefused     wrong checksum, wrong shapes, or not safe to read
        ├── PackageClientError pip or apt-get is missing, or could not deliver
        └── RunError           a run folder is missing, unfinished or from another version

The number is the command line's exit code.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HeadwayError(Exception):
    """Says what was wrong, what was given, what is allowed, and what to do next, in that order."""

    exit_code = 1

    def __init__(self, what: str, *, given: object = None, allowed: object = None, todo: str = "") -> None:
        self.what, self.given, self.allowed, self.todo = what, given, allowed, todo
        sentences = [
            what,
            "" if given is None else f"Given: {given}",
            "" if allowed is None else f"Allowed: {allowed}",
            todo,
        ]
        super().__init__(" ".join(s if s.endswith(("?", "!")) else s.rstrip(".") + "." for s in sentences if s))


class StorageError(HeadwayError):
    exit_code = 2


class UserError(HeadwayError):
    exit_code = 2


class OptionError(UserError, ValueError):
    pass


class DataError(UserError, ValueError):
    pass


class ModelError(UserError):
    pass


class WeightsMissing(ModelError):
    pass


class WeightsRefused(ModelError):
    pass


class PackageClientError(UserError):
    pass


class RunError(UserError):
    pass


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """A sentence naming the closest known names, or an empty string.

    >>> did_you_mean("ridg", ["ridge", "logistic"])
    'Did you mean ridge?'
    """
    close = difflib.get_close_matches(given, list(known), n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(close)}?" if close else ""
