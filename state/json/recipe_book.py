"""recipes.jsonl and workflows/: the recipes of a state, and their graphs by content.

A line is `{"line":"recipe","id":"<id>","recipe":{…}}`. The file is append-only, so lines of unknown kinds are kept; a
recipe with unknown fields is refused, because they may affect the result.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.errors import RecipeUnusable, StateError
from state.disk import Disk, Stamp, SyncFailed
from state.json.line_log import LineLog
from state.json.process_lock import ProcessLock
from state.recipe import Recipe, workflow_bytes, workflow_digest
from state.write_lock import WriteLock

_WAY_OUT = "restore it from a backup, or give its items another recipe with `burst update`"


class _Line(msgspec.Struct, frozen=True, kw_only=True, tag="recipe", tag_field="line"):
    id: str
    recipe: msgspec.Raw


class JsonRecipeBook:
    """See `state.recipe.RecipeBook` for what each public method promises."""

    def __init__(self, folder: Path, *, disk: Disk | None = None, read_only: bool = False) -> None:
        self._disk = disk or Disk()
        self._read_only = read_only
        self._folder = folder
        self._log = LineLog(folder / "recipes.jsonl", _Line, disk=self._disk)
        self._lock = WriteLock(folder, disk=self._disk)
        self._mutex = ProcessLock(self._log.path)
        self._stamp: Stamp | None = None
        self._lines: dict[str, _Line] = {}
        self._kept: set[str] = set()
        """Ids known to be durable, with their graphs."""
        self._ended: SyncFailed | None = None

    def get(self, recipe_id: str) -> Recipe:
        with self._mutex:
            line = self._read().get(recipe_id)
        if line is None:
            raise RecipeUnusable(recipe_id, f"it is not in {self._log.path}; {_WAY_OUT}")
        try:
            recipe = msgspec.json.decode(line.recipe, type=Recipe)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RecipeUnusable(
                recipe_id,
                f"it has an unknown form in {self._log.path} ({error}); use the version of burst that wrote it or a "
                "newer one, or give its items another recipe with `burst update`",
            ) from error
        if recipe.id != recipe_id:
            raise RecipeUnusable(recipe_id, f"its line in {self._log.path} was changed; {_WAY_OUT}")
        return recipe

    def add(self, recipe: Recipe, workflow: Mapping[str, Any] | None) -> Recipe:
        with self._mutex:
            if recipe.id in self._kept:
                return recipe
            if self._ended is not None:
                raise self._ended
            if self._read_only:
                raise StateError(self._log.path, "opened for reading only")
            line = _Line(id=recipe.id, recipe=msgspec.Raw(msgspec.json.encode(recipe)))
            try:
                with self._lock:
                    if recipe.workflow is not None and workflow is not None:
                        self._keep_workflow(recipe.workflow, workflow_bytes(workflow))
                    if self._has(recipe.id):
                        self._sync_log()
                    else:
                        self._log.append(line)
            except SyncFailed as error:
                self._ended = error
                raise
            self._kept.add(recipe.id)
            return recipe

    def workflow(self, recipe: Recipe) -> dict[str, Any]:
        assert recipe.workflow is not None
        path = self._workflow_path(recipe.workflow)
        try:
            data = self._disk.read(path)
        except FileNotFoundError as error:
            raise RecipeUnusable(recipe.id, f"its workflow {path} is missing; {_WAY_OUT}") from error
        except OSError as error:
            raise RecipeUnusable(
                recipe.id, f"its workflow {path} cannot be read: {error.strerror}; {_WAY_OUT}"
            ) from error
        if workflow_digest(data) != recipe.workflow:
            raise RecipeUnusable(recipe.id, f"its workflow {path} was changed; {_WAY_OUT}")
        graph = json.loads(data)
        assert isinstance(graph, dict)
        return graph

    def all(self) -> dict[str, Recipe]:
        with self._mutex:
            ids = list(self._read())
        found = {}
        for recipe_id in ids:
            try:
                found[recipe_id] = self.get(recipe_id)
            except RecipeUnusable:
                continue
        return found

    def _read(self) -> dict[str, _Line]:
        """The lines by id, read again if the file has changed; the last line of an id counts."""
        stamp = self._disk.stamp(self._log.path)
        if stamp != self._stamp:
            self._lines = {line.id: line for line in self._log.read()}
            self._stamp = stamp
        return self._lines

    def _has(self, recipe_id: str) -> bool:
        """Whether the recipe is readable; if its line is damaged, another line of the same id may follow."""
        try:
            self.get(recipe_id)
        except RecipeUnusable:
            return False
        return True

    def _keep_workflow(self, digest: str, data: bytes) -> None:
        """Write the graph; replaces a damaged file. Hold write.lock."""
        if workflow_digest(data) != digest:
            raise ValueError(f"the graph does not have the digest {digest}")
        path = self._workflow_path(digest)
        self._disk.make_directory(path.parent)
        if self._disk.stamp(path) is not None and self._disk.read(path) == data:
            # The process that wrote it may have been killed between syncing the bytes and the name.
            self._disk.sync_directory(path.parent)
            return
        self._disk.write_whole(path, data)

    def _sync_log(self) -> None:
        """Another process wrote the line and may have been killed before it synced it."""
        with self._disk.append_to(self._log.path) as handle:
            handle.sync()
        self._disk.sync_directory(self._folder)

    def _workflow_path(self, digest: str) -> Path:
        return self._folder / "workflows" / f"{digest}.json"
