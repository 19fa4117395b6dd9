"""Kinds of errors in JSON Schema: the known ones with their meanings, and room for those of a newer burst."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from orchestrator.error_kinds import COMMAND_KINDS, ITEM_KINDS


def _open(meanings: Mapping[str, str]) -> dict[str, Any]:
    known = [{"const": name, "description": meaning} for name, meaning in meanings.items()]
    return {"anyOf": [*known, {"type": "string", "description": "Another one, of a newer burst."}]}


COMMAND_KIND_SCHEMA = _open(
    {name: f"{kind.meaning} Exit code {kind.exit_code}." for name, kind in COMMAND_KINDS.items()}
)
ITEM_KIND_SCHEMA = _open(ITEM_KINDS)
CommandErrorKind = Annotated[str, msgspec.Meta(extra_json_schema=COMMAND_KIND_SCHEMA)]
ItemErrorKind = Annotated[str, msgspec.Meta(extra_json_schema=ITEM_KIND_SCHEMA)]
