"""ComfyUI's HTTP API, one method per endpoint. No other module knows it.

Only a 200 with a body of the expected shape is a valid response. Anything else is an `UnexpectedAnswer`, which means
nothing for any prompt.
"""

from __future__ import annotations

import contextlib
import json
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import quote

from orchestrator.clock import Clock
from orchestrator.comfyui import advice, bodies, responses
from orchestrator.comfyui.address import Secrets, checked_headers, parse_address
from orchestrator.comfyui.download import Download
from orchestrator.comfyui.refusals import Refusals
from orchestrator.comfyui.responses import (
    HistoryEntry,
    JobStatus,
    ModelFile,
    OutputFile,
    Queue,
    QueuedGraph,
    Submitted,
    UploadedImage,
)
from orchestrator.comfyui.retrying import RetryingTransport
from orchestrator.comfyui.terms import Terms
from orchestrator.comfyui.transport import Answer, Transport
from orchestrator.errors import NotComfyUI, PromptRejected, TransientError, UnexpectedAnswer
from orchestrator.shapes import WrongShape

if TYPE_CHECKING:
    from orchestrator.comfyui.events import EventSocket

JOBS_V2 = "/api/v2/jobs"
NO_PROMPT = "00000000-0000-4000-8000-000000000000"
_OWN = Terms()
_T = TypeVar("_T")


class ComfyUI:
    """A client for one server. Thread-safe, except that a download belongs to the thread that opened it. `stop` ends
    the waiting between retries. `transport` carries the requests; without one, HTTP with these headers and timeouts.

    Every method except `submit` retries for `retry_seconds` on connection errors, 5xx and 429, but not past `deadline`
    (on the monotonic clock).
    Errors of every method: ServerUnreachable, ServerBusy, UnexpectedAnswer, NotComfyUI; of the constructor:
    SettingsError.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        client_id: str | None = None,
        connect_timeout_seconds: float = 5.0,
        read_timeout_seconds: float = 30.0,
        retry_seconds: float = 20.0,
        deadline: float | None = None,
        stop: threading.Event | None = None,
        clock: Clock | None = None,
        transport: Transport | None = None,
        terms: Terms = _OWN,
        secret_data: Mapping[str, str] | None = None,
    ) -> None:
        """`secret_data`: keys of partner nodes, sent with each prompt and shown nowhere."""
        address = parse_address(url)
        headers = checked_headers(headers or {}, address)
        self.url = address.url
        """The server's address, without secrets."""
        self.client_id = client_id or uuid.uuid4().hex
        self.terms = terms
        self._secret_data = dict(secret_data or {})
        self._secrets = Secrets(headers | self._secret_data, address.password)
        self._refusals = Refusals(self.url, self._secrets)

        def over_http() -> Transport:
            # Loading requests takes as long as all else that a run with nothing to do loads.
            from orchestrator.comfyui.http import RequestsTransport

            return RequestsTransport(
                self.url,
                headers=headers,
                secrets=self._secrets,
                connect_timeout_seconds=connect_timeout_seconds,
                read_timeout_seconds=read_timeout_seconds,
            )

        self._requests = RetryingTransport(
            over_http if transport is None else lambda: transport,
            self.url,
            secrets=self._secrets,
            retry_seconds=retry_seconds,
            deadline=deadline,
            stop=stop or threading.Event(),
            clock=clock or Clock(),
        )
        self._base: str | None = None
        self._has_jobs: bool | None = None

    def __repr__(self) -> str:
        return f"ComfyUI({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._requests.close()

    @property
    def before_request(self) -> Callable[[], None]:
        """Called before each request but a POST of a prompt, by the thread that makes it: for what cannot wait until a
        row of requests has ended. It may make requests itself."""
        return self._requests.before_request

    @before_request.setter
    def before_request(self, call: Callable[[], None]) -> None:
        self._requests.before_request = call

    @property
    def requests_made(self) -> int:
        """Number of requests sent so far, including retries and redirects."""
        return self._requests.requests_made

    @property
    def failures(self) -> int:
        """Number of requests without a response so far; after one, the server may have restarted and lost its queue."""
        return self._requests.failures

    @property
    def met(self) -> TransientError | None:
        """Why requests are being retried, or why retrying failed; None after the next response."""
        return self._requests.met

    @property
    def trouble(self) -> str | None:
        """The same as text."""
        return str(self.met) if self.met is not None else None

    @property
    def pushbacks(self) -> int:
        """Number of 429 responses and timeouts so far: a reason to poll less often."""
        return self._requests.pushbacks

    def submit(
        self, graph: Mapping[str, Any], *, prompt_id: str, number: float, extra_data: Mapping[str, Any]
    ) -> Submitted:
        """`POST /prompt`, never retried. Only PromptRejected and `may_have_arrived=False` mean that nothing was queued.

        Errors: PromptRejected (400).
        """
        path = f"{self._decided_base()}/prompt"
        order = {
            "prompt_id": prompt_id,
            "number": number,
            "prompt": graph,
            "extra_data": {**extra_data, **self._secret_data},
            "client_id": self.client_id,
        }
        answer = self._post(path, order, patient=False)
        if answer.status == 400:
            raise self._read(answer, self._rejection)
        self._expect_ok(answer)
        return self._read(answer, responses.read_submitted)

    def left_out(self, submitted: Submitted) -> PromptRejected:
        """The server's errors for the outputs that it left out of a queued prompt."""
        return responses.partly_rejected(submitted.node_errors, self._secrets.hidden)

    def history(self, prompt_id: str) -> HistoryEntry | None:
        """`GET /history/{id}`. None while the prompt is queued or running, and if the server does not know it."""
        hide = self._secrets.hidden
        return self._get(
            f"/history/{quote(prompt_id, safe='')}", lambda body: responses.read_history(prompt_id, body, hide)
        )

    def queue(self) -> Queue:
        """`GET /queue`. A large response: it contains the graph of every queued prompt."""
        return self._get("/queue", responses.read_queue)

    def queued_graphs(self) -> tuple[QueuedGraph, ...]:
        """`GET /queue` with everything in it, in the order of execution."""
        return self._get("/queue", responses.read_queued_graphs)

    def queue_remaining(self) -> int:
        """`GET /prompt`: the number of queued and running prompts. The cheapest request."""
        return self._get("/prompt", responses.read_queue_remaining)

    def check_answers(self) -> None:
        """As `queue_remaining`, but asked once: for a server that was away. What answered is judged by later requests,
        unless it was a ComfyUI before."""
        base = "/api" if self._base is None else self._base
        answer = self._requests.ask("GET", f"{base}/prompt", patient=False)
        if self._base is not None:
            self._got(answer, responses.read_queue_remaining)

    def delete_from_queue(self, prompt_ids: Iterable[str]) -> None:
        """`POST /queue`: delete queued prompts. Running and unknown ones are not affected."""
        wanted = list(prompt_ids)
        if wanted:
            self._command("/queue", {"delete": wanted})

    def interrupt(self, prompt_id: str) -> None:
        """`POST /interrupt`: stop this prompt if it is running. Old servers ignore the id and stop whatever runs."""
        self._command("/interrupt", {"prompt_id": prompt_id})

    def free(self) -> None:
        """`POST /free`: unload the models and free their memory before the next prompt."""
        self._command("/free", {"unload_models": True, "free_memory": True})

    @property
    def has_jobs(self) -> bool:
        """Whether the server has `/api/jobs`; requested once."""
        if self._has_jobs is None:
            self._job(NO_PROMPT)
        return bool(self._has_jobs)

    def job(self, prompt_id: str) -> JobStatus | None:
        """`GET /api/jobs/{id}`: None if the server does not know it. Requires `has_jobs`."""
        status = self._job(prompt_id)
        if not self._has_jobs:
            raise UnexpectedAnswer(f"{self.url} has no /api/jobs; ask history and queue", status=404)
        return status

    def name_of(self, prompt_id: str) -> str:
        """The server's own id for a prompt that was sent under this one, as far as it was seen."""
        return prompt_id

    @property
    def is_known_to_have_jobs(self) -> bool:
        """As `has_jobs`, where that is known; nothing is requested."""
        return self._has_jobs is True

    def unfinished_jobs(self) -> dict[str, JobStatus] | None:
        """`GET /api/jobs?status=…`: what is queued or runs, of anybody, without graphs; None where that is not all.

        Requires `has_jobs`.
        """
        answer = self._requests.ask("GET", "/api/jobs?status=pending,in_progress", patient=True)
        return self._got(answer, responses.read_jobs)

    def ended_among(self, prompt_ids: Iterable[str]) -> set[str]:
        """Those of them that have ended, where one request tells that of all: for servers that do not render in order.

        None of them here.
        """
        return set()

    def cancel_jobs(self, prompt_ids: Iterable[str]) -> bool:
        """`POST /api/jobs/cancel`: delete what is queued, interrupt what runs, and never another prompt than these.

        Finished and unknown ones are not affected. False, and nothing is done, where the server has no such endpoint
        or takes one of these ids for none.
        """
        answer = self._post("/api/jobs/cancel", {"job_ids": list(prompt_ids)}, patient=True)
        if answer.status in (400, 404, 405):
            return False
        self._expect_ok(answer)
        self._read(answer, responses.read_object)
        return True

    @contextlib.contextmanager
    def view(self, file: OutputFile, *, offset: int = 0) -> Iterator[Download]:
        """`GET /view` as a stream; the read timeout applies to each chunk. Errors: NotOnServer."""
        path = f"{self._decided_base()}/view"
        params = {"filename": file.filename, "subfolder": file.subfolder, "type": file.type}
        with self._requests.stream(path, params=params, offset=offset) as download:
            self._refusals.expect_file(download, path, file, offset)
            yield download

    def open_events(self) -> EventSocket:
        """`GET /ws` as a websocket: what happens to the prompts of our `client_id`.

        The server sends to the last one of an id that connected. Errors: ServerUnreachable alone.
        """
        # Without /api: proxies in front of a server are made for the path that ComfyUI's own page uses.
        return self._requests.open_events(f"/ws?clientId={quote(self.client_id, safe='')}")

    def object_info(self, class_type: str | None = None) -> dict[str, Any]:
        """`GET /object_info[/{class}]`: the inputs of each node class; `{}` for a class that the server lacks."""
        path = "/object_info" if class_type is None else f"/object_info/{quote(class_type, safe='')}"
        return self._get(path, responses.read_object)

    def models(self, folder: str) -> list[str]:
        """`GET /models/{folder}`: file names as loader nodes take them."""
        return self._get(f"/models/{quote(folder, safe='')}", responses.read_names)

    def model_folders(self) -> dict[str, list[str]]:
        """`GET /experiment/models`: by kind, such as `checkpoints`, the server's directories for such models.

        Not retried, as `model_files`: nothing depends on it.
        """
        return self._at_once("/experiment/models", responses.read_model_folders)

    def model_files(self, folder: str) -> list[ModelFile]:
        """`GET /experiment/models/{folder}`: its files with their sizes."""
        return self._at_once(f"/experiment/models/{quote(folder, safe='')}", responses.read_model_files)

    def system_stats(self) -> dict[str, Any]:
        """`GET /system_stats`: versions, devices, memory."""
        return self._get("/system_stats", responses.read_object)

    def features(self) -> dict[str, Any]:
        """`GET /features`: the feature flags of the server."""
        return self._get("/features", responses.read_object)

    def upload_image(self, name: str, data: bytes, *, subfolder: str = "", overwrite: bool = False) -> UploadedImage:
        """`POST /upload/image` into the server's input directory. If the name is taken by other bytes, it gets another.

        Retried on errors: uploading the same bytes under the same name again creates no second file.
        """
        fields = {"subfolder": subfolder, "type": "input", "overwrite": "true" if overwrite else "false"}
        path = f"{self._decided_base()}/upload/image"
        answer = self._requests.ask("POST", path, form={**fields, "image": (name, data)}, patient=True)
        self._expect_ok(answer)
        return self._read(answer, responses.read_uploaded)

    def _get(self, path: str, read: Callable[[object], _T]) -> _T:
        if self._base is not None:
            return self._got(self._requests.ask("GET", self._base + path, patient=True), read)
        try:
            found = self._got(self._requests.ask("GET", f"/api{path}", patient=True), read)
            self._base = "/api"
        except UnexpectedAnswer as error:
            if error.status not in (200, 400, 404, 405):
                raise
            found = self._got_without_api(path, read)
            self._base = ""
        return found

    def _at_once(self, path: str, read: Callable[[object], _T]) -> _T:
        """As `_get`, but requested once. Errors: UnexpectedAnswer where the server has no such endpoint."""
        return self._got(self._requests.ask("GET", self._decided_base() + path, patient=False), read)

    def _got_without_api(self, path: str, read: Callable[[object], _T]) -> _T:
        """Errors: NotComfyUI for what no ComfyUI answers."""
        answer = self._requests.ask("GET", path, patient=True)
        try:
            return self._got(answer, read)
        except UnexpectedAnswer as error:
            if not bodies.is_foreign(answer):
                raise
            raise self._foreign(answer) from error

    def _foreign(self, answer: Answer) -> NotComfyUI:
        has_advice = advice.of_tunnel(answer) is not None
        return self._refusals.foreign(answer, speaks_v2=not has_advice and self._speaks_v2(answer))

    def _speaks_v2(self, answer: Answer) -> bool:
        """Whether what answered so, and is no ComfyUI, speaks Comfy API v2."""
        if answer.status != 404 or answer.path.startswith(JOBS_V2):
            return False
        with contextlib.suppress(TransientError):
            found = self._requests.ask("GET", f"{JOBS_V2}/{NO_PROMPT}", patient=False)
            return found.status == 404 and bodies.is_refusal_v2(found.body)
        return False

    def _got(self, answer: Answer, read: Callable[[object], _T]) -> _T:
        self._expect_ok(answer)
        return self._read(answer, read)

    def _decided_base(self) -> str:
        """`/api` or nothing. Decided by a small GET, because a 404 of `/view` or of a POST is ambiguous."""
        if self._base is None:
            self.queue_remaining()
        return self._base or ""

    def _post(
        self, path: str, body: Mapping[str, Any], *, patient: bool, headers: Mapping[str, str] | None = None
    ) -> Answer:
        return self._requests.ask("POST", path, body=json.dumps(body).encode(), headers=headers, patient=patient)

    def _command(self, path: str, body: Mapping[str, Any]) -> None:
        answer = self._post(self._decided_base() + path, body, patient=True)
        self._expect_ok(answer)
        if answer.body.strip():
            self._read(answer, lambda body: None)

    def _job(self, prompt_id: str) -> JobStatus | None:
        if self._has_jobs is False:
            return None
        answer = self._requests.ask("GET", f"/api/jobs/{quote(prompt_id, safe='')}", patient=True)
        if answer.status not in (404, 405):
            self._expect_ok(answer)
            status = self._read(answer, responses.read_job)
            self._has_jobs = True
            return status
        self._has_jobs = responses.says_no_such_job(bodies.parsed_or_none(answer.body))
        return None

    def _rejection(self, body: object) -> PromptRejected:
        return responses.read_rejection(body, self._secrets.hidden)

    def _read(self, answer: Answer, read: Callable[[object], _T]) -> _T:
        try:
            return read(bodies.parsed(answer.body))
        except WrongShape as error:
            raise self._refusals.misshapen(answer, error) from error

    def _expect_ok(self, answer: Answer) -> None:
        self._refusals.expect_ok(answer)
