"""Comfy API v2, as Comfy Cloud and `comfy-api-proxy` serve it, behind the same methods as ComfyUI's own API.

The server chooses the id of a prompt (a job there); the one that a request names is its idempotency key, and where the
server lists jobs, the label by which a job is found whose answer was lost.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from orchestrator.comfyui import bodies, responses_v2
from orchestrator.comfyui.client import JOBS_V2, NO_PROMPT, ComfyUI
from orchestrator.comfyui.download import Download
from orchestrator.comfyui.responses import HistoryEntry, JobStatus, OutputFile, Queue, Submitted, UploadedImage
from orchestrator.comfyui.responses_v2 import Job
from orchestrator.errors import KeyUsed, NotOnServer, ServerUnreachable

if TYPE_CHECKING:
    from orchestrator.comfyui.events import EventSocket
    from orchestrator.comfyui.responses import QueuedGraph
    from orchestrator.comfyui.transport import Answer, Form

_LISTED = 100
"""The most that a server lists at once."""
_T = TypeVar("_T")


class ApiV2(ComfyUI):
    """A client for one server that speaks Comfy API v2; see `ComfyUI`.

    It has no queue to look into, no priorities and no `/free`; its events are not read.
    """

    _lists_jobs: bool | None = None

    @cached_property
    def _names(self) -> dict[str, str]:
        """The server's ids of jobs that were found by their labels."""
        return {}

    @cached_property
    def _assets(self) -> dict[str, str]:
        """By the value for a loader's input: the uploaded asset."""
        return {}

    @cached_property
    def _withdrawn(self) -> set[str]:
        """Jobs that were canceled before they ran."""
        return set()

    def submit(
        self, graph: Mapping[str, Any], *, prompt_id: str, number: float, extra_data: Mapping[str, Any]
    ) -> Submitted:
        """`POST /jobs` with `prompt_id` as its key; see `ComfyUI.submit`. Number and extra data have no place there.

        Errors: KeyUsed where a request with this key came before; PromptRejected.
        """
        order: dict[str, Any] = {"workflow": self._with_assets(graph)}
        if self.lists_jobs:
            order["metadata"] = prompt_id
        if self._secret_data:
            order["extra_data"] = self._secret_data
        answer = self._post(JOBS_V2, order, patient=False, headers={"Idempotency-Key": prompt_id})
        if answer.status in (400, 422):
            hide = self._secrets.hidden
            refusal = self._read(answer, lambda body: responses_v2.read_refusal(body, order["workflow"], hide))
            if isinstance(refusal, KeyUsed):
                raise KeyUsed(f"{self.url}: {refusal}")
            raise refusal
        return Submitted(self._read_job(answer).id, None, {})

    @property
    def lists_jobs(self) -> bool:
        """Whether the server lists jobs with the labels that they were sent with; requested once."""
        if self._lists_jobs is None:
            answer = self._requests.ask("GET", f"{JOBS_V2}?limit=1", patient=True)
            self._lists_jobs = answer.status not in (404, 405)
            if self._lists_jobs:
                self._got(answer, responses_v2.read_jobs)
        return self._lists_jobs

    def history(self, prompt_id: str) -> HistoryEntry | None:
        """None while the job is queued or running, and if the server does not know it any more."""
        job = self._found(prompt_id)
        if job is None or job.id in self._withdrawn:
            return None
        return responses_v2.as_history(job, self._secrets.hidden)

    def queue(self) -> Queue:
        """Empty: a server tells of one job at a time."""
        return Queue((), ())

    def queued_graphs(self) -> tuple[QueuedGraph, ...]:
        """Empty, as `queue`."""
        return ()

    def queue_remaining(self) -> int:
        """0, once the server has answered."""
        self._check(patient=True)
        return 0

    def check_answers(self) -> None:
        self._check(patient=False)

    def delete_from_queue(self, prompt_ids: Iterable[str]) -> None:
        """`POST /jobs/{id}/cancel` for each. One that has begun to run meanwhile is interrupted."""
        for prompt_id in prompt_ids:
            job = self._cancel(prompt_id)
            if job is not None and job.never_ran:
                self._withdrawn.add(job.id)

    def interrupt(self, prompt_id: str) -> None:
        """`POST /jobs/{id}/cancel`."""
        self._cancel(prompt_id)

    def free(self) -> None:
        """Nothing: whoever runs the server sees to its memory."""

    @property
    def has_jobs(self) -> bool:
        return True

    def job(self, prompt_id: str) -> JobStatus | None:
        """`GET /jobs/{id}`, else the listed job with this label."""
        job = self._found(prompt_id)
        return None if job is None or job.id in self._withdrawn else responses_v2.status_of(job)

    def name_of(self, prompt_id: str) -> str:
        return self._names.get(prompt_id, prompt_id)

    def unfinished_jobs(self) -> dict[str, JobStatus] | None:
        """None: each job is looked up by itself, as not every server lists them."""
        return None

    def ended_among(self, prompt_ids: Iterable[str]) -> set[str]:
        """`GET /jobs`, the newest 100, where jobs are listed; see `ComfyUI.ended_among`."""
        if not self.lists_jobs:
            return set()
        ended = {job.id for job in self._listed() if job.has_ended} - self._withdrawn
        return {prompt_id for prompt_id in prompt_ids if self.name_of(prompt_id) in ended}

    def cancel_jobs(self, prompt_ids: Iterable[str]) -> bool:
        """As `delete_from_queue`."""
        self.delete_from_queue(prompt_ids)
        return True

    @contextlib.contextmanager
    def view(self, file: OutputFile, *, offset: int = 0) -> Iterator[Download]:
        """`GET /assets/{id}/content`; often redirected to where the file is, without the key. Errors: NotOnServer."""
        if not file.asset:
            raise NotOnServer(f"{self.url}: {file.filename} can be fetched by its id alone", status=404)
        path = f"/api/v2/assets/{quote(file.asset, safe='')}/content"
        with self._requests.stream(path, params={}, offset=offset) as download:
            self._refusals.expect_file(download, path, file, offset)
            yield download

    def open_events(self) -> EventSocket:
        raise ServerUnreachable(f"{self.url}: its events are not read", may_have_arrived=False)

    def system_stats(self) -> dict[str, Any]:
        """`{}`, once the server has answered."""
        self._check(patient=True)
        return {}

    def upload_image(self, name: str, data: bytes, *, subfolder: str = "", overwrite: bool = False) -> UploadedImage:
        """`POST /assets`; prompts that name it refer to the asset. The same bytes are stored once."""
        uploaded = UploadedImage(name, subfolder, "input")
        kind = responses_v2.content_type(name)
        form: Form = {"file": (name, data), "file_path": uploaded.as_input, "content_type": kind}
        answer = self._requests.ask("POST", "/api/v2/assets", form=form, patient=True)
        self._expect_ok(answer)
        self._assets[uploaded.as_input] = self._read(answer, responses_v2.read_asset)
        return uploaded

    def _with_assets(self, graph: Mapping[str, Any]) -> dict[str, Any]:
        """The graph, with references in place of the names of uploaded files."""
        return {node_id: {**node, "inputs": self._referring(node["inputs"])} for node_id, node in graph.items()}

    def _referring(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: responses_v2.reference(self._assets[value], value)
            if isinstance(value, str) and value in self._assets
            else value
            for name, value in inputs.items()
        }

    def _found(self, prompt_id: str) -> Job | None:
        """The job with this id or, where jobs are listed, this label; None where the server knows none."""
        answer = self._requests.ask("GET", f"{JOBS_V2}/{quote(self.name_of(prompt_id), safe='')}", patient=True)
        if self._says_not_found(answer):
            return self._labelled(prompt_id) if self.lists_jobs else None
        return self._read_job(answer)

    def _labelled(self, label: str) -> Job | None:
        found = next((job for job in self._listed() if job.metadata == label), None)
        if found is not None:
            self._names[label] = found.id
        return found

    def _listed(self) -> list[Job]:
        answer = self._requests.ask("GET", f"{JOBS_V2}?limit={_LISTED}", patient=True)
        return self._got(answer, responses_v2.read_jobs)

    def _cancel(self, prompt_id: str) -> Job | None:
        answer = self._post(f"{JOBS_V2}/{quote(self.name_of(prompt_id), safe='')}/cancel", {}, patient=True)
        return None if self._says_not_found(answer) else self._read_job(answer)

    def _check(self, *, patient: bool) -> None:
        """Errors: NotComfyUI where something else answers."""
        answer = self._requests.ask("GET", f"{JOBS_V2}/{NO_PROMPT}", patient=patient)
        if not self._says_not_found(answer):
            self._read_job(answer)

    def _says_not_found(self, answer: Answer) -> bool:
        """Errors: NotComfyUI for a 404 that does not come from the API."""
        if answer.status != 404:
            return False
        if not bodies.is_refusal_v2(answer.body):
            raise self._foreign(answer)
        return True

    def _read_job(self, answer: Answer) -> Job:
        self._expect_ok(answer)
        return self._read(answer, responses_v2.read_job)

    def _expect_ok(self, answer: Answer) -> None:
        if answer.status != 201:
            super()._expect_ok(answer)

    def _get(self, path: str, read: Callable[[object], _T]) -> _T:
        """What Comfy Cloud has beside v2, such as `/api/object_info`. Errors: UnexpectedAnswer (404) elsewhere."""
        return self._got(self._requests.ask("GET", f"/api{path}", patient=True), read)
