"""One burst: recover → select → submit → watch → collect → checkpoint.

Everything out on the server is in `_watched` (answered) or `_doubts` (an intent without an answer). The loop asks for
the oldest watched prompt; now and then, and after trouble, everything is looked up at once. Recovery is nothing else:
what an earlier burst left submitted is put among the watched and looked up.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable
from typing import Literal

from orchestrator import pacing
from orchestrator.errors import ItemError, ServerStalled, UnexpectedAnswer
from orchestrator.lookup import Absent, Fate, Finished, Queued, Unclear, look_up, withdraw
from orchestrator.recovery import Recovery
from orchestrator.settling import Settling
from orchestrator.submission import Submission
from orchestrator.wording import counted
from orchestrator.workbench import Workbench
from state.item import Item, Status, remaining

Ending = Literal["done", "deadline", "stopped", "failure"]
_LOOK_SECONDS = 0.25
"""How often other processes' changes and the stop event are looked at, whatever the polling interval."""


class Cycle:
    """One bounded run over the store. `run` returns why it ended; errors leave every item in its place."""

    def __init__(self, bench: Workbench, *, deadline: float | None = None) -> None:
        self._bench = bench
        self._deadline = deadline
        self._settling = Settling(bench)
        self._recovery = Recovery(bench, self._settling)
        self._submission = Submission(bench)
        self._watched: dict[str, Item] = {}
        self._doubts: dict[str, tuple[Item, float]] = {}
        self._tick: float | None = None
        self._asked: str | None = None
        now = bench.clock.monotonic()
        self._last_end = self._last_change = self._last_sweep = now
        self._last_sight: object = None
        self._failures = 0

    def run(self) -> Ending:
        """Work until N items have ended, nothing is left, or something says stop."""
        left = remaining(self._bench.store.counts())
        if not left:
            return "done"
        self._bench.tally.planned = min(self._bench.options.size, left)
        self._recovery.delete_strays(self._bench.client.queue())
        self._recover()
        while (ending := self._ending()) is None:
            self._fill()
            if self._watched or self._doubts:
                self._watch()
            elif (pause := self._submission.seconds_paused()) > 0:
                self._wait(pause)
            else:
                return "done"
        if ending == "done":
            # Where recovery alone ended as many as were asked for, nothing was sent ahead yet.
            self._fill()
        return ending

    # Recover

    def _recover(self) -> None:
        """Take over what earlier bursts left submitted on this server."""
        bench = self._bench
        elsewhere: Counter[str] = Counter()
        unwanted = []
        for item in bench.store.items(Status.SUBMITTED):
            if item.prompt_id is None:
                bench.put_back(item, charge=False)
            elif item.server not in (None, bench.client.url):
                elsewhere[item.server or "?"] += 1
            else:
                bench.tally.recovered += 1
                self._take_in(item)
                unwanted += [item.prompt_id] if item.cancel_requested else []
        for server, count in elsewhere.items():
            bench.tally.note(
                f"{counted(count)} submitted to {server}, which this run does not use, stay there. "
                f"Run with --server {server}, or give them up with --abandon-server {server}."
            )
        if unwanted:
            withdraw(bench.client, unwanted)
        if self._watched or self._doubts:
            self._remove_leftovers()
            self._sweep()

    def _remove_leftovers(self) -> None:
        """Half downloads of killed bursts, looked for once in each directory."""
        ids: dict[str, list[str]] = {}
        for item in (*self._watched.values(), *(item for item, _ in self._doubts.values())):
            ids.setdefault(item.subfolder, []).extend([item.prompt_id or "", *item.previous_prompt_ids])
        for subfolder, prompt_ids in ids.items():
            with contextlib.suppress(ItemError):
                self._bench.outputs.remove_leftovers(subfolder, prompt_ids)

    def _take_in(self, item: Item) -> None:
        if item.in_doubt:
            self._doubts[item.key] = (item, self._bench.clock.monotonic() + self._recovery.seconds_in_doubt(item))
        else:
            self._watched[item.key] = item

    # Select and submit

    def _fill(self) -> None:
        """Submit as many as this burst may have out: the rest of its N, and those ahead."""
        options = self._bench.options
        out = len(self._watched) + len(self._doubts)
        room = options.size + options.ahead - self._bench.tally.ended - out
        if room <= 0 or self._submission.seconds_paused() > 0:
            return
        due = self._bench.store.due(room, skip=self._watched.keys() | self._doubts.keys())
        plain = []
        for item in due:
            if item.may_be_on_a_server:
                self._doubt_hand_edit(item)
            else:
                plain.append(item)
        if plain:
            for item in self._submission.submit(self._one_alone(plain, out=out)):
                self._take_in(item)

    def _one_alone(self, due: list[Item], *, out: int) -> list[Item]:
        """A template that overwrites what it saves runs one prompt at a time, with nothing else out."""
        alone = next((at for at, item in enumerate(due) if self._submission.needs_to_be_alone(item)), None)
        if alone is None:
            return [] if out and self._any_alone() else due
        if alone == 0:
            return [] if out else due[:1]
        return due[:alone]

    def _any_alone(self) -> bool:
        return any(self._submission.needs_to_be_alone(item) for item in self._watched.values())

    def _doubt_hand_edit(self, item: Item) -> None:
        """Set to pending by hand while its prompt was out: looked up before it is sent again."""
        doubted = self._bench.change(item, lambda now: now.doubt())
        if doubted is None or doubted.server != self._bench.client.url:
            return
        left = 0.0 if item.accepted else self._recovery.seconds_in_doubt(doubted)
        self._doubts[item.key] = (doubted, self._bench.clock.monotonic() + left)

    # Watch

    def _watch(self) -> None:
        """Ask for the oldest prompt, or wait a little."""
        self._expire_doubts()
        oldest = next(iter(self._watched.values()), None)
        if oldest is None and self._bench.client.failures != self._failures:
            self._sweep()
            return
        if oldest is None:
            self._wait(min((until for _, until in self._doubts.values()), default=0.0) - self._bench.clock.monotonic())
            return
        if oldest.prompt_id != self._asked:
            self._asked, self._tick = oldest.prompt_id, None
        assert oldest.prompt_id is not None
        try:
            entry = self._bench.client.history(oldest.prompt_id)
        except UnexpectedAnswer as error:
            self._meet(oldest, Unclear(error))
            return
        if entry is not None:
            self._meet(oldest, Finished(entry))
            return
        since = self._bench.clock.monotonic() - max(self._last_end, self._last_sweep)
        if since >= self._bench.options.sweep_seconds or self._bench.client.failures != self._failures:
            self._sweep()
            return
        self._wait(self._next_tick())

    def _next_tick(self) -> float:
        expected = None
        if (pace := self._bench.pace.seconds_per_item) is not None:
            expected = max(0.0, self._last_end + pace - self._bench.clock.monotonic())
        self._tick = pacing.next_tick(
            self._tick, expected_seconds=expected, poll_seconds=self._bench.options.poll_seconds
        )
        return self._tick

    def _wait(self, seconds: float) -> None:
        """Wait, but look at other processes' changes, doubts and the stop event all the while."""
        bench = self._bench
        until = bench.clock.monotonic() + seconds
        while (left := until - bench.clock.monotonic()) > 0:
            if bench.clock.wait(bench.stop, min(left, _LOOK_SECONDS)) or self._ending() is not None:
                return
            bench.store.settle()
            if changed := bench.store.refresh():
                self._notice(changed)
                return

    def _notice(self, keys: Iterable[str]) -> None:
        """Another process changed items: follow a wish to cancel, let go of what is not ours any more."""
        for key in keys:
            watched = self._watched.get(key) or (self._doubts[key][0] if key in self._doubts else None)
            if watched is None:
                continue
            now = self._bench.store.get(key)
            if now.status is not Status.SUBMITTED or now.prompt_id != watched.prompt_id:
                self._drop(key)
            elif now.cancel_requested and not watched.cancel_requested:
                self._take_in(now)
                self._cancel(now)

    def _cancel(self, item: Item) -> None:
        """Take it back from the server; where it is still running it is watched until the server says it is over."""
        assert item.prompt_id is not None
        self._meet(item, withdraw(self._bench.client, [item.prompt_id])[item.prompt_id])

    def _expire_doubts(self) -> None:
        now = self._bench.clock.monotonic()
        for key, (item, until) in list(self._doubts.items()):
            if until <= now:
                fate = self._recovery.resolve_doubt(item)
                del self._doubts[key]
                self._meet(item, fate)

    # Sweep and settle

    def _sweep(self) -> None:
        """Look everything up at once: now and then, and after a request without an answer (a server restarted?)."""
        bench = self._bench
        self._failures = bench.client.failures
        items = [*self._watched.values(), *(item for item, _ in self._doubts.values())]
        fates = look_up(bench.client, [item.prompt_id or "" for item in items])
        self._last_sweep = bench.clock.monotonic()
        self._refuse_stall(fates)
        for item in items:
            if self._ending() == "stopped":
                return
            fate = fates[item.prompt_id or ""]
            if isinstance(fate, Absent) and item.key in self._doubts:
                continue
            self._doubts.pop(item.key, None)
            self._meet(item, fate)

    def _meet(self, item: Item, fate: Fate) -> None:
        """Put an item where its fate belongs."""
        match fate:
            case Finished():
                self._settle(item, fate)
            case Queued(prompt_id=prompt_id):
                self._adopt(item, prompt_id)
            case Unclear(error=error):
                self._bench.set_aside(item, error)
                self._ended(item)
            case Absent():
                if not self._recovery.follow_old_ids(item):
                    self._recovery.gone(item)
                self._ended(item)

    def _adopt(self, item: Item, prompt_id: str) -> None:
        """It waits or runs on the server: watched from now on."""
        if item.in_doubt or prompt_id != item.prompt_id:
            accepted = self._bench.change(item, lambda now: now.accept(prompt_id=prompt_id))
            if accepted is None:
                self._drop(item.key)
                return
            item = accepted
        if self._recovery.follow_old_ids(item):
            self._ended(item)
            return
        self._watched[item.key] = item

    def _settle(self, item: Item, finished: Finished) -> None:
        self._settling.finished(item, finished.entry)
        if item.previous_prompt_ids:
            self._recovery.count_late_twins(item)
        self._ended(item)

    def _ended(self, item: Item) -> None:
        """Checkpointed, one way or the other."""
        self._drop(item.key)
        self._last_end = self._last_change = self._bench.clock.monotonic()
        self._bench.store.settle()

    def _drop(self, key: str) -> None:
        self._watched.pop(key, None)
        self._doubts.pop(key, None)

    def _refuse_stall(self, fates: dict[str, Fate]) -> None:
        """Nothing about our prompts or the length of the queue has changed for too long."""
        bench = self._bench
        sight = (fates, bench.client.queue_remaining())
        now = bench.clock.monotonic()
        if sight != self._last_sight:
            self._last_sight, self._last_change = sight, now
        elif now - self._last_change >= bench.options.stall_seconds:
            raise ServerStalled(
                f"{bench.client.url} answers, but what it runs has not changed for {now - self._last_change:.0f} s. "
                "Restart it; the items stay submitted and are looked up by the next burst."
            )

    def _ending(self) -> Ending | None:
        tally, options = self._bench.tally, self._bench.options
        if self._bench.stop.is_set():
            return "stopped"
        if tally.failed and options.on_error == "stop":
            return "failure"
        if tally.ended >= options.size:
            return "done"
        if self._deadline is not None and self._bench.clock.monotonic() >= self._deadline:
            return "deadline"
        return None
