"""A model file that was replaced under its name: what was rendered with the earlier one is found, and nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.projects import small_template

from orchestrator import init, run_burst
from orchestrator.clock import Clock
from orchestrator.comfyui import ComfyUI
from orchestrator.cycle.rendered_models import RenderedModels, models_in
from orchestrator.init_state import InitReport
from orchestrator.model_identities import replaced
from orchestrator.sampled_digests import NAME, SampledDigests
from orchestrator.sandbox import Sandbox
from orchestrator.settings import Overrides
from state.item import Item, Status
from state.open_store import open_store

MODEL = "checkpoints/tiny-random.safetensors"


class Scene:
    """A state with prompts and a workflow that loads a checkpoint."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.state = home / "state.json"
        (home / "workflow.json").write_text(json.dumps(small_template()))
        for name in "ab":
            (home / "prompts").mkdir(exist_ok=True)
            (home / "prompts" / f"{name}.txt").write_text(f"a picture of {name}")

    def init(self, *servers: Sandbox, rescan: bool = False) -> InitReport:
        said = Overrides(
            template=str(self.home / "workflow.json"),
            output_dir=self.home / "output",
            servers=tuple(server.url for server in servers),
        )
        return init(self.state, [self.home / "prompts"], overrides=said, rescan=rescan)

    def run(self, *servers: Sandbox, **said: Any) -> int:
        urls = [server.url for server in servers] or None
        return run_burst(self.state, server=urls, poll_seconds=0.05, **said).completed

    def items(self) -> list[Item]:
        with open_store(self.state, read_only=True) as store:
            return list(store.items())

    def models(self) -> list[dict[str, str]]:
        return [item.models for item in self.items()]


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "host"))
    (tmp_path / "project").mkdir()
    return Scene(tmp_path / "project")


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(directory=tmp_path / "server") as running:
        yield running


def put_model(sandbox: Sandbox, data: bytes) -> Path:
    """A file that burst can read, as on a server of this host."""
    path = sandbox.output_directory.parent / "models" / MODEL
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    sandbox.change(model_bytes=len(data))
    return path


def asked(sandbox: Sandbox) -> int:
    """How often it was asked for the sizes of models."""
    return sum(count for route, count in sandbox.counts()["requests"].items() if "experiment/models/" in route)


def test_a_file_of_another_size_is_found_once(scene: Scene, sandbox: Sandbox) -> None:
    scene.init(sandbox)
    assert scene.run() == 2
    assert scene.models() == [{MODEL: "2132696762"}] * 2
    assert asked(sandbox) == 1, "for all items of a run"
    assert scene.init(sandbox, rescan=True).put_back == ()

    sandbox.change(model_bytes=6_938_078_334)
    assert scene.init(sandbox).put_back == (), "only where it is requested"
    report = scene.init(sandbox, rescan=True)
    assert report.put_back == ("prompts/a.txt", "prompts/b.txt")
    assert f"{MODEL} is another file than it was: 2 items rendered with the earlier one" in report.notes
    assert scene.models() == [{}, {}]

    assert scene.run() == 2
    assert scene.models() == [{MODEL: "6938078334"}] * 2
    again = scene.init(sandbox, rescan=True)
    assert (again.put_back, [note for note in again.notes if MODEL in note]) == ((), [])


def test_a_state_from_before_renders_nothing_again_and_asks_no_server(scene: Scene, sandbox: Sandbox) -> None:
    scene.init(sandbox)
    scene.run()
    records = json.loads(scene.state.read_bytes())
    for record in records.values():
        del record["models"]
    scene.state.write_text(json.dumps(records))
    sandbox.change(model_bytes=1)
    before = sandbox.counts()["requests"]
    assert scene.init(sandbox, rescan=True).put_back == ()
    assert sandbox.counts()["requests"] == before


def test_where_the_size_is_not_told_everything_is_as_it_was(scene: Scene, sandbox: Sandbox) -> None:
    sandbox.change(model_bytes=0)
    scene.init(sandbox)
    assert scene.run() == 2
    assert scene.models() == [{}, {}]
    assert '"models"' not in scene.state.read_text()
    sandbox.change(model_bytes=5)
    assert scene.init(sandbox, rescan=True).put_back == (), "what is known now says nothing about then"
    scene.run()
    scene.init(sandbox, rescan=True)


def test_what_a_server_tells_no_more_is_taken_as_unchanged(scene: Scene, sandbox: Sandbox) -> None:
    scene.init(sandbox)
    scene.run()
    sandbox.change(model_bytes=0)
    report = scene.init(sandbox, rescan=True)
    assert report.put_back == ()
    (note,) = [note for note in report.notes if "taken as unchanged" in note]
    assert "2 items" in note


def test_each_item_is_compared_with_the_server_that_rendered_it(scene: Scene, sandbox: Sandbox, tmp_path: Path) -> None:
    with Sandbox(directory=tmp_path / "second") as second:
        sandbox.change(model_bytes=1_000)
        second.change(model_bytes=2_000)
        scene.init(sandbox, second)
        scene.run(sandbox, size=1)
        scene.run(second)
        assert scene.models() == [{MODEL: "1000"}, {MODEL: "2000"}]
        assert scene.init(sandbox, second, rescan=True).put_back == ()
        second.change(model_bytes=1_000)
        assert scene.init(sandbox, second, rescan=True).put_back == ("prompts/b.txt",)


def test_what_a_killed_run_left_is_noted_by_the_next(scene: Scene, sandbox: Sandbox) -> None:
    """It was sent by one run and is collected by another."""
    scene.init(sandbox)
    sandbox.hold()
    scene.run(max_seconds=0.5)
    assert {item.status for item in scene.items()} == {Status.SUBMITTED}
    sandbox.release()
    scene.run(until_done=True)
    assert scene.models() == [{MODEL: "2132696762"}] * 2
    sandbox.change(model_bytes=9)
    assert len(scene.init(sandbox, rescan=True).put_back) == 2


def test_a_file_of_the_same_size_on_this_host_is_found_by_its_bytes(scene: Scene, sandbox: Sandbox) -> None:
    path = put_model(sandbox, b"a" * 5_000_000)
    scene.init(sandbox)
    scene.run()
    (identity, _) = (models[MODEL] for models in scene.models())
    assert identity.startswith("5000000:")

    path.write_bytes(b"a" * 5_000_000)
    os.utime(path, (1, 1))
    assert scene.init(sandbox, rescan=True).put_back == (), "the same bytes, written again"

    changed = bytearray(b"a" * 5_000_000)
    changed[2_000_000:2_040_000] = b"b" * 40_000
    path.write_bytes(changed)
    os.utime(path, (1, 1))
    assert len(scene.init(sandbox, rescan=True).put_back) == 2


def test_what_is_known_of_one_time_alone_is_no_difference() -> None:
    now = {"a": "1", "b": "1:ab", "c": "1:cd", "d": "2", "e": "1:ab"}
    assert replaced({"a": "1:ab", "b": "1", "c": "1:ab", "d": "1", "e": "1:ab", "f": "3"}, now) == ["c", "d"]


def test_a_digest_is_taken_once_for_all_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, kept = tmp_path / "model.safetensors", tmp_path / "host"
    model.write_bytes(bytes(range(256)) * 4_000)
    size = model.stat().st_size
    first = SampledDigests(kept).of(model, size_bytes=size)
    assert first is not None
    opened: list[object] = []
    original = Path.open
    monkeypatch.setattr(Path, "open", lambda *said, **more: opened.append(said[0]) or original(*said, **more))
    assert SampledDigests(kept).of(model, size_bytes=size) == first
    assert model not in opened
    model.write_bytes(b"x" * size)
    assert SampledDigests(kept).of(model, size_bytes=size) not in (first, None)


@pytest.mark.parametrize("kept", [b"{", b"[]", b'{"x": [1, 2, 3]}', b'{"x": [1, 2, 3, "short"]}'])
def test_what_is_kept_may_be_lost(tmp_path: Path, kept: bytes) -> None:
    (tmp_path / NAME).write_bytes(kept)
    (model := tmp_path / "model").write_bytes(b"abc")
    digest = SampledDigests(tmp_path).of(model, size_bytes=3)
    assert digest is not None
    assert SampledDigests(tmp_path).of(model, size_bytes=3) == digest


def test_no_digest_of_what_is_not_the_file(tmp_path: Path) -> None:
    digests = SampledDigests(tmp_path)
    (tmp_path / "model").write_bytes(b"abc")
    assert digests.of(tmp_path / "model", size_bytes=4) is None, "another file than the server's"
    assert digests.of(tmp_path / "nothing", size_bytes=3) is None
    assert digests.of(tmp_path, size_bytes=tmp_path.stat().st_size) is None


@pytest.mark.parametrize(
    "graph",
    [None, {}, {"1": 2.5}, {"1": {"class_type": "CheckpointLoaderSimple", "inputs": 7}}, {"1": None, "2": ["a"]}],
)
def test_what_a_server_tells_as_a_graph_and_is_none_names_no_model(graph: dict[str, Any] | None) -> None:
    """A proxy may spoil a history; the images are there all the same."""
    with ComfyUI("http://127.0.0.1:9") as client:
        models = RenderedModels(SimpleNamespace(client=client, server=None, clock=Clock()))  # type: ignore[arg-type]
        models.look(models_in(graph))
        assert models.of(models_in(graph)) == {}
        assert client.requests_made == 0
