"""Submitting: the intents of several items made durable in one line, then one POST each."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import templates
from orchestrator.comfyui.lookup import withdraw
from orchestrator.cycle.context import WorkerContext
from orchestrator.cycle.uploads import ReadyItem
from orchestrator.errors import (
    ItemError,
    OutputRefused,
    PromptRejected,
    ServerBusy,
    ServerUnreachable,
    StaleChange,
    TemplateRejected,
    UnexpectedAnswer,
)
from orchestrator.preparation import Prepared
from state.item import ErrorRecord, Item, Priority, Status
from state.store import Change

_PLACES: dict[Priority, float] = {"urgent": -1e12, "high": -5e11, "normal": 0.0, "low": 5e11}
"""Milliseconds that a priority is worth in the queue: sixteen years from one to the next."""
_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0


class _Refused(Exception):
    """429: this prompt was not queued, and the next will not be for `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@dataclass(frozen=True)
class _Intent:
    item: Item
    prepared: Prepared


def _as_prepared(item: Item) -> tuple[object, ...]:
    """What of a record decides on its prompt and its place in the queue."""
    return item.recipe, item.template, item.prompt_text, item.inputs, item.uploads, item.priority


class Submission:
    """Sends items. What it returns is on the server, or may be."""

    def __init__(self, context: WorkerContext, *, forget_uploads: Callable[[], None]) -> None:
        """`forget_uploads`: the server may not have any more what it was given."""
        self._context = context
        self._forget_uploads = forget_uploads
        self._missed: set[str] = set()
        """Items whose prompts were refused for their pictures, and are tried once more."""
        self._last_numbers: dict[Priority, float] = {}
        self._paused_until = 0.0

    def seconds_paused(self) -> float:
        """How much longer nothing is sent, because the server said that it takes no more."""
        return max(0.0, self._paused_until - self._context.clock.monotonic())

    def submit(self, items: Sequence[ReadyItem]) -> list[Item]:
        """Submit these pending items; those that are now submitted, `in_doubt` where no answer came.

        An item that cannot be prepared fails alone. Errors: TemplateError, TemplateRejected, TransientError, DiskFull;
        no item is left submitted then whose POST was never sent.
        """
        ready = [intent for item in items if (intent := self._prepared(item)) is not None]
        intents = self._intend(ready)
        submitted = []
        for position, intent in enumerate(intents):
            if self._context.halt.is_set():
                self._take_back(intents[position:])
                break
            try:
                sent = self._post(intent)
            except _Refused as refused:
                self._paused_until = self._context.clock.monotonic() + refused.seconds
                self._take_back(intents[position:])
                break
            except BaseException:
                self._take_back(intents[position + 1 :])
                raise
            if sent is not None:
                submitted.append(sent)
        return submitted

    def _prepared(self, equipped: ReadyItem) -> _Intent | None:
        item = equipped.item
        try:
            prepared = self._context.preparation.prepare(item, equipped.given)
            self._refuse_occupied(item, prepared)
        except ItemError as error:
            self._context.fail(item, ErrorRecord(kind=error.kind, message=str(error)), charge=False)
            return None
        return _Intent(item, prepared)

    def _refuse_occupied(self, item: Item, prepared: Prepared) -> None:
        """Before rendering: the names are inside the output directory, and nothing else is in the way."""
        outputs, extensions = self._context.placement.outputs_of(item), prepared.extensions[:1]
        own = [output.path for output in item.outputs]
        in_the_way = outputs.occupied(
            item.subfolder, item.name, extensions, own, prompt_ids=item.previous_prompt_ids, sidecar=item.sidecar
        )
        if in_the_way is not None:
            raise OutputRefused(f"{outputs.in_the_way(in_the_way)}; then `burst retry`")
        other = outputs.promised(item.key, item.subfolder, item.name, extensions, sidecar=item.sidecar)
        if other is not None:
            raise OutputRefused(
                f"{other} is saved under the same name; give one of the two another filename or subfolder, "
                "then `burst retry`"
            )

    def _intend(self, ready: Sequence[_Intent]) -> list[_Intent]:
        """Make all prompt_ids durable in one line; items that were changed meanwhile are left out, and still due."""
        for recipe in {id(intent.prepared.recipe): intent.prepared.recipe for intent in ready}.values():
            self._context.preparation.keep(recipe)
        at = self._context.clock.now()
        while ready:
            ids = {intent.item.key: str(uuid.uuid4()) for intent in ready}
            changes = [self._intent_change(intent, ids[intent.item.key], at) for intent in ready]
            try:
                items = self._context.store.apply(changes)
            except StaleChange as stale:
                ready = [intent for intent in ready if intent.item.key not in stale.keys]
                continue
            sent = zip(items, ready, strict=True)
            return [_Intent(item, intent.prepared) for item, intent in sent if item.status is Status.SUBMITTED]
        return []

    def _intent_change(self, intent: _Intent, prompt_id: str, at: datetime) -> Change:
        server, prepared = self._context.server.name, intent.prepared

        def edit(now: Item) -> Item:
            # Another lane may have made its batch smaller since the graph was filled, or a person changed its recipe.
            if _as_prepared(now) != _as_prepared(intent.item):
                return now
            return now.submit(
                prompt_id=prompt_id,
                server=server,
                at=at,
                fingerprint=prepared.fingerprint,
                recipe=prepared.recipe.recipe.id,
                prefix_scheme=templates.PREFIX_SCHEME,
            )

        return Change(intent.item.key, Status.PENDING, edit)

    def _post(self, intent: _Intent) -> Item | None:
        """One POST. The submitted item (in doubt where no answer came), or None when it is over for now."""
        context, item = self._context, intent.item
        assert item.prompt_id is not None
        try:
            answer = context.client.submit(
                templates.set_prefixes(intent.prepared.graph, item.prompt_id),
                prompt_id=item.prompt_id,
                number=self._number(item),
                extra_data={"burst": {"item": item.key, "prompt_id": item.prompt_id}},
            )
        except PromptRejected as error:
            self._rejected(intent, error)
            return None
        except ServerUnreachable as error:
            if error.may_have_arrived:
                context.note_unanswered(item, error)
                return item
            context.unsend([item])
            context.client.queue_remaining()
            return None
        except ServerBusy as error:
            if error.status != 429:
                context.note_unanswered(item, error)
                return item
            context.tally.note(f"{error}; nothing was lost, and sending goes on when it takes more")
            raise _Refused(min(error.retry_after_seconds or _PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)) from error
        except UnexpectedAnswer as error:
            return self._unexpected(item, error)
        context.accepted_posts += 1
        renamed = answer.prompt_id != item.prompt_id
        accepted = context.change(item, lambda now: now.accept(prompt_id=answer.prompt_id), sync=renamed)
        if accepted is not None and answer.node_errors:
            withdraw(context.client, [answer.prompt_id])
            self._rejected(_Intent(accepted, intent.prepared), context.client.left_out(answer))
            return None
        return accepted

    def _unexpected(self, item: Item, error: UnexpectedAnswer) -> Item | None:
        """A 200 that is no answer leaves the item in doubt; anything else was surely not queued.

        Errors: the same one, unless that says something of this item alone.
        """
        if error.status == 200:
            self._context.note_unanswered(item, error)
            return item
        if error.status == 413:
            self._context.fail(item, ErrorRecord(kind=PromptRejected.kind, message=str(error)))
            return None
        self._context.unsend([item])
        raise error

    def _rejected(self, intent: _Intent, error: PromptRejected) -> None:
        """The item's own fault fails it; the template's stops the burst with every item still due."""
        own_fault = bool(error.node_errors) and set(error.node_errors) <= intent.prepared.touched
        key = intent.item.key
        if own_fault and key not in self._missed and not intent.prepared.loading.isdisjoint(error.node_errors):
            # Its pictures may have been removed from the server since they were given to it.
            self._missed.add(key)
            self._forget_uploads()
            self._context.unsend([intent.item])
        elif own_fault:
            record = ErrorRecord(kind=error.kind, message=str(error), node_id=error.node_id)
            self._context.fail(intent.item, record)
        else:
            # Its prompt_id is forgotten: what was made of a part of the template must never be taken for the whole.
            self._context.unsend([intent.item])
            raise TemplateRejected(
                f"the server refuses the template: {error}. No item is to blame; mend the server, or mend the template "
                "(`burst template check --server` tells more) and give it to the items with `burst update`.",
                item_key=key,
            ) from error

    def _take_back(self, intents: Sequence[_Intent]) -> None:
        """Intents whose POST was never sent are simply pending again."""
        self._context.unsend(intent.item for intent in intents)

    def _number(self, item: Item) -> float:
        """The queue number, by which the server chooses what is next: by priority, then as they were sent.

        Milliseconds, so that prompts without a number of their own (a person's) go before all of ours.
        """
        now = float(int(self._context.clock.now().timestamp() * 1000)) + _PLACES[item.priority]
        last = self._last_numbers.get(item.priority, now - 1)
        self._last_numbers[item.priority] = number = max(last + 1, now)
        return number
