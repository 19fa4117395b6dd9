"""Graphs and node classes for tests, written so that a person can read a hundred of them.

A graph is a mapping of ids that speak (`pos`, `sampler`) to nodes. A text that starts with `@` is a link: `@ckpt:1` is
output 1 of `ckpt`, `@pos` output 0.

A class is a line: `model:MODEL seed:INT! text:STRING~ image:COMBO^image -> LATENT CONDITIONING/positive`. After a type,
`!` is control_after_generate, `~` a dynamic prompt, `=` several lines, `^image` what can be uploaded, `?` an optional
input; after the type of an output its name. `->*` makes it an output node.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_INPUT = re.compile(r"(?P<name>[^:]+):(?P<type>[A-Z0-9_*,]+)(?P<flags>[!~=?]*)(?:\^(?P<upload>\w+))?")


def node(class_type: str, *, title: str | None = None, **inputs: Any) -> dict[str, Any]:
    """One node; `__` in the name of an input is a blank."""
    spelled = {name.replace("__", " "): _value(value) for name, value in inputs.items()}
    return {"class_type": class_type, "inputs": spelled} | ({"_meta": {"title": title}} if title else {})


def _value(value: Any) -> Any:
    if not (isinstance(value, str) and value.startswith("@")):
        return value
    source, _, slot = value[1:].partition(":")
    return [source, int(slot or 0)]


def text_to_image(**changes: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    """The graph that everybody starts with; `changes` replaces, adds or (None) removes nodes."""
    nodes: dict[str, dict[str, Any] | None] = {
        "ckpt": node("CheckpointLoaderSimple", ckpt_name="base.safetensors"),
        "pos": node("CLIPTextEncode", text="a house", clip="@ckpt:1"),
        "neg": node("CLIPTextEncode", text="ugly", clip="@ckpt:1"),
        "latent": node("EmptyLatentImage", width=512, height=768, batch_size=1),
        "sampler": sampler(),
        "decode": node("VAEDecode", samples="@sampler", vae="@ckpt:2"),
        "save": node("SaveImage", images="@decode", filename_prefix="x"),
    }
    return {node_id: made for node_id, made in (nodes | changes).items() if made is not None}


def sampler(class_type: str = "KSampler", **changes: Any) -> dict[str, Any]:
    """A sampler of `text_to_image`, with some inputs changed."""
    inputs = {
        "seed": 1,
        "steps": 20,
        "cfg": 7.0,
        "sampler_name": "euler",
        "scheduler": "normal",
        "denoise": 1.0,
        "model": "@ckpt",
        "positive": "@pos",
        "negative": "@neg",
        "latent_image": "@latent",
    }
    changed = {name: value for name, value in (inputs | changes).items() if value is not None}
    return node(class_type, **changed)


def object_info(lines: Mapping[str, str]) -> dict[str, Any]:
    """What a server with these classes answers."""
    return {name: _class(name, line) for name, line in lines.items()}


def _class(name: str, line: str) -> dict[str, Any]:
    taken, arrow, given = line.partition("->")
    outputs = [each.partition("/") for each in given.removeprefix("*").split()]
    inputs: dict[str, dict[str, Any]] = {"required": {}, "optional": {}}
    for each in taken.split():
        found = _INPUT.fullmatch(each)
        assert found is not None, (name, each)
        spec = [found["type"], _options(found["flags"], found["upload"])]
        inputs["optional" if "?" in found["flags"] else "required"][found["name"].replace("__", " ")] = spec
    return {
        "input": inputs,
        "output": [kind for kind, _, _ in outputs],
        "output_name": [called or kind for kind, _, called in outputs],
        "output_node": given.startswith("*") if arrow else True,
        "name": name,
        "display_name": name,
        "python_module": "nodes",
    }


def _options(flags: str, upload: str | None) -> dict[str, Any]:
    options: dict[str, Any] = {"control_after_generate": True} if "!" in flags else {}
    options |= {"dynamicPrompts": True, "multiline": True} if "~" in flags else {}
    options |= {"multiline": True} if "=" in flags else {}
    return options | ({f"{upload}_upload": True} if upload else {})
