"""What the parts of one worker share: its tools and the options of the run."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from orchestrator.clock import Clock
from orchestrator.comfyui import ComfyUI
from orchestrator.comfyui.events import Hearer
from orchestrator.cycle import pacing
from orchestrator.cycle.dispatch import Dispatch
from orchestrator.cycle.hearing import Source
from orchestrator.cycle.spending import Spending
from orchestrator.cycle.tally import NOTES_LOGGER, Tally
from orchestrator.cycle.transitions import Transitions
from orchestrator.errors import BurstError, OutputRootAway, OutputRootUnusable
from orchestrator.outputs.placement import Placement
from orchestrator.preparation import Preparation
from orchestrator.servers import Server, find_server, same_server
from state.item import Item, Status
from state.lease import Lease
from state.store import Store

if TYPE_CHECKING:
    from orchestrator.abandonment import Silence
    from orchestrator.restarts import Restart, Restarts

log = logging.getLogger("burst")


class Options(msgspec.Struct, frozen=True):
    """The options of every burst of a run."""

    poll_seconds: float = pacing.DEFAULT_POLL_SECONDS
    max_attempts: int = 3
    in_doubt_seconds: float = pacing.IN_DOUBT_SECONDS
    stall_seconds: float | None = None
    """How long a server may show no sign of life; None: by what the recipe has taken, infinite: for ever."""
    sweep_seconds: float = pacing.SWEEP_SECONDS
    abandon_after_seconds: float = pacing.ABANDON_AFTER_SECONDS
    patience_seconds: float | None = None
    """How long a request is repeated; None: as the client does by default."""
    free_every: int | None = None
    """After how many prompts of one server its models are unloaded."""
    allow_spend: int | None = None
    """How many prompts servers that cost money may get in 24 hours; None: nobody has allowed any."""
    wait_server_seconds: float = 0.0
    """How much longer the run waits for a server without which nothing more can be done."""


class Unanswered(msgspec.Struct, frozen=True):
    """POSTs of one item without a usable answer: what the last one met, and how many POSTs had been accepted before."""

    met: str
    accepted_before: int


@dataclass
class WorkerContext:
    """The tools of one worker. Of all these, only the store outlives the process.

    Store, lease, placement, preparation and dispatch are shared with other workers; `halt` makes this one leave at
    once.
    """

    store: Store
    """To read; what this worker changes goes through its lease."""
    lease: Lease
    server: Server
    client: ComfyUI
    placement: Placement
    preparation: Preparation
    dispatch: Dispatch
    options: Options
    clock: Clock
    halt: threading.Event
    is_own: bool = True
    """Whether the run itself uses this server; otherwise only items whose recipe names it may go there."""
    listen: Callable[[Hearer], Source] | None = None
    """Prepares to listen to the server's events; None where a run does without them."""
    silence: Silence | None = None
    """Whether its server has been silent for too long; None: that is of no concern."""
    labels: frozenset[str] = frozenset()
    """Those that its server is registered with."""
    names: tuple[str, ...] = ()
    """What else this server is called in the settings."""
    tally: Tally = field(default_factory=Tally)
    pace: pacing.Pace = field(default_factory=pacing.Pace)
    accepted_posts: int = 0
    restarts: Restarts | None = None
    unanswered: dict[str, Unanswered] = field(default_factory=dict)
    """By item key: its POSTs in this run that the server did not accept."""
    used_keys: set[str] = field(default_factory=set)
    """Intents whose idempotency key the server has had, and of which it does not tell what became."""
    to_send_again: set[str] = field(default_factory=set)
    """Intents that the server does not know: they may be sent again under the same key."""
    spending: Spending = field(init=False)
    transitions: Transitions = field(init=False)
    _allowed: dict[str | None, bool] = field(default_factory=dict)
    """By recipe: whether its items may go to this server."""

    def __post_init__(self) -> None:
        terms, most = self.client.terms, self.options.allow_spend
        self.spending = Spending(self.store.facts, self.server, terms, most=most, now=self.lease.now)
        self.transitions = Transitions(
            self.store,
            self.lease,
            self.dispatch,
            self.tally,
            server_url=self.server.url,
            # What costs money is rendered again by a person alone.
            max_attempts=1 if terms.is_paid else self.options.max_attempts,
            clock=self.clock,
        )

    @property
    def may_send(self) -> bool:
        """Whether its server may be sent anything new: runs are not paused, and it is not draining."""
        return self.dispatch.may_send(self.server.name)

    def has(self, item: Item) -> bool:
        """Whether the item's record says that it is on this server."""
        return item.server is not None and find_server(item.server, [self.server]) is not None

    def may_have(self, item: Item) -> bool:
        """Whether the item's recipe allows this server."""
        return self.may_have_recipe(item.recipe)

    def may_have_recipe(self, recipe: str | None) -> bool:
        """Whether a recipe allows this server, by its name and labels."""
        allowed = self._allowed.get(recipe)
        if allowed is None:
            named = self.preparation.servers_of(recipe)
            allowed = any(self._is_called(name) for name in named) if named else self.is_own
            allowed = allowed and self.labels.issuperset(self.preparation.needs_of(recipe))
            self._allowed[recipe] = allowed
        return allowed

    def _is_called(self, name: str) -> bool:
        return find_server(name, [self.server]) is not None or any(same_server(name, one) for one in self.names)

    def restart(self, reason: str, *, is_alive: bool) -> Restart | None:
        """Have the server restarted by this host's command, where there is one; see `Restarts.restart`.

        `is_alive`: it answers, so that what it renders is lost by the restart alone, for which no item is to blame.
        """
        if self.restarts is None or self.halt.is_set() or self.dispatch.pause is not None:
            return None
        if not self.restarts.has_rule(self.server, self.names):
            return None
        if is_alive:
            self.store.facts.change_health(
                self.server.name,
                lambda now: now.advising_restart(now.health, reason, at=self.lease.now()),
                at=self.lease.now(),
            )
        restart = self.restarts.restart(self.server, reason, names=self.names, halt=self.halt)
        if restart is not None and restart.is_new:
            self.tally.note(f"{self.server.shown} was restarted by this host's command: {reason}")
        return restart

    def set_recipe_aside(self, item: Item, error: BurstError) -> None:
        """The item's recipe or output root cannot be used: all its items stay as they are, and none is charged."""
        name = self.preparation.name_of(item)
        root = str(error.root) if isinstance(error, OutputRootUnusable) else None
        if item.status is Status.SUBMITTED:
            self.dispatch.set_aside_submitted(item.key)
        passes = isinstance(error, OutputRootAway)
        if self.dispatch.set_aside.add(item, name=name, reason=str(error), output=root, passes=passes):
            logging.getLogger(NOTES_LOGGER).warning("items made with %s are set aside: %s", name, error)

    def note_unanswered(self, item: Item, error: BurstError) -> None:
        """Its POST got no usable answer; the report tells what came instead."""
        self.tally.note(f"{error}; the prompt is looked up before it is sent again")
        before = self.unanswered.get(item.key)
        self.unanswered[item.key] = Unanswered(str(error), before.accepted_before if before else self.accepted_posts)
