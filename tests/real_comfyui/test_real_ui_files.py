"""A workflow as ComfyUI's editor saves it, from the file to the saved image."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image
from support.ui_files import ten_features

from burst import cli


def burst(*arguments: str) -> str:
    result = CliRunner().invoke(cli, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("COMFYUI_URL", "COMFYUI_HEADERS", "BURST_STATE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "p1.txt").write_text("a lighthouse")
    (tmp_path / "ten.json").write_text(json.dumps(ten_features()))
    return tmp_path


def test_a_file_of_ten_features_is_rendered(home: Path, server_url: str) -> None:
    burst("init", "prompts", "--template", "ten.json", "--server", server_url, "--output", "out")
    burst("template", "check", "ten.json", "--server", server_url)
    burst("run")
    (saved,) = (home / "out").rglob("*.png")
    with Image.open(saved) as image:
        assert image.size == (48, 32)
        colours = image.convert("RGB").resize((1, 1)).getpixel((0, 0))
    assert isinstance(colours, tuple)
    assert all(abs(one - other) <= 1 for one, other in zip(colours, (0xCC, 0x99, 0x66), strict=True)), colours


def test_an_image_that_comfyui_saved_is_a_workflow_too(home: Path, server_url: str) -> None:
    burst("init", "prompts", "--template", "ten.json", "--server", server_url, "--output", "out")
    burst("run")
    (saved,) = (home / "out").rglob("*.png")
    burst("template", "export", "ten.json", "-o", "api.json", "--server", server_url)
    burst("template", "export", str(saved), "-o", "again.json")
    first, again = (json.loads((home / name).read_text()) for name in ("api.json", "again.json"))
    assert again.keys() <= first.keys()
    assert {node["class_type"] for node in again.values()} >= {"SaveImage", "ImageInvert", "ImageBlur"}
