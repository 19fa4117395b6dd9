"""Submission: the intents of several items are made durable in one line, then each prompt is posted."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import chain

import msgspec

import templates
from orchestrator.comfyui.lookup import withdraw
from orchestrator.cycle.context import WorkerContext, log
from orchestrator.cycle.uploads import ReadyItem
from orchestrator.errors import (
    ItemError,
    KeyUsed,
    NotComfyUI,
    OutputRefused,
    OutputRootUnusable,
    PlaceTaken,
    PromptRejected,
    RecipeUnusable,
    ServerBusy,
    ServerUnreachable,
    StaleChange,
    TemplateError,
    TemplateRejected,
    TransientError,
    UnexpectedAnswer,
)
from orchestrator.literal_texts import looks_dynamic, names_lora
from orchestrator.preparation import Prepared
from state.change import Change
from state.item import ErrorRecord, Item, OutputRecord, Priority, Status

_PLACES: dict[Priority, float] = {"urgent": -1e12, "high": -5e11, "normal": 0.0, "low": 5e11}
"""What a priority adds to the queue number, in milliseconds: sixteen years from one to the next."""
_ACCEPTING = (200, 201)
"""The statuses of an accepted prompt."""
_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0


class _Refused(Exception):
    """429: this prompt was not queued, and no other will be for `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class _Intent(msgspec.Struct, frozen=True):
    item: Item
    prepared: Prepared
    before: Item
    """The item when it was prepared."""
    own: tuple[OutputRecord, ...]
    """Its earlier outputs, which the new ones may replace."""
    sources: Sequence[Item] = ()
    """What it is made from, as that was before its outputs were read."""


def _as_prepared(item: Item) -> tuple[object, ...]:
    """The fields of a record that its prompt and its place in the queue depend on."""
    return item.recipe, item.template, item.own_text, item.inputs, item.upload_sources, item.priority


class Submission:
    """Submits items."""

    def __init__(
        self,
        context: WorkerContext,
        *,
        forget_uploads: Callable[[], None],
        refused: Callable[[Item, TemplateRejected], None],
        sent: Callable[[Item], None],
        attend: Callable[[], None],
    ) -> None:
        """`forget_uploads`: called when the server may no longer have what was uploaded to it. `refused`: called with
        an item whose workflow the server rejects. `sent`: called at once with each item that is on the server, or may
        be (`in_doubt`). `attend`: called after each POST, because a cancellation does not wait for all the others."""
        self._context = context
        self._refused = refused
        self._sent = sent
        self._attend = attend
        self._forget_uploads = forget_uploads
        self._missed: set[str] = set()
        """Keys of items whose prompts were rejected for their images, and are tried once more."""
        self._last_numbers: dict[Priority, float] = {}
        self._paused_until = 0.0

    def seconds_paused(self) -> float:
        """How much longer nothing is sent, because the server accepts no more for now."""
        return max(0.0, self._paused_until - self._context.clock.monotonic())

    def submit(self, items: Sequence[ReadyItem]) -> None:
        """Submit these pending items, except those that are cancelled meanwhile.

        An item that cannot be prepared fails alone; one whose recipe cannot be used stays pending. Errors:
        TransientError, DiskFull; no item whose POST was never sent is left submitted then.
        """
        ready = [intent for item in items if (intent := self._prepared(item)) is not None]
        intents = self._intend(ready)
        while intents:
            if self._context.halt.is_set() or not self._context.may_send:
                self._take_back(intents)
                break
            intent = intents.pop(0)
            if self._is_cancelled(intent):
                continue
            try:
                sent = self._post(intent)
            except _Refused as refused:
                self._paused_until = self._context.clock.monotonic() + refused.seconds
                self._take_back([intent, *intents])
                break
            except TemplateRejected as error:
                self._take_back([other for other in intents if other.item.recipe == intent.item.recipe])
                intents = [other for other in intents if other.item.recipe != intent.item.recipe]
                self._refused(intent.before, error)
                continue
            except BaseException:
                self._take_back(intents)
                raise
            if sent is not None:
                self._sent(sent)
                self._attend()

    def _is_cancelled(self, intent: _Intent) -> bool:
        """It was cancelled since its intent was written: never sent."""
        for now in self._context.store.get_many([intent.item.key]):
            if now.cancel_requested and now.prompt_id == intent.item.prompt_id:
                self._take_back([intent])
                return True
        return False

    def _prepared(self, equipped: ReadyItem) -> _Intent | None:
        item = equipped.item
        try:
            prepared = self._context.preparation.prepare(item, equipped.given)
            own = self._context.placement.own_outputs(item)
            self._context.placement.refuse_occupied(item, extensions=prepared.extensions[:1], own=own)
        except ItemError as error:
            self._context.transitions.fail(item, ErrorRecord(kind=error.kind, message=str(error)), charge=False)
            return None
        except (OutputRootUnusable, RecipeUnusable, TemplateError) as error:
            self._context.set_recipe_aside(item, error)
            return None
        if item.batch is None:
            self._note_literal(item.key, prepared.text)
        return _Intent(item, prepared, item, own, equipped.sources)

    def _note_literal(self, key: str, text: str) -> None:
        if looks_dynamic(text):
            self._context.tally.literal_texts.add(key)
        if names_lora(text):
            self._context.tally.lora_texts.add(key)

    def _intend(self, ready: Sequence[_Intent]) -> list[_Intent]:
        """Make all prompt_ids durable in one line. Items that were changed meanwhile are left out and still due."""
        for recipe in {id(intent.prepared.recipe): intent.prepared.recipe for intent in ready}.values():
            self._context.preparation.keep(recipe)
        at = self._context.lease.now()
        while ready:
            ids = {intent.item.key: _id_for(intent.item) for intent in ready}
            changes = [self._intent_change(intent, ids[intent.item.key], at) for intent in ready]
            try:
                items = self._context.lease.apply(changes)
            except StaleChange as stale:
                ready = [intent for intent in ready if intent.item.key not in stale.keys]
                continue
            except PlaceTaken as taken:
                # By a run that works on this state at the same time.
                for intent in ready:
                    if (other := taken.others.get(intent.item.key)) is not None:
                        self._without_place(intent.item, other)
                ready = [intent for intent in ready if intent.item.key not in taken.others]
                continue
            # What follows them is no intent.
            sent = zip(items, ready, strict=False)
            return [
                msgspec.structs.replace(intent, item=item) for item, intent in sent if item.status is Status.SUBMITTED
            ]
        return []

    def _without_place(self, item: Item, other: str) -> None:
        message = f"{PlaceTaken.said_of(other)}, then `burst retry`"
        self._context.transitions.fail(item, ErrorRecord(kind=OutputRefused.kind, message=message), charge=False)

    def _intent_change(self, intent: _Intent, prompt_id: str, at: datetime) -> Change:
        server, prepared = self._context.server.name, intent.prepared

        def edit(now: Item) -> Item:
            # Another worker may have reduced its batch size since, or a person may have changed its recipe.
            if _as_prepared(now) != _as_prepared(intent.item) or not self._has_same_sources(now, intent):
                return now
            if now.prompt_id == prompt_id:
                return now.mark_in_doubt()
            # From now on its recipe says where its outputs are.
            here = tuple(output for output in now.outputs if output in intent.own)
            return msgspec.structs.replace(now, outputs=here).submit(
                prompt_id=prompt_id,
                server=server,
                at=at,
                fingerprint=prepared.fingerprint,
                recipe=prepared.recipe.recipe.id,
                prefix_scheme=prepared.recipe.prefix_scheme,
            )

        return Change(intent.item.key, Status.PENDING, edit)

    def _has_same_sources(self, now: Item, intent: _Intent) -> bool:
        """What it is made from is complete, and was not made again since."""
        sources = self._context.store.get_many(now.sources) if now.uploads else []
        return all(source.status is Status.COMPLETED for source in sources) and (
            [(source.key, source.outputs) for source in sources]
            == [(source.key, source.outputs) for source in intent.sources]
        )

    def _post(self, intent: _Intent) -> Item | None:
        """One POST. The submitted item (in doubt where no answer came), or None when it was not submitted."""
        context, item = self._context, intent.item
        assert item.prompt_id is not None
        try:
            context.lease.guard_post(item.key)
        except StaleChange:
            return None
        if not context.spending.take():
            raise _Refused(0.0)
        try:
            answer = context.client.submit(
                templates.set_prefixes(intent.prepared.graph, item.prompt_id, saves=intent.prepared.saves),
                prompt_id=item.prompt_id,
                number=self._number(item),
                extra_data={"burst": {"item": item.key, "prompt_id": item.prompt_id}},
            )
        except (PromptRejected, TransientError) as error:
            if _made_no_prompt(error):
                context.spending.give_back()
            return self._unaccepted(intent, error)
        context.accepted_posts += 1
        log.info("%s: submitted to %s as %s", item.key, context.server.name, answer.prompt_id)
        accepted = self._accepted(item, answer.prompt_id)
        if accepted is not None and answer.node_errors:
            withdraw(context.client, [answer.prompt_id])
            self._rejected(msgspec.structs.replace(intent, item=accepted), context.client.left_out(answer))
            return None
        return accepted

    def _accepted(self, item: Item, prompt_id: str) -> Item | None:
        """Note that the server has it. A prompt that arrived when its item had been given to another run is withdrawn.

        Errors: LockHeld where the lease ended while the request was on its way.
        """
        accepted = None
        try:
            renamed = prompt_id != item.prompt_id
            accepted = self._context.transitions.change(
                item, lambda now: now.accept_as(prompt_id=prompt_id), sync=renamed
            )
        finally:
            if accepted is None:
                self._withdraw_late(item, prompt_id)
        return accepted

    def _withdraw_late(self, item: Item, prompt_id: str) -> None:
        """Unless the run that has the item now has found this prompt on the server."""
        now = next(iter(self._context.store.get_many([item.key])), None)
        if now is None or now.prompt_id not in (item.prompt_id, prompt_id):
            log.info("%s: sent as %s too late, and withdrawn", item.key, prompt_id)
            with contextlib.suppress(TransientError):
                withdraw(self._context.client, [prompt_id])

    def _unaccepted(self, intent: _Intent, error: PromptRejected | TransientError) -> Item | None:
        """The item in doubt, or None when its prompt was certainly not queued. Errors: what is about more than it."""
        context, item = self._context, intent.item
        match error:
            case PromptRejected():
                self._rejected(intent, error)
                return None
            case ServerUnreachable(may_have_arrived=False):
                self._take_back([intent])
                context.client.queue_remaining()
                return None
            case ServerBusy(status=429):
                context.tally.note(f"{error}; nothing is lost; sending goes on when it accepts more")
                raise _Refused(min(error.retry_after_seconds or _PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)) from error
            case UnexpectedAnswer():
                return self._unexpected(intent, error)
            case NotComfyUI():
                raise error
            case KeyUsed():
                context.used_keys.add(str(item.prompt_id))
        context.note_unanswered(item, error)
        return item

    def _unexpected(self, intent: _Intent, error: UnexpectedAnswer) -> Item | None:
        """A 200 of unknown form leaves the item in doubt; with any other status the prompt was certainly not queued.

        Errors: the error itself, unless it is about this item alone.
        """
        item = intent.item
        if error.status in _ACCEPTING:
            self._context.note_unanswered(item, error)
            return item
        if error.status == 413:
            self._context.transitions.fail(item, ErrorRecord(kind=PromptRejected.kind, message=str(error)))
            return None
        self._take_back([intent])
        raise error

    def _rejected(self, intent: _Intent, error: PromptRejected) -> None:
        """A rejection for the item's own values fails it.

        Errors: TemplateRejected where the rejection is about its recipe; the item is due again.
        """
        own_fault = bool(error.node_errors) and set(error.node_errors) <= intent.prepared.touched
        key = intent.item.key
        if own_fault and key not in self._missed and not intent.prepared.loading.isdisjoint(error.node_errors):
            # Its images may have been removed from the server since they were uploaded.
            self._missed.add(key)
            self._forget_uploads()
            self._take_back([intent])
        elif own_fault and not self._is_shared(intent, error):
            record = ErrorRecord(kind=error.kind, message=str(error), node_id=error.node_id)
            self._context.transitions.fail(intent.item, record)
        else:
            # Its prompt_id is forgotten: outputs of a part of the workflow must never be taken for all of it.
            self._take_back([intent])
            raise TemplateRejected(
                f"the server refuses the workflow: {error}. No item is to blame. Fix the server or the workflow "
                "(details: `burst template check --server`), or give the items another one with `burst update`"
            ) from error

    def _is_shared(self, intent: _Intent, error: PromptRejected) -> bool:
        """Whether all other items of its recipe have the rejected values too, so that no single item is to blame."""
        refused = error.refused_inputs()
        values = {
            name: value
            for name, value in intent.item.inputs.items()
            if any(_is_among(target, refused) for target in _targets(intent.prepared, name))
        }
        others = (
            item
            for item in self._context.store.items()
            if item.recipe == intent.item.recipe and item.key != intent.item.key
        )
        first = next(others, None)
        if not values or first is None:
            return False
        return all(
            all(item.inputs.get(name) == value for name, value in values.items()) for item in chain([first], others)
        )

    def _take_back(self, intents: Sequence[_Intent]) -> None:
        """Make items pending again whose POST was never sent."""
        again = (intent.before.prompt_id for intent in intents if intent.before.may_be_on_a_server)
        self._context.to_send_again.update(key for key in again if key is not None)
        self._context.transitions.unsend([intent.before for intent in intents])

    def _number(self, item: Item) -> float:
        """The queue number, by which the server chooses the next prompt: by priority, then in the order of submission.

        Milliseconds, so that prompts without a number (other people's) go before ours.
        """
        now = float(int(self._context.clock.now().timestamp() * 1000)) + _PLACES[item.priority]
        last = self._last_numbers.get(item.priority, now - 1)
        self._last_numbers[item.priority] = number = max(last + 1, now)
        return number


def _id_for(item: Item) -> str:
    """What is sent again keeps its id, which is the key of its request."""
    return item.prompt_id if item.prompt_id is not None and item.may_be_on_a_server else str(uuid.uuid4())


def _made_no_prompt(error: PromptRejected | TransientError) -> bool:
    """Whether the request with this outcome certainly queued nothing."""
    match error:
        case ServerUnreachable(may_have_arrived=arrived):
            return not arrived
        case ServerBusy(status=status):
            return status == 429
        case UnexpectedAnswer(status=status):
            return status not in _ACCEPTING
    return True


def _is_among(target: templates.Target, refused: set[tuple[str, str | None]]) -> bool:
    return (target.node_id, target.input_name) in refused or (target.node_id, None) in refused


def _targets(prepared: Prepared, name: str) -> Iterator[templates.Target]:
    """The inputs of the graph that a value of this name was put into; LoRAs may have nodes of their own."""
    recipe = prepared.recipe
    if name in recipe.bindings:
        yield from recipe.bindings[name]
    elif name in ("lora", "lora_strength"):
        for node_id in prepared.graph.keys() - recipe.graph.keys():
            yield from (templates.Target(node_id, input_name) for input_name in prepared.graph[node_id]["inputs"])
    else:
        yield templates.Target(*templates.resolve(prepared.graph, name))
