"""Recorded responses of ComfyUI 0.3.64, and the comparison of other responses with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RECORDED: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data/exchanges.json").read_text("utf-8"))["cases"]
OF_ANY_VALUE = {"timestamp", "tooltip", "description", "traceback", "output_tooltips"}
"""Keys whose value is the server's own: the time, its help texts, its source lines. Their types are compared."""
IN_ANY_ORDER = {"executed", "current_outputs"}
"""Lists that ComfyUI makes from a set."""


def differences(wanted: Any, found: Any, *, free: set[str], where: str = "") -> list[str]:
    """Where two JSON values differ, one line each."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        if wanted.keys() != found.keys():
            return [f"{where}: keys {sorted(wanted)} against {sorted(found)}"]
        said = []
        for key, value in wanted.items():
            if key in free:
                said += form_differences(value, found[key], where=f"{where}/{key}")
            elif key in IN_ANY_ORDER and isinstance(value, list):
                said += [] if sorted(value) == sorted(found[key]) else [f"{where}/{key}: {value} against {found[key]}"]
            else:
                said += differences(value, found[key], free=free, where=f"{where}/{key}")
        return said
    if isinstance(wanted, list) and isinstance(found, list):
        if len(wanted) != len(found):
            return [f"{where}: {len(wanted)} elements against {len(found)}: {wanted} against {found}"]
        pairs = enumerate(zip(wanted, found, strict=True))
        return [
            line for at, (one, other) in pairs for line in differences(one, other, free=free, where=f"{where}/{at}")
        ]
    same = wanted == found and type(wanted) is type(found)
    return [] if same else [f"{where}: {wanted!r} against {found!r}"]


def form_differences(wanted: Any, found: Any, *, where: str) -> list[str]:
    """Where the types of two JSON values differ; keys count, elements of a list only by whether there are any."""
    if type(wanted) is not type(found):
        return [f"{where}: {wanted!r} against {found!r}"]
    if isinstance(wanted, dict):
        if wanted.keys() != found.keys():
            return [f"{where}: keys {sorted(wanted)} against {sorted(found)}"]
        return [line for key in wanted for line in form_differences(wanted[key], found[key], where=f"{where}/{key}")]
    if isinstance(wanted, list) and bool(wanted) != bool(found):
        return [f"{where}: {wanted!r} against {found!r}"]
    if isinstance(wanted, list) and wanted:
        return form_differences(wanted[0], found[0], where=f"{where}/0")
    return []
