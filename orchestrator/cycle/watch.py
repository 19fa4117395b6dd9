"""What one server has of ours: it is polled and, now and then, looked up at once; and what became of each prompt.

The oldest prompt is asked for when that is due; at intervals, and after failed requests, all of them are looked up.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.comfyui.lookup import Absent, Fate, Finished, Queued, Unclear, describe, look_up
from orchestrator.cycle.context import WorkerContext, log
from orchestrator.cycle.downloads import Downloads
from orchestrator.cycle.hearing import Hearing
from orchestrator.cycle.in_flight import InFlight
from orchestrator.cycle.notices import Notices
from orchestrator.cycle.poll_schedule import PollSchedule
from orchestrator.cycle.recovery import Recovery
from orchestrator.cycle.settlement import Settlement
from orchestrator.cycle.stalls import Stalls
from orchestrator.cycle.undecided import Undecided
from orchestrator.errors import UnexpectedAnswer
from state.item import Item


class Watch:
    """Of one worker, for its thread alone; any thread may read `oldest`."""

    def __init__(
        self,
        context: WorkerContext,
        in_flight: InFlight,
        downloads: Downloads,
        hearing: Hearing,
        notices: Notices,
        poll_schedule: PollSchedule,
        recovery: Recovery,
        settlement: Settlement,
        stalls: Stalls,
        undecided: Undecided,
    ) -> None:
        self._context = context
        self._in_flight = in_flight
        self._downloads = downloads
        self._hearing = hearing
        self._notices = notices
        self._poll_schedule = poll_schedule
        self._recovery = recovery
        self._settlement = settlement
        self._stalls = stalls
        self._undecided = undecided
        self.oldest: tuple[Item | None, float] = None, 0.0
        """The oldest watched item, and since when it is (monotonic clock)."""
        self._failures = self._pushbacks = 0

    def poll(self) -> float | None:
        """Ask for the oldest prompt if that is due; seconds until it is due again, None without any prompt."""
        client = self._context.client
        is_troubled = client.failures != self._failures and bool(self._in_flight)
        if is_troubled and self._poll_schedule.until_sweep() <= 0:
            self.sweep()
            return 0.0
        ended, oldest = self._hearing.due(self._in_flight.with_prompt), self._in_flight.oldest()
        if ended is not None and (self._look(ended) or oldest is None or ended.key != oldest.key):
            return 0.0
        if oldest is None:
            return self._poll_schedule.until_sweep() if is_troubled else None
        assert oldest.prompt_id is not None
        if self.oldest[0] is None or oldest.prompt_id != self.oldest[0].prompt_id:
            self.oldest = oldest, self._context.clock.monotonic()
            self._context.dispatch.began(oldest)
        if ended is not None:
            return self._look_later(oldest)
        left = self._until_look(oldest)
        if left > 0:
            return left
        return 0.0 if self._look(oldest) else self._look_later(oldest)

    def _look(self, item: Item) -> bool:
        """Ask for one prompt; whether anything became of it."""
        assert item.prompt_id is not None
        try:
            entry = self._context.client.history(item.prompt_id)
        except UnexpectedAnswer as error:
            self.meet(item, Unclear(error))
            return True
        self._answered()
        if self._hearing.looked(item.prompt_id, has_ended=entry is not None):
            self._poll_schedule.told_end()
        if entry is not None:
            self.meet(item, Finished(entry))
        return entry is not None

    def _until_look(self, oldest: Item) -> float:
        assert oldest.prompt_id is not None
        return self._poll_schedule.until_look(
            oldest.prompt_id,
            recipe=oldest.recipe,
            is_heard=self._hearing.is_heard(oldest.prompt_id),
            is_connecting=self._hearing.is_connecting,
        )

    def _look_later(self, oldest: Item) -> float:
        """The oldest is not finished: seconds until the next poll for it."""
        assert oldest.prompt_id is not None
        if self._poll_schedule.is_quiet(self._context.options.sweep_seconds):
            self.sweep()
            return 0.0
        if self._look_at_others(oldest):
            return 0.0
        self._in_flight.take_in(self._recovery.watch_suspect(oldest))
        self._poll_schedule.look_again()
        return self._until_look(oldest)

    def _look_at_others(self, oldest: Item) -> bool:
        """Whether anything became of those that ended before the oldest."""
        client, others = self._context.client, {item.prompt_id: item for item in self._in_flight.items()}
        others.pop(oldest.prompt_id)
        if client.terms.renders_in_order or not others:
            return False
        ended = client.ended_among([prompt_id for prompt_id in others if prompt_id is not None])
        looked = [self._look(item) for prompt_id, item in others.items() if prompt_id in ended]
        return any(looked)

    def _answered(self) -> None:
        """The server answered, at once or after retries."""
        pushbacks = self._context.client.pushbacks
        self._poll_schedule.answered(troubled=pushbacks != self._pushbacks)
        self._pushbacks = pushbacks

    def cancel(self, items: Sequence[Item]) -> None:
        """Remove them from the server's queue; what is running is watched until the server has ended it."""
        fates = self._notices.withdraw(items)
        for item in items:
            self._in_flight.withdrawn(item)
            fate = fates[item.prompt_id or ""]
            if not (isinstance(fate, Absent) and self._in_flight.is_in_doubt(item.key)):
                self.meet(item, fate)
        self._poll_schedule.look_soon()

    def expire_doubts(self) -> None:
        for item in self._in_flight.out_of_doubt():
            fate = self._recovery.resolve_doubt(item)
            self._in_flight.drop(item.key)
            self.meet(item, fate)

    def sweep(self) -> None:
        """Look everything up at once: at intervals, and after a request without an answer (a restarted server?)."""
        context = self._context
        self._failures = context.client.failures
        items = self._in_flight.items()
        fates = look_up(context.client, [item.prompt_id or "" for item in items])
        self._stalls.refuse(items, fates)
        self._answered()
        self._poll_schedule.swept()
        for item in items:
            if context.halt.is_set():
                return
            fate = fates[item.prompt_id or ""]
            known = self._in_flight.get(item.key)
            if known is None or known.prompt_id != item.prompt_id:
                continue
            if not (isinstance(fate, Absent) and self._in_flight.is_in_doubt(item.key)):
                self.meet(item, fate)

    def meet(self, item: Item, fate: Fate) -> None:
        """Act on what became of an item's prompt."""
        log.info("%s: looked up on %s: %s", item.key, self._context.server.name, describe(fate))
        match fate:
            case Finished(entry):
                self._undecided.read("history")
                self._poll_schedule.ended()
                self._stalls.stirred()
                finished = self._settlement.finished(item, entry)
                if finished is None:
                    self.settled(item)
                else:
                    self._in_flight.drop(item.key)
                    self._downloads.start(finished)
            case Queued(prompt_id=prompt_id, running=running):
                self._adopt(item, prompt_id, running=running)
            case Unclear(error=error):
                self._undecided.add(item, error, "history")
                self.drop(item.key)
            case Absent():
                if late := self._recovery.found_late(item):
                    self.meet(*late)
                    return
                self._recovery.gone(item)
                self.drop(item.key)

    def _adopt(self, item: Item, prompt_id: str, *, running: bool) -> None:
        """It waits or runs on the server: watch it."""
        if item.in_doubt or prompt_id != item.prompt_id:
            accepted = self._context.transitions.change(item, lambda now: now.accept_as(prompt_id=prompt_id))
            if accepted is None:
                self.drop(item.key)
                return
            item = accepted
        if late := self._recovery.found_late(item):
            self.meet(*late)
            return
        self._in_flight.take_in(self._recovery.note_running(item) if running else item)

    def settled(self, item: Item) -> None:
        """Its finished prompt is checkpointed, as completed or otherwise."""
        if item.previous_prompt_ids:
            self._recovery.count_late_twins(item)
        self.drop(item.key)

    def drop(self, key: str) -> None:
        self._in_flight.drop(key)
        if key not in self._undecided:
            self._context.dispatch.let_go(key)
