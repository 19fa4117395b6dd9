"""A workflow file: a graph with a name, loaded from the shipped ones or from a path."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from orchestrator.errors import TemplateError
from templates.graph import Graph

_SHIPPED = Path(__file__).parent

_HALF_A_CHARACTER = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
"""Also the halves of whole pairs, as an emoji is often spelled: what it finds is worth a look."""
_HOW_TO_EXPORT = (
    "this is the format of ComfyUI's editor, not the API format; in ComfyUI choose Workflow → Export (API)"
    " (older versions: Settings → enable Dev mode options, then Save (API Format)) and give the file that it saves"
)


@dataclass(frozen=True)
class Workflow:
    """A graph and where it came from; `path` is None for a shipped one."""

    name: str
    path: Path | None
    graph: Graph


def shipped_workflows() -> list[str]:
    """Names of the workflows that come with this package."""
    return sorted(path.stem for path in _SHIPPED.glob("*.json"))


def load_workflow(name_or_path: str | Path, *, relative_to: Path | None = None) -> Workflow:
    """Load a shipped workflow by its name, or an API-format file by its path.

    A shipped name wins over a file of that name (write `./smoke` as an absolute path, or `smoke.json`, for the file).
    A relative path is taken from `relative_to`, or from the current directory. A body as posted to `/prompt`
    (`{"prompt": {…}}`) is accepted. Raises `TemplateError` naming the file and the place in it.
    """
    name = str(name_or_path)
    if name in shipped_workflows():
        return Workflow(name=name, path=None, graph=_read(_SHIPPED / f"{name}.json"))
    path = Path(relative_to or "", Path(name).expanduser())
    return Workflow(name=path.stem, path=path, graph=_read(path))


def parse_graph(document: object, *, where: str) -> Graph:
    """The graph in a decoded JSON document; `where` names it in messages. `TemplateError` for the first thing wrong."""
    if not isinstance(document, dict):
        raise TemplateError(
            f"{where}: expected an object of nodes, found {_kind(document)}; export the workflow in API format"
        )
    if isinstance(document.get("nodes"), list):
        raise TemplateError(f"{where}: {_HOW_TO_EXPORT}")
    inner = document.get("prompt")
    if isinstance(inner, dict) and "class_type" not in inner:
        return parse_graph(inner, where=f'{where}, in "prompt"')
    if not document:
        raise TemplateError(f"{where}: the graph is empty; export a workflow that has nodes")
    for node_id, node in document.items():
        _check_node(node_id, node, where=where)
    return document


def _check_node(node_id: str, node: object, *, where: str) -> None:
    if not isinstance(node, dict):
        raise TemplateError(
            f"{where}: node {node_id!r} should be an object, found {_kind(node)}; export it in API format again"
        )
    class_type = node.get("class_type")
    if not isinstance(class_type, str) or not class_type:
        raise TemplateError(f'{where}: node {node_id!r} has no "class_type"; is this the API format? Export it again')
    if not isinstance(node.get("inputs"), dict):
        found = f"{_kind(node['inputs'])} for" if "inputs" in node else "no"
        raise TemplateError(f'{where}: node {node_id!r} ({class_type}) has {found} "inputs"; it should be an object')


def _read(path: Path) -> Graph:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TemplateError(
            f"{path}: byte {error.start} is not UTF-8; a workflow is a JSON file, not a picture"
        ) from error
    except (OSError, ValueError) as error:
        raise TemplateError(_not_readable(path, error)) from error
    return parse_graph(_decode(text, path), where=str(path))


def _not_readable(path: Path, error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    known = shipped_workflows()
    near = get_close_matches(path.name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{path}: {reason}; {hint}give the path of a workflow in API format, or a shipped one: {', '.join(known)}"


def _decode(text: str, path: Path) -> object:
    try:
        document = json.loads(text, object_pairs_hook=_once_each, parse_constant=_no_constant, parse_float=_finite)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise TemplateError(
            f"{path}: not JSON at {place}: {error.msg}; export the workflow in API format again"
        ) from error
    except ValueError as error:
        raise TemplateError(f"{path}: {error}") from error
    except RecursionError as error:
        raise TemplateError(f"{path}: nested too deeply for a workflow; export it in API format again") from error
    if half := _HALF_A_CHARACTER.search(text):
        _refuse_half_characters(document, path, spelled=half[0])
    return document


def _refuse_half_characters(document: object, path: Path, *, spelled: str) -> None:
    """JSON can spell half of a surrogate pair; no message could show it, and no file name hold it."""
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise TemplateError(
            f"{path}: a text or a name holds half a character ({spelled} or a like one); write it out or take it away"
        ) from error


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits} is too large for a number; ComfyUI would refuse it")
    return number


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(
            f"the key {twice!r} stands twice in one object; only one of the two would be used, so rename or remove one"
        )
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number; ComfyUI would refuse it")


def _kind(value: object) -> str:
    names = {
        list: "a list",
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
        dict: "an object",
    }
    return names.get(type(value), "null")
