"""Digests of samples of large files, each taken once: a few milliseconds where reading all of it takes many seconds.

Models that differ differ nearly everywhere, so that samples spread over the whole file tell them apart.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Annotated

import msgspec

from orchestrator.host_config import host_state_directory
from orchestrator.replacing import replace_text
from orchestrator.shapes import WrongShape, shaped

_SAMPLES = 256
_SAMPLE_BYTES = 4096
_LETTERS = 16
NAME = "model_digests.json"


class _Known(msgspec.Struct, frozen=True, array_like=True):
    """A file as it was when its digest was taken. Nobody can set the time of its last change back."""

    size: int
    modified_ns: int
    changed_ns: int
    digest: Annotated[str, msgspec.Meta(min_length=_LETTERS, max_length=_LETTERS)]


class SampledDigests:
    """Of files of this host, kept for all runs and states in its own directory. Any thread may use it.

    Losing what is kept costs only that it is made again.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._path = (directory or host_state_directory()) / NAME
        self._mutex = threading.Lock()
        self._known: dict[str, _Known] | None = None

    def of(self, path: Path, *, size_bytes: int) -> str | None:
        """16 hex digits; None unless a readable file of this size is there. Raises nothing."""
        with contextlib.suppress(OSError, ValueError), self._mutex:
            found = path.stat()
            if found.st_size != size_bytes or not path.is_file():
                return None
            known = self._read().get(str(path))
            stamp = found.st_size, found.st_mtime_ns, found.st_ctime_ns
            if known is None or (known.size, known.modified_ns, known.changed_ns) != stamp:
                known = _Known(*stamp, _digest(path, size_bytes))
                self._keep(str(path), known)
            return known.digest
        return None

    def _read(self) -> dict[str, _Known]:
        if self._known is None:
            self._known = {}
            with contextlib.suppress(OSError, ValueError, WrongShape):
                self._known = shaped(json.loads(self._path.read_bytes()), dict[str, _Known])
        return self._known

    def _keep(self, path: str, known: _Known) -> None:
        """Where this host's directory cannot be written, for this process alone."""
        self._read()[path] = known
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_text(self._path, msgspec.json.encode(self._read()).decode())


def _digest(path: Path, size_bytes: int) -> str:
    """Of its size and of samples at even distances, the first and the last bytes among them. Errors: OSError."""
    digest = hashlib.sha256(str(size_bytes).encode())
    last = max(0, size_bytes - _SAMPLE_BYTES)
    with path.open("rb", buffering=0) as stream:
        for place in sorted({last * number // (_SAMPLES - 1) for number in range(_SAMPLES)}):
            stream.seek(place, os.SEEK_SET)
            digest.update(stream.read(_SAMPLE_BYTES))
    return digest.hexdigest()[:_LETTERS]
