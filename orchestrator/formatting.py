"""Numbers as people say them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from orchestrator.wording import named

_SHOWN_KEYS = 20
_PARTS_PER_PIECE = 100
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""What breaks a line, or what a terminal obeys instead of showing it; and what is no text at all."""


def counted(number: int, noun: str = "item") -> str:
    """`1 item`, `3 items`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def spoken_seconds(seconds: float) -> str:
    """`4.2 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def spoken_bytes(count: float) -> str:
    """`812 MiB`, `23.3 GiB`."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def one_line(text: str) -> str:
    """Names and other people's messages on one line: what would break it is written as an escape, `\\n` for one."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def more_lines(count: int, what: str, *, option: str | None = None) -> list[str]:
    """`… and 3 more failed (--all shows them)`, in place of entries that are not shown; nothing for 0."""
    return [f"… and {count} {what} ({option or named('everything', True)} shows them)"] if count > 0 else []


def key_lines(keys: Sequence[str], *, everything: bool, option: str | None = None) -> list[str]:
    """Keys below the line that counts them, indented: the first 20, or all. `option`: as of `more_lines`."""
    shown = keys if everything else keys[:_SHOWN_KEYS]
    return [f"  {line}" for line in (*shown, *more_lines(len(keys) - len(shown), "more", option=option))]


def first_of(names: Iterable[str], most: int) -> str:
    """`a, b, c, …`: at most so many, on one line."""
    listed = list(names)
    return ", ".join(listed[:most]) + (", …" if len(listed) > most else "")


def in_lines(lines: Iterable[str]) -> str:
    """Lines for a person, each kept to one line."""
    return "\n".join(map(one_line, lines))


def in_pieces(parts: Iterable[str], *, between: str = "", alone: int = 0) -> Iterator[str]:
    """The same text in fewer, longer strings; the first `alone` parts by themselves, for who waits for them."""
    piece: list[str] = []
    for number, part in enumerate(parts):
        piece.append(between + part if number else part)
        if number < alone or len(piece) == _PARTS_PER_PIECE:
            yield "".join(piece)
            piece = []
    yield "".join(piece)


def folded(name: str) -> str:
    """The same for all names that a disk may take for one: any case, letters composed (NFC) or not (NFD)."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())
