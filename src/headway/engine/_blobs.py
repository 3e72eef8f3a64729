"""Checksums beside OpenVINO's compiled blobs.

OpenVINO checks the header of a blob that it reads back and nothing of the weights behind it: a flipped bit there
changes what the network says, in silence. CRC-32 notices what a disk or a killed process does to a file, and takes
milliseconds; it is no protection against someone who can write to the cache.
"""

from __future__ import annotations

import os
import zlib
from contextlib import suppress
from pathlib import Path

_CHUNK = 1 << 20


def sound(folder: Path) -> Path | None:
    """The folder, made where it is not there, without the blobs that are not as :func:`remember` saw them.

    Whatever is deleted is compiled again. None where the folder can be neither found nor made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    for blob in folder.glob("*.blob"):
        with suppress(OSError):  # another process may have deleted it, or be reading it
            if _sum_file(blob).read_text("ascii") == _checksum(blob):
                continue
        for path in (_sum_file(blob), blob):  # the checksum first: one without its blob would condemn the next blob
            with suppress(OSError):
                path.unlink()
    return folder


def remember(folder: Path) -> None:
    """Write down the checksums of blobs that have none."""
    for blob in folder.glob("*.blob"):
        with suppress(OSError):  # a full disk costs compiling again next time, no more
            if not _sum_file(blob).exists():
                scratch = blob.with_suffix(f".{os.getpid()}")
                scratch.write_text(_checksum(blob), "ascii")
                scratch.replace(_sum_file(blob))


def _sum_file(blob: Path) -> Path:
    return blob.with_suffix(".crc32")


def _checksum(path: Path) -> str:
    value = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            value = zlib.crc32(chunk, value)
    return f"{value:08x}"
