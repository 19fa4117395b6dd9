"""The files of the pages, at an address that changes with them: a browser keeps them and need not ask again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from orchestrator.web.page_files import page_file

PLACE = "/static"
"""Where they are for whoever knows no version: a browser asks each time whether they changed."""
_FOLDER = Path(__file__).parent / "static"
_VERSION = "v-"
_TYPES = {"js": "text/javascript", "css": "text/css", "map": "application/json"}
_FIRST = "theme.js"
"""Every page waits for it before all else, so it is sent from memory: files are read on other threads."""
_KEPT = "private, max-age=31536000, immutable"


class VersionedFiles(StaticFiles):
    """With or without a version before their paths."""

    def __init__(self, folder: Path = _FOLDER) -> None:
        super().__init__(directory=folder)
        self._folder = folder
        self._address = ""

    def address(self) -> str:
        """Where they are as they are now, such as `/static/v-0f3a…`: another one after an upgrade, also under a running
        server."""
        seen = hashlib.blake2b(digest_size=8)
        for path, about in _files(self._folder):
            seen.update(f"{path}\0{about.st_mtime_ns}\0{about.st_size}\0".encode())
        self._address = f"{PLACE}/{_VERSION}{seen.hexdigest()}"
        return self._address

    async def get_response(self, path: str, scope: Scope) -> Response:
        """What is asked for by the version that pages name may be kept for a year."""
        version, _, rest = path.partition("/")
        if not version.startswith(_VERSION):
            return await self._response(path, scope)
        is_kept = f"{PLACE}/{version}" == self._address
        text = _first(self._folder, version) if is_kept and rest == _FIRST else None
        response = await self._response(rest, scope, text=text)
        if is_kept:
            response.headers["Cache-Control"] = _KEPT
        return response

    async def _response(self, path: str, scope: Scope, *, text: str | None = None) -> Response:
        if scope["method"] not in ("GET", "HEAD"):
            return await super().get_response(path, scope)
        text = text or page_file(path, self._address or self.address())
        if text is None:
            return await super().get_response(path, scope)
        return Response(text, media_type=_TYPES[path.rpartition(".")[2]])


@lru_cache(2)
def _first(folder: Path, _version: str) -> str:
    return (folder / _FIRST).read_text(encoding="utf-8")


def _files(folder: Path | str) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            if entry.is_dir():
                yield from _files(entry.path)
            else:
                yield entry.path, entry.stat()
