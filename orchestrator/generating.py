"""`burst generate`: a batch is planned, added to the state, and worked off by bursts until it is done."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from orchestrator.batches.asked import Asked
from orchestrator.batches.planning import Plan, Planner
from orchestrator.batches.sidecars import Recipe, read_recipe
from orchestrator.clock import Clock
from orchestrator.comfyui import ComfyUI
from orchestrator.errors import EXIT_DONE, EXIT_ITEMS_FAILED, LockHeld
from orchestrator.progress import Silent
from orchestrator.report import BurstReport
from orchestrator.request import Request
from orchestrator.run import Run
from orchestrator.settings import Settings, kept_settings, load_settings, refuse_secrets, save_settings, settings_path
from orchestrator.sources import refuse_collisions
from orchestrator.wording import counted, in_lines, spoken_seconds
from orchestrator.work import Progress
from state.batch import BatchLog, BatchRecord
from state.item import Item, Status
from state.json_store import JsonStore, burst_folder
from state.run_lock import RunLock

_DUE = (Status.PENDING, Status.SUBMITTED)
_LOOK_SECONDS = 0.5
"""How often a batch that another process works off is looked at."""


@dataclass(frozen=True)
class Generated:
    """What became of a batch so far."""

    record: BatchRecord
    output_dir: Path
    counts: dict[Status, int]
    failures: tuple[tuple[str, str], ...]
    """Picture and reason, in the batch's order."""
    seconds: float
    reason: str | None = None
    """Why it is not done, where bursts ended early."""
    exit_code: int = EXIT_DONE

    @property
    def left(self) -> int:
        return self.counts[Status.PENDING] + self.counts[Status.SUBMITTED]

    @property
    def directory(self) -> Path:
        return self.output_dir / self.record.directory

    def as_json(self) -> dict[str, Any]:
        """Stable keys under the schema name `burst.generate/1`."""
        return {
            "schema": "burst.generate/1",
            "batch": self.record.batch,
            "directory": str(self.directory),
            "total": self.record.total,
            "counts": {str(status): count for status, count in self.counts.items()},
            "left": self.left,
            "failures": [{"picture": picture, "message": message} for picture, message in self.failures],
            "seed": self.record.parameters.get("seed"),
            "seconds": round(self.seconds, 3),
            "reason": self.reason,
            "exit_code": self.exit_code,
        }

    def as_text(self) -> str:
        """The summary: how many, what failed, where they are, and what to type next."""
        done, failed = self.counts[Status.COMPLETED], self.counts[Status.FAILED]
        lines = [f"Batch {self.record.batch}: {done} of {self.record.total} done in {spoken_seconds(self.seconds)}"]
        lines[0] += f", {failed} failed" if failed else ""
        lines[0] += f", {self.counts[Status.CANCELLED]} cancelled" if self.counts[Status.CANCELLED] else ""
        lines += [f"  failed: {picture}: {message}" for picture, message in self.failures]
        if self.reason is not None:
            lines.append(f"Stopped: {self.reason}")
        lines.append(f"Pictures are in {self.directory}")
        if self.left:
            lines.append(f"{counted(self.left)} left. Next: burst run")
        return in_lines(lines)


@dataclass(frozen=True)
class Planned:
    """What `--dry-run` shows."""

    plan: Plan
    exit_code: int = EXIT_DONE

    def as_json(self) -> dict[str, Any]:
        """Stable keys under the schema name `burst.generate-dry-run/1`."""
        return {
            "schema": "burst.generate-dry-run/1",
            "total": self.plan.record.total,
            "items": [
                {"place": place_of(item), "prompt": item.prompt_text, "inputs": item.inputs} for item in self.plan.items
            ],
            "graph": self.plan.first_graph,
        }

    def as_text(self) -> str:
        """A line an item, and the first graph."""
        import json

        lines = [f"Would add {counted(self.plan.record.total)}:"]
        for item in self.plan.items:
            said = ", ".join(f"{name} {value}" for name, value in item.inputs.items())
            lines.append(f"  {place_of(item)}: {item.prompt_text} ({said})")
        graph = json.dumps(self.plan.first_graph, indent=2, ensure_ascii=False)
        return in_lines([*lines, "First graph:", *graph.split("\n")])


def place_of(item: Item) -> str:
    """Where an item's first picture goes, relative to the output directory."""
    return f"{item.subfolder}/{item.filename}" if item.subfolder else item.filename


class Generation:
    """One call of `burst generate`. `execute` may be called once; the others from another thread, as of a `Run`.

    `request` says how the bursts work; what it says of a batch, `--until-done` and `on_error` is the batch's to say.
    """

    def __init__(
        self,
        asked: Asked,
        request: Request,
        *,
        queue_only: bool = False,
        dry_run: bool = False,
        secret_env: str | None = None,
        stdin: BinaryIO | None = None,
        stop: threading.Event | None = None,
        progress: Callable[[BatchRecord], Progress] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._asked = asked
        self._request = request.checked()
        self._queue_only = queue_only
        self._dry_run = dry_run
        self._secret_env = secret_env
        self._stdin = stdin
        self._stop = stop or threading.Event()
        self._progress_of = progress or (lambda record: Silent())
        self._progress: Progress = Silent()
        self._clock = clock or Clock()
        self._started = self._clock.monotonic()
        self._run: Run | None = None

    def execute(self) -> Generated | Planned:
        """Plan, add, and run bursts until it is done.

        Errors before anything is added: UsageError, TemplateError, SettingsError, StateError, ServerDown where the
        servers cannot be asked for the names of models (not with `queue_only`).
        """
        settings = load_settings(self._request.state, self._request.overrides)
        plan = self._plan(settings)
        if self._dry_run:
            return Planned(plan)
        self._add(plan, settings)
        self._progress = self._progress_of(plan.record)
        report = None if self._queue_only else self._work(plan.record)
        return self._generated(plan.record, settings, report)

    def request_stop(self, signal: str | None = None) -> None:
        """End after the next checkpoint; the batch stays and goes on with the next burst."""
        self._stop.set()
        if self._run is not None:
            self._run.request_stop(signal)

    def abandon(self, *, timeout_seconds: float) -> None:
        """The process ends now; see `Run.abandon`."""
        if self._run is not None:
            self._run.abandon(timeout_seconds=timeout_seconds)

    def _plan(self, settings: Settings) -> Plan:
        state = self._request.state.resolve()
        recipe = None
        if self._asked.from_file is not None:
            path, template = Path(self._asked.from_file), self._request.overrides.template
            recipe = read_recipe(path, home=state.parent, template=template)
            settings = replace(settings, template=template or recipe.template or _keep_graph(recipe, state))
        directories = {batch.record.directory for batch in BatchLog(burst_folder(state)).read().values()}

        def taken(name: str) -> bool:
            return name in directories or (settings.output_dir / name).exists()

        with contextlib.ExitStack() as held:
            clients: Sequence[ComfyUI] = () if self._queue_only else self._clients(settings, held)
            planner = Planner(
                settings=settings,
                kept_template=(kept_settings(state) if settings_path(state).exists() else settings).template,
                home=state.parent,
                servers=clients,
                secret_env=self._secret_env,
            )
            plan = planner.plan(
                self._asked, at=self._clock.now().astimezone(), taken=taken, recipe=recipe, stdin=self._stdin
            )
        if state.exists():
            with contextlib.closing(JsonStore.open(state, read_only=True)) as store:
                refuse_collisions(plan.items, beside=store.items())
        return plan

    def _clients(self, settings: Settings, held: contextlib.ExitStack) -> list[ComfyUI]:
        clients = (
            ComfyUI(server, headers=settings.resolved_headers(server), stop=self._stop, clock=self._clock)
            for server in settings.servers
        )
        return [held.enter_context(client) for client in clients]

    def _add(self, plan: Plan, settings: Settings) -> None:
        """The batch's record first: items without it would have no name, one without items does no harm."""
        state = self._request.state
        is_new = not settings_path(state).exists()
        if is_new:
            refuse_secrets(settings)
        with contextlib.closing(JsonStore.open(state, create=True, clock=self._clock)) as store:
            if is_new:
                save_settings(state, settings)
            BatchLog(store.folder).append(plan.record)
            store.add(plan.items)
            store.settle(at_end=True)

    def _work(self, record: BatchRecord) -> BurstReport | None:
        """Bursts until it is done. None where another process did the last of it."""
        request = replace(self._request, until_done=True, on_error=record.on_error, batch=record.batch)
        while not self._stop.is_set():
            self._run = Run(request, stop=self._stop, progress=self._progress, clock=self._clock)
            try:
                return self._run.execute()
            except LockHeld:
                if self._is_done_by_another(record):
                    return None
        return None

    def _is_done_by_another(self, record: BatchRecord) -> bool:
        """Wait while another process holds run.lock, and say what ends. False when it is our turn to try."""
        with contextlib.closing(JsonStore.open(self._request.state, read_only=True)) as store:
            due = store.items(*_DUE)
            awaited = [item.key for item in due if item.batch == record.batch]
            lock = RunLock(store.folder)
            while awaited and not self._stop.is_set():
                store.refresh()
                for key in [key for key in awaited if store.get(key).status not in _DUE]:
                    awaited.remove(key)
                    self._progress.ended(store.get(key), number=record.total - len(awaited), size=record.total)
                if not lock.is_held():
                    break
                self._clock.wait(self._stop, _LOOK_SECONDS)
        return not awaited

    def _generated(self, record: BatchRecord, settings: Settings, report: BurstReport | None) -> Generated:
        with contextlib.closing(JsonStore.open(self._request.state, read_only=True)) as store:
            items = [item for item in store.items() if item.batch == record.batch]
        counted_items = Counter(item.status for item in items)
        counts = {status: counted_items[status] for status in Status}
        failed = [item for item in items if item.status is Status.FAILED]
        failures = [(place_of(item), item.error.message if item.error else "") for item in failed]
        reason, code = None, EXIT_ITEMS_FAILED if failures else EXIT_DONE
        if report is not None and report.reason is not None:
            reason, code = report.reason, report.exit_code
        elif failures and record.on_error == "stop" and counts[Status.PENDING] + counts[Status.SUBMITTED]:
            reason = f"{failures[0][0]} failed, and --on-error is stop"
        return Generated(
            record=record,
            output_dir=settings.output_dir,
            counts=counts,
            failures=tuple(failures),
            seconds=self._clock.monotonic() - self._started,
            reason=reason,
            exit_code=code,
        )


def _keep_graph(recipe: Recipe, state: Path) -> str:
    """A picture brought its graph instead of a template's name: kept beside the state, where items find it again."""
    import json

    import templates

    assert recipe.graph is not None
    path = burst_folder(state) / "templates" / f"{templates.fingerprint(recipe.graph)[:16]}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(recipe.graph, indent=1, ensure_ascii=False))
        os.replace(temporary, path)
    return str(path)


def generate(asked: Asked, *, request: Request | None = None, **how: Any) -> Generated | Planned:
    """`burst generate` for scripts: see `Generation` for `how`. Errors: as `Generation.execute`."""
    return Generation(asked, request or Request(), **how).execute()
