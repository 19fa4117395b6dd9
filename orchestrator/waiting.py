"""Items that wait for an output of another item, which a newer burst added and this one cannot make."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.formatting import counted
from state.store import Store

_SHOWN = 3


def waiting_notes(store: Store) -> Iterator[str]:
    """What to report of them; nothing where there are none."""
    keys = store.waiting()
    if keys:
        shown = ", ".join(keys[:_SHOWN]) + (" …" if len(keys) > _SHOWN else "")
        waits, them = ("waits", "it") if len(keys) == 1 else ("wait", "them")
        stays = "stays" if len(keys) == 1 else "stay"
        yield (
            f"{counted(len(keys))} {waits} for an output of another item and {stays} pending: this version of burst "
            f"cannot make {them}, a newer one can ({shown})"
        )
