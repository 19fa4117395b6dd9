"""Run code in a forked child that reports its result and leaves the parent's files and fixtures alone."""

from __future__ import annotations

import os
import signal
import traceback
import warnings
from collections.abc import Callable

_LONGEST_SECONDS = 20


def in_forked_child(work: Callable[[], object]) -> str:
    """The result or error of `work` in a forked child, as text; AssertionError if the child hangs."""
    reading, writing = os.pipe()
    child = fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_LONGEST_SECONDS)
        try:
            said = str(work())
        except BaseException as error:  # noqa: BLE001 — reported to the parent
            said = "".join(traceback.format_exception_only(error)).strip()
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as stream:
        said = stream.read()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, f"the child ended with {os.waitstatus_to_exitcode(status)}"
    return said


def fork() -> int:
    """As `os.fork`, without the warning of newer Pythons about threads, which these tests use on purpose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()
