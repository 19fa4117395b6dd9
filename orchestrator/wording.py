"""How messages name a parameter: as the one who reads them writes it.

A script writes `seed_mode='random'`, a person `--seed-mode random`, and a call of the browser's API has fields. What
raises an error knows the parameter alone, and names it by `named`; an entry point sets the words that come out.
Parameters are called as in Python: those of `BatchSpec`, `Overrides`, `Request` and of the functions of the library.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Protocol


class Words(Protocol):
    """How a parameter is written: alone, with a value, as one key of a mapping, or with that key's value."""

    def __call__(self, name: str, value: object = None, *, key: str | None = None) -> str: ...


_SEVERAL = frozenset({"loras", "notify", "patterns", "servers", "wildcards"})
"""Parameters that take any number of values."""
_PAIRS = frozenset({"server_moved"})
"""Parameters that take two values."""
_PYTHON = {"list_all": "everything"}
"""Where a command needs a flag of its own for the same parameter."""


def in_python(name: str, value: object = None, *, key: str | None = None) -> str:
    """`seed_mode`, `seed_mode='random'`, `sets['steps']`, `bindings={'steps': '3.steps'}`."""
    name = _PYTHON.get(name, name)
    if key is not None and name in _PAIRS:
        return f"{name}=({key!r}, {value!r})"
    if key is not None:
        return f"{name}[{key!r}]" if value is None else f"{name}={{{key!r}: {value!r}}}"
    if value is None:
        return name
    return f"{name}=[{value!r}]" if name in _SEVERAL else f"{name}={value!r}"


class _Process:
    """Set by what this process is, for all of its threads."""

    words: Words = staticmethod(in_python)


_here: ContextVar[Words | None] = ContextVar("words", default=None)


def process_words() -> Words:
    """Those of all threads that have no other."""
    return _Process.words


def named(name: str, value: object = None, *, key: str | None = None) -> str:
    """The parameter in the words of the reader, fit for any place in a message."""
    return (_here.get() or process_words())(name, value, key=key)


@contextlib.contextmanager
def process_speaks(words: Words) -> Iterator[None]:
    """For all threads, but where `speaks` holds: of a process with one kind of reader, such as a command."""
    before, _Process.words = _Process.words, staticmethod(words)
    try:
        yield
    finally:
        _Process.words = before


@contextlib.contextmanager
def speaks(words: Words) -> Iterator[None]:
    """For this thread or task alone, and those that take its context over: one request among others."""
    token = _here.set(words)
    try:
        yield
    finally:
        _here.reset(token)
