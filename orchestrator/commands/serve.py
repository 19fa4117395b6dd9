"""`burst serve`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.commands.common import StateAddress, json_option, listen_options, overrides, print_json, tool_options
from orchestrator.commands.help import Command
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.documents.others import ServeDocument


@click.command(cls=Command, short_help="Run batches from a browser.")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=StateAddress(),
    envvar="BURST_STATE",
    help="State, as for `run`; new batches go to the first. Repeatable (default: re_render_state.json or BURST_STATE).",
)
@tool_options
@listen_options(port=8189)
@click.option(
    "--allow-host", "allowed", multiple=True, metavar="NAME", help="Host name that requests may use. Repeatable."
)
@click.option("--token-env", metavar="VARIABLE", help="Environment variable with the token that clients must send.")
@click.option(
    "--api-keys",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="File of API keys, one `NAME KEY` per line; mode 600.",
)
@click.option(
    "--allow-notify",
    metavar="ORIGIN",
    multiple=True,
    help="Allow API calls to name webhooks of this origin. Repeatable.",
)
@click.option(
    "--notify-secret", metavar="VARIABLE", help="Environment variable with the key that signs these webhook calls."
)
@json_option
def serve(
    states: tuple[Path, ...],
    host: str,
    port: int,
    allowed: tuple[str, ...],
    token_env: str | None,
    api_keys: Path | None,
    allow_notify: tuple[str, ...],
    notify_secret: str | None,
    as_json: bool,
    **tools: Any,
) -> None:
    """Run batches from a browser: queue one, watch it arrive, compare, download; and all states at a glance.

    Over the same state files as the other commands: what is begun here is finished by cron, and the other way round.
    Runs bursts while work is due. Listens until SIGTERM or Ctrl-C. Bound elsewhere than to this machine, it asks for
    the token in the address that it prints.
    """
    from orchestrator.settings import DEFAULT_STATE
    from orchestrator.web.server import Serving
    from orchestrator.web.server import serve as listen
    from orchestrator.web.webhooks import Webhooks

    token = None
    if token_env is not None and not (token := os.environ.get(token_env)):
        raise UsageError(f"--token-env {token_env}: this environment variable is not set")

    def announce(url: str) -> None:
        if as_json:
            document: ServeDocument = {"schema": "burst.serve/1", "url": url}
            print_json(document)
        else:
            click.echo(f"Open {url}\nCtrl-C ends it; what is queued stays, and the next run renders it.")
        sys.stdout.flush()

    said = overrides(**tools)
    if notify_secret is not None and not allow_notify:
        raise UsageError("--notify-secret: give --allow-notify too, the webhooks that may be called")
    webhooks = Webhooks.of(allow_notify, secret_env=notify_secret)
    serving = Serving(states or (Path(DEFAULT_STATE),), host, port, allowed, token, api_keys, webhooks, said)
    listen(serving, announce=announce)
