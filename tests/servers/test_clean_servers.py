"""`burst servers clean`: what is downloaded leaves the server's output folder, and nothing else does."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.comfyui_loopback import closed_port
from support.state_scenes import NOON, change
from support.stores import KINDS, State

from orchestrator import clean_servers, run_burst
from orchestrator.comfyui import ComfyUI
from orchestrator.errors import UsageError
from orchestrator.host_config import HostConfig
from orchestrator.outputs.placement import Placement
from orchestrator.sandbox import Sandbox
from orchestrator.server_copies.cleaning import CleanedServer
from orchestrator.server_copies.locating import NoFolder, output_folder
from orchestrator.server_copies.shelf import LocalShelf
from orchestrator.servers import Server
from orchestrator.settings import Overrides
from orchestrator.verify import verify_outputs
from state.item import Item, OutputRecord, Status, TrashedOutput
from state.location import state_path
from state.store import Store

Edit = Callable[[Item], Item]


class Scene:
    """A state, its output directory, and a server's output folder on this host."""

    def __init__(self, store: Store, address: Path, home: Path, *, port: int) -> None:
        """`port`: where nobody listens."""
        self.store = store
        self.state = address
        self.output = home / "output"
        self.folder = home / "comfyui" / "output"
        self.folder.mkdir(parents=True)
        self.server = f"gpu1=http://127.0.0.1:{port}"

    def add(self, key: str) -> str:
        """A pending item; the prompt that it will have."""
        self.store.add([Item(key=key, status=Status.PENDING, prompt_text="x")])
        return str(uuid.uuid5(uuid.NAMESPACE_URL, key))

    def submit(self, key: str, prompt_id: str) -> None:
        self.edit(key, lambda now: now.submit(prompt_id=prompt_id, server="gpu1", at=NOON, fingerprint="f"))

    def complete(self, key: str, *datas: bytes, prompt_id: str | None = None) -> str:
        """Rendered, downloaded, recorded; the copies stay on the server. Returns the prompt."""
        prompt_id = prompt_id or self.add(key)
        self.submit(key, prompt_id)
        outputs = tuple(self.record(f"{key}{at}.png", data) for at, data in enumerate(datas, 1))
        for at, data in enumerate(datas, 1):
            self.serve(prompt_id, data, number=at)
            self.place(outputs[at - 1].path, data)
        self.edit(key, lambda now: now.complete(outputs=outputs, at=NOON, seconds=1.0))
        return prompt_id

    def edit(self, key: str, edit: Edit) -> None:
        self.store.refresh()
        change(self.store, key, edit)

    def replace(self, key: str, **fields: Any) -> None:
        self.edit(key, lambda now: msgspec.structs.replace(now, **fields))

    def place(self, name: str, data: bytes) -> Path:
        path = self.output / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def serve(self, prompt_id: str, data: bytes, *, number: int = 1, node: str = "9") -> Path:
        """What a server saved for a prompt."""
        path = self.folder / "burst" / prompt_id[:2] / f"{prompt_id}-{node}_{number:05}_.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    @staticmethod
    def record(path: str, data: bytes) -> OutputRecord:
        return OutputRecord(path=path, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())

    def clean(self, **said: Any) -> CleanedServer:
        said = {"folder": self.folder, "overrides": Overrides(output_dir=self.output, servers=(self.server,))} | said
        (cleaned,) = clean_servers(self.state, **said).servers
        return cleaned

    def files(self) -> set[str]:
        """What is in the server's folder."""
        return {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if not path.is_dir()}


@pytest.fixture(params=[kind for kind in KINDS if kind.name != "postgresql"], ids=lambda kind: kind.name)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    with State(request.param, tmp_path) as made, closed_port() as port:
        yield Scene(made.open(create=True), state_path(str(made.address)), tmp_path, port=port)


def kept(cleaned: CleanedServer) -> dict[str, int]:
    return {verdict.value: counted.count for verdict, counted in cleaned.found.kept.items()}


def test_copies_of_what_is_here_go_once(scene: Scene) -> None:
    for key in "abc":
        scene.complete(key, f"one of {key}".encode(), f"two of {key}".encode())
    rehearsed = scene.clean(dry_run=True)
    assert len(scene.files()) == 6

    cleaned = scene.clean()

    assert scene.files() == set()
    assert (len(cleaned.found.removed), cleaned.bytes, cleaned.empty_folders) == (6, 48, 3)
    assert rehearsed == cleaned
    assert [one.reason for one in (rehearsed, cleaned)] == [None, None]
    again = scene.clean()
    assert (again.found.removed, kept(again), again.bytes) == ((), {}, 0)


def test_what_has_no_item_that_is_completed_stays(scene: Scene) -> None:
    done, due, out, failed, cancelled = (scene.add(key) for key in ("done", "due", "out", "failed", "cancelled"))
    for prompt_id in (due, out, failed, cancelled, str(uuid.uuid4())):
        scene.serve(prompt_id, b"an image")
    scene.complete("done", b"an image", prompt_id=done)
    scene.submit("out", out)
    scene.submit("failed", failed)
    scene.edit("failed", lambda now: now.put_back(charge=True).fail(error=None, charge=False))  # type: ignore[arg-type]
    scene.submit("cancelled", cancelled)
    scene.edit("cancelled", lambda now: now.cancel())
    scene.submit("due", due)
    scene.edit("due", lambda now: now.put_back(charge=False))
    before = scene.files()

    cleaned = scene.clean(leftovers=True)

    assert kept(cleaned) == {"unfinished": 4, "foreign": 1}
    assert before - scene.files() == {file.path for file in cleaned.found.removed}
    assert [file.prompt_id for file in cleaned.found.removed] == [done]


def test_what_only_looks_so_stays(scene: Scene) -> None:
    """Names that no burst makes, links, and folders where burst saves nothing."""
    data = b"an image"
    prompt_id = scene.complete("a", data)
    mine = scene.serve(prompt_id, data)
    mine.unlink()
    elsewhere = scene.place("elsewhere.png", data)
    wrong = "ff" if prompt_id[:2] != "ff" else "00"
    for path in (
        f"burst/{wrong}/{prompt_id}-9_00001_.png",
        f"burst/{prompt_id[:2]}/more/{prompt_id}-9_00001_.png",
        f"burst/{prompt_id[:2]}/{prompt_id}.png",
        f"burst/{prompt_id[:2]}/{prompt_id.upper()}-9_00001_.png",
        f"burst/{prompt_id}-9_00001_.png",
        f"{prompt_id}-9_00001_.png",
        f"other/burst-{prompt_id}-9_00001_.png",
        "burst/ab/holiday.png",
        "ComfyUI_00001_.png",
    ):
        (scene.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (scene.folder / path).write_bytes(data)
    mine.symlink_to(elsewhere)
    linked = scene.folder / "burst" / ("0" * 2 if wrong != "00" else "11")
    linked.symlink_to(scene.output, target_is_directory=True)
    before = scene.files()
    assert scene.clean(leftovers=True).found.removed == ()
    assert scene.files() == before


def test_what_was_saved_without_folders_goes_too(scene: Scene) -> None:
    """By classes that are not known to take folders."""
    prompt_id = scene.complete("a", b"an image")
    flat = scene.folder / f"burst-{prompt_id}-9_00001_.png"
    flat.write_bytes(b"an image")
    assert len(scene.clean().found.removed) == 2
    assert not flat.exists()


@pytest.mark.parametrize("loss", ["gone", "cut", "changed"])
def test_a_copy_of_what_is_not_here_as_recorded_stays(scene: Scene, loss: str) -> None:
    prompt_id = scene.complete("a", b"an image")
    here = scene.output / "a1.png"
    here.unlink() if loss == "gone" else here.write_bytes({"cut": b"an im", "changed": b"AN IMAGE"}[loss])
    cleaned = scene.clean(leftovers=True)
    assert (kept(cleaned), len(scene.files())) == ({"not_here": 1}, 1)
    scene.place("a1.png", b"an image")
    assert [file.prompt_id for file in scene.clean().found.removed] == [prompt_id]


def test_other_bytes_are_no_copy(scene: Scene) -> None:
    """Cut short or changed on the server, or of a node that was not chosen: kept nowhere else, so it stays."""
    prompt_id = scene.complete("a", b"an image")
    scene.serve(prompt_id, b"AN IMAGE")
    scene.serve(prompt_id, b"an im", number=2)
    scene.serve(prompt_id, b"another image", node="7")
    cleaned = scene.clean()
    assert (kept(cleaned), len(scene.files())) == ({"leftover": 3}, 3)
    assert len(scene.clean(leftovers=True).found.removed) == 3


def test_what_was_deleted_here(scene: Scene) -> None:
    """In the trash it is here; emptied from there, it is gone for good by the user's own wish."""
    for key in ("in_trash", "emptied", "lost"):
        scene.complete(key, f"an image, {key}".encode())
        (output,) = scene.store.get(key).outputs
        kept_as = None if key == "emptied" else f".burst-trash/{key}/x.png"
        gone = TrashedOutput(
            path=output.path, bytes=output.bytes, sha256=output.sha256, trashed_at=NOON, kept_as=kept_as
        )
        scene.replace(key, outputs=(), trashed=(gone,))
        (scene.output / output.path).unlink()
    scene.place(".burst-trash/in_trash/x.png", b"an image, in_trash")
    cleaned = scene.clean()
    assert (len(cleaned.found.removed), kept(cleaned)) == (2, {"not_here": 1})


def test_an_image_that_is_deleted_and_another_s_lost_output_is_not_enough(scene: Scene) -> None:
    """The same bytes twice in one record: the copy stays until all of them are accounted for."""
    scene.complete("a", b"an image")
    (output,) = scene.store.get("a").outputs
    gone = TrashedOutput(path="old.png", bytes=output.bytes, sha256=output.sha256, trashed_at=NOON)
    scene.replace("a", trashed=(gone,))
    (scene.output / output.path).unlink()
    assert kept(scene.clean()) == {"not_here": 1}


def test_what_earlier_prompts_left_goes_on_request_alone(scene: Scene) -> None:
    """Once it is certain that they write nothing more."""
    first = scene.complete("a", b"the first")
    scene.edit("a", lambda now: now.start_over())
    second, lost = str(uuid.uuid4()), str(uuid.uuid4())
    scene.submit("a", lost)
    scene.edit("a", lambda now: now.put_back(charge=False))
    scene.serve(lost, b"nobody knows what became of it")
    scene.complete("a", b"the second", prompt_id=second)
    cleaned = scene.clean()
    assert [file.prompt_id for file in cleaned.found.removed] == [second]
    assert kept(cleaned) == {"leftover": 1, "unfinished": 1}
    cleaned = scene.clean(leftovers=True)
    assert [file.prompt_id for file in cleaned.found.removed] == [first]
    assert kept(cleaned) == {"unfinished": 1}


def test_what_an_item_is_made_from_stays(scene: Scene) -> None:
    """Also under another name of that file."""
    prompt_id = scene.complete("a", b"an image")
    source = scene.serve(prompt_id, b"an image")
    (link := scene.output / "source.png").symlink_to(source)
    scene.add("b")
    scene.replace("b", uploads={"image": str(link)})
    assert (kept(scene.clean(leftovers=True)), source.exists()) == ({"in_use": 1}, True)


def test_an_output_that_is_the_server_s_file_stays(scene: Scene) -> None:
    """An output root within the server's folder, with hard links to what the server has."""
    prompt_id = scene.complete("a", b"an image")
    here = scene.output / "a1.png"
    here.unlink()
    os.link(scene.serve(prompt_id, b"an image"), here)
    assert (kept(scene.clean()), len(scene.files())) == ({"in_use": 1}, 1)


def test_killed_in_between_it_goes_on(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in "abcd":
        scene.complete(key, f"an image of {key}".encode())
    remove = LocalShelf.remove
    left = [2]

    def killed(shelf: LocalShelf, file: Any) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        remove(shelf, file)

    monkeypatch.setattr(LocalShelf, "remove", killed)
    with pytest.raises(KeyboardInterrupt):
        scene.clean()
    assert len(scene.files()) == 2
    monkeypatch.setattr(LocalShelf, "remove", remove)
    assert (len(scene.clean().found.removed), scene.files()) == (2, set())


def test_what_may_not_be_removed_is_said(scene: Scene) -> None:
    prompt_id = scene.complete("a", b"an image")
    folder = scene.folder / "burst" / prompt_id[:2]

    def refused(shelf: LocalShelf, file: Any) -> None:
        raise PermissionError(13, "Permission denied", str(folder / "x"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalShelf, "remove", refused)
        cleaned = scene.clean()
    assert cleaned.reason == (
        f"{folder / 'x'}: Permission denied; run this as a user that may change the server's output folder"
    )
    assert len(scene.files()) == 1


def test_each_output_is_read_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """And only where the server has something of it."""
    for key in "ab":
        scene.complete(key, b"an image")
    scene.clean()
    seen = []
    verify = Placement.verify
    monkeypatch.setattr(Placement, "verify", lambda *said, **more: seen.append(said) or verify(*said, **more))
    scene.serve(scene.store.get("a").prompt_id or "", b"an image")
    scene.serve(scene.store.get("a").prompt_id or "", b"an image", number=2)
    assert (len(scene.clean().found.removed), len(seen)) == (2, 1)


# Which folder


def test_a_folder_is_one_server_s(scene: Scene) -> None:
    two = Overrides(servers=("gpu1=http://127.0.0.1:1", "gpu2=http://127.0.0.1:2"))
    with pytest.raises(UsageError, match="name the one server"):
        clean_servers(scene.state, folder=scene.folder, overrides=two)
    with pytest.raises(UsageError, match="no such directory"):
        clean_servers(scene.state, ["gpu1"], folder=scene.folder / "nowhere", overrides=two)


def test_a_server_that_cannot_be_cleaned_says_what_to_do(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    config = scene.folder.parent / "host.toml"
    monkeypatch.setenv("BURST_HOST_CONFIG", str(config))
    config.write_text('[servers.mounted]\noutput_folder = "/nowhere/output"\n')
    said = (
        *("far=http://10.0.0.7:8188", "mounted=http://10.0.0.8:8188"),
        *("https://cloud.comfy.org", scene.server),
    )
    cleaned = clean_servers(scene.state, overrides=Overrides(servers=said))
    reasons = [one.reason or "" for one in cleaned.servers]
    for reason, (what, advice) in zip(
        reasons,
        [
            ("its disk is not known to be this host's", "folder='DIR'"),
            ("/nowhere/output, which is not there", "host.toml"),
            ("hosted service", "in its own pages"),
            ("it was asked where it saves", "start it, or name its output folder with folder='DIR'"),
        ],
        strict=True,
    ):
        assert what in reason
        assert advice in reason
    assert cleaned.exit_code == 1
    assert cleaned.as_text().count("not cleaned") == 4


def test_host_toml_names_the_folder_of_a_server_on_another_host(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.complete("a", b"an image")
    config = scene.folder.parent / "host.toml"
    monkeypatch.setenv("BURST_HOST_CONFIG", str(config))
    config.write_text(f"[servers.gpu1]\noutput_folder = {json.dumps(str(scene.folder))}\n")
    assert (len(scene.clean(folder=None).found.removed), scene.files()) == (1, set())


# With a server


def test_it_finds_the_folder_of_a_server_here_and_spares_folders_while_that_works(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    state.write_text(json.dumps({key: {"status": "pending", "prompt_text": f"a picture of {key}"} for key in "abcd"}))
    with Sandbox(directory=tmp_path / "server") as sandbox:
        said = {"server": sandbox.url, "template": "smoke", "output_dir": tmp_path / "output", "poll_seconds": 0.05}
        overrides = Overrides(servers=(sandbox.url,), output_dir=tmp_path / "output")
        run_burst(state, size=2, **said)
        burst = sandbox.output_directory / "burst"
        sandbox.hold()
        run_burst(state, size=1, max_seconds=0.5, **said)

        (rehearsed,) = clean_servers(state, overrides=overrides, dry_run=True).servers
        (at_work,) = clean_servers(state, overrides=overrides).servers
        assert (len(at_work.found.removed), at_work.empty_folders, at_work.are_folders_gone) == (2, 2, False)
        assert rehearsed == at_work
        assert len(list(burst.iterdir())) == 2, "a prompt that runs may be about to save there"

        sandbox.release()
        run_burst(state, until_done=True, **said)
        (idle,) = clean_servers(state, overrides=overrides).servers
        assert (len(idle.found.removed), idle.are_folders_gone, list(burst.iterdir())) == (2, True, [])
        (again,) = clean_servers(state, overrides=overrides).servers
        assert (len(again.found.removed), again.empty_folders, again.reason) == (0, 0, None)
        report = run_burst(state, **said)
        assert (report.completed, sum(sandbox.counts()["rendered"].values())) == (0, 4)
    assert verify_outputs(state, overrides=overrides).problems == ()


def argv_of(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    def stats(*_: object) -> dict[str, Any]:
        return {"system": {"argv": ["main.py", *words]}}

    monkeypatch.setattr(ComfyUI, "system_stats", stats)


@pytest.mark.parametrize(
    ("words", "folders", "found"),
    [
        (["--output-directory", "{home}/out"], [], "{home}/out"),
        (["--output-directory={home}/out", "--base-directory", "{home}/base"], [], "{home}/out"),
        (["--base-directory", "{home}/base"], [], "{home}/base/output"),
        (["--cpu"], ["{home}/base/models/checkpoints"], "{home}/base/output"),
        (["--cpu"], ["/mnt/models/checkpoints", "{home}/base/models/checkpoints"], "{home}/base/output"),
        (["--output-directory", "out"], ["{home}/base/models/checkpoints"], None),
        (["--output-directory", "/srv/of/a/container"], ["{home}/base/models/checkpoints"], None),
        (["--cpu"], ["/mnt/models/checkpoints"], None),
        (["--cpu", "--output-directory"], [], None),
    ],
)
def test_what_a_server_tells_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], folders: list[str], found: str | None
) -> None:
    for name in ("out", "base/output"):
        (tmp_path / name).mkdir(parents=True)

    def given(texts: list[str]) -> list[str]:
        return [text.format(home=tmp_path) for text in texts]

    argv_of(monkeypatch, *given(words))
    monkeypatch.setattr(ComfyUI, "model_folders", lambda *_: {"checkpoints": given(folders)})
    told = output_folder(Server("s", "http://127.0.0.1:8188"), ComfyUI("http://127.0.0.1:1"), HostConfig())
    if found is None:
        assert isinstance(told, NoFolder)
        assert "folder='DIR'" in told.reason
    else:
        assert told == Path(found.format(home=tmp_path))
