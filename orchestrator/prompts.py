"""From an item to the graph that is posted: its template, its text, its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import templates
from orchestrator.errors import ItemError, PromptTextError, TemplateError
from state.item import Item
from templates import Bindings, Graph, Workflow


class InputsError(ItemError):
    """The item's inputs do not fit its template."""

    kind = "inputs"


@dataclass(frozen=True)
class Prepared:
    """An item's graph, before a prompt_id gives its save nodes their names."""

    graph: Graph
    fingerprint: str
    touched: frozenset[str]
    """Ids of the nodes that take this item's text and inputs."""
    extensions: tuple[str, ...]
    """Of the files that its save nodes write, where they are known."""


@dataclass(frozen=True)
class _Loaded:
    workflow: Workflow
    bindings: Bindings
    unprefixed: tuple[str, ...]


class Prompts:
    """Prepares items. `home` is the state file's directory: relative prompt files and templates start there."""

    def __init__(self, *, template: str | None, bindings: Mapping[str, str], home: Path) -> None:
        self._template = template
        self._overrides = bindings
        self._home = home
        self._loaded: dict[str, _Loaded] = {}

    def check(self) -> Workflow | None:
        """Load the default template. Errors: TemplateError, so that a bad one is found before anything is sent."""
        return self._load(self._template).workflow if self._template is not None else None

    def prepare(self, item: Item) -> Prepared:
        """Errors: PromptTextError, InputsError (this item's), TemplateError (everybody's)."""
        loaded = self._loaded_for(item)
        values = self._values(item)
        if "prompt" in values and "prompt" not in loaded.bindings:
            raise TemplateError(
                f"{loaded.workflow.name}: no input for the prompt text was found; name one with "
                "--bind prompt=NODE.input (see `burst template show`)"
            )
        try:
            graph = templates.bind(loaded.workflow.graph, loaded.bindings, values)
        except TemplateError as error:
            raise InputsError(f"{error} (template {loaded.workflow.name})") from error
        saving = templates.save_nodes(graph)
        return Prepared(
            graph=graph,
            fingerprint=templates.fingerprint(graph),
            touched=frozenset(templates.touched_nodes(loaded.bindings, values)),
            extensions=tuple(dict.fromkeys(node.extension for node in saving if node.extension and not node.temporary)),
        )

    def why_alone(self, item: Item) -> str | None:
        """Why no other prompt may be out beside this item's, None where any may. Errors: TemplateError.

        A save node that takes no prefix, or an unknown node that may be one, would overwrite what another saved.
        """
        loaded = self._loaded_for(item)
        if not loaded.unprefixed:
            return None
        graph = loaded.workflow.graph
        nodes = ", ".join(f"{node_id} ({graph[node_id]['class_type']})" for node_id in loaded.unprefixed)
        return (
            f"{loaded.workflow.name}: node {nodes} may save without a file name prefix, so its prompts are sent one at "
            "a time; a SaveImage node in its place avoids that"
        )

    def _loaded_for(self, item: Item) -> _Loaded:
        name = item.template or self._template
        if name is None:
            raise TemplateError(
                "no template is set; name a workflow file or a shipped one: burst init … --template NAME "
                f"(shipped: {', '.join(templates.shipped_workflows())})"
            )
        return self._load(name)

    def _load(self, name: str) -> _Loaded:
        if name not in self._loaded:
            workflow = templates.load_workflow(name, relative_to=self._home)
            bindings = templates.find_bindings(workflow.graph, self._overrides)
            self._loaded[name] = _Loaded(workflow, bindings, tuple(templates.needs_exclusive_run(workflow.graph)))
        return self._loaded[name]

    def _values(self, item: Item) -> dict[str, Any]:
        values = dict(item.inputs)
        if "prompt" not in values:
            text = self._text(item)
            if text is not None:
                values["prompt"] = text
        return values

    def _text(self, item: Item) -> str | None:
        """The prompt text: the record's own, or the file that the key names; None for an item of inputs alone."""
        if item.prompt_text is not None:
            text = item.prompt_text
        else:
            path = self._home / item.key
            try:
                text = path.read_text(encoding="utf-8-sig")
            except (FileNotFoundError, NotADirectoryError) as error:
                if item.inputs:
                    return None
                raise PromptTextError(f"the prompt file {path} is gone; restore it and say `burst retry`") from error
            except UnicodeDecodeError as error:
                raise PromptTextError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
            except (OSError, ValueError) as error:
                raise PromptTextError(f"{path}: cannot be read: {error}") from error
        if not text.strip():
            raise PromptTextError(f"{item.key}: the prompt text is empty; write one and say `burst retry`")
        return text.strip()
