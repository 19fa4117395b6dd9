"""A note in a workflow is no save node where the server says so: no prompt waits for another, nothing is due for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.built_graphs import node, object_info, text_to_image
from support.preparing import preparation_of

from burst import cli
from orchestrator.clock import Clock
from orchestrator.node_classes import keep
from orchestrator.servers import parse_server
from state.change import change_all
from state.item import Item
from state.open_store import open_store
from templates import former_fingerprint

URL = "http://10.0.0.7:1"
STATE = "re_render_state.json"
OTHER = {"width": 64, "height": 64, "batch_size": 1}


def graph(note: str) -> dict[str, Any]:
    """With a viewer that keeps a text."""
    shown = node("ShowText|pysssss", text="@latent", text_0=f"kept, {note}")
    return text_to_image(note=node("SomebodysNote", text=note), shown=shown)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COMFYUI_URL", URL)
    (tmp_path / "prompts").mkdir()
    for name in "ab":
        (tmp_path / "prompts" / f"{name}.txt").write_text(f"a lake {name}")
    write("to do")
    known()
    return tmp_path


def write(note: str) -> None:
    Path("flow.json").write_text(json.dumps(graph(note)))


def known() -> None:
    keep(parse_server(URL), object_info({"SomebodysNote": "text:STRING ->"}))


def forget(home: Path) -> None:
    """Another host, or a cache that was emptied."""
    for path in (home / "cache").rglob("*.json"):
        path.unlink()


def burst(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(cli, [*arguments])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout) if "--json" in arguments else {}
    return found


def init(*more: str) -> dict[str, Any]:
    return burst("init", "prompts", "--template", "flow.json", "--json", *more)


def completed(home: Path, fingerprint: Callable[[dict[str, Any], str], str]) -> None:
    """As if all were rendered. `fingerprint`: what was recorded then, by the item's graph and today's fingerprint."""
    with open_store(home / STATE) as store:
        prompts = preparation_of(home, home / "flow.json", book=store.recipes)
        for item in store.items():
            made = prompts.prepare(item)
            digest = fingerprint(made.graph, made.fingerprint)

            def sent(now: Item, digest: str = digest) -> Item:
                return now.submit(prompt_id="p", server=URL, at=Clock().now(), fingerprint=digest, recipe=now.recipe)

            (out,) = change_all(store, [item], sent)
            change_all(store, [out], lambda now: now.complete(outputs=(), at=Clock().now(), seconds=1.0))


def today(graph: dict[str, Any], fingerprint: str) -> str:
    return fingerprint


def before(graph: dict[str, Any], fingerprint: str) -> str:
    """By a burst that took the note for a save node."""
    return former_fingerprint(graph)


def put_back() -> int:
    return len(init("--rescan")["put_back"])


def test_no_prompt_waits_for_another(home: Path) -> None:
    init()
    with open_store(home / STATE, read_only=True) as store:
        prompts = preparation_of(home, home / "flow.json", book=store.recipes)
        items = list(store.items())
        assert [store.recipes.get(item.recipe or "").loose_ends for item in items] == [("note",)] * 2
        assert [prompts.why_alone(item) for item in items] == [None, None]


def test_without_a_servers_word_it_might_save(home: Path) -> None:
    forget(home)
    init()
    with open_store(home / STATE, read_only=True) as store:
        prompts = preparation_of(home, home / "flow.json", book=store.recipes)
        assert all("note (SomebodysNote)" in (prompts.why_alone(item) or "") for item in store.items())


def test_a_note_that_changed_puts_nothing_back(home: Path) -> None:
    """Also where nothing is known of the server any more."""
    init()
    completed(home, today)
    assert put_back() == 0
    write("done")
    assert put_back() == 0
    forget(home)
    assert put_back() == 0
    Path("flow.json").write_text(json.dumps(graph("done") | {"latent": {**graph("")["latent"], "inputs": OTHER}}))
    assert put_back() == 2


def test_what_was_recorded_before_is_still_valid(home: Path) -> None:
    """Of a state whose bursts took the note for a save node: nothing is due again for what is known now."""
    forget(home)
    init()
    completed(home, before)
    known()
    assert put_back() == 0


def test_a_request_repeated_is_the_same_whatever_is_known_of_the_server(home: Path) -> None:
    request = ("generate", "--prompt", "a hill", "--template", "flow.json", "--queue-only", "--json")
    forget(home)
    first = burst(*request)
    known()
    assert burst(*request)["batch"] == first["batch"]


def test_template_show_and_check_leave_it_out() -> None:
    shown = burst("template", "show", "flow.json", "--json")
    assert {one["id"] for one in shown["save_nodes"]} == {"save", "shown"}
    found = burst("template", "check", "flow.json", "--json")
    assert not any("one at a time" in one["message"] for one in found["findings"])


def test_init_does_not_take_what_is_due_for_something_else(home: Path) -> None:
    forget(home)
    init()
    known()
    (home / "prompts" / "c.txt").write_text("a lake c")
    assert not any("keep what they were added with" in note for note in init()["notes"])
