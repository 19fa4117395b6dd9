"""The command line: which command is where, and what becomes of errors."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
from typing import Any, NoReturn

import click

from orchestrator.commands import terminal
from orchestrator.commands.common import print_error, print_json_error
from orchestrator.commands.flag_names import as_flag
from orchestrator.commands.help import Group
from orchestrator.errors import EXIT_SIGINT, BurstError, Crashed
from orchestrator.formatting import one_line
from orchestrator.wording import process_speaks

_HEADINGS = {
    "Every day": ("init", "run", "generate", "status", "log", "retry", "cancel", "pause", "resume", "update"),
    "Change items": ("priority", "edit", "forget", "star", "tag", "trash"),
    "Batches and history": ("stage", "sync", "batches", "report", "query", "export", "history", "notify", "watch"),
    "Servers, workflows and the browser": ("servers", "doctor", "template", "adopt", "serve", "node"),
    "Unattended": ("schedule", "metrics"),
    "Many hosts": ("fleet", "worker"),
    "Agents and scripts": ("mcp", "skill", "commands", "schema"),
    "Repair": ("verify", "reset", "state"),
    "Try it": ("demo", "sandbox"),
}
_COMMANDS = tuple(name for names in _HEADINGS.values() for name in names)
"""Each is the module of that name in `orchestrator.commands`."""

_EXAMPLES = """\b
Examples:
  burst init prompts --template workflow_api.json --server 127.0.0.1
  burst run --until-done
  burst generate --prompt "a lighthouse" --count 4 --template txt2img-sd15
"""


class OneLine(logging.Formatter):
    """A warning stays one line, whatever names and messages it repeats; in a log it has its time."""

    def __init__(self, *, is_log: bool) -> None:
        super().__init__(f"{'%(asctime)s ' if is_log else ''}burst: %(message)s", datefmt="%Y-%m-%d %H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        return one_line(super().formatMessage(record))


class BurstGroup(Group):
    """Turns every error into one message and its exit code; loads a command when it is called."""

    headings = _HEADINGS

    def main(self, *args: Any, **extra: Any) -> Any:
        with process_speaks(as_flag):
            return super().main(*args, **extra)

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
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            _print_usage_error(ctx, error)
            raise

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            _print_usage_error(ctx, error)
            raise
        except (click.ClickException, click.exceptions.Exit):
            raise
        except (KeyboardInterrupt, click.Abort):
            # Before a run has handlers of its own, in every other command, and at a question; click would make it a 1.
            if ctx.meta["as_json"]:
                print_json_error("Interrupted", "interrupted", EXIT_SIGINT)
            sys.exit(EXIT_SIGINT)
        except Exception as error:  # noqa: BLE001 — said in one message, whatever it is
            from orchestrator.crashes import as_burst_error

            _fail(as_burst_error(error), as_json=ctx.meta["as_json"])


def _fail(error: BurstError, *, as_json: bool) -> NoReturn:
    if as_json:
        print_json_error(type(error).__name__, str(error), error.exit_code)
    if isinstance(error, Crashed) and os.environ.get("BURST_TRACEBACK"):
        click.echo(error.traceback, err=True, nl=False)
    print_error(str(error))
    sys.exit(error.exit_code)


def _print_usage_error(ctx: click.Context, error: click.UsageError) -> None:
    if ctx.meta["as_json"]:
        print_json_error("UsageError", error.format_message(), error.exit_code)


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if not value:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        click.echo(f"burst {version('comfyui-burst')}")
    except PackageNotFoundError:
        click.echo("burst, from a checkout that is not installed")
    ctx.exit()


@click.group(cls=BurstGroup, context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EXAMPLES)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def cli() -> None:
    """Render large ComfyUI jobs in short, resumable bursts: nothing lost, nothing rendered twice."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine(is_log=not (sys.stderr and sys.stderr.isatty())))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


def _thread_ended(ended: threading.ExceptHookArgs) -> None:
    """A thread ended by an exception that it should have handled: one message, and the rest goes on."""
    if isinstance(ended.exc_value, Exception):
        from orchestrator.crashes import as_burst_error

        logging.getLogger("burst").error("%s", as_burst_error(ended.exc_value))


def main() -> None:
    """The `burst` command."""
    terminal.guard()
    threading.excepthook = _thread_ended
    cli(prog_name="burst")


if __name__ == "__main__":
    main()
