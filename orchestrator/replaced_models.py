"""Completed items whose models are other files now, on the servers that rendered them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Self

from orchestrator.clients import client_for
from orchestrator.clock import Clock
from orchestrator.errors import SettingsError
from orchestrator.formatting import counted
from orchestrator.model_identities import ModelIdentities, replaced
from orchestrator.settings import Settings
from state.item import Item


class ReplacedModels:
    """Asks each server once for each kind of model, when the first item names one. A context manager.

    What a server does not tell, or one that is away, leaves items as they are.
    """

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or Clock()
        self._servers: dict[str, ModelIdentities | None] = {}
        self._silent: Counter[str] = Counter()
        """By server: the items whose models it did not tell of."""
        self._found: Counter[str] = Counter()
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    def has_other(self, item: Item) -> bool:
        """Whether a model of it is certainly another file than the one that it was rendered with."""
        if not item.models or item.server is None:
            return False
        identities = self._identities(item.server)
        now = identities.look(item.models) if identities is not None else {}
        if not now:
            self._silent[item.server] += 1
        others = replaced(item.models, now)
        self._found.update(others)
        return bool(others)

    def notes(self) -> Iterator[str]:
        """What to report."""
        for path, count in sorted(self._found.items()):
            yield f"{path} is another file than it was: {counted(count)} rendered with the earlier one"
        for server, count in sorted(self._silent.items()):
            yield f"{server} does not tell of the models that {counted(count)} have: they are taken as unchanged"

    def _identities(self, name: str) -> ModelIdentities | None:
        if name not in self._servers:
            self._servers[name] = self._opened_for(name)
        return self._servers[name]

    def _opened_for(self, name: str) -> ModelIdentities | None:
        try:
            server = self._settings.server_named(name)
            client = self._opened.enter_context(client_for(server, self._settings, retry_seconds=0.0))
        except SettingsError:
            return None
        return ModelIdentities(client, server, clock=self._clock)
