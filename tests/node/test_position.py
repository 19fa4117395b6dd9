"""The place of a directory on disk."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support.fake_comfyui import ComfyUI
from support.node_images import Album

from orchestrator.comfyui_node.position import Position, PositionUnreadable
from state.item import Status
from state.open_store import open_store


@pytest.fixture
def position(tmp_path: Path) -> Position:
    return Position(tmp_path / "my photos (ä)", tmp_path / "user")


def test_one_file_a_directory(tmp_path: Path, position: Position) -> None:
    other = Position(tmp_path / "elsewhere" / "my photos (ä)", tmp_path / "user")

    assert position.path != other.path
    assert position.path.parent == tmp_path / "user" / "__burst"
    assert position.path.name.startswith("my_photos_-")


def test_what_is_written_is_read(position: Position) -> None:
    with position.change() as records:
        records["ä 1.png"] = {"status": "pending", "note": "kept"}

    assert position.read() == {"ä 1.png": {"status": "pending", "note": "kept"}}
    assert list(json.loads(position.path.read_text())) == [str(position.directory / "ä 1.png")]


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_one(position: Position, fails: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with position.change() as records:
        records["a.png"] = {"status": "pending"}

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, fails, full)
    with pytest.raises(OSError, match="No space"), position.change() as records:
        records["a.png"] = {"status": "completed"}
    monkeypatch.undo()

    assert position.read() == {"a.png": {"status": "pending"}}
    assert [path.name for path in position.path.parent.iterdir()] == [position.path.name]


def test_synced_before_it_has_its_name_and_the_name_after(position: Position, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    sync, rename = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (steps.append("fsync"), sync(handle))[1])
    monkeypatch.setattr(os, "replace", lambda *names: (steps.append("replace"), rename(*names))[1])
    with position.change() as records:
        records["a.png"] = {"status": "pending"}

    assert steps == ["fsync", "replace", "fsync"]


def test_a_change_that_changes_nothing_writes_nothing(position: Position) -> None:
    with position.change():
        pass

    assert not position.path.exists()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "Expecting value"),
        ('{"a.png": {"status"', "Expecting"),
        ("[]", "not a JSON object"),
        ('{"a.png": 1}', "record of a.png"),
        ('{"a.png": {"status": "paused"}}', "record of a.png"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_what_is_damaged_is_not_empty(position: Position, content: str | bytes, why: str) -> None:
    position.path.parent.mkdir(parents=True)
    data = content.encode() if isinstance(content, str) else content
    position.path.write_bytes(data)

    with pytest.raises(PositionUnreadable, match=why) as caught, position.change():
        pass
    assert str(position.path) in str(caught.value)
    assert position.path.read_bytes() == data


def test_burst_reads_it_as_a_state_file(comfy: ComfyUI, album: Album) -> None:
    """With a failed and a cancelled image, outputs and times."""
    (album.directory / "img2.png").write_bytes(b"no picture")
    comfy.post(album.graph(error_handling="Skip on error", start_index=1))
    comfy.work()

    store = open_store(album.state, read_only=True)
    items = {Path(item.key).name: item for item in store.items()}
    store.close()
    assert {name: item.status for name, item in items.items()} == {
        "img1.png": Status.CANCELLED,
        "img2.png": Status.FAILED,
        "img10.png": Status.COMPLETED,
    }
    assert items["img10.png"].completed_at is not None
    assert items["img10.png"].outputs[0].path == "img10.png"
    assert items["img2.png"].error is not None
    assert items["img2.png"].attempts == 1


def test_a_hand_edit_counts(comfy: ComfyUI, album: Album) -> None:
    """An image set back to pending is rendered again, and no other."""
    comfy.post(album.graph(saver="SaveImage"))
    comfy.work()
    comfy.seen.clear()
    text = album.state.read_text()
    document = json.loads(text)
    document[str(album.directory / "img2.png")] = {"status": "pending", "mine": 1}
    album.state.write_text(json.dumps(document))
    comfy.post(album.graph(saver="SaveImage"))
    comfy.work()

    assert comfy.seen == ["img2.png"]
    assert album.records()["img2.png"]["mine"] == 1


def test_a_hand_edit_while_its_image_is_rendered_stands(comfy: ComfyUI, album: Album) -> None:
    """Somebody wants it once more: the run that is at work does not note it as done."""

    def edit(class_type: str) -> None:
        if class_type == "Invert" and len(comfy.runs) == 2:
            document = json.loads(album.state.read_text())
            document[str(album.directory / "img2.png")] = {"status": "pending"}
            album.state.write_text(json.dumps(document))

    comfy.before = edit
    comfy.post(album.graph(saver="SaveImage"))
    comfy.work()

    assert comfy.seen == ["img1.png", "img2.png", "img2.png", "img10.png"]
