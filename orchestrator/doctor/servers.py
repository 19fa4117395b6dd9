"""The checks of `burst doctor` on all servers: one that fails is no problem as long as another works."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from orchestrator.clock import Clock
from orchestrator.doctor.diagnosis import Check, Verdict, command
from orchestrator.doctor.server import Seen, look_at
from orchestrator.doctor.workflows import Loaded, findings_checks
from orchestrator.errors import SettingsError
from orchestrator.formatting import counted
from orchestrator.servers import Server
from orchestrator.settings import Settings
from templates import Finding

_AT_ONCE = 16


def check_servers(
    state: Path,
    settings: Settings,
    workflows: Sequence[Loaded],
    *,
    own: frozenset[str],
    of_run: Sequence[Server],
    clock: Clock,
) -> Iterator[Check]:
    """Check all servers in parallel, and for each workflow on which of them it can run.

    `own`: our prompt_ids. `of_run`: the servers that may run every workflow whose recipe names none.
    """
    with ThreadPoolExecutor(max_workers=min(len(settings.servers), _AT_ONCE)) as pool:
        seen = list(
            pool.map(lambda server: look_at(state, server, settings, workflows, own=own, clock=clock), settings.servers)
        )
    some_work = any(one.works for one in seen)
    for one in seen:
        for check in one.checks if len(seen) == 1 else map(_placed, one.checks):
            yield _eased(check) if some_work and check.verdict == "problem" else check
    for loaded in workflows:
        if loaded.workflow is None:
            continue
        yield from _without_address(state, settings, loaded)
        allowed = {settings.find_server(name) for name in loaded.servers} if loaded.servers else set(of_run)
        there = [one for server, one in zip(settings.servers, seen, strict=True) if server in allowed]
        if len(seen) == 1:
            yield from _only_one(state, seen[0], loaded) if there else ()
        else:
            yield from _where(state, there, loaded)


def _without_address(state: Path, settings: Settings, loaded: Loaded) -> Iterator[Check]:
    """Servers that a recipe names and that no run can contact."""
    for name in loaded.servers:
        try:
            settings.server_named(name)
        except SettingsError as error:
            message = f"{_called(loaded)}: {error}"
            yield Check("server", "problem", message, command("run", state, "--server", f"{name}=URL"))


def _placed(check: Check) -> Check:
    """Adds the server's name: without it, the queues of two servers look alike."""
    url = check.facts["url"]
    return check if check.message.startswith(url) else replace(check, message=f"{url}: {check.message}")


def _eased(check: Check) -> Check:
    message = f"{check.message}; until then what it holds waits for it, and the rest goes to the others"
    return replace(check, verdict="warning", message=message, next=None)


def _only_one(state: Path, server: Seen, loaded: Loaded) -> Iterator[Check]:
    if server.findings is None:
        return
    findings = server.findings[loaded.recipe]
    if findings:
        remedy = command("template check", state, loaded.name, "--server", server.url)
        yield from findings_checks(loaded, findings, remedy, name="models")
    else:
        yield Check("models", "ok", f"{_called(loaded)}: the server has every node and model that it names")


def _where(state: Path, seen: Sequence[Seen], loaded: Loaded) -> Iterator[Check]:
    """The servers on which a workflow can run, and why not on the others."""
    said = {one.url: one.findings[loaded.recipe] for one in seen if one.findings is not None}
    if not said:
        return
    lacking = {url: errors for url, findings in said.items() if (errors := _errors(findings))}
    able = [url for url in said if url not in lacking]
    facts = {
        "template": loaded.name,
        "servers": able,
        "lacking": {url: [finding.message for finding in findings] for url, findings in lacking.items()},
    }
    verdict: Verdict = "problem" if not able else "warning" if lacking else "ok"
    remedy = command("template check", state, loaded.name, "--server", next(iter(said)))
    places = f"runs on {', '.join(able)}" if able else f"runs on none of the servers that answer ({', '.join(said)})"
    but = f", not on {', '.join(lacking)}" if able and lacking else ""
    yield Check("models", verdict, f"{_called(loaded)}: {places}{but}", None if able else remedy, facts)
    for url, findings in lacking.items():
        more = f" (and {counted(len(findings) - 1, 'more finding')})" if len(findings) > 1 else ""
        message = f"{url}: {findings[0].message}{more}"
        look = command("template check", state, loaded.name, "--server", url)
        yield Check("models", verdict, message, look, {"template": loaded.name, "url": url})
    warnings = dict.fromkeys(finding for url in able for finding in said[url] if finding.severity != "error")
    yield from findings_checks(loaded, list(warnings), remedy, name="models")


def _errors(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity == "error"]


def _called(loaded: Loaded) -> str:
    assert loaded.workflow is not None
    return loaded.workflow.name
