"""`docs/reference/errors.md`, from the classes of `orchestrator.errors`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from orchestrator import errors
from orchestrator.errors import BurstError, ItemError

_HEAD = """\
# Errors

Every error is one message that says what is wrong, where, and what to do next. With `--json` it is \
[`burst.error/1`](json.md#bursterror1), whose `kind` is a name of the first table. From Python it is an exception of \
that name in `orchestrator.errors`.
"""


def page() -> str:
    """The whole page."""
    lines = [_HEAD, "## Errors of a command", "", "| kind | exit | meaning |", "|---|---|---|"]
    lines += [f"| `{kind.__name__}` | {kind.exit_code} | {_sentence(kind)} |" for kind in _below(BurstError)]
    lines += [
        "",
        "## Errors of an item",
        "",
        "One item fails and the others go on. Its record has `error.kind`; `burst retry` makes it due again.",
        "",
        "| `error.kind` | meaning |",
        "|---|---|",
    ]
    lines += [f"| `{name}` | {text} |" for name, text in sorted(item_kinds().items())]
    return "\n".join(lines) + "\n"


def item_kinds() -> dict[str, str]:
    """Every kind that a record may have -> what it means."""
    return {kind.kind: _sentence(kind) for kind in _below(ItemError) if kind.kind != ItemError.kind}


def _below(root: type[BurstError]) -> Iterator[type]:
    for kind in root.__subclasses__():
        if kind.__module__ == errors.__name__:
            yield kind
        yield from _below(kind)


def _sentence(kind: type) -> str:
    return " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split()).replace("|", "\\|")
