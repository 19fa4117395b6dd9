"""Workflows as ComfyUI saves them, wherever a workflow is taken: init, generate, run, update, template, the browser."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from support.documents import checked
from support.ui_files import UiFile, text_to_image

from burst import cli
from orchestrator.sandbox import Sandbox, SandboxSettings
from state.open_store import open_store
from templates import load_workflow

STATE = Path("re_render_state.json")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("COMFYUI_URL", "COMFYUI_HEADERS", "BURST_STATE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "p1.txt").write_text("a lighthouse")
    (tmp_path / "ui.json").write_text(json.dumps(text_to_image()))
    return tmp_path


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings(checkpoints=("a.safetensors",))) as running:
        yield running


def burst(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli, list(arguments))
    assert result.exit_code == code, result.output
    return result.output


def document(*arguments: str, code: int = 0) -> dict[str, Any]:
    result = CliRunner().invoke(cli, [*arguments, "--json"])
    assert result.exit_code == code, result.output
    return checked(json.loads(result.stdout))


def kept_graph() -> dict[str, Any]:
    """The graph of the one recipe that the state has."""
    with open_store(STATE, read_only=True) as store:
        (recipe,) = store.recipes.all().values()
        found: dict[str, Any] = store.recipes.workflow(recipe)
        return found


def picture(name: str, **documents: Any) -> str:
    info, stream = PngInfo(), io.BytesIO()
    for key, value in documents.items():
        info.add_text(key, json.dumps(value))
    Image.new("RGB", (8, 8)).save(stream, "PNG", pnginfo=info)
    Path(name).write_bytes(stream.getvalue())
    return name


def test_init_and_run_make_the_image_of_the_graph_that_the_recipe_keeps(home: Path, sandbox: Sandbox) -> None:
    report = document("init", "prompts", "--template", "ui.json", "--server", sandbox.url)
    assert (report["notes"], report["next"]) == ([], "burst run")
    graph = kept_graph()
    assert [node["class_type"] for node in graph.values()] == [
        "CheckpointLoaderSimple", "CLIPTextEncode", "CLIPTextEncode", "EmptyLatentImage", "KSampler", "VAEDecode",
        "SaveImage",
    ]  # fmt: skip
    assert graph["5"]["inputs"]["latent_image"] == ["4", 0]
    # Gone, and so is what was kept of the server: the recipe has what a run needs.
    (home / "ui.json").unlink()
    assert document("run")["counts"]["completed"] == 1
    images = list((home / "output").rglob("*.png")) or list(home.rglob("p1*.png"))
    assert images


def test_generate(home: Path, sandbox: Sandbox) -> None:
    report = document("generate", "--prompt", "a cat", "--template", "ui.json", "--server", sandbox.url)
    assert report["counts"]["completed"] == 1
    assert kept_graph()["2"]["inputs"]["text"] == "a red ball"


def test_one_file_in_any_wrapping_is_one_recipe(home: Path, sandbox: Sandbox) -> None:
    burst("template", "export", "ui.json", "-o", "api.json", "--server", sandbox.url)
    graph, file = json.loads((home / "api.json").read_text()), text_to_image()
    wrapped = {
        "prompt.json": {"prompt": graph, "client_id": "x"},
        "job.json": {"input": {"workflow": graph, "images": []}},
        "job_ui.json": {"input": {"workflow": file}},
        "workflow.json": {"workflow": file},
    }
    for name, body in wrapped.items():
        (home / name).write_text(json.dumps(body))
    picture("prompt.png", prompt=graph, workflow={"nodes": "not read"})
    picture("workflow.png", workflow=file)
    for name in (*wrapped, "prompt.png", "workflow.png", "ui.json"):
        burst("init", "prompts", "--template", name, "--server", sandbox.url, "--state", f"{name}.state.json")
        with open_store(Path(f"{name}.state.json"), read_only=True) as store:
            (recipe,) = store.recipes.all().values()
            assert store.recipes.workflow(recipe) == graph, name


def test_offline_an_earlier_call_is_enough(home: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYUI_URL", "http://127.0.0.1:9")
    burst("template", "show", "ui.json", "--server", sandbox.url)
    nobody = ("--server", sandbox.url)
    online = document("template", "show", "ui.json", *nobody)
    sandbox.close()
    assert document("template", "show", "ui.json", *nobody) == online
    assert document("template", "check", "ui.json", code=2)["error"]["message"].startswith(
        f"{home / 'ui.json'}: this is"
    )
    burst("template", "export", "ui.json", "-o", "api.json", *nobody)
    assert list(load_workflow(home / "api.json").graph) == ["1", "2", "3", "4", "5", "6", "7"]
    report = document("init", "prompts", "--template", "ui.json", *nobody)
    assert report["added"] == 1
    assert kept_graph() == json.loads((home / "api.json").read_text())


def test_without_a_server_or_an_earlier_call_nothing_is_written(home: Path) -> None:
    said = burst("init", "prompts", "--template", "ui.json", "--server", "http://127.0.0.1:9", code=2)
    assert (
        "to convert it a server has to describe its nodes (CheckpointLoaderSimple, CLIPTextEncode, EmptyLatentImage, …)"
        in said
    )
    assert "start ComfyUI, name another one with --server URL, or in ComfyUI choose Workflow → Export (API)" in said
    assert not STATE.exists()


def test_a_class_that_the_server_lacks_is_refused_before_anything_is_written(home: Path, sandbox: Sandbox) -> None:
    f = UiFile()
    f.save(f.node("FaceDetailer", outputs=["IMAGE"], title="Faces", properties={"cnr_id": "impact"}))
    (home / "faces.json").write_text(json.dumps(f.document()))
    for command in (("init", "prompts"), ("generate", "--prompt", "x")):
        said = burst(*command, "--template", "faces.json", "--server", sandbox.url, code=2)
        assert 'faces.json: node 1 (FaceDetailer "Faces"): the server has no such node class; install' in said
        assert not STATE.exists()


def test_an_export_twice_and_onto_something_else(home: Path, sandbox: Sandbox) -> None:
    export = ("template", "export", "ui.json", "-o", "api.json", "--server", sandbox.url)
    assert document(*export) == {
        "schema": "burst.template-export/1", "name": "ui", "path": "api.json", "nodes": 7,
    }  # fmt: skip
    before = (home / "api.json").stat()
    burst(*export)
    assert (home / "api.json").stat().st_mtime_ns == before.st_mtime_ns
    (home / "api.json").write_text("mine")
    assert "api.json already exists" in burst(*export, code=2)
    assert (home / "api.json").read_text() == "mine"
    burst(*export, "--overwrite")
    assert (
        document("template", "show", "api.json")["nodes"]
        == document("template", "show", *export[2:3], *export[5:])["nodes"]
    )


def test_pending_items_of_a_file_that_was_saved_over_are_told_of(home: Path, sandbox: Sandbox) -> None:
    burst("init", "prompts", "--template", "ui.json", "--server", sandbox.url)
    assert document("status")["changed_workflows"] == []
    changed = text_to_image()
    changed["nodes"][3]["widgets_values"][0] = 640
    (home / "ui.json").write_text(json.dumps(changed))
    (told,) = document("status")["changed_workflows"]
    assert told["path"] == "ui.json"
    burst("update", "--template", "ui.json")
    assert document("status")["changed_workflows"] == []


def test_run_with_a_ui_file_for_items_without_a_workflow_of_their_own(home: Path, sandbox: Sandbox) -> None:
    STATE.write_text(json.dumps({"prompts/p1.txt": {"status": "pending"}}))
    report = document("run", "--template", "ui.json", "--server", sandbox.url)
    assert report["counts"]["completed"] == 1


def test_an_image_is_made_again_from_its_sidecar_where_the_state_is_gone(home: Path, sandbox: Sandbox) -> None:
    server = ("--server", sandbox.url)
    burst("generate", "--prompt", "a cat", "--seed", "3", "--template", "ui.json", "--layout", "batch", *server)
    (sidecar,) = (home / "output").rglob("metadata/*.json")
    for left in home.glob("re_render_state*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    report = document("generate", "--from", str(sidecar), *server)
    assert report["counts"]["completed"] == 1
    changed = text_to_image()
    changed["nodes"][3]["widgets_values"][0] = 640
    (home / "ui.json").write_text(json.dumps(changed))
    assert "its template" in burst("generate", "--from", str(sidecar), "--state", "other.json", *server, code=2)
