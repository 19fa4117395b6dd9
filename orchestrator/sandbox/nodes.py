"""Inputs and outputs of node classes, as used by validation, execution and GET /object_info."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

Options = dict[str, Any]
Spec = tuple[str | list[str], Options] | tuple[str | list[str]]
"""An input as in /object_info: a type or a list of choices, and options if there are any."""

LISTED = "@"
"""Prefix of types that stand for a list that the server looks up each time, such as "@checkpoints"."""


@dataclass(frozen=True)
class NodeClass:
    """A node class in ComfyUI's terms."""

    name: str
    required: dict[str, Spec]
    outputs: tuple[str, ...] = ()
    optional: dict[str, Spec] = field(default_factory=dict)
    hidden: dict[str, str] = field(default_factory=dict)
    display_name: str | None = None
    description: str = ""
    module: str = "nodes"
    category: str = "image"
    output_node: bool = False
    output_tooltips: tuple[str, ...] | None = None
    schema_node: bool = False
    """Uses ComfyUI's newer node schema: its object_info has more flags, and null tooltips."""
    is_newer: bool = False
    """As 0.33.0 has it: what follows is in its object_info."""
    output_names: tuple[str, ...] | None = None
    """Where they are not those of the types."""
    search_aliases: tuple[str, ...] | None = None
    essentials_category: str | None = None
    intermediate_output: bool = False
    """Shows an image without being an output node: where it comes from the cache, it is listed again."""


class Catalogue:
    """The node classes of a server; lists of models and input images are filled in on each access.

    `classes` gives those of the imitated version, and `missing` names the ones that the server lacks, on each access.
    """

    def __init__(
        self,
        classes: Callable[[], Mapping[str, NodeClass]],
        *,
        choices: Callable[[str], list[str]],
        missing: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._classes = classes
        self._choices = choices
        self._missing = missing

    def get(self, name: str) -> NodeClass | None:
        return None if name in self._missing() else self._classes().get(name)

    def __getitem__(self, name: str) -> NodeClass:
        """For accepted prompts, so it also returns classes that are missing now."""
        return self._classes()[name]

    def names(self) -> list[str]:
        return [name for name in self._classes() if name not in self._missing()]

    def inputs(self, node_class: NodeClass) -> dict[str, tuple[str | list[str], Options, bool]]:
        """All inputs: type or choices, options, and whether they are required."""
        found = {}
        for specs, required in ((node_class.required, True), (node_class.optional, False)):
            for name, spec in specs.items():
                found[name] = (self._filled(spec[0]), self._with_choices(spec[1]) if len(spec) > 1 else {}, required)
        return found

    def object_info(self, name: str) -> dict[str, Any] | None:
        """The response of GET /object_info/{name}; None for a class that the server lacks."""
        node_class = self.get(name)
        if node_class is None:
            return None
        groups: dict[str, dict[str, Any]] = {
            "required": {key: self._listed(spec) for key, spec in node_class.required.items()},
            "optional": {key: self._listed(spec) for key, spec in node_class.optional.items()},
            "hidden": {key: _hidden(node_class, kind) for key, kind in node_class.hidden.items()},
        }
        groups = {key: group for key, group in groups.items() if group or key == "required"}
        info: dict[str, Any] = {
            "input": groups,
            "input_order": {key: list(group) for key, group in groups.items()},
            "output": list(node_class.outputs),
            "output_is_list": [False] * len(node_class.outputs),
            "output_name": list(node_class.output_names or node_class.outputs),
            "name": name,
            "display_name": node_class.display_name if node_class.schema_node else node_class.display_name or name,
            "description": node_class.description,
            "python_module": node_class.module,
            "category": node_class.category,
            "output_node": node_class.output_node,
        }
        if node_class.output_tooltips is not None:
            info["output_tooltips"] = list(node_class.output_tooltips)
        if node_class.schema_node:
            info["output_tooltips"] = [None] * len(node_class.outputs)
            info |= {"deprecated": False, "experimental": False, "api_node": False}
        return info | _newer_info(node_class) if node_class.is_newer else info

    def _listed(self, spec: Spec) -> list[Any]:
        return [self._filled(spec[0]), *map(self._with_choices, spec[1:])]

    def _with_choices(self, options: Options) -> Options:
        """As newer nodes have them, whose list is among the options."""
        return options | {"options": self._filled(options["options"])} if "options" in options else options

    def _filled(self, kind: str | list[str]) -> str | list[str]:
        if isinstance(kind, str) and kind.startswith(LISTED):
            return self._choices(kind.removeprefix(LISTED))
        return kind


def _hidden(node_class: NodeClass, kind: str) -> str | list[str]:
    return [kind] if node_class.is_newer and node_class.schema_node else kind


def _newer_info(node_class: NodeClass) -> dict[str, Any]:
    """What 0.33.0 says besides."""
    aliases = None if node_class.search_aliases is None else list(node_class.search_aliases)
    info: dict[str, Any] = {
        "is_input_list": False,
        "has_intermediate_output": node_class.intermediate_output,
        "search_aliases": aliases,
    }
    if node_class.essentials_category is not None or node_class.schema_node:
        info["essentials_category"] = node_class.essentials_category
    if node_class.schema_node:
        info |= {"output_matchtypes": None, "dev_only": False, "price_badge": None}
    return info
