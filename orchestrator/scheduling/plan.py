"""What is scheduled: the runs of one state, with everything said in full."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

import orchestrator
from orchestrator.errors import EXIT_ITEMS_FAILED, EXIT_SIGHUP, EXIT_SIGINT, EXIT_SIGTERM, EXIT_TRY_LATER, UsageError
from orchestrator.scheduling.slots import Slots
from state.location import Location

QUIET_CODES = (EXIT_ITEMS_FAILED, EXIT_TRY_LATER, EXIT_SIGHUP, EXIT_SIGINT, EXIT_SIGTERM)
"""Exit codes of a run that are no trouble of the scheduler's: some items failed, not now, ended by a signal."""
_LONGEST_SLUG = 30
_DEFAULT_STEM = "re_render_state"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Runs of a state, at these times, on this host. All paths are absolute."""

    name: str
    """Its own for each state: of units, files and markers."""
    state: str
    """As people know it, without a password."""
    slots: Slots
    program: tuple[str, ...]
    """What starts burst."""
    arguments: tuple[str, ...]
    """Those of burst."""
    directory: Path
    """Where it runs."""
    log: Path
    environment: Path | None = None
    """A file with variables that it needs, mode 600."""

    @property
    def command(self) -> tuple[str, ...]:
        return (*self.program, *self.arguments)


def plan_of(
    location: Location,
    slots: Slots,
    *,
    extra: Sequence[str] = (),
    log: Path | None = None,
    environment: Path | None = None,
    state_in_environment: bool = False,
) -> Plan:
    """`extra`: further arguments of `burst run`. `state_in_environment`: BURST_STATE says which state it is.

    Errors: UsageError for a path that cannot stand in one line.
    """
    name = name_of(location)
    # What `extra` names is relative to where we are.
    directory = Path.cwd() if extra else Path(os.path.abspath(location.home))
    arguments = ["run"]
    if not state_in_environment:
        arguments += ["--state", location.shown()]
    if not any(one.startswith("-n") or one.partition("=")[0] in ("--items", "--size") for one in extra):
        arguments += ["-n", "auto"]
    arguments += ["--max-seconds", str(slots.max_seconds)]
    if slots.hours is not None:
        arguments += ["--between", str(slots.hours)]
    plan = Plan(
        name=name,
        state=location.shown(),
        slots=slots,
        program=program(),
        arguments=(*arguments, "--quiet", *extra),
        directory=directory,
        log=Path(os.path.abspath(log)) if log is not None else _log_of(location, directory, name),
        environment=environment,
    )
    for text in (*plan.command, str(plan.directory), str(plan.log), str(plan.environment or "")):
        if not text.isprintable():
            raise UsageError(f"{text!r} has a character that no scheduler takes in one line; use another path")
    return plan


def name_of(location: Location) -> str:
    """`burst-project-1a2b3c4d`: the same for a state each time, another one for each state."""
    shown = location.shown()
    path = Path(os.fspath(location.path)) if location.url is None or _is_sqlite(location) else None
    words = "database" if path is None else path.parent.name if path.stem == _DEFAULT_STEM else path.stem
    slug = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:_LONGEST_SLUG].strip("-")
    return "-".join(filter(None, ("burst", slug, hashlib.sha256(shown.encode()).hexdigest()[:8])))


def program() -> tuple[str, ...]:
    """What starts burst with this interpreter, wherever it is called from: of a virtual environment or pipx too."""
    beside = Path(sys.executable).parent / "burst"
    if os.access(beside, os.X_OK) and beside.is_file():
        return (str(beside),)
    return (sys.executable, str(Path(orchestrator.__file__).parents[1] / "burst.py"))


def _is_sqlite(location: Location) -> bool:
    return location.url is not None and location.url.startswith("sqlite")


def _log_of(location: Location, directory: Path, name: str) -> Path:
    if location.url is not None and not _is_sqlite(location):
        return directory / f"{name}.log"
    path = Path(os.fspath(location.path))
    return path.with_name(f"{path.stem}.log")
