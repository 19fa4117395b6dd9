"""Which items the names on a command line mean: keys of items, and batches by their ids."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from pathlib import Path

from orchestrator.batches.batch_status import batch_called, find_batch
from orchestrator.batches.suggestions import near_matches
from orchestrator.errors import UsageError
from orchestrator.kept_paths import kept_path
from state.item import Status
from state.store import Store


def select(store: Store, names: Collection[str], *statuses: Status) -> list[str]:
    """The keys that these names mean, each once; all items of the given statuses where there are no names.

    An item named by its own key is chosen whatever its status; of a batch only items of these statuses are.
    Errors: UsageError for a name that is neither an item nor one batch, with what is close to it.
    """
    if not names:
        return [item.key for item in store.items(*statuses)]
    keys, batches = named_in(store, names)
    keys += [item.key for batch in batches for item in store.items(*statuses, batch=batch)]
    return list(dict.fromkeys(keys))


def named_in(store: Store, names: Collection[str]) -> tuple[list[str], list[str]]:
    """The keys of items, and the ids of batches, that these names are, each once. Errors: as `select`."""
    known = store.batches.read()
    keys, batches = dict[str, None](), dict[str, None]()
    for name in names:
        if name in store:
            if (batch := batch_called(known, name)) is not None and not batch.gone and batch.id != name:
                raise UsageError(f"both an item and a batch are called {name!r}; name the batch by its id, {batch.id}")
            keys[name] = None
        elif batch_called(known, name) is not None or any(batch_id.startswith(name) for batch_id in known):
            batches[find_batch(known, name).id] = None
        elif (key := key_called(store, name)) is not None:
            keys[key] = None
        else:
            _refuse(store, name, [*known, *(batch.record.name for batch in known.values() if batch.record.name)])
    return list(keys), list(batches)


def _near_keys(store: Store, name: str) -> list[str]:
    """As they may be typed here: a database on a server keeps whole paths."""
    here = f"{os.getcwd()}/"
    return get_close_matches(name, [item.key.removeprefix(here) for item in store.items()])


def key_called(store: Store, name: str) -> str | None:
    """The key of the item with this name: its key, or the path of its file, from the working directory on."""
    if name in store:
        return name
    key = kept_path(Path(os.path.abspath(name)), store.location.home)
    return key if key in store else None


def _refuse(store: Store, name: str, batches: Sequence[str]) -> None:
    near = near_matches(name, batches) or _near_keys(store, name)
    advice = f"similar: {', '.join(near)}" if near else "`burst batches list` and `burst status --json` list some"
    raise UsageError(f"{store.location.shown()} has no item and no batch {name!r}; {advice}")
