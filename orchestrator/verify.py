"""`burst verify`: the files of completed items against their records."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.documents.lists import shortened
from orchestrator.errors import EXIT_DONE, EXIT_ITEMS_FAILED, RecipeUnusable
from orchestrator.formatting import counted, in_lines
from orchestrator.migration import open_for_writing
from orchestrator.outputs import Problem
from orchestrator.outputs.listed_objects import ListedObjects
from orchestrator.outputs.placement import Placement, placement_of
from orchestrator.places import ObjectPath, Place
from orchestrator.retries import keys_of
from orchestrator.settings import Overrides, load_settings
from state.change import change_all
from state.item import Item, Status
from state.open_store import open_store
from state.store import Store

if TYPE_CHECKING:
    from orchestrator.documents.states import VerifyDocument


@dataclass(frozen=True)
class Verified:
    """What `verify` found, and what it put back."""

    checked: int
    problems: tuple[tuple[str, Problem], ...]
    put_back: tuple[str, ...]
    names: Mapping[str, str] = field(default_factory=dict)
    """What the batches of these items are called, by the item's key, where they have a name."""
    away: Mapping[str, Collection[str]] = field(default_factory=dict)
    """By output root: the items left as they are, because nothing at all is left of what was recorded there."""

    @property
    def exit_code(self) -> int:
        """1 when files are not as recorded and their items were not put back."""
        return EXIT_ITEMS_FAILED if self.problems and (self.away or not self.put_back) else EXIT_DONE

    def as_json(self, *, everything: bool = False) -> VerifyDocument:
        """As `burst verify --json` prints it; `everything`: with all entries of its lists."""
        document: VerifyDocument = {
            "schema": "burst.verify/2",
            "checked": self.checked,
            "problems": [
                {
                    "item": key,
                    "name": self.names.get(key),
                    "path": problem.path,
                    "kind": problem.kind,
                    "message": problem.message,
                }
                for key, problem in self.problems
            ],
            "problems_total": len(self.problems),
            "put_back": list(self.put_back),
            "put_back_total": len(self.put_back),
            "away": list(self.away),
        }
        return shortened(document, "problems", "put_back", everything=everything)

    def as_text(self, *, everything: bool = False) -> str:
        """A few lines for a person."""
        if not self.problems:
            return f"{counted(self.checked, 'completed item')}: every file is present and intact."
        away = {key for keys in self.away.values() for key in keys}
        lines = [f"{self._called(key)}: {problem.message}" for key, problem in self.problems if key not in away]
        lines += [
            f"{root} looks unmounted or moved: it is empty or not there, and so is every file of {counted(len(keys))}. "
            "Bring it back. If they are gone for good, `burst verify --repair --yes` makes these items due again."
            for root, keys in self.away.items()
        ]
        lines.append(
            f"{counted(self.checked, 'completed item')} checked, "
            f"{counted(len(self.problems), 'file')} missing or damaged."
        )
        if self.put_back:
            lines.append(f"{counted(len(self.put_back))} due again. Next: burst run")
        elif any(key not in away for key, _ in self.problems):
            lines.append("`burst verify --repair` makes these items due again.")
        return in_lines(lines)

    def _called(self, key: str) -> str:
        return f"{key} ({self.names[key]})" if key in self.names else key


def verify_outputs(
    state: Path,
    *,
    repair: bool = False,
    yes: bool = False,
    quick: bool = False,
    overrides: Overrides | None = None,
) -> Verified:
    """Check every completed item's files: there, as long as recorded and (unless `quick`) of the same bytes.

    Unless `quick`, videos, audio, 3D and latents are also checked for a whole structure, as before they are recorded.

    `repair` makes the items due again whose files are not; those of an output root of which nothing at all is left,
    as of a disk that is not mounted, only with `yes`. Without it nothing is written and no lock is taken.
    """
    settings = load_settings(state, overrides)
    with open_for_writing(state) if repair else open_store(state, read_only=True) as store:
        placement = placement_of(store, settings)
        problems: list[tuple[str, Problem]] = []
        checked, roots = 0, _Roots(placement)
        listed = ListedObjects(wanted=store.counts().completed)
        for item in store.items(Status.COMPLETED):
            checked += 1
            found = _problems(placement, item, quick=quick, listed=listed)
            roots.note(item, found)
            problems += [(item.key, problem) for problem in found]
        away = {} if repair and yes else roots.away()
        put_back: list[Item] = []
        if repair and problems:
            broken = {key for key, problem in problems if problem.kind != "unknown"}
            broken.difference_update(*away.values())
            put_back = change_all(store, store.get_many(broken), lambda item: item.start_over())
            store.settle(at_end=True)
        return Verified(
            checked=checked,
            problems=tuple(problems),
            put_back=keys_of(put_back),
            names=_names(store, {key for key, _ in problems}),
            away=away,
        )


class _Roots:
    """Which output roots seem to be away, by the items that have files there."""

    def __init__(self, placement: Placement) -> None:
        self._placement = placement
        self._gone: defaultdict[Place, list[str]] = defaultdict(list)
        """By root: the items of which every file is missing."""
        self._in_use: set[Place] = set()

    def note(self, item: Item, problems: Collection[Problem]) -> None:
        """`problems`: of its files."""
        if not item.outputs:
            return
        try:
            root = self._placement.root_of(item)
        except RecipeUnusable:
            return
        if len(problems) == len(item.outputs) and all(problem.kind == "missing" for problem in problems):
            self._gone[root].append(item.key)
        else:
            self._in_use.add(root)

    def away(self) -> dict[str, list[str]]:
        """Neither anything recorded is there nor anything else: a mount point without its disk, a moved directory."""
        return {
            str(root): keys for root, keys in self._gone.items() if root not in self._in_use and not _has_anything(root)
        }


def _has_anything(directory: Place) -> bool:
    if isinstance(directory, ObjectPath):
        return directory.exists()
    try:
        with os.scandir(directory) as entries:
            return any(True for _ in entries)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _problems(placement: Placement, item: Item, *, quick: bool, listed: ListedObjects) -> list[Problem]:
    found = placement.verify(item, full=not quick, listed=listed)
    wrong = {problem.path for problem in found}
    if not quick:
        found += placement.damaged(item, [output for output in item.outputs if output.path not in wrong])
    return found


def _names(store: Store, keys: Collection[str]) -> dict[str, str]:
    """The names of the batches that these items belong to, where they have one."""
    if not keys:
        return {}
    batches = store.batches.read()
    of = {item.key: batches[item.batch].record.name for item in store.get_many(keys) if item.batch in batches}
    return {key: name for key, name in of.items() if name is not None}
