"""`--then NAME`: a command of a host's own, run when a batch is done. The state holds its name; the command does not
stand there, and nothing that writes to a state can set one.

A run starts a process of its own for it (`then_process`), which outlives the run: a command may take hours.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from orchestrator.clock import Clock
from orchestrator.host_commands import run_command
from orchestrator.host_config import ThenRule, has_host_config, host_state_directory, load_host_config
from orchestrator.servers import this_host
from orchestrator.subprocesses import environment
from state.batch import Batch, BatchRecord, EndRecord
from state.notices import Claim, CommandRun, Notice, Notices, Occurrence
from state.processes import this_process
from state.store import Store

STATE_VARIABLE = "BURST_THEN_STATE"
"""How the process is told the state: its address may hold a password, which a list of processes would show."""
_CLAIMED_FOR = timedelta(seconds=60)
_RENEW_SECONDS = 20.0
_FIRST_PAUSE_SECONDS = 30.0


@dataclass(frozen=True)
class Due:
    """A command that is to be run, on whichever host has one of this name."""

    name: str
    batch: BatchRecord
    end: EndRecord
    tries: tuple[CommandRun, ...] = ()

    @property
    def claim(self) -> str:
        return f"then {self.end.event}"


def due_commands(batches: Mapping[str, Batch], notices: Notices) -> Iterator[Due]:
    """Those of batches that are done, none of whose tries was the last one."""
    for batch in batches.values():
        if batch.gone:
            continue
        for end in batch.ends:
            tries = notices.commands.get(end.event, ())
            if end.how == "done" and end.event in batch.commands and not any(one.final for one in tries):
                yield Due(batch.commands[end.event], batch.record, end, tries)


def start_if_due(store: Store, *, clock: Clock) -> bool:
    """Have a process of its own run what is due and in this host's configuration; whether one was started.

    Errors: SettingsError, StateError, OSError.
    """
    batches = store.batches.read()
    if not any(batch.commands for batch in batches.values()) or not has_host_config():
        return False
    notices, rules, me, now = store.notices.read(), load_host_config().then, this_process(), clock.now()
    due = [one for one in due_commands(batches, notices) if one.name in rules]
    if not any(not notices.is_claimed(one.claim, now, against=me) for one in due):
        return False
    address = store.location.url or os.path.abspath(store.location.path)
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator.notifications.then_process"],
        env=environment(os.environ) | {STATE_VARIABLE: str(address)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    # Nobody waits for it, and a process that lives on for long is to leave no zombies.
    threading.Thread(target=process.wait, name="then", daemon=True).start()
    return True


class ThenCommands:
    """Runs what is due on this host, one after the other. Used by one thread of a process of its own."""

    def __init__(
        self, store: Store, rules: Mapping[str, ThenRule], *, clock: Clock, folder: Path | None = None
    ) -> None:
        """`folder`: where what they write is kept."""
        self._store = store
        self._rules = rules
        self._clock = clock
        self._folder = folder or host_state_directory() / "then"
        self._never = threading.Event()

    def work_off(self) -> None:
        """Until nothing is due that no other process does. Errors: DiskFull, StateError."""
        while (one := self._next()) is not None:
            self._run(one)

    def _next(self) -> Due | None:
        """The first one that this process has claimed."""
        for one in due_commands(self._store.batches.read(), self._store.notices.read()):
            if one.name in self._rules and self._claim(one):
                # Another process may have run it just before.
                there = due_commands(self._store.batches.read(), self._store.notices.read())
                if current := next((other for other in there if other.claim == one.claim), None):
                    return current
        return None

    def _claim(self, one: Due) -> bool:
        me = this_process()

        def edit(known: Notices, now: datetime) -> Iterable[Notice]:
            if not known.is_claimed(one.claim, now, against=me):
                yield Claim(what=one.claim, by=me, until=now + _CLAIMED_FOR)

        return bool(self._store.notices.change(edit))

    def _run(self, one: Due) -> None:
        rule = self._rules[one.name]
        if one.tries:
            self._pause(one, _FIRST_PAUSE_SECONDS * 2 ** (len(one.tries) - 1))
        began, output = self._clock.now(), self._folder / f"{one.end.event}.log"
        problem = self._problem(one, rule, output)
        ran = CommandRun(
            event=one.end.event,
            batch=one.batch.batch,
            name=one.name,
            host=this_host(),
            started_at=began,
            at=self._clock.now(),
            succeeded=problem is None,
            problem=problem,
            output=str(output),
            final=problem is None or len(one.tries) + 1 >= rule.tries,
        )
        self._store.notices.change(lambda known, now: [ran, *_failure(ran, now)])

    def _problem(self, one: Due, rule: ThenRule, output: Path) -> str | None:
        """Run it to its end; None where it succeeded."""
        renewed = self._clock.monotonic()

        def renew() -> None:
            nonlocal renewed
            if self._clock.monotonic() - renewed >= _RENEW_SECONDS:
                self._claim(one)
                renewed = self._clock.monotonic()

        ended = run_command(
            rule.command,
            output=output,
            environment=self._environment(one),
            limit_seconds=rule.timeout_seconds,
            clock=self._clock,
            meanwhile=renew,
        )
        return None if ended.problem is None else f"it {ended.problem}"

    def _pause(self, one: Due, seconds: float) -> None:
        """Before another try, still as the one that does it."""
        until = self._clock.monotonic() + seconds
        while (left := until - self._clock.monotonic()) > 0:
            self._clock.wait(self._never, min(left, _RENEW_SECONDS))
            self._claim(one)

    def _environment(self, one: Due) -> dict[str, str]:
        """This process's, and what the command is about: no address with a password."""
        return {name: value for name, value in os.environ.items() if name not in (STATE_VARIABLE, "BURST_STATE")} | {
            "BURST_EVENT_ID": one.end.event,
            "BURST_BATCH": one.batch.batch,
            "BURST_BATCH_NAME": one.batch.name or "",
            "BURST_OUTPUT": self._output(one),
            "BURST_STATE": self._store.location.shown(),
        }

    def _output(self, one: Due) -> str:
        from orchestrator.outputs.placement import Placement
        from orchestrator.recipes import Recipes
        from orchestrator.settings import kept_settings
        from state.location import state_path

        location = self._store.location
        settings = kept_settings(state_path(location.url) if location.url else Path(location.path))
        placement = Placement(Recipes(self._store.recipes, location.home), settings.output_dir)
        return placement.shown_directories(one.batch, self._store.batch_figures(one.batch.batch).recipes)[0]


def _failure(ran: CommandRun, now: datetime) -> Iterator[Notice]:
    if ran.final and not ran.succeeded:
        yield Occurrence(
            event=str(uuid.uuid4()),
            kind="command.failed",
            about=f"command of {ran.event}",
            at=now,
            text=command_text(ran),
            data={"name": ran.name, "batch": ran.batch, "host": ran.host, "problem": ran.problem},
        )


def command_text(ran: CommandRun) -> str:
    """For a person: `command train of batch b1 on gpu1: it ended with 3; not run again (output: …)`."""
    how = "done" if ran.succeeded else f"{ran.problem}; {'not run again' if ran.final else 'it is run again'}"
    return f"Command {ran.name} of batch {ran.batch} on {ran.host}: {how} (output: {ran.output})"


def command_notes(store: Store, since: datetime) -> Iterator[str]:
    """Commands that ended since then, and those that no host has run yet."""
    notices = store.notices.read()
    for tries in notices.commands.values():
        if tries[-1].at >= since:
            yield command_text(tries[-1])
    for one in due_commands(store.batches.read(), notices):
        if not one.tries:
            yield f"Batch {one.batch.batch} is done; its command {one.name} was not run yet, or is at work"
