"""Bytes that a person wrote, read as text."""

from __future__ import annotations

import codecs


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
