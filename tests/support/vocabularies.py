"""Vocabularies of the shipped templates, for the tests of batches."""

from __future__ import annotations

from orchestrator.batches.vocabulary import Vocabulary
from templates import find_bindings, load_workflow


def vocabulary(template: str = "txt2img-sd15", **overrides: str) -> Vocabulary:
    graph = load_workflow(template).graph
    return Vocabulary(graph, find_bindings(graph, overrides))
