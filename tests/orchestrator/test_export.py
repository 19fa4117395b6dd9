"""`burst export`: images and captions in a folder, twice, after a kill, beside other files, from every state."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.fast_disk import FastDisk
from support.scene_fixtures import over_every_kind, over_json
from support.state_scenes import NOON
from support.stores import Kind, State

from burst import cli
from orchestrator.documents.json_schema import json_schema
from orchestrator.errors import LockHeld, UsageError
from orchestrator.results.dataset_folder import LIST
from orchestrator.results.export import Exported, export_dataset
from orchestrator.settings import Settings, save_settings
from orchestrator.trash_records import trashed, with_trashed
from state.batch import BatchRecord
from state.change import Change, change_all
from state.item import Item, OutputRecord, Status
from state.location import state_path
from state.store import Store
from state.write_lock import WriteLock


class Scene:
    """A state with a batch `foxes` of two items with an image each, whose files have one name."""

    def __init__(self, kind: Kind, home: Path) -> None:
        self.home = home
        self.opened = State(kind, home)
        self.path = state_path(str(self.opened.address))
        self.store: Store = self.opened.open(create=True)
        save_settings(self.path, Settings(output_dir=home / "out", template="smoke"))
        record = BatchRecord(batch="b1", name="foxes", created_at=NOON, total=2, layout="mirror", directory="foxes")
        self.add("one", "EP01/fox.png", b"first", record, prompt="a red fox ", seed=7, model="sdxl.safetensors")
        self.add("two", "EP02/fox.png", b"second", record, prompt="a \u72d0", seed=2**64 - 1, lora=["ink:0.5"])

    def add(self, key: str, path: str, data: bytes, record: BatchRecord | None = None, **inputs: Any) -> None:
        text = inputs.pop("prompt")
        batch = record.batch if record is not None else None
        item = Item(key=key, status=Status.PENDING, batch=batch, inputs=inputs, prompt_text=text)
        self.store.add([item], batch=record)
        self.edit(key, lambda now: now.submit(prompt_id=key, server="s", at=NOON, fingerprint="f"))
        made = self.file(path, data)
        self.edit(key, lambda now: now.complete(outputs=(made,), at=NOON, seconds=1.5))

    def file(self, path: str, data: bytes) -> OutputRecord:
        (self.home / "out" / path).parent.mkdir(parents=True, exist_ok=True)
        (self.home / "out" / path).write_bytes(data)
        return OutputRecord(path=path, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())

    def edit(self, key: str, edit: Callable[[Item], Item]) -> None:
        change_all(self.store, [self.store.get(key)], edit)

    def trash(self, key: str) -> None:
        def edit(now: Item) -> Item:
            gone = [trashed(self.store, now, output, NOON, is_there=False) for output in now.outputs]
            return with_trashed(now, gone)

        self.edit(key, edit)

    def export(self, *words: str, to: str = "set", **said: Any) -> Exported:
        return export_dataset(self.path, words or ("foxes",), self.home / to, disk=FastDisk(), **said)

    def files(self, folder: str = "set") -> dict[str, str]:
        """Name → text of all that a person sees there."""
        found = sorted((self.home / folder).iterdir())
        return {path.name: path.read_text() for path in found if not path.name.startswith(".") and path.is_file()}

    def lines(self) -> list[Mapping[str, Any]]:
        return [json.loads(line) for line in (self.home / "set" / "metadata.jsonl").read_text().splitlines()]


any_scene = over_every_kind(Scene)
scene = over_json(Scene)


IMAGES = {"fox.png": "first", "fox.txt": "a red fox\n", "fox_2.png": "second", "fox_2.txt": "a \u72d0\n"}


def shown(scene: Scene, folder: str = "set") -> dict[str, str]:
    return {name: text for name, text in scene.files(folder).items() if name != "metadata.jsonl"}


def test_images_captions_and_metadata_of_every_kind_of_state_twice(any_scene: Scene) -> None:
    done = any_scene.export()
    assert (done.images, done.written, done.exit_code) == (2, 2, 0)
    assert shown(any_scene) == IMAGES
    first, second = any_scene.lines()
    assert (first["file_name"], first["text"], first["seed"]) == ("fox.png", "a red fox", 7)
    assert (first["model"], first["batch"], first["favorite"]) == ("sdxl.safetensors", "b1", False)
    assert (second["seed"], second["loras"], second["model"]) == (2**64 - 1, ["ink:0.5"], None)
    assert first.keys() == second.keys()
    stamps = {path: path.stat().st_mtime_ns for path in (any_scene.home / "set").glob("[!.]*")}
    again = any_scene.export()
    assert (again.images, again.written, again.kept, again.removed) == (2, 0, [], 0)
    assert stamps == {path: path.stat().st_mtime_ns for path in (any_scene.home / "set").glob("[!.]*")}
    assert not list((any_scene.home / "set").glob("*.part"))


def test_trash_favorites_searches_and_what_is_no_longer_selected(scene: Scene) -> None:
    scene.edit("two", lambda now: Item(**{**{n: getattr(now, n) for n in Item.__struct_fields__}, "favourite": True}))
    assert scene.export("is:favorite", to="best").images == 1
    assert shown(scene, "best") == {"fox.png": "second", "fox.txt": "a \u72d0\n"}
    assert scene.export("model:SDXL", "seed<8", to="xl").images == 1
    assert scene.export("lora:ink", to="ink").images == 1
    scene.export()
    scene.trash("one")
    done = scene.export()
    assert (done.images, done.written, done.removed) == (1, 0, 2)
    assert shown(scene) == {name: text for name, text in IMAGES.items() if "_2" in name}
    assert [line["file_name"] for line in scene.lines()] == ["fox_2.png"]


@pytest.mark.parametrize("name", ["fox.png", "fox_2.txt", "metadata.jsonl"])
def test_somebody_elses_file_is_never_replaced(scene: Scene, name: str) -> None:
    (scene.home / "set").mkdir()
    (scene.home / "set" / name).write_text("mine")
    for _ in range(2):
        with pytest.raises(UsageError, match=rf"{name} is not of this export and is not replaced; move it away"):
            scene.export()
        assert (scene.home / "set" / name).read_text() == "mine"
    (scene.home / "set" / name).unlink()
    assert scene.export().images == 2
    assert shown(scene) == IMAGES


def test_a_caption_that_somebody_changed_stays_and_is_the_text(scene: Scene) -> None:
    scene.export()
    (scene.home / "set" / "fox.txt").write_text("a fox, by hand")
    done = scene.export()
    assert (done.kept, scene.lines()[0]["text"]) == (["fox.txt"], "a fox, by hand")
    assert scene.files()["fox.txt"] == "a fox, by hand"
    scene.trash("one")
    assert scene.export().removed == 1
    assert scene.files()["fox.txt"] == "a fox, by hand"


class Killed(BaseException):
    pass


class KilledDisk(FastDisk):
    """Ends the process at the given rename or removal, before it or after it."""

    def __init__(self, step: int, *, after: bool) -> None:
        self._left, self._after = step, after

    def rename(self, source: Path, target: Path, *, replace: bool = True) -> None:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Killed
        super().rename(source, target, replace=replace)
        if self._left == 0:
            raise Killed

    def remove(self, path: Path) -> None:
        if self._left > 0:
            super().remove(path)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", range(1, 7))
def test_killed_anywhere_and_repeated_it_is_whole(scene: Scene, step: int, after: bool) -> None:
    with pytest.raises(Killed):
        export_dataset(scene.path, ["foxes"], scene.home / "set", disk=KilledDisk(step, after=after))
    there = shown(scene)
    assert there.items() <= IMAGES.items()
    with (scene.home / "set" / LIST).open("a") as torn:
        torn.write('{"file": "fo')
    assert scene.export().images == 2
    assert shown(scene) == IMAGES
    assert [line["file_name"] for line in scene.lines()] == ["fox.png", "fox_2.png"]
    assert not list((scene.home / "set").glob(".*.part"))


def test_an_image_that_was_rendered_again_is_replaced_and_keeps_its_name(scene: Scene) -> None:
    scene.export()
    made = scene.file("EP02/fox.png", b"third")
    scene.store.apply([Change("two", Status.COMPLETED, lambda now: now.start_over())])
    scene.edit("two", lambda now: now.submit(prompt_id="p", server="s", at=NOON, fingerprint="f"))
    scene.edit("two", lambda now: now.complete(outputs=(made,), at=NOON, seconds=1.0))
    assert (scene.export().written, shown(scene)) == (1, IMAGES | {"fox_2.png": "third"})


def test_a_file_that_is_away_is_missing_once_and_a_copy_of_it_stays(scene: Scene) -> None:
    (scene.home / "out" / "EP01" / "fox.png").unlink()
    done = scene.export()
    assert (done.images, done.exit_code, len(done.missing)) == (1, 1, 1)
    assert "EP01/fox.png" in done.as_text()
    (scene.home / "out" / "EP02" / "fox.png").unlink()
    again = scene.export()
    assert (again.images, again.removed, scene.files()["fox_2.png"]) == (1, 0, "second")


def test_links_lead_to_the_images_and_become_copies(scene: Scene) -> None:
    scene.export(link=True)
    assert (scene.home / "set" / "fox.png").readlink() == (scene.home / "out" / "EP01" / "fox.png").resolve()
    assert scene.export(link=True).written == 0
    assert scene.export().written == 2
    assert not (scene.home / "set" / "fox.png").is_symlink()
    assert shown(scene) == IMAGES
    assert (scene.home / "out" / "EP01" / "fox.png").read_bytes() == b"first"


def test_captions_from_a_file_and_its_unknown_fields(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "caption.txt").write_text("mystyle, {prompt}, seed {seed} {lora}\n")
    scene.export(caption=str(tmp_path / "caption.txt"))
    assert scene.files()["fox.txt"] == "mystyle, a red fox, seed 7\n"
    assert scene.files()["fox_2.txt"] == f"mystyle, a \u72d0, seed {2**64 - 1} ink:0.5\n"
    (tmp_path / "caption.txt").write_text("{promt}")
    with pytest.raises(UsageError, match=r"no field \{promt\}.*prompt"):
        scene.export(caption=str(tmp_path / "caption.txt"))
    with pytest.raises(UsageError, match=r"cannot be read"):
        scene.export(caption=str(tmp_path / "none.txt"))


def test_a_folder_holds_one_export_and_one_process_fills_it(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.export()
    with pytest.raises(UsageError, match=r"holds the export of 'batch:b1' of .*state\.json; choose another folder"):
        scene.export("is:image")
    monkeypatch.setattr("state.write_lock._TIMEOUT_SECONDS", 0.0)
    with (
        WriteLock(scene.home / "set", disk=FastDisk(), name=".burst-export.lock"),
        pytest.raises(LockHeld, match=r"held by another process"),
    ):
        scene.export()
    (scene.home / "set" / LIST).write_text("mine\n")
    with pytest.raises(UsageError, match=r"not the list of an export.*choose another folder"):
        scene.export()


def test_nothing_to_export_is_an_error_and_makes_no_folder(scene: Scene) -> None:
    for words, message in (
        (("wolves",), "no batch is called 'wolves'"),
        (("modle:x",), "no key 'modle'.*model"),
        (("",), "name a batch or a search"),
    ):
        with pytest.raises(UsageError, match=message):
            scene.export(*words)
    assert not (scene.home / "set").exists()


def test_the_command_at_its_defaults(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(scene.home)
    arguments = ["export", "foxes", "--to", "set", "--state", str(scene.path)]
    done = CliRunner().invoke(cli, arguments)
    assert (done.exit_code, done.output) == (0, "2 images in set, 2 of them new or changed\n")
    said = json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).stdout)
    assert said.keys() == json_schema("burst.export/1")["properties"].keys()
    assert (said["images"], said["written"]) == (2, 0)
