"""The registered servers of a state: who runs on each, what it has, and how it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from orchestrator.formatting import counted, in_lines, spoken_seconds
from orchestrator.log_lines import local_time
from orchestrator.registered_servers import wherever
from orchestrator.servers import find_server, same_server
from orchestrator.stranded import away_since
from state.burst_record import BurstRecord, recent_records
from state.facts import ServerHealth
from state.holder import Holder
from state.item import Item, Status
from state.live import Live
from state.open_store import open_store
from state.server import RegisteredServer
from state.store import Store

if TYPE_CHECKING:
    from orchestrator.documents.servers import RegisteredServerDocument, ServerRunDocument, ServersDocument

Action = Literal["list", "add", "remove", "drain", "enable", "abandon"]
Health = Literal["well", "sick", "stalled", "away", "unknown"]


@dataclass(frozen=True)
class Condition:
    """How a server was last found; `since` and `reason` where that is known."""

    health: Health = "unknown"
    since: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True)
class ListedServer:
    """One registered server."""

    server: RegisteredServer
    condition: Condition
    runs: tuple[Holder, ...] = ()
    """Those at work that use it."""
    submitted: int = 0
    """Items that are submitted to it."""
    submitted_since: datetime | None = None
    """When the oldest of them was."""
    last_completed_at: datetime | None = None
    """When the last burst ended in which it completed something."""

    def as_json(self) -> RegisteredServerDocument:
        """As `burst servers list --json` prints it."""
        one = self.server
        return {
            "name": one.name,
            "address": one.url,
            "host": one.host,
            "labels": list(one.labels),
            "window": one.window,
            "abandon_after_seconds": one.abandon_after_seconds,
            "draining": one.draining,
            "runs": [_run_document(holder) for holder in self.runs],
            "submitted": self.submitted,
            "submitted_since": _iso(self.submitted_since),
            "health": self.condition.health,
            "health_since": _iso(self.condition.since),
            "health_reason": self.condition.reason,
            "last_completed_at": _iso(self.last_completed_at),
        }

    def lines(self) -> list[str]:
        """For a person."""
        one = self.server
        said = ["draining" if one.draining else "enabled"]
        said += [f"on host {one.host}"] if one.host is not None else []
        said += [f"labels {', '.join(one.labels)}"] if one.labels else []
        said += [f"window {one.window}"] if one.window is not None else []
        after = one.abandon_after_seconds
        said += [f"abandoned after {spoken_seconds(after)}"] if after is not None else []
        lines = [f"{one.name}  {one.url}: {'; '.join(said)}"]
        if self.submitted:
            since = f" since {local_time(self.submitted_since)}" if self.submitted_since is not None else ""
            lines.append(f"  {counted(self.submitted)} submitted{since}")
        lines += [f"  used by {holder.describe()}" for holder in self.runs]
        found = self.condition
        if found.health not in ("well", "unknown"):
            since = f" since {local_time(found.since)}" if found.since is not None else ""
            lines.append(f"  {found.health}{since}{f': {found.reason}' if found.reason else ''}")
        if self.last_completed_at is not None:
            lines.append(f"  last completed: {local_time(self.last_completed_at)}")
        return lines


@dataclass(frozen=True)
class ServerList:
    """What `burst servers` did, and the registered servers after it."""

    action: Action
    servers: tuple[ListedServer, ...]
    notes: tuple[str, ...] = ()
    given_up: int = 0
    """How many items were given up, are due again, and are possibly rendered twice."""

    def as_json(self) -> ServersDocument:
        """As the command prints it with `--json`."""
        return {
            "schema": "burst.servers/1",
            "action": self.action,
            "servers": [one.as_json() for one in self.servers],
            "possibly_twice": self.given_up,
            "notes": list(self.notes),
        }

    def as_text(self) -> str:
        """For a person: what was done, or the list."""
        if self.action != "list":
            return in_lines(self.notes)
        if not self.servers:
            return "No server is registered; `burst servers add NAME=URL` registers one"
        return in_lines(line for one in self.servers for line in one.lines())


def list_servers(state: Path) -> ServerList:
    """Reads alone. Errors: StateError."""
    with open_store(state, read_only=True) as store:
        return list_of(store, action="list")


def list_of(store: Store, *, action: Action, lines: Iterable[str] = (), given_up: int = 0) -> ServerList:
    """`lines`: what was done."""
    registered = list(store.servers().values())
    records = recent_records(store.bursts) if registered else []
    out = _out_on(store, registered) if registered else {}
    holders, live, health = store.holders(), store.live(), store.facts.read().health
    listed = [
        ListedServer(
            one,
            _condition(one, live, health.values(), records),
            runs=tuple(holder for holder in holders if any(same_server(name, one.name) for name in holder.servers)),
            submitted=len(out.get(one.name, ())),
            submitted_since=min(
                (item.submitted_at for item in out.get(one.name, ()) if item.submitted_at is not None), default=None
            ),
            last_completed_at=max(
                (record.ended_at for record in records if record.completed and _names(record.servers, one)),
                default=None,
            ),
        )
        for one in registered
    ]
    return ServerList(action, tuple(listed), tuple(lines), given_up)


def submitted_to(store: Store, registered: Iterable[RegisteredServer]) -> Counter[str]:
    """By name: how many items are submitted to each of these."""
    return Counter({name: len(items) for name, items in _out_on(store, registered).items()})


def _out_on(store: Store, registered: Iterable[RegisteredServer]) -> Mapping[str, Sequence[Item]]:
    servers = [wherever(one) for one in registered]
    known: dict[str, str | None] = {}
    found: dict[str, list[Item]] = {}
    for item in store.items(Status.SUBMITTED):
        if item.server is None:
            continue
        if item.server not in known:
            server = find_server(item.server, servers)
            known[item.server] = server.name if server is not None else None
        if (name := known[item.server]) is not None:
            found.setdefault(name, []).append(item)
    return found


def _condition(
    one: RegisteredServer, live: Live | None, health: Iterable[ServerHealth], records: Sequence[BurstRecord]
) -> Condition:
    """What the run at work sees of it; else whether the last burst that used it ended because it did not answer; else
    how it was last found."""
    for trouble in live.troubles if live is not None else ():
        if trouble.kind == "away" and same_server(trouble.server, one.name):
            return Condition("away", trouble.since, trouble.message)
    if (since := away_since(one.name, records)) is not None:
        return Condition("away", since, next(record.reason for record in reversed(records) if _names(record.away, one)))
    for fact in health:
        if same_server(fact.server, one.name) and fact.health in ("well", "sick", "stalled"):
            return Condition(fact.health, fact.at, fact.reason)  # type: ignore[arg-type]
    return Condition()


def _names(names: Iterable[str], one: RegisteredServer) -> bool:
    return any(same_server(name, one.name) for name in names)


def _run_document(holder: Holder) -> ServerRunDocument:
    return {
        "burst": holder.burst,
        "host": holder.host,
        "pid": holder.pid,
        "started_at": (holder.run_started_at or holder.started_at).isoformat(),
    }


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None
