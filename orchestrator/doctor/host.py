"""The checks of `burst doctor` on this machine: state, disk, lock, and the last bursts."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.burst_endings import text_of
from orchestrator.doctor.diagnosis import Check, command
from orchestrator.doctor.survey import Survey
from orchestrator.errors import BurstError, OutputRootUnusable, RecipeUnusable
from orchestrator.formatting import counted, spoken_bytes, spoken_seconds
from orchestrator.outputs.placement import Placement
from orchestrator.pause_text import text_of_pause
from orchestrator.places import Place, real_root
from orchestrator.server_health import text_of_health
from orchestrator.servers import is_given_name, other_host
from orchestrator.settings import Settings
from orchestrator.status import watchdog_line
from state.holder import TOUCH_SECONDS
from state.open_store import parts_of
from state.store import StateParts

_SCARCE_BYTES = 500_000_000
_PROBE_BYTES = 4096
_KINDS_SHOWN = 5
_MESSAGE_SHOWN = 160


def check_state(state: Path, read: Survey | BurstError) -> Check:
    """Whether the state is readable, its item counts, and the condition of its journal."""
    if isinstance(read, BurstError):
        if not _is_there(state):
            return Check("state", "problem", f"{state} is not there", command("init", state, "DIR"))
        return Check("state", "problem", str(read), command("status", state))
    standing = read.status.counts.as_text() or "nothing in it yet"
    notes = [f"{counted(read.journal_lines, 'checkpoint')} in the journal"] if read.journal_lines else []
    if read.torn_bytes:
        notes.append(f"{read.torn_bytes} bytes torn by a crash, which the next burst cuts off")
    if read.status.hand_edits:
        notes.append(f"{counted(len(read.status.hand_edits), 'note')} on edits by hand, see `burst status`")
    facts = {
        "items": read.status.total,
        "journal_lines": read.journal_lines,
        "torn_bytes": read.torn_bytes,
        "hand_edits": list(read.status.hand_edits),
    }
    message = "; ".join([f"{counted(read.status.total, 'item')}: {standing}", *notes])
    return Check("state", "ok", message, facts=facts)


def _is_there(state: Path) -> bool:
    """Also where nobody can say."""
    try:
        return parts_of(state).exists()
    except BurstError:
        return True


@dataclass
class _Root:
    """An output root and what is still to come there."""

    path: Place
    items: int = 0
    has_recipe: bool = False
    """Whether items with a recipe go there: a flag of `run` does not move them."""


def check_outputs(state: Path, placement: Placement, seen: Survey | None) -> Iterator[Check]:
    """Is each output root writable that due items use, and the default one? Is there room for what is due?"""
    roots = _roots(placement, seen)
    per_item = seen.bytes_per_item if seen is not None else None
    disks: Counter[int] = Counter()
    for root in roots:
        if isinstance(root.path, Path):
            disks[_existing(root.path).stat().st_dev] += root.items
    for root in roots:
        if isinstance(root.path, Path):
            due = disks[_existing(root.path).stat().st_dev]
            yield _check_output(state, placement, root, root.path, per_item, due)
        else:
            yield _check_object_root(state, placement, root)


def _roots(placement: Placement, seen: Survey | None) -> list[_Root]:
    """The default one first, each once however it is reached."""
    found = {real_root(placement.default): _Root(placement.default)}
    for group in seen.due if seen is not None else ():
        with contextlib.suppress(RecipeUnusable):
            path = placement.root_of(group.example)
            root = found.setdefault(real_root(path), _Root(path))
            root.items += group.count
            root.has_recipe = root.has_recipe or group.example.recipe is not None
    return list(found.values())


def _check_object_root(state: Path, placement: Placement, root: _Root) -> Check:
    """Whether it answers, and lets itself be listed."""
    try:
        placement.refuse_unusable(root.path)
    except OutputRootUnusable as error:
        remedy = command("update" if root.has_recipe else "run", state, "--output", "DIR")
        return Check("output", "problem", str(error), remedy)
    remaining = f"; {counted(root.items)} remaining" if root.items else ""
    return Check("output", "ok", f"{root.path}: answers{remaining}", facts={"path": str(root.path)})


def _check_output(
    state: Path, placement: Placement, root: _Root, path: Path, per_item: float | None, due: int
) -> Check:
    """`due`: the items that are to come onto the same disk."""
    remedy = command("update" if root.has_recipe else "run", state, "--output", "DIR")
    try:
        placement.refuse_unusable(path)
    except OutputRootUnusable as error:
        return Check("output", "problem", str(error), remedy)
    refusal = write_refusal(path)
    if refusal is not None:
        return Check("output", "problem", f"{refusal}; choose another output directory or make room", remedy)
    free = shutil.disk_usage(_existing(path)).free
    needed = None if per_item is None else per_item * root.items
    on_disk = 0.0 if per_item is None else per_item * due
    facts = {"path": str(path), "free_bytes": free, "needed_bytes": None if needed is None else round(needed)}
    there = "writable" if path.exists() else "will be made"
    message = f"{path}: {there}, {spoken_bytes(free)} free"
    if needed is not None and root.items:
        message += f"; {counted(root.items)} remaining, about {spoken_bytes(needed)}"
    if on_disk > free and root.items:
        more = (
            f", with those for other directories on this disk about {spoken_bytes(on_disk)}" if due > root.items else ""
        )
        return Check("output", "problem", f"{message}{more}: not enough; make room or use another disk", remedy, facts)
    if free < _SCARCE_BYTES:
        return Check("output", "warning", f"{message}: that is little", facts=facts)
    return Check("output", "ok", message, facts=facts)


def check_state_directory(state: Path) -> Iterator[Check]:
    """Whether checkpoints can be written, whether the file system supports locks, and who holds the lock."""
    parts = parts_of(state)
    folder = parts.checkpoint_directory
    refusal = write_refusal(folder)
    if refusal is not None:
        look = f"ls -ld {shlex.quote(str(_existing(folder)))}"
        yield Check("state dir", "problem", f"{refusal}; checkpoints go there, so make it writable", look)
        return
    there = "writable" if folder.exists() else "will be made"
    yield Check("state dir", "ok", f"{folder}: {there}", facts={"path": str(folder)})
    if not parts.can_lock():
        yield Check(
            "lock",
            "problem",
            f"the file system of {folder} cannot lock files; keep the state on one that can",
            f"df {shlex.quote(str(folder))}",
        )
        return
    yield _holder(state, parts)
    if not parts.is_told_at_once():
        message = (
            f"LISTEN hears nothing at {parts.location.shown()}, as behind pgbouncer in transaction mode: "
            "what others add, cancel or pause is seen within 2 s"
        )
        yield Check("news", "ok", message, facts={"listen": False})


def _holder(state: Path, parts: StateParts) -> Check:
    if holders := parts.holders():
        holder = holders[0]
        facts = {"held": True, "holder": holder.describe()}
        return Check(
            "lock", "ok", f"a burst is at work: {holder.describe()}", command("status", state, "--watch"), facts
        )
    if parts.is_leased():
        message = "held by a process that has not written who it is; it may just be starting"
        return Check("lock", "warning", message, command("run", state, "--wait-lock", "10"), {"held": True})
    return Check("lock", "ok", "free", facts={"held": False})


def check_pause(state: Path, seen: Survey) -> Iterator[Check]:
    """While it is set, no run starts anything."""
    if seen.status.pause is not None:
        yield Check("pause", "problem", text_of_pause(seen.status.pause), command("resume", state))


def check_history(state: Path, seen: Survey) -> Iterator[Check]:
    """How the last burst ended, what kills bursts here, and which items failed."""
    yield _last_burst(state, seen)
    for health in seen.status.sick:
        facts = {"server": health.server, "health": health.health, "since": health.at.isoformat()}
        yield Check("health", "warning", _one_line(text_of_health(health)), command("run", state), facts)
    yield from _watchdog(seen)
    yield from _failed(state, seen)


def check_elsewhere(state: Path, seen: Survey, settings: Settings) -> Iterator[Check]:
    """Items submitted to servers that do not answer, or that a run with the current settings would not contact."""
    stranded = {one.server: one for one in seen.status.stranded if one.away_since is not None}
    for one in stranded.values():
        facts = {one.server: one.items, "since": one.as_json()["since"], "away_since": one.as_json()["away_since"]}
        remedy = command("servers abandon", state, one.server)
        yield Check("elsewhere", "warning", _one_line(one.as_text()), remedy, facts)
    for name, count in seen.servers.items():
        if name in stranded:
            continue
        known = settings.find_server(name)
        if known is not None and known in settings.servers:
            continue
        if (host := other_host(name)) is not None:
            message = f"{counted(count, 'item')} submitted to {name}; what is not found here waits for host {host}, or "
            message += f"until `burst servers abandon {name}`"
            remedy = command("run", state)
        else:
            message = f"{counted(count, 'item')} submitted to {name}, which is not the server of this state now"
            wanted = known.name if known is not None else f"{name}=URL" if is_given_name(name) else name
            remedy = command("run", state, "--server", wanted)
        yield Check("elsewhere", "warning", message, remedy, {name: count})


def _last_burst(state: Path, seen: Survey) -> Check:
    if seen.status.killed is not None:
        killed = seen.status.killed
        at, lived = killed.ended_at, killed.seconds
        age = f"about {spoken_seconds(lived)} after it began" if lived >= TOUCH_SECONDS else "in its first second"
        message = f"killed at {at:%Y-%m-%d %H:%M:%S} UTC, {age}; nothing is lost, the next burst takes over"
        facts = {"ended": "killed", "at": at.isoformat(), "seconds": round(lived, 3)}
        return Check("last burst", "warning", message, command("run", state), facts)
    last = seen.status.last_burst
    if last is None:
        return Check("last burst", "ok", "there was none yet", facts={"ended": None})
    facts = {"ended": last.ended, "at": last.ended_at.isoformat(), "seconds": last.seconds, "reason": last.reason}
    when = f"{text_of(last.ended, last.reason)}, {last.ended_at:%Y-%m-%d %H:%M:%S} UTC"
    if last.reason is not None:
        return Check("last burst", "warning", f"{when}: {_one_line(last.reason)}", facts=facts)
    failed = f", {last.failed} failed" if last.failed else ""
    message = f"{when}: {last.completed} completed{failed} in {spoken_seconds(last.seconds)}"
    return Check("last burst", "ok", message, facts=facts)


def _watchdog(seen: Survey) -> Iterator[Check]:
    limit = seen.status.watchdog
    if limit is not None:
        facts = {"limit_seconds": limit.seconds, "kills": limit.kills, "usable_seconds": limit.usable_seconds}
        yield Check("watchdog", "ok", watchdog_line(limit), facts=facts)


def _failed(state: Path, seen: Survey) -> Iterator[Check]:
    kinds = sorted(seen.failures.items(), key=lambda entry: -entry[1].count)
    for kind, failures in kinds[:_KINDS_SHOWN]:
        message = f"{failures.count} × {kind}, such as {failures.example}: {_one_line(failures.message)}"
        yield Check("failed", "warning", message, command("retry", state), {"kind": kind, "count": failures.count})
    if len(kinds) > _KINDS_SHOWN:
        more = sum(failures.count for _, failures in kinds[_KINDS_SHOWN:])
        yield Check("failed", "warning", f"{more} more, of {len(kinds) - _KINDS_SHOWN} other kinds")
    if not kinds and seen.status.counts.completed:
        yield Check("failed", "ok", "none")


def write_refusal(folder: Path) -> str | None:
    """Why this folder cannot be written to, or cannot be created; None if it can."""
    place = _existing(folder)
    if not place.is_dir():
        return f"{place} is a file, not a directory"
    try:
        with tempfile.TemporaryFile(dir=place) as probe:
            probe.write(b"\0" * _PROBE_BYTES)
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return f"{place} cannot be written: {error.strerror or error}"
    return None


def _existing(folder: Path) -> Path:
    """The folder, or its nearest existing parent; one that may not be looked into counts as the nearest."""
    return next(place for place in (folder, *folder.parents) if os.path.exists(place))


def _one_line(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _MESSAGE_SHOWN else flat[: _MESSAGE_SHOWN - 1] + "…"
