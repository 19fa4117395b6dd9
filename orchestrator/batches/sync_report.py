"""What `burst sync` did, or would do, to bring a batch to what its list says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from orchestrator.batches.generate_report import place_of
from orchestrator.documents.lists import FIRST, shortened
from orchestrator.formatting import counted, in_lines, more_lines
from orchestrator.wording import named
from state.item import Item

if TYPE_CHECKING:
    from orchestrator.documents.batches import SyncDocument, SyncedRowDocument

Added = Literal["new", "back"]
Altered = Literal["edited", "redone", "priority", "cancelled", "left"]
Gone = Literal["pending", "submitted", "completed", "failed", "cancelled", "pruned"]

_TEXTS: dict[str, str] = {
    "new": "new",
    "back": "back in the list, due again",
    "edited": "not rendered yet",
    "redone": "rendered again under its name",
    "priority": "another priority",
    "left": "on a server now and left as it is; sync again when it is done",
    "pending": "still due",
    "submitted": "on a server now",
    "completed": "its images stay",
    "failed": "stays as it is",
    "cancelled": "stays as it is",
    "pruned": "cancelled",
}


@dataclass(frozen=True)
class SyncedRow:
    """One item. `what`: one of `Added`, `Altered` or `Gone`."""

    item: Item
    what: str

    def as_json(self) -> SyncedRowDocument:
        return {
            "item": self.item.key,
            "id": self.item.row_id or None,
            "place": place_of(self.item),
            "prompt": self.item.prompt_text,
            "what": self.what,
        }

    def as_text(self, sign: str) -> str:
        row = f" ({self.item.row_id})" if self.item.row_id else ""
        return f"  {sign} {place_of(self.item)}{row}: {self.item.prompt_text or ''} [{_TEXTS[self.what]}]"


@dataclass(frozen=True)
class Synced:
    """The rows that were added, changed and gone; `unchanged`: how many were as they are."""

    batch: str
    name: str
    created: bool
    """Whether there was no batch of this name."""
    dry_run: bool
    added: Sequence[SyncedRow]
    changed: Sequence[SyncedRow]
    gone: Sequence[SyncedRow]
    unchanged: int
    notes: tuple[str, ...] = ()
    next: str | None = None
    """What to type next; None where nothing is due."""
    exit_code: int = 0

    def as_json(self, *, everything: bool = False) -> SyncDocument:
        """As `burst sync --json` prints it; `everything`: with all entries of its lists."""
        document: SyncDocument = {
            "schema": "burst.sync/1",
            "batch": self.batch,
            "name": self.name,
            "created": self.created,
            "dry_run": self.dry_run,
            "added": [row.as_json() for row in self.added],
            "added_total": len(self.added),
            "changed": [row.as_json() for row in self.changed],
            "changed_total": len(self.changed),
            "gone": [row.as_json() for row in self.gone],
            "gone_total": len(self.gone),
            "unchanged": self.unchanged,
            "total": len(self.added) + len(self.changed) + len(self.gone) + self.unchanged,
            "notes": list(self.notes),
            "next": self.next,
        }
        return shortened(document, "added", "changed", "gone", "notes", everything=everything)

    def as_text(self, *, everything: bool = False) -> str:
        """The plan: what of each kind, and some of them; `everything`: all."""
        batch = f"a new batch {self.name}" if self.created and self.dry_run else f"batch {self.batch} ({self.name})"
        lines = [f"{'Plan for' if self.dry_run else 'Synced'} {batch}: {self._summary()}"]
        for sign, rows in (("+", self.added), ("~", self.changed), ("-", self.gone)):
            shown = rows if everything else rows[:FIRST]
            lines += [row.as_text(sign) for row in shown]
            lines += [f"  {line}" for line in more_lines(len(rows) - len(shown), "more")]
        due = sum(row.what == "pending" for row in self.gone)
        if due:
            lines.append(f"{counted(due)} without a row still due; {named('prune', True)} cancels them")
        lines += [f"Note: {note}" for note in self.notes]
        if self.dry_run:
            lines.append("Nothing was changed.")
        elif self.next is not None:
            lines.append(f"Next: {self.next}")
        return in_lines(lines)

    def _summary(self) -> str:
        kinds = (("added", self.added), ("changed", self.changed), ("gone", self.gone))
        return ", ".join(
            [*(f"{len(rows)} {kind}{_split(rows)}" for kind, rows in kinds), f"{self.unchanged} unchanged"]
        )


def _split(rows: Sequence[SyncedRow]) -> str:
    """How many of which kind, where that says more than their number."""
    counts = Counter(row.what for row in rows if row.what != "new")
    return f" ({', '.join(f'{count} {what}' for what, count in counts.items())})" if counts else ""
