"""Items on a loopback server of another host: looked up here first, because a container has a new name at each start.

A prompt that our server of the same address knows is ours; any other is that host's, as long as the host may be alive.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from orchestrator.comfyui.lookup import Absent, Fate, Finished, Queued, look_up
from orchestrator.cycle.context import WorkerContext
from orchestrator.cycle.recovery import Recovery
from orchestrator.formatting import counted, spoken_seconds
from orchestrator.servers import canonical_name, host_name, other_host
from orchestrator.wording import named
from state.burst_record import BurstRecord
from state.item import Item


def hosts_seen(records: Iterable[BurstRecord]) -> dict[str, datetime]:
    """When the latest burst of each host was last alive."""
    seen: dict[str, datetime] = {}
    for record in records:
        if record.host is not None:
            host = host_name(record.host)
            seen[host] = max(record.ended_at, seen.get(host, record.ended_at))
    return seen


class Strays:
    """The strays of one worker, resolved once, when it begins. `seen`: from `hosts_seen`."""

    def __init__(
        self, context: WorkerContext, recovery: Recovery, items: Sequence[Item], seen: Mapping[str, datetime]
    ) -> None:
        self._context = context
        self._recovery = recovery
        self._left = {item.key: item for item in items}
        self._seen = seen
        self._alone: Counter[str] = Counter()
        self._abandoned: Counter[str] = Counter()
        self._silent: dict[str, float] = {}
        """By server name: seconds since the last sign of life of its host."""

    def __contains__(self, key: str) -> bool:
        return key in self._left

    def __len__(self) -> int:
        return len(self._left)

    def resolve(self) -> Iterator[tuple[Item, Fate]]:
        """Decide about each; those that are ours, with their fates. Errors: as `look_up`; the others are left."""
        context = self._context
        fates = look_up(context.client, [item.prompt_id or "" for item in self._left.values()])
        for key, item in list(self._left.items()):
            if context.halt.is_set():
                return
            del self._left[key]
            fate = fates[item.prompt_id or ""]
            if isinstance(fate, Finished | Queued) and (ours := self._recovery.claim(item)) is not None:
                yield ours, fate
                continue
            if isinstance(fate, Absent) and not self._recovery.rescue_stray(item):
                self._absent(item)
            context.dispatch.let_go(key)
        self._report()

    def _absent(self, item: Item) -> None:
        """Due again once its host has been silent for long enough; until then that host may be rendering it."""
        name, options = canonical_name(item.server or ""), self._context.options
        silent = self._silent_seconds(item)
        self._silent[name] = min(silent, self._silent.get(name, math.inf))
        # However short that time: what the host sent last may still be in transit to this server.
        if silent < max(options.abandon_after_seconds, options.in_doubt_seconds):
            self._alone[name] += 1
        elif self._recovery.abandon(item):
            self._abandoned[name] += 1

    def _silent_seconds(self, item: Item) -> float:
        """Since the last sign of life of its host: one of its bursts, or the submission of this item."""
        signs = [item.submitted_at, self._seen.get(other_host(item.server or "") or "")]
        last = max((sign for sign in signs if sign is not None), default=None)
        return math.inf if last is None else (self._context.lease.now() - last).total_seconds()

    def _report(self) -> None:
        here, limit = self._context.server.name, self._context.options.abandon_after_seconds
        for name, count in self._alone.items():
            host = other_host(name)
            self._context.tally.note(
                f"{counted(count)} submitted to {name} stay there: {here} does not know them, and host {host} was last "
                f"seen {spoken_seconds(max(0.0, self._silent[name]))} ago. Run burst on {host}, or give them up with "
                f"{named('abandon_server', name)}; without a sign of life for {_spoken(limit)} (abandon_after_seconds "
                "in settings.toml) they are due again."
            )
        for name, count in self._abandoned.items():
            silent = self._silent[name]
            since = "" if math.isinf(silent) else f" for {spoken_seconds(silent)}"
            self._context.tally.note(
                f"{counted(count)} submitted to {name} due again: host {other_host(name)} has given no sign of life"
                f"{since}; what it rendered of them is rendered twice."
            )


def _spoken(seconds: float) -> str:
    return "ever" if seconds == math.inf else spoken_seconds(seconds)
