"""The fate of a prompt, as needed by recovery, lost POSTs, cancellation and sweeps.

The order of requests is history, queue, history again, because a prompt may move from the queue to the history between
two requests: `/history` then `/queue` alone would report a live prompt as lost. Newer servers have `/api/jobs/{id}`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from orchestrator.comfyui import ComfyUI, HistoryEntry, JobStatus, Queue
from orchestrator.errors import UnexpectedAnswer


class Finished(msgspec.Struct, frozen=True):
    """In the history: done, failed or interrupted."""

    entry: HistoryEntry


class Queued(msgspec.Struct, frozen=True):
    """Queued or running. `prompt_id` is the server's, which may differ from the requested one."""

    prompt_id: str
    running: bool


class Absent(msgspec.Struct, frozen=True):
    """Unknown to the server: it never arrived, was deleted, or was lost in a restart."""


class Unclear(msgspec.Struct, frozen=True):
    """The server's history entry for it is invalid: nothing is known of this prompt."""

    error: UnexpectedAnswer


Fate = Finished | Queued | Absent | Unclear


def describe(fate: Fate) -> str:
    """For a log: `finished`, `running`, `queued`, `not there`, `unclear: REASON`."""
    match fate:
        case Finished():
            return "finished"
        case Queued(running=running):
            return "running" if running else "queued"
        case Absent():
            return "not there"
        case Unclear(error=error):
            return f"unclear: {error}"


def look_up(client: ComfyUI, prompt_ids: Iterable[str]) -> dict[str, Fate]:
    """The fate of each prompt. Errors mean *unknown*, never *gone*: ServerUnreachable, ServerBusy, UnexpectedAnswer.

    An invalid history entry makes only its own prompt `Unclear`.
    """
    fates: dict[str, Fate] = {}
    missing = _not_in_history(client, prompt_ids, fates)
    if not missing:
        return fates
    queued = _queued(client, missing)
    fates |= {prompt_id: queued[prompt_id] for prompt_id in missing if prompt_id in queued}
    missing = _not_in_history(client, [prompt_id for prompt_id in missing if prompt_id not in queued], fates)
    return fates | {prompt_id: Absent() for prompt_id in missing}


def is_running(client: ComfyUI, prompt_id: str) -> bool:
    """Whether the server is running it. Errors: as `look_up`."""
    fate = _queued(client, [prompt_id]).get(prompt_id)
    return fate is not None and fate.running


def withdraw(client: ComfyUI, prompt_ids: Iterable[str]) -> dict[str, Fate]:
    """Withdraw prompts as far as still possible: delete queued ones, interrupt running ones, then look them up.

    The first request shows what is queued and what runs, so that they are withdrawn with the second; a server that is
    known to have `/api/jobs`, or shows it by that answer, cancels them by their ids.
    Done twice, because a queued prompt may have started in between. An interrupted prompt may still be reported as
    running for a moment. Errors: as `look_up`.
    """
    wanted = list(prompt_ids)
    if client.is_known_to_have_jobs and (cancelled := _cancel_jobs(client, wanted, wanted)) is not None:
        return cancelled
    queue = client.queue()
    there = _by_id(queue)
    if queue.is_of_newer_server:
        known = [there[prompt_id].prompt_id for prompt_id in wanted if prompt_id in there]
        if (cancelled := _cancel_jobs(client, wanted, known)) is not None:
            return cancelled
    return _delete_or_interrupt(client, wanted, there)


def _cancel_jobs(client: ComfyUI, wanted: Sequence[str], there: Sequence[str]) -> dict[str, Fate] | None:
    """`there`: the server's ids of those that it may still have. None where it cannot cancel."""
    fates: dict[str, Fate] = {}
    for _ in range(2):
        if there and not client.cancel_jobs(there):
            return None
        fates |= look_up(client, [one for one, fate in fates.items() if isinstance(fate, Queued)] if fates else wanted)
        there = [fate.prompt_id for fate in fates.values() if isinstance(fate, Queued)]
        if not there:
            break
    return fates


def _delete_or_interrupt(client: ComfyUI, wanted: Sequence[str], there: Mapping[str, Queued]) -> dict[str, Fate]:
    """Only a prompt reported as running is interrupted, and only once, because older servers stop whatever runs."""
    queued = {prompt_id: there[prompt_id] for prompt_id in wanted if prompt_id in there}
    fates: dict[str, Fate] = {}
    interrupted: set[str] = set()
    for _ in range(2):
        client.delete_from_queue(fate.prompt_id for fate in queued.values() if not fate.running)
        for running in {fate.prompt_id for fate in queued.values() if fate.running} - interrupted:
            client.interrupt(running)
            interrupted.add(running)
        fates |= look_up(client, queued if fates else wanted)
        queued = {prompt_id: fate for prompt_id, fate in fates.items() if isinstance(fate, Queued)}
    return fates


def delete_waiting(client: ComfyUI, prompt_ids: Iterable[str]) -> dict[str, Fate]:
    """Delete what waits in the queue and does not run yet; what became of that: `Absent` where it is surely gone.

    Errors: as `look_up`.
    """
    fates = look_up(client, prompt_ids)
    waiting = {asked: fate for asked, fate in fates.items() if isinstance(fate, Queued) and not fate.running}
    if not waiting:
        return {}
    client.delete_from_queue(fate.prompt_id for fate in waiting.values())
    return look_up(client, waiting)


def _not_in_history(client: ComfyUI, prompt_ids: Iterable[str], fates: dict[str, Fate]) -> list[str]:
    missing = []
    for prompt_id in prompt_ids:
        try:
            entry = client.history(prompt_id)
        except UnexpectedAnswer as error:
            fates[prompt_id] = Unclear(error)
            continue
        if entry is None:
            missing.append(prompt_id)
        else:
            fates[prompt_id] = Finished(entry)
    return missing


def _queued(client: ComfyUI, prompt_ids: Sequence[str]) -> dict[str, Queued]:
    """Queued and running prompts: these, and on older servers also those of other clients."""
    return _known_jobs(client, prompt_ids) if client.has_jobs else _by_id(client.queue())


def _known_jobs(client: ComfyUI, prompt_ids: Sequence[str]) -> dict[str, Queued]:
    """Those that are queued or running; finished ones are in the history. One is asked for by its id."""
    waiting = {JobStatus.PENDING: False, JobStatus.IN_PROGRESS: True}
    listed = client.unfinished_jobs() if len(prompt_ids) > 1 else None
    statuses = {one: listed.get(one) if listed is not None else client.job(one) for one in prompt_ids}
    return {
        prompt_id: Queued(client.name_of(prompt_id), waiting[status])
        for prompt_id, status in statuses.items()
        if status in waiting
    }


def _by_id(queue: Queue) -> dict[str, Queued]:
    """Queued prompts by their id, and by our id if the server assigned another one."""
    found = {}
    for prompts, running in ((queue.pending, False), (queue.running, True)):
        for prompt in prompts:
            queued = Queued(prompt.prompt_id, running)
            ours = prompt.extra_data.get("burst")
            if isinstance(ours, dict) and isinstance(ours.get("prompt_id"), str):
                found[ours["prompt_id"]] = queued
            found[prompt.prompt_id] = queued
    return found
