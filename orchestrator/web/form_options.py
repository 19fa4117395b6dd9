"""What the form offers: templates and profiles of ours, models and samplers as ComfyUI lists them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import templates
from orchestrator.batches.profiles import load_profiles
from orchestrator.clients import client_for
from orchestrator.clock import Clock
from orchestrator.comfyui.capabilities import Capabilities
from orchestrator.errors import TransientError, UnexpectedAnswer
from orchestrator.node_classes import kept_classes
from orchestrator.ui_workflows import Conversion
from orchestrator.web.batch_schemas import Options, Server
from orchestrator.web.batch_start import PATIENCE_SECONDS, templates_of, with_template
from orchestrator.web.error_responses import NO_SERVER
from orchestrator.web.states import WatchedState
from orchestrator.web.ttl_cache import TtlCache

_KEPT_SECONDS = 5.0
_KEPT_AWAY_SECONDS = 0.5
"""That a server does not answer: somebody who presses Retry wants to know anew."""
_CHOSEN = {"model": "models", "sampler": "samplers", "scheduler": "schedulers"}
_SHOWN = ("model", "steps", "cfg", "width", "height", "sampler", "scheduler", "negative")


class FormOptions:
    """What servers said is kept for a few seconds, however many pages ask."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._kept: TtlCache[Options] = TtlCache(clock)

    def of(self, state: WatchedState, template: str | None) -> Options:
        """Errors: Refused for a template that is not offered; TemplateError, SettingsError, UsageError."""
        return self._kept.of((state.number, template), lambda: _options(state, template), seconds=_kept_seconds)


def _kept_seconds(options: Options) -> float:
    return _KEPT_SECONDS if options.server.reachable else _KEPT_AWAY_SECONDS


def _options(state: WatchedState, template: str | None) -> Options:
    settings, home = state.settings, state.path.parent
    name = with_template(state, template).template or settings.template
    bindings: Mapping[str, Any] = {}
    graph: templates.Graph = {}
    if name is not None:
        graph = templates.load_workflow(name, relative_to=home, convert=Conversion(settings)).graph
        bindings = templates.find_bindings(graph, settings.bindings, catalogue=kept_classes(graph, settings))
    lists, server = _asked(state, graph, bindings)
    return Options(
        server=server,
        templates=templates_of(state),
        template=name,
        takes=[binding for binding, targets in bindings.items() if targets],
        profiles=list(load_profiles(home)),
        defaults={name: _value(graph, bindings[name][0]) for name in _SHOWN if bindings.get(name)},
        **lists,
    )


def _asked(
    state: WatchedState, graph: templates.Graph, bindings: Mapping[str, Any]
) -> tuple[dict[str, list[str]], Server]:
    """Of the first server."""
    lists: dict[str, list[str]] = {name: [] for name in _CHOSEN.values()}
    settings = state.settings
    server = settings.servers[0]
    try:
        with client_for(server, settings, retry_seconds=PATIENCE_SECONDS) as client:
            client.queue_remaining()
            offer = Capabilities(client)
            for binding, name in _CHOSEN.items():
                if targets := bindings.get(binding):
                    target = targets[0]
                    lists[name] = list(map(str, offer.choices(graph[target.node_id]["class_type"], target.input_name)))
    except UnexpectedAnswer as error:
        return lists, Server(reachable=False, message=str(error))
    except TransientError as error:
        return lists, Server(reachable=False, message=f"{NO_SERVER}: {error}")
    return lists, Server(reachable=True)


def _value(graph: templates.Graph, target: templates.Target) -> Any:
    """What the template itself says; None where another node gives it."""
    value = graph[target.node_id]["inputs"].get(target.input_name)
    return value if isinstance(value, str | int | float) else None
