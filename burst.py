"""The command line: which command is where, and what becomes of errors."""

from __future__ import annotations

import importlib
import io
import logging
import sys
from typing import Any, NoReturn

import click

from orchestrator.commands.common import print_error, print_json
from orchestrator.errors import EXIT_SIGINT, BurstError
from orchestrator.formatting import one_line

_COMMANDS = (
    "init",
    "run",
    "generate",
    "status",
    "log",
    "retry",
    "reset",
    "cancel",
    "update",
    "batches",
    "report",
    "verify",
    "doctor",
    "template",
    "node",
    "serve",
    "sandbox",
    "demo",
)
"""Each is the module of that name in `orchestrator.commands`; in the order of their use."""


class OneLine(logging.Formatter):
    """A warning stays one line, whatever names and messages it repeats; in a log it has its time."""

    def __init__(self, *, is_log: bool) -> None:
        super().__init__(f"{'%(asctime)s ' if is_log else ''}burst: %(message)s", datefmt="%Y-%m-%d %H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        return one_line(super().formatMessage(record))


class BurstGroup(click.Group):
    """Turns every BurstError into one message and its exit code; loads a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = getattr(importlib.import_module(f"orchestrator.commands.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["as_json"] = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BurstError as error:
            _fail(error, as_json=ctx.meta["as_json"])
        except click.UsageError as error:
            if ctx.meta["as_json"]:
                _print_error("UsageError", error.format_message(), error.exit_code)
            raise
        except KeyboardInterrupt:
            # Before a run has handlers of its own, and in every other command; click would make it a 1.
            sys.exit(EXIT_SIGINT)


def _fail(error: BurstError, *, as_json: bool) -> NoReturn:
    if as_json:
        _print_error(type(error).__name__, str(error), error.exit_code)
    print_error(str(error))
    sys.exit(error.exit_code)


def _print_error(kind: str, message: str, exit_code: int) -> None:
    print_json({"schema": "burst.error/1", "error": {"kind": kind, "message": message}, "exit_code": exit_code})


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if not value:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        click.echo(f"burst {version('comfyui-burst')}")
    except PackageNotFoundError:
        click.echo("burst, from a checkout that is not installed")
    ctx.exit()


@click.group(cls=BurstGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def cli() -> None:
    """Work off large ComfyUI jobs in short, resumable bursts: nothing lost, nothing rendered twice."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine(is_log=not (sys.stderr and sys.stderr.isatty())))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


def main() -> None:
    """The `burst` command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    cli(prog_name="burst")


if __name__ == "__main__":
    main()
