"""A server of Comfy API v2 without a network: what `comfy-api-proxy` answers, checked against recorded exchanges."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

from orchestrator.comfyui import ComfyUI
from orchestrator.comfyui.api_v2 import ApiV2
from orchestrator.comfyui.terms import Terms
from orchestrator.comfyui.transport import Answer, Form
from support.fake_faults import Page
from support.fake_queue import Prompt
from support.fuzzed_server import FuzzedServer
from support.hand_clock import BEGINNING, PassingClock

HOSTED = Terms(
    takes_prompt_id=False,
    key_seconds=86400.0,
    has_files_by_name=False,
    has_priorities=False,
    has_events=False,
    renders_in_order=False,
)
_KINDS = {"images": "image"}


def text_of(graph: Mapping[str, Any]) -> str:
    """The prompt text: what tells one item's job from another's."""
    texts = [
        node["inputs"][name]
        for node in graph.values()
        for name in ("string", "string_a")
        if isinstance(node["inputs"].get(name), str)
    ]
    return str(texts[0]) if texts else ""


@dataclass
class FakeApiV2(FuzzedServer):
    """Renders like a ComfyUI. `lists`: whether it lists jobs with their labels, as the proxy does and the cloud not."""

    terms: Terms = HOSTED
    lists: bool = True
    newest_first: bool = False
    """Of what waits the newest is rendered first: as where several are rendered at a time, the oldest ends last."""
    key: str | None = None
    """The credential that requests must have, `Bearer KEY`."""
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By id: what was submitted."""
    keys: set[str] = field(default_factory=set)
    """Idempotency keys that are taken."""
    assets: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    refuses: Mapping[str, Any] | None = None
    """An answer to every submission: `status`, `code`."""
    secret_data: Mapping[str, str] = field(default_factory=dict)
    """What the client is to send as keys of partner nodes."""
    _given: Mapping[str, str] = field(default_factory=dict)

    def client(self) -> ComfyUI:
        clock = PassingClock(self.clock)
        return ApiV2(self.url, transport=self, clock=clock, terms=self.terms, secret_data=self.secret_data)

    def made(self) -> Counter[str]:
        """How many jobs were made of each prompt text."""
        return Counter(text_of(job["workflow"]) for job in self.jobs.values())

    def forget_memory(self) -> None:
        """As a proxy that is started anew without a directory for its state."""
        self.jobs.clear()
        self.keys.clear()

    def exchange(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        form: Form | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        self._given = headers or {}
        if form is not None:
            fault = self._arrive(f"{method} {path}")
            status, found = self._store(form)
            self._leave(fault)
            return Answer(method, path, status, {}, json.dumps(found).encode())
        answer = super().exchange(method, path.partition("?")[0], body=body)
        return Answer(method, path, answer.status, answer.headers, answer.body)

    def stream(self, path: str, *, params: Mapping[str, str], offset: int) -> Page:
        job_id, _, name = path.split("/")[-2].replace("%2F", "/").partition(".")
        made = self.accepted[job_id].paths() if job_id in self.accepted else []
        folder = next((one.rpartition("/")[0] for one in made if one.endswith(name)), "")
        return super().stream(path, params={"subfolder": folder, "filename": name}, offset=offset)

    def respond(self, asked: list[str], body: dict[str, Any]) -> tuple[int, Any]:
        match asked:
            case ["GET", "api", "v2", "jobs"] if self.lists:
                return 200, {"jobs": [self._job(one) for one in reversed(self.jobs)], "truncated": False}
            case ["POST", "api", "v2", "jobs"]:
                return self._submit(body)
            case ["GET", "api", "v2", "jobs", job_id]:
                return (200, self._job(job_id)) if job_id in self.jobs else _refused(404, "not_found", "No job.")
            case ["POST", "api", "v2", "jobs", job_id, "cancel"]:
                return self._cancel(job_id)
            case ["GET", "api", "v2", "jobs"]:
                return 405, None
        return 404, None

    def _submit(self, body: dict[str, Any]) -> tuple[int, Any]:
        key = self._given.get("Idempotency-Key")
        if set(body.get("extra_data") or {}) - {"api_key_comfy_org"}:
            return _refused(400, "invalid_request", "'extra_data' accepts only the 'api_key_comfy_org' field.")
        if key in self.keys:
            return _refused(422, "idempotency_key_reuse", "This Idempotency-Key has already been used.")
        if self.refuses is not None:
            return _refused(self.refuses["status"], self.refuses["code"], "no")
        missing = [
            value["info"]["id"]
            for node in body["workflow"].values()
            for value in node["inputs"].values()
            if isinstance(value, dict) and value["info"]["id"] not in self.assets
        ]
        if missing:
            return _refused(422, "missing_asset", "Unresolvable core/ASSET reference(s)", missing_ids=missing)
        if key is not None:
            self.keys.add(key)
        job_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.url}/{len(self.accepted)}"))
        self.jobs[job_id] = body
        number = -len(self.accepted) if self.newest_first else len(self.accepted)
        self.add(Prompt(job_id, number, body["workflow"], {"burst": {"item": text_of(body["workflow"])}}))
        return 201, self._job(job_id) | {"status": "queued", "queue_position": None, "progress": None}

    def _cancel(self, job_id: str) -> tuple[int, Any]:
        if job_id not in self.jobs:
            return _refused(404, "not_found", "No job.")
        runs = any(one.prompt_id == job_id and one.begin < inf for one in self.queue)
        self.delete([job_id])
        found = self._job(job_id)
        self.interrupt(job_id)
        return 200, found | ({"status": "canceling"} if runs else {})

    def _job(self, job_id: str) -> dict[str, Any]:
        prompt, sent = self.accepted[job_id], self.jobs[job_id]
        waiting = [one.prompt_id for one in self.queue if one.begin == inf]
        done = self.history.get(job_id)
        status, place = "expired", None
        if done is not None:
            status = {"success": "succeeded", "error": "failed"}.get(done.ended_as, "canceled")
        elif job_id in waiting:
            status, place = "queued", waiting.index(job_id) + 1
        elif prompt in self.queue:
            status = "running"
        at, link = BEGINNING.isoformat(), f"{self.url}/api/v2/jobs/{job_id}"
        return {
            "id": job_id,
            "status": status,
            "created_at": at,
            "started_at": None,
            "completed_at": None,
            "expires_at": at,
            "queue_position": place,
            "progress": {"value": 0.0, "nodes_done": 0, "nodes_total": 0} if status == "running" else None,
            "outputs": self._outputs(prompt) if status == "succeeded" else [],
            "error": _error_of(prompt) if status == "failed" else None,
            "outputs_reused": False,
            "urls": {"self": link, "events": f"{link}/events", "cancel": f"{link}/cancel"},
            **({"metadata": sent["metadata"]} if "metadata" in sent else {}),
        }

    def _outputs(self, prompt: Prompt) -> list[dict[str, Any]]:
        return [
            {
                "node_id": node_id,
                "name": one["filename"],
                "type": _KINDS[kind],
                "content_type": "image/png",
                "size_bytes": 0,
                "id": (asset := f"{prompt.prompt_id}.{one['filename']}"),
                "hash": None,
                "url": f"{self.url}/api/v2/assets/{asset}/content",
                "url_expires_at": BEGINNING.isoformat(),
                "job_id": prompt.prompt_id,
            }
            for node_id, kinds in prompt.outputs().items()
            for kind, made in kinds.items()
            if kind in _KINDS
            for one in made
        ]

    def _store(self, form: Form) -> tuple[int, Any]:
        file, path = form["file"], form["file_path"]
        assert isinstance(file, tuple)
        data = file[1]
        known = next((one for one, (_, there) in self.assets.items() if there == data), None)
        asset = known or str(uuid.UUID(int=len(self.assets) + (1 << 64), version=4))
        assert isinstance(path, str)
        self.assets.setdefault(asset, (path, data))
        found = {"id": asset, "hash": None, "size_bytes": len(data), "content_type": form["content_type"]}
        return (200 if known else 201), found | {"file_path": path, "created_new": known is None}


def _refused(status: int, code: str, message: str, **details: Any) -> tuple[int, Any]:
    return status, {"error": {"code": code, "message": message, "details": details or None}}


def _error_of(prompt: Prompt) -> dict[str, Any]:
    node_id = next(iter(prompt.graph))
    return {
        "code": "node_execution_error",
        "message": prompt.cause["exception_message"],
        "node_id": node_id,
        "class_type": prompt.graph[node_id]["class_type"],
        "traceback": None,
    }
