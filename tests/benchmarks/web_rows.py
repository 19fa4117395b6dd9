"""What looking on from a browser costs the front end's process."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import requests

from state.batch import BatchRecord
from state.change import Change
from state.item import Item, OutputRecord, Status
from state.open_store import open_store
from state.store import Store
from tests.benchmarks.child import burst_command, environment, measure, script_command
from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.project import STATE
from tests.benchmarks.scripts.open_state import resident_bytes
from tests.benchmarks.setting import Setting

_EACH = 20
_MILLISECONDS = 1000.0
_MIB = 1 << 20
_AT = datetime(2026, 11, 21, 5, tzinfo=UTC)


def pages(setting: Setting) -> list[Figure]:
    """CPU of `burst serve` for one call, over a state of many images in batches of 20.

    Progress: of one batch; before every tenth call another process completes an item of it. Gallery: the first page of
    60 images, and of those that a filter leaves.
    """
    count, calls = setting.scale.images, setting.scale.page_calls
    progress, first, filtered = [], [], []
    for _, place in setting.each_round("pages"):
        store, batch = _state(place, count)
        with contextlib.closing(store), front_end(place) as served:
            served.get(f"/api/batches/{batch}/progress")
            served.get("/api/gallery")
            served.wait_until_idle()
            progress.append(served.milliseconds_a_call(_progress_calls(served, store, batch, calls)))
            first.append(served.milliseconds_a_call(served.get("/api/gallery") for _ in range(calls)))
            filtered.append(served.milliseconds_a_call(served.get("/api/gallery?text=owl+7") for _ in range(calls)))
    about = f"CPU of one call, {count:,} images"
    return [
        Figure(f"{about}: progress of a batch of {_EACH}", tuple(progress), Target("at most", 5.0), unit="ms"),
        Figure(f"{about}: the gallery's first page", tuple(first), Target("at most", 100.0), unit="ms"),
        Figure(f"{about}: the gallery, filtered by text", tuple(filtered), Target("at most", 100.0), unit="ms"),
    ]


def large(setting: Setting) -> list[Figure]:
    """One batch of many items, nine tenths of them completed: CPU of a progress call, and the memory of `burst serve`.

    Once progress, whole batch, gallery and a search were opened; without what a store takes, and what the same takes
    for a batch of 20.
    """
    count, calls = setting.scale.many_items, setting.scale.page_calls
    progress, memory = [], []
    for _, place in setting.each_round("large"):
        resident = []
        for size in (_EACH, count):
            home = place / str(size)
            home.mkdir()
            _large_state(home, size)
            own = measure(script_command("open_state", STATE), cwd=home).report["bytes"]
            with front_end(home) as served:
                for path in ("batches/b/progress", "batches/b", "gallery", "gallery?text=owl"):
                    served.get(f"/api/{path}")
                served.wait_until_idle()
                resident.append(resident_bytes(served.pid) - own)
                spent = served.milliseconds_a_call(served.get("/api/batches/b/progress") for _ in range(calls))
        progress.append(spent)
        memory.append((resident[1] - resident[0]) / _MIB)
    return [
        Figure(f"CPU of one call: progress of a batch of {count:,}", tuple(progress), Target("at most", 20.0), "ms"),
        Figure(
            f"memory of the browser beside the store's, a batch of {count:,}",
            tuple(memory),
            Target("at most", 30.0),
            unit="MiB",
        ),
    ]


def _large_state(place: Path, count: int) -> None:
    with open_store(place / STATE, create=True) as store:
        record = BatchRecord(
            batch="b", created_at=_AT, total=count, layout="gallery", directory="b", prompts=("an owl 7",)
        )
        items = [_item(f"b/{index}", prompt="an owl 7") for index in range(1, count + 1)]
        store.add(items, batch=record)
        _complete(store, [item.key for item in items[: count * 9 // 10]])
        store.settle(at_end=True)


@dataclass(frozen=True)
class _Served:
    url: str
    pid: int
    session: requests.Session

    def get(self, path: str) -> None:
        """Errors: HTTPError."""
        self.session.get(self.url + path, timeout=60).raise_for_status()

    def milliseconds_a_call(self, calls: Iterator[None]) -> float:
        before, made = self._cpu_seconds(), sum(1 for _ in calls)
        return _MILLISECONDS * (self._cpu_seconds() - before) / made

    def wait_until_idle(self) -> None:
        """Until the first run that the server starts has ended, and what it wrote was read."""
        for _ in range(30):
            before = self._cpu_seconds()
            time.sleep(1.0)
            if self._cpu_seconds() - before <= 0.05:
                return

    def _cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _progress_calls(served: _Served, store: Store, batch: str, calls: int) -> Iterator[None]:
    for number in range(calls):
        if number % 10 == 0 and number // 10 < _EACH:
            _complete(store, [f"{batch}/{number // 10 + 1}"])
        yield served.get(f"/api/batches/{batch}/progress")


def _state(place: Path, count: int) -> tuple[Store, str]:
    """So many completed items, and one batch that is under way."""
    store = open_store(place / STATE, create=True)
    names = [f"20261121_{number:06d}" for number in range(count // _EACH + 1)]
    for number, name in enumerate(names):
        record = BatchRecord(
            batch=name, created_at=_AT, total=_EACH, layout="gallery", directory=name, prompts=(f"an owl {number}",)
        )
        prompt = f"an owl {number}"
        store.add([_item(f"{name}/{index}", prompt=prompt) for index in range(1, _EACH + 1)], batch=record)
    keys = [f"{name}/{index}" for name in names for index in range(1, _EACH + 1)]
    _complete(store, keys[:-_EACH])
    store.settle(at_end=True)
    return store, names[-1]


def _item(key: str, *, prompt: str) -> Item:
    batch, _, index = key.partition("/")
    inputs = {"seed": int(index), "steps": 20, "cfg": 7.0, "sampler": "euler", "scheduler": "karras"}
    return Item(
        key=key,
        status=Status.PENDING,
        batch=batch,
        index=int(index),
        prompt_text=prompt,
        inputs=inputs,
    )


def _complete(store: Store, keys: list[str]) -> None:
    def submit(item: Item) -> Item:
        return msgspec.structs.replace(item, status=Status.SUBMITTED, prompt_id=item.key)

    def complete(item: Item) -> Item:
        output = OutputRecord(path=f"{item.key}.png", bytes=1000, sha256=f"{hash(item.key) & (2**64 - 1):064x}")
        return msgspec.structs.replace(
            item, status=Status.COMPLETED, outputs=(output,), seconds=2.0, completed_at=datetime.now(UTC)
        )

    store.apply([Change(key, Status.PENDING, submit) for key in keys])
    store.apply([Change(key, Status.SUBMITTED, complete) for key in keys])


@contextlib.contextmanager
def front_end(place: Path, *options: str) -> Iterator[_Served]:
    """`burst serve` before a server that is not there: nothing goes on while it is looked at."""
    command = burst_command(
        "serve", "--json", "--port", "0", "--state", STATE, "--server", "http://127.0.0.1:9", *options
    )
    child = subprocess.Popen(command, cwd=place, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert child.stdout is not None
        url = json.loads(child.stdout.readline())["url"].rstrip("/")
        with requests.Session() as session:
            yield _Served(url, child.pid, session)
    finally:
        child.terminate()
        child.communicate()
