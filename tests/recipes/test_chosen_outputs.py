"""`--outputs`: which nodes' outputs are fetched, remembered like the template, kept in the recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.built_graphs import object_info

from burst import cli
from orchestrator.errors import TemplateError
from orchestrator.node_classes import keep
from orchestrator.servers import parse_server
from orchestrator.settings import load_settings
from state.item import Item
from state.open_store import open_store
from state.recipe import Recipe
from templates import output_nodes

GRAPH: dict[str, Any] = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "m.safetensors"}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "GOOD", "clip": ["1", 1]}},
    "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "BAD", "clip": ["1", 1]}},
    "4": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
    "5": {
        "class_type": "KSampler",
        "inputs": {"model": ["1", 0], "positive": ["2", 0], "negative": ["3", 0], "latent_image": ["4", 0], "seed": 1},
    },
    "6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["1", 2]}},
    "7": {
        "class_type": "SaveImage",
        "inputs": {"images": ["6", 0], "filename_prefix": "first"},
        "_meta": {"title": "First, small"},
    },
    "8": {"class_type": "ImageInvert", "inputs": {"image": ["6", 0]}},
    "9": {
        "class_type": "SaveImage",
        "inputs": {"images": ["8", 0], "filename_prefix": "final"},
        "_meta": {"title": "Final"},
    },
    "10": {"class_type": "PreviewAny", "inputs": {"source": ["6", 0]}},
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMFYUI_URL", "http://127.0.0.1:1")
    (tmp_path / "w.json").write_text(json.dumps(GRAPH))
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "a.txt").write_text("a house")
    return tmp_path


def burst(*arguments: str) -> str:
    result = CliRunner().invoke(cli, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


def recipes(project: Path) -> dict[str, Recipe]:
    """By the key of the item."""
    with open_store(project / "re_render_state.json", read_only=True) as store:
        items: list[Item] = list(store.items())
        return {item.key: store.recipes.get(item.recipe or "") for item in items}


def nodes(project: Path) -> list[tuple[str, ...]]:
    return [recipe.output_nodes for recipe in recipes(project).values()]


def kept(project: Path) -> tuple[str, ...]:
    return load_settings(project / "re_render_state.json").outputs


class TestNames:
    @pytest.mark.parametrize(
        ("names", "found"),
        [
            (["7"], ("7",)),
            (["7", "9"], ("9", "7")),
            (["title=Final"], ("9",)),
            (["class=SaveImage"], ("9", "7")),
            (["10", "9", "9"], ("9", "10")),
            ([], ()),
            (["all"], ("9", "7", "10")),
        ],
    )
    def test_ids_titles_and_classes(self, names: list[str], found: tuple[str, ...]) -> None:
        assert output_nodes(GRAPH, names) == found

    @pytest.mark.parametrize(
        ("name", "said"),
        [("99", "no node has this id"), ("5", "saves and shows nothing"), ("8", "shows nothing"), ("all", "no node")],
    )
    def test_others_are_refused_with_those_that_save(self, name: str, said: str) -> None:
        with pytest.raises(TemplateError, match=said) as raised:
            output_nodes(GRAPH, ["9", name])
        assert '9 (SaveImage "Final"), 7 (SaveImage "First, small")' in str(raised.value)


def test_init_remembers_them_and_generate_takes_them(project: Path) -> None:
    burst("init", "prompts", "--template", "w.json", "--outputs", "title=Final")
    burst("generate", "--prompt", "b", "--queue-only")
    assert (kept(project), nodes(project)) == (("title=Final",), [("9",), ("9",)])
    burst("generate", "--prompt", "c", "--queue-only", "--outputs", "10,7")
    assert nodes(project)[-1] == ("7", "10")
    assert kept(project) == ("title=Final",)


def test_saved_forgets_them_and_another_workflow_does_not_have_them(project: Path) -> None:
    burst("init", "prompts", "--template", "w.json", "--outputs", "7")
    burst("generate", "--prompt", "b", "--template", "smoke", "--queue-only", "--dry-run")
    (project / "prompts" / "b.txt").write_text("b")
    burst("init", "prompts", "--outputs", "saved")
    assert (kept(project), nodes(project)) == ((), [("7",), ()])
    burst("init", "prompts", "--outputs", "7")
    burst("init", "prompts", "--template", "w.json")
    assert kept(project) == ("7",), "the same workflow named again"
    (project / "v.json").write_text(json.dumps(GRAPH))
    burst("init", "prompts", "--template", "v.json")
    assert kept(project) == ()


def test_update_changes_them_alone_and_keeps_them_otherwise(project: Path) -> None:
    burst("init", "prompts", "--template", "w.json", "--outputs", "7")
    before = recipes(project)
    burst("update", "--outputs", "9")
    assert nodes(project) == [("9",)]
    burst("update", "--bind", "seed=5.seed")
    assert nodes(project) == [("9",)]
    burst("update", "--outputs", "all")
    assert nodes(project) == [("9", "7", "10")], "the shown text too"
    burst("update", "--outputs", "saved")
    assert nodes(project) == [()]
    burst("update", "--outputs", "7")
    assert recipes(project) == before, "the same recipe as at first"


def test_a_recipe_without_them_is_what_it_was(project: Path) -> None:
    """Its id is that of bursts that did not know of them, so a request repeated is the same request."""
    burst("init", "prompts", "--template", "w.json")
    (recipe,) = recipes(project).values()
    assert recipe.output_nodes == ()
    assert "output_nodes" not in (project / "re_render_state.burst" / "recipes.jsonl").read_text()


def test_all_is_remembered_and_is_without_loose_ends(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(project / "cache"))
    keep(parse_server("http://127.0.0.1:1"), object_info({"SomebodysNote": "text:STRING ->"}))
    note = {"class_type": "SomebodysNote", "inputs": {"text": "to do"}}
    (project / "w.json").write_text(json.dumps(GRAPH | {"11": note}))
    burst("init", "prompts", "--template", "w.json", "--outputs", "all")
    burst("generate", "--prompt", "b", "--queue-only")
    assert (kept(project), nodes(project)) == (("all",), [("9", "7", "10")] * 2)


def test_another_choice_is_another_request(project: Path) -> None:
    for outputs in ("7", "7", "9"):
        burst("generate", "--prompt", "b", "--template", "w.json", "--queue-only", "--outputs", outputs)
    assert nodes(project) == [("7",), ("9",)]
