"""`batches clean`: which batches are old, and what is said of removing their files."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.batches.batch_status import views_of
from orchestrator.batches.removal import remove_batches
from orchestrator.clock import Clock
from orchestrator.documents.lists import shortened
from orchestrator.errors import UsageError
from orchestrator.formatting import counted, in_lines, spoken_bytes
from orchestrator.migration import open_for_writing
from orchestrator.outputs.placement import placement_of
from orchestrator.settings import Overrides, load_settings
from orchestrator.trash import Trash
from orchestrator.unused_inputs import remove_unused
from orchestrator.unused_uploads import remove_unused_uploads
from state.open_store import open_store

if TYPE_CHECKING:
    from orchestrator.documents.batches import CleanDocument

_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_DURATION = re.compile(r"([0-9]{1,6})([hdw])")


@dataclass(frozen=True)
class Cleaned:
    """What `batches clean` removed, or would."""

    batches: tuple[str, ...]
    removed: tuple[str, ...]
    """Relative to the output directory, as the records name them; what a browser brought, to the state's directory."""
    bytes: int
    kept: tuple[str, ...]
    """Files that are not as recorded any more, or that another item's record names: they stay."""
    dry_run: bool

    def as_json(self, *, everything: bool = False) -> CleanDocument:
        """As `burst batches clean --json` prints it; `everything`: with all entries of its lists."""
        document: CleanDocument = {
            "schema": "burst.clean/2",
            "dry_run": self.dry_run,
            "batches": list(self.batches),
            "batches_total": len(self.batches),
            "removed": list(self.removed),
            "removed_total": len(self.removed),
            "bytes": self.bytes,
            "kept": list(self.kept),
            "kept_total": len(self.kept),
        }
        return shortened(document, "batches", "removed", "kept", everything=everything)

    def as_text(self, *, everything: bool = False) -> str:
        """A few lines for a person."""
        if not (self.batches or self.removed):
            return "No ended batch is that old."
        would = "Would remove" if self.dry_run else "Removed"
        where = "the trash or of inputs that nothing needs"
        of = f"{len(self.batches)} batches" if len(self.batches) > 1 else "1 batch" if self.batches else where
        lines = [f"{would} {counted(len(self.removed), 'file')} ({spoken_bytes(self.bytes)}) of {of}:"]
        lines += [f"  {batch}" for batch in self.batches]
        lines += [f"Kept, because it is not as recorded or another item's: {path}" for path in self.kept]
        return in_lines(lines)


def parse_duration(text: str) -> timedelta:
    """`12h`, `30d`, `2w`. Errors: UsageError."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise UsageError(f"{text!r} is not a duration; write hours, days or weeks, such as 12h, 30d or 2w")
    return int(found[1]) * _UNITS[found[2]]


def clean_batches(
    state: Path,
    *,
    older_than: timedelta,
    dry_run: bool = False,
    overrides: Overrides | None = None,
    clock: Clock | None = None,
) -> Cleaned:
    """Remove the images and sidecars of batches that ended so long ago, and what was moved to the trash before then.

    Of a state in a database also the copies of prompt images that were taken in before then and that no item names;
    and what a browser brought for batches, where nothing names it.
    Only files that their records name and that are still as recorded, and a batch directory's own batch_info.json.
    Killed in between and repeated, it goes on: what is gone is passed over. Errors: StateError, SettingsError, OSError.
    """
    settings = load_settings(state, overrides)
    clock = clock or Clock()
    with open_store(state, read_only=True) if dry_run else open_for_writing(state, clock=clock) as store:
        there = [batch for batch in store.batches.read().values() if not batch.gone]
        before = clock.now() - older_than
        old = {view.id: view for view in views_of(store, there) if not view.remaining and view.last_at < before}
        placement = placement_of(store, settings)
        with contextlib.nullcontext() if dry_run else store.adding():
            store.refresh()
            gone = remove_batches(
                store,
                {view.id: view.record for view in old.values()},
                placement=placement,
                ended_at={view.id: view.last_at for view in old.values()},
                at=clock.now(),
                dry_run=dry_run,
            )
        trash = Trash(store, placement, clock=clock).empty(before=before, dry_run=dry_run)
        trashed = tuple(str(one.output.kept_as) for one in trash.files)
        unused = remove_unused(store, placement, before=before, dry_run=dry_run, clock=clock)
        uploads = remove_unused_uploads(store, before=before, dry_run=dry_run, clock=clock)
        return Cleaned(
            batches=tuple(old),
            removed=(*gone.files, *trashed, *unused.files, *uploads.files),
            bytes=gone.bytes + trash.bytes + unused.bytes + uploads.bytes,
            kept=gone.kept,
            dry_run=dry_run,
        )
