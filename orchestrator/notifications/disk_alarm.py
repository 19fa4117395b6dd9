"""`disk.full` if the state itself lies on the full disk: it is sent although the state can record nothing.

This host remembers it in a folder of its own instead, until the state can be written to again. Where that folder is on
the same disk, each run tells it again, on one day with the same id.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from orchestrator.clock import Clock
from orchestrator.errors import BurstError
from orchestrator.host_config import host_state_file
from orchestrator.notifications.delivery import deliver
from orchestrator.notifications.letters import Letter
from orchestrator.notifications.occurrences import DISK, Told, disk_occurrence
from orchestrator.notifications.post import is_meant, letter_of
from orchestrator.notifications.shown_address import shown_address
from state.disk import Disk
from state.store import StateParts


class DiskAlarm:
    """Of one state, on this host. Used by one thread."""

    def __init__(self, state: StateParts, *, clock: Clock) -> None:
        self._state = state
        self._clock = clock
        self._path = host_state_file("disk-full", state.location, ".json")

    def sound(self, reason: str, *, note: Callable[[str], None]) -> None:
        """Tell it to those who asked for it and were not reached yet. Takes 15 s at most; raises nothing."""
        try:
            self._sound(reason, note)
        except (BurstError, OSError) as error:
            note(f"others could not be told that the disk is full: {error}")

    def told(self) -> Told | None:
        """What is remembered."""
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            return msgspec.json.decode(self._path.read_bytes(), type=Told)
        return None

    def over(self) -> None:
        """The state can be written to again, and records a full disk itself; the next one is reported as new."""
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _sound(self, reason: str, note: Callable[[str], None]) -> None:
        if not self._state.has_notices():
            return
        notices, now = self._state.notices.read(), self._clock.now()
        if DISK in notices.lasting:
            return  # noted before, and so told
        told = self.told() or Told(event=self._event(now), at=now)
        occurrence = disk_occurrence(reason, at=told.at, event=told.event)
        shown = self._state.location.shown()
        letters = [
            letter_of(occurrence, receiver, state=shown)
            for receiver in notices.receivers.values()
            if is_meant(occurrence, receiver) and receiver.id not in told.receivers
        ]
        if reached := self._reached(letters, now, note):
            self._remember(msgspec.structs.replace(told, receivers=(*told.receivers, *reached)))

    def _event(self, now: datetime) -> str:
        """The same one wherever the same state is full on the same day."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self._state.location.shown()} {DISK} {now:%Y-%m-%d}"))

    @staticmethod
    def _reached(letters: Sequence[Letter], at: datetime, note: Callable[[str], None]) -> list[str]:
        """The ids of those who have it. All are told at once: nobody waits for another one."""
        problems: dict[str, str | None] = {}

        def tell(letter: Letter) -> None:
            problems[letter.receiver] = deliver(letter, at=at)

        threads = [threading.Thread(target=tell, args=(one,), name="disk-full", daemon=True) for one in letters]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for letter in letters:
            if (problem := problems[letter.receiver]) is not None:
                where = shown_address(letter.to.url)
                note(f"{where} was not notified of {letter.about}: {problem}; the next run tries again")
        return [receiver for receiver, problem in problems.items() if problem is None]

    def _remember(self, told: Told) -> None:
        with contextlib.suppress(BurstError, OSError):
            Disk().make_directory(self._path.parent)
            Disk().write_whole(self._path, msgspec.json.encode(told))
