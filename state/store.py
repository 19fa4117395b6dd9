"""What every store of items offers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

import msgspec

from orchestrator.errors import StaleChange
from state.burst_record import BurstLog
from state.counts import Counts
from state.item import Item, Status
from state.lease import RunLock
from state.location import Location

if TYPE_CHECKING:
    from state.batch import BatchChange, BatchLog
    from state.facts import FactLog
    from state.recipe import RecipeBook

_Part = TypeVar("_Part", bound=msgspec.Struct)


FORMAT_VERSION = 2
"""Of a state and of its settings, as they are written."""
READABLE_VERSIONS = frozenset({1, FORMAT_VERSION})
"""A state of an older version is migrated before anything is written to it."""


@dataclass(frozen=True)
class Change:
    """One item's next record, worked out from its current one while nobody else can write.

    `expected` is the status that the change was decided on; None adds an item. `edit` returns None to remove it, which
    a status of `state.item.REMOVABLE` allows.
    """

    key: str
    expected: Status | None
    edit: Callable[[Item], Item | None]


@dataclass(frozen=True)
class Backlog:
    """What the file that people read does not hold yet."""

    checkpoints: int = 0
    """Every reader replays them."""
    torn_bytes: int = 0
    """Left by a crash; the next writer cuts them off."""


class SettingsDocument(Protocol):
    """The settings as they are written; `orchestrator.settings` knows what they mean."""

    def shown(self) -> str:
        """Where they are, for messages."""

    def stamp(self) -> Hashable:
        """Another one after each change; None where nothing is remembered yet."""

    def exists(self) -> bool:
        """Whether anything is remembered."""

    def read(self) -> str | None:
        """None where nothing is remembered yet. Errors: OSError, UnicodeDecodeError."""

    def write(self, text: str) -> None:
        """Replace them whole, durable on return. Errors: DiskFull; UnicodeEncodeError, and nothing was written."""


class StateParts(Protocol):
    """What belongs to a state beside its items; there before the state is."""

    @property
    def location(self) -> Location: ...

    def exists(self) -> bool:
        """Whether there is a state, a damaged one too."""

    @property
    def batches(self) -> BatchLog: ...

    def has_batches(self) -> bool:
        """Whether any batch was ever recorded, at the cost of one look."""

    @property
    def recipes(self) -> RecipeBook: ...

    @property
    def facts(self) -> FactLog: ...

    @property
    def bursts(self) -> BurstLog: ...

    @property
    def settings(self) -> SettingsDocument: ...

    def run_lock(self) -> RunLock:
        """One that is not held yet."""

    def adding(self) -> AbstractContextManager[None]:
        """Keep others from adding a batch meanwhile. Errors on entering: LockHeld, DiskFull, StateError."""

    @property
    def checkpoint_directory(self) -> Path:
        """Where checkpoints are written, which need not exist yet: to see whether there is room, and for messages."""

    def can_lock(self) -> bool:
        """Whether a lock there keeps a second one out, tried on a file of its own."""


class Store(StateParts, Protocol):
    """Items by key. Safe to use from several threads; several processes may write at once."""

    @property
    def hand_edits(self) -> Sequence[str]:
        """What is to be said about edits by hand, in the order in which they were found."""

    @property
    def rewrite_seconds(self) -> float:
        """What the last rewriting of the file that people read took."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __contains__(self, key: str) -> bool: ...

    def __len__(self) -> int: ...

    def get(self, key: str) -> Item:
        """Errors: KeyError."""

    def get_many(self, keys: Iterable[str]) -> list[Item]:
        """Those of these items that are there: another process may have removed some."""

    def items(self, *statuses: Status) -> Iterator[Item]:
        """Items in their order, all or those of the given statuses, as they stand at the time of the call."""

    def parts(self, kind: type[_Part]) -> Iterator[tuple[str, _Part]]:
        """Every item's key, and of its record what `kind` has fields for: at a small share of what `items` costs.

        Checked as far as these fields go, which must have defaults where a record may lack them.
        """

    def due_keys(self) -> list[str]:
        """The keys of all pending items, in the order of `due`."""

    def counts(self) -> Counts:
        """How many items stand where."""

    def due(
        self, limit: int, *, skip: Collection[str] = (), accept: Callable[[Item], bool] | None = None
    ) -> list[Item]:
        """The next pending items: by priority, then in their order; those not accepted are looked past.

        `accept` is asked in that order, until there are enough, while other threads and processes go on.
        """

    def due_count(self) -> int:
        """How many pending items there are for `due`: all but those that wait for another item's output."""

    def waiting(self) -> list[str]:
        """The keys of pending items that wait for another item's output."""

    def apply(self, changes: Sequence[Change], *, sync: bool = True) -> list[Item]:
        """Make all of these changes or none; durable on return (with `sync`). Returns the changed items, in order.

        Items that were removed are not among them.

        Errors: StaleChange when a status is not the expected one (what others wrote is taken in then: `get` shows what
        it is now); DiskFull; StateError. Nothing was written then.
        """

    def add(self, items: Sequence[Item], *, batch: BatchChange | None = None) -> list[Item]:
        """Add those whose key is not there yet, all in one change set. Returns what was added. Safe to repeat.

        `batch`: the batch that they make, or by which they make one grow. It is there when they are; where all of them
        are there already, nothing is written. Errors: as `apply`; ValueError for an item of another batch.
        """

    def refresh(self) -> list[str]:
        """Take in what other processes wrote; the keys that they changed or removed since the last call, each once.

        What `apply`, `add` and `settle` took in meanwhile is named too, so one thread alone may hear the news.
        """

    def is_edited(self) -> bool:
        """Whether it was edited by hand since it was read (or is being handed over): to be opened anew.

        A writer takes such an edit in before it writes; who only reads does not see it before.
        """

    @property
    def format_version(self) -> int | None:
        """In which version the state on the disk was written; None where burst has not written to it yet."""

    def migrate(self, edit: Callable[[Item], Item]) -> None:
        """Bring a state of an older format version to the version of today, with `edit` applied to every item.

        All of it or nothing, and durable on return. `edit` may be applied more than once to an item, and to its own
        result where the migration was interrupted; it returns the very item that it leaves alone. Hold the run's lock:
        a burst of the older version would be refused in the middle of its work. Errors: DiskFull, StateError.
        """

    def backlog(self) -> Backlog:
        """Errors: StateError."""

    def stop_writing(self, *, timeout_seconds: float) -> bool:
        """Let an append that is under way end, then refuse every later one: for a process that must end now."""

    def settle(self, *, at_end: bool = False) -> None:
        """Bring the file that people read up to date where that is cheap, or whatever it costs `at_end`."""

    def close(self) -> None:
        """Let go of files. Nothing is written. Safe to repeat."""


def change_all(store: Store, items: Iterable[Item], edit: Callable[[Item], Item | None]) -> list[Item]:
    """Change items in one change set; those that another process changed meanwhile are left out."""
    chosen = list(items)
    while chosen:
        try:
            return store.apply([Change(item.key, item.status, edit) for item in chosen])
        except StaleChange as stale:
            chosen = [item for item in chosen if item.key not in stale.keys]
    return []
