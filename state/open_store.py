"""Opening a state: the only module that knows the kind of store behind an address."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.clock import Clock
from orchestrator.errors import StateError
from state.disk import Disk
from state.json.parts import JsonParts
from state.json.store import JsonStore
from state.location import Location
from state.store import StateParts, Store

if TYPE_CHECKING:
    from state.contents import Contents


def open_store(
    location: Location | Path | str,
    *,
    create: bool = False,
    read_only: bool = False,
    disk: Disk | None = None,
    clock: Clock | None = None,
) -> Store:
    """Open a state; `create` makes an empty one if there is none. Close it, or use it as a context manager.

    Errors: StateError, StateVersionError, DiskFull. Nothing is written to an existing state.
    """
    found = Location.of(location)
    if found.url is not None:
        with _sql_extra(found):
            from state.sql.store import SqlStore

        return SqlStore.open(found, create=create, read_only=read_only, clock=clock)
    return JsonStore.open(found, create=create, read_only=read_only, disk=disk, clock=clock)


def create_from(location: Location, contents: Contents, *, clock: Clock | None = None) -> None:
    """Make a state of what another one holds: whole, or after an error or a kill not at all. Durable on return.

    Errors: StateError where there is one already, DiskFull.
    """
    if location.url is not None:
        from state.sql.store import SqlStore

        SqlStore.create(location, contents, clock=clock)
        return
    from state.json.creation import create_json

    create_json(location, contents)


def parts_of(location: Location | Path | str, *, clock: Clock | None = None) -> StateParts:
    """The parts of a state other than its items, also before the state exists. Reads and writes nothing by itself."""
    found = Location.of(location)
    if found.url is not None:
        with _sql_extra(found):
            from state.sql.parts import SqlParts

        return SqlParts(found, clock=clock)
    return JsonParts(found, clock=clock)


@contextlib.contextmanager
def _sql_extra(location: Location) -> Iterator[None]:
    """For imports of what only the extra installs. Errors: StateError without it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise StateError(
            location.shown(), f"states in databases need {error.name}: `pip install 'comfyui-burst[sql]'`"
        ) from error


def adding(location: Location | Path | str) -> AbstractContextManager[None]:
    """Keep other processes from adding a batch, also before the state exists. Errors: as `StateParts.adding`."""
    return parts_of(location).adding()
