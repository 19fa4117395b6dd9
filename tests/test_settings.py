"""Settings: flags > environment > settings.toml > defaults, and no secret on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import SettingsError, StateVersionError, UsageError
from orchestrator.settings import (
    DEFAULT_SERVER,
    Overrides,
    Settings,
    load_settings,
    parse_header,
    save_settings,
    settings_path,
)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("COMFYUI_URL", raising=False)
    monkeypatch.delenv("COMFYUI_HEADERS", raising=False)
    return tmp_path / "re_render_state.json"


def write(state: Path, text: str) -> None:
    path = settings_path(state)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def test_defaults(state: Path) -> None:
    settings = load_settings(state)
    assert settings.servers == (DEFAULT_SERVER,)
    assert settings.output_dir == state.parent / "output"
    assert settings.template is None


def test_what_init_was_told_comes_back(state: Path) -> None:
    told = Settings(
        output_dir=state.parent / "pictures",
        template=str(state.parent / "flow.json"),
        servers=("http://gpu:8188",),
        bindings={"prompt": "98:6.text"},
        headers={"Authorization": "env:COMFY_TOKEN"},
    )
    save_settings(state, told)
    assert load_settings(state) == told
    assert 'template = "flow.json"' in settings_path(state).read_text()


def test_a_moved_project_finds_its_own_files(state: Path, tmp_path: Path) -> None:
    save_settings(state, Settings(output_dir=tmp_path / "out", template=str(tmp_path / "flow.json")))
    moved = tmp_path / "moved"
    moved.mkdir()
    settings_path(state).parent.rename(moved / "re_render_state.burst")
    settings = load_settings(moved / "re_render_state.json")
    assert settings.output_dir == moved / "out"
    assert settings.template == str(moved / "flow.json")


def test_the_environment_wins_over_the_file_and_flags_over_both(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_settings(state, Settings(output_dir=state.parent / "out", servers=("http://file:1",)))
    monkeypatch.setenv("COMFYUI_URL", "http://environment:2")
    assert load_settings(state).servers == ("http://environment:2",)
    assert load_settings(state, Overrides(servers=("http://flag:3",))).servers == ("http://flag:3",)


def test_headers_come_from_file_environment_and_flags(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_settings(state, Settings(output_dir=state.parent, headers={"A": "env:TOKEN_A"}))
    monkeypatch.setenv("TOKEN_A", "secret-a")
    monkeypatch.setenv("COMFYUI_HEADERS", "B: from environment\nC: other")
    settings = load_settings(state, Overrides(headers={"C": "from flag"}))
    assert settings.resolved_headers() == {"A": "secret-a", "B": "from environment", "C": "from flag"}


def test_a_header_whose_variable_is_not_set_names_it(state: Path) -> None:
    with pytest.raises(SettingsError, match="NO_SUCH_VARIABLE"):
        load_settings(state, Overrides(headers={"A": "env:NO_SUCH_VARIABLE"})).resolved_headers()


def test_a_literal_secret_is_never_written(state: Path) -> None:
    with pytest.raises(UsageError) as refused:
        save_settings(state, Settings(output_dir=state.parent, headers={"Authorization": "Bearer hunter2"}))
    assert "hunter2" not in str(refused.value)
    assert not settings_path(state).exists()


@pytest.mark.parametrize("text", ["no colon", ": empty name", "Empty:", ""])
def test_a_header_is_a_name_and_a_value(text: str) -> None:
    with pytest.raises(UsageError):
        parse_header(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("servers = 'http://x'", "servers"),
        ("servers = []", "servers"),
        ("servers = [1]", "servers"),
        ("output_dir = 3", "output_dir"),
        ("template = 3", "template"),
        ("[bindings]\nprompt = 3", "bindings"),
        ("colour = 'red'", "colour"),
        ("servers = [", "settings.toml"),
    ],
)
def test_a_bad_file_names_the_place(state: Path, text: str, said: str) -> None:
    write(state, text)
    with pytest.raises(SettingsError, match=said):
        load_settings(state)


def test_another_format_version_is_refused_naming_both(state: Path) -> None:
    write(state, "version = 7")
    with pytest.raises(StateVersionError, match=r"version 7.*version 1"):
        load_settings(state)
