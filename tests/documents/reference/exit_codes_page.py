"""`docs/reference/exit-codes.md`, from the constants of `orchestrator.errors` and what stands below each."""

from __future__ import annotations

import ast
import inspect
import itertools
from collections.abc import Iterator

from orchestrator import errors

_HEAD = """\
# Exit codes

| code | meaning |
|---|---|
"""
_TAIL = """
A full disk, a closed descriptor or a reader that has gone (`| head`) behind standard output or error stops no burst
and changes no exit code.
"""


def page() -> str:
    """The whole page."""
    return _HEAD + "".join(f"| {code} | {text} |\n" for code, text in _codes()) + _TAIL


def _codes() -> Iterator[tuple[int, str]]:
    body = ast.parse(inspect.getsource(errors)).body
    for here, after in itertools.pairwise(body):
        match here, after:
            case (
                ast.Assign(targets=[ast.Name(id=name)]),
                ast.Expr(value=ast.Constant(value=str(text))),
            ) if name.startswith("EXIT_"):
                yield getattr(errors, name), " ".join(text.split())
