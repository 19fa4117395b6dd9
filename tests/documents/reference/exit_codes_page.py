"""`docs/reference/exit-codes.md`, from the exit codes that commands say they have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from orchestrator.commands.exit_codes import OF_EVERY_COMMAND, OF_ONE_COMMAND

_HEAD = """\
# Exit codes

Of every command:

"""
_OWN = """
What some commands return besides, or mean by them:

"""
_TAIL = """
A full disk, a closed descriptor or a reader that has gone (`| head`) behind standard output or error stops no burst
and changes no exit code.
"""


def page() -> str:
    """The whole page."""
    return _HEAD + "".join(_every()) + _OWN + "".join(_own(OF_ONE_COMMAND)) + _TAIL


def _every() -> Iterator[str]:
    yield "| code | meaning |\n|---|---|\n"
    yield from (f"| {code} | {meaning} |\n" for code, meaning in sorted(OF_EVERY_COMMAND.items()))


def _own(commands: Mapping[str, Mapping[int, str]]) -> Iterator[str]:
    yield "| command | code | meaning |\n|---|---|---|\n"
    for command, meanings in commands.items():
        yield from (f"| `burst {command}` | {code} | {text} |\n" for code, text in sorted(meanings.items()))
