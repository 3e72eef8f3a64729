"""The command line: parse, call the library, print. ``main`` is the entry point of ``headway``."""

from __future__ import annotations


def main() -> None:
    """Run the command in ``sys.argv`` and leave with its exit code (see :mod:`headway.cli._guard`)."""
    from headway.cli._guard import settle
    from headway.cli.app import app

    settle()
    app(prog_name="headway")
