"""Prompt directories become items."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import UsageError
from orchestrator.prompt_directories import natural_key, prompt_items
from state.item import Status


def prompts(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"the text of {name}")
    return root


def test_the_key_is_the_path_and_the_subfolder_the_way_inside(tmp_path: Path) -> None:
    root = prompts(tmp_path / "prompts", "EP01/prompt_1.txt", "EP01/deep/a.txt", "top.txt")
    items = {item.key: item for item in prompt_items([root], home=tmp_path)}
    assert {key: (item.subfolder, item.filename) for key, item in items.items()} == {
        "prompts/EP01/prompt_1.txt": ("EP01", "prompt_1.txt"),
        "prompts/EP01/deep/a.txt": ("EP01/deep", "a.txt"),
        "prompts/top.txt": ("prompts", "top.txt"),
    }
    assert all(item.status is Status.PENDING for item in items.values())


def test_a_directory_named_by_itself_is_its_own_subfolder(tmp_path: Path) -> None:
    root = prompts(tmp_path / "prompts", "EP01/a.txt", "EP02/a.txt")
    items = prompt_items([root / "EP01", root / "EP02"], home=tmp_path)
    assert [item.subfolder for item in items] == ["EP01", "EP02"]


def test_prompts_elsewhere_have_absolute_keys(tmp_path: Path) -> None:
    root = prompts(tmp_path / "elsewhere", "a.txt")
    (item,) = prompt_items([root], home=tmp_path / "project")
    assert item.key == str(root / "a.txt")


def test_numbers_sort_by_value(tmp_path: Path) -> None:
    root = prompts(tmp_path / "p", *(f"prompt_{number}.txt" for number in (10, 2, 1, 100)))
    names = [item.filename for item in prompt_items([root], home=tmp_path)]
    assert names == ["prompt_1.txt", "prompt_2.txt", "prompt_10.txt", "prompt_100.txt"]


def test_hidden_and_other_files_are_left_out(tmp_path: Path) -> None:
    root = prompts(tmp_path / "p", "a.txt", ".hidden.txt", ".git/b.txt", "note.md")
    assert [item.filename for item in prompt_items([root], home=tmp_path)] == ["a.txt"]
    assert [item.filename for item in prompt_items([root], home=tmp_path, patterns=["*.md"])] == ["note.md"]


def test_the_same_file_named_twice_is_one_item(tmp_path: Path) -> None:
    root = prompts(tmp_path / "p", "EP01/a.txt")
    assert len(prompt_items([root, root], home=tmp_path)) == 1


@pytest.mark.parametrize("name", ["absent", "empty", "a_file"])
def test_a_directory_without_prompts_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a_file").write_text("x")
    with pytest.raises(UsageError, match=name):
        prompt_items([tmp_path / name], home=tmp_path)


@given(st.lists(st.text(min_size=1), min_size=2))
def test_natural_keys_can_always_be_compared(names: list[str]) -> None:
    sorted((Path(name.replace("/", "_").replace("\0", "_")) for name in names), key=natural_key)
