"""Keeping a worker's server supplied: taking due items and submitting them."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.cycle.context import WorkerContext
from orchestrator.cycle.dispatch_target import DispatchTarget
from orchestrator.cycle.downloads import Downloads
from orchestrator.cycle.drain import Drain
from orchestrator.cycle.in_flight import InFlight
from orchestrator.cycle.poll_schedule import PollSchedule
from orchestrator.cycle.recovery import remove_leftovers
from orchestrator.cycle.routing import Routing
from orchestrator.cycle.submission import Submission
from orchestrator.cycle.uploads import ReadyItem, Uploads
from orchestrator.errors import ItemError, RecipeUnusable, TemplateError, TemplateRejected
from state.item import Item


class Refill:
    """Submits a worker's next items."""

    def __init__(
        self,
        context: WorkerContext,
        in_flight: InFlight,
        downloads: Downloads,
        uploads: Uploads,
        poll_schedule: PollSchedule,
        *,
        routing: Routing,
        attend: Callable[[], None],
    ) -> None:
        """`attend`: called between two POSTs, for what cannot wait until all are sent."""
        self._context = context
        self._in_flight = in_flight
        self._downloads = downloads
        self._uploads = uploads
        self._poll_schedule = poll_schedule
        self._routing = routing
        self._drain = Drain(context, in_flight, downloads, uploads)
        self._submission = Submission(
            context, forget_uploads=uploads.forget, refused=self._refused_by_server, sent=self._sent, attend=attend
        )

    def seconds_paused(self) -> float:
        """For how much longer nothing is submitted, because the server takes no more."""
        return self._submission.seconds_paused()

    def fill(self, worker: DispatchTarget) -> bool:
        """Submit as many more as the worker may have; whether there were any. While runs are paused: take back instead.

        Errors: as `Submission.submit` and `Drain.take_back`.

        Items with images of their own are submitted by a later call, once the server has those.
        """
        if (pause := self._context.dispatch.pause) is not None:
            self._drain.take_back(pause)
            return False
        self._drain.end()
        if not self._context.may_send:
            # It drains: what was claimed for it and waits for uploads is free for others.
            self._uploads.abandon()
        if self.seconds_paused() > 0:
            return True
        due = self._context.dispatch.take(worker)
        if self._routing.learn():
            due += self._context.dispatch.take(worker, again=True)
        through: list[str] = []
        try:
            plain = self._one_alone([item for item in due if not self._is_out_already(item)])
            equipped, through = self._uploads.settle()
            for item in plain:
                if item.uploads:
                    self._uploads.start(item)
                else:
                    equipped.append(ReadyItem(item, {}))
            if equipped and not self._in_flight:
                self._poll_schedule.began()
            if equipped:
                self._submission.submit(equipped)
        finally:
            for key in (*through, *(item.key for item in due)):
                if key not in self._in_flight and key not in self._uploads:
                    self._context.dispatch.let_go(key)
        return bool(due or through)

    def _sent(self, item: Item) -> None:
        self._in_flight.take_in(item, doubted_seconds=self._context.options.in_doubt_seconds)

    def _is_out_already(self, item: Item) -> bool:
        """Set to pending by hand while its prompt was submitted: looked up before it is submitted again."""
        if not item.may_be_on_a_server or self._may_be_sent_again(item):
            return False
        is_here, name = self._context.has(item), self._context.server.name
        doubted = self._context.transitions.change(
            item, lambda now: now.mark_in_doubt().move(server=name) if is_here else now.mark_in_doubt()
        )
        if doubted is not None and is_here:
            remove_leftovers(self._context, [doubted])
            self._in_flight.take_in(doubted, doubted_seconds=0.0 if item.accepted else None)
        return True

    def _may_be_sent_again(self, item: Item) -> bool:
        """It was looked up just now, and its key keeps the server from rendering it twice."""
        known = self._context.to_send_again
        if item.prompt_id not in known or not self._context.has(item):
            return False
        known.discard(item.prompt_id)
        return True

    def _refused_by_server(self, item: Item, error: TemplateRejected) -> None:
        """Another server may take it; if none can, its recipe is set aside, or the default if it has none."""
        self._routing.refuse(item.key)
        if not self._context.dispatch.refused_everywhere(item):
            self._context.dispatch.stir()
            return
        self._context.set_recipe_aside(item, error)

    def _one_alone(self, due: list[Item]) -> list[Item]:
        """A template that overwrites what it saves runs one prompt at a time, with nothing else submitted."""
        if not due:
            return due
        out = [*self._in_flight.items(), *self._downloads.items(), *self._uploads.items()]
        alone = next((at for at, item in enumerate(due) if self._is_alone(item)), None)
        if alone is None:
            one_of_each = {(item.recipe, item.template): item for item in out}
            return [] if any(self._is_alone(item) for item in one_of_each.values()) else due
        if alone == 0:
            return [] if out else due[:1]
        return due[:alone]

    def _is_alone(self, item: Item) -> bool:
        try:
            why = self._context.preparation.why_alone(item)
        except (ItemError, RecipeUnusable, TemplateError):
            return False
        if why is not None:
            self._context.tally.note(why)
        return why is not None
