"""One file on its way from `/view` into an open file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from orchestrator.errors import OutputDamaged, ServerUnreachable, UnexpectedAnswer
from orchestrator.outputs import containers, names, wholeness
from orchestrator.outputs.fetched import Written
from state.disk import Handle

if TYPE_CHECKING:
    from orchestrator.comfyui import ComfyUI, OutputFile

TRIES = 5
_KEPT_BYTES = 1 << 20
"""Of a file up to this size what came is looked at in memory. It is read from the disk otherwise."""


class Fetch:
    """One file on its way into one handle: resumed after a break, begun again when what came is not whole."""

    def __init__(self, client: ComfyUI, file: OutputFile, handle: Handle, check: Callable[[], None]) -> None:
        self._client = client
        self._file = file
        self._handle = handle
        self._check = check
        self._total: int | None = None
        self._break: ServerUnreachable | None = None
        self._extension = names.server_extension(file.filename)
        self._start = b""
        self._kept: list[bytes] = []
        self._begin_again()

    def run(self) -> Written:
        """Errors: OutputDamaged; ServerUnreachable when `TRIES` breaks in a row got no further."""
        fault, tries, furthest = "", 0, 0
        while tries < TRIES:
            fault = self._try()
            if not fault:
                return Written(self._size, self._hash.hexdigest(), self._start)
            tries = 1 if self._size > furthest else tries + 1
            furthest = max(furthest, self._size)
        what = f"{self._client.url}: the output {self._file.filename} of node {self._file.node_id} {fault}; "
        if self._break is not None:
            # The connection's fault: what the server has may be whole, and is not to be rendered again.
            raise ServerUnreachable(f"{what}tried {TRIES} times; look at the network", may_have_arrived=True)
        raise OutputDamaged(
            f"{what}tried {TRIES} times; look at it on the server, then retry the item", node_id=self._file.node_id
        )

    def _try(self) -> str:
        """Go on from where the last try stopped. Returns what is wrong, or nothing when the file is whole."""
        self._break = None
        try:
            with self._client.view(self._file, offset=self._size) as download:
                if download.offset != self._size or self._total not in (None, download.total_bytes):
                    self._begin_again()
                if download.offset != self._size:
                    return "changed while it was downloaded"
                self._total = download.total_bytes
                self._read(download.iter_chunks())
                resumable = download.accepts_resume
        except UnexpectedAnswer as error:
            if error.status not in (206, 416):
                raise
            self._begin_again()
            return "could not be resumed"
        if self._break is not None or (self._total is not None and self._size != self._total):
            fault = f"breaks off after {self._size} of {'?' if self._total is None else self._total} bytes"
            if not resumable or self._total is None or self._size >= self._total:
                self._begin_again()
            return fault
        content = b"".join(self._kept) if self._size <= _KEPT_BYTES else None
        damage = wholeness.fault_of(self._extension, self._handle.path, content=content, check=self._check)
        if damage is not None:
            self._begin_again()
        return damage or ""

    def _read(self, chunks: Iterator[bytes]) -> None:
        """Append what comes, until the end or a break."""
        try:
            for chunk in chunks:
                self._check()
                self._handle.write(chunk)
                self._hash.update(chunk)
                self._keep(chunk)
                self._size += len(chunk)
        except ServerUnreachable as error:
            self._break = error

    def _keep(self, chunk: bytes) -> None:
        if self._size < containers.START_BYTES:
            self._start = (self._start + chunk)[: containers.START_BYTES]
        if self._size + len(chunk) <= _KEPT_BYTES:
            self._kept.append(chunk)
        else:
            self._kept.clear()

    def _begin_again(self) -> None:
        self._handle.truncate(0)
        self._size = 0
        self._start = b""
        self._kept = []
        self._total = None
        self._hash = hashlib.sha256()
