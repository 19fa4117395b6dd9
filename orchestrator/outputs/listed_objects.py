"""Sizes of many objects from lists, a request a thousand, in place of a request each."""

from __future__ import annotations

from orchestrator.object_storage import PAGE
from orchestrator.places import ObjectPath

_OTHERS = 4
"""A list is given up once it has so many times as many objects as are asked for: it is mostly of others'."""


class ListedObjects:
    """Below any roots, as they were when their folder was listed first. For one thread.

    Only what a list has is known from it: objects are added meanwhile, so whoever misses one asks for it by itself.
    """

    def __init__(self, *, wanted: int) -> None:
        """`wanted`: about how many are asked for."""
        self._most = _OTHERS * wanted + PAGE
        self._requests_left = wanted
        """For lists: no more than it would take to ask for each object by itself."""
        self._sizes: dict[ObjectPath, dict[str, int]] = {}
        """By listed folder: those below it, by key. The root of a bucket is a folder too."""
        self._too_large: set[ObjectPath] = set()

    def size_of(self, root: ObjectPath, path: ObjectPath) -> int | None:
        """In bytes, of one below `root`; None where no list has it. Errors: OutputRootUnusable."""
        for folder in reversed([one for one in path.parents if one == root or one.is_relative_to(root)]):
            if folder not in self._too_large and self._is_listed(folder):
                return self._sizes[folder].get(path.key)
        return None

    def _is_listed(self, folder: ObjectPath) -> bool:
        if folder not in self._sizes:
            if self._requests_left <= 0:
                return False
            most = min(self._most, self._requests_left * PAGE)
            found = folder.bucket.sizes(folder.key, most=most)
            self._requests_left -= 1 + (most if found is None else len(found)) // PAGE
            if found is None:
                self._too_large.add(folder)
                return False
            self._sizes[folder] = found
        return True
