"""Uploads: a few threads upload the images of the next items while the worker watches.

An upload may be repeated freely. File names are derived from contents, so an image never overwrites another one, and
what a killed burst has uploaded is found by its name, checked against its hash, and not uploaded again.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Mapping, Sequence

import msgspec

from orchestrator.comfyui import OutputFile
from orchestrator.cycle.context import WorkerContext
from orchestrator.cycle.downloads import Executor
from orchestrator.errors import (
    OutputRootUnusable,
    ServerBusy,
    ServerUnreachable,
    TransientError,
    UnexpectedAnswer,
    UploadError,
)
from orchestrator.input_files import InputFile, UploadedFile
from state.item import ErrorRecord, Item, Status

UPLOADS_AT_ONCE = 2
"""One is read while another is in transit. More would only share a slow link and delay the first."""
_REFUSALS = (400, 413, 415, 422)
"""Responses that are about this one image."""


class ReadyItem(msgspec.Struct, frozen=True):
    """A due item whose images its server has; `given`: by binding."""

    item: Item
    given: Mapping[str, UploadedFile]
    sources: Sequence[Item] = ()
    """The items that it is made from, as they were before their outputs were read."""


class _Arrival(msgspec.Struct, frozen=True):
    item: Item
    outcome: Mapping[str, UploadedFile] | BaseException
    taken_before: int
    """How often the server had accepted an image before this item's upload began."""


class Uploads:
    """The items of one worker whose images are being uploaded. Called by the worker's thread alone."""

    def __init__(self, context: WorkerContext, pool: Executor, wake: threading.Event) -> None:
        """`wake` is set when something has arrived."""
        self._context = context
        self._pool = pool
        self._wake = wake
        self._server = _Server(context)
        self._in_progress: dict[str, Item] = {}
        self._sources: dict[str, Sequence[Item]] = {}
        """What these are made from, as that was before it was read."""
        self._tried: dict[str, int] = {}
        """For items whose upload failed: how often the server had accepted an image before their first try."""
        self._arrived: queue.SimpleQueue[_Arrival] = queue.SimpleQueue()

    def __contains__(self, key: str) -> bool:
        return key in self._in_progress

    def __len__(self) -> int:
        return len(self._in_progress)

    def items(self) -> list[Item]:
        return list(self._in_progress.values())

    def start(self, item: Item) -> None:
        """Have this item's images uploaded, where the server does not have them."""
        self._in_progress[item.key] = item
        self._sources[item.key] = self._context.store.get_many(item.sources)

        def job() -> None:
            if self._in_progress.get(item.key) is not item:
                return
            outcome: Mapping[str, UploadedFile] | BaseException
            taken_before = self._server.taken
            try:
                outcome = self._server.give(item)
            except BaseException as error:  # noqa: BLE001 — handled in the worker's thread
                outcome = error
            self._arrived.put(_Arrival(item, outcome, taken_before))
            self._wake.set()

        self._pool.start(job)

    def settle(self) -> tuple[list[ReadyItem], list[str]]:
        """The items that may be sent now, and the keys of all items that this is done with.

        Errors: TransientError where the server accepts no image at all; the item is unchanged then.
        """
        ready: list[ReadyItem] = []
        through: list[str] = []
        while not self._arrived.empty():
            arrival = self._arrived.get()
            if self._in_progress.get(arrival.item.key) is not arrival.item:
                continue
            del self._in_progress[arrival.item.key]
            sources = self._sources.pop(arrival.item.key)
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
                if _may_be_sent(now, arrival.item):
                    ready.append(ReadyItem(now, arrival.outcome, sources))
        return ready, through

    def follow(self, key: str) -> None:
        """Another process changed this item: one that cannot be sent as it is is given up at once."""
        item = self._in_progress[key]
        if not any(_may_be_sent(now, item) for now in self._context.store.get_many([key])):
            del self._in_progress[key], self._sources[key]
            self._context.dispatch.let_go(key)

    def abandon(self) -> None:
        """Give up all uploads: the server is lost, and others may take the items."""
        for key in self._in_progress:
            self._context.dispatch.let_go(key)
        self._in_progress.clear()
        self._sources.clear()

    def forget(self) -> None:
        """Forget what the server had, so that it is looked up again."""
        self._server.forget()

    def _not_given(self, arrival: _Arrival, error: BaseException) -> None:
        """Fail the item for its own fault; charge an attempt where the server accepts others' images, but not its.

        Errors: the error itself, where it is not about this item.
        """
        match error:
            case UploadError():
                self._refused(arrival.item, str(error))
            case OutputRootUnusable():
                self._context.set_recipe_aside(arrival.item, error)
            case UnexpectedAnswer(status=status) if status in _REFUSALS:
                self._refused(arrival.item, f"the server refuses the image: {error}")
            case ServerUnreachable() | ServerBusy() if not _is_pushed_back(error):
                before = self._tried.setdefault(arrival.item.key, arrival.taken_before)
                if self._context.halt.is_set() or self._server.taken == before:
                    raise error
                self._context.client.queue_remaining()
                self._context.transitions.charge(arrival.item, ErrorRecord(kind=UploadError.kind, message=str(error)))
            case _:
                raise error

    def _refused(self, item: Item, message: str) -> None:
        self._context.transitions.fail(item, ErrorRecord(kind=UploadError.kind, message=message), charge=False)


def _may_be_sent(now: Item, uploaded: Item) -> bool:
    return now.status is Status.PENDING and now.upload_sources == uploaded.upload_sources


def _is_pushed_back(error: BaseException) -> bool:
    return isinstance(error, ServerBusy) and error.status == 429


class _Server:
    """The images that one server has. Threads may share it."""

    def __init__(self, context: WorkerContext) -> None:
        self.taken = 0
        """How often it accepted an image, or was found to have it."""
        self._context = context
        self._guard = threading.Lock()
        self._names: dict[str, str] = {}
        """By name: the server's name for it."""
        self._failures = 0
        self._turns: dict[str, threading.Lock] = {}

    def forget(self) -> None:
        with self._guard:
            self._names.clear()

    def give(self, item: Item) -> dict[str, UploadedFile]:
        """Read the item's images and upload those that the server lacks. Errors: UploadError, TransientError."""
        self._check_wanted()
        pictures = self._context.preparation.pictures(item)
        return {name: UploadedFile(picture.as_input, self._given(picture)) for name, picture in pictures.items()}

    def _given(self, picture: InputFile) -> str:
        name = picture.as_input
        with self._guard:
            turn = self._turns.setdefault(name, threading.Lock())
        # Two items that need equal images at the same time share one upload.
        with turn:
            server_name = self._known(name)
            if server_name is None:
                server_name = self._upload(picture)
                with self._guard:
                    self._names[name] = server_name
                    self.taken += 1
        with self._guard:
            self._turns.pop(name, None)
        return server_name

    def _known(self, name: str) -> str | None:
        """Nothing is known after a failed request: the server may have been replaced."""
        failures = self._context.client.failures
        with self._guard:
            if failures != self._failures:
                self._names.clear()
                self._failures = failures
            return self._names.get(name)

    def _upload(self, picture: InputFile) -> str:
        found = self._sha256_there(picture)
        if found == picture.sha256:
            return picture.as_input
        self._check_wanted()
        # A file of that name with other bytes is a torn upload of ours: the name is derived from the contents.
        answer = self._context.client.upload_image(
            picture.filename, picture.data, subfolder=picture.subfolder, overwrite=found is not None
        )
        return answer.as_input

    def _sha256_there(self, picture: InputFile) -> str | None:
        """The hash of the file of that name on the server; None where there is none, or it is not known."""
        digest = hashlib.sha256()
        file = OutputFile("", "images", picture.filename, picture.subfolder, "input")
        try:
            with self._context.client.view(file) as download:
                if download.total_bytes not in (None, len(picture.data)):
                    return ""
                for chunk in download.iter_chunks():
                    digest.update(chunk)
        except TransientError:  # NotOnServer usually; anything else shows again in the upload
            return None
        return digest.hexdigest()

    def _check_wanted(self) -> None:
        if self._context.halt.is_set():
            raise ServerUnreachable("the run is over", may_have_arrived=False)
