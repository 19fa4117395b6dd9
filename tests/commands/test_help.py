"""`--help` of every command, near matches, and options under their former names."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest
from click.testing import CliRunner, Result

import orchestrator.commands
from burst import cli
from orchestrator.commands.generate import generate
from orchestrator.commands.help import OldName
from orchestrator.commands.run import run

CHANGELOG = (Path(__file__).parents[2] / "CHANGELOG.md").read_text()
MODULES = [module.name for module in pkgutil.iter_modules(orchestrator.commands.__path__)]
WIDTH = 80


def commands(
    command: click.Command = cli, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that call it, hidden ones too."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found, (*path, name))


COMMANDS = dict(commands())
OPTIONS = [
    (" ".join((*path, option.opts[0])), option)
    for path, command in COMMANDS.items()
    for option in command.params
    if isinstance(option, click.Option)
]


def burst(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, list(arguments), prog_name="burst")
    assert result.exit_code == code, (result.output, result.exception)
    return result


def help_of(*path: str) -> str:
    return CliRunner().invoke(cli, [*path, "--help"], prog_name="burst", terminal_width=WIDTH).stdout


def sections(text: str) -> dict[str, str]:
    """Heading -> the lines below it."""
    parts = re.split(r"^(\S[^\n]*):\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_the_help_of_a_command_fits_its_lines_whole(path: tuple[str, ...]) -> None:
    text = help_of(*path)
    assert max(map(len, text.splitlines())) <= WIDTH
    assert not re.search(r"[a-z]\.\.\.$", text, flags=re.MULTILINE), "something was cut short"


@pytest.mark.parametrize("path", [path for path, command in COMMANDS.items() if isinstance(command, click.Group)])
def test_every_command_of_a_group_has_one_line_there(path: tuple[str, ...]) -> None:
    text = help_of(*path)
    for found, command in COMMANDS.items():
        if found[:-1] == path and found:
            row = re.search(rf"^  {found[-1]}  +\S.*\.$", text, flags=re.MULTILINE)
            assert bool(row) is not command.hidden, found


@pytest.mark.parametrize("option", [option for _, option in OPTIONS], ids=[name for name, _ in OPTIONS])
def test_every_option_has_a_help_text_or_is_in_the_changelog(option: click.Option) -> None:
    if option.hidden:
        assert all(f"`{name}`" in CHANGELOG for name in option.opts)
    else:
        assert option.help
        assert option.help[0] in option.help[0].upper() + "`"
        assert option.help.endswith((".", ")"))


def test_hidden_commands_are_in_the_changelog() -> None:
    hidden = [path for path, command in COMMANDS.items() if command.hidden]
    assert hidden == [("batches", "show")]
    assert all(f"`burst {' '.join(path)}" in CHANGELOG for path in hidden)


def test_commands_stand_under_their_tasks_each_once() -> None:
    found = sections(help_of())
    assert list(found) == [
        *("Options", "Every day", "Change items", "Batches and history", "Servers, workflows and the browser"),
        *("Unattended", "Many hosts", "Agents and scripts", "Repair", "Try it"),
    ]
    listed = re.findall(r"^  (\w+)  ", "".join(found[heading] for heading in list(found)[1:]), flags=re.MULTILINE)
    modules = (importlib.import_module(f"{orchestrator.commands.__name__}.{one}") for one in MODULES)
    own = {one.__name__.rsplit(".", 1)[1] for one in modules if isinstance(_of_its_name(one), click.Command)}
    assert sorted(listed) == sorted(own)


def _of_its_name(module: ModuleType) -> object:
    return getattr(module, module.__name__.rsplit(".", 1)[1], None)


@pytest.mark.parametrize("command", ["run", "generate"])
def test_every_option_of_the_large_commands_has_a_heading(command: str) -> None:
    found = sections(help_of(command))
    assert "Options" not in found
    assert "--json" in found["Output"]
    assert "--help" in found["Output"]
    assert "--output" in found["Where images go"]
    assert "--on-error" in found["How it runs"]


def test_generate_has_its_options_by_task() -> None:
    found = sections(help_of("generate"))
    for heading, option in (
        ("Prompts (choose one)", "--csv"),
        ("Variations", "--sweep"),
        ("Image settings", "--cfg, --cfg-scale"),
        ("The batch", "--priority"),
        ("Where images go", "--layout"),
        ("State, server and workflow", "--template"),
    ):
        assert option in found[heading]


def test_help_names_both_defaults_of_on_error() -> None:
    rendered, made = (" ".join(help_of(command).split()) for command in ("run", "generate"))
    assert "(`burst generate` stops by default.) [default: continue]" in rendered
    assert "(`burst run` continues by default.) [default: stop]" in made


def test_the_examples_can_be_typed() -> None:
    examples = re.findall(r"^  +burst (.+)$", help_of().split("Examples:")[1], flags=re.MULTILINE)
    assert len(examples) == 3
    for example in examples:
        name, *arguments = shlex.split(example)
        COMMANDS[(name,)].make_context(name, arguments)


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("stauts", "did you mean 'status'"),
        ("batch", "did you mean 'batches' or 'watch'?"),
        ("xyzzy", "there are: adopt, batches"),
    ],
)
def test_a_misspelt_command_gets_near_matches(typed: str, near: str) -> None:
    assert f"no command '{typed}'; {near}" in burst(typed, code=2).stderr
    assert near in json.loads(burst(typed, "--json", code=2).stdout)["error"]["message"]


def test_a_misspelt_command_of_a_group_gets_near_matches_but_no_hidden_one() -> None:
    assert "no command 'lst'; did you mean 'list'?" in burst("batches", "lst", code=2).stderr
    assert "no command 'shw'; there are: clean, list" in burst("batches", "shw", code=2).stderr
    assert "did you mean 'show'?" in burst("template", "shw", code=2).stderr


def test_a_misspelt_option_gets_near_matches_but_no_hidden_one() -> None:
    assert "--items" in burst("run", "--itms", "3", code=2).stderr
    assert "--size" not in burst("run", "--siz", "3", code=2).stderr
    assert "--size" in burst("generate", "--siz", "3", code=2).stderr


def test_commands_with_former_names_print_their_notes() -> None:
    former = [path for path, command in COMMANDS.items() if any(isinstance(one, OldName) for one in command.params)]
    assert former == [("run",)]
    assert all("log_file" in {one.name for one in COMMANDS[path].params} for path in former), "they have log_options"


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state where nothing is left: a run contacts no server."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "re_render_state.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize("value", ["7", "auto"])
def test_run_still_takes_size_and_notes_the_new_name(finished: Path, value: str) -> None:
    note = "--size is now --items"
    old = burst("run", "--size", value, "--log-file", "log.txt", "--json")
    assert note in old.stderr
    assert old.stderr.count("\n") == 1
    assert note in (finished / "log.txt").read_text()
    new = burst("run", "--items", value, "--json")
    assert new.stderr == ""
    for name in ("--size", "--items", "-n"):
        parameters = run.make_context("run", [name, value]).params
        assert parameters["size"] == (7 if value == "7" else "auto")
        assert "former_size" not in parameters


@pytest.mark.usefixtures("finished")
def test_the_old_name_is_checked_like_the_new_one() -> None:
    assert "'many' is neither a number nor 'auto'" in burst("run", "--size", "many", code=2).stderr
    assert "give only --items" in burst("run", "--size", "3", "-n", "4", code=2).stderr


@pytest.mark.parametrize("name", ["--cfg", "--cfg-scale"])
@pytest.mark.parametrize("stay", ["--wait", "--monitor"])
def test_generate_takes_what_it_was_first_called(name: str, stay: str) -> None:
    context = generate.make_context("generate", ["--prompt", "a fox", name, "8.5", stay])
    assert context.params["cfg"] == 8.5
    assert context.params["wait"] is True
    assert stay not in help_of("generate")
