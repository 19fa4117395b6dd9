"""The report of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from orchestrator.burst_endings import TEXTS, Ended, nothing_left
from orchestrator.cycle.request import Request
from orchestrator.cycle.set_aside import SetAside, next_step
from orchestrator.cycle.tally import Tally
from orchestrator.documents.lists import FIRST, shortened
from orchestrator.errors import EXIT_DONE, EXIT_ITEMS_FAILED
from orchestrator.formatting import counted, in_lines, more_lines, spoken_seconds
from orchestrator.pause_text import RESUME
from orchestrator.servers import Server
from orchestrator.settings import Settings
from state.burst_record import recent_records
from state.counts import Counts
from state.item import Status
from state.open_store import open_store

if TYPE_CHECKING:
    from orchestrator.documents.runs import BurstReportDocument, ServerDocument

_SHOWN_KEYS = 3


class ServerReport(msgspec.Struct, frozen=True):
    """The share of one server in a run."""

    name: str
    url: str
    completed: int
    failed: int
    out: int
    """Prompts of this state that it still has."""
    seconds_per_item: float | None
    lost: str | None
    """Why it is not used at the moment; None while it answers."""

    @classmethod
    def of(
        cls, server: Server, tally: Tally, *, out: int, seconds_per_item: float | None, lost: str | None
    ) -> ServerReport:
        return cls(server.name, server.url, tally.completed, tally.failed, out, seconds_per_item, lost)

    def as_json(self) -> ServerDocument:
        return {
            "name": self.name,
            "url": self.url,
            "completed": self.completed,
            "failed": self.failed,
            "out": self.out,
            "seconds_per_item": _rounded(self.seconds_per_item),
            "lost": self.lost,
        }

    def as_text(self) -> str:
        pace = f", {self.seconds_per_item:.2g} s per item" if self.seconds_per_item is not None else ""
        out = f", {self.out} still out" if self.out else ""
        return f"  {Server(self.name, self.url).shown}: {self.completed} completed{out}{pace}" + (
            f"; {self.lost}" if self.lost else ""
        )


class BurstReport(msgspec.Struct, frozen=True):
    """One burst, or several in a row under `until_done`. Times in seconds."""

    burst: str
    ended: Ended
    reason: str | None
    """Why it ended early; None where it did not."""
    exit_code: int
    bursts: int
    completed: int
    failed: int
    cancelled: int
    recovered: int
    rescued: int
    put_back: int
    rendered_twice: int
    possibly_twice: int
    """Items due again although a server may have rendered them: one out of reach, or one that forgot them."""
    counts: Counts
    next_batch: tuple[str, ...]
    """Keys of the items that the next burst will take: none whose recipe is set aside."""
    next_batch_size: int
    seconds: float
    seconds_per_item: float | None
    seconds_left: float | None
    """Until everything that another run can render is done; None where that is nothing, or no pace is known."""
    requests: int
    output_dir: str
    """The output root of this run's images, where all went to one; otherwise the default one."""
    output_dirs: dict[str, int]
    """Output root → the number of items whose images this run saved there."""
    servers: tuple[ServerReport, ...] = ()
    """Those that were used: none where nothing was due."""
    failures: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    set_aside: tuple[SetAside, ...] = ()
    """Recipes that could not be used; their items stayed as they were."""

    @property
    def total(self) -> int:
        """How many items the state holds."""
        return self.counts.total

    @property
    def done(self) -> int:
        return self.counts.completed

    @property
    def remaining(self) -> int:
        """Items still due or out on a server."""
        return self.counts.remaining

    @property
    def is_stuck(self) -> bool:
        """Items remain, and another run would render none of them."""
        return self.remaining > 0 and not self.next_batch_size and not self._collectable

    @property
    def _collectable(self) -> int:
        """How many submitted items another run can collect."""
        return self.counts.submitted - sum(one.submitted for one in self.set_aside)

    def as_json(self, *, everything: bool = False) -> BurstReportDocument:
        """As `burst run --json` prints it; `everything`: with all entries of its lists."""
        document: BurstReportDocument = {
            "schema": "burst.report/2",
            "burst": self.burst,
            "ended": self.ended,
            "reason": self.reason,
            "exit_code": self.exit_code,
            "bursts": self.bursts,
            "completed": self.completed,
            "failed": self.failed,
            "cancelled": self.cancelled,
            "recovered": self.recovered,
            "rescued": self.rescued,
            "put_back": self.put_back,
            "rendered_twice": self.rendered_twice,
            "possibly_twice": self.possibly_twice,
            "total": self.total,
            "remaining": self.remaining,
            "counts": self.counts.as_json(),
            "next_batch": {"size": self.next_batch_size, "first": list(self.next_batch[:_SHOWN_KEYS])},
            "seconds": round(self.seconds, 3),
            "seconds_per_item": _rounded(self.seconds_per_item),
            "seconds_left": _rounded(self.seconds_left),
            "requests": self.requests,
            "output_dirs": self.output_dirs or {self.output_dir: 0},
            "servers": [server.as_json() for server in self.servers] if everything or self._are_servers_told else [],
            "failures": [{"item": key, "message": message} for key, message in self.failures],
            "failures_total": len(self.failures),
            "notes": list(self.notes),
            "set_aside": [one.as_json(everything=everything) for one in self.set_aside],
        }
        return shortened(document, "failures", "notes", "set_aside", everything=everything)

    @property
    def _are_servers_told(self) -> bool:
        """What one server did, the report says itself."""
        return len(self.servers) > 1 or any(server.lost is not None for server in self.servers)

    def as_text(self, *, everything: bool = False) -> str:
        """A few lines for a person; `everything`: with all failures."""
        lines = [self._headline()]
        if self.reason is not None and self.bursts:
            lines.append(f"Stopped: {self.reason}")
        lines.append(f"Progress: {self.done}/{self.total}{self._percent()}{self._standing()}")
        lines += [server.as_text() for server in self.servers if len(self.servers) > 1]
        failures = self.failures if everything else self.failures[:FIRST]
        lines += [f"Failed: {key}: {message}" for key, message in failures]
        lines += more_lines(len(self.failures) - len(failures), "more failed")
        lines += self.set_aside_lines()
        lines.append(self._next())
        lines += [f"Note: {note}" for note in self.notes]
        if self.completed:
            lines.append(f"Images are in {self._places()}")
        return in_lines(lines)

    def _places(self) -> str:
        if len(self.output_dirs) < 2:
            return self.output_dir
        return " and ".join(f"{root} ({counted(count)})" for root, count in self.output_dirs.items())

    def set_aside_lines(self) -> list[str]:
        """One for each recipe that could not be used, except the one that `reason` is about."""
        return [one.as_text() for one in self.set_aside if one.reason not in (self.reason or "")]

    def _headline(self) -> str:
        if not self.bursts:
            return f"Nothing was started: {self.reason}"
        if self.ended == "done" and not self.servers:
            return "No item is due; no server was contacted."
        parts = [f"{self.completed} completed"]
        parts += [
            f"{count} {word}"
            for count, word in (
                (self.failed, "failed"),
                (self.cancelled, "cancelled"),
                (self.recovered, "taken over from an earlier burst"),
                (self.rescued, "rescued by name"),
                (self.rendered_twice, "rendered twice"),
                (self.possibly_twice, "possibly rendered twice"),
            )
            if count
        ]
        has_pace = self.completed and self.seconds_per_item is not None
        pace = f", {self.seconds_per_item:.2g} s per item" if has_pace else ""
        what = "This burst" if self.bursts == 1 else f"{self.bursts} bursts"
        return f"{what}: {', '.join(parts)} in {spoken_seconds(self.seconds)}{pace}{self._why()}"

    def _why(self) -> str:
        return "." if self.ended == "done" or self.reason is not None else f"; {TEXTS[self.ended]}."

    def _percent(self) -> str:
        return f" ({100 * self.done // self.total} %)" if self.total else ""

    def _standing(self) -> str:
        others = self.counts.as_text(without={Status.COMPLETED})
        return f", {others}" if others else ""

    def _next(self) -> str:
        if self.ended == "paused" and self.remaining:
            return f"{counted(self.remaining)} remaining. Next: {RESUME}"
        if not self.remaining:
            return nothing_left(self.counts)
        if self.is_stuck:
            return f"Next: {next_step(self.set_aside)}." if self.set_aside else "Nothing is due."
        left = f", about {spoken_seconds(self.seconds_left)} left" if self.seconds_left is not None else ""
        if not self.next_batch_size:
            return f"Next burst: collects the {self._collectable} submitted{left}."
        shown = ", ".join(self.next_batch[:_SHOWN_KEYS])
        more = ", …" if self.next_batch_size > _SHOWN_KEYS else ""
        return f"Next burst: {counted(self.next_batch_size)} ({shown}{more}){left}."


def not_started(request: Request, settings: Settings, *, ended: Ended, reason: str) -> BurstReport:
    """Of a run that ends before it begins. Takes no lock and writes nothing. Errors: StateError."""
    with open_store(request.state, read_only=True) as store:
        following = store.due(request.burst_size(recent_records(store.bursts)), batch=request.batch)
        return BurstReport(
            burst="",
            ended=ended,
            reason=reason,
            exit_code=EXIT_DONE,
            bursts=0,
            completed=0,
            failed=0,
            cancelled=0,
            recovered=0,
            rescued=0,
            put_back=0,
            rendered_twice=0,
            possibly_twice=0,
            counts=store.counts(),
            next_batch=tuple(item.key for item in following),
            next_batch_size=len(following),
            seconds=0.0,
            seconds_per_item=None,
            seconds_left=None,
            requests=0,
            output_dir=str(settings.output_dir),
            output_dirs={},
        )


def exit_code_of(*, failed: int) -> int:
    return EXIT_ITEMS_FAILED if failed else EXIT_DONE


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
