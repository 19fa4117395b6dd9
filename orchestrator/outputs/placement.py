"""The one door from an output directory and a path to a file: where an item's files are, and what lies there.

Nobody else joins the two. Each item's files are under the output root of its recipe: local directories, any number for
one state, which may lie in one another, or object storage. `Outputs` is how a run brings files to one of them.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import msgspec

from orchestrator.errors import OutputRefused, OutputRootUnusable, PlaceTaken, RecipeUnusable
from orchestrator.formatting import folded
from orchestrator.outputs import names
from orchestrator.outputs.claims import Claims, RealPaths
from orchestrator.outputs.directory import Outputs
from orchestrator.outputs.fetched import Fetched, Placed
from orchestrator.outputs.listed_objects import ListedObjects
from orchestrator.outputs.root_guard import RootGuard
from orchestrator.outputs.verification import Problem, damaged, verify
from orchestrator.places import ObjectPath, Place, UnknownRoot, root_at_home
from orchestrator.recipes import Recipes
from orchestrator.settings import Settings
from state.disk import Disk
from state.file_names import stem_of
from state.item import Item, OutputRecord

if TYPE_CHECKING:
    from state.batch import BatchRecord
    from state.patience import Patience
    from state.store import Store


class Placement:
    """Of one state. Any thread may use it; `place` one at a time."""

    def __init__(
        self,
        recipes: Recipes,
        default: Place,
        *,
        disk: Disk | None = None,
        overwrite: bool = False,
        patience: Patience | None = None,
    ) -> None:
        """`default`: the output root of items without a recipe. `overwrite`: as of `Outputs`.

        `patience`: how long object storage is waited for; without it, for some seconds.
        """
        self._patience = patience
        self.default = self._waited_for(default)
        self.recipes = recipes
        self._roots: dict[str, Place] = {}
        """By a recipe's id."""
        self._disk = disk or Disk()
        self._overwrite = overwrite
        self._real = RealPaths()
        self._claims = Claims(self._real)
        self._folders: dict[tuple[str | None, str], str] = {}
        """By recipe and subfolder: where that really is, folded."""
        self._mutex = threading.RLock()
        self._outputs: dict[str, Outputs] = {}
        """By the real path of their directory."""
        self._guards: dict[Outputs, RootGuard] = {}
        self._abandoned = False

    def roots(self) -> list[Place]:
        """Every output root that the state knows, the default first."""
        kept = (self._at_home(recipe.output) for recipe in self.recipes.all().values())
        return list(dict.fromkeys((self.default, *kept)))

    def real_root(self, root: Place) -> str:
        """The same for all ways to one output root."""
        return self._real.directory(str(root))

    def root_of(self, item: Item) -> Place:
        """The directory that the item's paths are relative to. Errors: RecipeUnusable."""
        return self._root(item.recipe)

    def roots_of(self, recipes: Iterable[str | None]) -> list[Place]:
        """The output roots of these recipes, each once; a recipe that cannot be read is passed over."""
        found: dict[Place, None] = {}
        for recipe_id in dict.fromkeys(recipes):
            with contextlib.suppress(RecipeUnusable):
                found[self._root(recipe_id)] = None
        return list(found)

    def path_of(self, item: Item, relative: str) -> Place:
        """One of its files. Errors: OutputRefused for a path that leaves its output root; RecipeUnusable."""
        return names.inside(self.root_of(item), relative)

    def path_from(self, root: Place, item: Item, relative: str) -> str:
        """One of its files as seen from an output root: its own, or another's."""
        with contextlib.suppress(OutputRefused, RecipeUnusable):
            if self.root_of(item) != root:
                path = self.path_of(item, relative)
                if isinstance(path, Path) and isinstance(root, Path):
                    return Path(os.path.relpath(path, root)).as_posix()
                return str(path)
        return relative

    def found(self, item: Item, relative: str) -> Place | None:
        """One of its files that is there, and that neither its name nor a link leads out of its output root."""
        try:
            return file_at(self.root_of(item), relative)
        except RecipeUnusable:
            return None

    def leads_out(self, item: Item, relative: str) -> bool:
        """Whether one of its files is there and leads out of its output root. One of an unknown root is not there."""
        try:
            return leads_out(self.root_of(item), relative)
        except RecipeUnusable:
            return False

    def real_path_of(self, item: Item, relative: str) -> str:
        """Where a file of it lies once links are followed: the same for all ways to one place. Errors: as `path_of`."""
        return self._real.of(self.path_of(item, relative))

    def verify(
        self,
        item: Item,
        *,
        full: bool,
        outputs: Sequence[OutputRecord] | None = None,
        listed: ListedObjects | None = None,
    ) -> list[Problem]:
        """What of its recorded outputs, or of these of them, is not as recorded; see `verification.verify`.

        Where its recipe cannot be read, or this host does not know its output root, nobody knows where they are:
        `unknown`, whatever has become of them.
        """
        chosen = item.outputs if outputs is None else outputs
        try:
            root = self.root_of(item)
            reason = root.reason if isinstance(root, UnknownRoot) else None
        except RecipeUnusable as error:
            reason = str(error)
        if reason is None:
            return verify(root, chosen, full=full, listed=listed)
        return [Problem(output.path, "unknown", f"where {output.path} is, is not known: {reason}") for output in chosen]

    def damaged(self, item: Item, outputs: Iterable[OutputRecord]) -> list[Problem]:
        """Which of these outputs, which are as recorded, are not whole; see `verification.damaged`."""
        try:
            return damaged(self.root_of(item), outputs)
        except RecipeUnusable:
            return []

    def roots_of_batch(self, batch: BatchRecord, recipes: Iterable[str | None]) -> list[Place]:
        """The output roots of a batch, by the recipes of its items; without any, the one that it was requested for.

        Errors: RecipeUnusable.
        """
        return self.roots_of(recipes) or [self._root(batch.recipe)]

    def directories_of(self, batch: BatchRecord, recipes: Iterable[str | None]) -> list[Place]:
        """The batch's own directory under each of its output roots. Errors: OutputRefused, RecipeUnusable."""
        return [directory_at(root, batch.directory) for root in self.roots_of_batch(batch, recipes)]

    def shown_directories(self, batch: BatchRecord, recipes: Iterable[str | None]) -> tuple[str, ...]:
        """The same for messages; by its name alone where its recipe cannot be read."""
        try:
            return tuple(map(str, self.directories_of(batch, recipes)))
        except (OutputRefused, RecipeUnusable):
            return (batch.directory,)

    def shown_place(self, item: Item) -> str:
        """For messages: what an item's files are named after, with its output root where that is not the default."""
        place = f"{item.subfolder}/{PurePosixPath(item.name).stem}"
        root = self.root_of(item)
        return place if root == self.default else f"{root}/{place}"

    def place_key(self, item: Item) -> str:
        """The same for all items whose files would get in each other's way, whatever output root and links lead there.

        As a disk sees it that tells neither case nor composed letters apart. Errors: RecipeUnusable.
        """
        key = (item.recipe, item.subfolder)
        if key not in self._folders:
            self._folders[key] = self._real_folder(self.root_of(item), item.subfolder)
        return f"{self._folders[key]}/{folded(stem_of(item.name))}"

    def own_outputs(self, item: Item) -> tuple[OutputRecord, ...]:
        """The recorded outputs whose files the item may replace.

        An item without a recipe may have been made under an earlier default output root: of the files under today's,
        only those are its own that are as recorded, byte for byte.
        """
        return item.outputs if item.recipe is not None else _as_recorded(self.default, item.outputs)

    def with_recipe(self, item: Item, recipe_id: str | None) -> Item:
        """The item with another recipe. Where that has another output root, what it left under the old one is not its
        own any more: under the new one those names may be anybody's. Errors: RecipeUnusable for the new recipe."""
        root = self._root(recipe_id)
        if item.recipe is None:
            outputs = _as_recorded(root, item.outputs)
        else:
            outputs = item.outputs if self._is_root_of(item, root) else ()
        return msgspec.structs.replace(item, recipe=recipe_id, outputs=outputs)

    def _is_root_of(self, item: Item, root: Place) -> bool:
        try:
            return self._real.directory(str(self.root_of(item))) == self._real.directory(str(root))
        except RecipeUnusable:
            return False

    def outputs_of(self, item: Item) -> Outputs:
        """What brings the item's files to their places. Errors: RecipeUnusable."""
        return self.outputs_at(self.root_of(item))

    def outputs_at(self, root: Place) -> Outputs:
        """The same for a directory: one for all ways to it. They share what is promised, spared and abandoned."""
        real = self._real.directory(str(root))
        with self._mutex:
            if real not in self._outputs:
                made = Outputs(root, disk=self._disk, overwrite=self._overwrite, claims=self._claims)
                if self._abandoned:
                    made.abandon()
                self._outputs[real] = made
                self._guards[made] = RootGuard(root, home=self.recipes.home)
            return self._outputs[real]

    @contextlib.contextmanager
    def writing(self, outputs: Outputs) -> Iterator[None]:
        """While something is done with the files of one directory. Errors: as `RootGuard.using`."""
        with self._guards[outputs].using():
            yield

    def refuse_occupied(self, item: Item, *, extensions: Sequence[str], own: Sequence[OutputRecord]) -> None:
        """Before rendering: its names are inside the output root, nothing is in the way, and no other item has them.

        `extensions`: of the first file that its workflow saves, where it is known; `own`: as of `own_outputs`.
        Errors: OutputRefused, OutputRootUnusable, RecipeUnusable.
        """
        outputs = self.outputs_of(item)
        with self.writing(outputs):
            in_the_way = outputs.occupied(
                item.subfolder,
                item.name,
                extensions,
                [output.path for output in own],
                prompt_ids=item.previous_prompt_ids,
                sidecar=item.sidecar,
            )
        if in_the_way is not None:
            raise OutputRefused(f"{outputs.in_the_way(in_the_way)}; then `burst retry`")
        other = outputs.promised(item.key, item.subfolder, item.name, extensions, sidecar=item.sidecar)
        if other is not None:
            raise OutputRefused(f"{PlaceTaken.said_of(other)}, then `burst retry`")

    def refuse_unusable(self, root: Place) -> None:
        """What shows of an output root without writing to it. Errors: OutputRootUnusable."""
        outputs = self.outputs_at(root)
        with self.writing(outputs):
            outputs.refuse_blocked()

    def place(self, fetched: Sequence[tuple[Item, Fetched]]) -> list[list[Placed] | OutputRefused | OutputRootUnusable]:
        """As `Outputs.place`, for items of any directories; one that cannot be used hinders no other."""
        outcomes: dict[int, list[Placed] | OutputRefused | OutputRootUnusable] = {}
        groups: dict[Outputs, list[int]] = {}
        for position, (item, _) in enumerate(fetched):
            groups.setdefault(self.outputs_of(item), []).append(position)
        try:
            for outputs, positions in groups.items():
                try:
                    with self.writing(outputs):
                        placed = outputs.place([fetched[position][1] for position in positions])
                    outcomes |= zip(positions, placed, strict=True)
                except OutputRootUnusable as unusable:
                    outcomes |= dict.fromkeys(positions, unusable)
        finally:
            for outputs, positions in groups.items():
                for position in positions:
                    outputs.discard(fetched[position][1])
        return [outcomes[position] for position in range(len(fetched))]

    def spare(self, items: Iterable[Item]) -> None:
        """Nothing replaces the outputs of these items, nor the images that they are made of."""
        self._claims.spare(place for item in items for place in self._never_replaced(item))

    def _never_replaced(self, item: Item) -> Iterator[Place]:
        yield from (self.recipes.home / upload for upload in item.upload_paths.values())
        for output in item.outputs:
            with contextlib.suppress(OutputRefused, RecipeUnusable):
                yield self.path_of(item, output.path)

    def _real_folder(self, root: Place, subfolder: str) -> str:
        try:
            folder = names.checked_folder(subfolder)
        except OutputRefused:
            # Nothing will be saved there; only the very same name is the same place.
            return folded(f"{root}\0{subfolder}")
        return folded(self._real.directory(str(root / folder)))

    def _root(self, recipe_id: str | None) -> Place:
        if recipe_id is None:
            return self.default
        if recipe_id not in self._roots:
            self._roots[recipe_id] = self._at_home(self.recipes.recipe(recipe_id).output)
        return self._roots[recipe_id]

    def _at_home(self, kept: str) -> Place:
        """A root as a recipe names it."""
        return self._waited_for(root_at_home(kept, self.recipes.home))

    def _waited_for(self, root: Place) -> Place:
        if isinstance(root, ObjectPath) and self._patience is not None:
            return root.waiting(self._patience)
        return root

    def filled(self) -> dict[Place, int]:
        """How many items' outputs this brought to which output root."""
        with self._mutex:
            return {
                outputs.output_dir: outputs.placed_count for outputs in self._outputs.values() if outputs.placed_count
            }

    def abandon(self) -> None:
        """As `Outputs.abandon`, for all of them."""
        with self._mutex:
            self._abandoned = True
            for outputs in self._outputs.values():
                outputs.abandon()


def placement_of(store: Store, settings: Settings, *, recipes: Recipes | None = None) -> Placement:
    """Of an open state. `recipes`: those of that state, where some are known that are not kept yet."""
    return Placement(recipes or Recipes(store.recipes, store.location.home), settings.output_dir)


def _as_recorded(root: Place, outputs: Iterable[OutputRecord]) -> tuple[OutputRecord, ...]:
    """Those whose files are there, byte for byte."""
    found = []
    for output in outputs:
        # What cannot be read is not known to be as recorded.
        with contextlib.suppress(OSError):
            if not verify(root, [output], full=True):
                found.append(output)
    return tuple(found)


def path_at(root: Place, relative: str) -> Place:
    """A file below `root`, there or not. Errors: OutputRefused for a path that leaves it."""
    return names.inside(root, relative)


def directory_at(root: Place, relative: str) -> Place:
    """A directory in `root`, or with `""` that one itself. Errors: OutputRefused for a path that leaves it."""
    return root / names.checked_folder(relative)


def directories_at(root: Place, relative: str) -> list[str]:
    """The names of the directories in one below `root` (`""`: in itself), sorted; links are none."""
    place = directory_at(root, relative)
    if isinstance(place, ObjectPath):
        return place.folders()
    try:
        with os.scandir(place) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def leads_out(root: Place, relative: str) -> bool:
    """Whether something is there that its name or a link leads out of `root`."""
    return isinstance(root, Path) and (root / relative).exists() and file_at(root, relative) is None


def file_at(root: Place, relative: str) -> Place | None:
    """A file below `root` that is there, and that neither its name nor a link leads out of it."""
    if isinstance(root, ObjectPath):
        try:
            place = names.inside(root, relative)
        except OutputRefused:
            return None
        return place if place.is_file() else None
    try:
        found = names.inside(root, relative).resolve(strict=True)
        home = root.resolve(strict=True)
    except (OutputRefused, OSError, RuntimeError, ValueError):
        return None
    return found if found.is_relative_to(home) and found.is_file() else None
