"""One pass over a state for `burst doctor`: what its items need, their size, and their errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.clock import Clock
from orchestrator.errors import BurstError
from orchestrator.failures import Failures, failures_by_kind
from orchestrator.servers import canonical_name
from orchestrator.status import StatusReport, status_of
from state.item import Item, Status
from state.open_store import open_store
from state.store import Store


@dataclass
class DueItems:
    """Items that are due or submitted, with the same recipe, or the same template if they have no recipe."""

    example: Item
    count: int
    uploaded: frozenset[str]
    """The bindings for which every due item uploads an image."""


@dataclass(frozen=True)
class KnownItems:
    """Some items of a state, as `Preparation` reads them."""

    by_key: Mapping[str, Item]

    @classmethod
    def of(cls, store: Store, keys: Iterable[str]) -> KnownItems:
        return cls({item.key: item for item in store.get_many(dict.fromkeys(keys))})

    def get_many(self, keys: Iterable[str]) -> list[Item]:
        return [self.by_key[key] for key in keys if key in self.by_key]


@dataclass(frozen=True)
class Survey:
    """The contents of a state, as far as doctor needs them."""

    status: StatusReport
    due: tuple[DueItems, ...]
    pictures: int
    """Images that due items upload."""
    pending: tuple[Item, ...]
    """The items that are to be sent."""
    waiting: frozenset[str]
    """The keys of those that wait for another item's output."""
    sources: KnownItems
    """What pending items are made from."""
    servers: Counter[str]
    """Server name -> number of items submitted to it."""
    prompt_ids: frozenset[str]
    """Of the submitted items."""
    failures: dict[str, Failures]
    bytes_per_item: float | None
    """Mean output size of the completed items."""
    journal_lines: int
    """Checkpoints not yet in the JSON file; every reader replays them."""
    torn_bytes: int
    """Incomplete line at the end of the journal after a crash; the next writer truncates it."""


def survey(state: Path, *, clock: Clock | None = None) -> Survey | BurstError:
    """Read a state without a lock. If it is unreadable, the error is returned, not raised."""
    try:
        with open_store(state, read_only=True, clock=clock) as store:
            return _survey(store)
    except BurstError as error:
        return error


def _survey(store: Store) -> Survey:
    due: dict[tuple[str | None, str | None], DueItems] = {}
    servers: Counter[str] = Counter()
    prompt_ids: set[str] = set()
    failed: list[Item] = []
    sizes: list[int] = []
    pending: list[Item] = []
    for item in store.items():
        match item.status:
            case Status.PENDING:
                group = _count_due(due, item)
                group.uploaded = group.uploaded.intersection(item.uploads)
                pending.append(item)
            case Status.SUBMITTED:
                _count_due(due, item)
                if item.server is not None:
                    servers[canonical_name(item.server)] += 1
                prompt_ids.add(item.prompt_id or "")
            case Status.COMPLETED if item.outputs:
                sizes.append(sum(output.bytes for output in item.outputs))
            case Status.FAILED:
                failed.append(item)
    backlog = store.backlog()
    return Survey(
        status=status_of(store),
        due=tuple(due.values()),
        pictures=sum(len(item.upload_paths) for item in pending),
        pending=tuple(pending),
        waiting=frozenset(store.waiting()),
        sources=KnownItems.of(store, (key for item in pending for key in item.sources)),
        servers=servers,
        prompt_ids=frozenset(prompt_ids),
        failures=failures_by_kind(failed),
        bytes_per_item=sum(sizes) / len(sizes) if sizes else None,
        journal_lines=backlog.checkpoints,
        torn_bytes=backlog.torn_bytes,
    )


def _count_due(due: dict[tuple[str | None, str | None], DueItems], item: Item) -> DueItems:
    # For an item with a recipe, only the recipe matters.
    made_with = (item.recipe, None if item.recipe else item.template)
    group = due.setdefault(made_with, DueItems(item, 0, frozenset(item.uploads)))
    group.count += 1
    return group
