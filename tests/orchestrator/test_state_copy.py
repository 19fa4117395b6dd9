"""`burst state copy`: everything goes along, nothing is followed by two states, and a kill costs a second call."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.background import wait_for_renders
from support.burst_runs import run_quickly
from support.fork_server import start
from support.leases import at_work
from support.postgres import database_without_state
from support.projects import LAUNCHER, ROOT, Project

from orchestrator.cancellation import cancel
from orchestrator.cycle.run import run_burst
from orchestrator.errors import LockHeld, StateError, StateMoved, UsageError
from orchestrator.init_state import init_state
from orchestrator.retries import retry
from orchestrator.sandbox import Sandbox, SandboxSettings
from orchestrator.settings import Settings, save_settings
from orchestrator.state_copy import copy_state
from orchestrator.status import read_status
from state.batch import BatchRecord, EndRecord
from state.burst_record import BurstRecord
from state.contents import Contents
from state.disk import Disk
from state.facts import ClientId, Pause
from state.item import Item, Status
from state.json.creation import create_json
from state.location import Location
from state.open_store import open_store, parts_of
from state.recipe import Recipe, workflow_bytes, workflow_digest

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
GRAPH = {"1": {"class_type": "EmptyImage", "inputs": {"width": 64}}}
RECORDS: dict[str, Any] = {
    "b/002": {"status": "submitted", "prompt_id": "p2", "server": "gpu1", "submitted_at": "2030-01-01T11:00:00Z"},
    "a.txt": {
        "status": "completed",
        "outputs": [{"path": "a.png", "bytes": 9, "sha256": "ab", "from": "there"}],
        "seconds": 2,
    },
    "c.txt": {"status": "failed", "error": {"kind": "gone", "message": "no"}, "attempts": 3, "mine": {"a": [1, "é"]}},
    "d.txt": {"status": "cancelled", "index": 2**70},
    "e.txt": {"status": "pending", "prompt_id": "p5", "priority": "high", "rank": 0.5},
}


class Place:
    """Where states of each kind are."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.json = str(home / "state.json")
        self.addresses: dict[str, Callable[[], str]] = {
            "json": lambda: str(home / "copy.json"),
            "sqlite": lambda: f"sqlite:///{home}/burst.db",
            "postgresql": database_without_state,
        }

    def __getitem__(self, kind: str) -> str:
        return self.addresses[kind]()

    def fill(self) -> None:
        """A JSON state with something of everything; part of it in the journal."""
        path = Path(self.json)
        recipe = Recipe(workflow=workflow_digest(workflow_bytes(GRAPH)), workflow_name="a.json")
        records = {key: {"recipe": recipe.id, **record} for key, record in RECORDS.items()}
        path.write_text(json.dumps(records))
        save_settings(path, Settings(output_dir=self.home / "renders", bindings={"seed": "3.seed"}))
        with open_store(path) as store:
            store.recipes.add(recipe, GRAPH)
            store.recipes.add(Recipe(output="elsewhere"), None)
            waits: Any = {"1.image": {"item": "b/002", "output": 1}}
            stage = Item.from_record(
                "b/003", msgspec.json.encode({"status": "pending", "batch": "b", "uploads": waits})
            )
            made = Item(key="b/001", status=Status.PENDING, batch="b", index=1, recipe=recipe.id)
            record = BatchRecord(batch="b", created_at=NOON, total=2, layout="numbered", directory="b")
            store.add([made, stage], batch=record)
            store.batches.append(EndRecord(batch="b", event="e", at=NOON, how="done"))
            store.facts.append(
                Pause(paused=True, at=NOON, reason="tea"), ClientId(server="gpu1", client_id="c", at=NOON)
            )
            store.bursts.append(
                BurstRecord(burst="1", started_at=NOON, ended_at=NOON, ended="done", size=3, completed=1)
            )
        with (path.with_suffix(".burst") / "facts.jsonl").open("a") as facts:
            facts.write('{"line":"of tomorrow","what":1}\n')


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)
    place = Place(tmp_path)
    place.fill()
    return place


def contents(address: str) -> tuple[Any, ...]:
    """With paths that a database on a server keeps whole from the working directory on."""
    with open_store(address, read_only=True) as store:
        found = Contents.of(store)
        settings = "\n".join(line for line in (found.settings or "").splitlines() if not line.startswith("moved_to"))
        here = {name: (_recipe_from_here(recipe), graph) for name, (recipe, graph) in found.recipes.items()}
        items = [
            (msgspec.structs.replace(item, recipe=None), here[item.recipe] if item.recipe else None)
            for item in found.items()
        ]
        recipes = list(here.values())
        return _from_here(settings), recipes, found.logs, items, store.waiting(), store.stages_of("b/002")


def _recipe_from_here(recipe: Recipe) -> Recipe:
    name = recipe.workflow_name and _from_here(recipe.workflow_name)
    return msgspec.structs.replace(recipe, output=_from_here(recipe.output), workflow_name=name)


def _from_here(text: str) -> str:
    return text.replace(f"{Path.cwd()}/", "")


@pytest.mark.parametrize("kinds", [("sqlite",), ("postgresql",), ("sqlite", "postgresql", "json")], ids="-".join)
def test_everything_goes_along_from_each_kind_to_each(place: Place, kinds: tuple[str, ...]) -> None:
    before, source = contents(place.json), place.json
    for kind in kinds:
        target = place[kind]
        made = copy_state(source, target)
        assert (made.is_new, made.batches, made.recipes, sum(made.counts.values())) == (True, 1, 2, 7)
        assert contents(target) == before
        assert contents(source) == before
        source = target
    with open_store(source, read_only=True) as store:
        assert (store.counts()[Status.SUBMITTED], store.due_count(), store.waiting()) == (1, 2, ["b/003"])
        assert [item.key for item in store.due(9)] == ["e.txt", "b/001"]
        assert parts_of(source).pause() is not None


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "json"])
def test_again_is_once_and_the_old_one_is_used_no_more(place: Place, kind: str) -> None:
    target = place[kind]
    path = Path(place.json)
    copy_state(place.json, target)
    again = copy_state(place.json, target)
    assert (again.is_new, contents(target)) == (False, contents(place.json))
    shown = Location.of(target).shown()
    assert "there, by an earlier call" in again.as_text()
    uses: list[Callable[[], object]] = [
        lambda: run_burst(path),
        lambda: cancel(path, ["e.txt"]),
        lambda: retry(path, ["c.txt"]),
        lambda: init_state(path, [place.home]),
        lambda: read_status(path),
    ]
    for use in uses:
        with pytest.raises(StateMoved, match="moved to") as refused:
            use()
        assert shown in str(refused.value)
    with pytest.raises(StateError, match=r"moved to .* already"):
        copy_state(place.json, str(place.home / "third.json"))


def test_no_password_is_kept_or_said(place: Place) -> None:
    address = database_without_state()
    secret = address.replace("postgres@", "postgres:s3cret@", 1)
    assert secret != address
    said = copy_state(place.json, secret).as_text()
    kept = (place.home / "state.burst" / "settings.toml").read_text()
    assert "s3cret" not in said + kept
    assert not copy_state(place.json, secret).is_new


class Killed(BaseException):
    pass


MARK = "state.json.settings_file:SettingsFile.write"


@pytest.mark.parametrize(
    ("kind", "moment"),
    [
        ("sqlite", f"before:{MARK}"),
        ("sqlite", f"after:{MARK}"),
        ("sqlite", "after:state.sql.store:SqlStore._take_in"),
        ("sqlite", "before:state.contents:Contents.difference"),
        ("sqlite", "after:state.contents:Contents.difference"),
        ("json", "after:state.json.recipe_book:JsonRecipeBook.add"),
        ("json", "before:state.contents:Contents.difference"),
    ],
)
def test_killed_at_each_step_a_second_call_does_the_rest(place: Place, kind: str, moment: str) -> None:
    before, target = contents(place.json), place[kind]
    command = [sys.executable, LAUNCHER, "--kill", moment, "--", "state", "copy", place.json, target]
    with (place.home / "said").open("wb") as said:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        killed = start(command, cwd=place.home, env=environment, stdout=said.fileno(), stderr=said.fileno())
        assert killed.wait() == -signal.SIGKILL, (place.home / "said").read_text()
    if moment != f"before:{MARK}":
        with pytest.raises(StateMoved):
            run_burst(Path(place.json))
    copy_state(place.json, target)
    assert contents(target) == before


class Mortal(Disk):
    """A process that dies before one of its calls."""

    def __init__(self, *, after: int) -> None:
        self.left = after

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name in ("write_whole", "create", "replace", "remove", "sync_directory", "append_to", "make_directory"):
            if self.left == 0:
                raise Killed
            self.left -= 1
        return found


def test_a_json_state_is_there_whole_or_not_at_all(place: Place) -> None:
    before, steps = contents(place.json), 0
    with open_store(place.json, read_only=True) as store:
        found = Contents.of(store)
    while True:
        target = Location.of(place.home / f"copy{steps}.json")
        try:
            create_json(target, found, disk=Mortal(after=steps))
        except Killed:
            if not parts_of(target).exists():
                create_json(target, found)
            assert contents(str(target.path)) == before
            steps += 1
        else:
            break
    assert steps > 15


def test_nothing_is_copied_while_a_run_works_on_it(place: Place) -> None:
    with at_work(Path(place.json), burst="b7"), pytest.raises(LockHeld):
        copy_state(place.json, place["sqlite"])
    assert not (place.home / "burst.db").exists()
    assert copy_state(place.json, place["sqlite"]).is_new


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("state.json", "state.json", "name another place"),
        ("none.json", "sqlite:///burst.db", "no state here"),
        ("state.json", "sqlite:////tmp/burst.db", "relative to"),
        ("state.json", "sub/other.json", "relative to"),
        ("state.json", "there.json", "a state already"),
        ("state.json", "taken.json", "holds files of another state"),
    ],
)
def test_what_cannot_be_copied_is_refused_and_nothing_is_marked(
    place: Place, source: str, target: str, message: str
) -> None:
    (place.home / "there.json").write_text("{}")
    (place.home / "taken.burst").mkdir()
    (place.home / "taken.burst" / "notes.txt").write_text("mine")
    with pytest.raises((UsageError, StateError), match=message):
        copy_state(source, target)
    assert "moved_to" not in (place.home / "state.burst" / "settings.toml").read_text()
    assert (place.home / "there.json").read_text() == "{}"
    assert read_status(Path(place.json)).counts[Status.PENDING] == 3


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings()) as running:
        yield running


def test_what_is_submitted_is_followed_by_the_copy_alone(tmp_path: Path, sandbox: Sandbox) -> None:
    """There and back again through SQLite: the prompts that are out are collected, none is sent twice."""
    (tmp_path / "project").mkdir()
    project = Project(tmp_path / "project", server=sandbox.url, count=3)
    sandbox.hold()
    assert project.run(launch=["--kill", "after:orchestrator.comfyui.client:ComfyUI.submit:2"]).code == 137
    with open_store(project.state, read_only=True) as store:
        submitted = store.counts()[Status.SUBMITTED]
    through, back = f"sqlite:///{project.home}/burst.db", project.home / "back.json"
    copy_state(str(project.state), through)
    copy_state(through, str(back))
    sandbox.release()
    wait_for_renders(sandbox, 2)
    with pytest.raises(StateMoved):
        run_quickly(project)
    project.state = back
    assert submitted >= 1
    assert run_quickly(project).completed == 3
    assert sandbox.counts()["posts"] == 3
    assert parts_of(back).bursts.read()[0].ended == "killed"
