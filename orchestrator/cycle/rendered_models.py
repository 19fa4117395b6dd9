"""Which model files a worker's server renders with: asked during downloads, noted when items are completed."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import templates
from orchestrator.cycle.context import WorkerContext
from orchestrator.errors import TemplateError

if TYPE_CHECKING:
    from orchestrator.model_identities import ModelIdentities


class RenderedModels:
    """Of one worker's server. Any thread may use it."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._mutex = threading.Lock()
        self._identities: ModelIdentities | None = None

    def look(self, paths: frozenset[str]) -> None:
        """Ask what is not known yet of the models that a prompt used, as of `models_in`. Raises nothing."""
        if paths:
            with self._mutex:
                if self._identities is None:
                    # Not before something is rendered: a run begins without it.
                    from orchestrator.model_identities import ModelIdentities

                    context = self._context
                    self._identities = ModelIdentities(context.client, context.server, clock=context.clock)
            self._identities.look(paths)

    def of(self, paths: frozenset[str]) -> dict[str, str]:
        """What is known of them, for the item's record. Asks nothing."""
        return {} if self._identities is None else self._identities.known(paths)


def models_in(graph: Mapping[str, Any] | None) -> frozenset[str]:
    """As `FOLDER/NAME`. None for what a server gives as a graph and is not one."""
    if graph is None:
        return frozenset()
    try:
        return templates.model_paths(templates.parse_graph(dict(graph), where="the server's history"))
    except TemplateError:
        return frozenset()
