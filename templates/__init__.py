"""What is sent: API-format workflows, addresses into them, and named bindings."""

from templates.address import resolve
from templates.bindings import NAMES, Bindings, bind, find_bindings, touched_nodes
from templates.check import Finding, check_against, check_offline
from templates.fingerprint import fingerprint
from templates.graph import Graph, Target
from templates.saving import (
    ExpectedFile,
    SaveNode,
    expected_files,
    needs_exclusive_run,
    prefix_for,
    save_nodes,
    set_prefixes,
)
from templates.workflow import Workflow, load_workflow, parse_graph, shipped_workflows

__all__ = [
    "NAMES",
    "Bindings",
    "ExpectedFile",
    "Finding",
    "Graph",
    "SaveNode",
    "Target",
    "Workflow",
    "bind",
    "check_against",
    "check_offline",
    "expected_files",
    "find_bindings",
    "fingerprint",
    "load_workflow",
    "needs_exclusive_run",
    "parse_graph",
    "prefix_for",
    "resolve",
    "save_nodes",
    "set_prefixes",
    "shipped_workflows",
    "touched_nodes",
]
