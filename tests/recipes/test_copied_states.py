"""`burst state copy` into a database takes in what the items are made of, and back out leaves it where it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.image_project import INVERT, draw
from support.postgres import fresh_database
from support.projects import small_template
from support.two_hosts import HostDirectory, MakeHost

from orchestrator.cycle.report import BurstReport
from orchestrator.cycle.request import Request
from orchestrator.cycle.run import Run
from orchestrator.errors import UsageError
from orchestrator.init_state import InitReport, init_state
from orchestrator.outputs.inputs_folder import InputsFolder
from orchestrator.places import root_named
from orchestrator.sandbox import Sandbox
from orchestrator.settings import Overrides
from orchestrator.state_copy import copy_state
from state.item import Item, Status
from state.location import state_path
from state.open_store import open_store


class Studio:
    """A JSON state in the working directory: a text and an image with recipes, and a text without one."""

    def __init__(self, url: str) -> None:
        self.state = Path("state.json").absolute()
        self.url = url
        Path("template.json").write_text(json.dumps(small_template()))
        Path("invert.json").write_text(json.dumps(INVERT))
        for name in ("one", "plain"):
            Path("prompts").mkdir(exist_ok=True)
            Path("prompts", f"{name}.txt").write_text(name)
        draw(Path("photos/a.png"), 1)
        self.init(self.state, "photos", template="invert.json", images=True)
        self.init(self.state, "prompts", template="template.json")
        records = json.loads(self.state.read_bytes())
        del records["prompts/plain.txt"]["recipe"]
        self.state.write_text(json.dumps(records))

    def init(self, state: Path, folder: str, *, template: str, output: str = "out", images: bool = False) -> InitReport:
        said = Overrides(template=template, output_dir=root_named(output), servers=(self.url,))
        return init_state(state, [Path(folder)], overrides=said, images=images)

    @staticmethod
    def lose_the_originals() -> None:
        for folder in ("prompts", "photos"):
            shutil.rmtree(folder)
        for name in ("template.json", "invert.json"):
            Path(name).unlink()


@pytest.fixture
def one(host: MakeHost) -> HostDirectory:
    found = host("one")
    found.be()
    return found


def items(state: Path) -> list[Item]:
    with open_store(state, read_only=True) as store:
        return list(store.items())


def run(state: Path) -> BurstReport:
    return Run(Request(state=state, poll_seconds=0.2, in_doubt_seconds=0.5, until_done=True)).execute()


def images(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*.png") if ".burst-inputs" not in path.parts
    )


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_what_was_copied_into_a_database_needs_no_file_of_before(
    one: HostDirectory, host: MakeHost, kind: str, sandbox: Sandbox
) -> None:
    studio = Studio(sandbox.url)
    address = fresh_database() if kind == "postgresql" else f"sqlite:///{one.work}/burst.db"
    made = copy_state(str(studio.state), address)
    assert (made.counts.pending, made.recipes, made.notes) == (3, 2, ())
    studio.lose_the_originals()
    host("other").be()
    state = state_path(address)
    report = run(state)
    assert (report.exit_code, report.completed) == (0, 3)
    assert images(one.work / "out") == ["photos/a.png", "prompts/one.png", "prompts/plain.png"]
    assert len(list((one.work / "out/.burst-inputs").rglob("*.png"))) == 1


def test_and_back_out_the_texts_and_copies_are_used(one: HostDirectory, sandbox: Sandbox) -> None:
    studio = Studio(sandbox.url)
    database = fresh_database()
    copy_state(str(studio.state), database)
    studio.lose_the_originals()
    copy_state(database, str(one.work / "again.json"))
    assert len(items(one.work / "again.json")) == 3
    assert run(one.work / "again.json").completed == 3
    assert images(one.work / "out") == ["photos/a.png", "prompts/one.png", "prompts/plain.png"]


def test_init_over_the_same_directory_finds_the_items_of_the_copy(one: HostDirectory) -> None:
    studio = Studio("http://127.0.0.1:9")
    database = fresh_database()
    copy_state(str(studio.state), database)
    state = state_path(database)
    before = items(state)
    Path("prompts/one.txt").write_text("changed")
    for folder, template, with_images in (("prompts", "template.json", False), ("photos", "invert.json", True)):
        report = studio.init(state, folder, template=template, images=with_images)
        assert (report.added, report.counts.total) == (0, 3)
    after = items(state)
    assert [(item.key, item.uploads, item.taken_in) for item in after] == [
        (item.key, item.uploads, item.taken_in) for item in before
    ]
    assert sorted(item.file_text or "" for item in after) == ["", "changed", "plain"]


def test_a_copy_that_is_killed_between_two_files_is_repeated(
    one: HostDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = Studio("http://127.0.0.1:9")
    draw(Path("photos/b.png"), 2)
    studio.init(studio.state, "photos", template="invert.json", images=True)
    database, put, count = fresh_database(), InputsFolder.put, 0

    def killed(self: InputsFolder, filename: str, data: bytes) -> str:
        nonlocal count
        count += 1
        if count == 2:
            raise KeyboardInterrupt
        return put(self, filename, data)

    with monkeypatch.context() as patch:
        patch.setattr(InputsFolder, "put", killed)
        with pytest.raises(KeyboardInterrupt):
            copy_state(str(studio.state), database)
    made = copy_state(str(studio.state), database)
    assert (made.is_new, made.counts.pending) == (True, 4)
    assert len(list(Path("out/.burst-inputs").rglob("*.png"))) == 2
    assert not copy_state(str(studio.state), database).is_new


def test_to_a_server_it_may_be_called_anywhere_and_to_a_file_elsewhere_it_is_refused(
    one: HostDirectory, tmp_path: Path
) -> None:
    studio = Studio("http://127.0.0.1:9")
    Path("prompts/one.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="relative to"):
        copy_state(str(studio.state), f"sqlite:///{tmp_path}/elsewhere.db")
    (tmp_path / "elsewhere").mkdir()
    database = fresh_database()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path / "elsewhere")
        made = copy_state(str(studio.state), database)
        assert ["1 file could not be read" in note for note in made.notes] == [True]
        found = {item.key: item for item in items(state_path(database))}
    assert found["prompts/plain.txt"].file_text == "plain"
    assert found["prompts/one.txt"].file_text is None
    assert {item.status for item in found.values()} == {Status.PENDING}
    (copy,) = found["photos/a.png"].taken_in.values()
    assert (copy.startswith(f"{one.work}/out/.burst-inputs/"), Path(copy).is_file()) == (True, True)
