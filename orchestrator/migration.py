"""Bringing a state of an older format version to the version of today, before anything is written to it.

An interruption loses nothing: recipes are kept before items name them, the journal names the old version until all
items are in the new form, and the settings until all else is done. The next command that writes starts again.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

from orchestrator.clock import Clock
from orchestrator.errors import LockHeld, SettingsError
from orchestrator.settings_file import settings_version, update_version
from state.lease import Lease
from state.open_store import open_store
from state.store import FORMAT_VERSION, Store

_log = logging.getLogger(__name__)

_PATIENCE_SECONDS = 60.0
"""How long another process is waited for that migrates the same state."""


def open_for_writing(
    state: Path, *, create: bool = False, wait_seconds: float = 0.0, clock: Clock | None = None
) -> Store:
    """Open a state as every command does that writes to it; one of an older format version is migrated first.

    `wait_seconds`: how long to wait for a burst of the older version.
    Errors: as `open_store`; LockHeld while such a burst works on it; SettingsError, DiskFull.
    """
    store = open_store(state, create=create, clock=clock)
    try:
        if _is_old(store):
            _migrate(store, clock or Clock(), wait_seconds)
        return store
    except BaseException:
        store.close()
        raise


def writer_of(store: Store) -> Store | None:
    """What changes a state that is open for reading, as `Store.writer`; None where it has to be migrated first."""
    return None if _is_old(store) else store.writer()


def _is_old(store: Store) -> bool:
    """Errors: StateVersionError. Settings that cannot be read stop those alone who need them."""
    versions = {store.format_version}
    with contextlib.suppress(SettingsError):
        versions.add(settings_version(store))
    return not versions <= {None, FORMAT_VERSION}


def _is_still_old(store: Store) -> bool:
    store.refresh()
    return _is_old(store)


def _migrate(store: Store, clock: Clock, wait_seconds: float) -> None:
    lease = _leased(store, clock, wait_seconds)
    if lease is None:
        return
    with lease:
        notes = []
        if store.format_version != FORMAT_VERSION:
            from orchestrator.version_1 import give_recipes

            notes = give_recipes(store)
        update_version(store)
    shown = store.location.shown()
    _log.warning("%s: brought to format version %d, which older versions of burst refuse", shown, FORMAT_VERSION)
    for note in notes:
        _log.warning("%s: %s", shown, note)


def _leased(store: Store, clock: Clock, wait_seconds: float) -> Lease | None:
    """A lease of a state that is still old; None where another process has migrated it meanwhile. Errors: LockHeld."""
    until = clock.monotonic() + _PATIENCE_SECONDS
    while _is_still_old(store):
        try:
            lease = store.lease(wait_seconds=wait_seconds)
        except LockHeld as held:
            if not store.holders() and clock.monotonic() < until:
                continue
            if _is_still_old(store):
                raise LockHeld(
                    f"{store.location.shown()}: an older format version, which is changed while no burst works. {held}"
                ) from held
        else:
            if _is_still_old(store):
                return lease
            lease.end()
    return None
