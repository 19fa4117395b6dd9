"""`docs/reference/errors.md`, from the registry of kinds."""

from __future__ import annotations

from orchestrator.error_kinds import API_KINDS, COMMAND_KINDS, ITEM_KINDS

_HEAD = """\
# Errors

Every error is one message that says what is wrong, where, and what to do next. With `--json` it is \
[`burst.error/1`](json.md#bursterror1), whose `kind` is a name of the first table. From Python it is an exception of \
that name in `orchestrator.errors`. Kinds are added; none changes its name or its meaning.
"""


def page() -> str:
    """The whole page."""
    lines = [_HEAD, "## Errors of a command", "", "| kind | exit | meaning |", "|---|---|---|"]
    lines += [f"| `{name}` | {kind.exit_code} | {kind.meaning} |" for name, kind in COMMAND_KINDS.items()]
    lines += [
        "",
        "## Errors of an item",
        "",
        "One item fails and the others go on. Its record has `error.kind`; `burst retry` makes it due again.",
        "",
        "| `error.kind` | meaning |",
        "|---|---|",
    ]
    lines += [f"| `{name}` | {meaning} |" for name, meaning in ITEM_KINDS.items()]
    lines += [
        "",
        "## Errors of the browser's API",
        "",
        "An answer of the [API](../browser.md) has the kinds of a command as `error.kind`, and these of its own.",
        "",
        "| `error.kind` | status | meaning |",
        "|---|---|---|",
    ]
    lines += [f"| `{name}` | {kind.status} | {kind.meaning} |" for name, kind in API_KINDS.items()]
    return "\n".join(lines) + "\n"


def item_kinds() -> dict[str, str]:
    """Every kind that a record may have -> what it means."""
    return dict(ITEM_KINDS)
