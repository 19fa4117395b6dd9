"""From the server's files to the user's: name, download, verify, place."""

from __future__ import annotations

from orchestrator.outputs.directory import Outputs, Placed, Problem, verify
from orchestrator.outputs.pictures import decodes, embedded_graph

__all__ = ["Outputs", "Placed", "Problem", "decodes", "embedded_graph", "verify"]
