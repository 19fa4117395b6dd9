"""A program that runs the command line with short timeouts, another time of day, a SIGKILL, SIGSTOP or KeyError at a
given function, failing system calls, closed standard streams, or bursts of `serve` that are forked.

    python launch.py [--in-doubt SECONDS] [--sweep SECONDS] [--kill before|after:MODULE:CLASS.METHOD[:NTH]]
                     [--raise before|after:MODULE:CLASS.METHOD[:NTH]] [--freeze before|after:MODULE:CLASS.METHOD[:NTH]]
                     [--refuse MODULE.FUNCTION:ERRNO:PART_OF_PATH] [--rest SECONDS] [--fork-bursts]
                     [--lease SECONDS] [--clock-ahead SECONDS] [--quick-fleet] [--close 0|1|2] [--remove-directory]
                     -- run …

Only such defaults are replaced. `--kill` kills the process at the given place with SIGKILL; `--freeze` stops it there
with SIGSTOP, until it gets SIGCONT; `--raise` raises `KeyError('broken')` there. `--lease`: how long a lease on a state
in a database lasts. `--clock-ahead`: how far this host's clock is ahead of the time.
`--refuse` makes a system function fail with this error for descriptors of matching files.
`--close`: a standard stream that is closed, as Python finds it of `burst … >&-`. `--remove-directory`: the working
directory, which is empty, is gone when burst begins.
`--rest`: how long a burst may take to come to rest after a signal, where a busy machine needs more than users do.
`--fork-bursts` starts the bursts of `serve` as forks, see `fork_server`.
`--quick-fleet`: a worker looks for work all the time, takes another one for dead after two seconds, and has more time
to end than users give it.
"""

from __future__ import annotations

import argparse
import datetime
import errno
import functools
import importlib
import itertools
import os
import signal
import subprocess
import sys
import types
from collections.abc import Callable
from typing import Any

import msgspec


def main() -> None:
    ours, theirs = _split(sys.argv[1:])
    parser = argparse.ArgumentParser()
    parser.add_argument("--in-doubt", type=float)
    parser.add_argument("--sweep", type=float)
    parser.add_argument("--kill", action="append", default=[])
    parser.add_argument("--raise", action="append", default=[], dest="crash")
    parser.add_argument("--freeze", action="append", default=[])
    parser.add_argument("--lease", type=float)
    parser.add_argument("--clock-ahead", type=float)
    parser.add_argument("--refuse", action="append", default=[])
    parser.add_argument("--rest", type=float)
    parser.add_argument("--fork-bursts", action="store_true")
    parser.add_argument("--quick-fleet", action="store_true")
    parser.add_argument("--close", action="append", default=[], type=int)
    parser.add_argument("--remove-directory", action="store_true")
    options = parser.parse_args(ours)
    _shorten(in_doubt=options.in_doubt, sweep=options.sweep)
    for place in options.kill:
        _at(place, lambda: os.kill(os.getpid(), signal.SIGKILL))
    for place in options.freeze:
        _at(place, lambda: os.kill(os.getpid(), signal.SIGSTOP))
    if options.lease is not None:
        _shorten_leases(options.lease)
    if options.clock_ahead is not None:
        _set_clock(options.clock_ahead)
    for place in options.crash:
        _at(place, _crash)
    for refusal in options.refuse:
        _refuse(refusal)
    if options.rest is not None:
        importlib.import_module("orchestrator.commands.signals")._REST_SECONDS = options.rest  # type: ignore[attr-defined]
    if options.fork_bursts:
        _fork_bursts()
    if options.quick_fleet:
        _quicken_fleet()
    for descriptor in options.close:
        _close(descriptor)
    if options.remove_directory:
        os.rmdir(os.getcwd())
    sys.argv = ["burst", *theirs]
    importlib.import_module("burst").main()


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def _shorten(*, in_doubt: float | None, sweep: float | None) -> None:
    request: Any = importlib.import_module("orchestrator.cycle.request").Request
    options = request.options
    given = {"in_doubt_seconds": in_doubt, "sweep_seconds": sweep}
    shorter = {name: seconds for name, seconds in given.items() if seconds is not None}
    request.options = lambda self, settings: msgspec.structs.replace(options(self, settings), **shorter)


def _shorten_leases(seconds: float) -> None:
    """In the proportions that they have by default."""
    shorter = {"LEASE_SECONDS": seconds, "RENEW_SECONDS": seconds / 6, "POST_SECONDS": seconds / 2}
    importlib.import_module("state.sql.store")
    for name, module in list(sys.modules.items()):
        if name.startswith("state.sql."):
            vars(module).update({name: value for name, value in shorter.items() if name in vars(module)})


def _set_clock(seconds: float) -> None:
    clock: Any = importlib.import_module("orchestrator.clock").Clock
    right = clock.now
    clock.now = lambda self: right(self) + datetime.timedelta(seconds=seconds)


def _crash() -> None:
    raise KeyError("broken")


def _at(place: str, act: Callable[[], None]) -> None:
    when, module, dotted, *nth = place.split(":")
    class_name, method = dotted.split(".")
    owner = getattr(importlib.import_module(module), class_name)
    original = getattr(owner, method)
    calls, nth_call = itertools.count(1), int(nth[0]) if nth else 1

    def deadly(*arguments: Any, **named: Any) -> Any:
        # A number per thread: while one thread is in the call, another may start the next.
        is_the_one = next(calls) == nth_call
        if is_the_one and when == "before":
            act()
        result = original(*arguments, **named)
        if is_the_one and when == "after":
            act()
        return result

    setattr(owner, method, deadly)


def _refuse(refusal: str) -> None:
    function, name, part = refusal.split(":")
    module_name, function_name = function.split(".")
    module, code = importlib.import_module(module_name), getattr(errno, name)
    original = getattr(module, function_name)

    def refusing(descriptor: int, *arguments: Any) -> Any:
        if part in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(code, os.strerror(code))
        return original(descriptor, *arguments)

    setattr(module, function_name, refusing)


def _close(descriptor: int) -> None:
    name = ("stdin", "stdout", "stderr")[descriptor]
    os.close(descriptor)
    setattr(sys, name, None)
    setattr(sys, f"__{name}__", None)


def _fork_bursts() -> None:
    """Where the supervisor starts `burst`, it is forked."""
    supervisor = importlib.import_module("orchestrator.web.supervisor")
    start = importlib.import_module("fork_server").become_parent()
    supervisor.subprocess = types.SimpleNamespace(Popen=start, DEVNULL=subprocess.DEVNULL)  # type: ignore[attr-defined]


def _quicken_fleet() -> None:
    timing = importlib.import_module("orchestrator.fleet.jobs").Timing
    worker: Any = importlib.import_module("orchestrator.fleet.worker")
    quick = timing(tick=1, rescue=1, poll=0.05, heartbeat=0.2, stalled=2.0, patience=5.0)
    worker.WorkerOptions = functools.partial(worker.WorkerOptions, timing=quick)
    worker._END_SECONDS = 60.0


if __name__ == "__main__":
    main()
