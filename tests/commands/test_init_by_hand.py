"""`burst init` without a directory: a state that somebody wrote gets its template, server and output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.documents import checked
from support.projects import small_template

from burst import cli
from orchestrator.sandbox import Sandbox
from orchestrator.settings import kept_settings
from state.item import Item
from state.open_store import open_store

NOBODY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two prompts, a template, and a state of them as an agent writes it; the current directory."""
    for name in ("COMFYUI_URL", "COMFYUI_HEADERS", "BURST_STATE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").mkdir()
    records = {}
    for number in (1, 2):
        file = tmp_path / "texts" / f"prompt_{number}.txt"
        file.write_text(f"prompt {number}")
        records[str(file)] = {"status": "pending", "subfolder": "EP01", "filename": file.name}
    (tmp_path / "re_render_state.json").write_text(json.dumps(records))
    (tmp_path / "flow.json").write_text(json.dumps(small_template()))
    return tmp_path


def burst(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli, list(arguments))
    assert result.exit_code == code, result.output
    return result.output


def init(*arguments: str) -> dict[str, Any]:
    return checked(json.loads(burst("init", "--json", *arguments)))


def items(home: Path) -> list[Item]:
    with open_store(home / "re_render_state.json", read_only=True) as store:
        return list(store.items())


def test_a_state_written_by_hand_is_rendered_with_what_init_was_given(home: Path) -> None:
    before = (home / "re_render_state.json").read_bytes()
    with Sandbox() as sandbox:
        document = init("--template", "flow.json", "--server", sandbox.url, "--output", "renders")
        assert document["next"] == "burst run"
        assert (document["found"], document["added"], document["counts"]["pending"]) == (0, 0, 2)
        assert document["notes"] == [
            f"2 items due without a recipe: made with the new default from now on (template {home / 'flow.json'}, "
            f"output directory {home / 'renders'})"
        ]
        kept = kept_settings(home / "re_render_state.json")
        assert (kept.output_dir, kept.template) == (home / "renders", str(home / "flow.json"))
        assert json.loads((home / "re_render_state.json").read_bytes()) == json.loads(before)
        assert "re_render_state.json: 2 items\n" in burst("init")
        burst("run", "--until-done")
    assert sorted(path.name for path in (home / "renders" / "EP01").iterdir()) == ["prompt_1.png", "prompt_2.png"]


def test_without_a_template_it_says_how_to_name_one() -> None:
    document = init("--server", NOBODY)
    assert document["notes"][0] == "no template is set, so nothing can be rendered"
    assert document["next"] == "burst init --template NAME"


def test_twice_says_nothing_new() -> None:
    init("--template", "flow.json", "--server", NOBODY)
    (unreachable,) = init("--template", "flow.json", "--server", NOBODY)["notes"]
    assert "no response from" in unreachable


def test_items_with_recipes_keep_them_and_it_is_said(home: Path) -> None:
    init("texts", "--state", "other.json", "--template", "flow.json", "--server", NOBODY)
    (home / "new.json").write_text(json.dumps(small_template(save_nodes=2)))
    note, *_ = init("--state", "other.json", "--template", "new.json")["notes"]
    assert "2 items of these were added before and keep their recipe" in note
    assert "`burst update`" in note


def test_texts_that_look_like_dynamic_prompts_are_counted(home: Path) -> None:
    (home / "texts" / "prompt_1.txt").write_text("a {red|blue} house")
    assert any(
        "1 prompt looks like a dynamic prompt" in note
        for note in init("--template", "flow.json", "--server", NOBODY)["notes"]
    )


def test_finished_items_that_were_edited_are_put_back(home: Path) -> None:
    with Sandbox() as sandbox:
        init("--template", "flow.json", "--server", sandbox.url)
        burst("run", "--until-done")
        (home / "texts" / "prompt_2.txt").write_text("another view")
        document = init()
        assert document["edited"] == [items(home)[1].key]
        assert document["next"] == "burst init --rescan"
        assert init("--rescan")["put_back"] == [items(home)[1].key]


def test_a_batch_in_the_state_is_left_alone(home: Path) -> None:
    burst(
        *["generate", "--prompt", "{a|b}", "--literal", "--queue-only", "--template", "flow.json", "--server"], NOBODY
    )
    document = init("--server", NOBODY, "--output", "elsewhere", "--template", "flow.json")
    assert not any("dynamic" in note or "keep what" in note for note in document["notes"])


def test_files_that_the_state_names_by_absolute_paths_are_not_added_twice(home: Path) -> None:
    (home / "texts" / "prompt_3.txt").write_text("prompt 3")
    document = init("texts", "--server", NOBODY)
    assert (document["found"], document["added"]) == (3, 1)
    assert [item.key for item in items(home)][2:] == ["texts/prompt_3.txt"]


class TestGoneFiles:
    def test_they_are_named_whatever_became_of_their_items(self, home: Path) -> None:
        with Sandbox() as sandbox:
            init("texts", "--template", "flow.json", "--server", sandbox.url)
            burst("run", "--items", "1")
            (home / "texts" / "prompt_1.txt").unlink()
            (home / "texts" / "prompt_2.txt").unlink()
            (home / "texts" / "prompt_3.txt").write_text("prompt 3")
            document = init("texts")
        first, second = document["gone"]
        assert (Path(first).name, Path(second).name) == ("prompt_1.txt", "prompt_2.txt")
        (note,) = [note for note in document["notes"] if "gone" in note]
        assert note == (
            f"the files of 2 items are gone ({first}, {second}; 1 completed, 1 due): restore them, or "
            "`burst forget --gone`, which keeps images"
        )

    def test_cancelled_items_texts_of_their_own_and_inputs_miss_no_file(self, home: Path) -> None:
        records = {
            "gone.txt": {"status": "cancelled"},
            "text": {"status": "pending", "prompt_text": "a house"},
            "inputs": {"status": "pending", "inputs": {"seed": 5}},
            "renamed.txt": {"status": "failed", "filename": "renamed.txt", "inputs": {"seed": 5}},
        }
        (home / "re_render_state.json").write_text(json.dumps(records))
        assert init("--template", "flow.json", "--server", NOBODY)["gone"] == ["renamed.txt"]

    def test_an_image_and_its_mask(self, home: Path) -> None:
        records = {
            "a.png": {"status": "pending", "uploads": {"image": "a.png"}},
            "b.png": {"status": "pending", "uploads": {"image": "b.png", "mask": "b_mask.png"}},
        }
        (home / "b.png").write_bytes(b"")
        (home / "re_render_state.json").write_text(json.dumps(records))
        assert init("--server", NOBODY)["gone"] == ["a.png", "b.png"]
        (home / "b_mask.png").write_bytes(b"")
        assert init("--server", NOBODY)["gone"] == ["a.png"]

    def test_values_of_an_item_do_not_stand_in_for_its_text(self, home: Path) -> None:
        key = str(home / "texts" / "prompt_1.txt")
        records = {key: {"status": "pending", "filename": "prompt_1.txt", "inputs": {"seed": 5}}}
        (home / "re_render_state.json").write_text(json.dumps(records))
        (home / "texts" / "prompt_1.txt").unlink()
        with Sandbox() as sandbox:
            init("--template", "flow.json", "--server", sandbox.url)
            assert "the prompt file" in burst("run", code=1)
