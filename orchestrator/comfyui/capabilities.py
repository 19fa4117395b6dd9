"""What a server can run: its node classes, and the models and other choices that their inputs accept."""

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
    """A node class, as far as it matters for deciding where a graph can run."""

    is_output: bool
    choices: Mapping[str, Choices]
    """By input. Without inputs that uploads add choices to, because the upload may still follow."""
    values: tuple[tuple[str, frozenset[Any]], ...]
    """The same as sets: a string or number in the set is certainly available."""


@dataclass(frozen=True)
class MissingRequirement:
    """One requirement that a server lacks; `str` gives a message."""

    class_type: str
    input_name: str | None = None
    """None if the node class itself is missing."""
    value: object = None
    offered: Collection[Any] = ()
    """The available choices of the input."""

    def __str__(self) -> str:
        if self.input_name is None:
            return f'node class "{self.class_type}" is not there'
        if self.input_name in templates.MODEL_INPUTS:
            return f'{templates.MODEL_INPUTS[self.input_name][0]} "{self.value}" is not there'
        return f'{self.class_type} has no {self.input_name} "{self.value}"'


class Capabilities:
    """The capabilities of one server, requested once per node class and model folder; call `forget` after a restart.

    Not thread-safe. Checking a graph that differs from an earlier one only in texts and numbers takes microseconds.
    """

    def __init__(self, client: ComfyUI) -> None:
        self._client = client
        self.forget()

    def forget(self) -> None:
        """Discard everything that is cached."""
        self._classes: dict[str, _Class | None] = {}
        self._folders: dict[str, frozenset[str] | None] = {}
        self._everything: dict[str, Any] | None = None

    def missing(self, graph: Graph) -> tuple[str, ...]:
        """The requirements that this server lacks, as distinct messages. Errors: as `lacks`."""
        return tuple(dict.fromkeys(map(str, self.lacks(graph))))

    def lacks(self, graph: Graph) -> list[MissingRequirement]:
        """The requirements of this graph that the server lacks; empty if, as far as can be known, it can run the graph.

        Checked are node classes, and the choices of all nodes that its output nodes depend on. Numbers out of range
        and wrong links are left to the server, as are node classes that validate their choices themselves and may
        accept values that they do not list.
        Errors: ServerUnreachable, ServerBusy, UnexpectedAnswer; a failed request is repeated next time.
        """
        doubtful = [node for node in graph.items() if self._is_doubtful(node[1])]
        if not doubtful:
            return []
        outputs = [node_id for node_id, node in graph.items() if self._is_output(node)]
        needed = templates.needed_nodes(graph, outputs)
        return [lack for node_id, node in doubtful for lack in self._lacks(node, is_needed=node_id in needed)]

    def choices(self, class_type: str, input_name: str) -> tuple[Any, ...]:
        """The choices of an input in the server's order; empty if it accepts any value. Errors: as `lacks`."""
        known = self._class(class_type)
        choices = known.choices.get(input_name) if known is not None else None
        if choices is None:
            return ()
        if choices.values is None and choices.folder is not None:
            return tuple(sorted(self.folder(choices.folder) or (), key=str.casefold))
        return choices.values or ()

    def folder(self, name: str) -> Collection[str] | None:
        """The models in a folder, None if the server has no such folder. Errors: as `lacks`."""
        if name not in self._folders:
            try:
                self._folders[name] = frozenset(self._client.models(name))
            except UnexpectedAnswer as error:
                if error.status not in _NO_SUCH_ENDPOINT:
                    raise
                self._folders[name] = None
        return self._folders[name]

    def _is_doubtful(self, node: Mapping[str, Any]) -> bool:
        """A quick check: False if everything is certainly available. Links are not choices."""
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
        """None if they are not listed anywhere."""
        listed: Collection[Any] | None = choices.values
        if listed is None and choices.folder is not None:
            listed = self.folder(choices.folder)
        return None if listed is None else frozenset(one for one in listed if isinstance(one, str | int | float))

    def _info(self, class_type: str) -> dict[str, Any] | None:
        """Requested per class, because all of them are megabytes; without that endpoint, one request for all."""
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
