"""The documents as JSON Schema (2020-12)."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any, get_args, get_type_hints

import msgspec

import state.counts
from orchestrator.documents import parts
from orchestrator.documents.kinds import ITEM_KIND_SCHEMA
from orchestrator.documents.registry import ALL


def _module_of(kind: Any) -> ModuleType:
    """Of `dict[str, Record]`, that of `Record`."""
    return sys.modules[(*get_args(kind)[-1:], kind)[0].__module__]


_MODULES = tuple(dict.fromkeys((state.counts, parts, *(_module_of(schema.type) for schema in ALL.values()))))
"""Of all that documents consist of; bases stand before what inherits from them."""
_REFERENCE = "#/$defs/{name}"


def json_schema(name: str) -> dict[str, Any]:
    """The JSON Schema of the documents of this name, with what each field means. Errors: KeyError.

    Fields are in the order in which they are printed. More of them may be added under the same name.
    """
    kind = ALL[name].type
    (document,), definitions = msgspec.json.schema_components([kind], ref_template=_REFERENCE)
    classes = _classes()
    for title, definition in definitions.items():
        if title in classes:
            fields = definition["properties"]
            definition["properties"] = {field: fields[field] for field in get_type_hints(classes[title])}
        for field, text in _texts().get(title, {}).items():
            definition["properties"][field]["description"] = text
    if "ErrorRecord" in definitions:
        definitions["ErrorRecord"]["properties"]["kind"] |= ITEM_KIND_SCHEMA
    if "$ref" in document:
        document = definitions.pop(kind.__name__)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name, "description": ALL[name].source}
    schema = head | {part: found for part, found in document.items() if part != "title"}
    return schema | ({"$defs": definitions} if definitions else {})


def _classes() -> dict[str, Any]:
    """Every class that is part of a document, by its name."""
    return {name: value for module in _MODULES for name, value in vars(module).items() if name.endswith("Document")}


@cache
def _texts() -> dict[str, dict[str, str]]:
    """Class → field → the text below it. A subclass has those of its bases too."""
    texts: dict[str, dict[str, str]] = {}
    for definition in (line for module in _MODULES for line in ast.parse(inspect.getsource(module)).body):
        if isinstance(definition, ast.ClassDef):
            inherited = [texts.get(base.id, {}) for base in definition.bases if isinstance(base, ast.Name)]
            texts[definition.name] = {
                field: text for some in (*inherited, dict(_own_texts(definition))) for field, text in some.items()
            }
    return texts


def _own_texts(definition: ast.ClassDef) -> Iterator[tuple[str, str]]:
    field = None
    for line in definition.body:
        match line:
            case ast.AnnAssign(target=ast.Name(id=name)):
                field = name
            case ast.Expr(value=ast.Constant(value=str(text))) if field is not None:
                yield field, " ".join(text.split())
