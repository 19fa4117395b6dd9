"""What a graph's links carry: by a server's node classes where they are known, by the names of inputs where not.

The walks of this package go through nodes that nobody has listed. What a node passes on is judged, in this order, by
the type of its output (an input of the same type is where it comes from), by the name of the input, and last by there
being one link alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from templates.catalogue import ANY, COMBO, MATCH_TYPE, Catalogue, NodeClass, NodeInput
from templates.graph import Graph, Link, class_of, inputs_of, links

Side = Literal["positive", "negative"]

_POSITIVE = re.compile(r"positive|(?<![a-z])pos(?![a-z])|\+$")
_NEGATIVE = re.compile(r"negative|(?<![a-z])neg(?![a-z])|uncond|-$")
_CONDITIONING = re.compile(r"^(positive|negative)|cond|^text_embeds$|_embeds?$")
_NOT_CONDITIONING = re.compile(r"image|clip_vision|vision|audio|face|mask")
_MODEL = re.compile(
    r"^(model|(base|unet|diffusion|hook|refiner|high|low)_?model)[_ ]?(\d+|[a-z]|high|low)?$|^SUPIR_model$"
)
_PIPE = re.compile(r"(^|_)pipe(_\d+|_opt)?$|^(ctx|context|base_ctx|sdxl_tuple|script)(_\d+)?$", re.IGNORECASE)
_IMAGE = re.compile(
    r"^(images?|pixels|frames?|source|destination|foreground|background|input_image|src_image|video)(_?([a-z]|\d+|opt))?$"
    r"|(^|_)images?(_|\d|$)"
)
_MASK = re.compile(r"(^|_)masks?(_?\d+)?$")
_TRUE = re.compile(r"(^|_)true(_|$)", re.IGNORECASE)
_FALSE = re.compile(r"(^|_)false(_|$)", re.IGNORECASE)
_ANYTHING = re.compile(r"(?:signal|value|any|anything|input|in|data)(?:_?\d+)?")
_SWITCHES = ("switch", "boolean", "bool", "condition", "boolean_value", "use_true")
_SELECTS = ("select", "index", "Input", "input", "selected")
_FIRST_GIVEN = "Any Switch"
"""rgthree's: passes on the first input that is there."""


def side_of_name(name: str) -> Side | None:
    """The side that the name of an input or output speaks of; None for neither, or for both."""
    lowered = name.lower()
    positive, negative = bool(_POSITIVE.search(lowered)), bool(_NEGATIVE.search(lowered))
    if positive == negative:
        return None
    return "positive" if positive else "negative"


@dataclass(frozen=True)
class Wiring:
    """A graph with what is known of its nodes' classes; an empty catalogue: names alone."""

    graph: Graph
    catalogue: Catalogue = field(default_factory=dict)

    def class_at(self, node_id: str) -> NodeClass | None:
        """What the server says of the node's class."""
        return self.catalogue.get(class_of(self.graph, node_id))

    def declared(self, node_id: str, name: str) -> NodeInput | None:
        """What the server says of the input."""
        found = self.class_at(node_id)
        return found.input(name) if found is not None else None

    def output_type(self, link: Link) -> str | None:
        """The type of a linked output; None where it is not known, or that of whatever comes in."""
        found = self.class_at(link[0])
        if found is None or not 0 <= link[1] < len(found.outputs):
            return None
        kind = found.outputs[link[1]].type
        return None if kind in (ANY, MATCH_TYPE, COMBO) else kind

    def carried(self, node_id: str, name: str, link: Link) -> str | None:
        """The type of what a linked input takes: its output's, else the input's own; None where neither says it."""
        if kind := self.output_type(link):
            return kind
        declared = self.declared(node_id, name)
        if declared is None or declared.type in (ANY, MATCH_TYPE) or len(declared.types) > 1:
            return None
        return declared.type

    def links(self, node_id: str) -> list[tuple[str, Link]]:
        """The linked inputs of a node, but for links to nodes that do not exist."""
        return [(name, link) for name, link in links(self.graph, node_id) if link[0] in self.graph]

    @cached_property
    def _takers(self) -> dict[Link, list[tuple[str, str]]]:
        found: dict[Link, list[tuple[str, str]]] = {}
        for node_id in self.graph:
            for name, link in links(self.graph, node_id):
                found.setdefault(link, []).append((node_id, name))
        return found

    def takers(self, node_id: str) -> Iterator[tuple[int, str, str]]:
        """Who uses a node's outputs: slot, node id, input."""
        for (source, slot), users in self._takers.items():
            if source == node_id:
                yield from ((slot, user, name) for user, name in users)

    def side_of(self, link: Link) -> Side | None:
        """Which side an output carries: by its name on the server, else by the inputs that take it."""
        found = self.class_at(link[0])
        is_known = found is not None and 0 <= link[1] < len(found.outputs)
        if found is not None and is_known and (side := side_of_name(found.outputs[link[1]].name)):
            return side
        sides = {side_of_name(name) for _, name in self._takers.get(link, ())} - {None}
        return sides.pop() if len(sides) == 1 else None

    def same_type(self, link: Link) -> list[tuple[str, Link]]:
        """The inputs of the linked node that take what this output is."""
        kind = self.output_type(link)
        if kind is None:
            return []
        node_id = link[0]
        return [(name, found) for name, found in self.links(node_id) if self.carried(node_id, name, found) == kind]

    def conditionings(self, node_id: str, slot: int | None, side: Side) -> list[tuple[Link, Side]]:
        """Where a node's conditioning comes from, with the side that each link is of.

        A node that takes both sides gives the one that its output is of; where that is not known, the one that the
        walk is on.
        """
        found = self.same_type((node_id, slot)) if slot is not None else []
        found = found or [pair for pair in self.links(node_id) if self._is_conditioning(node_id, *pair)]
        sides = {side_of_name(name) for name, _ in found} - {None}
        taken = (self.side_of((node_id, slot)) if slot is not None and len(sides) == 2 else None) or side
        wanted = (taken,) if len(sides) == 2 else (taken, None)
        return [(link, taken) for name, link in found if side_of_name(name) in wanted]

    def _is_conditioning(self, node_id: str, name: str, link: Link) -> bool:
        if self.carried(node_id, name, link) in ("IMAGE", "MASK", "LATENT", "MODEL", "CLIP", "VAE", "INT", "FLOAT"):
            return False
        return bool(_CONDITIONING.search(name)) and not _NOT_CONDITIONING.search(name)

    def models(self, node_id: str, slot: int | None) -> list[Link]:
        """Where a node's model comes from; empty for one that loads it."""
        found = self.same_type((node_id, slot)) if slot is not None else []
        return [link for _, link in found] or [link for name, link in self.links(node_id) if _MODEL.search(name)]

    def pipes(self, node_id: str) -> list[Link]:
        """The bundles of model, conditioning and latent that a node takes."""
        return [link for name, link in self.links(node_id) if self._is_pipe(node_id, name, link)]

    def _is_pipe(self, node_id: str, name: str, link: Link) -> bool:
        kind = self.carried(node_id, name, link)
        if kind is not None:
            return "PIPE" in kind or kind.endswith(("_CONTEXT", "_TUPLE"))
        return bool(_PIPE.search(name)) and name.lower() != "script"

    def is_image(self, node_id: str, name: str, link: Link) -> bool:
        """Whether a linked input takes images (or a video)."""
        kind = self.carried(node_id, name, link)
        return kind in ("IMAGE", "VIDEO") if kind is not None else bool(_IMAGE.search(name))

    def is_mask(self, node_id: str, name: str, link: Link) -> bool:
        """Whether a linked input takes a mask."""
        kind = self.carried(node_id, name, link)
        return kind == "MASK" if kind is not None else bool(_MASK.search(name))

    def passed(self, node_id: str, slot: int | None = None) -> list[Link]:
        """What a node without inputs of the kind passes on: of a switch what it chooses, else its only link.

        Of a node that takes anything by several inputs, the one in the place of the output.
        """
        switched = self.switched(node_id)
        if switched is not None:
            return switched
        found = self.links(node_id)
        takes_anything = len(found) == len(inputs_of(self.graph, node_id)) and all(takes_any(name) for name, _ in found)
        if takes_anything and slot is not None and 0 <= slot < len(found):
            return [found[slot][1]]
        return [link for _, link in found] if len(found) == 1 else []

    def switched(self, node_id: str) -> list[Link] | None:
        """The links that a switch may pass on, one where its choice is written in the graph; None for another node."""
        inputs, found = inputs_of(self.graph, node_id), dict(self.links(node_id))
        true, false = _branch(found, _TRUE), _branch(found, _FALSE)
        if true and false:
            chosen = next((inputs[name] for name in _SWITCHES if isinstance(inputs.get(name), bool)), None)
            return [*true, *false] if chosen is None else true if chosen else false
        if "Switch" not in class_of(self.graph, node_id):
            return None
        branches = [link for name, link in found.items() if name not in (*_SWITCHES, *_SELECTS)]
        if _FIRST_GIVEN in class_of(self.graph, node_id):
            return branches[:1]
        number = next((inputs[name] for name in _SELECTS if _is_count(inputs.get(name))), None)
        numbered = [link for name, link in found.items() if number is not None and _ends_with(name, number)]
        return numbered if len(numbered) == 1 else branches


def takes_any(name: str) -> bool:
    """Whether an input of this name takes whatever is linked to it."""
    return _ANYTHING.fullmatch(name) is not None


def _branch(found: dict[str, Link], name: re.Pattern[str]) -> list[Link]:
    return [link for spelling, link in found.items() if name.search(spelling) and spelling not in _SWITCHES]


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _ends_with(name: str, number: object) -> bool:
    found = re.search(r"\d+$", name)
    return found is not None and int(found[0]) == number


def distinct(links_: Iterable[Link]) -> list[Link]:
    """Each once, in order."""
    return list(dict.fromkeys(links_))
