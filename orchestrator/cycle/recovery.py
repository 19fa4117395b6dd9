"""Items whose prompt the server does not list: looked up, waited for, and returned to the normal path.

Nothing is submitted here: an item ends up watched, collected, or pending again.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Sequence

from orchestrator.comfyui import OutputFile, Queue, QueuedPrompt
from orchestrator.comfyui.lookup import Absent, Fate, Finished, Queued, delete_waiting, is_running, look_up
from orchestrator.cycle.context import WorkerContext
from orchestrator.cycle.files_by_name import FilesByName, FoundByName
from orchestrator.cycle.settlement import FinishedPrompt, Settlement
from orchestrator.cycle.undecided import Undecided
from orchestrator.errors import (
    ItemError,
    NotOnServer,
    OutputRootUnusable,
    RecipeUnusable,
    ServerStalled,
    TransientError,
)
from orchestrator.outputs import Outputs
from state.item import ErrorRecord, Item

_FORGOTTEN_LIMIT = 3
_OLD_IDS = 3
"""How many of an item's previous prompt_ids, the latest, are looked up."""


class Recovery:
    """Decides what becomes of items whose prompts were submitted and are not found."""

    def __init__(self, context: WorkerContext, settlement: Settlement, undecided: Undecided) -> None:
        self._context = context
        self._settlement = settlement
        self._undecided = undecided
        self._by_name = FilesByName(context)
        self._forgotten: dict[str, int] = {}

    def seconds_in_doubt(self, item: Item) -> float:
        """How much longer this intent's POST may be in transit; at most the limit, even if the clock was set."""
        limit = self._context.options.in_doubt_seconds
        if item.submitted_at is None:
            return 0.0
        age = (self._context.lease.now() - item.submitted_at).total_seconds()
        return min(max(limit - age, 0.0), limit)

    def resolve_doubt(self, item: Item) -> Fate:
        """Look it up after the time in doubt; where it is absent, delete it from the queue and look it up again.

        Not where the server chooses its prompts' ids: nothing has this one.
        """
        assert item.prompt_id is not None
        client, ids = self._context.client, [item.prompt_id]
        fate = look_up(client, ids)[item.prompt_id]
        if isinstance(fate, Absent) and client.terms.takes_prompt_id:
            client.delete_from_queue(ids)
            fate = look_up(client, ids)[item.prompt_id]
        return fate

    def gone(self, item: Item) -> None:
        """The server does not know its prompt: collect its files by name, or make it due again, uncharged."""
        if item.cancel_requested:
            self._context.transitions.cancel(item)
            return
        terms = self._context.client.terms
        if item.in_doubt and not terms.takes_prompt_id:
            self._untraced(item)
            return
        found = self._found_by_name(item) if terms.has_files_by_name else FoundByName()
        if found is None or (found.files and self._rescue(item, found.files)):
            return
        if terms.is_paid and not item.in_doubt:
            self._paid_for_nothing(item)
            return
        tally = self._context.tally
        before = tally.put_back
        self._render_again(item)
        if found.doubt is not None and tally.put_back > before:
            tally.possibly_twice += 1
            tally.note(
                f"{self._context.client.url} has forgotten prompts that it may have rendered, and their files could "
                f"not be identified by name: {found.doubt}; they are rendered again"
            )

    def _render_again(self, item: Item) -> None:
        """Make it due again, uncharged."""
        if self._is_lost_by_advice(item):
            self._context.transitions.put_back(item)
            self._context.transitions.move_behind([item.key])
            return
        if item.seen_running:
            self._context.transitions.crashed(item)
            self._forgotten.clear()
            return
        self._forgotten[item.key] = self._forgotten.get(item.key, 0) + 1
        if self._forgotten[item.key] > _FORGOTTEN_LIMIT:
            self._refuse_endless(item)
        else:
            self._context.transitions.put_back(item)

    def _untraced(self, item: Item) -> None:
        """The server tells of no prompt for this intent: it is sent again under its key, which makes no second one.

        A person decides where the server has had that key, or forgets keys by now. Errors: ServerStalled.
        """
        context, terms = self._context, self._context.client.terms
        assert item.prompt_id is not None
        sent_at = item.submitted_at or context.lease.now()
        is_old = (context.lease.now() - sent_at).total_seconds() >= terms.key_seconds
        if item.prompt_id in context.used_keys or is_old:
            had = "forgets the keys of requests" if is_old else "has had its request"
            message = (
                f"no answer came when it was sent to {context.server.shown}, which {had} and does not say what became "
                f"of it; it may be rendered there{', and paid for' if terms.is_paid else ''}. Look at its list of "
                f"jobs; `burst retry {shlex.quote(item.key)}` sends it again"
            )
            context.transitions.fail(item, ErrorRecord(kind="in_doubt", message=message), charge=False)
            return
        context.to_send_again.add(item.prompt_id)
        self._forgotten[item.key] = self._forgotten.get(item.key, 0) + 1
        if self._forgotten[item.key] > _FORGOTTEN_LIMIT:
            self._refuse_endless(item)
        else:
            context.transitions.send_again(item)

    def _paid_for_nothing(self, item: Item) -> None:
        """Rendering it once more is paid once more: a person decides."""
        message = (
            f"{self._context.server.shown} accepted it and no longer knows it; what it rendered may have been "
            f"paid for. `burst retry {shlex.quote(item.key)}` renders it once more"
        )
        self._context.transitions.fail(item, ErrorRecord(kind="gone", message=message))

    def _is_lost_by_advice(self, item: Item) -> bool:
        """Whether its server was restarted because burst advised or ordered that after the item was sent."""
        health = self._context.store.facts.read().health.get(self._context.server.name)
        if health is None or health.restart_at is None or item.submitted_at is None:
            return False
        return item.submitted_at <= health.restart_at

    def note_running(self, item: Item) -> Item:
        """Note in its record that it runs, in case the server goes down because of it."""
        if item.seen_running:
            return item
        return self._context.transitions.change(item, lambda now: now.note_running(), sync=False) or item

    def watch_suspect(self, item: Item) -> Item:
        """Note whether an item runs whose prompt was lost before: it may be what brings the server down."""
        assert item.prompt_id is not None
        is_suspect = bool(item.previous_prompt_ids) and not item.seen_running
        return self.note_running(item) if is_suspect and is_running(self._context.client, item.prompt_id) else item

    def take_over(self, left: Sequence[Item]) -> None:
        """Begin with items that earlier bursts left submitted here: remove half downloads."""
        self._delete_strays(self._context.client.queue())
        remove_leftovers(self._context, left)

    def withdraw(self, items: Sequence[Item]) -> list[Item]:
        """Take back those that wait in the server's queue, uncharged; returns them. What runs is left to its end."""
        sent = {item.prompt_id: item for item in items if item.prompt_id is not None and not item.in_doubt}
        fates = delete_waiting(self._context.client, sent)
        back = [sent[prompt_id] for prompt_id, fate in fates.items() if isinstance(fate, Absent)]
        self._context.transitions.withdraw(back)
        return back

    def _delete_strays(self, queue: Queue) -> None:
        """Delete queued prompts of ours that were given up and arrived late: nobody would collect them."""
        strays = [prompt.prompt_id for prompt in queue.pending if self._was_given_up(prompt)]
        if strays:
            self._context.client.delete_from_queue(strays)

    def _was_given_up(self, prompt: QueuedPrompt) -> bool:
        """Judged by the id alone, because another state's items may have the same keys."""
        ours = prompt.extra_data.get("burst")
        key = ours.get("item") if isinstance(ours, dict) else None
        if not isinstance(key, str):
            return False
        return any(prompt.prompt_id in item.previous_prompt_ids for item in self._context.store.get_many([key]))

    def found_late(self, item: Item) -> tuple[Item, Finished] | None:
        """A prompt of this item that was given up and finished after all: the item with that prompt's id."""
        old = _may_come_late(item)
        for prompt_id, fate in look_up(self._context.client, old).items() if old else ():
            match fate:
                case Queued(running=False):
                    self._context.client.delete_from_queue([prompt_id])
                case Finished(entry) if entry.succeeded:
                    return self._late(item, fate)
        return None

    def count_late_twins(self, item: Item) -> None:
        """After an item was collected: delete an older prompt of it that is still queued, count one that ran."""
        old = _may_come_late(item)
        for fate in look_up(self._context.client, old).values() if old else ():
            match fate:
                case Queued(prompt_id=prompt_id, running=False):
                    self._context.client.delete_from_queue([prompt_id])
                case Queued():
                    self._rendered_twice(item)
                case Finished(entry) if entry.succeeded:
                    self._rendered_twice(item)

    def _late(self, item: Item, found: Finished) -> tuple[Item, Finished] | None:
        """An older prompt finished first: use its outputs, and delete the newer prompt if it is still queued."""
        context = self._context
        newer = item.prompt_id
        adopted = context.transitions.change(item, lambda now: now.accept(prompt_id=found.entry.prompt_id))
        if adopted is None:
            return None
        if newer is not None:
            context.client.delete_from_queue([newer])
            if not isinstance(look_up(context.client, [newer])[newer], Absent):
                self._rendered_twice(item)
        return adopted, found

    def _rendered_twice(self, item: Item) -> None:
        self._context.tally.rendered_twice += 1
        self._context.tally.note(
            f"{item.key}: rendered twice; a POST arrived more than {self._context.options.in_doubt_seconds:g} s late"
        )

    # Items on a loopback server of another host

    def claim(self, item: Item) -> Item | None:
        """It is on this server after all: note that in its record. None where another process changed it first."""
        name = self._context.server.name
        ours = self._context.transitions.change(item, lambda now: now.move(server=name))
        self._context.tally.recovered += ours is not None
        return ours

    def rescue_stray(self, item: Item) -> bool:
        """Collect it where its files are here under its own names: this server rendered it. Nothing is charged.

        False where they are certainly not; an unclear answer leaves the item to a later burst.
        """
        ours = item.move(server=self._context.server.name)
        try:
            files = self._by_name.find(ours).files
            if not files:
                return False
            finished = FinishedPrompt(ours, files, rescued=True)
            fetched = self._settlement.fetch(finished)
        except (NotOnServer, ItemError):
            return False
        except TransientError as error:
            self._context.tally.note(f"{item.key} is left for a later burst: {error}")
            return True
        except OutputRootUnusable as error:
            self._context.set_recipe_aside(item, error)
            return True
        if self.claim(item) is not None and self._settlement.place([(finished, fetched)]):
            self._note_rescue()
        return True

    def abandon(self, item: Item) -> bool:
        """Give up a prompt that is out of reach: due again, or cancelled if that was requested. Whether it is due."""
        tally = self._context.tally
        before = tally.put_back
        self._context.transitions.put_back(item)
        is_due = tally.put_back > before
        tally.possibly_twice += is_due
        return is_due

    def _found_by_name(self, item: Item) -> FoundByName | None:
        """None where the server's answers are unclear: the item is left to a later burst."""
        try:
            return self._by_name.find(item)
        except TransientError as error:
            self._undecided.add(item, error, "files")
            return None

    def _rescue(self, item: Item, files: Sequence[OutputFile]) -> bool:
        """Collect the files of a forgotten prompt if all are there, whole, and with our prefix in their graph.

        False where that is certainly not so; an unclear answer leaves the item to a later burst.
        """
        try:
            if self._settlement.rescue(FinishedPrompt(item, files, rescued=True)):
                self._note_rescue()
        except (NotOnServer, ItemError):
            return False
        except TransientError as error:
            self._undecided.add(item, error, "files")
        except OutputRootUnusable as error:
            self._context.set_recipe_aside(item, error)
        return True

    def _note_rescue(self) -> None:
        self._context.tally.rescued += 1
        self._context.tally.note(
            "the server had forgotten prompts whose files it still had; they were collected by name, without texts"
        )

    def _refuse_endless(self, item: Item) -> None:
        """Stop submitting to a server that accepts prompts and never lists them again.

        An item that it never accepts, while it accepts others, fails alone. Errors: ServerStalled.
        """
        context = self._context
        what = "took {} {} times and forgot it" if item.accepted else "was sent {} {} times and did not take it"
        report = f"{context.client.url} {what.format(item.key, _FORGOTTEN_LIMIT + 1)} each time"
        unanswered = None if item.accepted else context.unanswered.get(item.key)
        if unanswered is not None:
            report += f": {unanswered.met}"
            if context.accepted_posts > unanswered.accepted_before:
                context.transitions.fail(item, ErrorRecord(kind="unanswered", message=report))
                return
        if context.client.terms.takes_prompt_id:
            context.transitions.put_back(item)
        else:
            context.transitions.send_again(item)
        raise ServerStalled(f"{report}; look at the server's own log (details: `burst doctor`)")


def _may_come_late(item: Item) -> list[str]:
    """Its latest prompts that were given up without knowing what became of them."""
    known = {item.prompt_id, *item.ended_prompt_ids}
    return [prompt_id for prompt_id in item.previous_prompt_ids if prompt_id not in known][-_OLD_IDS:]


def remove_leftovers(context: WorkerContext, left: Sequence[Item]) -> None:
    """Remove half downloads of killed bursts, with one search in each directory."""
    ids: dict[tuple[Outputs, str], list[str]] = {}
    for item in left:
        try:
            outputs = context.placement.outputs_of(item)
        except RecipeUnusable:
            continue
        folders = {item.subfolder, item.subfolder if item.sidecar is None else item.sidecar.rpartition("/")[0]}
        for subfolder in folders:
            ids.setdefault((outputs, subfolder), []).extend([item.prompt_id or "", *item.previous_prompt_ids])
    for (outputs, subfolder), prompt_ids in ids.items():
        # Where it cannot be removed, nothing can be saved either; that is reported then.
        with contextlib.suppress(ItemError, OutputRootUnusable), context.placement.writing(outputs):
            outputs.remove_leftovers(subfolder, prompt_ids)
