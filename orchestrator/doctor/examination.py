"""`burst doctor`: check everything that a burst needs, and name the one command to run next."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.clock import Clock
from orchestrator.doctor import host, servers, workflows
from orchestrator.doctor.diagnosis import Check, command, count_of
from orchestrator.doctor.items import check_items
from orchestrator.doctor.survey import Survey, survey
from orchestrator.documents.lists import shortened
from orchestrator.errors import EXIT_DONE, EXIT_ITEMS_FAILED, BurstError, StateAway
from orchestrator.formatting import counted, in_lines
from orchestrator.outputs.placement import Placement
from orchestrator.preparation import Preparation
from orchestrator.recipes import Recipes
from orchestrator.settings import SERVER_VARIABLE, Overrides, Settings, load_settings
from state.counts import Counts
from state.open_store import parts_of

if TYPE_CHECKING:
    from orchestrator.documents.states import DoctorDocument


@dataclass(frozen=True)
class DoctorReport:
    """Every check, in the order in which a burst needs things."""

    state: Path
    checks: tuple[Check, ...]
    counts: Counts | None
    """None if the state is unreadable."""
    next: str
    """The one command to run next."""

    @property
    def is_well(self) -> bool:
        return not count_of(self.checks, "problem")

    @property
    def exit_code(self) -> int:
        """0 without problems (warnings allowed), otherwise 1."""
        return EXIT_DONE if self.is_well else EXIT_ITEMS_FAILED

    def as_json(self, *, everything: bool = False) -> DoctorDocument:
        """As `burst doctor --json` prints it; `everything`: with all checks, also those that found nothing."""
        found = [check for verdict in ("problem", "warning") for check in self.checks if check.verdict == verdict]
        document: DoctorDocument = {
            "schema": "burst.doctor/2",
            "state": str(self.state),
            "ok": self.is_well,
            "problems": count_of(self.checks, "problem"),
            "warnings": count_of(self.checks, "warning"),
            "checks": [check.as_json() for check in (self.checks if everything else found)],
            "passed": [check.name for check in self.checks if check.verdict == "ok"],
            "counts": self.counts.as_json() if self.counts is not None else None,
            "next": self.next,
        }
        return shortened(document, "checks", everything=everything)

    def as_text(self, *, everything: bool = False) -> str:
        """One line per check, then the totals and the next command."""
        width = max(len(check.name) for check in self.checks)
        lines = [line for check in self.checks for line in check.as_lines(width=width)]
        problems, warnings = count_of(self.checks, "problem"), count_of(self.checks, "warning")
        found = [counted(count, noun) for count, noun in ((problems, "problem"), (warnings, "warning")) if count]
        return in_lines([*lines, "", f"{', '.join(found) or 'All is well'}. Next: {self.next}"])


def examine(state: Path, *, overrides: Overrides | None = None, clock: Clock | None = None) -> DoctorReport:
    """Check state, settings, template, servers, disk, lock and the last bursts. Leaves no files behind.

    A server that does not respond takes a few seconds. Findings are in the report; none is raised as an error.
    """
    read = survey(state, clock=clock)
    seen = read if isinstance(read, Survey) else None
    checks = [host.check_state(state, read)]
    if isinstance(read, StateAway):
        # Settings and runs at work are in the same database.
        return DoctorReport(state, tuple(checks), None, _next(state, checks, None))
    settings = _settings(state, overrides or Overrides())
    if isinstance(settings, Check):
        checks.append(settings)
    else:
        checks += _with_settings(state, settings, overrides or Overrides(), seen, clock or Clock())
    checks += host.check_state_directory(state)
    if seen is not None:
        checks += host.check_pause(state, seen)
        checks += host.check_history(state, seen)
    counts = seen.status.counts if seen is not None else None
    return DoctorReport(state, tuple(checks), counts, _next(state, checks, seen))


def _settings(state: Path, overrides: Overrides) -> Settings | Check:
    try:
        settings = load_settings(state, overrides)
        for server in settings.servers:
            settings.resolved_headers(server)
    except BurstError as error:
        return Check("settings", "problem", str(error), command("init", state, "DIR"))
    return settings


def _with_settings(
    state: Path, settings: Settings, given: Overrides, seen: Survey | None, clock: Clock
) -> Iterator[Check]:
    yield Check(
        "settings",
        "ok",
        _described(state, settings, given),
        facts={
            "template": settings.template,
            "servers": list(settings.server_urls),
            "output_dir": str(settings.output_dir),
            "bindings": dict(settings.bindings),
        },
    )
    home = state.resolve().parent
    recipes = Recipes(parts_of(state).recipes, home)
    preparation = Preparation(recipes, settings, home, items=seen.sources if seen is not None else None)
    loaded = workflows.load_workflows(preparation, settings, seen.due if seen is not None else (), home=home)
    yield from workflows.check_workflows(state, loaded)
    own = seen.prompt_ids if seen is not None else frozenset()
    every = settings.with_servers(name for one in loaded for name in one.servers)
    yield from servers.check_servers(state, every, loaded, own=own, of_run=settings.servers, clock=clock)
    if seen is not None:
        yield from workflows.check_changed(state, seen.status.changed_workflows)
        yield from workflows.check_set_aside(state, seen.status.set_aside)
        yield from check_items(state, seen, preparation, Placement(recipes, settings.output_dir), clock=clock)
        yield from host.check_elsewhere(state, seen, every)
    yield from host.check_outputs(state, Placement(recipes, settings.output_dir), seen)


def _described(state: Path, settings: Settings, given: Overrides) -> str:
    """Template and servers, and where each comes from."""
    is_remembered = parts_of(state).settings.exists()
    template, server = ("remembered" if is_remembered else "default" for _ in range(2))
    if given.template:
        template = "given"
    if given.servers:
        server = "given"
    elif os.environ.get(SERVER_VARIABLE, "").strip():
        server = SERVER_VARIABLE
    several = "servers" if len(settings.servers) > 1 else "server"
    named = ", ".join(one.shown for one in settings.servers)
    chosen = settings.template or "not set"
    if template == server:
        return f"template {chosen}, {several} {named} ({template}{'' if is_remembered else ', no init yet'})"
    return f"template {chosen} ({template}), {several} {named} ({server})"


def _next(state: Path, checks: list[Check], seen: Survey | None) -> str:
    """The command for the first problem; without problems, the one that continues the work."""
    remedy = next((check.next for check in checks if check.verdict == "problem" and check.next), None)
    if remedy is not None:
        return remedy
    if seen is None:
        return command("init", state, "DIR")
    status = seen.status
    if status.holders:
        return command("status", state, "--watch")
    advised = next((check.next for check in checks if check.verdict == "warning" and check.next), None)
    if status.remaining:
        return advised if advised and advised.startswith("burst run") else command("run", state)
    return command("retry", state) if status.counts.failed else command("verify", state)
