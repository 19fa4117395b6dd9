"""Responses of Comfy API v2 as values, in the terms of ComfyUI's own.

For anything invalid every function raises `WrongShape`, and no other exception. The shapes were recorded from
`comfy-api-proxy` 0.1.6 before ComfyUI 0.33.0.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from orchestrator.comfyui.responses import Hide, HistoryEntry, JobStatus, OutputFile, read_rejection
from orchestrator.errors import ExecutionFailed, KeyUsed, PromptRejected
from orchestrator.shapes import shaped

_STATUSES = {
    "queued": JobStatus.PENDING,
    "running": JobStatus.IN_PROGRESS,
    "canceling": JobStatus.IN_PROGRESS,
    "succeeded": JobStatus.COMPLETED,
    "failed": JobStatus.FAILED,
    "canceled": JobStatus.CANCELLED,
}
"""`expired` is missing: the server keeps nothing of the job any more, whatever became of it."""
_KINDS = {"image": "images", "video": "video", "audio": "audio"}


class _Output(msgspec.Struct):
    node_id: str
    name: str
    id: str
    type: str = "file"


class _Error(msgspec.Struct):
    message: Any = None
    code: Any = None
    node_id: Any = None
    class_type: Any = None


class Job(msgspec.Struct, frozen=True):
    """One execution of a workflow."""

    id: str
    status: str
    outputs: list[_Output] = []
    error: _Error | None = None
    started_at: str | None = None
    completed_at: str | None = None
    metadata: str | None = None
    """The label that it was submitted with."""

    @property
    def has_ended(self) -> bool:
        return status_of(self) in (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)

    @property
    def never_ran(self) -> bool:
        """Right after its cancellation: it was waiting."""
        return self.status in ("canceled", "expired") and self.started_at is None


class _Jobs(msgspec.Struct):
    jobs: list[Job]


class _Refusal(msgspec.Struct):
    code: str
    message: str = ""
    details: dict[str, Any] | None = None


class _RefusalBody(msgspec.Struct):
    error: _Refusal


class _Asset(msgspec.Struct):
    id: str


def read_job(body: object) -> Job:
    """`GET` and `POST /jobs/…`."""
    return shaped(body, Job)


def read_jobs(body: object) -> list[Job]:
    """`GET /jobs`, the newest first."""
    return shaped(body, _Jobs).jobs


def read_asset(body: object) -> str:
    """`POST /assets`: the asset's id."""
    return shaped(body, _Asset).id


def read_refusal(body: object, graph: Mapping[str, Any], hide: Hide) -> KeyUsed | PromptRejected:
    """`POST /jobs`, 400 and 422. `graph`: as it was sent; a missing asset is the fault of nodes that refer to it."""
    refusal = shaped(body, _RefusalBody).error
    if refusal.code == "idempotency_key_reuse":
        return KeyUsed(hide(f"a request with this key came before: {refusal.message}"))
    details = refusal.details or {}
    node_errors = details.get("node_errors")
    if refusal.code == "missing_asset" and isinstance(missing := details.get("missing_ids"), list):
        node_errors = dict(_missing(graph, refusal.message, missing))
    error = {"type": refusal.code, "message": refusal.message or refusal.code}
    return read_rejection({"error": error, "node_errors": node_errors}, hide)


def status_of(job: Job) -> JobStatus | None:
    """None for one of which the server keeps nothing any more."""
    return _STATUSES.get(job.status)


def as_history(job: Job, hide: Hide) -> HistoryEntry | None:
    """As the history of a ComfyUI has it: None while it waits or runs, and when nothing is kept of it any more."""
    status = status_of(job)
    if not job.has_ended:
        return None
    return HistoryEntry(
        prompt_id=job.id,
        graph={},
        extra_data={},
        files=tuple(
            OutputFile(one.node_id, _KINDS.get(one.type, one.type), one.name, "", "output", asset=one.id)
            for one in job.outputs
        ),
        texts=(),
        succeeded=status is JobStatus.COMPLETED,
        interrupted=status is JobStatus.CANCELLED,
        failure=_failure(job.error, hide) if status is JobStatus.FAILED else None,
        cached_nodes=frozenset(),
        started_at=_time(job.started_at),
        finished_at=_time(job.completed_at),
    )


def reference(asset: str, name: str) -> dict[str, Any]:
    """What stands in a workflow for an uploaded file."""
    return {"__type": "core/ASSET", "info": {"id": asset, "file_path": name}}


def content_type(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _missing(graph: Mapping[str, Any], message: str, missing: list[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for node_id, node in graph.items():
        for name, value in node["inputs"].items():
            if isinstance(value, dict) and value.get("info", {}).get("id") in missing:
                error = {"message": message, "extra_info": {"input_name": name}}
                yield node_id, {"class_type": node["class_type"], "errors": [error]}


def _failure(error: _Error | None, hide: Hide) -> ExecutionFailed:
    found = error or _Error()
    message = found.message.strip() if isinstance(found.message, str) else ""
    node_id = found.node_id if isinstance(found.node_id, str) else None
    class_type = found.class_type if isinstance(found.class_type, str) else "unknown class"
    return ExecutionFailed(
        hide(f"node {node_id or '?'} ({class_type}) failed: {message or 'the server does not say why'}"),
        node_id=node_id,
        exception_type=found.code if isinstance(found.code, str) else "",
    )


def _time(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None
