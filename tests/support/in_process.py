"""The command line, called in this process as if it were one of its own: most tests are not about processes."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import burst

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def call(arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> tuple[int, str, str]:
    """`burst ARGUMENTS`: exit code, stdout, stderr. Only in the main thread, like whatever takes signals."""
    assert threading.current_thread() is threading.main_thread()
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with _place(cwd, env), _logging(), _signals(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            burst.cli(list(arguments), prog_name="burst")
            code: object = 0
        except SystemExit as ended:
            code = ended.code
    assert isinstance(code, int | None)
    return code or 0, *(stream.buffer.getvalue().decode() for stream in (out, err))  # type: ignore[attr-defined]


@contextlib.contextmanager
def _place(cwd: Path, env: Mapping[str, str]) -> Iterator[None]:
    before, variables, words = os.getcwd(), dict(os.environ), sys.argv
    os.chdir(cwd)
    _become(env)
    sys.argv = ["burst"]
    try:
        yield
    finally:
        os.chdir(before)
        _become(variables)
        sys.argv = words


def _become(env: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(env)
    time.tzset()


@contextlib.contextmanager
def _logging() -> Iterator[None]:
    """Without the handlers of pytest, as a process begins."""
    loggers = (logging.getLogger(), logging.getLogger("burst"))
    before = [(one, one.handlers[:], one.level, one.propagate) for one in loggers]
    for one in loggers:
        one.handlers[:] = []
    try:
        yield
    finally:
        for one, handlers, level, propagate in before:
            one.handlers[:], one.propagate = handlers, propagate
            one.setLevel(level)


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """A run leaves its handlers, since its process ends."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    hook = threading.excepthook
    threading.excepthook = burst._thread_ended
    try:
        yield
    finally:
        threading.excepthook = hook
        for number, handler in before.items():
            signal.signal(number, handler)
