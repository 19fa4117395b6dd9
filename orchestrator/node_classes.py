"""The node classes that a workflow needs, from a server; kept on this host for when no server answers.

Kept below `$XDG_CACHE_HOME/comfyui-burst` (`~/.cache`), a file for each class of each server, written when its content
changes. Nothing but speed and work without a server is lost with it: recipes hold whole graphs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from orchestrator.errors import TransientError, UnexpectedAnswer
from orchestrator.replacing import replace_text
from templates.catalogue import Catalogue, read_catalogue
from templates.graph import Graph

if TYPE_CHECKING:
    from orchestrator.servers import Server
    from orchestrator.settings import Settings

_CONNECT_SECONDS, _READ_SECONDS = 2.0, 30.0
_NO_SUCH_ENDPOINT = (404, 405)


class Found(msgspec.Struct, frozen=True):
    """Node classes, and where they are from."""

    catalogue: Catalogue
    """Those of the classes in question that the server has."""
    server: Server | None
    """None if no server answered and none is kept."""
    is_kept: bool = False
    """As an earlier call found them: nobody was asked now, or nobody answered."""
    trouble: str | None = None
    """Why the server did not answer."""


class NodeClasses:
    """Those of the servers of some settings. Each question is asked anew."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def of(self, names: Collection[str], *, ask: bool = True) -> Found:
        """These classes from the first server that has all of them, else from the first that answers.

        Without one, or without `ask`, as they were kept. Raises no error for a server that does not answer.
        Errors: SettingsError for a header whose variable is not set.
        """
        trouble: str | None = None
        answers: list[Found] = []
        for server in self._settings.servers if ask else ():
            try:
                info = self._asked(server, names)
            except TransientError as error:
                trouble = trouble or str(error)
                continue
            keep(server, info)
            answers.append(Found(read_catalogue(info), server))
            if set(names) <= info.keys():
                return answers[-1]
        return answers[0] if answers else self._kept(names, trouble)

    def _asked(self, server: Server, names: Collection[str]) -> dict[str, Any]:
        """The entries of object_info. Requested per class, because all of them are megabytes."""
        from orchestrator.clients import client_for

        with client_for(
            server,
            self._settings,
            connect_timeout_seconds=_CONNECT_SECONDS,
            read_timeout_seconds=_READ_SECONDS,
            retry_seconds=0.0,
        ) as client:
            client.queue_remaining()
            try:
                answers = [client.object_info(name) for name in names]
            except UnexpectedAnswer as error:
                if error.status not in _NO_SUCH_ENDPOINT:
                    raise
                answers = [client.object_info()]
        return {name: answer[name] for answer in answers for name in names if isinstance(answer.get(name), dict)}

    def _kept(self, names: Collection[str], trouble: str | None) -> Found:
        """Of the server that most are kept of, the first of equals."""
        found = [Found(read_catalogue(kept(server, names)), server, True, trouble) for server in self._settings.servers]
        best = max(found, key=lambda each: len(each.catalogue), default=None)
        return best if best is not None and best.catalogue else Found({}, None, True, trouble)


ClassSource = Callable[[Graph, "Settings"], Catalogue]
"""Where the node classes of a workflow come from."""


def kept_classes(graph: Graph, settings: Settings) -> Catalogue:
    """Those of a workflow as an earlier call found them; no server is asked."""
    return NodeClasses(settings).of(_names(graph), ask=False).catalogue


def classes_of(graph: Graph, settings: Settings) -> Catalogue:
    """Those of a workflow, from a server; as they were kept where none answers. Errors: as `NodeClasses.of`."""
    return NodeClasses(settings).of(_names(graph)).catalogue


def known_classes(graph: Graph, settings: Settings) -> Catalogue:
    """As they were kept, if all of them are; else as `classes_of`. So a request repeated is the same request."""
    found = kept_classes(graph, settings)
    return found if set(_names(graph)) <= found.keys() else classes_of(graph, settings)


def asked_once(source: ClassSource) -> ClassSource:
    """The same, which finds the classes of one workflow once."""
    known: dict[tuple[str, ...], Catalogue] = {}

    def found(graph: Graph, settings: Settings) -> Catalogue:
        names = tuple(_names(graph))
        if names not in known:
            known[names] = source(graph, settings)
        return known[names]

    return found


def _names(graph: Graph) -> list[str]:
    return sorted({str(node["class_type"]) for node in graph.values()})


def keep(server: Server, object_info: Mapping[str, Any]) -> None:
    """Remember entries of a server's object_info. A place that cannot be written to is no error."""
    with contextlib.suppress(OSError):
        folder = _folder(server)
        folder.mkdir(parents=True, exist_ok=True)
        for name, info in object_info.items():
            text = json.dumps({"class": name, "info": info})
            path = folder / _file_name(name)
            if _text(path) != text:
                replace_text(path, text)


def kept(server: Server, names: Collection[str]) -> dict[str, Any]:
    """The entries of object_info that are kept of a server; a damaged one is not."""
    return {name: info for name in names for info in _read(_folder(server) / _file_name(name), name)}


def _read(path: Path, name: str) -> Iterator[Any]:
    text = _text(path)
    if text is None:
        return
    with contextlib.suppress(ValueError):
        document = json.loads(text)
        if isinstance(document, dict) and document.get("class") == name and isinstance(document.get("info"), dict):
            yield document["info"]


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def _folder(server: Server) -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(cache) / "comfyui-burst" / "node_classes" / _digest(server.name)


def _file_name(class_type: str) -> str:
    return f"{_digest(class_type)}.json"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
