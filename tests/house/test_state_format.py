"""docs/state.md names every field of what is kept, and every file."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from state import batch, facts, notices
from state.burst_record import BurstRecord
from state.holder import Holder
from state.item import (
    REMOVABLE,
    TRANSITIONS,
    ErrorRecord,
    ItemOutput,
    OutputRecord,
    PastAttempt,
    Record,
    Status,
    TrashedOutput,
)
from state.json.journal_lines import JournalChange, Line
from state.recipe import Recipe
from state.store import FORMAT_VERSION

DOCUMENT = (Path(__file__).parents[2] / "docs" / "state.md").read_text()
SECTIONS = {part.partition("\n")[0]: part for part in re.split(r"^## ", DOCUMENT, flags=re.MULTILINE)}
KEPT: list[tuple[str, type[msgspec.Struct]]] = [
    *(("The state file", kind) for kind in (Record, OutputRecord, TrashedOutput, ItemOutput, ErrorRecord, PastAttempt)),
    *(("journal.jsonl", kind) for kind in (Line, JournalChange)),
    ("recipes.jsonl and workflows/", Recipe),
    *(("batches.jsonl", kind) for kind in (*batch.BatchChange.__args__, *batch.BatchNote.__args__)),
    *(("batches.jsonl", kind) for kind in (batch.Notify, batch.Idempotency)),
    *(("facts.jsonl", kind) for kind in facts.Fact.__args__),
    *(("notices.jsonl", kind) for kind in notices.Notice.__args__),
    ("bursts.jsonl", BurstRecord),
    ("holder.json", Holder),
]


def place_of(heading: str, kind: type[msgspec.Struct]) -> str:
    """Where a kind's fields stand: its own paragraph for a kind of line, else the section."""
    section, tag = SECTIONS[heading], kind.__struct_config__.tag
    if tag is None:
        return section
    assert f"**`{tag}`**" in section
    paragraph = section.split(f"**`{tag}`**")[1]
    return re.split(r"^\*\*`", paragraph, flags=re.MULTILINE)[0]


@pytest.mark.parametrize(("heading", "kind"), KEPT, ids=[kind.__name__ for _, kind in KEPT])
def test_every_field_is_described(heading: str, kind: type[msgspec.Struct]) -> None:
    described = set(re.findall(r"`(\w+)`", place_of(heading, kind)))
    assert set(kind.__struct_fields__) - described == set()


def test_the_version_is_that_of_today() -> None:
    assert f"format version {FORMAT_VERSION}" in DOCUMENT.splitlines()[2]


def test_the_table_of_transitions_is_the_one_that_stores_apply() -> None:
    names = {"(new)": None, **{str(status): status for status in Status}}
    rows = dict(re.findall(r"^\| (\(new\)|\w+) \| ([\w, ]+) \|$", SECTIONS["journal.jsonl"], flags=re.MULTILINE))
    told = {names[name]: to for name, to in rows.items() if name in names}
    assert {
        status: set(Status) if to == "any" else set(map(Status, to.split(", "))) for status, to in told.items()
    } == {status: set(to) for status, to in TRANSITIONS.items()}
    assert "removed while it is anything but `submitted`" in SECTIONS["journal.jsonl"]
    assert set(Status) - REMOVABLE == {Status.SUBMITTED}


def test_every_file_that_a_burst_leaves_is_named() -> None:
    made = Path(__file__).parents[1] / "data" / "version1" / "project" / "re_render_state.burst"
    names = {path.name for path in made.iterdir()} | {"recipes.jsonl", "workflows/", "facts.jsonl"}
    assert names - set(re.findall(r"`([\w./]+)`", DOCUMENT)) == set()
