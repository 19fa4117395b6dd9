"""This host's own configuration: where it is, what it may say, and whose it must be."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from orchestrator import run_burst
from orchestrator.errors import SettingsError
from orchestrator.host_config import (
    RestartRule,
    has_host_config,
    host_config_path,
    host_state_directory,
    load_host_config,
)
from orchestrator.servers import Server, this_host
from state import operating_system

GPU1 = Server("gpu1", "http://10.0.0.7:8188")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("BURST_HOST_CONFIG", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def write(home: Path, text: str, *, mode: int = 0o644) -> Path:
    path = home / ".config" / "burst" / "host.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_where_it_is(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert host_config_path() == home / ".config/burst/host.toml"
    assert host_state_directory() == home / ".local/state/burst"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert host_config_path() == home / ".config/burst/host.toml", "the specification ignores relative ones"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "etc"))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "var"))
    assert (host_config_path(), host_state_directory()) == (home / "etc/burst/host.toml", home / "var/burst")
    monkeypatch.setenv("BURST_HOST_CONFIG", str(home / "mine.toml"))
    assert host_config_path() == home / "mine.toml"


def test_without_one_nothing_is_restarted(home: Path) -> None:
    assert not has_host_config()
    assert load_host_config().rule_of(GPU1) is None
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("heading", ["gpu1", '"http://10.0.0.7:8188"', '"10.0.0.7"', '"http://10.0.0.7:8188/"'])
def test_a_server_is_meant_by_name_or_address(home: Path, heading: str) -> None:
    write(home, f'[servers.{heading}]\nrestart = "systemctl restart comfyui"\n')
    assert has_host_config()
    rule = load_host_config().rule_of(GPU1)
    assert rule == RestartRule(restart="systemctl restart comfyui")
    assert (rule.start_seconds, rule.timeout_seconds, rule.restarts_an_hour) == (120.0, 60.0, 3)
    assert load_host_config().rule_of(Server("gpu2", "http://10.0.0.8:8188")) is None


def test_a_loopback_server_is_this_host_s_and_another_name_of_it_counts(home: Path) -> None:
    write(home, '[servers."127.0.0.1"]\nrestart = ["true"]\nstart_seconds = 9\nrestarts_an_hour = 1\n')
    local = Server(f"127.0.0.1:8188@{this_host()}", "http://127.0.0.1:8188")
    assert load_host_config().rule_of(local) == RestartRule(restart=("true",), start_seconds=9, restarts_an_hour=1)
    write(home, '[servers.old]\nrestart = "true"\n')
    assert load_host_config().rule_of(GPU1, ["old"]) is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("servers = 3", "servers"),
        ("[servers.gpu1]", "restart"),
        ("[servers.gpu1]\nrestart = ''", "restart"),
        ("[servers.gpu1]\nrestart = []", "restart"),
        ("[servers.gpu1]\nrestart = 'x'\ncommand = 'y'", "command"),
        ("[servers.gpu1]\nrestart = 'x'\nstart_seconds = 0", "start_seconds"),
        ("[servers.gpu1]\nrestart = 'x'\nstart_seconds = nan", "start_seconds"),
        ("[servers.gpu1]\nrestart = 'x'\nrestarts_an_hour = 0", "restarts_an_hour"),
        ("[server.gpu1]\nrestart = 'x'", "server"),
        ("[servers.gpu1", "']'"),
    ],
)
def test_what_is_wrong_with_it_is_named_and_no_command_shown(home: Path, text: str, said: str) -> None:
    path = write(home, text)
    with pytest.raises(SettingsError) as caught:
        load_host_config()
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o777])
def test_one_that_others_may_write_is_refused(home: Path, mode: int) -> None:
    path = write(home, '[servers.gpu1]\nrestart = "true"\n', mode=mode)
    with pytest.raises(SettingsError, match=f"chmod go-w {path}"):
        load_host_config()


def test_one_of_another_user_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(home, '[servers.gpu1]\nrestart = "true"\n')
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    monkeypatch.setattr(operating_system, "ROOT", -1)
    with pytest.raises(SettingsError, match="belongs to another user"):
        load_host_config()


def test_one_that_is_named_and_not_there_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURST_HOST_CONFIG", str(home / "gone.toml"))
    with pytest.raises(SettingsError, match=r"BURST_HOST_CONFIG: .*gone\.toml is not there"):
        load_host_config()


def test_a_run_says_at_once_that_it_is_wrong(home: Path, tmp_path: Path) -> None:
    """Not only when a server has died, hours later."""
    write(home, "nonsense")
    state = tmp_path / "state.json"
    state.write_text(json.dumps({"a": {"status": "pending", "prompt_text": "a fox"}}))
    with pytest.raises(SettingsError, match=r"host\.toml"):
        run_burst(state, server="http://127.0.0.1:1", template="smoke", max_seconds=1.0)


def test_neither_a_state_nor_its_settings_can_name_a_command(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "state.burst"
    folder.mkdir()
    (tmp_path / "state.json").write_text("{}")
    (folder / "settings.toml").write_text(
        'version = 2\n[servers]\ngpu1 = "http://10.0.0.7:8188"\n[restart]\ngpu1 = "x"\n'
    )
    with pytest.raises(SettingsError, match="unknown name 'restart'"):
        run_burst(tmp_path / "state.json")
    assert load_host_config().rule_of(GPU1) is None
