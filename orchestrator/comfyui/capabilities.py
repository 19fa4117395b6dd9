"""What a server can run: the node classes that it has, and the models and other choices that their inputs take."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import templates
from orchestrator.comfyui import ComfyUI
from orchestrator.errors import UnexpectedAnswer
from templates import Choices, Graph

_NO_SUCH_ENDPOINT = (404, 405)


@dataclass(frozen=True)
class _Class:
    """A node class, as far as it decides where a graph can run."""

    is_output: bool
    choices: Mapping[str, Choices]
    """By input. Not those that an upload adds to: it may still come."""
    values: tuple[tuple[str, frozenset[Any]], ...]
    """The same, as sets: a text or number that is in one is surely offered."""


@dataclass(frozen=True)
class MissingRequirement:
    """One thing that a server does not have, in words by `str`."""

    class_type: str
    input_name: str | None = None
    """None where the class itself is not there."""
    value: object = None
    offered: Collection[Any] = ()
    """What the input may be set to."""

    def __str__(self) -> str:
        if self.input_name is None:
            return f'node class "{self.class_type}" is not there'
        if self.input_name in templates.MODEL_INPUTS:
            return f'{templates.MODEL_INPUTS[self.input_name][0]} "{self.value}" is not there'
        return f'{self.class_type} has no {self.input_name} "{self.value}"'


class Capabilities:
    """What one server has. It is asked once for each node class and folder of models; `forget` after it restarted.

    For one thread. A graph that differs from an earlier one in texts and numbers costs a few microseconds.
    """

    def __init__(self, client: ComfyUI) -> None:
        self._client = client
        self.forget()

    def forget(self) -> None:
        """Ask again from now on."""
        self._classes: dict[str, _Class | None] = {}
        self._folders: dict[str, frozenset[str] | None] = {}
        self._everything: dict[str, Any] | None = None

    def missing(self, graph: Graph) -> tuple[str, ...]:
        """Why this server cannot run this graph, in words, each once. Errors: as `lacks`."""
        return tuple(dict.fromkeys(map(str, self.lacks(graph))))

    def lacks(self, graph: Graph) -> list[MissingRequirement]:
        """Why this server cannot run this graph; empty when it can, as far as can be said beforehand.

        What is not there: node classes, and choices of the nodes that its output nodes need. Numbers out of range and
        wrong links are left to the server, as is a node class that checks its choices in its own way and would take
        one that it does not list.
        Errors: ServerUnreachable, ServerBusy, UnexpectedAnswer; what could not be asked is asked again next time.
        """
        doubtful = [node for node in graph.items() if self._is_doubtful(node[1])]
        if not doubtful:
            return []
        outputs = [node_id for node_id, node in graph.items() if self._is_output(node)]
        needed = templates.needed_nodes(graph, outputs)
        return [lack for node_id, node in doubtful for lack in self._lacks(node, is_needed=node_id in needed)]

    def choices(self, class_type: str, input_name: str) -> tuple[Any, ...]:
        """What an input may be set to, in the server's order; empty where it takes anything. Errors: as `lacks`."""
        known = self._class(class_type)
        choices = known.choices.get(input_name) if known is not None else None
        if choices is None:
            return ()
        if choices.values is None and choices.folder is not None:
            return tuple(sorted(self.folder(choices.folder) or (), key=str.casefold))
        return choices.values or ()

    def folder(self, name: str) -> Collection[str] | None:
        """The models in a folder, None where the server has no such folder. Errors: as `lacks`."""
        if name not in self._folders:
            try:
                self._folders[name] = frozenset(self._client.models(name))
            except UnexpectedAnswer as error:
                if error.status not in _NO_SUCH_ENDPOINT:
                    raise
                self._folders[name] = None
        return self._folders[name]

    def _is_doubtful(self, node: Mapping[str, Any]) -> bool:
        """The quick look: false where all is surely there. A link is no choice."""
        known = self._class(node["class_type"])
        if known is None:
            return True
        inputs = node["inputs"]
        for name, values in known.values:
            value = inputs.get(name)
            if isinstance(value, str | int | float):
                if value not in values:
                    return True
            elif not isinstance(value, list) and name in inputs:
                return True
        return False

    def _is_output(self, node: Mapping[str, Any]) -> bool:
        known = self._class(node["class_type"])
        return known is not None and known.is_output

    def _lacks(self, node: Mapping[str, Any], *, is_needed: bool) -> Iterator[MissingRequirement]:
        class_type = node["class_type"]
        known = self._class(class_type)
        if known is None:
            yield MissingRequirement(class_type)
            return
        for name, choices in known.choices.items() if is_needed else ():
            value = node["inputs"].get(name)
            if name not in node["inputs"] or isinstance(value, list):
                continue
            files = self.folder(choices.folder) if choices.folder else None
            offered = choices.values if choices.values is not None else files or ()
            for one in choices.missing(value, files):
                yield MissingRequirement(class_type, name, one, offered)

    def _class(self, class_type: str) -> _Class | None:
        try:
            return self._classes[class_type]
        except KeyError:
            found = self._classes[class_type] = self._asked(class_type)
            return found

    def _asked(self, class_type: str) -> _Class | None:
        info = self._info(class_type)
        if info is None:
            return None
        inputs = templates.declared_inputs(info, "required") | templates.declared_inputs(info, "optional")
        found = {name: choices for name, spec in inputs.items() if (choices := templates.choices_of(name, spec))}
        values = {name: self._values(choices) for name, choices in found.items() if not choices.uploadable}
        decisive = {name: listed for name, listed in values.items() if listed is not None}
        return _Class(
            is_output=info.get("output_node") is True,
            choices={name: found[name] for name in decisive},
            values=tuple(decisive.items()),
        )

    def _values(self, choices: Choices) -> frozenset[Any] | None:
        """None where nobody says which they are."""
        listed: Collection[Any] | None = choices.values
        if listed is None and choices.folder is not None:
            listed = self.folder(choices.folder)
        return None if listed is None else frozenset(one for one in listed if isinstance(one, str | int | float))

    def _info(self, class_type: str) -> dict[str, Any] | None:
        """Class by class, for all of them are megabytes; a host that has no such endpoint is asked for all, once."""
        if self._everything is not None:
            answer = self._everything
        else:
            try:
                answer = self._client.object_info(class_type)
            except UnexpectedAnswer as error:
                if error.status not in _NO_SUCH_ENDPOINT:
                    raise
                answer = self._everything = self._client.object_info()
        info = answer.get(class_type)
        return info if isinstance(info, dict) else None
