"""/api/jobs of newer servers: ComfyUI 0.3.64 does not have it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from aiohttp import web

from orchestrator.sandbox.machine import Machine
from orchestrator.sandbox.queue import QueueEntry

Job = dict[str, Any]
_STATUSES = ("pending", "in_progress", "completed", "failed", "cancelled")
_SORTED_BY = ("created_at", "execution_duration")
_ENDS = {"execution_success": "completed", "execution_error": "failed", "execution_interrupted": "cancelled"}
_SHOWN_KINDS = ("images", "video", "audio", "3d", "text")


class _Refused(Exception):
    """A query that gets a 400 with this message."""


def is_job_id(value: object) -> bool:
    """Whether this is a UUID as Python writes it: other spellings are refused."""
    try:
        return isinstance(value, str) and str(uuid.UUID(value)) == value
    except ValueError:
        return False


def routes(machine: Machine) -> list[web.RouteDef]:
    jobs = Jobs(machine)
    return [
        web.get("/api/jobs", jobs.where_newer(jobs.every)),
        web.get("/api/jobs/{job_id}", jobs.where_newer(jobs.one)),
        web.post("/api/jobs/cancel", jobs.where_newer(jobs.cancel_many)),
        web.post("/api/jobs/{job_id}/cancel", jobs.where_newer(jobs.cancel)),
    ]


class Jobs:
    """One method per endpoint; an older version answers as for any unknown path: 404, and 405 to a POST."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def where_newer(
        self, handler: Callable[[web.Request], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            if not self._machine.faults.settings.is_newer:
                return web.Response(status=405 if request.method == "POST" else 404)
            return await handler(request)

        return handle

    async def every(self, request: web.Request) -> web.Response:
        """GET /api/jobs?status=pending,completed&sort_by=…&sort_order=…&limit=…&offset=…, newest first."""
        try:
            wanted, limit, offset = _statuses(request), _limit(request), _offset(request)
            key, descends = _order(request)
        except _Refused as refused:
            return web.json_response({"error": str(refused)}, status=400)
        found = [job for job in self._jobs().values() if job["status"] in wanted]
        found.sort(key=key, reverse=descends)
        page = found[offset:] if limit is None else found[offset : offset + limit]
        more = offset + len(page) < len(found)
        pagination = {"offset": offset, "limit": limit, "total": len(found), "has_more": more}
        return web.json_response({"jobs": page, "pagination": pagination})

    async def one(self, request: web.Request) -> web.Response:
        """GET /api/jobs/{id}: a 404 distinguishes unknown from queued jobs."""
        job_id = request.match_info["job_id"]
        job = self._jobs().get(job_id)
        if job is None:
            return web.json_response({"error": "Job not found"}, status=404)
        entry = self._machine.life.queue.history_of(job_id).get(job_id)
        if entry is not None and job["status"] not in ("pending", "in_progress"):
            _, _, graph, extra_data, _ = entry["prompt"]
            workflow = {"prompt": graph, "extra_data": extra_data}
            job |= {"outputs": entry["outputs"], "execution_status": entry["status"], "workflow": workflow}
        return web.json_response(job)

    async def cancel(self, request: web.Request) -> web.Response:
        """POST /api/jobs/{id}/cancel: delete it from the queue, or interrupt it; else nothing."""
        return web.json_response({"cancelled": self._cancel(request.match_info["job_id"])})

    async def cancel_many(self, request: web.Request) -> web.Response:
        """POST /api/jobs/cancel {"job_ids": […]}: whether any of them was queued or running."""
        try:
            body = await request.json()
        except json.JSONDecodeError:
            return web.json_response({"error": "Request body must be valid JSON"}, status=400)
        job_ids = body.get("job_ids") if isinstance(body, dict) else None
        if not isinstance(job_ids, list):
            return web.json_response({"error": "job_ids must be a list"}, status=400)
        if invalid := [each if isinstance(each, str) else repr(each) for each in job_ids if not is_job_id(each)]:
            answer = {"error": "job_ids contains invalid id(s)", "invalid_ids": invalid}
            return web.json_response(answer, status=400)
        cancelled = [job_id for job_id in job_ids if self._cancel(job_id)]
        return web.json_response({"cancelled": bool(cancelled)})

    def _cancel(self, job_id: str) -> bool:
        life = self._machine.life
        with life.queue.changed:
            running, _ = life.queue.current()
            if running is not None and running.prompt_id == job_id:
                life.worker.interrupt()
                return True
            return life.queue.delete_waiting(job_id)

    def _jobs(self) -> dict[str, Job]:
        running, waiting, history = self._machine.life.queue.everything()
        found = {prompt_id: _finished(prompt_id, entry) for prompt_id, entry in history.items()}
        found |= {entry.prompt_id: _queued(entry, "pending") for entry in waiting}
        if running is not None:
            found[running.prompt_id] = _queued(running, "in_progress")
        return found


def _statuses(request: web.Request) -> list[str]:
    wanted = [part for each in request.query.get("status", "").split(",") if (part := each.strip().lower())]
    if unknown := [each for each in wanted if each not in _STATUSES]:
        raise _Refused(f"Invalid status value(s): {', '.join(unknown)}. Valid values: {', '.join(_STATUSES)}")
    return wanted or list(_STATUSES)


def _order(request: web.Request) -> tuple[Callable[[Job], int], bool]:
    sort_by = request.query.get("sort_by", "created_at").lower()
    order = request.query.get("sort_order", "desc").lower()
    if sort_by not in _SORTED_BY:
        raise _Refused("sort_by must be 'created_at' or 'execution_duration'")
    if order not in ("asc", "desc"):
        raise _Refused("sort_order must be 'asc' or 'desc'")
    if sort_by == "created_at":
        return (lambda job: job.get("create_time", 0)), order == "desc"
    return (lambda job: job.get("execution_end_time", 0) - job.get("execution_start_time", 0)), order == "desc"


def _limit(request: web.Request) -> int | None:
    if "limit" not in request.query:
        return None
    limit = _integer(request, "limit")
    if limit <= 0:
        raise _Refused("limit must be a positive integer")
    return limit


def _offset(request: web.Request) -> int:
    return max(0, _integer(request, "offset")) if "offset" in request.query else 0


def _integer(request: web.Request, name: str) -> int:
    try:
        return int(request.query[name])
    except ValueError:
        raise _Refused(f"{name} must be an integer") from None


def _queued(entry: QueueEntry, status: str) -> Job:
    job = {"id": entry.prompt_id, "status": status, "priority": entry.number}
    return job | _created(entry.extra_data) | {"outputs_count": 0, "previewable_outputs_count": 0}


def _created(extra_data: dict[str, Any]) -> Job:
    """Prompts that came before the sandbox was told to imitate a newer version have no time."""
    return {"create_time": extra_data["create_time"]} if "create_time" in extra_data else {}


def _finished(prompt_id: str, entry: dict[str, Any]) -> Job:
    number, _, _, extra_data, _ = entry["prompt"]
    messages = dict(entry["status"]["messages"])
    end = next(name for name in reversed(messages) if name in _ENDS)
    job = {"id": prompt_id, "status": _ENDS[end], "priority": number} | _created(extra_data)
    job["execution_start_time"] = messages["execution_start"]["timestamp"]
    job["execution_end_time"] = messages[end]["timestamp"]
    if end == "execution_error":
        job["execution_error"] = messages[end]
    files = list(_files(entry["outputs"]))
    shown = [file for file in files if file["mediaType"] in _SHOWN_KINDS]
    job |= {"outputs_count": len(files), "previewable_outputs_count": len(shown)}
    preview = next((file for file in shown if file.get("type") == "output"), None) or next(iter(shown), None)
    preview = preview or next(_texts(entry["outputs"]), None)
    return job if preview is None else job | {"preview_output": preview}


def _files(outputs: dict[str, Any]) -> Iterator[Job]:
    for node_id, kinds in outputs.items():
        for kind, listed in kinds.items():
            for file in listed if kind != "animated" else ():
                if isinstance(file, dict):
                    yield {**file, "nodeId": node_id, "mediaType": kind}


def _texts(outputs: dict[str, Any]) -> Iterator[Job]:
    for node_id, kinds in outputs.items():
        for text in kinds.get("text", ()):
            yield {"content": text, "nodeId": node_id, "mediaType": "text"}
