"""Sidecars: a file beside an item's pictures that says all it takes to make them again, and what is read from one.

What makes the pictures comes first, by binding or address, with the values that really were in the graph; then the
template that they belong to, and how it went. `.txt` is for people (see `sidecar_text`), `.json` one object.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

import templates
from orchestrator.batches.a1111_parameters import read_parameters
from orchestrator.batches.sidecar_text import as_text, from_text
from orchestrator.batches.values import fitted
from orchestrator.errors import RecipeUnusable, TemplateError, UsageError, located
from orchestrator.outputs import Sidecar, embedded_graph
from orchestrator.places import Place
from orchestrator.preparation import Preparation, filled
from orchestrator.recipes import LoadedRecipe, Recipes
from orchestrator.text_files import decoded
from orchestrator.wording import named
from state.item import Item, OutputRecord
from templates import Convert, Graph, Target
from templates.embedded import embedded_text

SCHEMA = "burst.sidecar/1"
LARGEST_SIDECAR_BYTES = 64 << 20
_PNG = b"\x89PNG\r\n\x1a\n"
_ORDER = {name: number for number, name in enumerate(templates.NAMES)}


def sidecar_of(item: Item, prompts: Preparation, *, graph: Mapping[str, Any] | None, seconds: float | None) -> Sidecar:
    """What to say of an item whose prompt has finished; the same whenever it is collected.

    `graph`: what the server says it rendered; where it says nothing of use, the item is prepared once more.
    `template_fingerprint` is None where the template, as it is now, would not make the same graph again.
    Errors: ItemError, RecipeUnusable and TemplateError where there is no graph.
    """
    assert item.sidecar is not None
    try:
        rendered = templates.parse_graph(graph, where="the server's history")
    except TemplateError:
        rendered = prompts.prepare(item).graph
    template, inputs, fingerprint = _read_off(item, prompts, rendered)
    facts = {
        "schema": SCHEMA,
        "template": template,
        "template_fingerprint": fingerprint,
        "recipe": item.recipe,
        "batch": item.batch,
        "index": item.index,
        "server": item.server,
        "seconds": seconds,
        "prompt_id": item.prompt_id,
        "dynamic": item.dynamic or None,
    }
    write = _as_json if item.sidecar.endswith(".json") else _as_lines
    return Sidecar(item.sidecar, lambda files: write(inputs, facts, files))


@dataclass(frozen=True)
class Reproduction:
    """What makes pictures again."""

    template: str | None
    """A shipped template or a path, as `load_workflow` takes it; None: `graph` is the template."""
    graph: Graph | None
    prompt: str | None
    """None where the template takes no text."""
    seed: int | None
    inputs: Mapping[str, Any]
    """All others, by binding or address."""
    recipe: LoadedRecipe | None = None
    """What they were made with, where that is still known: then `template` and `graph` are not needed."""
    has_foreign_values: bool = False
    """Whether they are from another program, so that a template need not have a place for all of them."""


def read_reproduction(
    path: Path,
    *,
    home: Path,
    template: str | None = None,
    recipes: Recipes | None = None,
    data: bytes | None = None,
    convert: Convert | None = None,
) -> Reproduction:
    """What a sidecar says, or a PNG with the graph that ComfyUI put into it. The format is told by the contents.

    `home`: where a relative template starts. `template`: to be used whatever the file says. `recipes`: where the
    recipe that a sidecar names may be, whose workflow is as it was, whatever has become of the template since.
    `data`: what is in the file, where it was read already. `convert`: for a template in the editor's format.
    Errors: UsageError for what is neither, and where the template is gone or is not what it was.
    """
    with (
        located(f"{path}: cannot be read", OSError, into=UsageError),
        located(f"{path}: neither a sidecar of burst nor a PNG", ValueError, RecursionError, into=UsageError),
    ):
        data = path.read_bytes() if data is None else data
        if data.startswith(_PNG):
            return _of_picture(path, data, template)
        inputs, facts = _parted(decoded(data[:LARGEST_SIDECAR_BYTES]))
    recipe = _recipe(facts, recipes) if template is None and recipes is not None else None
    if template is None and recipe is None:
        template = _unchanged(path, facts, home, convert)
    return _reproduction(path, template, None, inputs, recipe)


def read_sidecar(path: Place) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a sidecar says: inputs by binding or address, and facts. Errors: OSError, ValueError for what is none."""
    with path.open("rb") as stream:
        try:
            return _parted(decoded(stream.read(LARGEST_SIDECAR_BYTES)))
        except RecursionError as error:
            raise ValueError("nested too deep to be read") from error


def _read_off(item: Item, prompts: Preparation, rendered: Graph) -> tuple[str | None, dict[str, Any], str | None]:
    """The template's name, the inputs in the graph, and the template's fingerprint where these belong together."""
    try:
        found = prompts.recipe_of(item)
        inputs = _inputs(found.graph, item.inputs, found.bindings, rendered)
    except (RecipeUnusable, TemplateError):
        return item.template, _inputs(rendered, {}, templates.find_bindings(rendered), rendered), None
    try:
        again, _ = filled(found.graph, found.bindings, inputs)
        is_same = templates.fingerprint(again) == templates.fingerprint(rendered)
        return found.recipe.workflow_name, inputs, templates.fingerprint(found.graph) if is_same else None
    except TemplateError:
        return found.recipe.workflow_name, inputs, None


def _inputs(template: Graph, said: Mapping[str, Any], bindings: templates.Bindings, rendered: Graph) -> dict[str, Any]:
    """By name where one value is in all that the name sets; by address where not, and where that was asked for.

    LoRAs are as they were asked for, because those that were spliced in have no place in the template.
    """
    inputs: dict[str, Any] = {}
    told: set[Target] = set()
    as_said = ("lora", "lora_strength") if "lora" in said else ()
    for name in sorted(bindings.keys() - {"prefix", *as_said}, key=lambda name: (_ORDER.get(name, len(_ORDER)), name)):
        values = dict(_literals(rendered, bindings[name]))
        told.update(bindings[name])
        if len(values) == len(bindings[name]) and len(set(map(repr, values.values()))) == 1:
            inputs[name] = next(iter(values.values()))
        else:
            inputs |= {target.address: value for target, value in values.items()}
    inputs |= {name: said[name] for name in as_said if name in said}
    spec = [Target(*templates.resolve(template, name)) for name in said if name not in bindings and "." in name]
    others = _literals(rendered, [target for target in spec if target not in told])
    return inputs | {target.address: value for target, value in others}


def _literals(graph: Graph, targets: Iterable[Target]) -> Iterator[tuple[Target, Any]]:
    for target in targets:
        value = graph.get(target.node_id, {}).get("inputs", {}).get(target.input_name)
        if isinstance(value, str | int | float):
            yield target, value


def _as_lines(inputs: Mapping[str, Any], facts: Mapping[str, Any], files: Sequence[OutputRecord]) -> str:
    return as_text([inputs, {**_known(facts), "files": msgspec.to_builtins(files)}])


def _as_json(inputs: Mapping[str, Any], facts: Mapping[str, Any], files: Sequence[OutputRecord]) -> str:
    document = {"inputs": inputs, **_known(facts), "files": msgspec.to_builtins(files)}
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def _known(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value is not None}


def _parted(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Inputs and facts. Errors: ValueError for what is no sidecar."""
    if text.startswith("{"):
        facts = json.loads(text)
        inputs = facts.pop("inputs", None)
    else:
        inputs, facts = (*from_text(text), {})[:2]
    if not isinstance(inputs, dict) or facts.get("schema") != SCHEMA:
        raise ValueError(f"it does not say that it is {SCHEMA}")
    return inputs, facts


def _recipe(facts: Mapping[str, Any], recipes: Recipes) -> LoadedRecipe | None:
    """The recipe that a sidecar names, where it is known and makes what the sidecar is about."""
    recipe_id, then = facts.get("recipe"), facts.get("template_fingerprint")
    if not isinstance(recipe_id, str) or not isinstance(then, str):
        return None
    try:
        recipe = recipes.loaded(recipe_id)
        return recipe if then in _fingerprints(recipe.graph) else None
    except (RecipeUnusable, TemplateError):
        return None


def _fingerprints(graph: Graph) -> tuple[str, str]:
    """By the rule of today, and by the former one."""
    return templates.fingerprint(graph), templates.former_fingerprint(graph)


def _unchanged(path: Path, facts: Mapping[str, Any], home: Path, convert: Convert | None) -> str:
    """The template that a sidecar names. Errors: UsageError."""
    name, then = facts.get("template"), facts.get("template_fingerprint")
    if not isinstance(name, str):
        raise UsageError(f"{path}: it names no template; name one with {named('template', 'NAME')}")
    advice = f"put the old one back, or name the one to be used with {named('template', 'NAME')}"
    try:
        now = _fingerprints(templates.load_workflow(name, relative_to=home, convert=convert).graph)
    except TemplateError as error:
        raise UsageError(f"{path}: its template {name} cannot be had any more ({error}); {advice}") from error
    if not isinstance(then, str):
        raise UsageError(f"{path}: its template {name} had been changed before the image was saved; {advice}")
    if then not in now:
        raise UsageError(f"{path}: its template {name} was {then[:12]}… and is {now[0][:12]}… now; {advice}")
    return name


def _of_picture(path: Path, data: bytes, template: str | None) -> Reproduction:
    """The graph itself is the template, unless another is named: that one gets what the graph's bindings hold."""
    try:
        graph = templates.parse_graph(embedded_graph(data), where=str(path))
    except TemplateError as error:
        if (text := embedded_text(data, "parameters")) is not None:
            return _of_parameters(path, text, template)
        raise UsageError(f"{path}: this image holds no ComfyUI workflow; use one that ComfyUI saved as PNG") from error
    inputs = _inputs(graph, {}, templates.find_bindings(graph), graph)
    if template is None:
        return _reproduction(path, None, graph, {name: inputs[name] for name in ("prompt", "seed") if name in inputs})
    return _reproduction(
        path, template, None, {name: value for name, value in inputs.items() if name in templates.NAMES}
    )


def _of_parameters(path: Path, text: str, template: str | None) -> Reproduction:
    """What AUTOMATIC1111's web UI wrote into an image: values without a workflow."""
    found = next(read_parameters(text, str(path), lambda name: True))
    return replace(
        _reproduction(path, template, None, {"prompt": found.prompt, **found.inputs}), has_foreign_values=True
    )


def _reproduction(
    path: Path,
    template: str | None,
    graph: Graph | None,
    inputs: Mapping[str, Any],
    recipe: LoadedRecipe | None = None,
) -> Reproduction:
    others = dict(inputs)
    prompt, seed = others.pop("prompt", None), others.pop("seed", None)
    if prompt is not None and not isinstance(prompt, str):
        raise UsageError(f"{path}: its prompt is {prompt!r}, which is not text")
    if seed is not None:
        with located(path, UsageError):
            seed = fitted("seed", seed)
    return Reproduction(template, graph, prompt, seed, others, recipe)
