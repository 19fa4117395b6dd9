"""The checks of `burst doctor` on one server: connection, version, queue, and what it would reject."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import templates
from orchestrator.clients import client_for
from orchestrator.clock import Clock
from orchestrator.comfyui import ComfyUI, Queue
from orchestrator.comfyui.capabilities import Capabilities
from orchestrator.doctor.diagnosis import Check, command
from orchestrator.doctor.workflows import Loaded
from orchestrator.errors import BurstError, NotComfyUI
from orchestrator.formatting import counted, spoken_bytes
from orchestrator.servers import Server
from orchestrator.settings import Settings
from templates import Finding

_CONNECT_SECONDS = 2.0
_ANSWER_SECONDS = 4.0
_RETRY_SECONDS = 0.5
_CATALOGUE_SECONDS = 30.0
"""`/object_info` of a server with many custom nodes is slow; it is only requested if the server responds."""
_LOOKS = 4
_BETWEEN_LOOKS_SECONDS = 0.25


@dataclass(frozen=True)
class Seen:
    """The findings about one server."""

    url: str
    checks: tuple[Check, ...]
    findings: Mapping[str, tuple[Finding, ...]] | None = field(default=None)
    """A workflow's recipe -> what the server would reject or does not know; None if its object_info is unavailable."""

    @property
    def works(self) -> bool:
        """Whether it responds, and its queue is not stalled."""
        return all(check.verdict != "problem" for check in self.checks)


def look_at(
    state: Path, server: Server, settings: Settings, workflows: Sequence[Loaded], *, own: frozenset[str], clock: Clock
) -> Seen:
    """All checks of one server. `own`: our prompt_ids. No finding is raised as an error."""
    try:
        with client_for(
            server,
            settings,
            connect_timeout_seconds=_CONNECT_SECONDS,
            read_timeout_seconds=_ANSWER_SECONDS,
            retry_seconds=_RETRY_SECONDS,
        ) as client:
            checks = (_identity(client), _queue(state, client, own, clock))
            if not client.terms.lists_nodes:
                return Seen(server.url, checks)
    except BurstError as error:
        meant = error.url_to_try if isinstance(error, NotComfyUI) else None
        remedy = command("run", state, "--server", meant or "URL")
        return Seen(
            server.url, (Check("server", "problem", str(error), remedy, {"answers": False, "url": server.url}),)
        )
    try:
        with client_for(
            server, settings, read_timeout_seconds=_CATALOGUE_SECONDS, retry_seconds=_RETRY_SECONDS
        ) as client:
            return Seen(server.url, checks, _findings(client, workflows))
    except BurstError as error:
        message = f"what the server offers cannot be read: {error}"
        return Seen(
            server.url, (*checks, Check("models", "problem", message, command("run", state), {"url": server.url}))
        )


def _identity(client: ComfyUI) -> Check:
    stats = client.system_stats()
    system = _object(stats.get("system"))
    devices = stats.get("devices")
    device = _object(devices[0]) if isinstance(devices, list) and devices else {}
    facts = {
        "answers": True,
        "url": client.url,
        "version": system.get("comfyui_version"),
        "device": device.get("name"),
        "vram_free_bytes": device.get("vram_free"),
        "vram_total_bytes": device.get("vram_total"),
        "ram_free_bytes": system.get("ram_free"),
        "jobs_api": client.has_jobs,
    }
    parts = [
        f"{client.url}: ComfyUI {facts['version'] or 'of unknown version'} on {facts['device'] or 'unknown device'}"
    ]
    if isinstance(facts["vram_free_bytes"], int | float) and device.get("type") != "cpu":
        parts.append(f"{_of(facts['vram_free_bytes'], facts['vram_total_bytes'])} VRAM free")
    if isinstance(facts["ram_free_bytes"], int | float):
        parts.append(f"{spoken_bytes(facts['ram_free_bytes'])} RAM free")
    parts.append("has /api/jobs" if facts["jobs_api"] else "no /api/jobs (uses history and queue)")
    return Check("server", "ok", ", ".join(parts), facts=facts)


def _queue(state: Path, client: ComfyUI, own: frozenset[str], clock: Clock) -> Check:
    """Requested several times before it is reported as stalled: between two prompts nothing runs for a moment."""
    queue = client.queue()
    for _ in range(_LOOKS - 1):
        if not _stands_still(queue):
            break
        clock.wait(threading.Event(), _BETWEEN_LOOKS_SECONDS)
        queue = client.queue()
    running, waiting = len(queue.running), len(queue.pending)
    ours = sum(prompt.prompt_id in own for prompt in (*queue.running, *queue.pending))
    facts = {"running": running, "waiting": waiting, "ours": ours, "stalled": _stands_still(queue), "url": client.url}
    if _stands_still(queue):
        message = f"stalled: {counted(waiting, 'prompt')} waiting and none runs; restart ComfyUI, nothing is lost by it"
        return Check("queue", "problem", message, command("run", state), facts)
    if not running:
        return Check("queue", "ok", "empty", facts=facts)
    return Check("queue", "ok", f"{running} running, {waiting} waiting, {ours} of them this state's", facts=facts)


def _stands_still(queue: Queue) -> bool:
    return bool(queue.pending) and not queue.running


def _findings(client: ComfyUI, workflows: Sequence[Loaded]) -> dict[str, tuple[Finding, ...]]:
    """The server's findings about each workflow, without those of the offline checks."""
    graphs = {loaded.recipe: loaded.workflow.graph for loaded in workflows if loaded.workflow is not None}
    if not graphs:
        return {}
    catalogue, folders = client.object_info(), Capabilities(client).folder
    known = {loaded.recipe: {finding.message for finding in loaded.findings} for loaded in workflows}
    loading = {loaded.recipe: loaded.loading for loaded in workflows}
    return {
        recipe: tuple(
            finding
            for finding in templates.check_against(graph, catalogue, folders=folders)
            if finding.message not in known[recipe]
            and not (finding.severity == "warning" and finding.node_id in loading[recipe])
        )
        for recipe, graph in graphs.items()
    }


def _of(free: float, total: object) -> str:
    return f"{spoken_bytes(free)} of {spoken_bytes(total)}" if isinstance(total, int | float) else spoken_bytes(free)


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
