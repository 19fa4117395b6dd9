"""Items submitted to servers that no run looks after and that nobody has seen lately: where, how many, since when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from orchestrator.abandonment import uses
from orchestrator.formatting import counted
from orchestrator.log_lines import local_time
from orchestrator.registered_servers import is_reached_here, wherever
from orchestrator.servers import canonical_name, find_server, other_host, same_server
from state.burst_record import BurstRecord
from state.holder import Holder
from state.item import Item
from state.server import RegisteredServer

if TYPE_CHECKING:
    from orchestrator.documents.states import StrandedDocument


@dataclass(frozen=True)
class Stranded:
    """What waits on one server."""

    server: str
    items: int
    since: datetime | None
    """When the last of them was submitted."""
    away_since: datetime | None = None
    """Since when it does not answer; None: it is another host's own, and nobody here can ask it."""
    host: str | None = None
    """The host that it is on, where that alone reaches it."""

    def as_json(self) -> StrandedDocument:
        """As `burst status --json` prints it."""
        return {
            "server": self.server,
            "items": self.items,
            "since": self.since.isoformat() if self.since is not None else None,
            "away_since": self.away_since.isoformat() if self.away_since is not None else None,
            "host": self.host,
        }

    def as_text(self) -> str:
        """One line for a person."""
        since = f", the last at {local_time(self.since)}" if self.since is not None else ""
        what = f"{counted(self.items)} submitted to {self.server}{since}"
        if self.away_since is not None:
            return (
                f"{what}: it does not answer since {local_time(self.away_since)}; they wait until it is back, or until "
                f"`burst servers abandon {self.server}`"
            )
        return (
            f"{what}: what is not found here waits for that host, {self.host}, or until "
            f"`burst servers abandon {self.server}`"
        )


def stranded(
    submitted: Iterable[Item],
    registered: Sequence[RegisteredServer],
    records: Sequence[BurstRecord],
    holders: Sequence[Holder],
) -> tuple[Stranded, ...]:
    """By server, in the order of the items. `records`: of bursts, oldest first; `holders`: the runs at work."""
    known, by_name = [wherever(one) for one in registered], defaultdict(list)
    for item in submitted:
        if item.server is not None:
            server = find_server(item.server, known) if known else None
            by_name[canonical_name(server.name if server is not None else item.server)].append(item)
    found = (_on(name, items, registered, records, holders) for name, items in by_name.items())
    return tuple(one for one in found if one is not None)


def away_since(name: str, records: Sequence[BurstRecord]) -> datetime | None:
    """Since when the bursts that used a server ended because it did not answer; None where the last one did not."""
    since = None
    for record in reversed(records):
        if any(same_server(one, name) for one in record.away):
            since = record.ended_at
        elif any(same_server(one, name) for one in record.servers):
            break
    return since


def _on(
    name: str,
    items: Sequence[Item],
    registered: Sequence[RegisteredServer],
    records: Sequence[BurstRecord],
    holders: Sequence[Holder],
) -> Stranded | None:
    away = away_since(name, records)
    elsewhere = next((one.host for one in registered if one.name == name and not is_reached_here(one)), None)
    host = elsewhere or other_host(name)
    if away is None and (host is None or any(uses(holder, name) for holder in holders)):
        return None
    since = max((item.submitted_at for item in items if item.submitted_at is not None), default=None)
    return Stranded(name, len(items), since, away, host)
