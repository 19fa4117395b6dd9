"""Another output directory is named: what stays in the one before is told, with its number."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from burst import cli
from orchestrator.sandbox import Sandbox


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Three prompts, two of them rendered to `first`."""
    for name in ("COMFYUI_URL", "COMFYUI_HEADERS", "BURST_STATE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts").mkdir()
    for number in range(3):
        (tmp_path / "prompts" / f"p{number}.txt").write_text(f"prompt {number}")
    with Sandbox() as sandbox:
        said("init", "prompts", "--server", sandbox.url, "--template", "smoke", "--output", "first")
        assert said("run", "-n", "2")["completed"] == 2
        yield tmp_path


def said(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(cli, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def stays(document: dict[str, Any]) -> list[str]:
    return [note for note in document["notes"] if " stay in " in note]


@pytest.mark.parametrize("command", [("init", "prompts"), ("run", "-n", "1"), ("update",)], ids=lambda words: words[0])
def test_what_stays_in_the_directory_before(project: Path, command: tuple[str, ...]) -> None:
    told = [f"the images of 2 finished items stay in {project / 'first'}"]
    assert stays(said(*command, "--output", "second")) == told


@pytest.mark.parametrize("command", [("init", "prompts"), ("run", "-n", "1")], ids=lambda words: words[0])
def test_the_same_directory_is_no_other_one(project: Path, command: tuple[str, ...]) -> None:
    (project / "link").symlink_to("first")
    assert stays(said(*command, "--output", "link")) == []
    assert stays(said(*command)) == []


def test_what_is_in_both_is_counted_apart(project: Path) -> None:
    said("update", "--output", "second")
    assert said("run")["completed"] == 1
    assert stays(said("init", "prompts", "--output", "third")) == [
        f"the images of 2 finished items stay in {project / 'first'}",
        f"the images of 1 finished item stay in {project / 'second'}",
    ]
