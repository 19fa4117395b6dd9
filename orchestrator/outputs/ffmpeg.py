"""What FFmpeg's programs say of a video or of audio, where they are on the PATH. Nothing depends on them.

A program that is not there, hangs, crashes or answers in another form decides nothing.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)

PROBE_SECONDS = 10.0
POSTER_SECONDS = 20.0
_WAIT_SECONDS = 0.1
_POSTERS_AT_ONCE = threading.Semaphore(2)
_INVALID = ("invalid data found", "moov atom not found", "end of file", "header missing")
"""What ffprobe says of a file, and not of its own trouble with it."""


def fault_of(path: Path, *, seconds: float = PROBE_SECONDS, check: Callable[[], None] = lambda: None) -> str | None:
    """What ffprobe finds wrong with a file, in words that follow "the output"; None also where it decides nothing.

    `check` is called while it works; what that raises ends it. A program that hung once is not asked again.
    """
    asked = ("-v", "error", "-show_entries", "format=duration:stream=codec_type", "-of", "json")
    answer = _run("ffprobe", (*asked, _named(path)), seconds=seconds, check=check)
    if answer is None:
        return None
    code, out, said = answer
    if code == 0:
        return "holds neither video nor audio" if _streams(out) == [] else None
    last = said.decode("utf-8", "replace").strip().rpartition("\n")[2].lower()
    if code > 0 and any(word in last for word in _INVALID):
        return "cannot be read by ffprobe as video or audio"
    return None


def poster_of(path: Path, *, seconds: float = POSTER_SECONDS) -> bytes | None:
    """The first frame of a video, or the cover of audio, as a PNG; None where ffmpeg gives none."""
    asked = (
        "-v",
        "error",
        "-nostdin",
        "-i",
        _named(path),
        "-frames:v",
        "1",
        "-an",
        "-f",
        "image2pipe",
        "-c:v",
        "png",
        "-",
    )
    with _POSTERS_AT_ONCE:
        answer = _run("ffmpeg", asked, seconds=seconds)
    if answer is None:
        return None
    code, out, _ = answer
    return out if code == 0 and out.startswith(b"\x89PNG") else None


def has(program: str) -> bool:
    """Whether it is there, and did not hang when it was asked."""
    return _program(program) is not None


def _named(path: Path) -> str:
    """So that no name is taken for an option or for an address."""
    return f"file:{path.absolute()}"


def _streams(out: bytes) -> list[Any] | None:
    """None for an answer of another form."""
    try:
        answer = json.loads(out)
    except ValueError:
        return None
    streams = answer.get("streams") if isinstance(answer, dict) else None
    return streams if isinstance(streams, list) else None


_hung: set[str] = set()


def _program(name: str) -> str | None:
    found = shutil.which(name)
    return None if found in _hung else found


def _run(
    name: str, arguments: Sequence[str], *, seconds: float, check: Callable[[], None] = lambda: None
) -> tuple[int, bytes, bytes] | None:
    """Exit code, output and errors; None where it did not answer in time or could not be started."""
    program = _program(name)
    if program is None:
        return None
    nothing, pipe = subprocess.DEVNULL, subprocess.PIPE
    try:
        process = subprocess.Popen([program, *arguments], stdin=nothing, stdout=pipe, stderr=pipe)
    except OSError as error:
        _log.info("%s could not be started: %s", program, error)
        return None
    with process:
        try:
            out, said = _communicate(process, seconds, check)
        except subprocess.TimeoutExpired:
            _hung.add(program)
            _log.warning("%s did not answer within %g s and is not asked again", program, seconds)
            return None
        finally:
            with contextlib.suppress(OSError):
                process.kill()
    return process.returncode, out, said


def _communicate(process: subprocess.Popen[bytes], seconds: float, check: Callable[[], None]) -> tuple[bytes, bytes]:
    """Errors: TimeoutExpired, and what `check` raises."""
    for _ in range(max(1, round(seconds / _WAIT_SECONDS))):
        check()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=_WAIT_SECONDS)
    raise subprocess.TimeoutExpired(process.args, seconds)
