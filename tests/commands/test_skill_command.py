"""`burst skill`: a SKILL.md that names what is there, written where agents look, over nobody else's file."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from support.documents import checked

from burst import cli
from orchestrator.commands.command_tree import commands_of
from orchestrator.commands.exit_codes import exit_codes
from orchestrator.commands.skill_text import skill_text

assert isinstance(cli, click.Group)
TEXT = skill_text(cli)
COMMANDS = {node.name: node.command for node in commands_of(cli)}
CALLS = sorted(set(re.findall(r"`burst ([^`]+)`", TEXT)))
MOST_CHARACTERS = 6_000


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def burst(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == code, (result.output, result.exception)
    return result


def install(*arguments: str, code: int = 0) -> str:
    """What became of the file."""
    return str(checked(json.loads(burst("skill", "install", "--json", *arguments, code=code).stdout))["state"])


@pytest.mark.parametrize("call", CALLS)
def test_each_command_in_it_exists_and_parses(call: str) -> None:
    words = shlex.split(call)
    length = 2 if " ".join(words[:2]) in COMMANDS else 1
    command = COMMANDS[" ".join(words[:length])]
    arguments = words[length:]
    if not arguments and any(one.required for one in command.params):
        return  # the command is only named
    command.make_context(words[0], arguments)


def test_it_is_the_protocol_of_a_burst_in_few_characters() -> None:
    assert len(burst("skill", "show").stdout) <= MOST_CHARACTERS
    assert {"run", "status", "doctor", "generate", "init", "retry"} <= {call.split()[0] for call in CALLS}
    assert all(
        re.search(rf"^\| {code} \| {re.escape(text)} \| \S", TEXT, re.M) for code, text in exit_codes("run").items()
    )
    assert "## After −15" in TEXT
    head = TEXT.split("---\n")[1]
    assert re.match(r"name: burst\ndescription: \S", head)


def test_every_generate_in_it_has_a_name_so_that_it_can_be_repeated() -> None:
    assert all("--name" in call for call in CALLS if call.startswith("generate "))


def test_it_is_written_where_agents_look_and_again_changes_nothing(project: Path) -> None:
    path = project / ".claude/skills/burst/SKILL.md"
    assert install() == "installed"
    assert path.read_text() == burst("skill", "show").stdout
    written = path.stat().st_mtime_ns
    assert install() == "up to date"
    assert path.stat().st_mtime_ns == written
    assert [one.name for one in path.parent.iterdir()] == ["SKILL.md"]
    assert install("--user") == "installed"
    assert (project / "home/.claude/skills/burst/SKILL.md").exists()
    assert install("--directory", "elsewhere") == "installed"
    assert (project / "elsewhere/burst/SKILL.md").exists()
    assert "choose one" in burst("skill", "install", "--user", "--directory", "x", code=2).stderr


def test_that_of_another_release_is_brought_up_to_date(project: Path) -> None:
    from orchestrator.skill_file import marked

    path = project / ".claude/skills/burst/SKILL.md"
    path.parent.mkdir(parents=True)
    path.write_text(marked("---\nname: burst\n---\nof an older release\n"))
    assert install() == "updated"
    assert path.read_text() == burst("skill", "show").stdout


@pytest.mark.parametrize(
    ("old", "new"),
    [("-n 15", "-n 5"), ("---\n", "--- \n"), ("<!-- Made by", "mine <!-- Made by"), ("-->\n", "-->\nx\n")],
)
def test_somebody_elses_file_and_a_changed_one_are_left(project: Path, old: str, new: str) -> None:
    path = project / ".claude/skills/burst/SKILL.md"
    install()
    path.write_text(path.read_text().replace(old, new))
    before = path.read_text()
    message = burst("skill", "install", code=2).stderr
    assert str(path) in message
    assert "--force" in message
    assert path.read_text() == before
    assert install("--force") == "updated"
    assert path.read_text() == burst("skill", "show").stdout


def test_a_file_that_is_not_burst_s_is_left(project: Path) -> None:
    path = project / ".claude/skills/burst/SKILL.md"
    path.parent.mkdir(parents=True)
    path.write_text("my own skill\n")
    assert "is not burst's" in burst("skill", "install", code=2).stderr
    assert path.read_text() == "my own skill\n"


def test_a_place_that_cannot_be_written_is_one_message(project: Path) -> None:
    (project / ".claude").write_text("a file")
    message = burst("skill", "install", code=2).stderr
    assert "choose another place with --directory" in message
    assert message.count("\n") == 1
