"""ComfyUI's responses as values: validation and parsing of each JSON body.

For anything invalid every function raises `WrongShape`, and no other exception. The shapes were recorded from ComfyUI
0.3.64; differences of newer versions are noted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Set
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec

from orchestrator.errors import ExecutionFailed, PromptRejected
from orchestrator.shapes import WrongShape, shaped

Hide = Callable[[str], str]
"""Removes our credentials from a text of the server."""

_OUT_OF_MEMORY = re.compile(
    r"out[\s_]?of[\s_](?:\w{1,9}[\s_])?memory|outofmemory|allocation on device"
    r"|can(?:no|')t allocate memory|not enough (?:gpu video )?memory|unable to allocate|_alloc_failed|bad_?alloc"
    r"|paging file is too small|\bos error 1455\b|\b_?(?:array)?memoryerror\b",
    re.IGNORECASE,
)
"""Of PyTorch on CUDA, ROCm, MPS, XPU, DirectML and on the CPU (Linux and Windows), of NumPy, and of Python itself."""
_NO_SUCH_JOB = re.compile(r"\bjob\b.*\bnot found\b", re.IGNORECASE | re.DOTALL)
_VIEWED = re.compile(
    r"(?P<folder>[^\n\r]*[/\\])?(?P<name>[^/\\\n\r]+\.(?:glb|gltf|obj|fbx|stl|ply|k?splat|spz|usdz))"
    r"(?: \[(?P<type>output|temp)\])?",
    re.IGNORECASE,
)
"""What a 3D viewer lists (kind `result`): the path of a file in the server's output directory, as a text."""
_SHOWN_AS_TEXT = ("text", "string")
_Text = Annotated[str, msgspec.Meta(min_length=1)]
_FINISHED = ("execution_success", "execution_error", "execution_interrupted")


class JobStatus(StrEnum):
    """The status of a prompt in `/api/jobs/{id}`."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Submitted(msgspec.Struct, frozen=True):
    """A queued prompt. `prompt_id` is the server's, which may differ from the one sent."""

    prompt_id: str
    number: float | None
    node_errors: dict[str, Any]


class OutputFile(msgspec.Struct, frozen=True):
    """A file that a node wrote. `kind`: the node's name for it (images, gifs, video, …); `type`: output or temp."""

    node_id: str
    kind: str
    filename: str
    subfolder: str
    type: str
    is_viewed: bool = False
    """Named by a node that shows it, a 3D viewer; another node saved it."""
    asset: str = ""
    """The id under which a hosted server has it; ComfyUI has it by its name."""
    is_between: bool = False
    """Shown by a node that is not one of the workflow's output nodes."""
    is_earlier: bool = False
    """An earlier prompt made it, perhaps somebody else's: such a node lists it again, from the cache."""


class OutputText(msgspec.Struct, frozen=True):
    """A text that a node displayed; it exists only in the history."""

    node_id: str
    kind: str
    text: str


class HistoryEntry(msgspec.Struct, frozen=True):
    """A finished prompt: exactly one of `succeeded`, `interrupted` and `failure` is set."""

    prompt_id: str
    graph: dict[str, Any]
    extra_data: dict[str, Any]
    files: tuple[OutputFile, ...]
    texts: tuple[OutputText, ...]
    succeeded: bool
    interrupted: bool
    failure: ExecutionFailed | None
    cached_nodes: frozenset[str]
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def out_of_memory(self) -> bool:
        """The failure was caused by a lack of memory: worth a retry after `/free`."""
        failure = self.failure
        return failure is not None and bool(_OUT_OF_MEMORY.search(f"{failure.exception_type} {failure}"))


class QueuedPrompt(msgspec.Struct, frozen=True):
    """A queued or running prompt."""

    prompt_id: str
    number: float
    extra_data: dict[str, Any]


class Queue(msgspec.Struct, frozen=True):
    """Both lists of `/queue`."""

    running: tuple[QueuedPrompt, ...]
    pending: tuple[QueuedPrompt, ...]

    @property
    def is_of_newer_server(self) -> bool:
        """One that notes when a prompt came: since then servers have `/api/jobs`."""
        return any("create_time" in prompt.extra_data for prompt in (*self.running, *self.pending))


class QueuedGraph(msgspec.Struct, frozen=True):
    """A queued or running prompt with its graph."""

    prompt_id: str
    number: float
    graph: dict[str, Any]
    extra_data: dict[str, Any]


class UploadedImage(msgspec.Struct, frozen=True):
    """Where the server stored an upload."""

    name: str
    subfolder: str
    type: str

    @property
    def as_input(self) -> str:
        """The value for LoadImage's `image` input."""
        return f"{self.subfolder}/{self.name}" if self.subfolder else self.name


# Bodies as ComfyUI sends them. Members that are `Any` are optional and may be anything.


class _SubmittedBody(msgspec.Struct):
    prompt_id: _Text
    number: float | None = None
    node_errors: Any = None


class _RejectionBody(msgspec.Struct):
    error: str | dict[str, Any]
    node_errors: Any = None


class _Status(msgspec.Struct):
    status_str: Literal["success", "error"]
    messages: Any = None


class _HistoryBody(msgspec.Struct):
    outputs: dict[str, Any]
    status: _Status | None = None
    prompt: Any = None


class _QueueEntry(msgspec.Struct, array_like=True):
    number: float
    prompt_id: _Text
    graph: Any = None
    extra_data: Any = None


class _QueueBody(msgspec.Struct):
    queue_running: list[_QueueEntry]
    queue_pending: list[_QueueEntry]


class _ExecInfo(msgspec.Struct):
    queue_remaining: int


class _PromptBody(msgspec.Struct):
    exec_info: _ExecInfo


class _JobBody(msgspec.Struct):
    status: JobStatus


class _Job(msgspec.Struct):
    id: _Text
    status: JobStatus


class _Pagination(msgspec.Struct):
    has_more: bool


class _JobsBody(msgspec.Struct):
    jobs: list[_Job]
    pagination: _Pagination


class _UploadedBody(msgspec.Struct):
    name: _Text
    subfolder: Any = None
    type: Any = None


def read_object(body: object) -> dict[str, Any]:
    """A body that only has to be an object."""
    return shaped(body, dict[str, Any])


def read_names(body: object) -> list[str]:
    """`GET /models/{folder}`."""
    return shaped(body, list[_Text])


class _ModelFolderBody(msgspec.Struct, frozen=True):
    name: _Text
    folders: list[_Text] = []


def read_model_folders(body: object) -> dict[str, list[str]]:
    """`GET /experiment/models`: by kind, the directories."""
    return {one.name: one.folders for one in shaped(body, list[_ModelFolderBody])}


class ModelFile(msgspec.Struct, frozen=True):
    """A file in one of the server's directories of models."""

    name: _Text
    """As loader nodes take it."""
    size: Annotated[int, msgspec.Meta(ge=0)]
    """In bytes."""
    directory: int = msgspec.field(default=0, name="pathIndex")
    """Which of the directories of its kind it is in, from 0. Of several files with one name, the first counts."""


def read_model_files(body: object) -> list[ModelFile]:
    """`GET /experiment/models/{folder}`."""
    return shaped(body, list[ModelFile])


def read_submitted(body: object) -> Submitted:
    """`POST /prompt`, 200. Newer servers may add `node_errors` for outputs that they left out."""
    answer = shaped(body, _SubmittedBody)
    return Submitted(answer.prompt_id, answer.number, _object_or_empty(answer.node_errors))


def read_rejection(body: object, hide: Hide) -> PromptRejected:
    """`POST /prompt`, 400: `error` and, by node id, `node_errors`."""
    answer = shaped(body, _RejectionBody)
    fault = {"message": answer.error} if isinstance(answer.error, str) else answer.error
    node_errors = _object_or_empty(answer.node_errors)
    return PromptRejected(
        hide(f"the server rejected the prompt: {'; '.join([_joined(fault), *_said_of_nodes(node_errors)])}"),
        error_type=_text_or_empty(fault.get("type")),
        node_errors=node_errors,
        node_id=next(iter(node_errors), None),
    )


def partly_rejected(node_errors: dict[str, Any], hide: Hide) -> PromptRejected:
    """A 200 with `node_errors`: the server queued the valid outputs and left out these nodes."""
    return PromptRejected(
        hide(f"the server would leave out a part of the prompt: {'; '.join(_said_of_nodes(node_errors))}"),
        node_errors=node_errors,
        node_id=next(iter(node_errors), None),
    )


def _said_of_nodes(node_errors: dict[str, Any]) -> list[str]:
    return [f"node {node_id} {_node_fault(fault)}" for node_id, fault in node_errors.items()]


def _node_fault(fault: object) -> str:
    found = _object_or_empty(fault)
    errors = found.get("errors")
    said = [_joined(error) for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    return f"({_text_or_empty(found.get('class_type')) or 'unknown class'}): {', '.join(said) or 'no details'}"


def _joined(fault: dict[str, Any]) -> str:
    message, details = _text_or_empty(fault.get("message")), _text_or_empty(fault.get("details"))
    if not details or details == message:
        return message or _text_or_empty(fault.get("type")) or "no reason given"
    return f"{message.rstrip('.')}: {details}" if message else details


def read_history(prompt_id: str, body: object, hide: Hide) -> HistoryEntry | None:
    """`GET /history/{id}`: None for `{}`; the prompt may still be queued or running."""
    answer = read_object(body)
    if not answer:
        return None
    if prompt_id not in answer:
        raise WrongShape("missing", place=prompt_id)
    entry = shaped(answer[prompt_id], _HistoryBody)
    outputs, status = entry.outputs, entry.status
    messages = {} if status is None else dict(_messages(status.messages))
    succeeded = bool(outputs) if status is None else status.status_str == "success"
    interrupted = not succeeded and "execution_interrupted" in messages
    graph, extra_data, ending = _parts(entry.prompt)
    cached = _cached_nodes(messages.get("execution_cached"))
    return HistoryEntry(
        prompt_id=prompt_id,
        graph=graph,
        extra_data=extra_data,
        files=tuple(_files(outputs, between=graph.keys() - ending if ending else frozenset(), cached=cached)),
        texts=tuple(_texts(outputs)),
        succeeded=succeeded,
        interrupted=interrupted,
        failure=None if succeeded or interrupted else _failure(messages.get("execution_error"), hide),
        cached_nodes=cached,
        started_at=_time(messages.get("execution_start")),
        finished_at=next((at for name in _FINISHED if (at := _time(messages.get(name)))), None),
    )


def _messages(value: object) -> Iterator[tuple[str, dict[str, Any]]]:
    for pair in value if isinstance(value, list) else ():
        if isinstance(pair, list) and len(pair) >= 2 and isinstance(pair[0], str) and isinstance(pair[1], dict):
            yield pair[0], pair[1]


def _parts(value: object) -> tuple[dict[str, Any], dict[str, Any], frozenset[str]]:
    """Graph, extra data, and the ids of the output nodes that were to be executed."""
    parts = value if isinstance(value, list) else []
    return _object_or_empty(_at(parts, 2)), _object_or_empty(_at(parts, 3)), _texts_of(_at(parts, 4))


def _entries(outputs: dict[str, Any]) -> Iterator[tuple[str, str, object]]:
    for node_id, kinds in outputs.items():
        for kind, values in _object_or_empty(kinds).items():
            for value in values if isinstance(values, list) else [values]:
                yield node_id, kind, value


def _files(outputs: dict[str, Any], *, between: Set[str], cached: Set[str]) -> Iterator[OutputFile]:
    """Each file once, of the node that made it. `between`: nodes that are no output nodes."""
    found = list(_entries(outputs))
    places: dict[tuple[str, str, str], OutputFile] = {}
    for node_id, kind, value in sorted(found, key=lambda one: one[0] in between):
        name = value.get("filename") if isinstance(value, dict) else None
        if not isinstance(value, dict) or not isinstance(name, str) or not name:
            continue
        place = (name, _text_or_empty(value.get("subfolder")), _text_or_empty(value.get("type")) or "output")
        is_between = node_id in between
        file = OutputFile(node_id, kind, *place, is_between=is_between, is_earlier=is_between and node_id in cached)
        places.setdefault(place, file)
    for node_id, kind, value in found:
        if (viewed := _viewed(kind, value)) is not None:
            places.setdefault(viewed, OutputFile(node_id, kind, *viewed, is_viewed=True))
    yield from places.values()


def _viewed(kind: str, value: object) -> tuple[str, str, str] | None:
    """Name, subfolder and type of a file that is listed as a text."""
    found = _VIEWED.fullmatch(value) if isinstance(value, str) and kind not in _SHOWN_AS_TEXT else None
    return (found["name"], (found["folder"] or "")[:-1], (found["type"] or "output").lower()) if found else None


def _texts(outputs: dict[str, Any]) -> Iterator[OutputText]:
    for node_id, kind, value in _entries(outputs):
        if isinstance(value, str) and _viewed(kind, value) is None:
            yield OutputText(node_id, kind, value)


def _failure(error: dict[str, Any] | None, hide: Hide) -> ExecutionFailed:
    if error is None:
        return ExecutionFailed("the server says that the prompt failed, not why", node_id=None, exception_type="")
    node_id, exception_type = _text_or_empty(error.get("node_id")), _text_or_empty(error.get("exception_type"))
    message = _text_or_empty(error.get("exception_message")).strip() or "no message"
    where = f"node {node_id or '?'} ({_text_or_empty(error.get('node_type')) or 'unknown class'})"
    return ExecutionFailed(
        hide(f"{where} raised {exception_type or 'an error'}: {message}"),
        node_id=node_id or None,
        exception_type=exception_type,
    )


def _cached_nodes(message: dict[str, Any] | None) -> frozenset[str]:
    return _texts_of((message or {}).get("nodes"))


def _texts_of(value: object) -> frozenset[str]:
    return frozenset(one for one in value if isinstance(one, str)) if isinstance(value, list) else frozenset()


def _time(message: dict[str, Any] | None) -> datetime | None:
    milliseconds = (message or {}).get("timestamp")
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int | float):
        return None
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def read_queue(body: object) -> Queue:
    """`GET /queue`: contains every queued graph; only ids, numbers and extra data are kept."""
    answer = shaped(body, _QueueBody)
    return Queue(running=_queued(answer.queue_running), pending=_queued(answer.queue_pending))


def _queued(entries: list[_QueueEntry]) -> tuple[QueuedPrompt, ...]:
    return tuple(QueuedPrompt(entry.prompt_id, entry.number, _object_or_empty(entry.extra_data)) for entry in entries)


def read_queued_graphs(body: object) -> tuple[QueuedGraph, ...]:
    """`GET /queue` with the graphs, in the order of execution: the running prompt first.

    An entry has five parts, or six where the server keeps what is secret apart from the extra data.
    """
    answer = shaped(body, _QueueBody)
    entries = [*answer.queue_running, *sorted(answer.queue_pending, key=lambda entry: entry.number)]
    return tuple(
        QueuedGraph(one.prompt_id, one.number, _object_or_empty(one.graph), _object_or_empty(one.extra_data))
        for one in entries
    )


def read_queue_remaining(body: object) -> int:
    """`GET /prompt`."""
    return shaped(body, _PromptBody).exec_info.queue_remaining


def read_job(body: object) -> JobStatus:
    """`GET /api/jobs/{id}`, 200."""
    return shaped(body, _JobBody).status


def read_jobs(body: object) -> dict[str, JobStatus] | None:
    """`GET /api/jobs?status=…`: by id; None where the server keeps some for another page."""
    answer = shaped(body, _JobsBody)
    return None if answer.pagination.has_more else {job.id: job.status for job in answer.jobs}


def says_no_such_job(body: object) -> bool:
    """Whether the JSON of a 404 comes from the jobs endpoint itself, not from a proxy."""
    if not isinstance(body, dict):
        return False
    return any(isinstance(body.get(name), str) and _NO_SUCH_JOB.search(body[name]) for name in ("error", "message"))


def read_uploaded(body: object) -> UploadedImage:
    """`POST /upload/image`: the name may differ from the one sent."""
    answer = shaped(body, _UploadedBody)
    return UploadedImage(answer.name, _text_or_empty(answer.subfolder), _text_or_empty(answer.type) or "input")


def _object_or_empty(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text_or_empty(value: object) -> str:
    return value if isinstance(value, str) else ""


def _at(values: list[Any], index: int) -> object:
    return values[index] if index < len(values) else None
