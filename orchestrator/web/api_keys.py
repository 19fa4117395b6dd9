"""API keys of scripts: a file that is this user's alone, with one `NAME KEY` a line.

It is read again whenever it changes: a key is added and revoked with its line, while the front end runs.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import threading
from pathlib import Path

from orchestrator.errors import SettingsError
from state import operating_system

_LINE = re.compile(r"(?P<name>[!-~]+)[ \t]+(?P<key>[A-Za-z0-9._~+/=-]{20,200})")
_WANTED = "write NAME KEY, the key of at least 20 letters, digits or . _ ~ + / = -; `openssl rand -hex 32` makes one"
_log = logging.getLogger("burst")


class ApiKeys:
    """Those of one file. Only their digests are held, and no key is in any message. Any thread may use it."""

    def __init__(self, path: Path) -> None:
        """Errors: SettingsError for a file that is not there, is open to others, or has a line that is no key."""
        self._path = path
        self._guard = threading.Lock()
        self._seen = _state_of(path)
        self._digests = _digests(path)

    def knows(self, sent: str) -> bool:
        """Whether this is one of the keys, as the file has them now; of a file that cannot be used, none is."""
        digest = hashlib.sha256(sent.encode()).digest()
        found = False
        for known in self._current():
            found |= hmac.compare_digest(digest, known)
        return found

    def _current(self) -> tuple[bytes, ...]:
        with self._guard:
            if (now := _state_of(self._path)) != self._seen:
                self._seen = now
                try:
                    self._digests = _digests(self._path)
                except SettingsError as error:
                    self._digests = ()
                    _log.warning("no API key is accepted until this is fixed: %s", error)
            return self._digests


def _digests(path: Path) -> tuple[bytes, ...]:
    """Errors: SettingsError, which never repeats a line."""
    try:
        with path.open("rb") as stream:
            _refuse_open(path, os.fstat(stream.fileno()))
            lines = stream.read().decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise SettingsError(f"{path}: {reason}; {_WANTED}") from error
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if (parts := _LINE.fullmatch(line.strip())) is None:
            raise SettingsError(f"{path}: line {number}: {_WANTED}")
        found.append(hashlib.sha256(parts["key"].encode()).digest())
    return tuple(found)


def _refuse_open(path: Path, found: os.stat_result) -> None:
    """Errors: SettingsError."""
    if not (operating_system.is_own(found.st_uid) or found.st_uid == operating_system.ROOT):
        raise SettingsError(f"{path}: belongs to another user; keys are only read from files of this user or root")
    if found.st_mode & operating_system.OTHERS:
        raise SettingsError(f"{path}: other users can read or write it, and it holds keys; chmod 600 {path}")


def _state_of(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
