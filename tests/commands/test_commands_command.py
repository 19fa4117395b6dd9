"""`burst commands --json` has every command, option, default, exit code and schema."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from burst import cli
from orchestrator import errors
from orchestrator.commands.exit_codes import OF_EVERY_COMMAND, OF_ONE_COMMAND
from orchestrator.documents.registry import SCHEMAS
from orchestrator.errors import BurstError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def printed() -> Mapping[str, Any]:
    result = CliRunner().invoke(cli, ["commands", "--json"])
    assert result.exit_code == 0, result.output
    found: Mapping[str, Any] = json.loads(result.stdout)
    return found


def leaves(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command that can be called, by click's own means."""
    if not isinstance(command, click.Group):
        yield " ".join(words), command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from leaves(found, (*words, name))


def test_every_command_and_every_option_is_there(printed: Mapping[str, Any]) -> None:
    described = {entry["command"]: entry for entry in printed["commands"]}
    assert list(described) == [f"burst {name}" for name, _ in leaves(cli)]
    for name, command in leaves(cli):
        entry = described[f"burst {name}"]
        options = [one for one in command.params if isinstance(one, click.Option)]
        assert [one["names"] for one in entry["options"]] == [[*one.opts, *one.secondary_opts] for one in options]
        for shown, option in zip(entry["options"], options, strict=True):
            assert shown.get("hidden", False) == option.hidden
            assert shown.get("repeatable", False) == option.multiple
            assert (shown["type"] == "flag") == option.is_flag
        arguments = [one for one in command.params if isinstance(one, click.Argument)]
        assert [one.get("required", False) for one in entry["arguments"]] == [one.required for one in arguments]
        assert entry["summary"].endswith(".")


def option_of(printed: Mapping[str, Any], command: str, name: str) -> Mapping[str, Any]:
    (entry,) = (entry for entry in printed["commands"] if entry["command"] == command)
    (option,) = (option for option in entry["options"] if name in option["names"])
    return dict(option)


@pytest.mark.parametrize(
    ("command", "name", "told"),
    [
        ("burst run", "-n", {"names": ["-n", "--items"], "default": "15", "value": "N|auto", "type": "text"}),
        ("burst run", "--on-error", {"choices": ["stop", "continue"], "default": "continue", "type": "choice"}),
        ("burst run", "--state", {"default": "re_render_state.json", "environment": ["BURST_STATE"], "type": "path"}),
        ("burst run", "--size", {"hidden": True}),
        ("burst run", "--ahead", {"default": 0, "type": "integer"}),
        ("burst report", "--html", {"value_optional": True}),
        ("burst run", "--server", {"repeatable": True}),
        ("burst node install", "--comfyui", {"required": True}),
    ],
)
def test_an_option_is_told_as_it_is(
    printed: Mapping[str, Any], command: str, name: str, told: Mapping[str, object]
) -> None:
    found = option_of(printed, command, name)
    assert {field: found.get(field) for field in told} == told


def test_what_says_nothing_is_left_out(printed: Mapping[str, Any]) -> None:
    assert option_of(printed, "burst run", "--until-done").keys() == {"names", "type", "help"}


def test_every_command_that_prints_json_says_which(printed: Mapping[str, Any]) -> None:
    for entry in printed["commands"]:
        prints = any("--json" in option["names"] for option in entry["options"])
        assert prints == bool(entry["schemas"]) or entry.get("hidden"), entry["command"]
    told = {name for entry in printed["commands"] for name in entry["schemas"]}
    assert told == {name for name, schema in SCHEMAS.items() if schema.source.startswith("burst ")}


CONSTANTS = {name: value for name, value in vars(errors).items() if name.startswith("EXIT_")}


def test_the_exit_codes_are_those_of_the_errors_(printed: Mapping[str, Any]) -> None:
    told = {code for meanings in (OF_EVERY_COMMAND, *OF_ONE_COMMAND.values()) for code in meanings}
    assert told == set(CONSTANTS.values())
    assert {one["code"] for one in printed["exit_codes"]} == set(OF_EVERY_COMMAND)
    assert {error.exit_code for error in vars(errors).values() if _is_error(error)} <= told
    entries = {entry["command"]: entry["exit_codes"] for entry in printed["commands"]}
    shown = {name: {one["code"] for one in entries[f"burst {name}"]} for name in OF_ONE_COMMAND}
    assert shown == {name: set(meanings) for name, meanings in OF_ONE_COMMAND.items()}


def _is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BurstError)


def test_every_command_that_chooses_an_exit_code_says_which() -> None:
    choosing = {
        path.stem
        for path in (ROOT / "orchestrator/commands").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "sys.exit"
    }
    assert choosing - {"signals"} == {name.split()[0] for name in OF_ONE_COMMAND}


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["run"], ["burst run"]),
        (["batches", "list"], ["burst batches list"]),
        (["batches list", "run"], ["burst run", "burst batches list"]),
        (["template"], [f"burst template {name}" for name in ("check", "export", "list", "show")]),
    ],
)
def test_commands_can_be_named(words: list[str], shown: list[str]) -> None:
    document = json.loads(CliRunner().invoke(cli, ["commands", *words, "--json"]).stdout)
    assert [entry["command"] for entry in document["commands"]] == shown
    assert "error_kinds" not in document
    text = CliRunner().invoke(cli, ["commands", *words]).stdout
    assert [line.split("  ")[0] for line in text.splitlines()] == shown


def test_a_command_that_is_none_gets_near_matches() -> None:
    result = CliRunner().invoke(cli, ["commands", "stauts"])
    assert result.exit_code == 2
    assert "no command 'stauts'; did you mean 'status'" in result.stderr
    assert CliRunner().invoke(cli, ["commands", "batches", "lst"]).exit_code == 2
