"""`burst init` looks at template, output and servers before it names the next command."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.documents import checked
from support.projects import small_template
from support.proxy import Proxy, http_answer

from burst import cli
from orchestrator.sandbox import Sandbox
from orchestrator.settings import kept_settings
from state.item import Status
from state.open_store import open_store

NOBODY = "http://127.0.0.1:9"
PAGE = http_answer(200, b"<html>hello</html>", Content_Type="text/html")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two prompts and a template; the current directory."""
    for name in ("COMFYUI_URL", "COMFYUI_HEADERS", "BURST_STATE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts").mkdir()
    for number in (1, 2):
        (tmp_path / "prompts" / f"p{number}.txt").write_text(f"prompt {number}")
    (tmp_path / "flow.json").write_text(json.dumps(small_template()))
    return tmp_path


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


def burst(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli, list(arguments))
    assert result.exit_code == code, result.output
    return result.output


def init(*arguments: str) -> dict[str, Any]:
    return checked(json.loads(burst("init", "prompts", "--json", *arguments)))


def test_all_is_well_after_one_request(sandbox: Sandbox) -> None:
    with Proxy(sandbox.url) as proxy:
        document = init("--template", "flow.json", "--server", proxy.url)
        assert (document["notes"], document["next"]) == ([], "burst run")
        asked = [line.split()[1] for line in proxy.requests if " HTTP/" in line]
        classes = sorted({node["class_type"] for node in small_template().values()})
        assert asked == ["/api/prompt"] * 2 + [f"/api/object_info/{name}" for name in classes]
        assert burst("init", "prompts").endswith("Next: burst run\n")


def test_no_template(sandbox: Sandbox) -> None:
    document = init("--server", sandbox.url)
    assert document["notes"] == ["no template is set, so nothing can be rendered"]
    assert document["next"] == "burst init prompts --template NAME"


def test_a_template_that_nothing_can_be_made_with(home: Path, sandbox: Sandbox) -> None:
    graph = small_template()
    del graph["9"]
    (home / "flow.json").write_text(json.dumps(graph))
    document = init("--template", "flow.json", "--server", sandbox.url)
    assert document["next"] == f"burst template check {home / 'flow.json'}"
    assert len(document["notes"]) == 1


def test_a_template_that_takes_no_prompt_is_refused_before_anything_is_written(home: Path, sandbox: Sandbox) -> None:
    graph = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    (home / "flow.json").write_text(json.dumps(graph))
    for command in (["init", "prompts"], ["generate", "--prompt", "x"], ["generate", "--prompt", "x", "--queue-only"]):
        said = burst(*command, "--template", "flow.json", "--server", sandbox.url, code=2)
        assert "no binding 'prompt'" in said
        assert "Next" not in said
    assert not (home / "re_render_state.json").exists()


@pytest.mark.parametrize("name", ["promt", "prompts", "Prompt", "sampeler", "negativ"])
def test_a_misspelt_binding_is_refused_before_anything_is_written(home: Path, sandbox: Sandbox, name: str) -> None:
    said = burst("init", "prompts", "--template", "flow.json", "--bind", f"{name}=6.text", code=2)
    assert f"--bind {name}: no binding has this name; did you mean " in said
    assert sorted(os.listdir(home)) == ["flow.json", "prompts"]


@pytest.mark.parametrize("name", ["seed2", "prompt_b", "hires-steps", "denoise", "strength"])
def test_names_of_ones_own_are_bound(home: Path, name: str) -> None:
    init("--template", "flow.json", "--server", NOBODY, "--bind", f"{name}=3.denoise")
    assert kept_settings(home / "re_render_state.json").bindings == {name: "3.denoise"}


def test_a_binding_is_forgotten(home: Path, sandbox: Sandbox) -> None:
    flags = ("--template", "flow.json", "--server", sandbox.url)
    init(*flags, "--bind", "prompt=7.text", "--bind", "steps=3.steps")
    assert (
        burst("init", "prompts", "--bind", "seed=", code=2)
        .strip()
        .endswith("--bind seed=: no binding of this name is kept (kept: prompt, steps)")
    )
    (home / "prompts" / "p3.txt").write_text("prompt 3")
    init("--bind", "prompt=")
    assert kept_settings(home / "re_render_state.json").bindings == {"steps": "3.steps"}
    with open_store(home / "re_render_state.json", read_only=True) as store:
        bound = {item.key: store.recipes.get(item.recipe or "").bindings["prompt"] for item in store.items()}
    assert bound == {"prompts/p1.txt": ("7.text",), "prompts/p2.txt": ("7.text",), "prompts/p3.txt": ("6.text",)}
    burst("update", "--bind", "prompt=")
    with open_store(home / "re_render_state.json", read_only=True) as store:
        bound = {item.key: store.recipes.get(item.recipe or "").bindings["prompt"] for item in store.items()}
    assert set(bound.values()) == {("6.text",)}


def test_a_binding_of_ones_own_is_forgotten_by_what_waits(home: Path) -> None:
    init("--template", "flow.json", "--server", NOBODY, "--bind", "strength=3.denoise")
    for bound in (True, False):
        with open_store(home / "re_render_state.json", read_only=True) as store:
            recipes = [store.recipes.get(item.recipe or "") for item in store.items()]
        assert ["strength" in recipe.bindings for recipe in recipes] == [bound] * 2
        burst("update", "--bind", "strength=")


def test_an_output_that_is_a_file(home: Path, sandbox: Sandbox) -> None:
    (home / "images").write_text("")
    document = init("--template", "flow.json", "--server", sandbox.url, "--output", "images")
    assert "the output directory is a file" in document["notes"][0]
    assert document["next"] == "burst init prompts --output DIR"
    assert document["added"] == 2


def test_https_to_a_server_without_tls(sandbox: Sandbox) -> None:
    document = init("--template", "flow.json", "--server", sandbox.url.replace("http:", "https:"))
    assert f"does not speak TLS; try {sandbox.url}" in document["notes"][0]
    assert document["next"] == f"burst init prompts --server {sandbox.url}"
    assert init("--server", sandbox.url)["notes"] == []


def test_a_page_is_no_server(sandbox: Sandbox) -> None:
    with Proxy(sandbox.url) as proxy:
        proxy.answer("", PAGE)
        assert init("--template", "flow.json", "--server", proxy.url)["next"] == (
            "burst init prompts --server http://127.0.0.1:8188"
        )
        proxy.heal()
        assert init()["next"] == "burst run"
        # A tunnel that begins anew, before the first run.
        proxy.answer("", PAGE)
        document = init()
        assert "It was a ComfyUI before, so it is waited for" in document["notes"][0]
        assert document["next"] == "burst run"
        assert burst("run", code=75)


def test_a_server_that_wants_a_key(sandbox: Sandbox) -> None:
    with Proxy(sandbox.url) as proxy:
        proxy.answer("", http_answer(401, b"", Content_Type="text/html"))
        document = init("--template", "flow.json", "--server", proxy.url)
    assert document["next"] == "burst init prompts --header 'NAME: env:VARIABLE'"


def test_nobody_there_is_a_note_within_two_seconds(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        document = init(
            *("--template", "flow.json", "--server", NOBODY),
            *("--server", f"http://127.0.0.1:{silent.getsockname()[1]}"),
        )
        assert time.monotonic() - started < 4
    refused, late = document["notes"]
    assert refused.startswith(f"no response from {NOBODY}: start ComfyUI there")
    assert "no answer within 2 s" in late
    assert document["next"] == "burst run"
    with open_store(home / "re_render_state.json", read_only=True) as store:
        assert len(list(store.items(Status.PENDING))) == 2


def test_one_server_of_several_is_enough(sandbox: Sandbox) -> None:
    no_tls = sandbox.url.replace("http:", "https:")
    document = init("--template", "flow.json", "--server", no_tls, "--server", sandbox.url)
    assert document["next"] == "burst run"
    assert len(document["notes"]) == 1


def test_edited_prompts_of_finished_items_are_mentioned(home: Path, sandbox: Sandbox) -> None:
    init("--template", "flow.json", "--server", sandbox.url)
    burst("run")
    os.utime(home / "prompts" / "p1.txt")
    document = init()
    assert (document["edited"], document["notes"], document["next"]) == ([], [], "burst status")
    (home / "prompts" / "p2.txt").write_text("another view")
    document = init()
    assert document["edited"] == ["prompts/p2.txt"]
    assert document["notes"] == [
        "1 finished item was edited since (prompts/p2.txt); `burst init prompts --rescan` makes them due again"
    ]
    assert document["next"] == "burst init prompts --rescan"
    document = init("--rescan")
    assert (document["put_back"], document["edited"], document["next"]) == (["prompts/p2.txt"], [], "burst run")


def test_the_next_command_names_the_state(sandbox: Sandbox) -> None:
    flags = ("--state", "other.json", "--template", "flow.json")
    assert init(*flags, "--server", sandbox.url)["next"] == "burst run --state other.json"
