"""Files that a person wrote, read as text."""

from __future__ import annotations

import codecs
import os
import stat
from pathlib import Path

from state import operating_system

_PIECE_BYTES = 1 << 16


def read_ordinary(path: Path, *, most_bytes: int) -> bytes:
    """What an ordinary file holds, but no more than `most_bytes`. Never waits, whatever stands there.

    Errors: OSError; ValueError, without the path, for what is no ordinary file.
    """
    descriptor = os.open(path, os.O_RDONLY | operating_system.NEVER_WAITS | operating_system.BINARY)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("no ordinary file")
        pieces: list[bytes] = []
        while piece := os.read(descriptor, min(_PIECE_BYTES, most_bytes - sum(map(len, pieces)))):
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        os.close(descriptor)


def decoded(data: bytes) -> str:
    """UTF-8, with or without a byte order mark; the lines end with `\\n`.

    Errors: ValueError that says at which byte it is no such text, and how to mend it.
    """
    mark = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
    try:
        text = data.removeprefix(mark).decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {len(mark) + error.start}; save it as UTF-8") from error
    if "\0" in text:
        raise ValueError(f"a NUL at byte {data.index(0)}, as in UTF-16 or in no text at all; save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")
