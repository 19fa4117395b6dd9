"""One server's part of a run: recover → submit → watch → collect → checkpoint.

Submitted items are in `_in_flight` or, once finished, in `_downloads`. Each step asks for the oldest watched prompt
when that is due; at intervals, and after failed requests, all of them are looked up at once. Recovery is the same: what
an earlier burst left submitted joins the watched prompts and is looked up. A step never waits; it returns when the next
one is due.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime

from orchestrator.comfyui.lookup import Absent, Fate, Finished, Queued, Unclear, describe, look_up
from orchestrator.cycle import pacing
from orchestrator.cycle.breaker import Breaker
from orchestrator.cycle.context import WorkerContext, log
from orchestrator.cycle.downloads import Downloads, Executor
from orchestrator.cycle.hearing import Hearing, Sight
from orchestrator.cycle.in_flight import InFlight
from orchestrator.cycle.notices import Notices
from orchestrator.cycle.poll_schedule import PollSchedule
from orchestrator.cycle.queue_place import QueuePlace
from orchestrator.cycle.recovery import Recovery
from orchestrator.cycle.refill import Refill
from orchestrator.cycle.report import ServerReport
from orchestrator.cycle.routing import Routing
from orchestrator.cycle.settlement import Settlement
from orchestrator.cycle.stalls import Stalls
from orchestrator.cycle.strays import Strays
from orchestrator.cycle.undecided import Undecided
from orchestrator.cycle.uploads import Uploads
from orchestrator.cycle.waiting import Waiting
from orchestrator.errors import BurstError, NotComfyUI, ServerSick, ServerStalled, TransientError, UnexpectedAnswer
from orchestrator.known_servers import judged
from state.item import Item, Status

_IDLE_SECONDS = 0.5
"""How soon a worker that found nothing to do looks again, unless it is woken."""
_Loss = TransientError | ServerStalled | ServerSick
_LAST_DOWNLOADS_SECONDS = 2.0
"""How long running downloads may take when a run ends; the rest is for the next burst."""


class Worker:
    """Called by one thread, except for `notice` and the methods that `Dispatch` calls."""

    def __init__(
        self,
        context: WorkerContext,
        fetcher: Executor,
        uploader: Executor,
        *,
        left: Sequence[Item],
        strays: Sequence[Item] = (),
        seen: Mapping[str, datetime] | None = None,
        routing: Routing,
    ) -> None:
        """`fetcher` runs downloads, `uploader` uploads. `left`: what earlier bursts left submitted on this server.
        `strays`: what they left on another host's server of the same address; `seen`: when each host was last alive."""
        self.wake = threading.Event()
        """Set to have the next step at once."""
        self.lost: BurstError | None = None
        """Why its server is not used at the moment."""
        self.hearing = Hearing(context.clock, self.wake.set)
        """What its server's events say; nothing but `_watch` follows it."""
        if context.listen is not None:
            self.hearing.listen_with(context.listen(self.hearing))
        self.context = context
        """Its tools, and what it did so far."""
        self._routing = routing
        self._undecided = Undecided(context, frozenset(item.key for item in left))
        self._breaker = Breaker(context, self._withdraw_rest)
        self._settlement = Settlement(context, self._undecided, self._breaker, withdraw=self._withdraw_rest)
        self._downloads = Downloads(self._settlement, fetcher, context.clock, self.wake)
        self._recovery = Recovery(context, self._settlement, self._undecided)
        self._poll_schedule = PollSchedule(context.clock, poll_seconds=context.options.poll_seconds, pace=context.pace)
        self._strays = Strays(context, self._recovery, strays, seen or {})
        self._stalls = Stalls(context, last_sign=self.hearing.last_sign, advise=self._breaker.advise_restart)
        has_priorities = context.client.terms.has_priorities
        self._in_flight = InFlight(context.clock, self._recovery.seconds_in_doubt, has_priorities=has_priorities)
        self._queue_place = QueuePlace(context, self._in_flight, self.hearing)
        self._uploads = Uploads(context, uploader, self.wake)
        self._notices = Notices(context, self._in_flight)
        self._refill = Refill(
            context,
            self._in_flight,
            self._downloads,
            self._uploads,
            self._poll_schedule,
            routing=routing,
            attend=self._notices.attend,
        )
        context.client.before_request = self._notices.attend
        self._waiting = Waiting(context)
        self._begun = False
        self._oldest: tuple[Item | None, float] = None, 0.0
        """The oldest watched item, and since when it is."""
        self._is_no_comfyui: TransientError | None = None
        """What is to be made of its address showing something else."""
        self._losses = self._failures = self._pushbacks = 0
        context.dispatch.join(self)
        for item in left:
            context.dispatch.hold(self, item.key)
            self._in_flight.take_in(item)
        for item in strays:
            context.dispatch.hold(self, item.key)
        context.tally.recovered = len(left)

    # For `Dispatch`

    @property
    def is_lost(self) -> bool:
        return self.lost is not None

    @property
    def is_waited_for(self) -> bool:
        return self.context.client.trouble is not None

    @property
    def is_worth_waiting(self) -> bool:
        """Its server may come back within the time that a run waits for one."""
        return self._waiting.is_worth_it

    @property
    def refused(self) -> set[str]:
        return self._routing.refused

    def load(self) -> pacing.Load:
        out = len(self._in_flight) + len(self._uploads) + len(self._undecided)
        return pacing.Load(out=out, seconds_per_item=self._poll_schedule.seconds_per_item)

    def window(self, size: int) -> int:
        return self._poll_schedule.window(size)

    def may_have(self, item: Item) -> bool:
        return self.context.may_have(item)

    def has(self, item: Item) -> bool:
        return self.context.has(item)

    def takes(self, item: Item) -> bool:
        return self._routing.suits(item)

    def allowance(self) -> int | None:
        out, most_out = len(self._out()), self.context.client.terms.most_out
        room = None if most_out is None else max(0, most_out - out)
        limits = (self._breaker.allowance(out=out), room, self.context.spending.left)
        return min((limit for limit in limits if limit is not None), default=None)

    @property
    def may_spend(self) -> bool:
        return self.context.spending.left != 0

    def accepts(self, item: Item) -> bool:
        return self._breaker.accepts(item)

    def current(self) -> tuple[Item, float, Sight | None] | None:
        """The item that its server renders, since when (monotonic clock), and what is known of it; None if none.

        Any thread may ask.
        """
        sight = self.hearing.sight
        if sight is not None and (item := self._in_flight.with_prompt(sight.prompt_id)) is not None:
            return item, sight.began_at, sight
        oldest, began_at = self._oldest
        if oldest is None or oldest.key not in self._in_flight or self.hearing.is_sure_of_none or self.ahead:
            return None
        return oldest, began_at, None

    @property
    def ahead(self) -> int | None:
        """How many prompts of others its server renders before the first of ours; None where that is not known."""
        return self._queue_place.ahead

    @property
    def trouble(self) -> BurstError | None:
        """Why nothing is heard of its server: it is lost, or is being asked again."""
        return self.lost or self.context.client.met

    def notice(self, key: str) -> None:
        """Another process changed this item."""
        self._notices.add(key)
        self.wake.set()

    def report(self) -> ServerReport:
        """What it did."""
        lost = str(self.lost) if self.lost is not None else self.context.client.trouble
        pace = self._poll_schedule.seconds_per_item
        return ServerReport.of(
            self.context.server, self.context.tally, out=len(self._in_flight), seconds_per_item=pace, lost=lost
        )

    # Its life

    def turn(self) -> float:
        """One step, or one more request to a lost server; seconds until the next. Errors end the run.

        If the run has other servers, one that does not answer keeps its items and is tried again later.
        """
        self._notices.belong_to_this_thread()
        try:
            if self.lost is not None:
                self._return()
            return self.step()
        except (TransientError, ServerStalled, ServerSick) as met:
            error = self._judged(met)
            self._waiting.lost(error)
            if self.context.halt.is_set() or (self.context.dispatch.has_one_worker and not self.is_worth_waiting):
                if error is met:
                    raise
                raise error from met
            self._losses += 1
            self._uploads.abandon()
            # Workers that rest look again, for what this one has released, before it counts as lost.
            self.context.dispatch.stir()
            self.lost = error
            self.context.dispatch.rest(self)
            pause_seconds = self._waiting.pause_seconds(self._losses)
            log.info("%s is not used for %.0f s: %s", self.context.server.shown, pause_seconds, error)
            return pause_seconds

    def _judged(self, error: _Loss) -> _Loss:
        """A server that was a ComfyUI for this state before is waited for, whatever its address shows."""
        if not isinstance(error, NotComfyUI):
            return error
        # Asked once: it reads the items.
        if self._is_no_comfyui is None:
            self._is_no_comfyui = judged(error, self.context.store, self.context.server)
        return self._is_no_comfyui

    def step(self) -> float:
        """Do what is due; seconds until something is due again."""
        if not self._begun:
            self._begin()
        self._follow_notices()
        for item in self._downloads.settle(most=self.context.dispatch.left_in_burst):
            self._settled(item)
        self._expire_doubts()
        self._undecided.settle(self._meet, self._drop)
        self._breaker.advance(self, out=self._out)
        took = self._refill.fill(self)
        if not (self._in_flight or self._downloads or self._uploads):
            if self._undecided and not took:
                self._undecided.judge()
                return 0.0
            if not took:
                self._breaker.refuse_unproven()
                self._refuse_unpaid()
            return self._rest(took=took)
        self.hearing.listen()
        waits = [
            self._watch(),
            self.hearing.seconds_until_due(),
            self._downloads.seconds_left(),
            self._in_flight.seconds_in_doubt(),
            self._queue_place.look(),
        ]
        return min((seconds for seconds in waits if seconds is not None), default=_IDLE_SECONDS)

    def finish(self, *, fill: bool) -> None:
        """The run ends: wait a moment for running downloads. `fill`: submit ahead, as requested.

        What exceeds the burst's size is left for the next one.
        """
        clock, dispatch = self.context.clock, self.context.dispatch
        until = clock.monotonic() + _LAST_DOWNLOADS_SECONDS
        if fill:
            self._refill.fill(self)
        while self._downloads and dispatch.left_in_burst and not self.context.halt.is_set():
            for item in self._downloads.settle(most=dispatch.left_in_burst, at_once=True):
                self._settled(item)
            if (left := until - clock.monotonic()) <= 0:
                return
            if self._downloads:
                clock.wait(self.wake, left)
                self.wake.clear()

    def _begin(self) -> None:
        """Recover what earlier bursts left submitted on this server."""
        self._breaker.begin()
        left = self._in_flight.items()
        self._recovery.take_over(left)
        if left:
            self._sweep()
        self._look_for_strays()
        self._begun = True

    def _look_for_strays(self) -> None:
        for item, fate in self._strays.resolve():
            self._in_flight.take_in(item)
            if not item.cancel_requested:
                self._meet(item, fate)

    def _return(self) -> None:
        """Ask a lost server again; everything submitted to it is looked up. Errors: it is still lost."""
        context = self.context
        context.client.check_answers()
        is_restarted = self._breaker.forget_if_restarted()
        if isinstance(self.lost, ServerSick) and not is_restarted:
            raise self.lost
        if isinstance(self.lost, TransientError):
            self._stalls.stirred()
        held = context.dispatch.held_by(self)
        there = {item.key: item for item in context.store.get_many(held)}
        for key in held:
            if key in self._strays:
                continue
            item = there.get(key)
            if item is None or item.status is not Status.SUBMITTED or not context.has(item):
                self._drop(key)
            elif key not in self._downloads:
                self._in_flight.take_in(item)
        self._undecided.forget()
        if self._begun:
            self._sweep()
        self._routing.forget()
        self._uploads.forget()
        # It rested while it was lost: what it holds again is not done.
        context.dispatch.stir()
        self.lost, self._losses = None, 0
        self._waiting.returned()

    def _refuse_unpaid(self) -> None:
        """Nothing is out, and nothing was taken. Errors: SpendNotAllowed, SpendLimitReached, where that is why."""
        dispatch = self.context.dispatch
        if dispatch.is_full or dispatch.pause is not None or (why := self.context.spending.why_none()) is None:
            return
        if not dispatch.has_due():
            return
        if not dispatch.others_may_go_on(self):
            raise why
        self.context.tally.note(str(why))

    def _rest(self, *, took: bool) -> float:
        if took:
            return max(0.0, self._refill.seconds_paused())
        self.context.dispatch.rest(self)
        return _IDLE_SECONDS

    # Watch

    def _watch(self) -> float | None:
        """Ask for the oldest prompt if that is due; seconds until it is due again, None without any prompt."""
        client = self.context.client
        is_troubled = client.failures != self._failures and bool(self._in_flight)
        if is_troubled and self._poll_schedule.until_sweep() <= 0:
            self._sweep()
            return 0.0
        ended, oldest = self.hearing.due(self._in_flight.with_prompt), self._in_flight.oldest()
        if ended is not None and (self._look(ended) or oldest is None or ended.key != oldest.key):
            return 0.0
        if oldest is None:
            return self._poll_schedule.until_sweep() if is_troubled else None
        assert oldest.prompt_id is not None
        if self._oldest[0] is None or oldest.prompt_id != self._oldest[0].prompt_id:
            self._oldest = oldest, self.context.clock.monotonic()
            self.context.dispatch.began(oldest)
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
            entry = self.context.client.history(item.prompt_id)
        except UnexpectedAnswer as error:
            self._meet(item, Unclear(error))
            return True
        self._answered()
        if self.hearing.looked(item.prompt_id, has_ended=entry is not None):
            self._poll_schedule.told_end()
        if entry is not None:
            self._meet(item, Finished(entry))
        return entry is not None

    def _until_look(self, oldest: Item) -> float:
        assert oldest.prompt_id is not None
        return self._poll_schedule.until_look(
            oldest.prompt_id,
            recipe=oldest.recipe,
            is_heard=self.hearing.is_heard(oldest.prompt_id),
            is_connecting=self.hearing.is_connecting,
        )

    def _look_later(self, oldest: Item) -> float:
        """The oldest is not finished: seconds until the next poll for it."""
        assert oldest.prompt_id is not None
        if self._poll_schedule.is_quiet(self.context.options.sweep_seconds):
            self._sweep()
            return 0.0
        if self._look_at_others(oldest):
            return 0.0
        self._in_flight.take_in(self._recovery.watch_suspect(oldest))
        self._poll_schedule.look_again()
        return self._until_look(oldest)

    def _look_at_others(self, oldest: Item) -> bool:
        """Whether anything became of those that ended before the oldest."""
        client, others = self.context.client, {item.prompt_id: item for item in self._in_flight.items()}
        others.pop(oldest.prompt_id)
        if client.terms.renders_in_order or not others:
            return False
        ended = client.ended_among([prompt_id for prompt_id in others if prompt_id is not None])
        looked = [self._look(item) for prompt_id, item in others.items() if prompt_id in ended]
        return any(looked)

    def _answered(self) -> None:
        """The server answered, at once or after retries."""
        pushbacks = self.context.client.pushbacks
        self._poll_schedule.answered(troubled=pushbacks != self._pushbacks)
        self._pushbacks = pushbacks

    def _follow_notices(self) -> None:
        """Another process changed items: cancel where that was requested, release what is not ours any more."""
        for key in self._notices.take():
            if key in self._uploads:
                self._uploads.follow(key)
            watched = self._in_flight.get(key)
            if watched is None:
                continue
            (now,) = self.context.store.get_many([key]) or (None,)
            if now is None or now.status is not Status.SUBMITTED or now.prompt_id != watched.prompt_id:
                self._drop(key)
            else:
                self._in_flight.take_in(now)
        if unwanted := self._in_flight.unwanted():
            self._cancel(unwanted)

    def _cancel(self, items: Sequence[Item]) -> None:
        """Remove them from the server's queue; what is running is watched until the server has ended it."""
        fates = self._notices.withdraw(items)
        for item in items:
            self._in_flight.withdrawn(item)
            fate = fates[item.prompt_id or ""]
            if not (isinstance(fate, Absent) and self._in_flight.is_in_doubt(item.key)):
                self._meet(item, fate)
        self._poll_schedule.look_soon()

    def _out(self) -> list[str]:
        """Keys of what the server has, or is about to get."""
        return [item.key for item in (*self._in_flight.items(), *self._uploads.items())]

    def _withdraw_rest(self) -> None:
        """What waits in the server's queue is due again."""
        self._uploads.abandon()
        for item in self._recovery.withdraw(self._in_flight.items()):
            self._drop(item.key)

    def _expire_doubts(self) -> None:
        for item in self._in_flight.out_of_doubt():
            fate = self._recovery.resolve_doubt(item)
            self._in_flight.drop(item.key)
            self._meet(item, fate)

    # Sweep and settle

    def _sweep(self) -> None:
        """Look everything up at once: at intervals, and after a request without an answer (a restarted server?)."""
        context = self.context
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
                self._meet(item, fate)

    def _meet(self, item: Item, fate: Fate) -> None:
        """Act on what became of an item's prompt."""
        log.info("%s: looked up on %s: %s", item.key, self.context.server.name, describe(fate))
        match fate:
            case Finished(entry):
                self._undecided.read("history")
                self._poll_schedule.ended()
                self._stalls.stirred()
                finished = self._settlement.finished(item, entry)
                if finished is None:
                    self._settled(item)
                else:
                    self._in_flight.drop(item.key)
                    self._downloads.start(finished)
            case Queued(prompt_id=prompt_id, running=running):
                self._adopt(item, prompt_id, running=running)
            case Unclear(error=error):
                self._undecided.add(item, error, "history")
                self._drop(item.key)
            case Absent():
                if late := self._recovery.found_late(item):
                    self._meet(*late)
                    return
                self._recovery.gone(item)
                self._drop(item.key)

    def _adopt(self, item: Item, prompt_id: str, *, running: bool) -> None:
        """It waits or runs on the server: watch it."""
        if item.in_doubt or prompt_id != item.prompt_id:
            accepted = self.context.transitions.change(item, lambda now: now.accept_as(prompt_id=prompt_id))
            if accepted is None:
                self._drop(item.key)
                return
            item = accepted
        if late := self._recovery.found_late(item):
            self._meet(*late)
            return
        self._in_flight.take_in(self._recovery.note_running(item) if running else item)

    def _settled(self, item: Item) -> None:
        """Its finished prompt is checkpointed, as completed or otherwise."""
        if item.previous_prompt_ids:
            self._recovery.count_late_twins(item)
        self._drop(item.key)

    def _drop(self, key: str) -> None:
        self._in_flight.drop(key)
        if key not in self._undecided:
            self.context.dispatch.let_go(key)
