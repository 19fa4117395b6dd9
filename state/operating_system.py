"""What differs between operating systems; the rest of burst is the same on all of them.

Linux is what it is written on. macOS has no /proc and no boot id. Windows has no users by number, no SIGHUP and no
fork; it lets nobody rename or remove a file that is open, and a process that is sent "signal 0" may end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from orchestrator.clock import Clock


def _flag(name: str) -> int:
    return int(getattr(os, name, 0))


BINARY = _flag("O_CLOEXEC") | _flag("O_NOINHERIT") | _flag("O_BINARY")
"""Of every file that is opened by `os.open`: bytes as they are, and not for the programs that are started."""
NEVER_WAITS = _flag("O_NONBLOCK")
"""Not for a writer, where a named pipe stands in the file's place."""
HANG_UP: signal.Signals | None = getattr(signal, "SIGHUP", None)
"""The terminal is gone; None where there is no such signal."""
REPLACES_OPEN = os.name == "posix"
"""Whether a file may be renamed over one that somebody has open."""
ROOT = 0
OTHERS = 0o077 if os.name == "posix" else 0
"""Permissions of group and others, where there are any."""

ENDED = ("", "Z", "X")
"""Process states: not there, a zombie, dead."""
STOPPED = ("T", "t")
"""By SIGSTOP or a debugger."""

_IN_USE_SECONDS = 2.0
_LOOK_SECONDS = 0.02
_SHARING_VIOLATION = 32
"""An error of Windows: another process has the file open."""
_MAY_ASK = 0x1000
"""PROCESS_QUERY_LIMITED_INFORMATION."""
_STILL_ACTIVE = 259


def user_id() -> int | None:
    """Of this process; None where users have no numbers."""
    ask: Callable[[], int] | None = getattr(os, "geteuid", None)
    return ask() if ask is not None else None


def is_own(owner: int) -> bool:
    """Whether a file with this owner is this user's; always where users have no numbers: there its directory says."""
    return user_id() in (owner, None)


def user_name(owner: int) -> str:
    """`user 1000` where nobody knows a name."""
    try:
        import pwd
    except ImportError:
        return f"user {owner}"
    try:
        return str(pwd.getpwuid(owner).pw_name)  # type: ignore[attr-defined,unused-ignore]
    except KeyError:
        return f"user {owner}"


def change_owner(path: Path, owner: int, group: int) -> None:
    """Errors: OSError where this process may not. Nothing where users have no numbers."""
    change: Callable[..., None] | None = getattr(os, "chown", None)
    if change is not None:
        change(path, owner, group, follow_symlinks=False)


def read_at(descriptor: int, count: int, offset: int) -> bytes:
    """At most so many bytes from this place on. Where it cannot be helped the position is moved."""
    read: Callable[[int, int, int], bytes] | None = getattr(os, "pread", None)
    if read is not None:
        return read(descriptor, count, offset)
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.read(descriptor, count)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable. Windows cannot, and writes them with the file. Errors: OSError."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(path, os.O_RDONLY | _flag("O_DIRECTORY") | BINARY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(source: Path, target: Path) -> None:
    """As `os.replace`, which Windows refuses while anybody has one of the two open: that is waited for, at most 2 s."""
    _when_unused(lambda: os.replace(source, target))


def remove(path: Path) -> None:
    """As `os.unlink`, with the same patience."""
    _when_unused(lambda: os.unlink(path))


def _when_unused(act: Callable[[], None]) -> None:
    clock, never = Clock(), threading.Event()
    until = clock.monotonic() + _IN_USE_SECONDS
    while True:
        try:
            return act()
        except PermissionError as error:
            if getattr(error, "winerror", None) != _SHARING_VIOLATION or clock.monotonic() >= until:
                raise
        clock.wait(never, _LOOK_SECONDS)


def process_state(pid: int) -> str:
    """The letter of this process in /proc; empty where it is not there, `?` where it is and nobody says more."""
    if sys.platform == "win32":
        return "?" if _is_there(pid) else ""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return ""
    except PermissionError:
        pass
    try:
        # The name before it is in brackets, and may hold some itself.
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return "?"


def started(pid: int) -> str:
    """Tells a process from earlier ones of the same number; empty where it is not there or nobody can say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in ENDED else fields[19]


def _is_there(pid: int) -> bool:
    """Of Windows, where `os.kill` ends a process whatever the signal."""
    import ctypes

    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 — typed on Windows alone
    handle = kernel.OpenProcess(_MAY_ASK, False, pid)
    if not handle:
        return False
    code = ctypes.c_ulong()
    kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.CloseHandle(handle)
    return code.value == _STILL_ACTIVE


def kill_with_children(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started with `start_new_session`, and what it started itself as far as the system can."""
    kill: Callable[[int, int], None] | None = getattr(os, "killpg", None)
    with contextlib.suppress(ProcessLookupError):
        if kill is not None:
            kill(process.pid, signal.SIGKILL)  # type: ignore[attr-defined,unused-ignore]
        else:
            process.kill()


def boot_id() -> str:
    """Tells this host's life since it was started from others; empty where nobody says."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def in_forked_child(act: Callable[[], None]) -> None:
    """Call this in every child that is forked from here."""
    register: Callable[..., None] | None = getattr(os, "register_at_fork", None)
    if register is not None:
        register(after_in_child=act)
