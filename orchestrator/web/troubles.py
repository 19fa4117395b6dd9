"""What is wrong with the servers of a state, for people: as the run at work sees it, else as the last one left it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.formatting import counted
from orchestrator.servers import same_server
from orchestrator.web.states import WatchedState
from state.live import Live, Trouble


@dataclass(frozen=True)
class ServerTrouble:
    """In one sentence, and whether it is about every server, so that nothing is rendered."""

    message: str
    stops_all: bool


def trouble_of(state: WatchedState, live: Live | None, *, completed: int) -> ServerTrouble | None:
    """`live`: of the run at work. `completed`: how many images are finished. Errors: SettingsError."""
    there, stops_all = _of_run(state, live) if live is not None else _of_last_run(state)
    if not there:
        return None
    sentences = _sentences(there, len(state.settings.servers), stops_all=stops_all, completed=completed)
    return ServerTrouble(" ".join(sentences), stops_all)


def _of_run(state: WatchedState, live: Live) -> tuple[Sequence[Trouble], bool]:
    """Also of a server that the settings do not name, as one of a recipe. Whether no server does anything."""
    if not live.troubles:
        return (), False
    found = [_named(server.name, live.troubles) for server in state.settings.servers]
    return live.troubles, all(trouble is not None and trouble.kind != "busy" for trouble in found)


def _of_last_run(state: WatchedState) -> tuple[Sequence[Trouble], bool]:
    last = state.bursts[-1] if state.bursts and state.parts.pause() is None else None
    if last is None:
        return (), False
    there = [Trouble(server=name, kind="away", since=last.ended_at, message="") for name in last.away]
    return there, bool(there)


def _sentences(there: Sequence[Trouble], servers: int, *, stops_all: bool, completed: int) -> Iterable[str]:
    away = [one.server for one in there if one.kind == "away"]
    busy = [one.server for one in there if one.kind == "busy"]
    if away:
        yield f"ComfyUI is not answering ({_hosts(away)})."
    if busy:
        yield f"ComfyUI is overloaded ({_hosts(busy)}); burst tries again."
    yield from (f"{one.message.rstrip('.')}." for one in there if one.kind == "stopped")
    if stops_all and away:
        it = "it" if len(away) == 1 else "them"
        are = "is" if completed == 1 else "are"
        safe = f"; your {counted(completed, 'finished image')} {are} safe" if completed else ""
        yield f"Waiting for {it}{safe}."
    elif len(there) < servers:
        yield "The other server goes on." if servers - len(there) == 1 else "The others go on."


def _named(name: str, troubles: Iterable[Trouble]) -> Trouble | None:
    return next((one for one in troubles if same_server(one.server, name)), None)


def _hosts(names: Sequence[str]) -> str:
    """Without what only says on which host a loopback address is."""
    return ", ".join(name.partition("@")[0].split("://")[-1].rstrip("/") for name in names)
