"""What a state in a database takes in when items are added: a worker needs the database, the roots and a server."""

from __future__ import annotations

import json
import os
import shutil
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.image_project import INVERT, MASKED, draw
from support.postgres import fresh_database
from support.projects import small_template, state_variable
from support.two_hosts import HostDirectory, MakeHost

from burst import cli
from orchestrator.batches.cleaning import clean_batches
from orchestrator.batches.spec import BatchSpec
from orchestrator.cancellation import cancel
from orchestrator.clock import Clock
from orchestrator.cycle.request import Request
from orchestrator.cycle.run import Run
from orchestrator.editing import Edit, edit_items
from orchestrator.errors import BurstError
from orchestrator.forgetting import forget
from orchestrator.generation import Generation
from orchestrator.init_state import InitReport, init_state
from orchestrator.outputs import embedded_graph
from orchestrator.outputs.inputs_folder import InputsFolder
from orchestrator.places import root_named
from orchestrator.sandbox import Sandbox
from orchestrator.settings import Overrides
from orchestrator.sync import Synchronisation
from orchestrator.verify import verify_outputs
from state.item import Item, Status
from state.location import DatabaseAddress
from state.open_store import open_store
from state.sql.store import SqlStore

COPIES = "out/.burst-inputs"


@pytest.fixture
def one(host: MakeHost, nas: Path) -> HostDirectory:
    """A host that adds things. This process is it."""
    found = host("one")
    found.mount("shared", nas)
    found.be()
    return found


def begin(state: Path, folder: str = "prompts", *, url: str = "http://127.0.0.1:9", **said: Any) -> InitReport:
    graph = said.pop("graph", small_template())
    Path("template.json").write_text(json.dumps(graph))
    overrides = Overrides(
        template="template.json", output_dir=root_named(said.pop("output", "root://shared/out")), servers=(url,)
    )
    return init_state(state, [Path(folder)], overrides=overrides, **said)


def write_prompts(*texts: str) -> None:
    Path("prompts").mkdir(exist_ok=True)
    for number, text in enumerate(texts, 1):
        Path("prompts", f"{number}.txt").write_text(text)


def items(state: Path, *statuses: Status) -> list[Item]:
    with open_store(state, read_only=True) as store:
        return list(store.items(*statuses))


def run(state: Path) -> Any:
    return Run(Request(state=state, poll_seconds=0.2, in_doubt_seconds=0.5, until_done=True)).execute()


def copies(nas: Path) -> list[Path]:
    return sorted(path for path in (nas / COPIES).rglob("*") if path.is_file())


def rendered_texts(nas: Path) -> list[str]:
    images = [path for path in (nas / "out").rglob("*.png") if ".burst-inputs" not in path.parts]
    graphs = [embedded_graph(path) for path in images]
    nodes = [graph["6"]["inputs"] for graph in graphs if graph is not None and "6" in graph]
    return sorted(inputs["text"] for inputs in nodes if "text" in inputs)


def test_a_worker_needs_nothing_but_the_database_its_roots_and_a_server(
    one: HostDirectory, host: MakeHost, nas: Path, state: DatabaseAddress, sandbox: Sandbox
) -> None:
    """Everything that the items were made from is deleted; another host has another directory, and an empty one."""
    write_prompts("a lighthouse", "a fox")
    begin(state, url=sandbox.url)
    draw(Path("photos/a.png"), 1)
    draw(Path("photos/a_mask.png"), 2)
    begin(state, "photos", url=sandbox.url, graph=MASKED, images=True, masks="{stem}_mask.png")
    draw(Path("listed/b.png"), 3)
    Path("list.jsonl").write_text('{"image": "listed/b.png"}\n{"image": "listed/b.png"}\n')
    Path("invert.json").write_text(json.dumps(INVERT))
    asked = Request(
        state=state, overrides=Overrides(template="invert.json", output_dir=root_named("root://shared/out"))
    )
    Generation(BatchSpec(jsonl="list.jsonl"), asked, queue_only=True).execute()
    other = host("other")
    other.mount("shared", nas)
    shutil.rmtree(one.path)
    other.be()
    ended = CliRunner().invoke(
        cli, ["run", "--until-done", "--poll-interval", "0.2"], env={"BURST_STATE": state_variable(state)}
    )
    assert (ended.exit_code, len(items(state, Status.COMPLETED))) == (0, 5), ended.output
    assert list(other.work.iterdir()) == []
    assert rendered_texts(nas) == ["a fox", "a lighthouse"]
    assert [path.read_bytes()[:4] for path in copies(nas)] == [b"\x89PNG"] * 3
    assert verify_outputs(state).problems == ()


def test_what_was_asked_for_is_made_whatever_becomes_of_the_file(
    one: HostDirectory, nas: Path, sqlite: DatabaseAddress, sandbox: Sandbox
) -> None:
    write_prompts("as it was")
    begin(sqlite, url=sandbox.url)
    write_prompts("changed")
    assert run(sqlite).completed == 1
    assert rendered_texts(nas) == ["as it was"]


def test_init_again_gives_due_items_the_texts_and_images_of_today(
    one: HostDirectory, nas: Path, sqlite: DatabaseAddress
) -> None:
    write_prompts("one", "two")
    draw(Path("photos/a.png"), 1)
    begin(sqlite)
    begin(sqlite, "photos", graph=INVERT, images=True)
    before = items(sqlite)
    write_prompts("one", "another two")
    draw(Path("photos/a.png"), 2)
    begin(sqlite)
    assert [item.file_text for item in items(sqlite)[:2]] == ["one", "another two"]
    begin(sqlite, "photos", graph=INVERT, images=True)
    after = items(sqlite)
    assert [item.key for item in after] == [item.key for item in before]
    assert (after[0], after[2].uploads) == (before[0], before[2].uploads)
    assert after[2].taken_in != before[2].taken_in
    Path("prompts/1.txt").unlink()
    begin(sqlite)
    assert [item.file_text for item in items(sqlite)[:2]] == ["one", "another two"], "what is gone is still asked for"


def test_init_again_names_finished_items_whose_files_changed_and_rescan_makes_them_again(
    one: HostDirectory, nas: Path, sqlite: DatabaseAddress, sandbox: Sandbox
) -> None:
    write_prompts("one", "two", "three")
    begin(sqlite, url=sandbox.url)
    run(sqlite)
    keys = [item.key for item in items(sqlite)]
    write_prompts("one", "another two", "three  ")
    for _ in range(2):
        report = begin(sqlite, url=sandbox.url)
        assert (report.edited, report.put_back, report.gone) == ((keys[1],), (), ()), "white space changes nothing"
    report = begin(sqlite, url=sandbox.url, rescan=True)
    assert (report.put_back, report.edited) == ((keys[1],), ())
    run(sqlite)
    assert rendered_texts(nas) == ["another two", "one", "three"]


def test_a_text_that_somebody_edited_is_not_that_of_the_file(one: HostDirectory, sqlite: DatabaseAddress) -> None:
    write_prompts("one")
    begin(sqlite)
    (item,) = items(sqlite)
    edit_items(sqlite, [item.key], Edit(prompt="mine"))
    write_prompts("another one")
    begin(sqlite)
    (item,) = items(sqlite)
    assert item.own_text == "mine"


def test_equal_images_are_one_file_and_the_names_of_outputs_are_those_of_the_originals(
    one: HostDirectory, nas: Path, sqlite: DatabaseAddress, sandbox: Sandbox
) -> None:
    draw(Path("photos/EP01/a.png"), 1)
    shutil.copy("photos/EP01/a.png", "photos/EP01/b.png")
    begin(sqlite, "photos", graph=INVERT, images=True, url=sandbox.url)
    assert len(copies(nas)) == 1
    assert len({copy for item in items(sqlite) for copy in item.taken_in.values()}) == 1
    run(sqlite)
    outputs = sorted(output.path for item in items(sqlite) for output in item.outputs)
    assert outputs == ["EP01/a.png", "EP01/b.png"]
    assert begin(sqlite, "photos", graph=INVERT, images=True, url=sandbox.url).edited == ()


def test_what_cannot_be_read_is_named_and_fails_by_itself(
    one: HostDirectory, sqlite: DatabaseAddress, sandbox: Sandbox
) -> None:
    write_prompts("one", "two")
    Path("prompts/2.txt").write_bytes(b"\xff\xfe")
    report = begin(sqlite, url=sandbox.url)
    assert "1 file could not be read, so it was not taken in (" in "".join(report.notes)
    outcome = run(sqlite)
    assert (outcome.completed, outcome.failed) == (1, 1)
    (failed,) = items(sqlite, Status.FAILED)
    assert "not UTF-8" in (failed.error.message if failed.error else "")


def test_killed_between_the_copy_and_the_item_it_is_repeated(
    one: HostDirectory, nas: Path, sqlite: DatabaseAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(Path("photos/a.png"), 1)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SqlStore, "add", killed)
        with pytest.raises(KeyboardInterrupt):
            begin(sqlite, "photos", graph=INVERT, images=True)
    assert (len(copies(nas)), items(sqlite)) == (1, [])
    begin(sqlite, "photos", graph=INVERT, images=True)
    (copy,) = copies(nas)
    (item,) = items(sqlite)
    assert list(item.taken_in.values()) == [f"root://shared/{copy.relative_to(nas).as_posix()}"]


def test_a_root_that_cannot_be_written_adds_nothing(one: HostDirectory, nas: Path, sqlite: DatabaseAddress) -> None:
    draw(Path("photos/a.png"), 1)
    (nas / "out").mkdir()
    (nas / "out" / ".burst-inputs").write_text("in the way")
    with pytest.raises(BurstError, match="burst-inputs"):
        begin(sqlite, "photos", graph=INVERT, images=True)
    assert items(sqlite) == []


class Days(Clock):
    """Days later."""

    def __init__(self, days: float) -> None:
        self._later = timedelta(days=days)

    def now(self) -> Any:
        return super().now() + self._later


def test_only_old_copies_that_no_item_of_this_state_names_are_removed(
    one: HostDirectory, nas: Path, sqlite: DatabaseAddress
) -> None:
    for number in (1, 2):
        draw(Path(f"photos/{number}.png"), number)
    begin(sqlite, "photos", graph=INVERT, images=True)
    theirs = DatabaseAddress(f"sqlite:///{nas}/theirs.db")
    begin(theirs, "photos", graph=INVERT, images=True)
    forget(theirs, [item.key for item in items(theirs)])
    first, last = items(sqlite)
    (named,) = last.taken_in.values()
    left = nas / named.removeprefix("root://shared/").replace(".png", ".png.abcd.tmp")
    left.write_bytes(b"half")
    forget(sqlite, [first.key])
    for days, dry_run, removed in ((0.5, False, 0), (2, True, 2), (2, False, 2), (2, False, 0)):
        report = clean_batches(sqlite, older_than=timedelta(0), dry_run=dry_run, clock=Days(days))
        assert len(report.removed) == removed
        assert not removed or "inputs that nothing needs" in report.as_text()
    assert len(copies(nas)) == 3, "those of the other state are its own"
    assert (nas / named.removeprefix("root://shared/")).exists()
    clean_batches(theirs, older_than=timedelta(0), clock=Days(2))
    assert [path.name for path in copies(nas)] == [Path(named).name]
    assert clean_batches(sqlite, older_than=timedelta(days=30), clock=Days(2)).removed == ()


def test_the_files_of_a_list_are_taken_in_by_sync_too(one: HostDirectory, nas: Path, sqlite: DatabaseAddress) -> None:
    for name, number in (("a", 1), ("b", 2)):
        draw(Path(f"{name}.png"), number)
    Path("template.json").write_text(json.dumps(INVERT))
    said = Overrides(template="template.json", output_dir=root_named("root://shared/out"))

    def sync(*rows: str) -> list[str]:
        Path("list.csv").write_text("\n".join(["id,image", *rows, ""]))
        Synchronisation("list.csv", "cast", {}, Request(state=sqlite, overrides=said), patience_seconds=0.0).bring()
        return [Path(copy).name[:8] for item in items(sqlite) for copy in item.taken_in.values()]

    a, b = sync("1,a.png", "2,b.png")
    assert sync("1,b.png", "2,b.png", "3,a.png") == [b, b, a]
    draw(Path("b.png"), 4)
    changed = sync("1,b.png", "2,b.png", "3,a.png")
    assert (changed[0], changed[2]) == (changed[1], a)
    assert changed[0] != b


def test_many_put_one_file_at_once(tmp_path: Path) -> None:
    folder = InputsFolder(tmp_path / "out", "id")
    data = os.urandom(1 << 16)
    threads = [threading.Thread(target=folder.put, args=("abcd.png", data)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (found,) = folder.files()
    assert (found.inside, (tmp_path / "out" / found.inside).read_bytes()) == (".burst-inputs/id/ab/abcd.png", data)
    (tmp_path / "out" / found.inside).write_bytes(data[:9])
    folder.put("abcd.png", data)
    assert (tmp_path / "out" / found.inside).read_bytes() == data, "one that was cut by somebody is whole again"


def test_a_copy_that_is_put_again_is_as_new(tmp_path: Path) -> None:
    """A host may be about to add an item that names it, while another one cleans."""
    folder = InputsFolder(tmp_path / "out", "id")
    inside = folder.put("abcd.png", b"x")
    os.utime(tmp_path / "out" / inside, (1, 1))
    (old,) = folder.files()
    folder.put("abcd.png", b"x")
    assert not folder.remove(old)
    assert (tmp_path / "out" / inside).exists()


def test_a_json_state_leaves_files_where_they_are(one: HostDirectory, nas: Path) -> None:
    write_prompts("one")
    draw(Path("photos/a.png"), 1)
    begin(Path("state.json"))
    begin(Path("state.json"), "photos", graph=INVERT, images=True)
    assert [(item.file_text, item.taken_in) for item in items(Path("state.json"))] == [(None, {})] * 2
    assert not (nas / "out").exists()


def test_items_that_were_there_before_a_workflow_get_it_when_it_is_named(
    one: HostDirectory, sqlite: DatabaseAddress
) -> None:
    """A worker elsewhere has not the file that the settings name."""
    write_prompts("one", "two")
    init_state(sqlite, [Path("prompts")])
    assert [item.recipe for item in items(sqlite)] == [None, None]
    Path("prompts/2.txt").unlink()
    begin(sqlite)
    (recipe,) = {item.recipe for item in items(sqlite)}
    assert recipe is not None


def test_an_item_on_a_server_may_be_named_from_the_working_directory(one: HostDirectory) -> None:
    state = DatabaseAddress(fresh_database())
    write_prompts("one", "two")
    begin(state)
    cancel(state, ["prompts/1.txt"])
    assert [item.key for item in items(state, Status.CANCELLED)] == [f"{one.work}/prompts/1.txt"]
