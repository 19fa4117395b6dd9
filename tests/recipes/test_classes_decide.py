"""What a server says of its nodes decides where values go: at `init` and `generate`, and never again by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import responses
from click.testing import CliRunner
from support.built_graphs import node, object_info, text_to_image

from burst import cli
from orchestrator.node_classes import asked_once, keep, known_classes
from orchestrator.servers import parse_server
from orchestrator.settings import Settings
from state.open_store import open_store
from templates.catalogue import read_catalogue

URL = "http://10.0.0.7:8188"
GRAPH = text_to_image(pos=node("WordsEncoder", text="x y", words="a house", clip="@ckpt:1"))
"""By names the prompt goes into `text`, which is none."""
CLASS = object_info({"WordsEncoder": "text:COMBO words:STRING~ clip:CLIP -> CONDITIONING"})


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COMFYUI_URL", URL)
    monkeypatch.delenv("BURST_STATE", raising=False)
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "a.txt").write_text("a lake")
    (tmp_path / "flow.json").write_text(json.dumps(GRAPH))
    return tmp_path


def burst(*arguments: str) -> str:
    result = CliRunner().invoke(cli, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


def serve(web: responses.RequestsMock) -> None:
    web.get(f"{URL}/api/prompt", json={"exec_info": {"queue_remaining": 0}})
    for name in {each["class_type"] for each in GRAPH.values()}:
        web.get(f"{URL}/api/object_info/{name}", json=CLASS if name in CLASS else {})


def prompts(home: Path) -> list[Any]:
    with open_store(home / "re_render_state.json", read_only=True) as store:
        return [store.recipes.get(item.recipe or "").bindings["prompt"] for item in store.items()]


def test_init_goes_by_the_servers_classes_and_what_it_settled_stays(home: Path) -> None:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as web:
        serve(web)
        burst("init", "prompts", "--template", "flow.json")
    assert prompts(home) == [("pos.words",)]
    keep(parse_server(URL), object_info({"WordsEncoder": "text:STRING~ words:COMBO clip:CLIP -> CONDITIONING"}))
    (home / "prompts" / "b.txt").write_text("a hill")
    with responses.RequestsMock(assert_all_requests_are_fired=False):
        burst("init", "prompts")
    assert prompts(home) == [("pos.words",), ("pos.text",)]


def test_without_a_server_init_goes_by_names(home: Path) -> None:
    with responses.RequestsMock(assert_all_requests_are_fired=False):
        burst("init", "prompts", "--template", "flow.json")
    assert prompts(home) == [("pos.text",)]


def test_what_is_kept_of_a_server_is_gone_by_where_none_is_asked(home: Path) -> None:
    keep(parse_server(URL), CLASS)
    burst("generate", "--prompt", "a lake", "--template", "flow.json", "--queue-only")
    assert prompts(home) == [("pos.words",)]
    bound = json.loads(burst("template", "show", "flow.json", "--json"))["bindings"]
    assert {"name": "prompt", "address": "pos.words", "value": "a house"} in bound


def test_a_request_repeated_goes_by_the_same_classes() -> None:
    settings = Settings(output_dir=Path("out"), servers=(parse_server(URL),))
    with responses.RequestsMock(assert_all_requests_are_fired=False) as web:
        serve(web)
        for name in {each["class_type"] for each in GRAPH.values()} - CLASS.keys():
            web.replace(responses.GET, f"{URL}/api/object_info/{name}", json=object_info({name: "->"}))
        classes = asked_once(known_classes)
        assert classes(GRAPH, settings)["WordsEncoder"] == read_catalogue(CLASS)["WordsEncoder"]
        asked = len(web.calls)
        assert classes(GRAPH, settings) == known_classes(GRAPH, settings)
        assert len(web.calls) == asked


def test_check_says_where_names_and_the_server_disagree(home: Path) -> None:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as web:
        web.get(f"{URL}/api/prompt", json={"exec_info": {"queue_remaining": 0}})
        web.get(f"{URL}/api/object_info", json=CLASS)
        result = CliRunner().invoke(cli, ["template", "check", "flow.json", "--server"])
    said = (
        "by names alone 'prompt' sets pos.text, by the server's nodes pos.words; settle it with --bind prompt=pos.words"
    )
    assert said in result.stdout
