"""/api/jobs of newer servers, only available if `jobs_api` is on: ComfyUI 0.3.64 does not have it."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from orchestrator.sandbox.machine import Machine
from orchestrator.sandbox.queue import QueueEntry

_STATUSES = ("pending", "in_progress", "completed", "failed", "cancelled")


def routes(machine: Machine) -> list[web.RouteDef]:
    jobs = Jobs(machine)
    return [
        web.get("/api/jobs", jobs.every),
        web.get("/api/jobs/{job_id}", jobs.one),
        web.post("/api/jobs/cancel", jobs.cancel_many),
        web.post("/api/jobs/{job_id}/cancel", jobs.cancel),
    ]


class Jobs:
    """One method per endpoint; while `jobs_api` is off, all of them respond with an empty 404."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def every(self, request: web.Request) -> web.Response:
        """GET /api/jobs?status=pending,completed&limit=…&offset=…, newest first."""
        if not self._on:
            return web.Response(status=404)
        wanted = [each for each in request.query.get("status", "").split(",") if each] or list(_STATUSES)
        if unknown := sorted(set(wanted) - set(_STATUSES)):
            return web.json_response({"error": f"Invalid status value(s): {', '.join(unknown)}"}, status=400)
        found = [job for job in self._jobs().values() if job["status"] in wanted]
        found.sort(key=lambda job: job["create_time"], reverse=True)
        offset = int(request.query.get("offset", 0))
        limit = int(request.query["limit"]) if "limit" in request.query else None
        page = found[offset:] if limit is None else found[offset : offset + limit]
        more = offset + len(page) < len(found)
        pagination = {"offset": offset, "limit": limit, "total": len(found), "has_more": more}
        shown = [{name: value for name, value in job.items() if name not in ("outputs", "workflow")} for job in page]
        return web.json_response({"jobs": shown, "pagination": pagination})

    async def one(self, request: web.Request) -> web.Response:
        """GET /api/jobs/{id}: a 404 distinguishes unknown from queued jobs."""
        if not self._on:
            return web.Response(status=404)
        job = self._jobs().get(request.match_info["job_id"])
        return web.json_response({"error": "Job not found"}, status=404) if job is None else web.json_response(job)

    async def cancel(self, request: web.Request) -> web.Response:
        """POST /api/jobs/{id}/cancel: delete it from the queue, or interrupt it."""
        if not self._on:
            return web.Response(status=404)
        job_id = request.match_info["job_id"]
        if job_id not in self._jobs():
            return web.json_response({"error": "Job not found"}, status=404)
        return web.json_response({"cancelled": self._cancel(job_id)})

    async def cancel_many(self, request: web.Request) -> web.Response:
        """POST /api/jobs/cancel {"job_ids": […]}."""
        if not self._on:
            return web.Response(status=404)
        body = await request.json()
        return web.json_response({"cancelled": [job_id for job_id in body["job_ids"] if self._cancel(job_id)]})

    @property
    def _on(self) -> bool:
        return self._machine.faults.settings.jobs_api

    def _cancel(self, job_id: str) -> bool:
        life = self._machine.life
        running, _ = life.queue.current()
        if running is not None and running.prompt_id == job_id:
            life.worker.interrupt()
            return True
        return life.queue.delete_waiting(job_id)

    def _jobs(self) -> dict[str, dict[str, Any]]:
        running, waiting, history = self._machine.life.queue.everything()
        found = {prompt_id: _finished(prompt_id, entry) for prompt_id, entry in history.items()}
        found |= {entry.prompt_id: _queued(entry, "pending") for entry in waiting}
        if running is not None:
            found[running.prompt_id] = _queued(running, "in_progress")
        return found


def _queued(entry: QueueEntry, status: str) -> dict[str, Any]:
    return {
        "id": entry.prompt_id,
        "status": status,
        "priority": entry.number,
        "create_time": entry.created_ms,
        "outputs_count": 0,
    }


def _finished(prompt_id: str, entry: dict[str, Any]) -> dict[str, Any]:
    number, _, graph, extra_data, _ = entry["prompt"]
    messages = dict(entry["status"]["messages"])
    start = messages["execution_start"]["timestamp"]
    end_name = next(name for name in reversed(messages) if name != "execution_cached")
    status = {"execution_success": "completed", "execution_interrupted": "cancelled"}.get(end_name, "failed")
    files = [
        file
        for output in entry["outputs"].values()
        for kind, listed in output.items()
        if kind != "animated"
        for file in listed
        if isinstance(file, dict)
    ]
    job = {
        "id": prompt_id,
        "status": status,
        "priority": number,
        "create_time": start,
        "execution_start_time": start,
        "execution_end_time": messages[end_name]["timestamp"],
        "outputs_count": len(files),
        "outputs": entry["outputs"],
        "execution_status": entry["status"],
        "workflow": {"prompt": graph, "extra_data": extra_data},
    }
    if status == "failed":
        job["execution_error"] = messages[end_name]
    return job
