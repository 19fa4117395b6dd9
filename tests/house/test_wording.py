"""Only the command line writes flags: a message of any other module names the parameter, by `named`."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from burst import cli
from orchestrator.batches.spec import BatchSpec
from orchestrator.commands.flag_names import as_flag

ROOT = Path(__file__).parents[2]
BUILDS_COMMANDS = {
    "orchestrator/batches/generate_report.py",
    "orchestrator/burst_arguments.py",
    "orchestrator/cycle/set_aside.py",
    "orchestrator/demo.py",
    "orchestrator/doctor/diagnosis.py",
    "orchestrator/doctor/examination.py",
    "orchestrator/doctor/host.py",
    "orchestrator/doctor/server.py",
    "orchestrator/doctor/servers.py",
    "orchestrator/doctor/workflows.py",
    "orchestrator/fleet/burst_process.py",
    "orchestrator/init_checks.py",
    "orchestrator/scheduling/plan.py",
    "orchestrator/mcp_server/bursts.py",
    "orchestrator/web/image_details.py",
    "orchestrator/web/supervisor.py",
}
"""They put commands together, to be typed or started: a flag that stands alone is a word of one."""
OTHERS = {
    "orchestrator/batches/a1111_lines.py": "options of lines in a list, which are another program's",
    "orchestrator/batches/foreign_formats.py": "options of lines in a list, which are another program's",
    "orchestrator/batches/request_identity.py": "names of the parts of a request, as records have them",
    "orchestrator/batches/synced_spec.py": "names of the parts of a request, as records have them",
    "orchestrator/comfyui/advice.py": "a flag of ComfyUI's own",
    "orchestrator/cycle/set_aside.py": "what may follow the command that it puts together",
    "orchestrator/documents/reference.py": "the reference of what `--json` prints",
    "orchestrator/documents/registry.py": "the reference of what `--json` prints",
    "orchestrator/mcp_server/advice.py": "takes commands apart that messages name",
    "orchestrator/node_installation.py": "a flag of ComfyUI's own",
    "orchestrator/sandbox/responses.py": "a flag of ComfyUI's own",
    "orchestrator/server_copies/locating.py": "flags of ComfyUI's own",
    "orchestrator/scheduling/kubernetes.py": "options of kubectl's own",
    "orchestrator/scheduling/systemd.py": "options of systemd's own",
}
COMMAND = re.compile(r"`burst [^`]*`|Next: burst .*|\bburst \w+(?: \w+)? --json")
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def modules() -> list[Path]:
    rooms = (ROOT / room for room in ("orchestrator", "state", "templates"))
    return [path for room in rooms for path in sorted(room.rglob("*.py")) if path.parent.name != "commands"]


def texts(tree: ast.AST) -> Iterator[str]:
    """Every text of a module that is no docstring; what an f-string puts in is `{}`."""
    inside: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            inside.add(node.value)
        elif isinstance(node, ast.JoinedStr):
            inside |= {part for part in node.values if isinstance(part, ast.Constant)}
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in inside:
            yield node.value


def flags(source: str, *, builds_commands: bool = False) -> list[str]:
    if "--" not in source:
        return []
    found = (text for text in texts(ast.parse(source)) if not (builds_commands and FLAG.fullmatch(text)))
    return [text for text in found if FLAG.search(COMMAND.sub("", text))]


def test_no_message_outside_the_commands_names_a_flag() -> None:
    """They name parameters by `orchestrator.wording.named`."""
    found = {}
    for path in modules():
        name = str(path.relative_to(ROOT))
        if named := flags(path.read_text(), builds_commands=name in BUILDS_COMMANDS):
            found[name] = named
    assert {name: named for name, named in found.items() if name not in OTHERS} == {}
    assert OTHERS.keys() - found.keys() == set(), "these name no flag any more"


def test_each_module_that_builds_commands_does() -> None:
    assert [name for name in BUILDS_COMMANDS if not flags((ROOT / name).read_text())] == []


def commands(group: click.Group) -> Iterator[click.Command]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield from commands(command) if isinstance(command, click.Group) else [command]


def names() -> set[str]:
    """What modules give to `named` as it stands there."""
    found: set[str] = set()
    for source in (path.read_text() for path in modules()):
        for node in ast.walk(ast.parse(source)) if "named(" in source else ():
            match node:
                case ast.Call(func=ast.Name("named"), args=[ast.Constant(str(value)), *_]):
                    found.add(value)
    return found


def test_every_parameter_has_a_flag_that_a_command_takes() -> None:
    taken = {flag for command in commands(cli) for param in command.params for flag in param.opts}
    fields = {field.name for field in dataclasses.fields(BatchSpec)}
    given = names()
    assert len(given) > 25
    assert {name for name in given | fields if as_flag(name).split()[0] not in taken} == set()


@pytest.mark.parametrize(
    "line",
    [
        'raise UsageError("--seed-mode random draws every seed; leave --seed out")',
        'raise UsageError(f"--set {name}: it is there twice")',
        'place = "--stem"',
        'note = f"{count} stay there; " f"give them up with --abandon-server {name}"',
        'advice = "`burst status` shows it; or give --wait-lock"',
    ],
)
def test_a_flag_in_a_message_is_found(line: str) -> None:
    assert flags(line)


@pytest.mark.parametrize(
    "line",
    [
        "raise UsageError(f\"{named('seed')}: too large\")",
        'note = f"`burst update --made-with {path}` takes it as it is now"',
        '"""What `--json` prints."""',
        'rule = "---"',
        'text = "a -- b"',
    ],
)
def test_what_is_no_flag_of_a_message_is_not(line: str) -> None:
    assert not flags(line)
