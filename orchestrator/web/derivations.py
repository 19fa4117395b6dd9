"""From an image to further ones: more like it, and stages that are made from it. Bursts render them."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import templates
from orchestrator.batches.batch_parameters import template_values
from orchestrator.batches.generate_report import Generated
from orchestrator.batches.picks import EVERY_ITEM
from orchestrator.batches.sources import STANDARD_INPUT
from orchestrator.batches.spec import BatchSpec
from orchestrator.errors import BurstError, RecipeUnusable, ServerDown, TemplateError, TransientError
from orchestrator.outputs.containers import kind_of
from orchestrator.settings import Overrides
from orchestrator.template_inspection import PURPOSES
from orchestrator.ui_workflows import Conversion
from orchestrator.web.batch_start import file_of, queue, templates_of, try_out, with_template
from orchestrator.web.chosen_images import Chosen
from orchestrator.web.composing import Composed
from orchestrator.web.derivation_schemas import Derivations, FromImage, Possible, Stage
from orchestrator.web.error_responses import Refused
from orchestrator.web.offered_models import models_of
from orchestrator.web.states import WatchedState
from state.batch import Idempotency
from state.item import Item, ItemOutput

_REPAINTS = ("image", "denoise", "seed")
"""What a workflow binds that makes variations of an image."""
_KEPT = ("model", "lora", "lora_strength", "negative", "steps", "cfg", "guidance", "sampler", "scheduler")
"""What they have in common with the image, as far as that workflow takes it."""
_ENLARGES = re.compile("Upscale|ImageScaleBy")
"""In the classes of nodes of workflows that make images larger."""
_STRENGTH = 0.5
_RECIPE = "recipe:"
_NO_UPSCALE_MODEL = "no server has an upscale model; put one into the folder models/upscale_models of a ComfyUI"


@dataclass(frozen=True)
class Workflow:
    """One that images can be made with: a recipe of the state, or a template that requests may name."""

    id: str
    name: str
    graph: templates.Graph
    bindings: templates.Bindings
    overrides: Overrides
    recipe: str | None = None

    def binds(self, *names: str) -> bool:
        return all(self.bindings.get(name) for name in names)

    @property
    def loaders(self) -> set[str]:
        """The classes of the nodes that take its model: a checkpoint is no diffusion model alone."""
        return {self.graph[target.node_id]["class_type"] for target in self.bindings.get("model", ())}

    @property
    def upscales(self) -> bool:
        return any(_ENLARGES.search(node["class_type"]) for node in self.graph.values())


@dataclass(frozen=True)
class _Request:
    """What `queue` and `try_out` take."""

    asked: Composed
    workflow: Workflow

    def queue(self, state: WatchedState, idempotency: Idempotency | None) -> Generated:
        return queue(self.asked, state, self.workflow.overrides, idempotency, recipe=self.workflow.recipe)

    def try_out(self, state: WatchedState) -> None:
        try_out(self.asked, state, self.workflow.overrides, recipe=self.workflow.recipe)


def derivations_of(chosen: Chosen) -> Derivations:
    """Each is tried out, as far as that can be done without adding anything. Errors: ServerDown, TransientError."""
    state = chosen.state
    repaint = _repaint(chosen)
    return Derivations(
        variations=_possible(lambda: _variations(chosen, 1).try_out(state)),
        fromImage=FromImage(
            **dict(_possible(lambda: _of_image(chosen, 1, _STRENGTH).try_out(state))),
            template=repaint.name if repaint is not None else None,
            strength=_strength(repaint),
        ),
        stages=_offers(chosen),
    )


def vary(chosen: Chosen, *, count: int, strength: float | None, idempotency: Idempotency | None) -> Generated:
    """Queue more images like one. Errors: Refused; as `batch_start.start`."""
    request = _variations(chosen, count) if strength is None else _of_image(chosen, count, strength)
    return request.queue(chosen.state, idempotency)


def add_stage(
    images: Sequence[Chosen], stage: str, *, model: str | None = None, idempotency: Idempotency | None
) -> Generated:
    """Queue a batch that is made from images of one state, with another model than its workflow's if `model` says so.

    Errors: Refused; as `batch_start.start`.
    """
    state = images[0].state
    known = {one.id: one for kind in _kinds(images) for one in stages_for(state, kind)}
    if stage not in known:
        raise Refused(400, f"no stage {stage!r} takes these; there are {', '.join(known) or 'none'}", "stage")
    if model is not None and not known[stage].binds("model"):
        raise Refused(400, f"{known[stage].name} takes no model", "model")
    return _stage(images, known[stage], model).queue(state, idempotency)


def stages_for(state: WatchedState, kind: str) -> list[Workflow]:
    """The state's template, workflows that its batches were made with, and shipped ones, that take such a file."""
    found: dict[str, Workflow] = {}
    for name in templates_of(state):
        with contextlib.suppress(TemplateError):
            found[name] = _template(state, name)
    for recipe_id, recipe in reversed(state.placement.recipes.all().items()):
        came_from = recipe.workflow_name
        if came_from and recipe.workflow is not None and came_from not in found:
            with contextlib.suppress(RecipeUnusable, TemplateError):
                found[came_from] = _recipe(state, recipe_id)
    return sorted((one for one in found.values() if one.binds(kind)), key=lambda one: one.name.startswith("smoke"))


def _kinds(images: Sequence[Chosen]) -> list[str]:
    return list(dict.fromkeys(kind_of(one.output.path) for one in images))


def _offers(chosen: Chosen) -> list[Stage]:
    workflows = stages_for(chosen.state, kind_of(chosen.output.path))
    offered = models_of(chosen.state.settings, [(one.graph, one.bindings) for one in workflows])
    return [_offer(chosen, workflow, models) for workflow, models in zip(workflows, offered, strict=True)]


def _offer(chosen: Chosen, workflow: Workflow, models: Sequence[str]) -> Stage:
    """With the first of its models. A stage that takes a kind of model that no server has says so."""
    model = next(iter(models), None)
    said = _possible(lambda: _stage([chosen], workflow, model).try_out(chosen.state))
    if model is None and workflow.loaders == {"UpscaleModelLoader"}:
        said = Possible(possible=False, why=_NO_UPSCALE_MODEL)
    return Stage(
        **dict(said),
        id=workflow.id,
        name=workflow.name,
        purpose=PURPOSES.get(workflow.name),
        upscales=workflow.upscales,
        models=list(models),
    )


def _possible(attempt: Any) -> Possible:
    """A server that does not answer says nothing of what is possible. Errors: ServerDown, TransientError."""
    try:
        attempt()
    except (ServerDown, TransientError):
        raise
    except (BurstError, Refused) as error:
        return Possible(possible=False, why=str(error))
    return Possible(possible=True)


def _stage(images: Sequence[Chosen], workflow: Workflow, model: str | None = None) -> _Request:
    picked: dict[str, frozenset[int]] = {}
    for one in images:
        picked[one.item.key] = picked.get(one.item.key, frozenset()) | {one.number}
    sets = {} if model is None else {"model": model}
    return _Request(Composed(_spec(from_batch=_batch_of(images), pick=picked, sets=sets)), workflow)


def _variations(chosen: Chosen, count: int) -> _Request:
    """The same item with other seeds. Errors: Refused."""
    item, workflow = chosen.item, _own(chosen)
    if not workflow.binds("seed"):
        raise Refused(400, f"its workflow, {workflow.name}, has no seed: it would make the same image again")
    sets = {name: value for name, value in item.inputs.items() if name not in ("seed", "prompt", "batch_size")}
    spec = partial(_spec, count=count, seed_mode="random", sets=sets, batch_size=item.inputs.get("batch_size"))
    made_from = [source for source in item.uploads.values() if isinstance(source, ItemOutput)]
    if not made_from:
        files = {name: file_of(chosen.state, item, str(source)) for name, source in item.uploads.items()}
        text = {"prompt": _text(item)} if workflow.binds("prompt") else {}
        row = json.dumps({**text, **files}).encode()
        return _Request(Composed(spec(jsonl=STANDARD_INPUT), row), workflow)
    if len(item.uploads) > 1:
        raise Refused(400, "it was made from several images, one of them of another batch; use burst generate")
    (source,) = made_from
    picked = {source.item: frozenset({source.output})}
    prompt = (_text(item) or None) if workflow.binds("prompt") else None
    return _Request(Composed(spec(from_batch=EVERY_ITEM, pick=picked, prompt=prompt)), workflow)


def _of_image(chosen: Chosen, count: int, strength: float) -> _Request:
    """The image itself as the beginning, with its own prompt and values. Errors: Refused."""
    workflow = _repaint(chosen)
    if workflow is None:
        raise Refused(400, _why_no_repaint(chosen), "strength")
    own = {**template_values(chosen.state.placement.recipes)(chosen.item.recipe), **chosen.item.inputs}
    kept = {name: own[name] for name in _KEPT if name in own and (name.startswith("lora") or workflow.binds(name))}
    spec = _spec(
        from_batch=_batch_of([chosen]),
        pick={chosen.item.key: frozenset({chosen.number})},
        prompt=(_text(chosen.item) or None) if workflow.binds("prompt") else None,
        count=count,
        seed_mode="random",
        sets={**kept, "denoise": strength},
    )
    return _Request(Composed(spec), workflow)


def _repaint(chosen: Chosen) -> Workflow | None:
    """Its own workflow, if that starts from an image; else one that does, and takes the same kind of model."""
    if kind_of(chosen.output.path) != "image":
        return None
    own = _own(chosen)
    if own.binds(*_REPAINTS):
        return own
    others = (one for one in stages_for(chosen.state, "image") if one.binds(*_REPAINTS))
    return next((one for one in others if own.loaders and one.loaders == own.loaders), None)


def _why_no_repaint(chosen: Chosen) -> str:
    if kind_of(chosen.output.path) != "image":
        return "Only images can be started from"
    return "no workflow of this state starts from an image, has a denoise, and takes this image's model"


def _strength(workflow: Workflow | None) -> float:
    if workflow is None:
        return _STRENGTH
    target = workflow.bindings["denoise"][0]
    value = workflow.graph[target.node_id]["inputs"].get(target.input_name)
    return float(value) if isinstance(value, int | float) and 0 < value < 1 else _STRENGTH


def _own(chosen: Chosen) -> Workflow:
    """What an image was made with. Errors: Refused where that is not there any more."""
    state, item = chosen.state, chosen.item
    try:
        if item.recipe is not None:
            return _recipe(state, item.recipe)
        name = item.template or state.settings.template
        if name is None:
            raise Refused(400, "it is not known which workflow made it")
        return _template(state, name)
    except (RecipeUnusable, TemplateError) as error:
        raise Refused(400, f"its workflow cannot be used any more: {error}") from error


def _template(state: WatchedState, name: str) -> Workflow:
    """Errors: Refused, TemplateError."""
    settings, overrides = state.settings, with_template(state, name)
    graph = templates.load_workflow(name, relative_to=state.path.parent, convert=Conversion(settings)).graph
    return Workflow(name, name, graph, templates.find_bindings(graph, settings.bindings), overrides)


def _recipe(state: WatchedState, recipe_id: str) -> Workflow:
    """Errors: RecipeUnusable."""
    loaded = state.placement.recipes.loaded(recipe_id)
    overrides = replace(state.overrides, template=None)
    name = f"{_RECIPE}{recipe_id}"
    return Workflow(name, loaded.name, loaded.graph, loaded.bindings, overrides, recipe_id)


def _batch_of(images: Sequence[Chosen]) -> str:
    batches = {one.item.batch for one in images}
    (batch,) = batches if len(batches) == 1 else (None,)
    return batch or EVERY_ITEM


def _text(item: Item) -> str:
    return str(item.own_text or item.inputs.get("prompt") or "")


def _spec(*, sets: Mapping[str, Any] = {}, **said: Any) -> BatchSpec:
    return BatchSpec(layout="gallery", on_error="continue", literal=True, sets=sets, **said)
