"""What `burst generate` says when it ends: what became of a batch, or what it would be."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from orchestrator.batches.planning import Plan
from orchestrator.burst_endings import TEXTS, Ended
from orchestrator.cycle.report import BurstReport
from orchestrator.cycle.set_aside import next_step
from orchestrator.documents.lists import FIRST, shortened
from orchestrator.errors import EXIT_DONE, EXIT_ITEMS_FAILED
from orchestrator.formatting import counted, in_lines, more_lines, spoken_seconds
from orchestrator.pause_text import text_of_pause
from orchestrator.servers import parse_servers
from orchestrator.settings import Overrides, Settings
from orchestrator.wording import named
from state.batch import BatchRecord
from state.counts import Counts
from state.facts import Pause
from state.item import Item, Status

if TYPE_CHECKING:
    from orchestrator.documents.batches import GenerateDocument, GenerateDryRunDocument


@dataclass(frozen=True)
class FailedImage:
    """An image that was not made."""

    item: str
    """The key of its item."""
    image: str
    """Where it would be, relative to the output directory."""
    message: str


@dataclass(frozen=True)
class Generated:
    """What became of a batch so far."""

    record: BatchRecord
    directories: tuple[str, ...]
    """Where its images go: one, unless some of its items were given another output root since."""
    counts: Counts
    failures: tuple[FailedImage, ...]
    """In the batch's order."""
    seconds: float
    ended: Ended | Literal["queued"]
    """As of a `BurstReport`: done, failure (`on_error` is stop), stopped, deadline, limit, or error; or queued."""
    reason: str | None = None
    """Why it is not done, where bursts ended early."""
    exit_code: int = EXIT_DONE
    notes: tuple[str, ...] = ()
    """What else its bursts have to say."""
    resume: str = "burst run"
    """What to type for the rest."""
    continued: bool = False
    """Whether an earlier call of the same request made the batch."""

    @classmethod
    def of(
        cls,
        record: BatchRecord,
        items: Sequence[Item],
        report: BurstReport | None,
        *,
        ended: Ended | Literal["queued"],
        pause: Pause | None = None,
        planned_notes: tuple[str, ...] = (),
        **facts: Any,
    ) -> Generated:
        """`report` is that of its bursts, where this process had any; `ended` is how it ended where it had none.

        `pause`: to be noted. `planned_notes`: those of the plan.
        """
        counts = Counts.of(items)
        failed = (item for item in items if item.status is Status.FAILED)
        failures = [FailedImage(item.key, place_of(item), item.error.message if item.error else "") for item in failed]
        reason, code = None, EXIT_ITEMS_FAILED if failures else EXIT_DONE
        notes = ((_same_request(record),) if facts.get("continued") else ()) + planned_notes
        if pause is not None:
            notes = (*notes, text_of_pause(pause))
        if failures and record.on_error == "stop" and counts.remaining:
            ended, reason = "failure", f"{failures[0].image} failed, and {named('on_error')} is stop"
        if report is not None:
            ended = report.ended
            reason, code = (report.reason, report.exit_code) if report.reason is not None else (reason, code)
            if report.is_stuck and report.set_aside:
                facts["resume"] = next_step(report.set_aside, then=facts.get("resume", cls.resume))
        return cls(
            record=record,
            counts=counts,
            failures=tuple(failures),
            ended=ended,
            reason=reason,
            exit_code=code,
            notes=(*notes, *((*report.notes, *report.set_aside_lines()) if report is not None else ())),
            **facts,
        )

    @property
    def directory(self) -> Path:
        """Where its images go, or most of them."""
        return Path(self.directories[0])

    @property
    def remaining(self) -> int:
        return self.counts.remaining

    def as_json(self, *, everything: bool = False) -> GenerateDocument:
        """As `burst generate --json` prints it; `everything`: with all entries of its lists."""
        document: GenerateDocument = {
            "schema": "burst.generate/2",
            "batch": self.record.batch,
            "name": self.record.name,
            "continued": self.continued,
            "directory": self.directories[0],
            "directories": list(self.directories),
            "total": self.record.total,
            "remaining": self.remaining,
            "counts": self.counts.as_json(),
            "failures": [{"item": one.item, "image": one.image, "message": one.message} for one in self.failures],
            "failures_total": len(self.failures),
            "seed": self.record.parameters.get("seed"),
            "seconds": round(self.seconds, 3),
            "ended": self.ended,
            "reason": self.reason,
            "notes": list(self.notes),
            "next": self.resume if self.remaining else None,
            "exit_code": self.exit_code,
        }
        return shortened(document, "failures", "notes", everything=everything)

    def as_text(self, *, everything: bool = False) -> str:
        """The summary: how many, what failed, where they are, and what to type next."""
        if self.ended == "queued":
            return self._queued()
        done, failed = self.counts.completed, self.counts.failed
        lines = [f"Batch {self.record.label}: {done} of {self.record.total} done in {spoken_seconds(self.seconds)}"]
        lines[0] += f", {failed} failed" if failed else ""
        lines[0] += f", {self.counts.cancelled} cancelled" if self.counts.cancelled else ""
        if self.remaining and self.ended != "done" and self.reason is None:
            lines[0] += f"; {TEXTS[self.ended]}"
        failures = self.failures if everything else self.failures[:FIRST]
        lines += [f"  failed: {one.image}: {one.message}" for one in failures]
        lines += [f"  {line}" for line in more_lines(len(self.failures) - len(failures), "more failed")]
        if self.reason is not None:
            lines.append(f"Stopped: {self.reason}")
        lines += [f"Note: {note}" for note in self.notes]
        if done:
            lines.append(f"Images are in {' and '.join(self.directories)}")
        if self.remaining:
            lines.append(f"{counted(self.remaining)} left. Next: {self.resume}")
        return in_lines(lines)

    def _queued(self) -> str:
        return in_lines(
            [
                f"Batch {self.record.label}: {counted(self.record.total)}"
                + (f", {self.remaining} left" if self.continued else " added"),
                *(f"Note: {note}" for note in self.notes),
                f"Images will be in {' and '.join(self.directories)}",
                f"The next run renders them, or the one that is at work. Next: {self.resume}",
            ]
        )


@dataclass(frozen=True)
class Planned:
    """What `--dry-run` shows."""

    plan: Plan
    continues: BatchRecord | None = None
    """The batch that this request has already, which would be continued instead."""
    exit_code: int = EXIT_DONE

    def as_json(self, *, everything: bool = False) -> GenerateDryRunDocument:
        """As `burst generate --dry-run --json` prints it; `everything`: with all entries of its lists."""
        document: GenerateDryRunDocument = {
            "schema": "burst.generate-dry-run/2",
            "continues": self.continues.batch if self.continues is not None else None,
            "items": [
                {"place": place_of(item), "prompt": item.prompt_text, "inputs": dict(item.inputs)}
                for item in self.plan.items
            ],
            "items_total": len(self.plan.items),
            "graph": self.plan.first_graph,
            "notes": list(self.plan.notes),
        }
        return shortened(document, "items", "notes", everything=everything)

    def as_text(self, *, everything: bool = False) -> str:
        """A line an item, and the first graph."""
        lines = [f"Would add {counted(self.plan.record.total)}:"]
        if self.continues is not None:
            lines = [
                f"Would continue batch {self.continues.label}, made by the same request. "
                f"With {named('always_new', True)}:"
            ]
        for item in self.plan.items:
            said = ", ".join(f"{name} {value}" for name, value in item.inputs.items())
            lines.append(f"  {place_of(item)}: {item.prompt_text} ({said})")
        lines += [f"Note: {note}" for note in self.plan.notes]
        graph = json.dumps(self.plan.first_graph, indent=2, ensure_ascii=False)
        return in_lines([*lines, "First graph:", *graph.split("\n")])


def resuming(said: Overrides, kept: Settings) -> str:
    """The command for what is left of a batch: what was said for it and is not remembered has to be said again."""
    words = ["burst", "run"]
    servers = parse_servers(said.servers, source=named("servers"), known=kept.servers) if said.servers else ()
    if servers and servers != kept.servers:
        words += [word for server in servers for word in ("--server", server.argument)]
    return shlex.join(words)


def _same_request(record: BatchRecord) -> str:
    way = f"another {named('name')}" if record.name is not None else named("always_new", True)
    return f"the same request already made batch {record.batch}, so no new one was made; {way} makes one"


def place_of(item: Item) -> str:
    """Where an item's first picture goes, relative to the output directory."""
    return f"{item.subfolder}/{item.filename}" if item.subfolder else item.filename
