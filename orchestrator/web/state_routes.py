"""The states at a glance: counts, bursts as they went, what failed, what kills runs here, servers and their queues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from orchestrator.burst_rows import BurstRow, burst_rows
from orchestrator.clients import client_for
from orchestrator.clock import Clock
from orchestrator.cycle.pacing import LearnedLimit, learned_limit, of_host
from orchestrator.errors import BurstError, StateAway
from orchestrator.pausing import PauseReport, pause, resume
from orchestrator.retries import retry
from orchestrator.servers import Server, this_host
from orchestrator.settings import Settings
from orchestrator.stranded import stranded
from orchestrator.web.batch_routes import SupervisorOf, WatchedStatesOf, state_numbered
from orchestrator.web.batch_schemas import Asking, SetAsideRecipe
from orchestrator.web.batch_start import PATIENCE_SECONDS
from orchestrator.web.error_responses import Refused, errors
from orchestrator.web.progress import name_of, set_aside_of
from orchestrator.web.states import WatchedState, WatchedStates
from orchestrator.web.supervisor import Supervisor
from orchestrator.web.troubles import ServerTrouble, trouble_of
from orchestrator.web.ttl_cache import TtlCache
from orchestrator.web.watched_batch import WatchedBatch
from state.burst_record import Ending
from state.counts import Counts
from state.holder import Holder
from state.item import Item, Status

router = APIRouter(prefix="/api", tags=["states"])

_BURSTS_SHOWN = 100
_FAILED_SHOWN = 100
_KEPT_SECONDS = 3.0


class Burst(BaseModel):
    """One run over the state; `running` has no end yet."""

    burst: str
    startedAt: datetime
    endedAt: datetime | None
    ended: Literal[Ending, "running"]
    endedText: str
    """The same for people."""
    completed: int | None = None
    """None where the burst could not say: it was killed, or is at work."""
    failed: int | None = None
    seconds: float | None = None
    reason: str | None = None


class FailedItem(BaseModel):
    """An item that was given up."""

    item: str
    batchId: str | None
    batchName: str | None
    prompt: str | None
    kind: str
    message: str


class Limit(BaseModel):
    """The age at which something kills runs here, learned from those it killed."""

    seconds: float
    usableSeconds: float
    kills: int


class ServerQueue(BaseModel):
    """A ComfyUI, as it answered a few seconds ago; prompts of everybody are counted."""

    name: str
    url: str
    reachable: bool
    message: str | None = None
    version: str | None = None
    devices: list[str] = []
    running: int = 0
    pending: int = 0


class StateSummary(BaseModel):
    """One state in a list of them."""

    state: int
    path: str
    exists: bool
    counts: dict[str, int]
    working: bool
    """Whether a burst is at work on it, whoever started it."""
    paused: datetime | None
    """Since when its runs start nothing; None where they are not paused."""
    message: str | None
    """Why it does not go on, where it does not."""


class StateDetails(StateSummary):
    """One state with all that is known of it."""

    secondsPerItem: float | None
    secondsLeft: float | None
    """Until all that a burst can render is done; None where that is nothing, or no pace is known."""
    bursts: list[Burst]
    """Oldest first, the last hundred, with the one at work."""
    failed: list[FailedItem]
    """The first hundred."""
    setAside: list[SetAsideRecipe]
    """Recipes that the last burst could not use, with the items that wait for them."""
    limit: Limit | None
    outputDirectory: str
    template: str | None


class Retried(BaseModel):
    """Items that are due again."""

    items: list[str]


class RetryItems(Asking):
    """Which failed items; none named: all."""

    items: list[str] = Field(default_factory=list)


class PauseRuns(Asking):
    """`free`: the servers unload their models too."""

    free: bool = False


class Paused(BaseModel):
    """Whether the runs of a state are paused now, and what was taken back from the queue."""

    paused: datetime | None
    takenBack: int
    """How many items."""
    notes: list[str]


class ServerQueues:
    """What servers said of their queues is kept for a few seconds, however many pages ask."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._kept: TtlCache[list[ServerQueue]] = TtlCache(clock)

    def of(self, state: WatchedState) -> list[ServerQueue]:
        """Errors: SettingsError."""
        return self._kept.of(state.number, lambda: _queues_of(state.settings), seconds=lambda _: _KEPT_SECONDS)


@router.get("/states", operation_id="listStates")
def list_states(watched: WatchedStatesOf, supervisor: SupervisorOf) -> list[StateSummary]:
    """Every state that the front end was started with."""
    return [summary_of(state, supervisor) for state in watched.states]


@router.get("/states/{number}", operation_id="getState", responses=errors(404))
def get_state(number: int, watched: WatchedStatesOf, supervisor: SupervisorOf) -> StateDetails:
    """One state. Reads what bursts have written; asks ComfyUI nothing."""
    state = state_numbered(watched, number)
    summary = summary_of(state, supervisor)
    records = state.bursts
    failed = state.store.items(Status.FAILED, limit=_FAILED_SHOWN) if state.store is not None else ()
    batches = state.batches()
    return StateDetails(
        **summary.model_dump(),
        secondsPerItem=state.pace,
        secondsLeft=seconds_left_of(state),
        bursts=list(map(_burst, burst_rows(state.parts, records[-_BURSTS_SHOWN:]))),
        failed=[_failed(item, batches) for item in failed],
        setAside=set_aside_of(state, state.waiting.recipes),
        limit=_limit(learned_limit(of_host(records, this_host()))),
        outputDirectory=str(state.settings.output_dir),
        template=state.settings.template,
    )


@router.get("/states/{number}/servers", operation_id="getServers", responses=errors(404))
def get_servers(request: Request, number: int, watched: WatchedStatesOf) -> list[ServerQueue]:
    """The servers of a state and how long their queues are, a few seconds old at most."""
    servers = request.app.state.servers
    assert isinstance(servers, ServerQueues)
    return servers.of(state_numbered(watched, number))


@router.post("/states/{number}/retry", operation_id="retryItems", responses=errors(400, 403, 404))
def retry_items(number: int, body: RetryItems, watched: WatchedStatesOf, supervisor: SupervisorOf) -> Retried:
    """Make failed items due again."""
    state = state_numbered(watched, number)
    state.refresh()
    if state.store is None:
        return Retried(items=[])
    done = retry(state.path, body.items)
    supervisor.wake(number)
    return Retried(items=list(done.keys))


@router.post("/states/{number}/pause", operation_id="pauseRuns", responses=errors(400, 403, 404))
def pause_runs(number: int, body: PauseRuns, watched: WatchedStatesOf, supervisor: SupervisorOf) -> Paused:
    """Have every run rest within a second, whoever started it, and none begin."""
    state = _existing(watched, number)
    done = pause(state.path, free=body.free, overrides=state.overrides, patience_seconds=PATIENCE_SECONDS)
    supervisor.wake(number)
    return _paused(done)


@router.post("/states/{number}/resume", operation_id="resumeRuns", responses=errors(400, 403, 404))
def resume_runs(number: int, watched: WatchedStatesOf, supervisor: SupervisorOf) -> Paused:
    """Let the runs work again."""
    done = resume(_existing(watched, number).path)
    supervisor.wake(number)
    return _paused(done)


def _existing(watched: WatchedStates, number: int) -> WatchedState:
    """Errors: Refused."""
    state = state_numbered(watched, number)
    state.refresh()
    if state.store is None:
        raise Refused(400, "there is nothing to pause yet: this state has no items")
    return state


def _paused(done: PauseReport) -> Paused:
    since = done.pause.at if done.pause is not None else None
    return Paused(paused=since, takenBack=len(done.taken_back), notes=list(done.notes))


def summary_of(state: WatchedState, supervisor: Supervisor) -> StateSummary:
    """Of a state that cannot be read: why, and what was read of it before; of a database that is away, why alone."""
    try:
        return _summary(state, supervisor)
    except StateAway as away:
        return StateSummary(
            state=state.number,
            path=str(state.path),
            exists=True,
            counts={str(one): 0 for one in Status},
            working=False,
            paused=None,
            message=str(away),
        )


def _summary(state: WatchedState, supervisor: Supervisor) -> StateSummary:
    unreadable = None
    try:
        state.refresh()
    except StateAway:
        raise
    except BurstError as error:
        unreadable = str(error)
    store, holders, trouble = state.store, state.parts.holders(), _trouble(state)
    return StateSummary(
        state=state.number,
        path=str(state.path),
        exists=store is not None or unreadable is not None,
        counts={str(one): count for one, count in (store.counts() if store is not None else Counts()).items()},
        working=bool(holders),
        paused=current.at if (current := state.parts.pause()) is not None else None,
        message=unreadable
        or (trouble.message if trouble is not None else None)
        or _waits_for(holders)
        or _stranded(state, holders)
        or supervisor.message(state.number),
    )


def _trouble(state: WatchedState) -> ServerTrouble | None:
    if state.store is None or not state.store.counts().remaining:
        return None
    # Items are counted here, of which each may make several images.
    return trouble_of(state, state.live(), completed=0)


def _stranded(state: WatchedState, holders: Sequence[Holder]) -> str | None:
    """What waits on a server that does not answer, or that another host alone reaches."""
    store = state.store
    if store is None or not store.counts().submitted:
        return None
    registered = list(store.servers().values())
    found = stranded(store.items(Status.SUBMITTED), registered, state.bursts, holders)
    return found[0].as_text() if found else None


def _waits_for(holders: Sequence[Holder]) -> str | None:
    return next((f"waiting: {holder.waits_for}" for holder in holders if holder.waits_for is not None), None)


def _burst(row: BurstRow) -> Burst:
    return Burst(
        burst=row.burst,
        startedAt=row.started_at,
        endedAt=row.ended_at,
        ended=row.ended,
        endedText=row.ended_text,
        completed=row.completed,
        failed=row.failed,
        seconds=row.seconds,
        reason=row.reason,
    )


def _limit(limit: LearnedLimit | None) -> Limit | None:
    if limit is None:
        return None
    return Limit(seconds=limit.seconds, usableSeconds=limit.usable_seconds, kills=limit.kills)


def seconds_left_of(state: WatchedState) -> float | None:
    """Until all that can be rendered of a state is done; None where nothing is rendered, or no pace is known."""
    trouble, waiting = _trouble(state), state.waiting.count
    remaining = state.store.counts().remaining if state.store is not None else 0
    if (trouble is not None and trouble.stops_all) or (pace := state.pace) is None:
        return None
    return None if 0 < remaining <= waiting else pace * (remaining - waiting)


def _failed(item: Item, batches: Mapping[str, WatchedBatch]) -> FailedItem:
    return FailedItem(
        item=item.key,
        batchId=item.batch,
        batchName=name_of(batches, item.batch) if item.batch is not None else None,
        prompt=item.own_text,
        kind=item.error.kind if item.error else "unknown",
        message=item.error.message if item.error else "",
    )


def _queues_of(settings: Settings) -> list[ServerQueue]:
    return [_queue_of(server, settings) for server in settings.servers]


def _queue_of(server: Server, settings: Settings) -> ServerQueue:
    try:
        with client_for(server, settings, retry_seconds=PATIENCE_SECONDS) as client:
            queue, stats = client.queue(), client.system_stats()
    except BurstError as error:
        return ServerQueue(name=server.name, url=server.url, reachable=False, message=str(error))
    system = stats.get("system")
    devices = stats.get("devices")
    return ServerQueue(
        name=server.name,
        url=server.url,
        reachable=True,
        version=str(system["comfyui_version"]) if isinstance(system, dict) and "comfyui_version" in system else None,
        devices=[_device(one) for one in devices if isinstance(one, dict)] if isinstance(devices, list) else [],
        running=len(queue.running),
        pending=len(queue.pending),
    )


def _device(device: dict[str, object]) -> str:
    """`cuda:0 RTX 4090, 20.1 of 24.0 GiB free`."""
    said = str(device.get("name", "device"))
    free, total = device.get("vram_free"), device.get("vram_total")
    if isinstance(free, int | float) and isinstance(total, int | float) and total > 0:
        said += f", {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
    return said
