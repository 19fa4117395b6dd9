"""From what the server reports of a prompt to the item's next checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from orchestrator.comfyui import HistoryEntry, OutputFile, OutputText
from orchestrator.cycle.breaker import OUT_OF_MEMORY, Breaker, kind_of
from orchestrator.cycle.context import WorkerContext
from orchestrator.cycle.rendered_models import RenderedModels, models_in
from orchestrator.cycle.undecided import Undecided
from orchestrator.errors import (
    BurstError,
    ItemError,
    NoOutputs,
    NotOnServer,
    OutputDamaged,
    OutputRefused,
    OutputRootUnusable,
    RecipeUnusable,
    TemplateError,
    TransientError,
)
from orchestrator.outputs import Fetched, Placed, Sidecar
from orchestrator.outputs.choice import all_gave_nothing, chosen, that_gave_nothing
from orchestrator.recipes import LoadedRecipe
from orchestrator.wording import named
from state.item import ErrorRecord, Item, OutputRecord


class FinishedPrompt(msgspec.Struct, frozen=True):
    """The outputs of a finished prompt, as the server lists them."""

    item: Item
    files: Sequence[OutputFile]
    texts: Sequence[OutputText] = ()
    seconds: float | None = None
    """Its execution time on the server."""
    graph: Mapping[str, Any] | None = None
    """The graph that was rendered."""
    models: frozenset[str] = frozenset()
    """The models that it loads, as `FOLDER/NAME`."""
    rescued: bool = False
    """Found by the names of its files alone."""


class Settlement:
    """Ends items, or makes them due again. Every method except `finished` and `fetch` checkpoints before it returns."""

    def __init__(
        self, context: WorkerContext, undecided: Undecided, breaker: Breaker, *, withdraw: Callable[[], None]
    ) -> None:
        """`withdraw` takes back what waits in the server's queue."""
        self._context = context
        self._undecided = undecided
        self._breaker = breaker
        self._withdraw = withdraw
        self._models = RenderedModels(context)
        self._givers: set[tuple[str | None, frozenset[str]]] = set()
        """By recipe: which nodes' outputs were listed so far."""
        self._ended = 0
        """Prompts since the server was last asked to unload its models."""

    def finished(self, item: Item, entry: HistoryEntry) -> FinishedPrompt | None:
        """Its prompt is in the history: what to fetch, or None where there is nothing and the item is settled.

        Errors: TransientError when the server does not answer, DiskFull; the item is unchanged then.
        """
        self._free_now_and_then()
        if entry.succeeded:
            self._breaker.succeeded(item)
            seconds = _seconds(entry)
            if seconds is not None:
                self._context.pace.note(seconds, recipe=item.recipe)
            self._note_idle(item, entry)
            models = models_in(entry.graph)
            return FinishedPrompt(item, entry.files, entry.texts, seconds, entry.graph, models)
        if entry.interrupted:
            message = "interrupted on the server by somebody else"
            self._context.transitions.charge(item, ErrorRecord(kind="interrupted", message=message))
        elif entry.out_of_memory and not self._context.client.terms.is_paid:
            self._out_of_memory(item, entry)
        else:
            self._failed(item, entry)
        return None

    def _free_now_and_then(self) -> None:
        """One more prompt has ended. What renders goes on: a server unloads its models between two prompts."""
        every = self._context.options.free_every
        self._ended += 1
        if every is not None and self._ended >= every:
            self._context.client.free()
            self._ended = 0

    def fetch(self, finished: FinishedPrompt) -> Fetched:
        """Download the outputs. Changes no item; any thread may call it.

        Errors: ItemError, TransientError, OutputRootUnusable, DiskFull.
        """
        item = finished.item
        files, texts = self._chosen(finished)
        if not files and not texts:
            raise self._without_outputs(finished)
        assert item.prompt_id is not None
        self._models.look(finished.models)
        outputs, sidecar = self._context.placement.outputs_of(item), self._sidecar(finished)
        with self._context.placement.writing(outputs):
            return outputs.fetch(
                self._context.client,
                files,
                texts,
                subfolder=item.subfolder,
                filename=item.name,
                prompt_id=item.prompt_id,
                own=[output.path for output in self._context.placement.own_outputs(item)],
                prompt_ids=item.previous_prompt_ids,
                must_be_own=finished.rescued,
                sidecar=sidecar,
            )

    def place(self, found: Sequence[tuple[FinishedPrompt, Fetched]]) -> int:
        """Move fetched outputs to their places and complete their items in one checkpoint; how many are completed.

        Those whose output root cannot be used are left submitted for a later run. Errors: DiskFull, StateError.
        """
        self._undecided.read("files")
        outcomes = self._context.placement.place([(finished.item, fetched) for finished, fetched in found])
        edits = {}
        at = self._context.lease.now()
        for (finished, _), outcome in zip(found, outcomes, strict=True):
            match outcome:
                case OutputRefused():
                    self._context.transitions.fail(finished.item, _record(outcome), charge=False)
                case OutputRootUnusable():
                    self._context.set_recipe_aside(finished.item, outcome)
                case _:
                    edits[finished.item.key] = _completion(
                        outcome, at, finished.seconds, self._models.of(finished.models)
                    )
        items = [finished.item for finished, _ in found if finished.item.key in edits]
        return len(self._context.transitions.complete(edits, items))

    def rescue(self, finished: FinishedPrompt) -> bool:
        """Collect files that are known by their names alone; whether the item is completed.

        Errors: NotOnServer, ItemError, TransientError, OutputRootUnusable; nothing was placed then.
        """
        return self.place([(finished, self.fetch(finished))]) > 0

    def not_fetched(self, item: Item, error: BurstError) -> None:
        """Its outputs could not be downloaded. Errors: the error itself, where it is not about this item."""
        match error:
            case OutputRefused():
                self._context.transitions.fail(item, _record(error), charge=False)
            case NoOutputs():
                self._context.transitions.fail(item, _record(error))
            case OutputDamaged() if self._context.client.terms.is_paid:
                # Rendered again it is paid for again; fetched again it costs nothing.
                self._undecided.add(item, error, "files")
            case ItemError() | NotOnServer():
                self._context.transitions.charge(item, _record(error))
            case TransientError():
                self._undecided.add(item, error, "files")
            case OutputRootUnusable():
                self._context.set_recipe_aside(item, error)
            case _:
                raise error

    def _chosen(self, finished: FinishedPrompt) -> tuple[Sequence[OutputFile], Sequence[OutputText]]:
        """Its outputs, in the order of its template. Errors: RecipeUnusable, NoOutputs where previews are all."""
        try:
            recipe = self._context.preparation.recipe_of(finished.item)
        except TemplateError:  # a record without a recipe, and the default workflow is gone: everything that there is
            return chosen({}, finished.files, finished.texts)
        nodes, graph = recipe.recipe.output_nodes, recipe.saving(recipe.graph)
        files, texts = chosen(graph, finished.files, finished.texts, nodes=nodes)
        if not nodes and (files or texts) and all_gave_nothing(graph, files, texts):
            raise self._without_images(recipe, that_gave_nothing(graph, files, texts))
        return files, texts

    def _without_images(self, recipe: LoadedRecipe, idle: Sequence[str]) -> NoOutputs:
        return NoOutputs(
            f"the prompt succeeded, but {self._context.client.url} lists no file of the save node in {recipe.name}: "
            f"{_listed(recipe, idle)}; such a node may save elsewhere: put a SaveImage in its place, "
            f"or `burst retry`, then `burst update` with {named('outputs', 'NODE')} for what is wanted",
            node_id=idle[0],
        )

    def _note_idle(self, item: Item, entry: HistoryEntry) -> None:
        """Some nodes that save listed nothing, others did: that is mentioned, since a file may be lost."""
        nodes = {file.node_id for file in entry.files} | {text.node_id for text in entry.texts}
        gave = item.recipe, frozenset(nodes)
        if gave in self._givers or not nodes:
            return
        self._givers.add(gave)
        try:
            recipe = self._context.preparation.recipe_of(item)
        except (RecipeUnusable, TemplateError):
            return
        graph = recipe.saving(recipe.graph)
        if recipe.recipe.output_nodes or all_gave_nothing(graph, entry.files, entry.texts):
            return
        if idle := that_gave_nothing(graph, entry.files, entry.texts):
            self._context.tally.note(
                f"{self._context.client.url} lists no file of {_listed(recipe, idle)} in {recipe.name}: what it saved, "
                f"if anything, is there alone; {named('outputs', 'NODE')} chooses the nodes whose files are wanted"
            )

    def _without_outputs(self, finished: FinishedPrompt) -> NoOutputs:
        name = self._context.preparation.name_of(finished.item)
        if finished.files or finished.texts:
            nodes = {file.node_id for file in finished.files} | {text.node_id for text in finished.texts}
            there = ", ".join(sorted(nodes))
            return NoOutputs(
                f"the prompt succeeded, but the chosen nodes produced nothing ({name}; others did: {there}); "
                f"`burst retry`, then `burst update` with {named('outputs', 'NODE')}, saved or all"
            )
        return NoOutputs(
            f"the prompt succeeded, but {self._context.client.url} lists no output of it: the workflow "
            f"({name}) saves nothing, or where only the server can see it; end it with a save node such as SaveImage, "
            "then `burst retry` and `burst update --template FILE`"
        )

    def _sidecar(self, finished: FinishedPrompt) -> Sidecar | None:
        """Errors: ItemError and TemplateError where the server does not report the graph it rendered."""
        if finished.item.sidecar is None:
            return None
        from orchestrator.batches.sidecars import sidecar_of

        return sidecar_of(finished.item, self._context.preparation, graph=finished.graph, seconds=finished.seconds)

    def _failed(self, item: Item, entry: HistoryEntry) -> None:
        if self._context.client.terms.is_paid:
            self._context.transitions.charge(item, _failure(entry))
            return
        kind = kind_of(entry)
        if self._breaker.spares(item, kind):
            self._context.transitions.put_back(item)
            return
        self._context.transitions.charge(item, _failure(entry))
        self._breaker.failed(item, kind)

    def _rendered_batch_size(self, item: Item, entry: HistoryEntry) -> int:
        """How many images the prompt was to make: the item itself may have been edited while it was out."""
        try:
            targets = self._context.preparation.recipe_of(item).bindings.get("batch_size", ())
        except (TemplateError, RecipeUnusable):
            targets = ()
        sizes = [entry.graph.get(target.node_id, {}).get("inputs", {}).get(target.input_name) for target in targets]
        return max((size for size in sizes if type(size) is int), default=item.automatic_batch_size or 1)

    def _out_of_memory(self, item: Item, entry: HistoryEntry) -> None:
        """Free the server's memory and try again, with half the batch size where `auto` chose one above 1.

        Any other item is tried once more; the second time it fails. What waits in the queue is withdrawn first: it
        would run out of memory too.
        """
        batch_size = self._rendered_batch_size(item, entry) if item.automatic_batch_size is not None else 1
        if batch_size > 1:
            self._withdraw()
            self._context.client.free()
            self._context.transitions.shrink(item, was=batch_size, batch_size=batch_size // 2)
            return
        failure = _failure(entry)
        again = item.error is not None and item.error.kind == OUT_OF_MEMORY
        when = "out of memory twice, also after /free" if again else "out of memory"
        message = f"{when}: use a smaller batch_size or image size ({failure.message})"
        record = ErrorRecord(kind=OUT_OF_MEMORY, message=message, node_id=failure.node_id)
        if self._breaker.spares(item, OUT_OF_MEMORY):
            self._context.transitions.put_back(item)
            return
        self._withdraw()
        if again:
            self._context.transitions.fail(item, record)
        else:
            self._context.client.free()
            self._context.transitions.charge(item, record)
        self._breaker.failed(item, OUT_OF_MEMORY)


def _completion(
    placed: Sequence[Placed], at: datetime, seconds: float | None, models: Mapping[str, str]
) -> Callable[[Item], Item]:
    outputs: tuple[OutputRecord, ...] = tuple(one.as_record() for one in placed)
    return lambda now: now.complete(outputs=outputs, at=at, seconds=seconds, models=models)


def _listed(recipe: LoadedRecipe, node_ids: Sequence[str]) -> str:
    return ", ".join(f"{node_id} ({recipe.graph[node_id]['class_type']})" for node_id in node_ids)


def _failure(entry: HistoryEntry) -> ErrorRecord:
    if entry.failure is None:
        return ErrorRecord(kind="execution_error", message="the server reports a failure without a reason")
    return ErrorRecord(kind=entry.failure.kind, message=str(entry.failure), node_id=entry.failure.node_id)


def _record(error: ItemError | NotOnServer) -> ErrorRecord:
    if isinstance(error, NotOnServer):
        return ErrorRecord(kind="output_gone", message=str(error))
    return ErrorRecord(kind=error.kind, message=str(error), node_id=error.node_id)


def _seconds(entry: HistoryEntry) -> float | None:
    if entry.started_at is None or entry.finished_at is None:
        return None
    return max(0.0, (entry.finished_at - entry.started_at).total_seconds())
