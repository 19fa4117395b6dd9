"""`docs/reference/json.md`: every document with its fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.documents.json_schema import json_schema
from orchestrator.documents.registry import SCHEMAS

_HEAD = """\
# JSON

What each command prints with `--json`, and the JSON files that it writes. Made from the types in
`orchestrator/documents/`; a test compares them.

- A command prints one object (`burst status --watch` one a line), and on stderr only warnings and errors; with
  `-v`, progress too.
- `schema` is the name and version of the object. Under the same name, fields are only ever added.
- Lists that grow with a job hold the first ten entries; `NAME_total` says how many there are. `--all` prints lists
  whole (`burst cancel --list-all`, because its `--all` cancels everything).
- A field that is not marked *optional* is always there. Times are in seconds, moments in ISO 8601 with a time zone.
- `burst schema NAME` prints the JSON Schema (2020-12) of each, such as `burst schema report`, and of what a state keeps
  ([state.md](../state.md)): `state`, `recipe`, `burst-record`. Kinds of errors: [errors](errors.md).
"""
_TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "null": "null"}


def reference() -> str:
    """The whole page."""
    schemas = {name: json_schema(name) for name in SCHEMAS}
    shared = {title: part for schema in schemas.values() for title, part in schema.get("$defs", {}).items()}
    lines = [_HEAD]
    for name, schema in schemas.items():
        source = SCHEMAS[name].source
        printed = f"`{source} --json`" if source.startswith("burst ") else source[0].upper() + source[1:]
        lines += [f"## {name}", "", f"{printed}: {_lower(schema['description'])}", "", *_table(schema), ""]
    lines += ["# Parts", ""]
    for title, part in sorted(shared.items(), key=lambda entry: _name(entry[0])):
        lines += [f"## {_name(title)}", "", part.get("description", "An object."), "", *_table(part), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _table(schema: Mapping[str, Any]) -> Iterator[str]:
    yield "| field | type | |"
    yield "|---|---|---|"
    for field, found in schema["properties"].items():
        optional = "" if field in schema["required"] else " *(optional)*"
        text = found.get("description", "").replace("|", "\\|")
        yield f"| `{field}`{optional} | {_type(found)} | {text} |"


def _type(found: Mapping[str, Any]) -> str:
    match found:
        case {"$ref": reference}:
            name = _name(reference.rpartition("/")[2])
            return f"[{name}](#{name.replace(' ', '-')})"
        case {"type": "string", "anyOf": _}:  # known kinds of errors, and others
            return _TYPES["string"]
        case {"enum": values}:
            return ", ".join(f"`{value}`" for value in values)
        case {"anyOf": kinds}:
            return " or ".join(_type(kind) for kind in kinds)
        case {"type": "array", "items": items}:
            return f"list: {_type(items)}"
        case {"type": "array"}:
            return "list"
        case {"type": "object", "additionalProperties": dict() as values}:
            return f"object: each value {_type(values)}"
        case {"type": "object"}:
            return "object"
        case {"type": kind}:
            return _TYPES[kind]
    return "any"


def _name(title: str) -> str:
    """`SetAsideDocument` → `set aside`."""
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in title.removesuffix("Document"))
    return words.strip()


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]
