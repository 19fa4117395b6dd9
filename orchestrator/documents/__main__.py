"""`python -m orchestrator.documents > docs/reference/json.md`."""

from __future__ import annotations

from orchestrator.documents.reference import reference

print(reference(), end="")
