"""What a state in a database takes in when items are added, so that a worker needs no file that they were made from.

The text of a prompt file goes into the item's record. Images, videos and audio are copied below the output root of the
item, and are there before the item is. A JSON state leaves them where they are, and reads them when it sends the item.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import msgspec

from orchestrator.errors import PromptTextError, RecipeUnusable, UploadError
from orchestrator.formatting import counted, first_of
from orchestrator.kept_paths import kept_path
from orchestrator.outputs.inputs_folder import InputsFolder, kept_copy
from orchestrator.places import Place, absolute_root, root_at_home
from orchestrator.preparation import Preparation, prompt_file, read_prompt
from orchestrator.recipes import Recipes
from state.facts import InputsId
from state.item import Item
from state.store import Store

if TYPE_CHECKING:
    from state.disk import Disk

_NAMED = 3


class Intake:
    """Of one state. Nothing is done for one that is in files."""

    def __init__(
        self,
        store: Store,
        recipes: Recipes,
        preparation: Preparation,
        default: Place,
        *,
        kept_at: Path | None = None,
        disk: Disk | None = None,
    ) -> None:
        """`default`: the output root of items without a recipe. `kept_at`: the home of the database that takes in what
        this state is made of; without it the state itself does."""
        self._store = store
        self.takes_in = store.location.takes_in or kept_at is not None
        """Whether there is anything to take in, in a state of this kind."""
        self._kept_at = kept_at if kept_at is not None else store.location.home
        self._recipes = recipes
        self._preparation = preparation
        self._default = default
        self._disk = disk
        self._copies: dict[tuple[str, str], str | None] = {}
        """By output root and source."""
        self._roots: dict[str, Place] = {}
        """By recipe."""
        self._unread: dict[str, None] = {}

    def all(self, items: Iterable[Item]) -> list[Item]:
        """The items with what they are made of, which is durable on return. Safe to repeat.

        What cannot be read stays where it is: its item fails by itself. Errors: DiskFull, OutputRootUnusable.
        """
        return [self.one(item) for item in items] if self.takes_in else list(items)

    def one(self, item: Item) -> Item:
        """The same for one of them."""
        if not self.takes_in:
            return item
        taken = {source: copy for source in item.upload_paths.values() if (copy := self._copy(item, source))}
        return msgspec.structs.replace(item, file_text=self._text(item), taken_in=taken)

    def notes(self) -> Iterator[str]:
        """What to report of what could not be read."""
        if self._unread:
            were = "it was" if len(self._unread) == 1 else "they were"
            yield (
                f"{counted(len(self._unread), 'file')} could not be read, so {were} not taken in "
                f"({first_of(self._unread, _NAMED)}): fix that and repeat the command before a run fails because of it"
            )

    def _text(self, item: Item) -> str | None:
        """That of the prompt file that it is made with, or may be."""
        if item.prompt_text is not None or item.batch is not None or "prompt" in item.inputs:
            return item.file_text
        file = prompt_file(item)
        try:
            return read_prompt(self._preparation.home / file)
        except (FileNotFoundError, NotADirectoryError):
            return item.file_text
        except PromptTextError:
            self._unread[file] = None
            return item.file_text

    def _copy(self, item: Item, source: str) -> str | None:
        """Where the copy is, as the state names it; that of before where the file cannot be read any more."""
        try:
            root = self._root_of(item.recipe)
        except RecipeUnusable:
            return item.taken_in.get(source)
        known = (str(root), source)
        if known not in self._copies:
            self._copies[known] = self._put(root, source)
        return self._copies[known] or item.taken_in.get(source)

    def _root_of(self, recipe_id: str | None) -> Place:
        """Errors: RecipeUnusable."""
        if recipe_id is None:
            return self._default
        if recipe_id not in self._roots:
            root = root_at_home(self._recipes.recipe(recipe_id).output, self._recipes.home)
            self._roots[recipe_id] = absolute_root(root)
        return self._roots[recipe_id]

    def _put(self, root: Place, source: str) -> str | None:
        from orchestrator.input_files import read_input

        try:
            file = read_input(self._preparation.locate(source))
        except UploadError:
            self._unread[source] = None
            return None
        folder = InputsFolder(root, self._folder(), disk=self._disk)
        return kept_copy(kept_path(root, self._kept_at), folder.put(file.kept_name, file.data))

    def _folder(self) -> str:
        """The state's id: the first that any host gave it."""
        if (found := self._store.facts.read().inputs_id) is None:
            self._store.facts.append(InputsId(id=secrets.token_hex(4)))
            found = self._store.facts.read().inputs_id
            assert found is not None
        return found


def made_of(item: Item) -> object:
    """The same for items that are made of the same text and files, wherever the copies of these are."""
    return item.own_text, item.uploads, {one: PurePosixPath(copy).name for one, copy in item.taken_in.items()}
