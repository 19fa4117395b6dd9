"""Workflow files: loading a graph by the name of a shipped workflow or by its path.

A file is an API graph, a workflow as the editor saves it, the body of a job that holds either, or a picture or video
that ComfyUI made, which holds both.
"""

from __future__ import annotations

import json
import math
import re
import stat
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import IO, Any, NoReturn

import msgspec

from orchestrator.errors import TemplateError
from templates.graph import Graph

_SHIPPED = Path(__file__).parent

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
"""Matches valid pairs too, as emoji are often escaped; a match only means that a closer check is needed."""
Convert = Callable[[Mapping[str, Any], str], Graph]
"""Makes an API graph of a decoded UI file; the text names the file in messages. Errors: TemplateError."""

_HOW_TO_EXPORT = (
    "this is ComfyUI's editor format, which cannot be converted here; in ComfyUI choose Workflow → Export (API)"
    " (older versions: Settings → enable Dev mode options, then Save (API Format)) and use the exported file"
)
_NOT_THERE = "no workflow of ComfyUI is in this file; use one as ComfyUI saved it, or a JSON file"


class Workflow(msgspec.Struct, frozen=True):
    """A graph and where it came from; `path` is None for a shipped workflow."""

    name: str
    path: Path | None
    graph: Graph


def shipped_workflows() -> list[str]:
    """Names of the workflows shipped with this package."""
    return sorted(path.stem for path in _SHIPPED.glob("*.json"))


def load_workflow(
    name_or_path: str | Path, *, relative_to: Path | None = None, convert: Convert | None = None
) -> Workflow:
    """Load a shipped workflow by its name, or a file by its path; a UI file is converted by `convert`.

    The name of a shipped workflow takes precedence over a file of that name; for the file, use an absolute path or
    its extension (`smoke.json`). Relative paths start at `relative_to` or the current directory.
    Errors: TemplateError with the file and the place in it.
    """
    name = str(name_or_path)
    if name in shipped_workflows():
        path = _SHIPPED / f"{name}.json"
        return Workflow(name=name, path=None, graph=parse_graph(_read(path), where=str(path)))
    path = Path(relative_to or "", Path(name).expanduser())
    return Workflow(name=path.stem, path=path, graph=parse_graph(_read(path), where=str(path), convert=convert))


def check_readable(name: str) -> None:
    """Whether a workflow can be read, without converting it. Errors: TemplateError."""
    load_workflow(name, convert=_unconverted)


def _unconverted(document: Mapping[str, Any], where: str) -> Graph:
    """The nodes alone."""
    from templates.ui import sent_classes

    classes = sent_classes(document, where=where)
    return {str(at): {"class_type": name, "inputs": {}} for at, name in enumerate(classes)}


def parse_graph(document: object, *, where: str, convert: Convert | None = None) -> Graph:
    """The graph in a decoded JSON document; `where` names it in messages. Errors: TemplateError for the first fault."""
    if not isinstance(document, dict):
        raise TemplateError(
            f"{where}: expected an object of nodes, got {_kind(document)}; export the workflow in API format"
        )
    if isinstance(document.get("nodes"), list):
        if convert is None:
            raise TemplateError(f"{where}: {_HOW_TO_EXPORT}")
        document = convert(document, where)
    for name in _BODIES:
        inner = document.get(name)
        if isinstance(inner, dict) and "class_type" not in inner:
            return parse_graph(inner, where=f'{where}, in "{name}"', convert=convert)
    if not document:
        raise TemplateError(f"{where}: the graph is empty; export a workflow that has nodes")
    for node_id, node in document.items():
        _check_node(node_id, node, where=where)
    return document


_BODIES = ("prompt", "input", "workflow")
"""Names in the bodies of jobs: `{"prompt": …}` of ComfyUI, `{"input": {"workflow": …}}` of services that run it."""


def _check_node(node_id: str, node: object, *, where: str) -> None:
    if not isinstance(node, dict):
        raise TemplateError(
            f"{where}: node {node_id!r}: expected an object, got {_kind(node)}; export the workflow in API format again"
        )
    class_type = node.get("class_type")
    if not isinstance(class_type, str) or not class_type:
        raise TemplateError(f'{where}: node {node_id!r} has no "class_type"; is this the API format? Export it again')
    if not isinstance(node.get("inputs"), dict):
        found = _kind(node["inputs"]) if "inputs" in node else "nothing"
        raise TemplateError(f'{where}: node {node_id!r} ({class_type}): expected an object for "inputs", got {found}')


def _read(path: Path) -> object:
    """The document in a file."""
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
        if kind not in (stat.S_IFREG, stat.S_IFDIR):
            raise ValueError("not an ordinary file")
        with path.open("rb") as stream:
            if _is_media(stream.read(12)):
                return _embedded(stream, path)
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TemplateError(
            f"{path}: not UTF-8 at byte {error.start}; a workflow is a JSON file, or a PNG, WebP or video of ComfyUI's"
        ) from error
    except (OSError, ValueError) as error:
        raise TemplateError(_unreadable(path, error)) from error
    return _decode(text, path)


def _is_media(start: bytes) -> bool:
    """Whether a file that begins so is a picture or a video; JSON begins with a bracket, or with spaces."""
    return not start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"{", b"[")) and (
        start[:4] in (b"\x89PNG", b"RIFF", b"\x1aE\xdf\xa3") or start[4:8] == b"ftyp"
    )


def _embedded(stream: IO[bytes], path: Path) -> object:
    """The graph that a picture or video was made with, else the file of the editor that it holds."""
    from templates.embedded import embedded_documents

    found = embedded_documents(stream)
    if (document := found.get("prompt", found.get("workflow"))) is None:
        raise TemplateError(f"{path}: {_NOT_THERE}")
    return document


def _unreadable(path: Path, error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    shipped = shipped_workflows()
    close = get_close_matches(path.name, shipped, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{path}: {reason}; {hint}name a workflow file or a shipped workflow: {', '.join(shipped)}"


def _decode(text: str, path: Path) -> object:
    try:
        document = json.loads(
            text, object_pairs_hook=_unique_keys, parse_constant=_reject_constant, parse_float=_finite
        )
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise TemplateError(
            f"{path}: not JSON at {place}: {error.msg}; export the workflow in API format again"
        ) from error
    except ValueError as error:
        raise TemplateError(f"{path}: {error}") from error
    except RecursionError as error:
        raise TemplateError(f"{path}: nested too deeply for a workflow; export it in API format again") from error
    if found := _SURROGATE.search(text):
        _refuse_lone_surrogates(document, path, example=found[0])
    return document


def _refuse_lone_surrogates(document: object, path: Path, *, example: str) -> None:
    """JSON can escape half of a surrogate pair, which can be neither printed nor used in a file name."""
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise TemplateError(
            f"{path}: a string contains half of a surrogate pair ({example} or similar); correct or remove it"
        ) from error


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits} is too large for a number; ComfyUI would reject it")
    return number


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        duplicate = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(
            f"duplicate key {duplicate!r} in one object; only one of the two would be used: rename or remove one"
        )
    return found


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number; ComfyUI would reject it")


def _kind(value: object) -> str:
    names = {
        list: "a list",
        str: "a string",
        bool: "true or false",
        int: "a number",
        float: "a number",
        dict: "an object",
    }
    return names.get(type(value), "null")
