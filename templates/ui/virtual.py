"""Nodes that only the editor has: none of them is sent to the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from templates.ui.document import UiNode

PRIMITIVE = "PrimitiveNode"
REROUTES = frozenset({"Reroute", "Reroute (rgthree)"})
SETTERS = frozenset({"SetNode", "easy setNode"})
GETTERS = frozenset({"GetNode", "easy getNode"})
NOTES = frozenset(
    {
        "Note",
        "MarkdownNote",
        "Note Plus (mtb)",
        "Bookmark (rgthree)",
        "Label (rgthree)",
        "Fast Actions Button (rgthree)",
        "Fast Bypasser (rgthree)",
        "Fast Groups Bypasser (rgthree)",
        "Fast Groups Muter (rgthree)",
        "Fast Muter (rgthree)",
        "Mute / Bypass Relay (rgthree)",
        "Mute / Bypass Repeater (rgthree)",
        "Node Collector (rgthree)",
        "Random Unmuter (rgthree)",
    }
)
"""Notes, and what switches other nodes on and off while a person works; their links mean nothing to the server."""
VIRTUAL = frozenset({PRIMITIVE}) | REROUTES | NOTES | SETTERS | GETTERS
IMPLICIT = frozenset(
    {"Anything Everywhere", "Anything Everywhere?", "Anything Everywhere3", "Prompts Everywhere", "Seed Everywhere"}
)
"""Nodes that link others without a link in the file."""


def value_of(node: UiNode) -> tuple[Any, ...]:
    """The first value of a node: what a primitive gives; empty without one."""
    values = tuple(node.values.values()) if isinstance(node.values, Mapping) else node.values or ()
    return values[:1]


def variable(node: UiNode) -> Any:
    """The name of a Set or Get node; None without one."""
    found = value_of(node)
    return found[0] if found else None
