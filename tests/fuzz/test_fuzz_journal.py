"""A damaged journal: what was acknowledged before the damage is what one sees, or one message names file and byte.

Only the last line may be dropped, as one that a crash tore. Every truncation and every byte of a small journal, flipped
in one of three ways in turn; those at the ends of its lines in all three.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.damaged_json import damaged_bytes
from support.fast_disk import FastDisk, contents

from orchestrator.errors import StateError
from state.change import Change
from state.item import OutputRecord, Status
from state.json.journal_lines import snapshot_line
from state.open_store import open_store
from state.store import Store

STATE = {"a": {"status": "pending", "mine": {"crc": "00000000"}}, "b": {"status": "pending"}}
AT = datetime(2026, 1, 1, tzinfo=UTC)
OUTPUT = OutputRecord(path="a.png", bytes=5, sha256="ab")
FLIPS = (0x01, 0x20, 0x80)
Dump = list[tuple[str, Any]]


def dump(store: Store) -> Dump:
    return [(item.key, json.loads(item.to_record())) for item in store.items()]


class Scene:
    """A state file and its journal of three change sets; `seen[n]` is what n whole lines after the first say.

    `fresh`: changes alone. `marked`: a hand-over broke off before the new state file was renamed in. `handed over`: the
    new state file is in, the new journal is not.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self.path = folder / "state.json"
        self.path.write_text(json.dumps(STATE))
        store = open_store(self.path, disk=FastDisk())
        self.seen = [dump(store)]
        for change in self.changes():
            store.apply([change])
            self.seen.append(dump(store))
        self.journal = store.checkpoint_directory / "journal.jsonl"
        old, self.whole = self.path.read_bytes(), self.journal.read_bytes()
        store.settle(at_end=True)
        new = self.path.read_bytes()
        store.close()
        if kind != "fresh":
            self.whole += snapshot_line(seq=len(self.seen), snapshot=hashlib.sha256(new).hexdigest())
            self.seen.append(self.seen[-1])
        self.path.write_bytes(new if kind == "handed over" else old)
        self.ends = [found.end() for found in re.finditer(b"\n", self.whole)]
        self.last_at = self.ends[-2]

    @staticmethod
    def changes() -> list[Change]:
        return [
            Change("a", Status.PENDING, lambda item: item.submit(prompt_id="x", server="s", at=AT, fingerprint="f")),
            Change("a", Status.SUBMITTED, lambda item: item.complete(outputs=(OUTPUT,), at=AT, seconds=1.5)),
            Change("b", Status.PENDING, lambda item: item.cancel()),
        ]

    def look(self, journal: bytes) -> Dump | None:
        """What one sees with this journal; None where it is refused as it should be. No file is changed."""
        self.journal.write_bytes(journal)
        before = contents(self.path.parent)
        try:
            store = open_store(self.path, disk=FastDisk())
        except StateError as error:
            message = str(error)
            assert re.match(rf"{re.escape(str(self.journal))}: .*\bbyte \d+", message)
            return None
        else:
            found = dump(store)
            store.close()
            return found
        finally:
            assert contents(self.path.parent) == before


@pytest.fixture(params=["fresh", "marked", "handed over"])
def scene(tmp_path: Path, request: pytest.FixtureRequest) -> Scene:
    return Scene(tmp_path, request.param)


def test_the_whole_journal_says_it_all(scene: Scene) -> None:
    assert scene.look(scene.whole) == scene.seen[-1]
    assert len({str(seen) for seen in scene.seen}) == 4


def test_every_truncation_leaves_what_its_whole_lines_say(tmp_path: Path) -> None:
    """Of a journal with a marker: without that line it is a fresh one."""
    scene = Scene(tmp_path, "marked")
    for size in range(len(scene.whole)):
        whole_lines = sum(end <= size for end in scene.ends)
        assert scene.look(scene.whole[:size]) == (scene.seen[whole_lines - 1] if whole_lines else None), size


def test_a_torn_last_line_takes_nothing_from_a_state_file_that_holds_it_all(tmp_path: Path) -> None:
    scene = Scene(tmp_path, "handed over")
    for size in range(scene.last_at, len(scene.whole)):
        assert scene.look(scene.whole[:size]) == scene.seen[-1]


def test_every_flipped_byte_drops_the_last_line_or_is_refused(scene: Scene) -> None:
    """A newline is a bit pattern too: a flip may join two lines, or make two of one."""
    ends = {end + beside for end in (0, *scene.ends) for beside in (-2, -1, 0, 1)}
    for at in range(len(scene.whole)):
        for mask in FLIPS if at in ends else FLIPS[at % 3 :][:1]:
            spoiled = bytearray(scene.whole)
            spoiled[at] ^= mask
            found = scene.look(bytes(spoiled))
            if at < scene.last_at:
                assert found in (None, scene.seen[-1]), f"byte {at}, mask {mask}"
            else:
                assert found in (scene.seen[-2], scene.seen[-1]), f"byte {at}, mask {mask}"


@pytest.fixture(scope="module")
def fresh() -> Iterator[Scene]:
    with tempfile.TemporaryDirectory() as name:
        yield Scene(Path(name), "fresh")


@given(data=st.data())
def test_nothing_is_ever_seen_that_never_was(fresh: Scene, data: st.DataObject) -> None:
    """Larger damage: lines gone, doubled, zeroed, cut."""
    assert fresh.look(data.draw(damaged_bytes(fresh.whole))) in (None, *fresh.seen)
