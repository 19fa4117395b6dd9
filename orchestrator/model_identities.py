"""Which file a model's name stands for on a server: its size as the server tells, and a digest where its disk is ours.

A name stays when a file is replaced. What was rendered is noted with the size, so that the change shows later. Files of
one kind of model often have the same size to the byte; so where the file can be read here, samples of it count too.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from orchestrator.clock import Clock
from orchestrator.comfyui import ComfyUI
from orchestrator.comfyui.responses import ModelFile
from orchestrator.errors import TransientError
from orchestrator.sampled_digests import SampledDigests
from orchestrator.servers import Server

_FRESH_SECONDS = 600.0
"""For how long what a server told of a folder is taken as true."""


class _Folder(msgspec.Struct, frozen=True):
    """What a server told of one kind of models; `directories` only of a server on this host."""

    at: float
    files: Mapping[str, ModelFile]
    directories: tuple[str, ...] = ()


class ModelIdentities:
    """Of one server. Any thread may use it.

    A server that has no such endpoint, or does not answer, has no identities: nothing is known then, and nothing is
    compared.
    """

    def __init__(self, client: ComfyUI, server: Server, *, clock: Clock, digests: SampledDigests | None = None) -> None:
        self._client = client
        self._is_here = server.is_local
        self._clock = clock
        self._digests = digests or SampledDigests()
        self._mutex = threading.Lock()
        self._folders: dict[str, _Folder] = {}
        self._directories: Mapping[str, list[str]] | None = None

    def look(self, paths: Iterable[str]) -> dict[str, str]:
        """What these models are, by `FOLDER/NAME`, as the server tells now or told lately. Raises nothing."""
        wanted = frozenset(paths)
        if self._client.terms.lists_nodes:
            for folder in {path.partition("/")[0] for path in wanted}:
                # Others wait for the same answer.
                with self._mutex:
                    if not self._is_fresh(folder):
                        self._folders[folder] = self._asked(folder)
        return self.known(wanted)

    def known(self, paths: Iterable[str]) -> dict[str, str]:
        """The same without asking."""
        return {path: identity for path in sorted(paths) if (identity := self._identity(path)) is not None}

    def _is_fresh(self, folder: str) -> bool:
        known = self._folders.get(folder)
        return known is not None and self._clock.monotonic() - known.at < _FRESH_SECONDS

    def _asked(self, folder: str) -> _Folder:
        files: dict[str, ModelFile] = {}
        directories: tuple[str, ...] = ()
        with contextlib.suppress(TransientError):
            for file in sorted(self._client.model_files(folder), key=lambda file: file.directory):
                files.setdefault(file.name, file)
            if files and self._is_here:
                directories = tuple(self._all_directories().get(folder, ()))
        return _Folder(self._clock.monotonic(), files, directories)

    def _all_directories(self) -> Mapping[str, list[str]]:
        if self._directories is None:
            self._directories = self._client.model_folders()
        return self._directories

    def _identity(self, path: str) -> str | None:
        folder, _, name = path.partition("/")
        known = self._folders.get(folder)
        file = known.files.get(name) if known is not None else None
        if known is None or file is None:
            return None
        if file.directory < len(known.directories):
            here = Path(known.directories[file.directory]) / name
            if (digest := self._digests.of(here, size_bytes=file.size)) is not None:
                return f"{file.size}:{digest}"
        return str(file.size)


def replaced(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The models, by name, that are certainly other files than they were: of another size, or with other samples.

    What is not known of both times is the same.
    """
    return [path for path, identity in then.items() if path in now and _differ(identity, now[path])]


def _differ(one: str, other: str) -> bool:
    size, _, digest = one.partition(":")
    other_size, _, other_digest = other.partition(":")
    return size != other_size or (bool(digest and other_digest) and digest != other_digest)
