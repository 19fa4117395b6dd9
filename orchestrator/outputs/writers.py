"""What fills an output's temporary file: a download, a text, a sidecar."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from orchestrator.outputs.fetch import Fetch
from orchestrator.outputs.fetched import Sidecar, Waiting, Written
from state.disk import Handle

if TYPE_CHECKING:
    from orchestrator.comfyui import ComfyUI, OutputFile

Writer = Callable[[Handle, Callable[[], None]], Written]
"""Writes one output into an empty file; calls the second argument between pieces."""


def writer_of(text: str) -> Writer:
    """What it cannot encode becomes a question mark."""

    def write(handle: Handle, check: Callable[[], None]) -> Written:
        check()
        data = text.encode("utf-8", "replace")
        handle.write(data)
        return Written(len(data), hashlib.sha256(data).hexdigest())

    return write


def writer_beside(sidecar: Sidecar, outputs: Sequence[Waiting]) -> Writer:
    """`outputs` may still be filled until it writes."""

    def write(handle: Handle, check: Callable[[], None]) -> Written:
        return writer_of(sidecar.told([one.placed.as_record() for one in outputs]))(handle, check)

    return write


def download_of(client: ComfyUI, file: OutputFile) -> Writer:
    def write(handle: Handle, check: Callable[[], None]) -> Written:
        return Fetch(client, file, handle, check).run()

    return write
