"""A server's node classes, as `GET /object_info` describes them: inputs, outputs and flags, typed.

Read from the answers of ComfyUI 0.3.64 and 0.33.0. An input is `[type, {options}]`; the type of a combo is its list of
choices, in newer servers "COMBO". Two newer types hold further inputs, whose names in a graph have a dot:
`COMFY_DYNAMICCOMBO_V3` those of the chosen option (`style`, `style.photo`), `COMFY_AUTOGROW_V3` as many of one kind as
are linked (`images.image0`, `images.image1`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

COMBO = "COMBO"
ANY = "*"
DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"
AUTOGROW = "COMFY_AUTOGROW_V3"
MATCH_TYPE = "COMFY_MATCHTYPE_V3"
_LARGEST_GROUP = 100


class NodeInput(msgspec.Struct, frozen=True):
    """One input of a node class."""

    name: str
    """As the graph spells it; of a sub-input with the name of the input that holds it: `style.photo`."""
    type: str
    """`MODEL`, `INT`, `COMBO`, `*`; several are separated by commas: `FLOAT,INT`."""
    required: bool
    options: Mapping[str, Any] = msgspec.field(default_factory=dict)
    values: tuple[Any, ...] | None = None
    """The choices of a combo; None for other types, and where the server does not list them."""
    branches: Mapping[str, tuple[NodeInput, ...]] = msgspec.field(default_factory=dict)
    """Of a dynamic combo: the chosen key -> its inputs."""
    members: tuple[NodeInput, ...] = ()
    """Of an auto-growing group: the inputs that it can have at most, in order."""

    @property
    def types(self) -> frozenset[str]:
        """The types that it takes, such as FLOAT and INT."""
        return frozenset(self.type.split(","))

    @property
    def dynamic_prompts(self) -> bool:
        """It is a text in which the editor replaces `{a|b}`: a prompt text."""
        return self.options.get("dynamicPrompts") is True

    @property
    def control_after_generate(self) -> bool:
        """The editor can change it after each run: a seed, mostly. (The option may name the first choice.)"""
        return bool(self.options.get("control_after_generate"))

    @property
    def multiline(self) -> bool:
        """It is a text of several lines."""
        return self.options.get("multiline") is True

    @property
    def upload(self) -> str | None:
        """What kind of file can be uploaded for it: `image`, `animated_image`, `video`, `audio`, `file`; else None."""
        found = (str(key) for key, value in self.options.items() if str(key).endswith("_upload") and value)
        return next((key.removesuffix("_upload") for key in found), None)

    @property
    def force_input(self) -> bool:
        """It is only ever linked, although its type has a widget."""
        return self.options.get("forceInput") is True

    @property
    def default(self) -> Any:
        """What the class uses by default; None without one."""
        return self.options.get("default")

    def held(self) -> Iterator[NodeInput]:
        """Every input that this one can hold, and those that they hold."""
        for inner in (*(each for branch in self.branches.values() for each in branch), *self.members):
            yield inner
            yield from inner.held()


class NodeOutput(msgspec.Struct, frozen=True):
    """One output of a node class."""

    name: str
    type: str
    """As of an input; of an output that takes the type of what is linked `COMFY_MATCHTYPE_V3`."""
    is_list: bool = False


class NodeClass(msgspec.Struct, frozen=True):
    """One node class of a server."""

    name: str
    display_name: str
    inputs: tuple[NodeInput, ...]
    """In the order of the class, required ones first; without hidden ones."""
    outputs: tuple[NodeOutput, ...]
    output_node: bool
    """The server runs it for its own sake: it saves or shows something."""
    python_module: str = "nodes"
    """`nodes`, `comfy_extras.…`, `comfy_api_nodes.…`; of a custom node `custom_nodes.DIRECTORY`."""
    input_is_list: bool = False
    newer: bool = False
    """Its server describes it with `has_intermediate_output`, which came between 0.3.64 and 0.33.0."""
    flags: frozenset[str] = frozenset()
    """Which of `api_node`, `deprecated`, `experimental`, `dev_only`, `has_intermediate_output` are set."""

    def input(self, name: str) -> NodeInput | None:
        """The input of this name, also one inside a dynamic combo (of whichever option) or an auto-growing group."""
        return next((each for each in self.all_inputs() if each.name == name), None)

    def all_inputs(self) -> Iterator[NodeInput]:
        """Its inputs, each followed by those that it can hold."""
        for each in self.inputs:
            yield each
            yield from each.held()

    @property
    def custom_node(self) -> str | None:
        """The directory of the custom node that brings it; None for one of ComfyUI's own."""
        kind, _, rest = self.python_module.partition(".")
        return rest.split(".")[0] or None if kind == "custom_nodes" else None


Catalogue = Mapping[str, NodeClass]
"""Node classes by name."""

_FLAGS = ("api_node", "deprecated", "experimental", "dev_only", "has_intermediate_output")


def read_catalogue(object_info: Mapping[str, Any]) -> dict[str, NodeClass]:
    """The classes in an answer of `GET /object_info[/CLASS]`. Entries of an unknown shape are left out."""
    read = ((name, read_class(name, info)) for name, info in object_info.items())
    return {name: found for name, found in read if found is not None}


def read_class(name: str, info: object) -> NodeClass | None:
    """One class from its entry in object_info; None if that has an unknown shape."""
    if not isinstance(info, dict):
        return None
    return NodeClass(
        name=name,
        display_name=str(info.get("display_name") or name),
        inputs=tuple(_inputs(info.get("input"), order=info.get("input_order"))),
        outputs=tuple(_outputs(info)),
        output_node=info.get("output_node") is True,
        python_module=str(info.get("python_module") or "nodes"),
        input_is_list=info.get("is_input_list") is True,
        newer="has_intermediate_output" in info,
        flags=frozenset(flag for flag in _FLAGS if info.get(flag) is True),
    )


def _inputs(declared: object, *, order: object = None, below: str = "") -> Iterator[NodeInput]:
    """`order`: names by kind, for an object whose keys were sorted on their way."""
    kinds = declared if isinstance(declared, dict) else {}
    orders = order if isinstance(order, dict) else {}
    for kind in ("required", "optional"):
        specs = kinds.get(kind)
        if not isinstance(specs, dict):
            continue
        for name in _ordered(specs, orders.get(kind)):
            if (found := _input(f"{below}{name}", specs[name], required=kind == "required")) is not None:
                yield found


def _ordered(names: Iterable[str], order: object) -> list[str]:
    known = list(names)
    first = [name for name in order if name in known] if isinstance(order, list) else []
    return list(dict.fromkeys([*first, *known]))


def _input(name: str, spec: object, *, required: bool) -> NodeInput | None:
    if not isinstance(spec, list | tuple) or not spec:
        return None
    kind, options = spec[0], spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
    if isinstance(kind, list):
        return NodeInput(name, COMBO, required, options, values=tuple(kind))
    if not isinstance(kind, str):
        return None
    listed = options.get("options")
    return NodeInput(
        name,
        kind,
        required,
        options,
        values=tuple(listed) if kind == COMBO and isinstance(listed, list) else None,
        branches=dict(_branches(name, listed)) if kind == DYNAMIC_COMBO else {},
        members=tuple(_members(name, options.get("template"))) if kind == AUTOGROW else (),
    )


def _branches(name: str, listed: object) -> Iterator[tuple[str, tuple[NodeInput, ...]]]:
    for option in listed if isinstance(listed, list) else ():
        if isinstance(option, dict) and isinstance(option.get("key"), str):
            yield option["key"], tuple(_inputs(option.get("inputs"), below=f"{name}."))


def _members(name: str, template: object) -> Iterator[NodeInput]:
    """The first `min` of them are required, if the template's input is."""
    if not isinstance(template, dict):
        return
    kind, spec = next(_first_spec(template.get("input")), ("optional", None))
    least = template["min"] if isinstance(template.get("min"), int) else 0
    for place, member in enumerate(_member_names(template)):
        required = kind == "required" and place < least
        if (found := _input(f"{name}.{member}", spec, required=required)) is not None:
            yield found


def _first_spec(declared: object) -> Iterator[tuple[str, object]]:
    for kind, specs in declared.items() if isinstance(declared, dict) else ():
        if isinstance(specs, dict):
            yield from ((kind, spec) for spec in specs.values())


def _member_names(template: Mapping[str, Any]) -> list[str]:
    names, prefix, most = template.get("names"), template.get("prefix"), template.get("max")
    if isinstance(names, list):
        return [str(each) for each in names[:_LARGEST_GROUP]]
    if not isinstance(prefix, str) or not isinstance(most, int):
        return []
    return [f"{prefix}{number}" for number in range(min(most, _LARGEST_GROUP))]


def _outputs(info: Mapping[str, Any]) -> Iterator[NodeOutput]:
    types, names, lists = (info.get(key) for key in ("output", "output_name", "output_is_list"))
    for slot, kind in enumerate(types if isinstance(types, list | tuple) else ()):
        name = names[slot] if isinstance(names, list) and slot < len(names) else None
        # An output of choices is the list of them.
        read = kind if isinstance(kind, str) else COMBO
        is_list = isinstance(lists, list) and slot < len(lists) and lists[slot] is True
        yield NodeOutput(str(name or read), read, is_list)
