"""Settling: from what the server says of a prompt to the item's next checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.comfyui import HistoryEntry, OutputFile, OutputText
from orchestrator.errors import ItemError, NotOnServer, OutputDamaged, OutputRefused, TransientError
from orchestrator.workbench import Workbench
from state.item import ErrorRecord, Item, OutputRecord

OUT_OF_MEMORY = "out_of_memory"


class Settling:
    """Ends items, or puts them back. Each of its methods checkpoints before it returns."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench

    def finished(self, item: Item, entry: HistoryEntry) -> None:
        """Its prompt is in history. Errors: TransientError when the server is gone, DiskFull; it is as it was then."""
        if entry.succeeded:
            seconds = _seconds(entry)
            if seconds is not None:
                self._bench.pace.note(seconds)
            self.collect(item, entry.files, entry.texts, seconds=seconds)
        elif item.cancel_requested:
            self._bench.cancel(item)
        elif entry.interrupted:
            message = "interrupted on the server by somebody else"
            self._charge(item, ErrorRecord(kind="interrupted", message=message))
        elif entry.out_of_memory:
            self._out_of_memory(item, entry)
        else:
            self._charge(item, _failure(entry))

    def collect(
        self, item: Item, files: Sequence[OutputFile], texts: Sequence[OutputText], *, seconds: float | None
    ) -> None:
        """Download, place and checkpoint what a finished prompt made."""
        try:
            placed = self._placed(item, files, texts)
        except OutputRefused as error:
            self._bench.fail(item, _record(error), charge=False)
        except (ItemError, NotOnServer) as error:
            self._charge(item, _record(error))
        except TransientError as error:
            self._bench.set_aside(item, error)
        else:
            self.complete(item, placed, seconds=seconds)

    def rescue(self, item: Item, files: Sequence[OutputFile]) -> None:
        """Collect files by their names alone. Errors: NotOnServer, ItemError; nothing was placed then."""
        self.complete(item, self._placed(item, files, (), rescued=True), seconds=None)

    def complete(self, item: Item, placed: Sequence[OutputRecord], *, seconds: float | None) -> None:
        """The files are in place and synced: say so."""
        bench = self._bench
        at = bench.clock.now()
        completed = bench.change(item, lambda now: now.complete(outputs=tuple(placed), at=at, seconds=seconds))
        if completed is not None:
            bench.tally.completed += 1
            bench.say(completed)

    def _placed(
        self, item: Item, files: Sequence[OutputFile], texts: Sequence[OutputText], *, rescued: bool = False
    ) -> list[OutputRecord]:
        if not files and not texts:
            raise OutputDamaged("the prompt finished without any output; check the template's save nodes")
        assert item.prompt_id is not None
        placed = self._bench.outputs.collect(
            self._bench.client,
            files,
            texts,
            subfolder=item.subfolder,
            filename=item.name,
            prompt_id=item.prompt_id,
            own=[output.path for output in item.outputs],
            prompt_ids=item.previous_prompt_ids,
            must_be_own=rescued,
        )
        return [one.as_record() for one in placed]

    def _charge(self, item: Item, error: ErrorRecord) -> None:
        """An attempt is used up: due again, or failed with the last one."""
        if item.cancel_requested:
            self._bench.cancel(item)
        elif item.attempts + 1 >= self._bench.options.max_attempts:
            self._bench.fail(item, error)
        else:
            self._bench.put_back(item, charge=True, error=error)

    def _out_of_memory(self, item: Item, entry: HistoryEntry) -> None:
        """Free the server's memory and try once more; a second time fails the item."""
        failure = _failure(entry)
        if item.error is not None and item.error.kind == OUT_OF_MEMORY:
            advice = "out of memory twice, also after /free: use a smaller batch_size or picture size"
            message = f"{advice} ({failure.message})"
            self._bench.fail(item, ErrorRecord(kind=OUT_OF_MEMORY, message=message, node_id=failure.node_id))
            return
        self._bench.client.free()
        error = ErrorRecord(kind=OUT_OF_MEMORY, message=failure.message, node_id=failure.node_id)
        if item.cancel_requested:
            self._bench.cancel(item)
        else:
            self._bench.put_back(item, charge=True, error=error)


def _failure(entry: HistoryEntry) -> ErrorRecord:
    if entry.failure is None:
        return ErrorRecord(kind="execution_error", message="the server says it failed, and nothing more")
    return ErrorRecord(kind=entry.failure.kind, message=str(entry.failure), node_id=entry.failure.node_id)


def _record(error: ItemError | NotOnServer) -> ErrorRecord:
    if isinstance(error, NotOnServer):
        return ErrorRecord(kind="output_gone", message=str(error))
    return ErrorRecord(kind=error.kind, message=str(error), node_id=error.node_id)


def _seconds(entry: HistoryEntry) -> float | None:
    if entry.started_at is None or entry.finished_at is None:
        return None
    return max(0.0, (entry.finished_at - entry.started_at).total_seconds())
