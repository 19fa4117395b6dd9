"""Schedules of a state: what they look like, their installation for this user, and their removal."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from orchestrator.burst_endings import nothing_left
from orchestrator.errors import UsageError, located
from orchestrator.formatting import in_lines, spoken_seconds
from orchestrator.host_config import config_home
from orchestrator.scheduling import crontab, kubernetes, systemd
from orchestrator.scheduling.environment import STATE_VARIABLE, needed, write_private, written
from orchestrator.scheduling.plan import Plan, name_of, plan_of
from orchestrator.scheduling.slots import Slots
from orchestrator.settings import kept_settings
from orchestrator.wording import named
from state.location import Location
from state.open_store import open_store, parts_of
from state.operating_system import ROOT, user_id, user_name

if TYPE_CHECKING:
    from orchestrator.documents.others import ScheduleDocument

Kind = Literal["cron", "systemd", "kubernetes"]


class ScheduleReport(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule, and what became of it. `files`: name or path → text; for cron, the lines of the crontab."""

    kind: Kind | None
    """None where it was removed, wherever it was."""
    name: str
    state: str
    files: Mapping[str, str] = {}
    slots: Slots | None = None
    log: str | None = None
    """The file, or the command that shows it."""
    installed: bool = False
    changed: bool = False
    notes: tuple[str, ...] = ()

    def as_json(self) -> ScheduleDocument:
        return {
            "schema": "burst.schedule/1",
            "state": self.state,
            "name": self.name,
            "format": self.kind,
            "every_seconds": self.slots.every_seconds if self.slots is not None else None,
            "between": str(self.slots.hours) if self.slots is not None and self.slots.hours is not None else None,
            "max_seconds": self.slots.max_seconds if self.slots is not None else None,
            "files": [{"path": path, "content": text} for path, text in self.files.items()],
            "log": self.log,
            "installed": self.installed,
            "changed": self.changed,
            "notes": list(self.notes),
        }

    def as_text(self) -> str:
        """What there is to paste; or, of what was done, a few lines."""
        if self.installed or self.kind is None:
            return in_lines([self._done(), *self._lines()])
        if len(self.files) == 1:
            return next(iter(self.files.values())).rstrip("\n")
        return "\n".join(f"# {path}\n{text}" for path, text in self.files.items()).rstrip("\n")

    def notes_text(self) -> str:
        """For a person, beside what there is to paste; empty where `as_text` has said it."""
        if self.installed or self.kind is None:
            return ""
        how = (
            "pipe this to `kubectl apply -f -`"
            if self.kind == "kubernetes"
            else f"the same command with {named('install', True)}"
        )
        return in_lines([*self._lines(), f"Install: {how}"])

    def _lines(self) -> list[str]:
        lines = []
        if self.slots is not None:
            hours = f", within {self.slots.hours}" if self.slots.hours is not None else ""
            took = spoken_seconds(self.slots.max_seconds)
            lines.append(f"Starts every {self.slots.text}{hours}; a run ends after {took} at the latest")
        if self.log is not None:
            lines.append(f"Log: {self.log}")
        return [*lines, *(f"Note: {note}" for note in self.notes)]

    def _done(self) -> str:
        if self.kind is None:
            return f"Removed: {self.name}" if self.changed else f"Nothing is scheduled for {self.state}"
        where = "in your crontab" if self.kind == "cron" else f"as {' and '.join(self.files)}"
        return f"{'Installed' if self.changed else 'Installed before, unchanged'}: {self.name}, {where}"


def schedule(
    state: Path,
    slots: Slots,
    *,
    kind: Kind,
    extra: Sequence[str] = (),
    log: Path | None = None,
    image: str | None = None,
    system: bool = False,
    install: bool = False,
    environment: Mapping[str, str] | None = None,
) -> ScheduleReport:
    """A schedule of runs over a state; with `install` for this user, or with `system` for the host. Twice is once.

    `extra`: further arguments of `burst run`. `image`: of the container, for Kubernetes. `environment`: by default this
    process's. Errors: UsageError, StateError, SettingsError.
    """
    location = Location.of(state)
    if kind != "kubernetes" and not parts_of(state).exists():
        raise UsageError(f"{location.shown()}: there is no state; make one with `burst init` or `burst generate`")
    here = os.environ if environment is None else environment
    variables, missing = _variables(state, location, here, is_here=kind != "kubernetes")
    names = [*variables, *missing]
    plan = plan_of(
        location,
        slots,
        extra=extra,
        log=log,
        environment=_environment_file(name_of(location), system=system) if names else None,
        state_in_environment=STATE_VARIABLE in variables,
    )
    notes = [*_notes_on(state, plan, variables, missing, is_written=install, kind=kind), *_elsewhere(plan.name, kind)]
    if kind == "kubernetes":
        if install:
            raise UsageError("burst does not change a cluster; pipe the manifest to `kubectl apply -f -`")
        if image is None:
            raise UsageError(f"{named('image')}: name the image of burst (deploy/Dockerfile makes one)")
        text = kubernetes.manifest(plan, image=image, variables=names, is_file=not _is_on_server(location))
        files, shown_log = (
            {f"{plan.name}.yaml": text},
            kubernetes.log_command(plan.name),
        )
    elif kind == "systemd":
        files, shown_log = _unit_files(plan, location, system=system), systemd.log_command(plan.name, system=system)
    else:
        files, shown_log = {"crontab": crontab.entry(plan)}, str(plan.log)
    changed = False
    if install:
        path = _environment_file(plan.name, system=system)
        changed = write_private(path, written(variables)) if names else _removed(path)
        changed |= _installed(kind, plan, files, system=system, notes=notes)
    return ScheduleReport(
        kind=kind,
        name=plan.name,
        state=plan.state,
        files=files,
        slots=slots,
        log=shown_log,
        installed=install,
        changed=changed,
        notes=tuple(notes),
    )


def unschedule(state: Path, *, system: bool = False) -> ScheduleReport:
    """Remove what `schedule` installed for this state, from cron and systemd. Safe to repeat. Errors: UsageError."""
    location = Location.of(state)
    name, changed = name_of(location), False
    notes: list[str] = []
    if crontab.is_there():
        before = crontab.read_crontab()
        after = crontab.with_entry(before, name, "")
        if after != before:
            crontab.write_crontab(after)
            changed = True
    directory = systemd.unit_directory(system=system)
    if (directory / f"{name}.timer").exists() or (directory / f"{name}.service").exists():
        notes += systemd.ordered([systemd.disabling(name, system=system)])
        changed |= systemd.remove_units(directory, name)
        notes += systemd.ordered([systemd.reloading(system=system)])
    changed |= _removed(_environment_file(name, system=system))
    return ScheduleReport(kind=None, name=name, state=location.shown(), changed=changed, notes=tuple(notes))


def _removed(path: Path) -> bool:
    """Whether it was there. Errors: UsageError."""
    with located(path, OSError, into=UsageError):
        was_there = path.exists()
        path.unlink(missing_ok=True)
    return was_there


def _installed(kind: Kind, plan: Plan, files: Mapping[str, str], *, system: bool, notes: list[str]) -> bool:
    """Whether anything changed by it; adds to the notes."""
    if kind == "cron":
        before = crontab.read_crontab()
        after = crontab.with_entry(before, plan.name, files["crontab"])
        if after != before:
            crontab.write_crontab(after)
        return after != before
    changed = systemd.write_units({Path(path): text for path, text in files.items()})
    notes += systemd.ordered(systemd.enabling(plan.name, system=system))
    if not system:
        notes.append("your timers run while you are logged in; `loginctl enable-linger` lets them run always")
    return changed


def _unit_files(plan: Plan, location: Location, *, system: bool) -> dict[str, str]:
    directory = systemd.unit_directory(system=system)
    found = systemd.units(plan, user=_owner(location) if system else None)
    return {str(directory / name): text for name, text in found.items()}


def _owner(location: Location) -> str:
    """Whose runs they are, in units of the system: the owner's of the state's file."""
    if _is_on_server(location):
        return os.environ.get("SUDO_USER") or user_name(user_id() or ROOT)
    return user_name(os.stat(location.path).st_uid)


def _is_on_server(location: Location) -> bool:
    return location.url is not None and not location.url.startswith("sqlite")


def _environment_file(name: str, *, system: bool) -> Path:
    return Path("/etc/burst") / f"{name}.env" if system else config_home() / "burst" / "schedules" / f"{name}.env"


def _variables(
    state: Path, location: Location, here: Mapping[str, str], *, is_here: bool
) -> tuple[dict[str, str], list[str]]:
    """What the environment file holds, and what it still lacks."""
    parts, settings = parts_of(state), kept_settings(state)
    secrets = [
        to.secret_env
        for batch in (parts.batches.read().values() if parts.has_batches() else ())
        for to in batch.record.notify
        if to.secret_env is not None
    ]
    roots = [str(settings.output_dir), *(recipe.output for recipe in parts.recipes.all().values())]
    found, missing = needed(
        settings,
        secrets=secrets,
        is_here=is_here,
        is_on_server=_is_on_server(location),
        uses_objects=any(root.startswith("s3:") for root in roots),
        here=here,
    )
    if location.url is not None and location.url != location.shown():
        found = {STATE_VARIABLE: location.url, **found}
    return found, missing


def _notes_on(
    state: Path, plan: Plan, variables: Mapping[str, str], missing: Sequence[str], *, is_written: bool, kind: Kind
) -> list[str]:
    notes = []
    if kind != "kubernetes" and plan.environment is not None:
        holds = ", ".join([*variables, *missing])
        verb = "holds" if is_written else f"must hold ({named('install', True)} writes it, mode 600)"
        notes.append(f"{plan.environment} {verb} {holds}")
    for name in missing:
        notes.append(f"{name} is not set here, and runs need it: set it and repeat, or add it to that file")
    if parts_of(state).exists():
        with open_store(state, read_only=True) as store:
            counts = store.counts()
        if not counts.remaining:
            notes.append(f"{nothing_left(counts)} `burst schedule --remove` removes the schedule")
    return notes


def _elsewhere(name: str, kind: Kind) -> list[str]:
    """Where another scheduler starts the same runs."""
    notes = []
    if kind != "systemd" and (systemd.unit_directory(system=False) / f"{name}.timer").exists():
        notes.append("a systemd timer starts runs of this state too: `burst schedule --remove` removes both")
    if kind == "systemd" and crontab.is_there() and crontab.has_entry(crontab.read_crontab(), name):
        notes.append("your crontab starts runs of this state too: `burst schedule --remove` removes both")
    return notes
