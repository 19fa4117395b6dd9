"""The interface that every store of items implements."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, Self, TypeVar

import msgspec

from state.burst_record import BurstLog, BurstRecord
from state.change import Change
from state.counts import BatchFigures, Counts
from state.holder import Holder
from state.item import Item, Status
from state.lease import Lease
from state.location import Location

if TYPE_CHECKING:
    from state.batch import BatchChange, BatchLog
    from state.completed_items import CompletedItems
    from state.facts import FactLog, Pause
    from state.live import Live
    from state.notices import NoticeLog
    from state.patience import Patience
    from state.recipe import RecipeBook
    from state.server import RegisteredServer

LogName = Literal["batch", "fact", "burst", "notice"]
LOGS: tuple[LogName, ...] = ("batch", "fact", "burst", "notice")

_Part = TypeVar("_Part", bound=msgspec.Struct)


FORMAT_VERSION = 2
"""The version in which a state and its settings are written."""
READABLE_VERSIONS = frozenset({1, FORMAT_VERSION})
"""A state of an older version is migrated before anything is written to it."""


class Backlog(msgspec.Struct, frozen=True):
    """What the state file does not hold yet."""

    checkpoints: int = 0
    """Lines of the journal; every reader replays them."""
    torn_bytes: int = 0
    """Left behind by a crash; the next writer cuts them off."""


class Changes(NamedTuple):
    """What other processes changed."""

    keys: Sequence[str]
    """Each once, in the order of their last changes. Those that are not in the store were removed."""
    mark: int
    """To ask for what is changed after this."""


class News(NamedTuple):
    """What other processes changed, as far as a run at work needs it: no more, however much other runs do."""

    is_any: bool
    """Whether they changed any item."""
    keys: Collection[str]
    """Of the items that were named: those that they changed or removed."""
    recipes: Collection[str | None]
    """Of items that may be done, among them those of what others than runs have changed so that it may."""
    mark: int
    """To ask for what is changed after this."""


class SettingsDocument(Protocol):
    """The settings as text; `orchestrator.settings` parses it."""

    def shown(self) -> str:
        """Where the settings are, for messages."""

    def stamp(self) -> Hashable:
        """Different after each change; None while there are no settings."""

    def exists(self) -> bool:
        """Whether there are settings."""

    def read(self) -> str | None:
        """None while there are no settings. Errors: OSError, UnicodeDecodeError."""

    def write(self, text: str) -> None:
        """Replace the whole text, durable on return. Errors: DiskFull; UnicodeEncodeError with nothing written."""


class StateParts(Protocol):
    """The parts of a state other than its items; usable before the state exists."""

    @property
    def location(self) -> Location: ...

    def exists(self) -> bool:
        """Whether there is a state, even a damaged one."""

    @property
    def batches(self) -> BatchLog: ...

    def has_batches(self) -> bool:
        """Whether any batch was ever recorded, without reading them. Errors: StateError."""

    @property
    def recipes(self) -> RecipeBook: ...

    @property
    def facts(self) -> FactLog: ...

    @property
    def notices(self) -> NoticeLog: ...

    def has_notices(self) -> bool:
        """Whether anybody was ever to be notified, or anything claimed, without reading it. Errors: StateError."""

    def log_lines(self, log: LogName) -> Iterator[bytes]:
        """The lines of a log as they are, oldest first, also those of kinds that this burst does not know."""

    def pause(self) -> Pause | None:
        """The pause that is in force, whichever process set it; cheap enough to be called several times a second.

        It is set and lifted by appending to `facts`. Errors: OSError.
        """

    def servers(self) -> Mapping[str, RegisteredServer]:
        """The servers that are registered, by name, whichever process did it; as cheap as `pause`.

        They are changed with `facts.change_servers`. Errors: OSError.
        """

    @property
    def bursts(self) -> BurstLog: ...

    @property
    def settings(self) -> SettingsDocument: ...

    def wait_with(self, patience: Patience) -> None:
        """From now on wait where the state does not answer, as this says; then what was begun is made whole.

        Without it, StateAway at once; a state in files ignores it.
        """

    def holders(self) -> list[Holder]:
        """The runs at work that have published their bursts, judged without taking any lock."""

    def is_leased(self) -> bool:
        """Whether a run is at work, also one that has not said yet who it is."""

    def killed_bursts(self) -> list[BurstRecord]:
        """The bursts of killed runs that no later one has recorded yet, oldest first."""

    def live(self) -> Live | None:
        """What the runs at work show, on whichever host, as one; None without any, or if they show nothing."""

    def live_preview(self) -> bytes | None:
        """The image that belongs to `live().preview_of`; only on the host of the run that shows it."""

    def is_told_at_once(self) -> bool:
        """Whether runs hear at once what others add, cancel or pause. If not, they see it within 2 s. Tried out."""

    def watch(self) -> None:
        """Somebody looks at what `live` returns: call this at each look, so that the runs at work show more often.

        Cheap enough to be called several times a second. Nothing is raised: who may not write sees less.
        """

    def adding(self) -> AbstractContextManager[None]:
        """Keep other processes from adding a batch. Errors on entering: LockHeld, DiskFull, StateError."""

    @property
    def checkpoint_directory(self) -> Path:
        """Where checkpoints are written; may not exist yet. For checks of free space and for messages."""

    def can_lock(self) -> bool:
        """Whether a lock in that directory excludes a second one, tried on a temporary file."""


class Store(StateParts, Protocol):
    """Items by key. Safe to use from several threads; several processes may write at once."""

    @property
    def hand_edits(self) -> Sequence[str]:
        """Messages about edits by hand, in the order in which they were found."""

    @property
    def rewrite_seconds(self) -> float:
        """How long the last rewrite of the state file took."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __contains__(self, key: str) -> bool: ...

    def __len__(self) -> int: ...

    def get(self, key: str) -> Item:
        """Errors: KeyError."""

    def get_many(self, keys: Iterable[str]) -> list[Item]:
        """The items with these keys, without those that another process removed."""

    def items(self, *statuses: Status, batch: str | None = None, limit: int | None = None) -> Iterator[Item]:
        """Items in order, as of the time of the call: all, or those with the given statuses or of one batch.

        `limit`: only so many, the first ones.
        """

    def batch_keys(self, batch: str, *statuses: Status, first: int = 0, limit: int | None = None) -> list[str]:
        """The keys of a batch's items in the batch's order: by index (0 for an item without one), then key.

        All, or those with the given statuses; only those from index `first` on, and at most `limit`.
        """

    def parts(self, kind: type[_Part]) -> Iterator[tuple[str, _Part]]:
        """Every item's key and those fields of its record that `kind` has: much cheaper than `items`.

        Only these fields are checked. A field that a record may lack needs a default.
        """

    def completions(
        self,
        kind: type[_Part],
        *,
        batch: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        servers: Collection[str] | None = None,
    ) -> Iterator[tuple[str, _Part]]:
        """As `parts`, of the completed items, in the order of the time: of one batch, from and before which moment, on
        these servers. Read as it is needed."""

    def tried(
        self, kind: type[_Part], *, batch: str | None = None, since: datetime | None = None
    ) -> Iterator[tuple[str, _Part]]:
        """As `parts`, in any order, of all items with attempts on record beside the one that completed them, and of all
        that failed; possibly of others. `since`: not of those that were completed before."""

    def counts(self, *, batch: str | None = None) -> Counts:
        """How many items have each status, of the state or of one batch."""

    def counts_by_batch(self) -> dict[str, Counts]:
        """The same for every batch that has items."""

    def at_one_moment(self) -> AbstractContextManager[None]:
        """Within it, the counts and figures that this thread asks for are all of one moment: for reports of many."""

    def last_completed_at(self) -> datetime | None:
        """When an item was last completed. Reads all that are."""

    def recipe_counts(self, *statuses: Status) -> dict[str | None, int]:
        """How many items with these statuses have each recipe; None: without one."""

    def batch_figures(self, batch: str, *, without: Iterable[str] = ()) -> BatchFigures:
        """Figures about the items of a batch; all zero if it has none. `without`: keys that `due_up_to` omits."""

    def due(
        self,
        limit: int,
        *,
        batch: str | None = None,
        skip: Collection[str] = (),
        without: Collection[str] = (),
        accept: Callable[[Item], bool] | None = None,
    ) -> list[Item]:
        """The next pending items by priority, rank and order, without those that `accept` refuses.

        `batch`: only urgent items, of whichever batch, and those of this batch. `skip`: keys that are left out.
        `without`: kinds (`Item.kind`) that are: however many items they have, that costs nothing on a SQL state. It may
        grow while `accept` is called.
        `accept` is called in that order until there are enough; it does not block other threads or processes.
        """

    def due_count(self, *, batch: str | None = None, without: Collection[str] = (), limit: int | None = None) -> int:
        """How many pending items are due: all but those that wait for another item's output; not counted further than
        `limit`. `batch`, `without`: as for `due`."""

    def waiting(self) -> list[str]:
        """The keys of pending items that wait for another item's output: one that they are made from is not completed.

        They are not due.
        """

    def stuck(self) -> list[str]:
        """The keys of those among them that cannot become due: waiting for what failed, was cancelled or is not there,
        or for themselves. `apply` lets no such item be; an edit by hand may."""

    def stages_of(self, key: str) -> list[str]:
        """The keys of the items that are made from outputs of this one, whatever their status."""

    def apply(self, changes: Sequence[Change], *, sync: bool = True, burst: str | None = None) -> list[Item]:
        """Make all of these changes or none; durable on return (with `sync`). Returns the changed items, in order.

        Removed items are not returned. Items that are made from a changed one follow it in the same change set, as
        `state.stages` says; those that changed are returned after the others. An attempt that ends by a change is noted
        in the same change set, as `state.attempts` says, with the id of the `burst` that makes it.

        Errors: StaleChange when a status is not the expected one (`get` then returns the current record); DiskFull;
        StateError. After an error nothing was written.
        """

    def add(self, items: Sequence[Item], *, batch: BatchChange | None = None) -> list[Item]:
        """Add the items whose keys do not exist yet, in one change set. Returns what was added. Safe to repeat.

        `batch`: the new batch that they belong to, or the growth of one. It is added with them, all or nothing; if all
        of them exist already, nothing is written. Errors: as `apply`; ValueError for an item of another batch;
        UsageError for one that waits for itself, for no item of this state, or for what failed or was cancelled.
        """

    def lease(self, *, wait_seconds: float = 0.0) -> Lease:
        """The right to work on the state, with everything read that others wrote; `wait_seconds` for another run's end.

        Errors: LockHeld, which names who is at work, where only one run may be; StateError where the state cannot be
        locked.
        """

    def refresh(self) -> None:
        """Read what other processes wrote. So do `apply`, `add` and `settle`."""

    def changes(self, since: int = 0) -> Changes:
        """Read what other processes wrote; the items that they changed or removed since a mark, or since the opening.

        Any number of callers may follow, each with a mark of its own.
        """

    def news(self, since: int, *, of: Collection[str]) -> News:
        """What others did since a mark of `changes` or of this, in few words. `of`: keys of items."""

    def completed_items(self) -> CompletedItems:
        """What a run may ask about completed items. Reads nothing before it does."""

    def may_have_changed(self) -> bool:
        """Whether others may have written since the last call, so that it is time to look for what they did.

        Cheap enough to be called several times a second, by one thread. True at once after others added, cancelled or
        retried items, or paused, as far as the store hears of it; at most 2 s after anything else; possibly in vain.
        """

    def is_edited(self) -> bool:
        """Whether the state was edited by hand since it was read (or is being handed over), so must be opened again.

        A writer merges such an edit before it writes; a read-only store does not see it until then.
        """

    @property
    def format_version(self) -> int | None:
        """The format version of the state on disk; None where burst has not written to it yet."""

    def upgrade(self) -> None:
        """Bring the tables of an older release to this one's now; the first change does it anyway. All or nothing.

        Nothing where there are no tables, as in JSON. Errors: NotAllowed, StateError.
        """

    def migrate(self, edit: Callable[[Item], Item]) -> None:
        """Bring a state of an older format version to the current one, with `edit` applied to every item.

        All or nothing; durable on return. `edit` may be applied to an item more than once, and after an interrupted
        migration to its own result; an item that needs no change must be returned itself, not a copy. Hold the run
        lock: a burst of the older version would be refused in the middle of its work. Errors: DiskFull, StateError.
        """

    def backlog(self) -> Backlog:
        """Errors: StateError."""

    def stop_writing(self, *, timeout_seconds: float) -> bool:
        """Let an append in progress finish, then refuse all later ones: for a process that must end now."""

    def settle(self, *, at_end: bool = False) -> None:
        """Rewrite the state file from the journal where that is cheap; `at_end` at any cost. Errors: as `apply`."""

    def writer(self) -> Store:
        """To change a state that is open for reading, without reading it again; closed with this store.

        What is changed by it is news to whoever follows this one, as if another process had done it.
        Errors: as `open_store`.
        """

    def close(self) -> None:
        """Close the files. Writes nothing. Safe to repeat."""


class Follower:
    """One caller's view of what other processes change. Used by one thread."""

    def __init__(self, store: Store) -> None:
        """What changed before this is not news."""
        self._store = store
        self._mark = store.changes().mark

    def news(self) -> Sequence[str]:
        """Read what other processes wrote; the items that they changed since the last call. Errors: StateError."""
        keys, self._mark = self._store.changes(self._mark)
        return keys
