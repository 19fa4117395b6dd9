"""Pausing the runs of a state, and letting them go on.

The flag is in the state. A run at work takes back what waits on its servers, collects what they render, and ends; with
none at work that is done here, as far as it is quick. While it is set, runs submit nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.clients import client_for
from orchestrator.clock import Clock
from orchestrator.errors import BurstError, LockHeld
from orchestrator.formatting import counted, in_lines
from orchestrator.migration import open_for_writing
from orchestrator.pause_text import pause_as_json, paused_since
from orchestrator.retries import keys_of
from orchestrator.settings import Overrides, load_settings
from orchestrator.withdrawal import AskedServers, delete_waiting_of
from state.change import change_all
from state.facts import Pause
from state.item import Item, Status
from state.store import Store

if TYPE_CHECKING:
    from orchestrator.documents.states import PauseDocument


@dataclass(frozen=True)
class PauseReport:
    """What `burst pause` or `burst resume` did."""

    pause: Pause | None
    """The one in force now."""
    is_new: bool
    """False where it was so before."""
    at_work: str | None = None
    """The run that rests, or goes on, by itself."""
    taken_back: tuple[str, ...] = ()
    """Keys of the items that waited on a server and are due again."""
    still_out: int = 0
    """How many items are submitted."""
    remaining: int = 0
    notes: tuple[str, ...] = ()

    def as_json(self) -> PauseDocument:
        """As the command prints it with `--json`."""
        return {
            "schema": "burst.pause/1",
            "paused": pause_as_json(self.pause),
            "changed": self.is_new,
            "running": self.at_work,
            "taken_back": len(self.taken_back),
            "submitted": self.still_out,
            "remaining": self.remaining,
            "notes": list(self.notes),
        }

    def as_text(self) -> str:
        """A few lines for a person."""
        notes = [f"Note: {note}" for note in self.notes]
        if self.pause is None:
            following = "the run at work goes on" if self.at_work else "Next: burst run"
            left = (
                f"{self.remaining} remaining. {following[0].upper()}{following[1:]}" if self.remaining else "All done."
            )
            return in_lines(["Resumed." if self.is_new else "Nothing was paused.", left, *notes])
        lines = [f"Paused {'' if self.is_new else 'already, '}{paused_since(self.pause)}"]
        if self.at_work is not None:
            lines.append(
                f"The run at work withdraws waiting prompts, collects those being rendered, then ends: {self.at_work}"
            )
        elif self.taken_back:
            lines.append(f"{counted(len(self.taken_back))} taken back from the queue, no attempt charged")
        if self.still_out and self.at_work is None:
            lines.append(
                f"{counted(self.still_out)} still submitted: `burst run` collects them even while runs are paused"
            )
        return in_lines([*lines, *notes])


def pause(
    state: Path,
    *,
    free: bool = False,
    overrides: Overrides | None = None,
    patience_seconds: float = 20.0,
    clock: Clock | None = None,
) -> PauseReport:
    """Have every run of a state rest within a second, on whatever host, and none begin. Safe to repeat.

    `free`: the servers unload their models, once nothing of this state is rendered. `patience_seconds`: how long a
    server that does not answer is asked again. Errors: StateError, DiskFull, SettingsError.
    """
    overrides = overrides or Overrides()
    if overrides.servers:
        load_settings(state, overrides)
    with open_for_writing(state, clock=clock) as store:
        before = store.pause()
        is_new = before is None or (free and not before.free)
        if is_new:
            at = before.at if before is not None else (clock or Clock()).now()
            store.facts.append(Pause(paused=True, at=at, free=free))
        servers = AskedServers(state, overrides, patience_seconds)
        at_work = _at_work(store)
        taken: list[Item] = []
        if at_work is None:
            gone = delete_waiting_of(servers, list(store.items(Status.SUBMITTED)))
            taken = _taken_back(store, gone)
            if free:
                _free(state, servers, overrides, patience_seconds)
            store.settle(at_end=True)
        counts = store.counts()
        return PauseReport(
            store.pause(),
            is_new,
            at_work=at_work,
            taken_back=keys_of(taken),
            still_out=counts.submitted,
            remaining=counts.remaining,
            notes=tuple(servers.notes),
        )


def resume(state: Path, *, clock: Clock | None = None) -> PauseReport:
    """Let runs work again. One that still collects goes on by itself. Safe to repeat. Errors: StateError, DiskFull."""
    with open_for_writing(state, clock=clock) as store:
        is_new = store.pause() is not None
        if is_new:
            store.facts.append(Pause(paused=False, at=(clock or Clock()).now()))
        counts = store.counts()
        return PauseReport(
            store.pause(),
            is_new,
            at_work=_at_work(store),
            still_out=counts.submitted,
            remaining=counts.remaining,
        )


def _at_work(store: Store) -> str | None:
    if not store.is_leased():
        return None
    holders = store.holders()
    return holders[0].describe() if holders else "another process"


def _taken_back(store: Store, gone: Mapping[str, str]) -> list[Item]:
    """Make these due again, by key the prompts that are surely gone. A run that began meanwhile does it by itself."""
    if not gone:
        return []
    try:
        lease = store.lease()
    except LockHeld:
        return []
    with lease:
        same: Sequence[Item] = [item for item in lease.take_over(gone) if item.prompt_id == gone[item.key]]
        return change_all(lease, same, lambda now: now.cancel() if now.cancel_requested else now.put_back(charge=False))


def _free(state: Path, servers: AskedServers, overrides: Overrides, patience_seconds: float) -> None:
    """A server does it when what it renders has ended."""
    settings = load_settings(state, overrides)
    for server in settings.servers:
        try:
            with client_for(server, settings, retry_seconds=patience_seconds) as client:
                client.free()
        except BurstError as error:
            servers.notes.append(f"{server.shown} could not be asked to unload its models: {error}")
