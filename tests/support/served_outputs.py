"""A file server for the tests of `orchestrator.outputs`, and a disk that records its operations."""

from __future__ import annotations

import errno
import io
import json
import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from orchestrator.comfyui import OutputFile
from orchestrator.errors import DiskFull
from orchestrator.outputs import Outputs
from state.disk import Disk, Handle
from support.comfyui_loopback import Request

ID = "954be33e-63a7-4487-974d-03c1e46594a8"


def png(seed: int = 0, *, saved_by: str | None = None, graph: Mapping[str, Any] | None = None) -> bytes:
    """`graph`: what its metadata hold, or one that tells of this prompt."""
    if saved_by:
        graph = {"9": {"inputs": {"filename_prefix": f"burst/ab/{saved_by}-9"}}}
    info = PngInfo()
    if graph:
        info.add_text("prompt", json.dumps(graph))
    target = io.BytesIO()
    Image.frombytes("L", (64, 64), random.Random(seed).randbytes(64 * 64)).save(target, "PNG", pnginfo=info)
    return target.getvalue()


def file(name: str = "a.png", *, type: str = "output", kind: str = "images") -> OutputFile:
    return OutputFile("9", kind, name, "burst", type)


class Server:
    """Serves files by name. Each request of `/view` uses up one of `faults`."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: list[Callable[[Request, bytes], None]] = []
        self.ranges: list[int | None] = []

    def answer(self, request: Request) -> None:
        if request.path == "/api/prompt":
            request.json({"exec_info": {"queue_remaining": 0}})
            return
        self.ranges.append(request.start)
        data = self.files.get(request.path.partition("filename=")[2].partition("&")[0])
        if data is None:
            request.reply(404)
        elif self.faults:
            self.faults.pop(0)(request, data)
        else:
            serve(request, data)


def serve(request: Request, data: bytes) -> None:
    if request.start is None:
        request.reply(200, data)
    else:
        whole = f"bytes {request.start}-{len(data) - 1}/{len(data)}"
        request.reply(206, data[request.start :], Content_Range=whole)


def there(outputs: Outputs) -> dict[str, bytes]:
    root = outputs.output_dir
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


class Recorder(Disk):
    """The real disk, recording the order of operations; fails where configured."""

    def __init__(self, fail: str = "") -> None:
        self.events: list[str] = []
        self.fail = fail

    def note(self, event: str) -> None:
        self.events.append(event)
        if event.startswith(self.fail) and self.fail:
            raise DiskFull(f"{event}: {os.strerror(errno.ENOSPC)}")

    def append_to(self, path: Path, *, create: bool = False) -> Handle:
        handle = super().append_to(path, create=create)
        return _RecordedHandle(self, path, handle)

    def rename(self, source: Path, target: Path, *, replace: bool = True) -> None:
        self.note(f"rename {target.name}")
        super().rename(source, target, replace=replace)

    def remove(self, path: Path) -> None:
        self.note(f"remove {path.name}")
        super().remove(path)

    def sync_directory(self, path: Path) -> None:
        self.note(f"sync directory {path.name}")
        super().sync_directory(path)

    def make_directory(self, path: Path) -> None:
        self.note(f"directory {path.name}")
        super().make_directory(path)


class _RecordedHandle(Handle):
    def __init__(self, disk: Recorder, path: Path, inner: Handle) -> None:
        super().__init__(path, os.dup(inner._descriptor))
        inner.close()
        self._disk = disk

    def write(self, data: bytes) -> None:
        self._disk.note(f"write {self.path.name[-6:]}")
        super().write(data)

    def sync(self) -> None:
        self._disk.note(f"sync {self.path.name[-6:]}")
        super().sync()
