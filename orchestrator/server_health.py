"""Servers that runs found sick or stalled, for those who look on."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.log_lines import local_time
from state.facts import ServerHealth
from state.store import Store


def sick_servers(store: Store) -> Iterator[ServerHealth]:
    """Those that have completed nothing since they were found so."""
    return (health for health in store.facts.read().health.values() if health.health in ("sick", "stalled"))


def text_of_health(health: ServerHealth) -> str:
    """One line for a person: which server, since when, and why."""
    return (
        f"Server {health.server}: {health.health} since {local_time(health.at)}: {health.reason or 'no reason given'}"
    )
