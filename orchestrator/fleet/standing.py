"""`burst fleet status`: which workers live, and what the engine has for each server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.fleet.due_servers import due_servers, queue_of
from orchestrator.fleet.engine import EngineJob, check_schema, fleet_location, living_workers, waiting_jobs
from orchestrator.fleet.jobs import Timing
from orchestrator.formatting import counted
from state.open_store import open_store
from state.server import RegisteredServer

if TYPE_CHECKING:
    from orchestrator.documents.fleet import FleetServerDocument, FleetStatusDocument


@dataclass(frozen=True)
class FleetStatus:
    """How a fleet stands."""

    state: str
    is_paused: bool
    workers: int
    remaining: int
    servers: Sequence[RegisteredServer]
    due: frozenset[str]
    jobs: Sequence[EngineJob]

    def as_json(self) -> FleetStatusDocument:
        return {
            "schema": "burst.fleet-status/1",
            "state": self.state,
            "paused": self.is_paused,
            "workers": self.workers,
            "remaining": self.remaining,
            "servers": [self._server(one) for one in self.servers],
        }

    def as_text(self) -> str:
        paused = ", paused" if self.is_paused else ""
        lines = [f"{self.state}: {counted(self.workers, 'worker')} alive, {counted(self.remaining, 'item')} remaining"]
        lines[0] += paused
        for server in self.servers:
            told = self._server(server)
            words = [f"burst {told['burst']}" if told["burst"] else "work is due" if told["due"] else "nothing to do"]
            words += ["draining"] if server.draining else []
            words += [f"on host {server.host}"] if server.host is not None else []
            lines.append(f"  {server.name} ({server.url}): {', '.join(words)}")
        if not self.servers:
            lines.append("No server is registered. Next: burst servers add NAME=URL")
        elif not self.workers:
            lines.append("No worker is alive. Next, on each host: burst worker")
        return "\n".join(lines)

    def _server(self, server: RegisteredServer) -> FleetServerDocument:
        # Of two jobs one runs or is stalled.
        found = sorted((job for job in self.jobs if job.queue == queue_of(server.name)), key=lambda job: job.is_waiting)
        job = found[0] if found else None
        return {
            "name": server.name,
            "url": server.url,
            "host": server.host,
            "draining": server.draining,
            "due": server.name in self.due,
            "burst": None if job is None else "queued" if job.is_waiting else "running" if job.is_alive else "stalled",
        }


def fleet_status(state: Path | str) -> FleetStatus:
    """Changes nothing; a role that may only read is enough. Errors: UsageError, StateError, StateAway."""
    location = fleet_location(state)
    check_schema(location)
    alive_seconds = Timing().stalled
    with open_store(location, read_only=True) as store:
        servers = list(store.servers().values())
        return FleetStatus(
            location.shown(),
            store.pause() is not None,
            living_workers(location, seconds=alive_seconds),
            store.counts().remaining,
            servers,
            frozenset(one.name for one in due_servers(store, servers)),
            waiting_jobs(location, seconds=alive_seconds),
        )
