"""What a batch was made with, as a request: so that a list can be synced without saying all of it again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

from orchestrator.batches.spec import BatchSpec
from orchestrator.batches.values import parts_of
from orchestrator.batches.vocabulary import Vocabulary, spelled
from orchestrator.errors import UsageError
from state.batch import BatchRecord

_SOURCES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".txt": "prompts_file",
}


def source_of(path: str) -> str:
    """The field of `BatchSpec` for a list, by its ending. Errors: UsageError."""
    ending = PurePath(path).suffix.casefold()
    if ending not in _SOURCES:
        raise UsageError(f"{path}: a list ends in one of {', '.join(_SOURCES)}; rename it, so that its kind is known")
    return _SOURCES[ending]


def kept_fields(
    record: BatchRecord, given: Mapping[str, Any], vocabulary: Vocabulary | None, *, home: Path
) -> dict[str, Any]:
    """Fields of a `BatchSpec`, but for what `given` says otherwise.

    `vocabulary`: of the batch's own workflow. `home`: the state file's directory.
    """
    parts = record.request_parts
    fields: dict[str, Any] = {
        "layout": record.layout,
        "stem": record.stem,
        "priority": record.priority,
        "count": parts.get("--count", 1),
        "seed": parts.get("--seed"),
        "seed_mode": parts.get("--seed-mode", "increment"),
        "dynamic": "--dynamic" in parts,
        "combinatorial": parts.get("--combinatorial"),
        "wildcards": tuple(str(home / folder) for folder in record.wildcards),
        "sweeps": {name: tuple(values) for name, values in record.axes.items()},
    }
    if given.get("seed_mode") == "random":
        fields["seed"] = None
    elif "seed" in given and fields["seed_mode"] == "random":
        fields["seed_mode"] = "increment"
    if given.get("literal"):
        fields |= {"dynamic": False, "combinatorial": None, "wildcards": ()}
    kept = {name: value for name, value in record.parameters.items() if name != "seed"}
    if kept.get("batch_size") == "auto":
        fields["batch_size"] = kept.pop("batch_size")
    said = set(_said(given, vocabulary))
    if "profile" in given:
        kept = {}
    sets = {name: value for name, value in kept.items() if name not in said}
    return fields | {"sets": sets}


def _said(given: Mapping[str, Any], vocabulary: Vocabulary | None) -> Iterable[str]:
    """What this call sets itself, by the names of the workflow."""
    values = {name: value for name, value in given.items() if name in BatchSpec.__dataclass_fields__}
    yield from BatchSpec(prompt="-", **values).flagged()
    for name in (*given.get("sets", {}), *given.get("sweeps", {})):
        meant = spelled(name)
        if vocabulary is not None:
            with contextlib.suppress(UsageError):
                meant = vocabulary.meaning(name)
        yield from parts_of(meant)
