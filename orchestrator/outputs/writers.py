"""What fills an output's temporary file: a download, a text, a sidecar."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from orchestrator.outputs.fetch import Fetch
from orchestrator.outputs.fetched import Sidecar, Waiting
from state.disk import Handle

if TYPE_CHECKING:
    from orchestrator.comfyui import ComfyUI, OutputFile

Writer = Callable[[Handle, Callable[[], None]], tuple[int, str]]
"""Writes one output into an empty file and returns its size and sha256; calls the second argument between pieces."""


def writer_of(text: str) -> Writer:
    """What it cannot encode becomes a question mark."""

    def write(handle: Handle, check: Callable[[], None]) -> tuple[int, str]:
        check()
        data = text.encode("utf-8", "replace")
        handle.write(data)
        return len(data), hashlib.sha256(data).hexdigest()

    return write


def writer_beside(sidecar: Sidecar, outputs: Sequence[Waiting]) -> Writer:
    """`outputs` may still be filled until it writes."""

    def write(handle: Handle, check: Callable[[], None]) -> tuple[int, str]:
        return writer_of(sidecar.told([one.placed.as_record() for one in outputs]))(handle, check)

    return write


def download_of(client: ComfyUI, file: OutputFile) -> Writer:
    def write(handle: Handle, check: Callable[[], None]) -> tuple[int, str]:
        return Fetch(client, file, handle, check).run()

    return write
