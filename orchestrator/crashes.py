"""What becomes of an exception that nobody expected: one message, and a file with its traceback."""

from __future__ import annotations

import contextlib
import os
import tempfile
import traceback
from pathlib import Path

from orchestrator.errors import BurstError, ConfigurationError, Crashed
from state import operating_system
from state.disk import refusal
from state.location import hidden

TRACEBACK_NAME = "crash.txt"
"""The last traceback, in the directory next to a state file."""
_ROOT = Path(__file__).resolve().parents[1]
"""This program's, where others' packages may be too."""
_OURS = ("orchestrator", "state", "templates", "burst.py")


def as_burst_error(error: Exception, *, keep_at: Path | None = None) -> BurstError:
    """The error of burst that says this: what a disk refused by its path, and anything unexpected as `Crashed`.

    `keep_at`: the file for the traceback; without it, or where it cannot be written, a temporary one. Never raises.
    """
    if isinstance(error, BurstError):
        return error
    refused = _refused(error)
    if refused is not None:
        return refusal(refused, os.fsdecode(refused.filename))
    if isinstance(error, FileNotFoundError) and _is_directory_gone():
        return ConfigurationError("the working directory was removed; change to another one and run again")
    text = hidden("".join(traceback.format_exception(error)))
    return Crashed(hidden(_described(error)), traceback=text, kept_at=_kept(text, keep_at))


def _refused(error: Exception) -> OSError | None:
    """The operating system's error about a path, if this is one."""
    # Before Python 3.13, `Path.resolve` makes a RuntimeError of a loop of links.
    cause = error.__context__ if isinstance(error, RuntimeError) else error
    if not isinstance(cause, OSError) or cause.errno is None:
        return None
    return cause if isinstance(cause.filename, str | bytes) else None


def reason_of(error: BurstError | None) -> str | None:
    """What the record of a burst says that ended by this error."""
    if error is None:
        return None
    return error.reason if isinstance(error, Crashed) else str(error)


def _described(error: Exception) -> str:
    """`KeyError: 'x', at orchestrator/cycle/worker.py:123`: the innermost place in this program."""
    message = "".join(traceback.format_exception_only(error)).strip()
    frames = traceback.extract_tb(error.__traceback__)
    places = [(_shown(frame.filename), frame.lineno) for frame in frames]
    ours = [(path, line) for path, line in places if path.parts[0] in _OURS] or places
    return f"{message}, at {ours[-1][0]}:{ours[-1][1]}" if ours else message


def _shown(filename: str) -> Path:
    path = Path(filename)
    return path.relative_to(_ROOT) if path.is_relative_to(_ROOT) else path


def _kept(text: str, path: Path | None) -> Path | None:
    """Where the traceback is; None where no place takes it."""
    if path is not None:
        with contextlib.suppress(OSError):
            return _written(
                os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | operating_system.BINARY, 0o600), path, text
            )
    with contextlib.suppress(OSError):
        descriptor, name = tempfile.mkstemp(prefix="burst-crash-", suffix=".txt")
        return _written(descriptor, Path(name), text)
    return None


def _written(descriptor: int, path: Path, text: str) -> Path:
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as stream:
        stream.write(text)
    return path


def _is_directory_gone() -> bool:
    try:
        os.getcwd()
    except OSError:
        return True
    return False
