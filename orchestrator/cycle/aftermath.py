"""What a run does beside its items: notes which batches have ended and what else is to be told, and has it told.

Each part is loaded where the state has something for it: a state without batches and receivers loads nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING

from orchestrator.clock import Clock
from orchestrator.errors import BurstError, DiskFull
from orchestrator.outputs.placement import Placement
from state.burst_record import BurstRecord
from state.store import Store

if TYPE_CHECKING:
    from orchestrator.batches.completion import BatchCompletion
    from orchestrator.notifications.notifier import Notifier
    from orchestrator.notifications.occurrences import Occurrences


class Aftermath:
    """Of one run. Used by one thread."""

    def __init__(self, store: Store, placement: Placement, *, clock: Clock, note: Callable[[str], None]) -> None:
        self._store = store
        self._placement = placement
        self._clock = clock
        self._note = note
        self._completion: BatchCompletion | None = None
        self._occurrences: Occurrences | None = None
        self._notifier: Notifier | None = None
        self._started_for: Hashable = None
        """The stamp of the log of batches when commands were last looked for."""

    def look(self, records: Sequence[BurstRecord] = (), *, again: bool = False) -> None:
        """Note what has ended and what is to be told, and have it told beside the work. Safe to repeat.

        `records`: of the bursts so far. `again`: look at all batches again, since others may have made items of an
        ended one due again. What cannot be noted is said in the report and hinders nothing.
        """
        if self._completion is None and self._store.has_batches():
            from orchestrator.batches.completion import BatchCompletion

            self._completion = BatchCompletion(self._store, self._placement, clock=self._clock, note=self._note)
        if self._completion is not None:
            self._completion.look(again=again)
        if self._occurrences is None and self._store.has_notices():
            from orchestrator.notifications.occurrences import Occurrences

            self._occurrences = Occurrences(self._store, clock=self._clock)
        if self._occurrences is not None:
            self._guarded(lambda occurrences: occurrences.look(records))
        self._tell()
        self._start_commands()

    def end(self, records: Sequence[BurstRecord], *, disk: str | None) -> None:
        """The last burst of the run has ended. `disk`: why nothing more can be written."""
        if self._occurrences is not None:
            self._guarded(lambda occurrences: self._note_end(occurrences, records, disk))
        self._tell()

    def finish(self) -> None:
        """The run ends: wait a moment for what is being told."""
        if self._notifier is not None:
            self._notifier.finish()

    def _start_commands(self) -> None:
        """Have this host's commands run for batches that are done, where the log of batches has news."""
        if self._completion is None or (stamp := self._store.batches.stamp()) == self._started_for:
            return
        from orchestrator.notifications.then_commands import start_if_due

        self._started_for = stamp
        try:
            start_if_due(self._store, clock=self._clock)
        except (BurstError, OSError) as error:
            self._note(f"commands for batches that are done could not be started: {error}")

    def _note_end(self, occurrences: Occurrences, records: Sequence[BurstRecord], disk: str | None) -> None:
        """Notify also if the state's own disk is full, so that nothing can be recorded."""
        from orchestrator.notifications.disk_alarm import DiskAlarm

        alarm = DiskAlarm(self._store, clock=self._clock)
        try:
            occurrences.end(records, disk=disk, told=alarm.told())
        except DiskFull as full:
            alarm.sound(disk or str(full), note=self._note)
            raise
        alarm.over()

    def _guarded(self, work: Callable[[Occurrences], None]) -> None:
        assert self._occurrences is not None
        try:
            work(self._occurrences)
        except (BurstError, OSError) as error:
            self._note(f"notifications could not be recorded: {error}")

    def _tell(self) -> None:
        if self._completion is None and self._occurrences is None:
            return
        if self._notifier is None:
            from orchestrator.notifications.telling import notifier_of

            self._notifier = notifier_of(self._store, clock=self._clock, note=self._note)
        try:
            self._notifier.tell()
        except (BurstError, OSError) as error:
            self._note(f"notifications could not be sent: {error}")
