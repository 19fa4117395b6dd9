"""The registry of kinds of errors is whole, says the true exit codes, and only grows."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from orchestrator import errors as all_errors
from orchestrator.cycle.breaker import OUT_OF_MEMORY
from orchestrator.error_kinds import API_KINDS, COMMAND_KINDS, ITEM_KINDS
from state.stages import CANCELLED_SOURCE, LOST_SOURCE

ROOT = Path(__file__).parents[2]
PUBLISHED_OF_COMMANDS = {
    *("BurstError", "ConfigurationError", "Crashed", "Deadlock", "DemoFailed", "DiskFull", "ExecutionFailed"),
    *("OutOfSpace", "SyncFailed"),
    *("InputsError", "Interrupted", "ItemError", "KeyUsed", "LockHeld", "NoOutputs", "NotAllowed", "NotComfyUI"),
    *("NotOnServer", "OutputDamaged", "OutputRefused", "OutputRootAway", "OutputRootUnusable", "PlaceTaken"),
    *("PromptRejected", "PromptTextError", "RecipeUnusable", "RequestConflict", "ServerBusy", "ServerDown"),
    *("ServerSick", "ServerStalled", "ServerUnreachable", "SettingsError", "SpendLimitReached", "SpendNotAllowed"),
    *("StaleChange", "StateAway", "StateError", "StateMoved", "StateVersionError", "StopBurst", "Stopped"),
    *("TemplateError", "TemplateRejected", "TransientError", "UnexpectedAnswer", "UploadError", "UsageError"),
    "WrongTerm",
}
"""Names are added here and never taken away: programs know them."""
PUBLISHED_OF_ITEMS = {
    *("execution_error", "gone", "in_doubt", "inputs", "interrupted", "item", "no_outputs", "out_of_memory"),
    *("output_damaged", "output_gone", "output_refused", "prompt_text", "quarantine", "rejected", "source"),
    *("source_cancelled", "unanswered", "unknown", "upload"),
}
"""The same."""
PUBLISHED_OF_API = {
    *("BadRequest", "NoKey", "Forbidden", "NotFound", "NotAllowedHere", "Conflict", "TooLarge", "Broken"),
    "Unavailable",
}
"""The same."""


SOURCES = "\n".join(
    path.read_text()
    for room in ("orchestrator", "state", "templates")
    for path in sorted((ROOT / room).rglob("*.py"))
    if path.parent.name != "comfyui_node"
)
"""Read, not imported: some need an extra."""
CLASS = re.compile(r"^class (\w+)\(([\w., ]+)\):\n(.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def errors() -> Mapping[str, Mapping[str, str]]:
    """Every class of error of ours → what it or its bases say as `exit_code` and `kind`."""
    waiting = CLASS.findall(SOURCES)
    found: dict[str, dict[str, str]] = {"Exception": {}}
    while ready := [one for one in waiting if one[1].split(",")[0].strip() in found]:
        waiting = [one for one in waiting if one not in ready]
        for name, bases, body in ready:
            own = dict(re.findall(r"^    (exit_code|kind)(?:: \S+)? = (\S+)", body, re.MULTILINE))
            found[name] = found[bases.split(",")[0].strip()] | own
    return {name: said for name, said in found.items() if "exit_code" in said}


def test_every_error_of_a_command_is_there_with_its_exit_code(errors: Mapping[str, Mapping[str, str]]) -> None:
    defined = {name: getattr(all_errors, said["exit_code"]) for name, said in errors.items() if name[0] != "_"}
    assert defined["UsageError"] == 2
    assert {name: COMMAND_KINDS[name].exit_code if name in COMMAND_KINDS else None for name in defined} == defined
    assert COMMAND_KINDS.keys() - defined.keys() == {"Interrupted", "Stopped"}


def test_every_kind_of_an_items_error_is_there(errors: Mapping[str, Mapping[str, str]]) -> None:
    of_classes = {said["kind"].strip('"') for said in errors.values() if "kind" in said}
    written = set(re.findall(r'ErrorRecord\(\s*kind="(\w+)"', SOURCES))
    assert {"gone", "quarantine"} <= written
    assert of_classes | written | {OUT_OF_MEMORY, LOST_SOURCE, CANCELLED_SOURCE, "unknown"} == set(ITEM_KINDS)


def test_every_status_that_the_api_refuses_with_has_its_kind() -> None:
    """No answer has the kind of another status because its own has none."""
    refusing = {"Refused", "HTTPException", "answer", "answer_to"}
    sites = {
        (path.name, node.lineno): argument.value
        for path in sorted((ROOT / "orchestrator/web").glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in refusing
        for argument in node.args
        if isinstance(argument, ast.Constant) and type(argument.value) is int
    }
    assert len(sites) > 80
    statuses = {kind.status for kind in API_KINDS.values()}
    assert len(statuses) == len(API_KINDS)
    assert {site: status for site, status in sites.items() if status not in statuses} == {}
    assert COMMAND_KINDS.keys() & API_KINDS.keys() == set(), "a kind means one thing"


@pytest.mark.parametrize(
    ("published", "known"),
    [
        (PUBLISHED_OF_COMMANDS, set(COMMAND_KINDS)),
        (PUBLISHED_OF_ITEMS, set(ITEM_KINDS)),
        (PUBLISHED_OF_API, set(API_KINDS)),
    ],
    ids=["commands", "items", "api"],
)
def test_a_kind_that_was_published_stays(published: set[str], known: set[str]) -> None:
    """A new kind is added to both; one that is gone or called otherwise breaks somebody's program."""
    assert published - known == set()
    assert known - published == set(), "new: add it here too"
