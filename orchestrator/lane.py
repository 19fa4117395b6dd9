"""One server's lane of a run: recover → submit → watch → collect → checkpoint.

What is out on the server is `_outstanding` or, once finished, in `_collecting`. Each step asks for the oldest watched
prompt when that is due; now and then, and after trouble, everything is looked up at once. Recovery is nothing else:
what an earlier burst left submitted is put among the watched and looked up. A step never waits: it says when the next
one is due.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from orchestrator import pacing
from orchestrator.collecting import Collecting, Fetcher
from orchestrator.errors import (
    BurstError,
    ServerStalled,
    TransientError,
    UnexpectedAnswer,
)
from orchestrator.filling import Filling
from orchestrator.lookup import Absent, Fate, Finished, Queued, Unclear, look_up, withdraw
from orchestrator.outstanding import Outstanding
from orchestrator.recovery import Recovery
from orchestrator.report import ServerReport
from orchestrator.rhythm import Rhythm, Stillness
from orchestrator.settling import Settling
from orchestrator.suiting import Suiting
from orchestrator.uploading import Uploading
from orchestrator.workbench import Workbench
from state.item import Item, Status

_IDLE_SECONDS = 0.5
"""How soon a lane that found nothing to do looks again, unless it is woken."""
_LAST_DOWNLOADS_SECONDS = 2.0
"""How long downloads that are under way may take when a run ends; the rest is for the next burst."""


class Lane:
    """One server's part of a run. Only one thread calls it; `notice` and what `Work` asks may come from others."""

    def __init__(
        self,
        bench: Workbench,
        fetcher: Fetcher,
        uploader: Fetcher,
        *,
        left: Sequence[Item],
        suiting: Suiting | None = None,
    ) -> None:
        """`fetcher` runs downloads, `uploader` this lane's uploads. `left`: what earlier bursts left submitted on this
        server. `suiting`: only where there are several."""
        self.wake = threading.Event()
        """Set to have the next step at once."""
        self.lost: BurstError | None = None
        """Why its server is left alone for now."""
        self.bench = bench
        """Its tools, and what it did so far."""
        self._suiting = suiting
        self._settling = Settling(bench)
        self._collecting = Collecting(self._settling, fetcher, bench.clock, self.wake)
        self._recovery = Recovery(bench, self._settling)
        self._rhythm = Rhythm(bench.clock, poll_seconds=bench.options.poll_seconds, pace=bench.pace)
        self._stillness = Stillness(bench.clock)
        self._outstanding = Outstanding(bench.clock, self._recovery.seconds_in_doubt)
        self._uploading = Uploading(bench, uploader, self.wake)
        self._filling = Filling(
            bench, self._outstanding, self._collecting, self._uploading, self._rhythm, suiting=suiting
        )
        self._noticed: set[str] = set()
        self._begun = False
        self._oldest: str | None = None
        self._losses = self._failures = self._pushbacks = 0
        bench.work.join(self)
        for item in left:
            bench.work.hold(self, item.key)
            self._outstanding.take_in(item)
        bench.tally.recovered = len(left)

    # What the sharing out asks

    @property
    def is_lost(self) -> bool:
        return self.lost is not None

    @property
    def is_waited_for(self) -> bool:
        return self.bench.client.trouble is not None

    @property
    def refused(self) -> set[str]:
        return self._suiting.refused if self._suiting is not None else set()

    def load(self) -> pacing.Load:
        out = len(self._outstanding) + len(self._uploading)
        return pacing.Load(out=out, seconds_per_item=self._rhythm.seconds_per_item)

    def window(self, size: int) -> int:
        return self._rhythm.window(size)

    def takes(self, item: Item) -> bool:
        return self._suiting is None or self._suiting.suits(item)

    def notice(self, key: str) -> None:
        """Another process changed this item."""
        self._noticed.add(key)
        self.wake.set()

    def report(self) -> ServerReport:
        """What it did."""
        tally = self.bench.tally
        return ServerReport(
            url=self.bench.client.url,
            completed=tally.completed,
            failed=tally.failed,
            out=len(self._outstanding),
            seconds_per_item=self._rhythm.seconds_per_item,
            lost=str(self.lost) if self.lost is not None else self.bench.client.trouble,
        )

    # Its life

    def turn(self) -> float:
        """One step, or one more try at a lost server; seconds until the next. Errors end the run.

        With other servers in the run a server that does not answer keeps its items and is tried again later.
        """
        try:
            if self.lost is not None:
                self._return()
            return self.step()
        except (TransientError, ServerStalled) as error:
            if self._suiting is None or self.bench.halt.is_set():
                raise
            self._losses += 1
            self._uploading.abandon()
            # Those that rest look again, for what this one has let go of, before it counts as lost.
            self.bench.work.stir()
            self.lost = error
            self.bench.work.rest(self)
            return pacing.pause_before_retry(self._losses)

    def step(self) -> float:
        """Do what is due; how many seconds later something is due again."""
        if not self._begun:
            self._begin()
        self._follow_notices()
        for item in self._collecting.settle(most=self.bench.work.left_in_burst):
            self._settled(item)
        self._expire_doubts()
        took = self._filling.fill(self)
        if not (self._outstanding or self._collecting or self._uploading):
            return self._rest(took=took)
        waits = [self._watch(), self._collecting.seconds_left(), self._outstanding.seconds_in_doubt()]
        return min((seconds for seconds in waits if seconds is not None), default=_IDLE_SECONDS)

    def finish(self, *, fill: bool) -> None:
        """The run ends: let downloads that are under way come in, for a moment. `fill`: send ahead what is asked.

        What came beyond the burst's size is left for the next one.
        """
        clock, work = self.bench.clock, self.bench.work
        until = clock.monotonic() + _LAST_DOWNLOADS_SECONDS
        if fill:
            self._filling.fill(self)
        while self._collecting and work.left_in_burst and not self.bench.halt.is_set():
            for item in self._collecting.settle(most=work.left_in_burst, at_once=True):
                self._settled(item)
            if (left := until - clock.monotonic()) <= 0:
                return
            if self._collecting:
                clock.wait(self.wake, left)
                self.wake.clear()

    def _begin(self) -> None:
        """Take over what earlier bursts left submitted on this server."""
        left = self._outstanding.items()
        self._recovery.take_over(left)
        if left:
            self._sweep()
        self._begun = True

    def _return(self) -> None:
        """Ask a lost server again; all that it has of ours is looked up. Errors: it is still lost."""
        bench = self.bench
        bench.client.queue_remaining()
        if isinstance(self.lost, TransientError):
            self._stillness.stirred()
        for key in bench.work.held_by(self):
            item = bench.store.get(key)
            if item.status is not Status.SUBMITTED or item.server != bench.client.url:
                self._drop(key)
            elif key not in self._collecting:
                self._outstanding.take_in(item)
        if self._begun:
            self._sweep()
        if self._suiting is not None:
            self._suiting.forget()
        self._uploading.forget()
        self.lost, self._losses = None, 0

    def _rest(self, *, took: bool) -> float:
        if took:
            return max(0.0, self._filling.seconds_paused())
        self.bench.work.rest(self)
        return _IDLE_SECONDS

    # Watch

    def _watch(self) -> float | None:
        """Ask for the oldest prompt if it is time; seconds until it is time again, None where there is none."""
        client = self.bench.client
        is_troubled = client.failures != self._failures and bool(self._outstanding)
        if is_troubled and self._rhythm.until_sweep() <= 0:
            self._sweep()
            return 0.0
        oldest = self._outstanding.oldest()
        if oldest is None:
            return self._rhythm.until_sweep() if is_troubled else None
        assert oldest.prompt_id is not None
        if oldest.prompt_id != self._oldest:
            self._oldest = oldest.prompt_id
            self.bench.work.began(oldest)
        if (left := self._rhythm.until_look(oldest.prompt_id)) > 0:
            return left
        try:
            entry = client.history(oldest.prompt_id)
        except UnexpectedAnswer as error:
            self._meet(oldest, Unclear(error))
            return 0.0
        self._answered()
        if entry is not None:
            self._meet(oldest, Finished(entry))
            return 0.0
        if self._rhythm.is_quiet(self.bench.options.sweep_seconds):
            self._sweep()
            return 0.0
        self._outstanding.take_in(self._recovery.watch_suspect(oldest))
        self._rhythm.look_again()
        return self._rhythm.until_look(oldest.prompt_id)

    def _answered(self) -> None:
        """The server answered, at once or when it was asked again."""
        pushbacks = self.bench.client.pushbacks
        self._rhythm.answered(troubled=pushbacks != self._pushbacks)
        self._pushbacks = pushbacks

    def _follow_notices(self) -> None:
        """Another process changed items: follow a wish to cancel, let go of what is not ours any more."""
        while self._noticed:
            key = self._noticed.pop()
            watched = self._outstanding.get(key)
            if watched is None:
                continue
            now = self.bench.store.get(key)
            if now.status is not Status.SUBMITTED or now.prompt_id != watched.prompt_id:
                self._drop(key)
            elif now.cancel_requested and not watched.cancel_requested:
                self._outstanding.take_in(now)
                self._cancel(now)

    def _cancel(self, item: Item) -> None:
        """Take it back from the server; where it is still running it is watched until the server says it is over."""
        assert item.prompt_id is not None
        self._meet(item, withdraw(self.bench.client, [item.prompt_id])[item.prompt_id])
        self._rhythm.look_soon()

    def _expire_doubts(self) -> None:
        for item in self._outstanding.out_of_doubt():
            fate = self._recovery.resolve_doubt(item)
            self._outstanding.drop(item.key)
            self._meet(item, fate)

    # Sweep and settle

    def _sweep(self) -> None:
        """Look everything up at once: now and then, and after a request without an answer (a server restarted?)."""
        bench = self.bench
        self._failures = bench.client.failures
        items = self._outstanding.items()
        fates = look_up(bench.client, [item.prompt_id or "" for item in items])
        self._refuse_stall(fates)
        self._answered()
        self._rhythm.swept()
        for item in items:
            if bench.halt.is_set():
                return
            fate = fates[item.prompt_id or ""]
            if not (isinstance(fate, Absent) and self._outstanding.is_in_doubt(item.key)):
                self._meet(item, fate)

    def _meet(self, item: Item, fate: Fate) -> None:
        """Put an item where its fate belongs."""
        match fate:
            case Finished(entry):
                self._rhythm.ended()
                self._stillness.stirred()
                find = self._settling.finished(item, entry)
                if find is None:
                    self._settled(item)
                else:
                    self._outstanding.drop(item.key)
                    self._collecting.start(find)
            case Queued(prompt_id=prompt_id, running=running):
                self._adopt(item, prompt_id, running=running)
            case Unclear(error=error):
                self.bench.set_aside(item, error)
                self._drop(item.key)
            case Absent():
                if late := self._recovery.found_late(item):
                    self._meet(*late)
                    return
                self._recovery.gone(item)
                self._drop(item.key)

    def _adopt(self, item: Item, prompt_id: str, *, running: bool) -> None:
        """It waits or runs on the server: watched from now on."""
        if item.in_doubt or prompt_id != item.prompt_id:
            accepted = self.bench.change(item, lambda now: now.accept(prompt_id=prompt_id))
            if accepted is None:
                self._drop(item.key)
                return
            item = accepted
        if late := self._recovery.found_late(item):
            self._meet(*late)
            return
        self._outstanding.take_in(self._recovery.note_running(item) if running else item)

    def _settled(self, item: Item) -> None:
        """Its finished prompt is checkpointed, one way or the other."""
        if item.previous_prompt_ids:
            self._recovery.count_late_twins(item)
        self._drop(item.key)

    def _drop(self, key: str) -> None:
        self._outstanding.drop(key)
        self.bench.work.let_go(key)

    def _refuse_stall(self, fates: dict[str, Fate]) -> None:
        """A server that answers, but whose prompts do not change for too long."""
        client = self.bench.client
        # Of others' prompts before ours as many may come as go: what runs tells then that it is at work.
        seconds = self._stillness.seconds((fates, client.queue_remaining()), lambda: client.queue().running)
        if seconds >= self.bench.options.stall_seconds:
            raise ServerStalled(
                f"{client.url} answers, but what it runs has not changed for {seconds:.0f} s. "
                "Restart it; the items stay submitted and are looked up by the next burst."
            )
