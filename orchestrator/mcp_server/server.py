"""The MCP server: which tools and resources there are, and where it listens."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from mcp_types import ToolAnnotations

from orchestrator.batches.batch_status import list_batches, read_batch
from orchestrator.mcp_server.responses import bounded, text_of
from orchestrator.mcp_server.tools import Served, Tools
from orchestrator.status import read_status

if TYPE_CHECKING:
    from starlette.types import ASGIApp

PATH = "/mcp"
_INSTRUCTIONS = """\
Burst works off ComfyUI jobs in short runs over a durable state: killed at any time, nothing is lost or rendered twice.
1. status: continue what is there. 2. doctor, if anything is wrong. 3. Add work (add_prompts, add_table, add_images).
4. run_burst, again and again, until `remaining` is 0; report completed, remaining and total after each. 5. look at some
images; list_items status=failed, then retry. An error has `kind`, `message` (what to do) and `exit_code`: 75 means try
again later, 2 that something must be changed first, 1 that some items failed. Every call ends within {seconds:g} s.
"""


@dataclass(frozen=True)
class Listening:
    """Where to listen for HTTP. `token`: asked of every call; one is made up where none is given."""

    host: str = "127.0.0.1"
    port: int = 8190
    allowed_hosts: tuple[str, ...] = ()
    token: str | None = None


def build(served: Served) -> tuple[MCPServer[Any], Tools]:
    """Errors: UsageError for a root that is no directory."""
    tools = Tools(served)

    @contextlib.asynccontextmanager
    async def running(_server: MCPServer[Any]) -> AsyncIterator[None]:
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(tools.bursts.stop)

    server: MCPServer[Any] = MCPServer(
        "burst", instructions=_INSTRUCTIONS.format(seconds=served.call_seconds), lifespan=running, log_level="WARNING"
    )
    _add_tools(server, tools, served)
    _add_resources(server, served)
    return server, tools


def _add_tools(server: MCPServer[Any], tools: Tools, served: Served) -> None:
    kinds = (
        (_hints(reads=True), (tools.status, tools.wait, tools.list_items, tools.list_batches, tools.look)),
        (_hints(reads=True), (tools.list_workflows,)),
        (_hints(reads=True, reaches_servers=True), (tools.doctor,)),
        (_hints(), (tools.add_prompts, tools.add_table, tools.add_images, tools.retry, tools.report)),
        (_hints(reaches_servers=True), (tools.run_burst,)),
        (_hints(reaches_servers=True, destroys=True), (tools.cancel,)),
    )
    for hints, calls in kinds:
        for call in calls:
            server.add_tool(
                bounded(call, seconds=served.call_seconds),
                name=call.__name__,
                description=" ".join((call.__doc__ or "").split()),
                annotations=hints,
                structured_output=False,
            )


def _hints(*, reads: bool = False, destroys: bool = False, reaches_servers: bool = False) -> ToolAnnotations:
    """All tools may be called twice."""
    return ToolAnnotations(
        read_only_hint=reads, destructive_hint=destroys, idempotent_hint=True, open_world_hint=reaches_servers
    )


def _add_resources(server: MCPServer[Any], served: Served) -> None:
    @server.resource("burst://state", mime_type="application/json")
    def state() -> str:
        """What is done and what remains: `burst.status/2`."""
        return text_of(read_status(served.state).as_json())

    @server.resource("burst://batches", mime_type="application/json")
    def batches() -> str:
        """The newest batches: `burst.batches/2`."""
        return text_of(list_batches(served.state).as_json())

    @server.resource("burst://batches/{batch}", mime_type="application/json")
    def one_batch(batch: str) -> str:
        """How a batch stands: `burst.batch/2`."""
        return text_of(read_batch(served.state, batch).as_json())


def serve_stdio(served: Served) -> None:
    """Until standard input ends. Errors: UsageError."""
    server, _ = build(served)
    server.run("stdio")


def serve_http(served: Served, listening: Listening, *, announce: Callable[[str, str], None]) -> None:
    """Until a signal. `announce` is called with the address and the token, once it is bound. Errors: UsageError."""
    import uvicorn

    from orchestrator.web.server import listening_socket

    token = listening.token or secrets.token_urlsafe(24)
    config = uvicorn.Config(
        application(served, listening, token=token), log_level="warning", lifespan="on", server_header=False
    )
    with listening_socket(listening.host, listening.port) as bound:
        name = f"[{listening.host}]" if ":" in listening.host else listening.host
        announce(f"http://{name}:{bound.getsockname()[1]}{PATH}", token)
        uvicorn.Server(config).run(sockets=[bound])


def application(served: Served, listening: Listening, *, token: str) -> ASGIApp:
    """The guard of `burst serve` around it checks Host, Origin and the token. Errors: UsageError."""
    from orchestrator.web.security import Guard
    from orchestrator.web.server import Serving, host_names

    serving = Serving((served.state,), listening.host, listening.port, listening.allowed_hosts)
    server, _ = build(served)
    inner = server.streamable_http_app(
        streamable_http_path=PATH,
        json_response=True,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    return Guard(inner, hosts=host_names(serving), token=token, any_address=serving.is_open)
