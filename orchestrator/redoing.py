"""Making items due again: retry, reset, and putting back what verify found broken."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import EXIT_DONE, EXIT_ITEMS_FAILED, UsageError
from orchestrator.outputs import Problem, verify
from orchestrator.settings import Overrides, load_settings
from orchestrator.wording import counted, in_lines
from state.item import Item, Status
from state.json_store import JsonStore
from state.run_lock import RunLock
from state.store import change_all

_SHOWN = 20


@dataclass(frozen=True)
class Changed:
    """What a command did to which items."""

    schema: str
    what: str
    """Said of one item: `due again`."""
    keys: tuple[str, ...]
    counts: dict[Status, int]
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Stable keys; the schema name is the command's."""
        return {
            "schema": self.schema,
            "items": list(self.keys),
            "counts": {str(status): count for status, count in self.counts.items()},
            "notes": list(self.notes),
        }

    def as_text(self) -> str:
        """A few lines for a person."""
        lines = [f"{counted(len(self.keys))} {self.what}"]
        lines += [f"  {key}" for key in self.keys[:_SHOWN]]
        if len(self.keys) > _SHOWN:
            lines.append(f"  … and {len(self.keys) - _SHOWN} more")
        return in_lines([*lines, *(f"Note: {note}" for note in self.notes)])


def retry(state: Path, keys: Collection[str] = (), *, cancelled: bool = False) -> Changed:
    """Make failed items due again (with `cancelled` those too), all or the named ones of any ended status.

    Their attempts start anew. Works while a burst runs. Errors: UsageError for a key that is not there; StateError.
    """
    store = JsonStore.open(state)
    try:
        if keys:
            chosen = [item for item in named(store, keys) if item.status not in (Status.PENDING, Status.SUBMITTED)]
        else:
            chosen = list(store.items(Status.FAILED, *([Status.CANCELLED] if cancelled else [])))
        done = change_all(store, chosen, lambda item: item.start_over())
        store.settle(at_end=True)
        return Changed("burst.retry/1", "due again", keys_of(done), store.counts())
    finally:
        store.close()


def reset(state: Path) -> Changed:
    """Forget all progress: every item is due again. Pictures stay where they are, until they are rendered anew.

    Errors: LockHeld while a burst runs; StateError.
    """
    store = JsonStore.open(state)
    lock = RunLock(store.folder)
    try:
        lock.acquire()
        store.refresh()
        out = store.counts()[Status.SUBMITTED]
        done = change_all(store, list(store.items()), lambda item: item.start_over())
        store.settle(at_end=True)
        notes = (f"{counted(out)} of them submitted: what the server still renders of them is rendered twice",)
        return Changed("burst.reset/1", "due again", keys_of(done), store.counts(), notes if out else ())
    finally:
        lock.release()
        store.close()


def keys_of(items: Iterable[Item]) -> tuple[str, ...]:
    return tuple(item.key for item in items)


def named(store: JsonStore, keys: Collection[str]) -> list[Item]:
    missing = [key for key in keys if key not in store]
    if missing:
        import difflib

        near = difflib.get_close_matches(missing[0], [item.key for item in store.items()], n=3)
        advice = f"; near it: {', '.join(near)}" if near else "; `burst status --json` lists some"
        raise UsageError(f"no item {missing[0]!r} in {store.path}{advice}")
    return [store.get(key) for key in keys]


@dataclass(frozen=True)
class Verified:
    """What `verify` found, and what it put back."""

    checked: int
    problems: tuple[tuple[str, Problem], ...]
    put_back: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """1 when files are not as recorded and their items were not put back."""
        return EXIT_ITEMS_FAILED if self.problems and not self.put_back else EXIT_DONE

    def as_json(self) -> dict[str, Any]:
        """Stable keys under the schema name `burst.verify/1`."""
        return {
            "schema": "burst.verify/1",
            "checked": self.checked,
            "problems": [
                {"item": key, "path": problem.path, "kind": problem.kind, "message": problem.message}
                for key, problem in self.problems
            ],
            "put_back": list(self.put_back),
        }

    def as_text(self) -> str:
        """A few lines for a person."""
        if not self.problems:
            return f"{self.checked} completed items: every file is there and whole."
        lines = [f"{key}: {problem.message}" for key, problem in self.problems]
        lines.append(f"{self.checked} completed items checked, {len(self.problems)} files are not as recorded.")
        if self.put_back:
            lines.append(f"{len(self.put_back)} items are due again. Next: burst run")
        else:
            lines.append("`burst verify --repair` makes these items due again.")
        return in_lines(lines)


def verify_outputs(
    state: Path, *, repair: bool = False, quick: bool = False, overrides: Overrides | None = None
) -> Verified:
    """Hold every completed item's files against its record: there, whole, and (unless `quick`) of the same bytes.

    `repair` makes the items due again whose files are not. Without it nothing is written and no lock is taken.
    """
    output_dir = load_settings(state, overrides).output_dir
    store = JsonStore.open(state, read_only=not repair)
    try:
        problems: list[tuple[str, Problem]] = []
        checked = 0
        for item in store.items(Status.COMPLETED):
            checked += 1
            problems += [(item.key, problem) for problem in verify(output_dir, item.outputs, full=not quick)]
        put_back: list[Item] = []
        if repair and problems:
            broken = {key for key, _ in problems}
            put_back = change_all(store, map(store.get, broken), lambda item: item.start_over())
            store.settle(at_end=True)
        return Verified(checked=checked, problems=tuple(problems), put_back=keys_of(put_back))
    finally:
        store.close()
