"""Which exit codes each command has, and what they mean."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.errors import (
    EXIT_CONFIGURATION,
    EXIT_CRASHED,
    EXIT_DONE,
    EXIT_ITEMS_FAILED,
    EXIT_NOTHING_LEFT_SOME_FAILED,
    EXIT_SIGHUP,
    EXIT_SIGINT,
    EXIT_SIGTERM,
    EXIT_TRY_LATER,
)

OF_EVERY_COMMAND: Mapping[int, str] = {
    EXIT_DONE: "Done.",
    EXIT_CONFIGURATION: "Usage, configuration, state file or disk: a person must change something first.",
    EXIT_CRASHED: "An unexpected error, which is a bug; nothing is lost.",
    EXIT_TRY_LATER: "Could not run now (another run at work, server or database away): try again later.",
    EXIT_SIGINT: "Stopped by Ctrl-C.",
}
_STOPPED: Mapping[int, str] = {
    EXIT_SIGHUP: "Stopped by SIGHUP, after checkpointing.",
    EXIT_SIGINT: "Stopped by SIGINT, after checkpointing.",
    EXIT_SIGTERM: "Stopped by SIGTERM, after checkpointing.",
}
OF_ONE_COMMAND: Mapping[str, Mapping[int, str]] = {
    "run": {
        EXIT_DONE: "The burst ended normally; work may remain.",
        EXIT_ITEMS_FAILED: "Some items failed; the others went on.",
        **_STOPPED,
    },
    "generate": {
        EXIT_DONE: "The batch is done, or queued with --queue-only.",
        EXIT_ITEMS_FAILED: "Some items failed.",
        **_STOPPED,
    },
    "status": {
        EXIT_DONE: "Shown; with --check: nothing is left.",
        EXIT_ITEMS_FAILED: "With --check: work remains.",
        EXIT_NOTHING_LEFT_SOME_FAILED: "With --check: nothing is left, and some items failed.",
    },
    "doctor": {EXIT_DONE: "No problems; warnings are possible.", EXIT_ITEMS_FAILED: "There are problems."},
    "verify": {EXIT_ITEMS_FAILED: "Files are missing or damaged, and their items were not made due again."},
    "export": {EXIT_ITEMS_FAILED: "Some image files are missing; the others were exported."},
    "template check": {EXIT_ITEMS_FAILED: "The server would refuse the workflow."},
    "node status": {EXIT_ITEMS_FAILED: "The nodes are missing or outdated."},
    "servers clean": {EXIT_ITEMS_FAILED: "A server could not be cleaned; the others were."},
    "notify test": {EXIT_ITEMS_FAILED: "A receiver was not reached."},
    "demo": {EXIT_ITEMS_FAILED: "Something was lost, damaged or rendered twice."},
    "watch": {EXIT_DONE: "Stopped by SIGTERM, or the reader went away; with --until-done: nothing is left."},
    "worker": {EXIT_DONE: "Stopped by a signal.", EXIT_SIGTERM: "Stopped by a second signal."},
}
"""By the words of a command, such as `template check`: what it has besides, or means by them."""


def exit_codes(command: str) -> dict[int, str]:
    """All exit codes of a command → meaning, in ascending order."""
    return dict(sorted({**OF_EVERY_COMMAND, **OF_ONE_COMMAND.get(command, {})}.items()))
