"""`burst serve`: the front end listens until a signal ends it."""

from __future__ import annotations

import contextlib
import secrets
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from urllib.parse import quote

import uvicorn

from orchestrator.accepting import stop_accepting
from orchestrator.burst_arguments import arguments_of, environment_of
from orchestrator.errors import UsageError, located
from orchestrator.settings import Overrides, load_settings
from orchestrator.web.api_keys import ApiKeys
from orchestrator.web.app import create_app
from orchestrator.web.event_stream import EventStream
from orchestrator.web.security import LOOPBACK
from orchestrator.web.states import WatchedStates
from orchestrator.web.supervisor import Supervisor
from orchestrator.web.webhooks import Webhooks
from orchestrator.wording import named
from state.operating_system import HANG_UP

_END_SECONDS = 2


@dataclass(frozen=True)
class Serving:
    """Where and what to serve.

    `token`: asked of every call; off loopback one is made up where none is given. `api_keys`: a file of them.
    """

    states: Sequence[Path]
    host: str = "127.0.0.1"
    port: int = 8189
    allowed_hosts: Sequence[str] = ()
    token: str | None = None
    api_keys: Path | None = None
    webhooks: Webhooks = field(default_factory=Webhooks)
    overrides: Overrides = field(default_factory=Overrides)

    @property
    def is_local(self) -> bool:
        return self.host in ("127.0.0.1", "localhost", "::1")

    @property
    def is_open(self) -> bool:
        """Whether it listens at every address of this machine."""
        return self.host in ("0.0.0.0", "::")


def serve(serving: Serving, *, announce: Callable[[str], None]) -> None:
    """Listen until SIGTERM, SIGINT or SIGHUP; `announce` is called with the address to open, once it answers.

    Errors: UsageError where it cannot listen there; SettingsError for a server that is not one, and a file of keys that
    cannot be used.
    """
    if serving.overrides.servers:
        load_settings(serving.states[0], serving.overrides)
    keys = ApiKeys(serving.api_keys) if serving.api_keys is not None else None
    listening = listening_socket(serving.host, serving.port)
    port = listening.getsockname()[1]
    token = serving.token or (None if serving.is_local else secrets.token_urlsafe(24))
    watched = WatchedStates(serving.states, serving.overrides)
    supervisor = Supervisor(
        watched, arguments=arguments_of(serving.overrides), environment=environment_of(serving.overrides)
    )
    app = create_app(
        watched,
        supervisor,
        hosts=host_names(serving),
        any_address=serving.is_open,
        token=token,
        keys=keys,
        webhooks=serving.webhooks,
    )
    config = uvicorn.Config(
        app, log_level="warning", lifespan="on", server_header=False, timeout_graceful_shutdown=_END_SECONDS
    )
    server = WebServer(config, lambda: announce(address_of(serving, port, token)), app.state.events)
    with listening, _hang_up_as_end(server):
        server.run(sockets=[listening])
    if server.ended_by == HANG_UP is not None:
        signal.raise_signal(HANG_UP)
    # asyncio may have taken it for itself on the way out.
    if server.ended_by == signal.SIGINT:
        raise KeyboardInterrupt


@contextlib.contextmanager
def _hang_up_as_end(server: WebServer) -> Iterator[None]:
    """Not under nohup, nor where there is no such signal."""
    if HANG_UP is None or signal.getsignal(HANG_UP) != signal.SIG_DFL:
        yield
        return
    signal.signal(HANG_UP, server.handle_exit)
    yield
    signal.signal(HANG_UP, signal.SIG_DFL)


class WebServer(uvicorn.Server):
    """Says when it answers. It ends on the first signal, and once more raises it for whoever waits for this process."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None], events: EventStream) -> None:
        super().__init__(config)
        self._announce = announce
        self._events = events
        self.ended_by: int | None = None
        """The signal."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.ended_by = sig
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Every other connection ends by itself, and would be waited for as these.
        self._events.close()
        await stop_accepting(one for server in self.servers for one in server.sockets)
        await super().shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._announce()


def listening_socket(host: str, port: int) -> socket.socket:
    """Bound there; port 0: to any free one. Errors: UsageError."""
    advice = f"try {named('port', 0)}" if port else f"choose an address of this machine with {named('host')}"
    with located(f"cannot listen on {host}:{port}", OSError, into=UsageError, advice=advice):
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        with contextlib.ExitStack() as closed:
            closed.enter_context(listening)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            closed.pop_all()
        return listening


def host_names(serving: Serving) -> set[str]:
    """The names that requests may call this server by."""
    own = {*LOOPBACK, *serving.allowed_hosts}
    if not serving.is_open:
        own.add(f"[{serving.host}]" if ":" in serving.host else serving.host)
        return own
    name = socket.gethostname()
    return {*own, name, f"{name.partition('.')[0]}.local"}


def _lan_address() -> str | None:
    """The address that other machines reach this one by; None without a network. Nothing is sent to find it."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect(("192.0.2.1", 9))
        return str(asking.getsockname()[0])
    return None


def address_of(serving: Serving, port: int, token: str | None) -> str:
    """What a person opens."""
    name = (_lan_address() or socket.gethostname()) if serving.is_open else serving.host
    shown = f"[{name}]" if ":" in name else name
    return f"http://{shown}:{port}/" + (f"?token={quote(token, safe='')}" if token else "")
