from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.built_graphs import node, sampler, text_to_image
from support.documents import checked

import templates
from burst import cli
from orchestrator.sandbox import Sandbox, SandboxSettings
from orchestrator.template_inspection import PURPOSES


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("COMFYUI_URL", "COMFYUI_HEADERS", "BURST_STATE"):
        monkeypatch.delenv(name, raising=False)


def template(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, ["template", *arguments])
    assert result.exit_code == code, result.output
    return result


def as_json(*arguments: str, code: int = 0) -> dict[str, Any]:
    return checked(json.loads(template(*arguments, "--json", code=code).stdout))


def broken(path: Path) -> Path:
    """A file whose save node takes from a node that is not there."""
    node = {"class_type": "SaveImage", "inputs": {"images": ["9", 0], "filename_prefix": "x"}}
    path.write_text(json.dumps({"1": node}))
    return path


def test_every_shipped_workflow_says_what_it_is_for() -> None:
    document = as_json("list")
    assert document["schema"] == "burst.template-list/1"
    assert [one["name"] for one in document["templates"]] == templates.shipped_workflows()
    assert all(one["purpose"] for one in document["templates"])
    assert sorted(PURPOSES) == templates.shipped_workflows()


def test_list_in_words() -> None:
    lines = template("list").stdout.splitlines()
    assert any(line.startswith("smoke ") and "no model" in line for line in lines)


def test_show() -> None:
    document = as_json("show", "txt2img-sd15")
    keys = ["schema", "name", "path", "purpose", "nodes", "bindings", "ways", "candidates", "save_nodes"]
    assert list(document) == keys
    assert {"name": "model", "way": '4 CheckpointLoaderSimple "Checkpoint" → 3 KSampler "Sampler"'} in document["ways"]
    assert document["schema"] == "burst.template/1"
    assert {"id": "6", "class": "CLIPTextEncode", "title": "Positive Prompt"} in document["nodes"]
    assert {"name": "steps", "address": "3.steps", "value": 20} in document["bindings"]
    assert document["save_nodes"] == [
        {
            "id": "9",
            "class": "SaveImage",
            "prefix_input": "filename_prefix",
            "extension": ".png",
            "files": 1,
            "temporary": False,
        }
    ]


def test_show_in_words() -> None:
    text = template("show", "txt2img-sd15").stdout
    assert "6  CLIPTextEncode          Positive Prompt" in text
    assert "→ 6.text" in text
    assert "SaveImage  .png, 1 file a prompt" in text
    assert "PreviewAny  shown: kept only where nothing is saved" in template("show", "smoke").stdout


def test_what_is_not_certain_is_shown_with_what_to_type(tmp_path: Path) -> None:
    titled = text_to_image(
        other=node("CLIPTextEncode", text="best quality", clip="@ckpt:1", title="Best, always"),
        both=node("ConditioningConcat", conditioning_to="@other", conditioning_from="@pos"),
        sampler=sampler(positive="@both"),
    )
    (tmp_path / "two.json").write_text(json.dumps(titled))
    document = as_json("show", "two.json")
    assert document["candidates"] == [
        {"name": "prompt", "address": "title=Best, always.text", "value": "best quality"},
        {"name": "prompt", "address": "pos.text", "value": "a house"},
    ]
    text = template("show", "two.json").stdout
    assert "Not bound, because it is not certain" in text
    assert "prompt?   pos CLIPTextEncode → both ConditioningConcat" in text
    choice = "choose: --bind 'prompt=title=Best, always.text' or --bind prompt=pos.text"
    assert choice in template("check", "two.json").stdout
    assert "certain" not in template("check", "two.json", "--bind", "prompt=title=Best, always.text").stdout


def test_a_binding_can_be_added() -> None:
    document = as_json("show", "txt2img-sd15", "--bind", "style=title=Negative Prompt.text")
    assert [one["address"] for one in document["bindings"] if one["name"] == "style"] == ["7.text"]
    assert "matches no node" in template("show", "smoke", "--bind", "x=99.text", code=2).stderr


def test_a_file_wins_over_a_shipped_name(tmp_path: Path) -> None:
    broken(tmp_path / "smoke")
    assert as_json("show", "smoke")["path"] == str(tmp_path / "smoke")


def test_without_a_name_the_one_of_the_state(tmp_path: Path) -> None:
    assert "name a workflow" in template("show", code=2).stderr
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "a.txt").write_text("a")
    CliRunner().invoke(cli, ["init", "prompts", "--template", "txt2img-sdxl", "--bind", "style=7.text"])
    document = as_json("show")
    assert document["name"] == "txt2img-sdxl"
    assert "style" in [one["name"] for one in document["bindings"]]
    assert "style" in as_json("check")["bindings"]


def test_an_unknown_name() -> None:
    assert "did you mean 'smoke'?" in template("check", "smok", code=2).stderr


def test_a_sound_workflow() -> None:
    document = as_json("check", "smoke")
    assert list(document) == ["schema", "name", "server", "ok", "bindings", "findings"]
    assert document["schema"] == "burst.template-check/1"
    assert document["ok"]
    assert document["server"] is None
    assert template("check", "smoke").stdout.startswith("smoke: fine; 5 nodes")


def test_a_broken_workflow_exits_1(tmp_path: Path) -> None:
    path = str(broken(tmp_path / "broken.json"))
    document = as_json("check", path, code=1)
    assert not document["ok"]
    (error,) = [finding for finding in document["findings"] if finding["severity"] == "error"]
    assert error["node"] == "1"
    assert "linked to node '9'" in error["message"]
    assert template("check", path, code=1).stdout.startswith("error:   node 1 (SaveImage)")


def test_warnings_alone_exit_0(tmp_path: Path) -> None:
    node = {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}
    empty = {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}}
    (tmp_path / "preview.json").write_text(json.dumps({"1": empty, "2": node}))
    document = as_json("check", "preview.json")
    assert {finding["severity"] for finding in document["findings"]} == {"warning"}


def test_held_against_a_server() -> None:
    with Sandbox(SandboxSettings(checkpoints=("v1-5-pruned-emaonly.safetensors",))) as sandbox:
        document = as_json("check", "txt2img-sd15", "--server", sandbox.url, code=1)
        assert document["server"] == sandbox.url
        assert "did you mean 'v1-5-pruned-emaonly.safetensors'?" in document["findings"][0]["message"]
        assert as_json("check", "smoke", "--server", sandbox.url)["findings"] == []


def test_the_usual_server(monkeypatch: pytest.MonkeyPatch) -> None:
    with Sandbox() as sandbox:
        monkeypatch.setenv("COMFYUI_URL", sandbox.url)
        assert as_json("check", "smoke", "--server")["server"] == sandbox.url


@pytest.mark.parametrize("said", [("http://a", "--server", "http://b"), ()])
def test_several_servers_are_too_many(monkeypatch: pytest.MonkeyPatch, said: tuple[str, ...]) -> None:
    monkeypatch.setenv("COMFYUI_URL", "http://c http://d")
    words = template("check", "smoke", "--server", *said, code=2).stderr
    assert "this command uses one server, and 2 are set" in words


def test_a_server_that_is_not_there() -> None:
    assert "Connection refused" in template("check", "smoke", "--server", "http://127.0.0.1:9", code=75).stderr
