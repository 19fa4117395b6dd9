"""Which registered servers a burst is due for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.errors import RecipeUnusable
from orchestrator.registered_servers import is_reached_here
from orchestrator.servers import same_server
from state.item import Item, Status
from state.server import RegisteredServer
from state.store import Store


@dataclass(frozen=True)
class Selection:
    """The servers that a worker starts bursts for: those that its host reaches, and of these what somebody chose."""

    names: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    def takes(self, server: RegisteredServer) -> bool:
        """Whether it is one of them. Without names and labels every server is chosen, with either one that has it."""
        if not is_reached_here(server):
            return False
        is_named = any(same_server(name, server.name) for name in self.names)
        return not (self.names or self.labels) or is_named or not set(self.labels).isdisjoint(server.labels)


def due_servers(store: Store, servers: Iterable[RegisteredServer]) -> list[RegisteredServer]:
    """Those of these servers that have something to do: due items whose recipes allow the server, by its name and its
    labels, or prompts of the state that are to be collected.

    A paused state and a draining server get nothing new, but what they have is collected.
    """
    wanted = list(servers)
    submitted = {item.server for item in store.items(Status.SUBMITTED) if item.server is not None}
    has_due = store.pause() is None and bool(store.due(1))
    return [
        one for one in wanted if (has_due and not one.draining and _has_due(store, one)) or _is_among(one, submitted)
    ]


def _has_due(store: Store, server: RegisteredServer) -> bool:
    unfit: set[str] = set()

    def may_go_there(item: Item) -> bool:
        fits = item.recipe is None or _suits(store, item.recipe, server)
        if not fits:
            unfit.add(item.kind)
        return fits

    return bool(store.due(1, without=unfit, accept=may_go_there))


def _suits(store: Store, recipe_id: str, server: RegisteredServer) -> bool:
    try:
        recipe = store.recipes.get(recipe_id)
    except RecipeUnusable:  # which a run says
        return True
    return set(server.labels).issuperset(recipe.needs) and (not recipe.servers or _is_among(server, recipe.servers))


def _is_among(server: RegisteredServer, names: Iterable[str]) -> bool:
    return any(same_server(server.name, name) for name in names)


def queues_of(servers: Iterable[RegisteredServer]) -> Sequence[str]:
    """Where the jobs of these servers wait; a worker looks at those of its own servers alone."""
    return [queue_of(server.name) for server in servers]


def queue_of(server: str) -> str:
    """Where the jobs of this server wait."""
    return f"server:{server}"
