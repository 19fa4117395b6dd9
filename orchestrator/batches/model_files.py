"""Which file of a server a model is that another program names without its folder or extension."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from orchestrator.batches.prompt_entry import PromptEntry
from orchestrator.batches.suggestions import advice
from orchestrator.batches.vocabulary import Vocabulary
from orchestrator.comfyui import ComfyUI
from orchestrator.comfyui.capabilities import Capabilities
from orchestrator.errors import UsageError

_EXTENSION = re.compile(r"\.(safetensors|sft|ckpt|pt|pt2|pth|bin|gguf)\Z", re.IGNORECASE)
_USUAL = ".safetensors"
"""Assumed where no server can say."""
_LORA_INPUT = ("LoraLoader", "lora_name")


@dataclass
class ModelFiles:
    """Asks each server once for its LoRAs and its checkpoints, when the first one is named."""

    servers: Sequence[ComfyUI]
    vocabulary: Vocabulary
    _found: dict[tuple[str, str], str] = field(default_factory=dict)
    _offers: dict[str, list[list[str]]] = field(default_factory=dict)

    def lora(self, said: str, place: str) -> str:
        """A LoRA's file. Errors: UsageError that begins with `place`; those of the servers."""
        return self._file("LoRA", said, place)

    def named(self, entry: PromptEntry) -> PromptEntry:
        """The entry with the file of its checkpoint. Errors: as `lora`."""
        if not entry.has_model_stem or "model" not in entry.inputs:
            return entry
        found = self._file("checkpoint", str(entry.inputs["model"]), entry.where)
        return replace(entry, inputs={**entry.inputs, "model": found}, has_model_stem=False)

    def _file(self, kind: str, said: str, place: str) -> str:
        if (kind, said) not in self._found:
            self._found[kind, said] = self._chosen(kind, said, place)
        return self._found[kind, said]

    def _chosen(self, kind: str, said: str, place: str) -> str:
        offers = self._offered(kind)
        for names in offers:
            found = matching(said, names)
            if len(found) > 1:
                raise UsageError(f"{place}: {said!r} is more than one {kind}; write one of {', '.join(found)}")
            if found:
                return found[0]
        known = {_stem(name) for names in offers for name in names}
        if known:
            raise UsageError(f"{place}: no server has the {kind} {said!r}; {advice(said, known)}")
        return said if _EXTENSION.search(said) else f"{said}{_USUAL}"

    def _offered(self, kind: str) -> list[list[str]]:
        if kind not in self._offers:
            class_type, input_name = _LORA_INPUT if kind == "LoRA" else self._model_input()
            choices = (Capabilities(client).choices(class_type, input_name) for client in self.servers)
            self._offers[kind] = [_texts(of_one) for of_one in choices]
        return self._offers[kind]

    def _model_input(self) -> tuple[str, str]:
        target = self.vocabulary.bindings["model"][0]
        return str(self.vocabulary.graph[target.node_id]["class_type"]), target.input_name


def matching(said: str, names: Iterable[str]) -> list[str]:
    """The files that a name means: exactly that one; else by its path without extension, or its last part; else in
    other capitals.
    """
    plain = said.replace("\\", "/")
    known = {name: name.replace("\\", "/") for name in names}
    kinds: tuple[Callable[[str], str], ...] = (str, _stem, lambda path: _stem(PurePosixPath(path).name))
    for alike in (str, str.casefold):
        for part in kinds:
            found = [name for name, path in known.items() if alike(part(path)) == alike(plain)]
            if found:
                return found
    return []


def _stem(path: str) -> str:
    return _EXTENSION.sub("", path)


def _texts(choices: Iterable[Any]) -> list[str]:
    return [choice for choice in choices if isinstance(choice, str)]
