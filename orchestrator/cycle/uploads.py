"""Uploads beside the watching: a few threads give a server the pictures of the items that are next.

An upload is no render: it is repeated freely. Names come from contents, so nothing is ever overwritten by something
else, and what a killed burst has uploaded is found by its name, held against its hash, and not uploaded again.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.comfyui import OutputFile
from orchestrator.cycle.context import WorkerContext
from orchestrator.cycle.downloads import Executor
from orchestrator.errors import (
    ServerBusy,
    ServerUnreachable,
    TransientError,
    UnexpectedAnswer,
    UploadError,
)
from orchestrator.input_files import InputFile, UploadedFile
from state.item import ErrorRecord, Item, Status

UPLOADS_AT_ONCE = 2
"""One is read while another is on its way. More would only share a slow link, and the first would come later."""
_REFUSALS = (400, 413, 415, 422)
"""Answers that say something of this one picture."""


@dataclass(frozen=True)
class ReadyItem:
    """A due item whose pictures its server has; `given` by binding."""

    item: Item
    given: Mapping[str, UploadedFile]


@dataclass(frozen=True)
class _Arrival:
    item: Item
    outcome: Mapping[str, UploadedFile] | BaseException
    taken_before: int
    """How often the server had taken a picture when this item's turn came."""


class Uploads:
    """The items of one lane whose pictures are on their way. Only the lane's thread calls it."""

    def __init__(self, context: WorkerContext, pool: Executor, wake: threading.Event) -> None:
        """`wake` is set when something has arrived."""
        self._context = context
        self._pool = pool
        self._wake = wake
        self._server = _Server(context)
        self._under_way: dict[str, Item] = {}
        self._tried: dict[str, int] = {}
        """Of items that did not get through: how often the server had taken a picture before their first try."""
        self._arrived: queue.SimpleQueue[_Arrival] = queue.SimpleQueue()

    def __contains__(self, key: str) -> bool:
        return key in self._under_way

    def __len__(self) -> int:
        return len(self._under_way)

    def items(self) -> list[Item]:
        return list(self._under_way.values())

    def start(self, item: Item) -> None:
        """See to it, soon, that the server has this item's pictures."""
        self._under_way[item.key] = item

        def job() -> None:
            if self._under_way.get(item.key) is not item:
                return
            outcome: Mapping[str, UploadedFile] | BaseException
            taken_before = self._server.taken
            try:
                outcome = self._server.give(item)
            except BaseException as error:  # noqa: BLE001 — met again in the lane's thread
                outcome = error
            self._arrived.put(_Arrival(item, outcome, taken_before))
            self._wake.set()

        self._pool.start(job)

    def settle(self) -> tuple[list[ReadyItem], list[str]]:
        """The items that may be sent now, and the keys of all that this is through with.

        Errors: TransientError where the server takes no picture at all; the item is as it was then.
        """
        ready: list[ReadyItem] = []
        through: list[str] = []
        while not self._arrived.empty():
            arrival = self._arrived.get()
            if self._under_way.get(arrival.item.key) is not arrival.item:
                continue
            del self._under_way[arrival.item.key]
            through.append(arrival.item.key)
            if isinstance(arrival.outcome, BaseException):
                self._context.dispatch.let_go(arrival.item.key)
                try:
                    self._not_given(arrival, arrival.outcome)
                except BaseException:
                    for one in ready:
                        self._context.dispatch.let_go(one.item.key)
                    raise
                continue
            for now in self._context.store.get_many([arrival.item.key]):
                if now.status is Status.PENDING and now.uploads == arrival.item.uploads:
                    ready.append(ReadyItem(now, arrival.outcome))
        return ready, through

    def abandon(self) -> None:
        """Let go of what is on its way: the server is lost, and others may do it."""
        for key in self._under_way:
            self._context.dispatch.let_go(key)
        self._under_way.clear()

    def forget(self) -> None:
        """Do not rely on what the server had: ask it again."""
        self._server.forget()

    def _not_given(self, arrival: _Arrival, error: BaseException) -> None:
        """Fail the item for its own fault; charge an attempt where the server takes others' pictures, but not its.

        Errors: the error itself, where it says nothing of this item.
        """
        match error:
            case UploadError():
                self._context.fail(arrival.item, ErrorRecord(kind=error.kind, message=str(error)), charge=False)
            case UnexpectedAnswer(status=status) if status in _REFUSALS:
                message = f"the server refuses the picture: {error}"
                self._context.fail(arrival.item, ErrorRecord(kind=UploadError.kind, message=message), charge=False)
            case ServerUnreachable() | ServerBusy() if not _is_pushed_back(error):
                before = self._tried.setdefault(arrival.item.key, arrival.taken_before)
                if self._context.halt.is_set() or self._server.taken == before:
                    raise error
                self._context.client.queue_remaining()
                self._context.charge(arrival.item, ErrorRecord(kind=UploadError.kind, message=str(error)))
            case _:
                raise error


def _is_pushed_back(error: BaseException) -> bool:
    return isinstance(error, ServerBusy) and error.status == 429


class _Server:
    """What one server has of the pictures. Threads may share it."""

    def __init__(self, context: WorkerContext) -> None:
        self.taken = 0
        """How often it took a picture, or showed that it has it."""
        self._context = context
        self._guard = threading.Lock()
        self._told: dict[str, str] = {}
        """By name, what the server calls it."""
        self._failures = 0
        self._turns: dict[str, threading.Lock] = {}

    def forget(self) -> None:
        with self._guard:
            self._told.clear()

    def give(self, item: Item) -> dict[str, UploadedFile]:
        """Read the item's pictures and see to it that the server has them. Errors: UploadError, TransientError."""
        self._check_wanted()
        pictures = self._context.preparation.pictures(item)
        return {name: UploadedFile(picture.as_input, self._given(picture)) for name, picture in pictures.items()}

    def _given(self, picture: InputFile) -> str:
        name = picture.as_input
        with self._guard:
            turn = self._turns.setdefault(name, threading.Lock())
        # Equal pictures of two items that are on their way at once are one upload.
        with turn:
            told = self._known(name)
            if told is None:
                told = self._upload(picture)
                with self._guard:
                    self._told[name] = told
                    self.taken += 1
        with self._guard:
            self._turns.pop(name, None)
        return told

    def _known(self, name: str) -> str | None:
        """After a request without an answer nothing is known: the server may have been set up anew."""
        failures = self._context.client.failures
        with self._guard:
            if failures != self._failures:
                self._told.clear()
                self._failures = failures
            return self._told.get(name)

    def _upload(self, picture: InputFile) -> str:
        found = self._sha256_there(picture)
        if found == picture.sha256:
            return picture.as_input
        self._check_wanted()
        # A file of that name with other bytes was cut short by a server that died; it is nobody else's.
        answer = self._context.client.upload_image(
            picture.filename, picture.data, subfolder=picture.subfolder, overwrite=found is not None
        )
        return answer.as_input

    def _sha256_there(self, picture: InputFile) -> str | None:
        """Of the file of that name on the server; None where there is none, or where it is not known."""
        digest = hashlib.sha256()
        file = OutputFile("", "images", picture.filename, picture.subfolder, "input")
        try:
            with self._context.client.view(file) as download:
                if download.total_bytes not in (None, len(picture.data)):
                    return ""
                for chunk in download.iter_chunks():
                    digest.update(chunk)
        except TransientError:  # NotOnServer is the usual one; what else it means, the upload will show
            return None
        return digest.hexdigest()

    def _check_wanted(self) -> None:
        if self._context.halt.is_set():
            raise ServerUnreachable("the run is over", may_have_arrived=False)
