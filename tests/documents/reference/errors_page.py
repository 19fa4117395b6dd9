"""`docs/reference/errors.md`, from the classes of `orchestrator.errors`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from orchestrator import errors
from orchestrator.cycle import breaker
from orchestrator.errors import BurstError, ItemError
from state import stages

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


OTHER_ITEM_KINDS = {
    breaker.OUT_OF_MEMORY: "The server ran out of memory, also after its memory was freed.",
    stages.CANCELLED_SOURCE: "An item that it is made from was cancelled.",
    stages.LOST_SOURCE: "An item that it is made from failed, or was removed.",
    "gone": "A server that costs money has forgotten the prompt; what it rendered may have been paid for.",
    "in_doubt": "No answer came when it was sent to a server that costs money, and nobody knows what became of it.",
    "inputs": "A value of the item does not fit the workflow.",
    "interrupted": "Somebody else interrupted the prompt on the server.",
    "output_gone": "A file of the finished prompt is not on the server any more.",
    "quarantine": "It was running each time that its server went down.",
    "unanswered": "The server gives no usable answer about this prompt, while it does about others.",
}
"""Those that have no class of their own; a test looks for them in the code."""


def item_kinds() -> dict[str, str]:
    """Every kind that a record may have -> what it means."""
    return {kind.kind: _sentence(kind) for kind in _below(ItemError) if kind.kind != ItemError.kind} | OTHER_ITEM_KINDS


def _below(root: type[BurstError]) -> Iterator[type]:
    for kind in root.__subclasses__():
        if kind.__module__ == errors.__name__:
            yield kind
        yield from _below(kind)


def _sentence(kind: type) -> str:
    return " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split()).replace("|", "\\|")
