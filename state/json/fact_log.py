"""facts.jsonl: facts about the state as a whole."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from state.disk import Disk, Stamp
from state.facts import Fact, Facts, ServerHealth, Spend, facts_of
from state.json.line_log import LineLog
from state.write_lock import WriteLock


class JsonFactLog:
    """See `state.facts.FactLog`. Each append is made under write.lock."""

    def __init__(self, folder: Path, *, disk: Disk | None = None) -> None:
        self._folder = folder
        self._disk = disk or Disk()
        self._log: LineLog[Any] = LineLog(folder / "facts.jsonl", Fact, disk=self._disk)  # type: ignore[arg-type]

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

    def spend(self, fact: Spend, *, most: int, since: datetime) -> bool:
        with WriteLock(self._folder, disk=self._disk):
            fits = self.read().spent(since=since) + fact.prompts <= most
            if fits:
                self._log.append(fact)
        return fits

    def read(self) -> Facts:
        return facts_of(self._log.read())
