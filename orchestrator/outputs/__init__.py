"""From the server's files to the user's: name, download, verify, place."""

from __future__ import annotations

from orchestrator.outputs.directory import Outputs
from orchestrator.outputs.fetched import Fetched, Placed, Sidecar
from orchestrator.outputs.pictures import decodes, embedded_graph
from orchestrator.outputs.verification import Problem, verify

__all__ = ["Fetched", "Outputs", "Placed", "Problem", "Sidecar", "decodes", "embedded_graph", "verify"]
