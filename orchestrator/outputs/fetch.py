"""One file on its way from `/view` into an open file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from orchestrator.errors import OutputDamaged, ServerUnreachable, UnexpectedAnswer
from orchestrator.outputs import names, pictures
from state.disk import Handle

if TYPE_CHECKING:
    from orchestrator.comfyui import ComfyUI, OutputFile

TRIES = 5


class Fetch:
    """One file on its way into one handle: resumed after a break, begun again when what came does not decode."""

    def __init__(self, client: ComfyUI, file: OutputFile, handle: Handle, check: Callable[[], None]) -> None:
        self._client = client
        self._file = file
        self._handle = handle
        self._check = check
        self._total: int | None = None
        self._is_picture = names.server_extension(file.filename) in pictures.EXTENSIONS
        self._begin_again()

    def run(self) -> tuple[int, str]:
        fault = ""
        for _ in range(TRIES):
            fault = self._try()
            if not fault:
                return self._size, self._hash.hexdigest()
        raise OutputDamaged(
            f"{self._client.url}: the output {self._file.filename} of node {self._file.node_id} {fault}; "
            f"tried {TRIES} times; look at it on the server, then retry the item",
            node_id=self._file.node_id,
        )

    def _try(self) -> str:
        """Go on from where the last try stopped. Returns what is wrong, or nothing when the file is whole."""
        try:
            with self._client.view(self._file, offset=self._size) as download:
                if download.offset != self._size or self._total not in (None, download.total_bytes):
                    self._begin_again()
                if download.offset != self._size:
                    return "changed while it was downloaded"
                self._total = download.total_bytes
                broken = self._read(download.iter_chunks())
                resumable = download.accepts_resume
        except UnexpectedAnswer as error:
            if error.status not in (206, 416):
                raise
            self._begin_again()
            return "could not be resumed"
        if broken or (self._total is not None and self._size != self._total):
            fault = f"breaks off after {self._size} of {'?' if self._total is None else self._total} bytes"
            if not resumable or self._total is None or self._size >= self._total:
                self._begin_again()
            return fault
        if self._is_picture and not pictures.decodes(self._handle.path):
            self._begin_again()
            return "does not decode"
        return ""

    def _read(self, chunks: Iterator[bytes]) -> bool:
        """Append what comes. True when the connection broke."""
        try:
            for chunk in chunks:
                self._check()
                self._handle.write(chunk)
                self._hash.update(chunk)
                self._size += len(chunk)
        except ServerUnreachable:
            return True
        return False

    def _begin_again(self) -> None:
        self._handle.truncate(0)
        self._size = 0
        self._total = None
        self._hash = hashlib.sha256()
