"""Moving a whole state to another address: between a JSON file, SQLite and PostgreSQL, in any direction.

The old one is marked as moved before the new one exists, so that no two states ever follow what is submitted.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.clock import Clock
from orchestrator.errors import StateError, UsageError
from orchestrator.formatting import counted, in_lines
from orchestrator.migration import open_for_writing
from orchestrator.rehoming import Rehoming
from state.contents import Contents
from state.counts import Counts
from state.location import Location, PassingHome
from state.open_store import create_from, open_store, parts_of

if TYPE_CHECKING:
    from orchestrator.documents.states import StateCopyDocument
    from state.store import StateParts, Store


@dataclass(frozen=True)
class StateCopy:
    """What `burst state copy` did."""

    source: str
    target: str
    counts: Counts
    batches: int
    recipes: int
    is_new: bool
    """False where an earlier call had copied everything."""
    notes: tuple[str, ...] = ()

    def as_json(self) -> StateCopyDocument:
        """As the command prints it with `--json`."""
        return {
            "schema": "burst.state-copy/1",
            "source": self.source,
            "target": self.target,
            "counts": self.counts.as_json(),
            "batches": self.batches,
            "recipes": self.recipes,
            "copied": self.is_new,
            "notes": list(self.notes),
        }

    def as_text(self) -> str:
        """A few lines for a person."""
        batches = "1 batch" if self.batches == 1 else f"{self.batches} batches"
        what = f"{counted(self.counts.total)}, {batches}, {counted(self.recipes, 'recipe')}"
        done = "copied and compared" if self.is_new else "there, by an earlier call"
        return in_lines(
            [
                f"{self.target}: {what} {done}",
                f"{self.source} is marked as moved and used no more; keep it as a backup, or delete it",
                *(f"Note: {note}" for note in self.notes),
                f"Next: burst run --state {self.target}",
            ]
        )


def copy_state(source: str, target: str, *, clock: Clock | None = None) -> StateCopy:
    """Copy everything, compare it, and leave the source marked as moved. Safe to repeat after a kill at any moment.

    Errors: UsageError for addresses that do not go together; StateError for a source that is not there or was moved
    elsewhere, and for a target that holds a state already; LockHeld while a run works on the source; DiskFull.
    """
    here, there = Location.of(source), Location.of(target)
    _refuse_impossible(here, there)
    old, new = parts_of(here, clock=clock), parts_of(there, clock=clock)
    moved = _moved_to(old)
    if moved not in (None, there.shown()):
        raise StateError(here.shown(), f"the state was moved to {moved} already; copy that one")
    if new.exists():
        if moved is None:
            raise StateError(there.shown(), "a state already exists here; choose another place")
        with open_store(here, read_only=True, clock=clock) as store:
            return _made(store, there, clock, is_new=False)
    # One that is marked is opened past its mark; any other is brought to the format version of today first.
    opened = open_store(here, clock=clock) if moved is not None else open_for_writing(here.path, clock=clock)
    with opened as store, store.lease() as lease:
        lease.record_killed()
        with store.adding():
            before = store.settings.read()
            if moved is None:
                store.settings.write(_marked(before, there))
            try:
                store.refresh()
                rehoming = Rehoming(store, there, settings=_unmarked(store.settings.read()))
                contents = rehoming.contents()
                create_from(there, contents, clock=clock)
            except BaseException:
                if not new.exists():
                    store.settings.write(_unmarked(before) or "")
                raise
            _refuse_difference(store, contents, there, clock)
            return _made(store, there, clock, is_new=True, notes=tuple(rehoming.notes()))


def _refuse_impossible(here: Location, there: Location) -> None:
    if here == there:
        raise UsageError(f"{here.shown()}: this is where the state is; name another place")
    if here.home != there.home and not any(isinstance(one.home, PassingHome) for one in (here, there)):
        way = "call this in that directory" if there.url is not None else "name a file in that directory"
        raise UsageError(
            f"{there.shown()}: the paths of {here.shown()} are relative to {here.home}, and this one's would be to "
            f"{there.home}; {way}"
        )
    if not parts_of(here).exists():
        raise StateError(here.shown(), "there is no state here; name the one that is to be copied")


def _refuse_difference(store: Store, contents: Contents, there: Location, clock: Clock | None) -> None:
    """Errors: StateError where the copy is not what was to be copied."""
    with open_store(there, read_only=True, clock=clock) as copy:
        different = contents.difference(Contents.of(copy))
    if different is not None:
        raise StateError(
            there.shown(),
            f"{different} differs from {store.location.shown()}, which another process changed meanwhile or which "
            "was not copied as it was; delete the copy and repeat the command",
        )


def _made(
    store: Store, there: Location, clock: Clock | None, *, is_new: bool, notes: tuple[str, ...] = ()
) -> StateCopy:
    with open_store(there, read_only=True, clock=clock) as copy:
        recipes = Contents.of(copy).recipes
        gone = [name for name, (recipe, graph) in recipes.items() if recipe.workflow and graph is None]
        unread = (f"recipe {name}: its workflow cannot be read, here as there; see `burst doctor`" for name in gone)
        return StateCopy(
            source=store.location.shown(),
            target=there.shown(),
            counts=copy.counts(),
            batches=len(copy.batches.read()),
            recipes=len(recipes),
            is_new=is_new,
            notes=(*unread, *notes),
        )


def _moved_to(parts: StateParts) -> str | None:
    try:
        moved = tomllib.loads(parts.settings.read() or "").get("moved_to")
    except (OSError, ValueError):
        return None  # who opens it says what is wrong
    return moved if isinstance(moved, str) else None


_MARK = "moved_to = "


def _marked(settings: str | None, there: Location) -> str:
    import tomli_w

    return tomli_w.dumps({"moved_to": there.shown()}) + (settings or "")


def _unmarked(settings: str | None) -> str | None:
    """The settings without the mark; None where they are nothing else."""
    if settings is None:
        return None
    left = "".join(line for line in settings.splitlines(keepends=True) if not line.startswith(_MARK))
    return left or None
