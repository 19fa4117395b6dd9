"""Settings: flags > environment > settings.toml > defaults, and no secret on disk."""

from __future__ import annotations

import json
import re
import traceback
from pathlib import Path
from typing import Any

import pytest
from support.comfyui_loopback import Loopback

from orchestrator.cancellation import cancel
from orchestrator.errors import SettingsError, StateVersionError, UsageError
from orchestrator.servers import DEFAULT_SERVER, Server, parse_server
from orchestrator.settings import (
    Overrides,
    Settings,
    load_settings,
    parse_header,
    save_settings,
)
from state.open_store import parts_of


def settings_path(state: Path) -> Path:
    return parts_of(state).location.auxiliary("settings.toml")


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
    assert settings.server_urls == (DEFAULT_SERVER,)
    assert settings.output_dir == state.parent / "output"
    assert settings.template is None


def test_what_init_was_told_comes_back(state: Path) -> None:
    told = Settings(
        output_dir=state.parent / "pictures",
        template=str(state.parent / "flow.json"),
        servers=(Server("http://gpu:8188", "http://gpu:8188"), Server("gpu2", "https://gpu2/prefix")),
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
    save_settings(state, Settings(output_dir=state.parent / "out", servers=(parse_server("http://file:1"),)))
    monkeypatch.setenv("COMFYUI_URL", "http://environment:2")
    assert load_settings(state).server_urls == ("http://environment:2",)
    assert load_settings(state, Overrides(servers=("http://flag:3",))).server_urls == ("http://flag:3",)


def test_headers_come_from_file_environment_and_flags(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_settings(state, Settings(output_dir=state.parent, headers={"A": "env:TOKEN_A"}))
    monkeypatch.setenv("TOKEN_A", "secret-a")
    monkeypatch.setenv("COMFYUI_HEADERS", "B: from environment\nC: other")
    settings = load_settings(state, Overrides(headers={"C": "from flag"}))
    assert settings.resolved_headers() == {"A": "secret-a", "B": "from environment", "C": "from flag"}


def test_a_header_whose_variable_is_not_set_names_it(state: Path) -> None:
    with pytest.raises(SettingsError, match="NO_SUCH_VARIABLE"):
        load_settings(state, Overrides(headers={"A": "env:NO_SUCH_VARIABLE"})).resolved_headers()


@pytest.mark.parametrize(
    ("said", "servers"),
    [
        (("gpu:8188",), ("http://gpu:8188",)),
        (("http://b:1/", "https://a/prefix/"), ("http://b:1", "https://a/prefix")),
        (("http://a", "a:80", "http://A/", "https://a:443", "https://a"), ("http://a", "https://a:443")),
        (("a:1, b:2\nc:3",), ("http://a:1", "http://b:2", "http://c:3")),
        (("http://u:p%2C@a:1", "a:1"), ("http://u:p%2C@a:1",)),
    ],
)
def test_servers_are_spelled_alike_and_each_is_there_once(
    state: Path, monkeypatch: pytest.MonkeyPatch, said: tuple[str, ...], servers: tuple[str, ...]
) -> None:
    assert in_full(load_settings(state, Overrides(servers=said))) == servers
    write(state, f"servers = {json.dumps(said)}")
    assert in_full(load_settings(state)) == servers
    monkeypatch.setenv("COMFYUI_URL", " ".join(said))
    assert in_full(load_settings(state)) == servers


def in_full(settings: Settings) -> tuple[str, ...]:
    return tuple(server.full for server in settings.servers)


def test_an_empty_variable_says_nothing(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYUI_URL", " ")
    assert load_settings(state).server_urls == (DEFAULT_SERVER,)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (("a:1", "ftp://u:hunter2@b"), "servers, address 2 of 2: .* http:// or https://"),
        (("a:1,http://u:hunter2/x@b,c:3",), "servers, address 2 of 3: .* cannot be read"),
        (("http://b?key=hunter2",), "servers: leave out what follows"),
        (("",), "servers: no address"),
    ],
)
def test_a_bad_address_is_counted_and_not_repeated(state: Path, said: tuple[str, ...], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as refused:
        load_settings(state, Overrides(servers=said))
    assert "hunter2" not in "".join(traceback.format_exception(refused.value))


def test_a_bad_address_names_the_variable_or_the_file(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(state, "servers = ['http://a', 'ftp://b']")
    with pytest.raises(SettingsError, match=r"settings\.toml: servers, address 2 of 2"):
        load_settings(state)
    monkeypatch.setenv("COMFYUI_URL", "ftp://b")
    write(state, "servers = ['http://a']")
    with pytest.raises(SettingsError, match=r"^COMFYUI_URL: "):
        load_settings(state)


def test_one_server_is_asked_only_where_one_is_set(state: Path) -> None:
    assert load_settings(state, Overrides(servers=("a:1", "http://a:1"))).the_one_server().url == "http://a:1"
    with pytest.raises(UsageError, match=r"http://a:1, http://b:2\); choose one with servers=\['URL'\]") as refused:
        load_settings(state, Overrides(servers=("a:1", "http://u:hunter2@b:2"))).the_one_server()
    assert "hunter2" not in str(refused.value)


def test_an_item_s_server_is_found_with_its_password(state: Path) -> None:
    settings = load_settings(state, Overrides(servers=("a:1", "http://u:p@b")))
    assert settings.server_urls == ("http://a:1", "http://b")
    found = settings.find_server("http://b:80")
    assert found is not None
    assert found.full == "http://u:p@b"
    assert settings.find_server("http://c") is None


OWN = """
servers = ["http://a", "http://b:2"]
[headers]
Authorization = "env:TOKEN_A"
X-All = "env:TOKEN_A"
[headers."b:2/"]
authorization = "env:TOKEN_B"
"""


def test_a_server_s_own_header_goes_nowhere_else_and_wins(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_A", "for all")
    monkeypatch.setenv("TOKEN_B", "for b")
    write(state, OWN)
    settings = load_settings(state, Overrides(headers={"Authorization": "from flag"}))
    for server in (None, parse_server("http://a"), parse_server("http://b")):
        assert settings.resolved_headers(server) == {"Authorization": "from flag", "X-All": "for all"}
    assert settings.resolved_headers(parse_server("http://b:2")) == {"X-All": "for all", "authorization": "for b"}


@pytest.mark.parametrize("known", [True, False])
def test_cancel_brings_password_and_key_to_the_server_that_they_are_for(
    state: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    monkeypatch.setenv("KEY", "for it alone")
    with Loopback(lambda request: request.reply(401)) as server:
        state.write_text(json.dumps({"a.txt": {"status": "submitted", "prompt_id": "x", "server": server.url}}))
        write(state, f'[headers."{server.url}"]\nX-Key = "env:KEY"\n')
        address = server.url.replace("//", "//user:p@") if known else "http://127.0.0.1:9"
        cancel(state, (), overrides=Overrides(servers=(address,)))
    sent = {(request.headers.get("Authorization"), request.headers.get("X-Key")) for request in server.requests}
    assert sent == ({("Basic dXNlcjpw", "for it alone")} if known else {(None, None)})


def test_own_headers_outlive_another_init(state: Path) -> None:
    write(state, OWN)
    settings = load_settings(state)
    save_settings(state, settings)
    assert load_settings(state) == settings
    assert settings.own_headers == {"http://b:2": {"authorization": "env:TOKEN_B"}}


@pytest.mark.parametrize(
    "settings",
    [
        {"servers": (parse_server("http://a"), parse_server("http://u:hunter2@b"))},
        {"headers": {"Authorization": "Bearer hunter2"}},
        {"own_headers": {"http://a": {"Authorization": "Bearer hunter2"}}},
    ],
)
def test_no_secret_is_written_or_shown(state: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as refused:
        save_settings(state, Settings(output_dir=state.parent, **settings))
    assert "hunter2" not in str(refused.value) + repr(Settings(output_dir=state.parent, **settings))
    assert not settings_path(state).exists()


@pytest.mark.parametrize("text", ["no colon", ": empty name", "Empty:", ""])
def test_a_header_is_a_name_and_a_value(text: str) -> None:
    with pytest.raises(UsageError):
        parse_header(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("servers = 'http://x'", 'servers: expected NAME = "address" pairs, or a list such as ["http://'),
        ("servers = []", "servers: expected NAME"),
        ("servers = {}", "servers: expected NAME"),
        ("servers = [1]", "servers: expected NAME"),
        ("servers = {gpu = 1}", "servers: expected NAME"),
        ("servers = 2001-01-01", "servers: expected NAME"),
        ("output_dir = 3", "output_dir: expected text"),
        ("output_dir = ''", "output_dir: expected text"),
        ("template = 3", "template: expected a name or a path"),
        ("bindings = []", '[bindings]: expected NAME = "text" pairs'),
        ("[bindings]\nprompt = 3", '[bindings]: expected NAME = "text" pairs'),
        ("headers = 3", '[headers]: expected NAME = "text" pairs'),
        ("[headers]\nA = 3", '[headers]: expected NAME = "text" pairs'),
        ("[headers.'http://u:hunter2@a']\nA = 3", '[headers."http://a"]: expected NAME = "text" pairs'),
        ("[headers.gpu1.A]\nB = 'c'", '[headers."gpu1"]: expected NAME = "text" pairs'),
        ("[headers.'ftp://a']\nA = 'env:B'", "a table in [headers] is named neither like a server nor like an address"),
        ("abandon_after_seconds = -1", "abandon_after_seconds: expected seconds, such as 3600, or inf for never"),
        ("abandon_after_seconds = nan", "abandon_after_seconds: expected seconds"),
        ("abandon_after_seconds = true", "abandon_after_seconds: expected seconds"),
        ("abandon_after_seconds = '3600'", "abandon_after_seconds: expected seconds"),
        (f"abandon_after_seconds = {'9' * 400}", "abandon_after_seconds: expected seconds"),
        (f"abandon_after_seconds = {'9' * 5000}", "Exceeds the limit"),
        ("version = true", "version: expected a whole number, such as 2"),
        (
            "'a`b' = 3",
            "unknown name 'a`b'; known: abandon_after_seconds, allow_spend, bindings, headers, known_servers",
        ),
        ("colour = 'red'\nservers = 3", "unknown name 'colour'; known: "),
        ("servers = [", "Invalid value (at "),
    ],
)
def test_a_bad_file_names_the_place(state: Path, text: str, expected: str) -> None:
    write(state, text)
    with pytest.raises(SettingsError) as refused:
        load_settings(state)
    assert str(refused.value).startswith(f"{settings_path(state)}: {expected}")
    assert "hunter2" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize("seconds", ["0", "3600", "0.5", "inf"])
def test_an_absent_host_is_given_up_after_any_time(state: Path, seconds: str) -> None:
    write(state, f"abandon_after_seconds = {seconds}")
    assert load_settings(state).abandon_after_seconds == float(seconds)


@pytest.mark.parametrize("version", ["7", "[2]", "'2'"])
def test_another_format_version_is_refused_naming_both(state: Path, version: str) -> None:
    write(state, f"version = {version}\nunknown = 1")
    with pytest.raises(StateVersionError, match=rf"version {re.escape(version.strip(chr(39)))};.*version 2"):
        load_settings(state)


def test_settings_that_cannot_be_read_are_named_once(tmp_path: Path) -> None:
    path = tmp_path / "state.burst" / "settings.toml"
    path.mkdir(parents=True)
    with pytest.raises(SettingsError, match=f"^{path}: Is a directory; make it readable for this user$"):
        load_settings(tmp_path / "state.json", Overrides())
