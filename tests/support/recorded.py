"""Recorded responses of real ComfyUI servers, and the comparison of other responses with them.

They are recorded by `tests/sandbox/record.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Cases = dict[str, Any]


def _cases(name: str) -> Cases:
    found: Cases = json.loads((Path(__file__).parents[1] / "data" / name).read_text("utf-8"))["cases"]
    return found


RECORDED = _cases("exchanges.json")
"""Of ComfyUI 0.3.64."""
RECORDINGS = {"0.3.64": RECORDED, "0.33.0": _cases("exchanges_0.33.0.json")}
"""By version: cases by name, each with `request` and `response`, or with the `messages` of a websocket."""
AUDIO_NAMES: dict[str, Cases] = json.loads((Path(__file__).parents[1] / "data" / "audio_names.json").read_text("utf-8"))
"""By version: the outputs of a prompt that saves audio under our prefixes, by node: 9 FLAC, 10 MP3, 11 Opus."""
CLIENT = "burst-contract"
"""The client_id in them."""
HEADERS = ("Content-Type", "Content-Disposition", "Content-Length", "Accept-Ranges")
"""The headers that are recorded."""
_TIMES = {"timestamp", "create_time", "execution_start_time", "execution_end_time"}
_TEXTS = {"tooltip", "description", "traceback", "output_tooltips", "search_aliases"}
OF_ANY_VALUE = _TIMES | _TEXTS
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
