"""What became of a prompt: the one answer that recovery, lost POSTs, cancel and sweeps share.

Asked in this order, because a prompt moves from queue to history between two questions: history, queue, history again.
`/history` then `/queue` alone calls a living prompt lost. Newer servers answer `/api/jobs/{id}`.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from orchestrator.comfyui import ComfyUI, HistoryEntry, JobStatus, Queue
from orchestrator.errors import UnexpectedAnswer


class Finished(msgspec.Struct, frozen=True):
    """It is in history: done, failed or interrupted."""

    entry: HistoryEntry


class Queued(msgspec.Struct, frozen=True):
    """It waits or runs. `prompt_id` is the server's, which may differ from the one asked for."""

    prompt_id: str
    running: bool


class Absent(msgspec.Struct, frozen=True):
    """The server does not know it: it never came, was deleted, or was lost with a restart."""


class Unclear(msgspec.Struct, frozen=True):
    """The server's history entry for it cannot be read: nothing is known of this one prompt."""

    error: UnexpectedAnswer


Fate = Finished | Queued | Absent | Unclear


def look_up(client: ComfyUI, prompt_ids: Iterable[str]) -> dict[str, Fate]:
    """The fate of each prompt. Errors mean *unknown*, never *gone*: ServerUnreachable, ServerBusy, UnexpectedAnswer.

    An entry that cannot be read is `Unclear` for its own prompt, and hinders no other.
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
    """Whether the server is at work on it. Errors: as `look_up`."""
    fate = _queued(client, [prompt_id]).get(prompt_id)
    return fate is not None and fate.running


def withdraw(client: ComfyUI, prompt_ids: Iterable[str]) -> dict[str, Fate]:
    """Take prompts back as far as the server still can: delete what waits, interrupt what runs, then look them up.

    Twice, because one that waited may have begun meanwhile. An interrupted prompt may still be shown as running for a
    moment. Only a prompt that is seen running is interrupted, and once, because older servers stop whatever runs.
    """
    fates = look_up(client, prompt_ids)
    interrupted: set[str] = set()
    for _ in range(2):
        queued = {prompt_id: fate for prompt_id, fate in fates.items() if isinstance(fate, Queued)}
        client.delete_from_queue(fate.prompt_id for fate in queued.values() if not fate.running)
        for running in {fate.prompt_id for fate in queued.values() if fate.running} - interrupted:
            client.interrupt(running)
            interrupted.add(running)
        fates |= look_up(client, queued)
    return fates


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


def _queued(client: ComfyUI, prompt_ids: Iterable[str]) -> dict[str, Queued]:
    """What waits or runs: these prompts, and on older servers everybody's."""
    return _known_jobs(client, prompt_ids) if client.has_jobs else _by_id(client.queue())


def _known_jobs(client: ComfyUI, prompt_ids: Iterable[str]) -> dict[str, Queued]:
    """Those that wait or run; what is over by now is in history."""
    waiting = {JobStatus.PENDING: False, JobStatus.IN_PROGRESS: True}
    statuses = {prompt_id: client.job(prompt_id) for prompt_id in prompt_ids}
    return {
        prompt_id: Queued(prompt_id, waiting[status]) for prompt_id, status in statuses.items() if status in waiting
    }


def _by_id(queue: Queue) -> dict[str, Queued]:
    """Queued prompts by their id, and by the id that we chose where the server renamed them."""
    found = {}
    for prompts, running in ((queue.pending, False), (queue.running, True)):
        for prompt in prompts:
            queued = Queued(prompt.prompt_id, running)
            ours = prompt.extra_data.get("burst")
            if isinstance(ours, dict) and isinstance(ours.get("prompt_id"), str):
                found[ours["prompt_id"]] = queued
            found[prompt.prompt_id] = queued
    return found
