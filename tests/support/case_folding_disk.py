"""A file system that ignores case and accents in names, and processes without root's file permissions."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.formatting import folded
from support.projects import Ended, Process, Project


def run_without_rights(project: Project, *arguments: str) -> Ended:
    """Run `burst ARGUMENTS` as a process that is subject to file permissions even if the tests run as root."""
    less: list[str] = []
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root's rights cannot be put aside here")
        less = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    with Process([*less, sys.executable, "-m", "burst", *arguments], cwd=project.home, env=project.env()) as process:
        return process.end()


class CaseFoldingDisk:
    """Below `root`, in this process, names that differ only in case or accents mean the same file.

    As on APFS, exFAT and most network disks. Every system call that finds or names a file is patched.
    """

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._root = os.path.abspath(root)
        self._list = os.listdir
        for module, name, paths in (
            (os, "lstat", 1),
            (os, "stat", 1),
            (os, "open", 1),
            (os, "mkdir", 1),
            (os, "unlink", 1),
            (os, "replace", 2),
            (io, "open", 1),
        ):
            monkeypatch.setattr(module, name, self._bent(getattr(module, name), paths))

    def _bent(self, original: Callable[..., Any], paths: int) -> Callable[..., Any]:
        def bent(*arguments: Any, **named: Any) -> Any:
            return original(*map(self._found, arguments[:paths]), *arguments[paths:], **named)

        return bent

    def _found(self, path: Any) -> Any:
        """The existing name that this disk considers equal, if there is one."""
        text = os.fspath(path) if isinstance(path, str | os.PathLike) else path
        if not isinstance(text, str) or not text.startswith(self._root + os.sep):
            return path
        place = self._root
        for part in text[len(self._root) + 1 :].split(os.sep):
            place += os.sep + next((name for name in self._names_in(place) if folded(name) == folded(part)), part)
        return place

    def _names_in(self, place: str) -> list[str]:
        try:
            return self._list(place)
        except OSError:
            return []
