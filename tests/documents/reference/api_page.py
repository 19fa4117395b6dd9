"""`docs/reference/api.md`, from the OpenAPI description of `burst serve`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.web.app import create_app
from orchestrator.web.states import WatchedStates
from orchestrator.web.supervisor import Supervisor

_HEAD = """\
# API of the browser

The calls that `burst serve` answers. The running server describes the same at `/openapi.json`. How to use them from a \
script, who may call, and what the statuses mean: [In a browser](../browser.md).

An error is `{"error": {"message", "field"}}`.
"""
_METHODS = ("get", "post", "put", "delete")


def page() -> str:
    """The whole page."""
    described = create_app(WatchedStates([]), Supervisor(WatchedStates([]))).openapi()
    lines = [_HEAD, "## Calls", ""]
    for path, calls in described["paths"].items():
        for method in (method for method in _METHODS if method in calls):
            lines += _call(f"{method.upper()} {path}", calls[method])
    lines += ["## Objects", ""]
    for name, schema in sorted(described["components"]["schemas"].items()):
        lines += _object(name, schema)
    return "\n".join(lines).rstrip("\n") + "\n"


def _call(title: str, call: Mapping[str, Any]) -> Iterator[str]:
    yield f"### `{title}`"
    yield ""
    text = call.get("description") or call["summary"]
    yield _text(text)
    yield ""
    rows = [f"| `{one['name']}` in {one['in']} | {_type(one['schema'])} | {_about(one)} |" for one in _given(call)]
    body = call.get("requestBody", {}).get("content", {})
    rows += [f"| body, `{kind}` | {_type(found.get('schema', {}))} | |" for kind, found in body.items()]
    for code, answer in call["responses"].items():
        for kind, found in answer.get("content", {"": {}}).items():
            named = f"answer {code}" + (f", `{kind}`" if kind not in ("", "application/json") else "")
            if code < "300":
                rows.append(f"| {named} | {_type(found.get('schema', {}))} | |")
    errors = sorted(code for code in call["responses"] if code >= "300")
    yield from ("| | | |", "|---|---|---|", *rows)
    if errors:
        yield f"| errors | {', '.join(errors)} | |"
    yield ""


def _given(call: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from call.get("parameters", [])


def _about(one: Mapping[str, Any]) -> str:
    return _text(one.get("description") or one["schema"].get("description") or "")


def _object(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {name}"
    yield ""
    if about := schema.get("description"):
        yield _text(about)
        yield ""
    if "properties" not in schema:
        yield _type(schema)
        yield ""
        return
    yield from ("| field | type | |", "|---|---|---|")
    for field, found in schema["properties"].items():
        optional = "" if field in schema.get("required", []) else " *(optional)*"
        yield f"| `{field}`{optional} | {_type(found)} | {_text(found.get('description', ''))} |"
    yield ""


def _type(found: Mapping[str, Any]) -> str:
    match found:
        case {"$ref": reference}:
            name = reference.rpartition("/")[2]
            return f"[{name}](#{name.lower()})"
        case {"enum": values}:
            return ", ".join(f"`{value}`" for value in values)
        case {"const": value}:
            return f"`{value}`"
        case {"anyOf": kinds} | {"oneOf": kinds} | {"allOf": kinds}:
            return " or ".join(dict.fromkeys(_type(kind) for kind in kinds))
        case {"type": "array", "items": items}:
            return f"list of {_type(items)}"
        case {"type": "object", "additionalProperties": dict() as values}:
            return f"object of {_type(values)}"
        case {"type": str(kind)}:
            return {"integer": "whole number", "boolean": "true or false", "null": "null", "string": "text"}.get(
                kind, kind
            )
    return "any"


def _text(text: str) -> str:
    """One line in which Markdown takes nothing for its own but code."""
    parts = " ".join(text.split()).split("`")
    return "`".join(
        part.replace("|", "\\|") if number % 2 else re.sub(r"([*_<>{}|])", r"\\\1", part)
        for number, part in enumerate(parts)
    )
