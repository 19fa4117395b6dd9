"""What the form offers: templates and profiles of ours, models and samplers as ComfyUI lists them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import templates
from orchestrator.batches.profiles import load_profiles
from orchestrator.clients import client_for
from orchestrator.clock import Clock
from orchestrator.comfyui import ComfyUI
from orchestrator.comfyui.capabilities import Capabilities
from orchestrator.errors import TemplateError, TransientError, UnexpectedAnswer
from orchestrator.node_classes import kept_classes
from orchestrator.template_inspection import PURPOSES
from orchestrator.ui_workflows import Conversion
from orchestrator.web.batch_start import PATIENCE_SECONDS, is_fillable, templates_of, with_template
from orchestrator.web.create_schemas import Options, Parameter, ProfileChoice, Server, TemplateChoice
from orchestrator.web.error_responses import NO_SERVER
from orchestrator.web.offered_models import choices_of
from orchestrator.web.states import WatchedState
from orchestrator.web.ttl_cache import TtlCache

_KEPT_SECONDS = 5.0
_KEPT_AWAY_SECONDS = 0.5
"""That a server does not answer: somebody who presses Retry wants to know anew."""
_CHOSEN = {"model": "models", "sampler": "samplers", "scheduler": "schedulers"}
_PLACEHOLDER = "example.png"
"""Comes with ComfyUI: a template that names it names no image."""
_NOT_SWEPT = frozenset({"prompt", "prefix", "image", "mask", "video", "audio"})
_SHOWN = ("model", "steps", "cfg", "width", "height", "sampler", "scheduler", "negative", "image", "batch_size")


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
    settings = state.settings
    offered = _offered(state)
    own = settings.template if settings.template in offered else None
    name = with_template(state, template).template if template is not None else own or next(iter(offered), None)
    workflow = offered.get(name or "") or (_workflow(state, name) if name is not None else _Workflow({}, {}))
    lists, files, server = _asked(state, workflow)
    image = _default(workflow, "image")
    profiles = load_profiles(state.path.parent)
    takes = [binding for binding, targets in workflow.bindings.items() if targets]
    return Options(
        server=server,
        templates=list(offered),
        default=own,
        template=name,
        templateChoices=[_choice(name, workflow) for name, workflow in offered.items()],
        takes=[*takes, *(["lora"] if "lora" not in takes and _takes_loras(workflow) else [])],
        needsImage=bool(workflow.bindings.get("image")) and (image not in files or image == _PLACEHOLDER),
        profiles=list(profiles),
        profileChoices=[
            ProfileChoice(name=one.name, description=one.description, sets=one.inputs()) for one in profiles.values()
        ],
        defaults={name: _default(workflow, name) for name in _SHOWN if workflow.bindings.get(name)},
        parameters=_parameters(workflow, takes, lists),
        **lists,
    )


@dataclass(frozen=True)
class _Workflow:
    graph: templates.Graph
    bindings: templates.Bindings


def _offered(state: WatchedState) -> dict[str, _Workflow]:
    """What the form can fill in: the state's own first, then those that need no image, those that need no model last.

    Errors: TemplateError where the state's own cannot be read, SettingsError, UsageError.
    """
    own = state.settings.template
    found = {own: _workflow(state, own)} if own is not None else {}
    for name in templates_of(state):
        # The state's bindings need not fit a shipped one.
        with contextlib.suppress(TemplateError):
            found[name] = found.get(name) or _workflow(state, name)

    def rank(name: str) -> tuple[bool, bool, bool]:
        bindings = found[name].bindings
        return name != own, not bindings.get("model"), bool(bindings.get("image"))

    return {name: found[name] for name in sorted(found, key=rank) if is_fillable(found[name].bindings)}


def _workflow(state: WatchedState, name: str) -> _Workflow:
    settings = state.settings
    graph = templates.load_workflow(name, relative_to=state.path.parent, convert=Conversion(settings)).graph
    catalogue = kept_classes(graph, settings)
    return _Workflow(graph, templates.find_bindings(graph, settings.bindings, catalogue=catalogue))


def _asked(state: WatchedState, workflow: _Workflow) -> tuple[dict[str, list[str]], list[str], Server]:
    """Of the first server: models and the like, and the images that it has."""
    lists: dict[str, list[str]] = {name: [] for name in (*_CHOSEN.values(), "loras")}
    files: list[str] = []
    settings = state.settings
    server = settings.servers[0]
    try:
        with client_for(server, settings, retry_seconds=PATIENCE_SECONDS) as client:
            client.queue_remaining()
            offer = Capabilities(client)
            for binding, name in _CHOSEN.items():
                lists[name] = choices_of(offer, (workflow.graph, workflow.bindings), binding)
            if _takes_loras(workflow):
                lists["loras"] = sorted(offer.folder("loras") or (), key=str.casefold)
            files = _images(client, workflow)
    except UnexpectedAnswer as error:
        return lists, files, Server(reachable=False, message=str(error))
    except TransientError as error:
        return lists, files, Server(reachable=False, message=f"{NO_SERVER}: {error}")
    return lists, files, Server(reachable=True)


def _images(client: ComfyUI, workflow: _Workflow) -> list[str]:
    """Those that the node of the template lists. `Capabilities` leaves them out, for an upload adds to them."""
    if not (targets := workflow.bindings.get("image")):
        return []
    kind, name = workflow.graph[targets[0].node_id]["class_type"], targets[0].input_name
    inputs = templates.declared_inputs(client.object_info(kind).get(kind, {}), "required")
    choices = templates.choices_of(name, inputs.get(name))
    return list(map(str, choices.values or ())) if choices is not None else []


def _takes_loras(workflow: _Workflow) -> bool:
    """Whether it has a node for one, or a place where one fits in."""
    if workflow.bindings.get("lora"):
        return True
    try:
        templates.splice_lora(workflow.graph, "any")
    except TemplateError:
        return False
    return True


def _choice(name: str, workflow: _Workflow) -> TemplateChoice:
    takes_image = bool(workflow.bindings.get("image"))
    kind: Literal["text", "image", "other"] = "image" if takes_image else "text" if _samples(workflow) else "other"
    made_of = "an image and a prompt" if takes_image else "a prompt"
    own = f"Your own workflow, made from {made_of}"
    purpose = PURPOSES.get(name, own)
    return TemplateChoice(name=name, kind=kind, purpose=purpose[:1].upper() + purpose[1:])


def _samples(workflow: _Workflow) -> bool:
    return bool(workflow.bindings.get("model") or workflow.bindings.get("steps"))


def _parameters(workflow: _Workflow, takes: Sequence[str], lists: Mapping[str, Sequence[str]]) -> list[Parameter]:
    """What axes may be of: everything that has a name, but the prompt and files."""
    names = [name for name in takes if name not in _NOT_SWEPT and _default(workflow, name) is not None]
    choices = {binding: lists[name] for binding, name in _CHOSEN.items()} | {"lora": lists["loras"]}
    return [
        Parameter(name=name, default=_default(workflow, name), choices=list(choices.get(name, ())))
        for name in sorted(names, key=_place_of)
    ]


def _place_of(name: str) -> tuple[int, str]:
    return (templates.NAMES.index(name) if name in templates.NAMES else len(templates.NAMES)), name


def _default(workflow: _Workflow, binding: str) -> Any:
    """What the template itself says; None where another node gives it, or nothing does."""
    if not (targets := workflow.bindings.get(binding)):
        return None
    value = workflow.graph[targets[0].node_id]["inputs"].get(targets[0].input_name)
    return value if isinstance(value, str | int | float) else None
