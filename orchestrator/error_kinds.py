"""Every kind of error that JSON names, and what it means.

Append only: a program that knows a kind goes on meeting it under this name, with this meaning. The kinds of a command
are the classes of `orchestrator.errors`, as `burst.error/1` has them; those of an item stand in its record, and in the
lists of items that failed. The browser's API answers with those of a command, and with its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.errors import (
    EXIT_CONFIGURATION,
    EXIT_CRASHED,
    EXIT_ITEMS_FAILED,
    EXIT_SIGINT,
    EXIT_SIGTERM,
    EXIT_TRY_LATER,
)


@dataclass(frozen=True)
class CommandKind:
    """Why a command ended."""

    exit_code: int
    meaning: str


@dataclass(frozen=True)
class ApiKind:
    """Why the browser's API itself refused a call."""

    status: int
    """Of the answer; no two kinds have the same."""
    meaning: str


COMMAND_KINDS: Mapping[str, CommandKind] = {
    "LockHeld": CommandKind(EXIT_TRY_LATER, "Another run works on this state; call again later."),
    "StateAway": CommandKind(EXIT_TRY_LATER, "The database of the state does not answer; call again later."),
    "ServerDown": CommandKind(EXIT_TRY_LATER, "The ComfyUI server does not answer; call again later."),
    "ServerStalled": CommandKind(
        EXIT_TRY_LATER, "The server answers, but its prompt has made no progress for a long time."
    ),
    "ServerSick": CommandKind(EXIT_TRY_LATER, "The server fails every prompt; restart it."),
    "SpendLimitReached": CommandKind(EXIT_TRY_LATER, "The limit of prompts in 24 hours for paid servers is reached."),
    "DiskFull": CommandKind(EXIT_CONFIGURATION, "A write was refused: disk full, quota, or read-only."),
    "OutOfSpace": CommandKind(EXIT_CONFIGURATION, "The disk of the state is full."),
    "SyncFailed": CommandKind(
        EXIT_CONFIGURATION, "The disk did not confirm a write; look at the disk, then run again."
    ),
    "OutputRootUnusable": CommandKind(EXIT_CONFIGURATION, "The output directory cannot be written to."),
    "OutputRootAway": CommandKind(EXIT_TRY_LATER, "Object storage does not answer; call again later."),
    "ServerUnreachable": CommandKind(EXIT_TRY_LATER, "A request got no response."),
    "ServerBusy": CommandKind(EXIT_TRY_LATER, "The server answered 429 or 5xx."),
    "KeyUsed": CommandKind(EXIT_TRY_LATER, "A hosted server has had this request and does not say what became of it."),
    "UnexpectedAnswer": CommandKind(EXIT_TRY_LATER, "The response is not ComfyUI's."),
    "NotOnServer": CommandKind(EXIT_TRY_LATER, "The server does not have the requested file."),
    "NotComfyUI": CommandKind(EXIT_CONFIGURATION, "Another program answers at this address; the message names one."),
    "UsageError": CommandKind(EXIT_CONFIGURATION, "An option or argument is not valid; the message says which."),
    "RequestConflict": CommandKind(EXIT_CONFIGURATION, "A batch name or key is already used by another request."),
    "SettingsError": CommandKind(
        EXIT_CONFIGURATION, "settings.toml, host.toml or an environment variable is not valid."
    ),
    "SpendNotAllowed": CommandKind(EXIT_CONFIGURATION, "The server costs money, and that was not allowed."),
    "TemplateError": CommandKind(EXIT_CONFIGURATION, "The workflow file, an address or a binding is not valid."),
    "StateError": CommandKind(EXIT_CONFIGURATION, "The state cannot be read; nothing was changed."),
    "StateMoved": CommandKind(EXIT_CONFIGURATION, "The state was moved; the message has its new address."),
    "NotAllowed": CommandKind(EXIT_CONFIGURATION, "The database role lacks the permission."),
    "Deadlock": CommandKind(EXIT_CONFIGURATION, "The database ended a transaction that waited for another; try again."),
    "StateVersionError": CommandKind(EXIT_CONFIGURATION, "The state was written by another version of burst."),
    "ConfigurationError": CommandKind(EXIT_CONFIGURATION, "A person must change something first."),
    "RecipeUnusable": CommandKind(EXIT_CONFIGURATION, "A recipe cannot be read; its items stay as they are."),
    "TemplateRejected": CommandKind(EXIT_CONFIGURATION, "The server refuses the workflow itself."),
    "PlaceTaken": CommandKind(EXIT_CONFIGURATION, "Another item's images have the same name; rename one of them."),
    "WrongTerm": CommandKind(EXIT_CONFIGURATION, "A search has an unknown term."),
    "StaleChange": CommandKind(EXIT_ITEMS_FAILED, "Another process changed the item meanwhile; look again."),
    "ItemError": CommandKind(EXIT_ITEMS_FAILED, "An item cannot be rendered; the others continue."),
    "PromptTextError": CommandKind(EXIT_ITEMS_FAILED, "A prompt file is missing, empty, or not UTF-8."),
    "InputsError": CommandKind(EXIT_ITEMS_FAILED, "An item's own values do not fit its workflow."),
    "UploadError": CommandKind(EXIT_ITEMS_FAILED, "An input image is missing, damaged, or refused by the server."),
    "PromptRejected": CommandKind(EXIT_ITEMS_FAILED, "The server refused an item's prompt."),
    "ExecutionFailed": CommandKind(EXIT_ITEMS_FAILED, "A prompt ran and raised an error."),
    "OutputRefused": CommandKind(EXIT_ITEMS_FAILED, "An output has a name or path that is not allowed."),
    "NoOutputs": CommandKind(EXIT_ITEMS_FAILED, "A prompt succeeded but saved nothing."),
    "OutputDamaged": CommandKind(EXIT_ITEMS_FAILED, "An output is truncated or damaged."),
    "TransientError": CommandKind(EXIT_TRY_LATER, "Nothing is known yet; call again later."),
    "StopBurst": CommandKind(EXIT_TRY_LATER, "The burst ended; every item keeps its place."),
    "DemoFailed": CommandKind(EXIT_ITEMS_FAILED, "The demo did not finish."),
    "BurstError": CommandKind(EXIT_ITEMS_FAILED, "Another error; the message says which."),
    "Crashed": CommandKind(EXIT_CRASHED, "A bug in burst. Nothing is lost; run again, and report the message."),
    "Interrupted": CommandKind(EXIT_SIGINT, "Ctrl-C, before or after a run."),
    "Stopped": CommandKind(
        EXIT_SIGTERM, "A signal ended the run; call again (129: SIGHUP, 130: SIGINT, 143: SIGTERM)."
    ),
}
"""`error.kind` of `burst.error/1` → the exit code that comes with it, and what it means."""

ITEM_KINDS: Mapping[str, str] = {
    "item": "The item cannot be rendered.",
    "prompt_text": "Its prompt file is missing, empty, or not UTF-8.",
    "inputs": "Its own values do not fit its workflow.",
    "upload": "An input image is missing, cut short, not an image, or refused by the server.",
    "rejected": "The server refused its prompt.",
    "execution_error": "Its prompt ran and raised an error on the server.",
    "out_of_memory": "The server ran out of memory on it, even after unloading its models.",
    "interrupted": "Somebody interrupted its prompt on the server.",
    "output_refused": "An output has a name or path that is not allowed.",
    "output_damaged": "An output is truncated or damaged.",
    "output_gone": "The server no longer has an output that it listed.",
    "no_outputs": "Its prompt succeeded but saved nothing.",
    "in_doubt": "A hosted server may have its prompt; trying again may render it twice.",
    "gone": "A paid server accepted its prompt and no longer knows it.",
    "unanswered": "The server's responses about its prompt cannot be read.",
    "quarantine": "It was seen running twice when its server went down.",
    "source": "The item that it is made from failed or was removed.",
    "source_cancelled": "The item that it is made from was cancelled.",
    "unknown": "No reason is recorded.",
}
"""`kind` of an item's error → what it means."""

API_KINDS: Mapping[str, ApiKind] = {
    "BadRequest": ApiKind(400, "What was sent does not fit; `field` names the part where that is known."),
    "NoKey": ApiKind(401, "The token or a known API key is missing."),
    "Forbidden": ApiKind(403, "A page of another site, or a file or address that may not be used from here."),
    "NotFound": ApiKind(404, "There is no such address, batch, item, image or file."),
    "NotAllowedHere": ApiKind(405, "This address takes another method."),
    "Conflict": ApiKind(409, "Not as things stand: work is left, or something has the name already."),
    "TooLarge": ApiKind(413, "The body is too large; the message has the limit."),
    "Broken": ApiKind(500, "A bug in burst, or a state that cannot be read. Nothing was changed."),
    "Unavailable": ApiKind(503, "A server or the database does not answer; call again later."),
}
"""`kind` in errors of the browser's API that no command has → the status that comes with it, and what it means."""
