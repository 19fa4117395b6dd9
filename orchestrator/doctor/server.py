"""What `burst doctor` sees of the server, and of the workflows that would be sent to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import templates
from orchestrator.clock import Clock
from orchestrator.comfyui import ComfyUI, Queue
from orchestrator.doctor.diagnosis import Check, Verdict, command
from orchestrator.errors import BurstError
from orchestrator.settings import Settings
from orchestrator.wording import counted, spoken_bytes
from templates import Finding, Workflow

_CONNECT_SECONDS = 2.0
_ANSWER_SECONDS = 4.0
_RETRY_SECONDS = 0.5
_CATALOGUE_SECONDS = 30.0
"""`/object_info` of a server with many custom nodes takes its time; it is asked only of one that answers."""
_LOOKS = 4
_BETWEEN_LOOKS_SECONDS = 0.25
_FINDINGS_SHOWN = 6


@dataclass(frozen=True)
class Loaded:
    """A workflow that due items use, or why it cannot be loaded."""

    name: str
    """As it was named; empty where no template is set at all."""
    items: int
    workflow: Workflow | None
    findings: tuple[Finding, ...]
    error: str | None = None


def load_workflows(settings: Settings, wanted: Mapping[str | None, int], *, home: Path) -> list[Loaded]:
    """The workflows that the due items need; the default one also when none does. Relative paths start at `home`."""
    named: dict[str, int] = {}
    for template, count in {None: 0, **wanted}.items():
        name = template or settings.template or ""
        named[name] = named.get(name, 0) + count
    return [_load(name, count, settings, home) for name, count in named.items() if name or count]


def _load(name: str, items: int, settings: Settings, home: Path) -> Loaded:
    if not name:
        message = f"none is set for {counted(items, 'item')}; shipped: {', '.join(templates.shipped_workflows())}"
        return Loaded(name, items, None, (), message)
    try:
        workflow = templates.load_workflow(name, relative_to=home)
        bindings = templates.find_bindings(workflow.graph, settings.bindings)
    except BurstError as error:
        return Loaded(name, items, None, (), str(error))
    return Loaded(name, items, workflow, tuple(templates.check_offline(workflow, bindings)))


def check_workflows(state: Path, workflows: Sequence[Loaded]) -> Iterator[Check]:
    """What can be said of them without a server."""
    for loaded in workflows:
        if loaded.workflow is None:
            remedy = (
                command("template check", state, loaded.name)
                if loaded.name
                else command("run", state, "--template", "NAME")
            )
            yield Check("template", "problem", loaded.error or "cannot be loaded", remedy)
        elif loaded.findings:
            yield from _found(loaded, loaded.findings, command("template check", state, loaded.name))
        else:
            yield Check("template", "ok", f"{loaded.workflow.name}: {len(loaded.workflow.graph)} nodes, nothing wrong")


def check_server(
    state: Path, server: str, settings: Settings, workflows: Sequence[Loaded], *, own: frozenset[str], clock: Clock
) -> Iterator[Check]:
    """Does it answer, what is it, is it at work, and does it have what the workflows need? `own`: our prompt_ids."""
    try:
        headers = settings.resolved_headers()
        with ComfyUI(
            server,
            headers=headers,
            connect_timeout_seconds=_CONNECT_SECONDS,
            read_timeout_seconds=_ANSWER_SECONDS,
            retry_seconds=_RETRY_SECONDS,
        ) as client:
            yield _identity(client)
            yield _queue(state, client, own, clock)
    except BurstError as error:
        yield Check("server", "problem", str(error), command("doctor", state, "--server", "URL"), {"answers": False})
        return
    loaded = [one for one in workflows if one.workflow is not None]
    if loaded:
        yield from _against(state, server, headers, loaded)


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
    parts.append("has /api/jobs" if facts["jobs_api"] else "no /api/jobs (history and queue are asked)")
    return Check("server", "ok", ", ".join(parts), facts=facts)


def _queue(state: Path, client: ComfyUI, own: frozenset[str], clock: Clock) -> Check:
    """Asked several times before it is called stalled: between two prompts nothing runs for a moment."""
    queue = client.queue()
    for _ in range(_LOOKS - 1):
        if not _stands_still(queue):
            break
        clock.wait(threading.Event(), _BETWEEN_LOOKS_SECONDS)
        queue = client.queue()
    running, waiting = len(queue.running), len(queue.pending)
    ours = sum(prompt.prompt_id in own for prompt in (*queue.running, *queue.pending))
    facts = {"running": running, "waiting": waiting, "ours": ours, "stalled": _stands_still(queue)}
    if _stands_still(queue):
        message = f"stalled: {counted(waiting, 'prompt')} waiting and none runs; restart ComfyUI, nothing is lost by it"
        return Check("queue", "problem", message, command("doctor", state), facts)
    if not running:
        return Check("queue", "ok", "empty", facts=facts)
    return Check("queue", "ok", f"{running} running, {waiting} waiting, {ours} of them this state's", facts=facts)


def _stands_still(queue: Queue) -> bool:
    return bool(queue.pending) and not queue.running


def _against(state: Path, server: str, headers: Mapping[str, str], workflows: Sequence[Loaded]) -> Iterator[Check]:
    try:
        with ComfyUI(
            server, headers=headers, read_timeout_seconds=_CATALOGUE_SECONDS, retry_seconds=_RETRY_SECONDS
        ) as client:
            catalogue = client.object_info()
            shown = client.url
    except BurstError as error:
        yield Check("models", "problem", f"what the server offers cannot be read: {error}", command("doctor", state))
        return
    for loaded in workflows:
        assert loaded.workflow is not None
        known = {finding.message for finding in loaded.findings}
        findings = [
            finding
            for finding in templates.check_against(loaded.workflow.graph, catalogue)
            if finding.message not in known
        ]
        if findings:
            remedy = command("template check", state, loaded.name, "--server", shown)
            yield from _found(loaded, findings, remedy, name="models")
        else:
            yield Check("models", "ok", f"{loaded.workflow.name}: the server has every node and model that it names")


def _found(loaded: Loaded, findings: Sequence[Finding], remedy: str, *, name: str = "template") -> Iterator[Check]:
    """One check for each finding; what is beyond a handful is counted."""
    assert loaded.workflow is not None
    for finding in findings[:_FINDINGS_SHOWN]:
        verdict: Verdict = "problem" if finding.severity == "error" else "warning"
        message = f"{loaded.workflow.name}: {finding.message}"
        yield Check(name, verdict, message, remedy if verdict == "problem" else None, {"node": finding.node_id})
    more = findings[_FINDINGS_SHOWN:]
    if more:
        errors = sum(finding.severity == "error" for finding in more)
        rest: Verdict = "problem" if errors else "warning"
        message = f"{loaded.workflow.name}: and {counted(len(more), 'more finding')}"
        yield Check(name, rest, message, remedy)


def _of(free: float, total: object) -> str:
    return f"{spoken_bytes(free)} of {spoken_bytes(total)}" if isinstance(total, int | float) else spoken_bytes(free)


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
