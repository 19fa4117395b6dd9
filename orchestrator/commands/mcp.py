"""`burst mcp`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.commands.common import (
    Between,
    NamedPath,
    json_option,
    listen_options,
    overrides,
    print_json,
    state_option,
    tool_options,
)
from orchestrator.commands.help import Command
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.documents.others import McpDocument


@click.command(cls=Command, short_help="Serve this state to an agent, over the Model Context Protocol.")
@click.option("--http", is_flag=True, help="Serve HTTP, with a token, instead of standard input and output.")
@listen_options(port=8190)
@click.option(
    "--allow-host", "allowed", multiple=True, metavar="NAME", help="Host name that requests may use. Repeatable."
)
@click.option("--token-env", metavar="VARIABLE", help="Environment variable with the token that clients must send.")
@click.option(
    "--root",
    "roots",
    multiple=True,
    type=NamedPath(),
    metavar="DIR",
    help="Directory whose files the agent may name (default: that of the state file). Repeatable.",
)
@click.option(
    "--call-seconds",
    type=float,
    default=45.0,
    show_default=True,
    callback=Between(5, 600, " seconds"),
    help="Time limit of one call.",
)
@state_option
@tool_options
@json_option
def mcp(
    state: Path,
    http: bool,
    host: str,
    port: int,
    allowed: tuple[str, ...],
    token_env: str | None,
    roots: tuple[Path, ...],
    call_seconds: float,
    as_json: bool,
    **tools: Any,
) -> None:
    """Serve this state to an agent: add work, run bursts, look at images, report (docs/agents.md).

    Every call is bounded in time and output, and safe to repeat. A burst is a process of its own, which stops when this
    one ends, however it does; the next one goes on.
    """
    from orchestrator.mcp_server.extra import check_extra

    token = None
    if token_env is not None and not (token := os.environ.get(token_env)):
        raise UsageError(f"--token-env {token_env}: this environment variable is not set")
    check_extra()
    from orchestrator.mcp_server.server import Listening, serve_http, serve_stdio
    from orchestrator.mcp_server.tools import Served
    from state.location import DatabaseAddress

    allowed_roots = roots or (() if isinstance(state, DatabaseAddress) else (state.resolve().parent,))
    served = Served(state, overrides(**tools), allowed_roots, call_seconds)
    if not http:
        serve_stdio(served)
        return

    def announce(url: str, token: str) -> None:
        if as_json:
            document: McpDocument = {"schema": "burst.mcp/1", "url": url, "token": token}
            print_json(document)
        else:
            click.echo(f"MCP: {url}\nSend the header: Authorization: Bearer {token}\nCtrl-C ends it.")
        sys.stdout.flush()

    serve_http(served, Listening(host, port, allowed, token), announce=announce)
