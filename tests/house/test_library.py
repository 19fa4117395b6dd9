"""What docs/library.md promises of Python is there, and whatever is public stands in it."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from support.pages import page

import burst
import orchestrator
from orchestrator.cycle.request import Request
from orchestrator.errors import UsageError

PAGE = page("library.md")
COMMANDS_ALONE = {"serve", "worker", "demo", "schedule", "metrics", "commands", "schema", "skill", "mcp"}


def rows() -> dict[str, list[str]]:
    """Command -> the names of its functions."""
    found = re.findall(r"^\| `burst (\w+)` \| (.*) \|$", PAGE, flags=re.MULTILINE)
    return {command: re.findall(r"`orchestrator\.(\w+)`", cell) for command, cell in found}


def test_every_command_has_its_functions_in_the_table() -> None:
    assert set(rows()) == set(burst._COMMANDS) - COMMANDS_ALONE
    assert all(rows().values())


def test_the_page_and_the_public_names_are_the_same() -> None:
    code = re.findall(r"^from orchestrator import (.*)$", PAGE, flags=re.MULTILINE)
    named = set(re.findall(r"`orchestrator\.(\w+)", PAGE)) | {name for line in code for name in line.split(", ")}
    modules = {path.stem for path in Path(orchestrator.__path__[0]).iterdir()}
    assert named - modules == set(orchestrator.__all__)


@pytest.mark.parametrize("name", orchestrator.__all__)
def test_a_public_name_is_a_class_or_function_also_after_its_module_was_imported(name: str) -> None:
    (home,) = (home for home, names in orchestrator._HOMES.items() if name in names)
    importlib.import_module(f"orchestrator.{home}")
    found = getattr(orchestrator, name)
    assert callable(found)
    assert found.__doc__


def test_a_job_can_be_begun_updated_and_reset_without_more_arguments(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "a.txt").write_text("a lighthouse")
    state = tmp_path / "state.json"
    begun = orchestrator.init(state, [tmp_path / "prompts"])
    assert begun.counts.remaining == 1
    updated = orchestrator.update_items(state, overrides=orchestrator.Overrides(template="smoke"))
    assert updated.updated == ("prompts/a.txt",)
    assert orchestrator.reset(state).counts.remaining == 1


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("size", 0),
        ("size", 10**10),
        ("ahead", -1),
        ("max_attempts", 0),
        ("max_seconds", -1.0),
        ("max_seconds", float("nan")),
        ("wait_lock_seconds", float("inf")),
        ("poll_seconds", 0.0),
        ("poll_seconds", float("nan")),
    ],
)
def test_an_error_of_run_burst_names_its_argument(argument: str, value: float) -> None:
    with pytest.raises(UsageError, match=rf"\A{argument}: "):
        Request(**{argument: value}).checked()  # type: ignore[arg-type]
