"""Workflows in ComfyUI's API format: loading and checking them, addressing their inputs, binding values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from templates.address import resolve, spelled
from templates.bindings import (
    NAMES,
    Bindings,
    bind,
    choice_of,
    find_bindings,
    find_candidates,
    no_binding,
    touched_nodes,
)
from templates.file_names import MOST_FILES, NumberedFiles, numbered_files
from templates.fingerprint import fingerprint, former_fingerprint
from templates.graph import Graph, Target, needed_nodes
from templates.loose_ends import loose_ends, without
from templates.model_files import is_lora, model_files, model_paths
from templates.output_order import in_order, output_nodes, owner, saves_in_order
from templates.saving import (
    PREFIX_SCHEME,
    SaveNode,
    needs_exclusive_run,
    prefix_for,
    prefix_scheme,
    prompt_of_file,
    save_nodes,
    set_prefixes,
)
from templates.workflow import Convert, Workflow, check_readable, load_workflow, parse_graph, shipped_workflows

if TYPE_CHECKING:
    from templates.checks import Finding, check_against, check_names, check_offline, declared_inputs
    from templates.choices import MODEL_INPUTS, Choices, Folders, choices_of
    from templates.drawing import draw
    from templates.lora import parse_lora, splice_lora, with_loras

__all__ = [
    "PREFIX_SCHEME",
    "MODEL_INPUTS",
    "MOST_FILES",
    "NAMES",
    "NumberedFiles",
    "Bindings",
    "Choices",
    "Convert",
    "Finding",
    "Folders",
    "Graph",
    "SaveNode",
    "Target",
    "Workflow",
    "bind",
    "check_against",
    "check_names",
    "check_offline",
    "check_readable",
    "choices_of",
    "choice_of",
    "declared_inputs",
    "draw",
    "find_bindings",
    "find_candidates",
    "fingerprint",
    "former_fingerprint",
    "in_order",
    "is_lora",
    "load_workflow",
    "loose_ends",
    "model_files",
    "model_paths",
    "needed_nodes",
    "needs_exclusive_run",
    "no_binding",
    "numbered_files",
    "output_nodes",
    "owner",
    "parse_graph",
    "parse_lora",
    "prefix_for",
    "prefix_scheme",
    "prompt_of_file",
    "resolve",
    "save_nodes",
    "saves_in_order",
    "set_prefixes",
    "shipped_workflows",
    "spelled",
    "splice_lora",
    "touched_nodes",
    "with_loras",
    "without",
]

_LATER = {
    "checks": ("Finding", "check_against", "check_names", "check_offline", "declared_inputs"),
    "drawing": ("draw",),
    "choices": ("MODEL_INPUTS", "Choices", "Folders", "choices_of"),
    "lora": ("parse_lora", "splice_lora", "with_loras"),
}


def __getattr__(name: str) -> Any:
    """Import on first use what a plain run does not need."""
    for home, names in _LATER.items():
        if name in names:
            import importlib

            return getattr(importlib.import_module(f"templates.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
