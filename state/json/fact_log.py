"""facts.jsonl: facts about the state as a whole."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from orchestrator.errors import DiskFull
from state.disk import Disk, Stamp, SyncFailed
from state.facts import LONG_AGO, OLD_SPENDS_KEPT, Fact, Facts, ServerHealth, Spend, facts_of
from state.json.line_log import LineFollower, LineLog
from state.server import RegisteredServer
from state.write_lock import WriteLock


class JsonFactLog:
    """See `state.facts.FactLog`. Each append is made under write.lock. Any thread may use it."""

    def __init__(self, folder: Path, *, disk: Disk | None = None) -> None:
        self._folder = folder
        self._disk = disk or Disk()
        self._log: LineLog[Any] = LineLog(folder / "facts.jsonl", Fact, disk=self._disk)  # type: ignore[arg-type]
        self._guard = threading.Lock()
        """Of the two below."""
        self._lines: LineFollower[Any] = LineFollower(self._log)
        self._known = Facts()

    @property
    def path(self) -> Path:
        return self._log.path

    def stamp(self) -> Stamp | None:
        return self._log.stamp()

    def append(self, *facts: Fact) -> None:
        with WriteLock(self._folder, disk=self._disk):  # a new one each time: several threads may append
            self._log.append(*facts)

    def change_health(self, server: str, edit: Callable[[ServerHealth], ServerHealth], *, at: datetime) -> ServerHealth:
        with WriteLock(self._folder, disk=self._disk):
            known = self.read().health.get(server) or ServerHealth(server=server, health="well", at=at)
            changed = edit(known)
            if changed is not known:
                self._log.append(changed)
        return changed

    def change_servers(
        self, edit: Callable[[Mapping[str, RegisteredServer]], Iterable[RegisteredServer]]
    ) -> tuple[RegisteredServer, ...]:
        with WriteLock(self._folder, disk=self._disk):
            changed = tuple(edit(self.read().servers))
            if changed:
                self._log.append(*changed)
        return changed

    def spend(self, fact: Spend, *, most: int, since: datetime) -> bool:
        with WriteLock(self._folder, disk=self._disk):
            known = self.read()
            fits = known.spent(since=since) + fact.prompts <= most
            if fits:
                self._log.append(fact)
                if known.spends_until(since - LONG_AGO) >= OLD_SPENDS_KEPT:
                    self._drop_spends(until=since - LONG_AGO)
        return fits

    def read(self) -> Facts:
        with self._guard:
            news = self._lines.read_on()
            before = Facts() if news.is_from_the_beginning else self._known
            self._known = facts_of(news.records, before=before)
            return facts_of(news.unfinished, before=self._known)

    def _drop_spends(self, *, until: datetime) -> None:
        """Write the file without these; whoever reads on then finds another file. Hold write.lock."""
        lines = self._disk.read(self.path).splitlines(keepends=True)
        kept = [line for line in lines if not any(map(_is_spend_until(until), self._log.decoded([line])))]
        try:
            self._disk.write_whole(self.path, b"".join(kept))
        except SyncFailed:
            raise
        except DiskFull:
            pass  # Nothing was changed, and the next one tries again.


def _is_spend_until(until: datetime) -> Callable[[Fact], bool]:
    return lambda fact: isinstance(fact, Spend) and fact.at <= until
