"""The models that the servers of a state offer for workflows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import templates
from orchestrator.clients import client_for
from orchestrator.comfyui.capabilities import Capabilities
from orchestrator.errors import TransientError, UnexpectedAnswer
from orchestrator.servers import Server
from orchestrator.settings import Settings
from orchestrator.web.batch_start import PATIENCE_SECONDS

Bound = tuple[templates.Graph, templates.Bindings]


def models_of(settings: Settings, workflows: Sequence[Bound]) -> list[list[str]]:
    """Of each workflow, what its binding `model` may be on any server, the one that it names first where that is one.

    A server that does not answer offers nothing.
    """
    offers = [_of_server(server, settings, workflows) for server in settings.servers]
    return [_named_first(workflow, chain(*found)) for workflow, *found in zip(workflows, *offers, strict=True)]


def choices_of(offer: Capabilities, workflow: Bound, binding: str) -> list[str]:
    """What a server lists for the first input that a name sets; empty where it takes anything.

    Errors: as `Capabilities.lacks`.
    """
    graph, bindings = workflow
    if not (targets := bindings.get(binding)):
        return []
    return list(map(str, offer.choices(graph[targets[0].node_id]["class_type"], targets[0].input_name)))


def _of_server(server: Server, settings: Settings, workflows: Sequence[Bound]) -> list[list[str]]:
    try:
        with client_for(server, settings, retry_seconds=PATIENCE_SECONDS) as client:
            offer = Capabilities(client)
            return [choices_of(offer, workflow, "model") for workflow in workflows]
    except (TransientError, UnexpectedAnswer):
        return [[] for _ in workflows]


def _named_first(workflow: Bound, offered: Iterator[str]) -> list[str]:
    graph, bindings = workflow
    named = [graph[target.node_id]["inputs"].get(target.input_name) for target in bindings.get("model", ())[:1]]
    return sorted(dict.fromkeys(offered), key=lambda model: model not in named)
