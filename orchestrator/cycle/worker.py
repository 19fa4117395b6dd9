"""One server's part of a run: recover → submit → watch → collect → checkpoint.

Submitted items are in `_in_flight` or, once finished, in `_downloads`. What an earlier burst left submitted joins the
watched prompts and is looked up. A step never waits; it returns when the next one is due.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime

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
from orchestrator.cycle.silence import give_up_if_silent
from orchestrator.cycle.stalls import Stalls
from orchestrator.cycle.strays import Strays
from orchestrator.cycle.undecided import Undecided
from orchestrator.cycle.uploads import Uploads
from orchestrator.cycle.waiting import Waiting
from orchestrator.cycle.watch import Watch
from orchestrator.errors import BurstError, NotComfyUI, ServerSick, ServerStalled, TransientError
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
        """What its server's events say; nothing but `Watch` follows it."""
        if context.listen is not None:
            self.hearing.listen_with(context.listen(self.hearing))
        self.context = context
        """Its tools, and what it did so far."""
        self._routing = routing
        self._earlier = {item.key for item in left}
        """What other runs submitted."""
        self._inherited: deque[Item] = deque()
        """What this run has taken over from runs that died since it began, for the next step."""
        self._undecided = Undecided(context, self._earlier)
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
        self._watch = Watch(
            context,
            self._in_flight,
            self._downloads,
            self.hearing,
            self._notices,
            self._poll_schedule,
            self._recovery,
            self._settlement,
            stalls=self._stalls,
            undecided=self._undecided,
        )
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
        self._is_no_comfyui: TransientError | None = None
        """What is to be made of its address showing something else."""
        self._losses = 0
        self._answered_at: float | None = None
        """When its server had last given no trouble; None: not yet in this run."""
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
    def is_draining(self) -> bool:
        return self.context.server.name in self.context.dispatch.draining

    @property
    def is_waited_for(self) -> bool:
        return self.context.client.trouble is not None

    @property
    def is_worth_waiting(self) -> bool:
        """Its server may come back within the time that a run waits for one."""
        return self._waiting.is_worth_it

    @property
    def undecided(self) -> list[str]:
        """The keys of items of which its server says nothing clear so far, some of which the run no longer holds."""
        return self._undecided.keys()

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

    def may_have_recipe(self, recipe: str | None) -> bool:
        return self.context.may_have_recipe(recipe)

    def has(self, item: Item) -> bool:
        return self.context.has(item)

    def takes(self, item: Item) -> bool:
        return self._routing.suits(item)

    def allowance(self) -> int | None:
        if not self.context.may_send:
            return 0
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
        oldest, began_at = self._watch.oldest
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

    def inherit(self, item: Item) -> None:
        """A run that died has left this submitted on the server, and this run holds it now."""
        self.context.dispatch.hold(self, item.key)
        self._inherited.append(item)
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
            seconds = self.step()
            if self._begun:
                self._answered_at = self.context.clock.monotonic()
            return seconds
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
            give_up_if_silent(self.context, self._in_flight, self._recovery, self._watch, self._answered_at)
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
            if self.is_draining and not (self._in_flight or self._strays):
                # It may be switched off.
                return self._rest(took=False)
            self._begin()
        self._take_in_inherited()
        self._follow_notices()
        for item in self._downloads.settle(most=self.context.dispatch.left_in_burst):
            self._watch.settled(item)
        self._watch.expire_doubts()
        self._undecided.settle(self._watch.meet, self._watch.drop)
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
            self._watch.poll(),
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
                self._watch.settled(item)
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
            self._watch.sweep()
        self._look_for_strays()
        self._begun = True

    def _take_in_inherited(self) -> None:
        items = list(self._inherited)
        if not items:
            return
        self._earlier.update(item.key for item in items)
        for item in items:
            self._in_flight.take_in(item)
        self._recovery.take_over(items)
        for _ in items:
            self._inherited.popleft()
        self.context.tally.recovered += len(items)
        self._watch.sweep()

    def _look_for_strays(self) -> None:
        for item, fate in self._strays.resolve():
            self._in_flight.take_in(item)
            if not item.cancel_requested:
                self._watch.meet(item, fate)

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
                self._watch.drop(key)
            elif key not in self._downloads:
                self._in_flight.take_in(item)
        self._undecided.forget()
        if self._begun:
            self._watch.sweep()
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
                self._watch.drop(key)
            else:
                self._in_flight.take_in(now)
        if unwanted := self._in_flight.unwanted():
            self._watch.cancel(unwanted)

    def _out(self) -> list[str]:
        """Keys of what the server has, or is about to get."""
        return [item.key for item in (*self._in_flight.items(), *self._uploads.items())]

    def _withdraw_rest(self) -> None:
        """What waits in the server's queue is due again."""
        self._uploads.abandon()
        for item in self._recovery.withdraw(self._in_flight.items()):
            self._watch.drop(item.key)
