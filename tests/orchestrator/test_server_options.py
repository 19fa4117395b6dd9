"""What the settings say of one server: its API, what it costs, and the keys that it gets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.clients import client_for
from orchestrator.comfyui import ComfyUI
from orchestrator.comfyui.api_v2 import ApiV2
from orchestrator.errors import SettingsError
from orchestrator.server_moved import ServerMove, _Moved
from orchestrator.server_options import ServerOptions, terms_of
from orchestrator.servers import parse_server
from orchestrator.settings import Settings, kept_settings, load_settings, save_settings

CLOUD, PROXY, OWN = "https://cloud.comfy.org", "http://127.0.0.1:8189", "http://gpu:8188"
KEY = "comfyui-0123456789abcdef"
OPTIONS = """
allow_spend = 7
[servers]
cloud = "https://cloud.comfy.org"
proxy = "http://127.0.0.1:8189"
[headers.cloud]
X-API-Key = "env:BURST_TEST_KEY"
[server_options.cloud]
at_once = 3
partner_key = "env:BURST_TEST_PARTNER"
[server_options."http://127.0.0.1:8189"]
api = "v2"
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state.burst"
    folder.mkdir()
    (folder / "settings.toml").write_text(OPTIONS)
    return tmp_path / "state.json"


@pytest.mark.parametrize(
    ("url", "options", "is_v2", "is_paid"),
    [
        (OWN, ServerOptions(), False, False),
        (CLOUD, ServerOptions(), True, True),
        ("https://dep-1.run.comfy.app", ServerOptions(), True, True),
        ("https://run.comfy.app.evil.org", ServerOptions(), False, False),
        (PROXY, ServerOptions(), False, False),
        (PROXY, ServerOptions(api="v2"), True, False),
        ("http://gpu:8189", ServerOptions(api="v2"), True, True),
        ("http://gpu:8189", ServerOptions(api="v2", paid=False), True, False),
        (PROXY, ServerOptions(api="v2", paid=True), True, True),
        (OWN, ServerOptions(partner_key="env:X"), False, True),
        (OWN, ServerOptions(partner_key="env:X", paid=False), False, False),
    ],
)
def test_the_terms_of_a_server(url: str, options: ServerOptions, is_v2: bool, is_paid: bool) -> None:
    terms = terms_of(parse_server(url), options)
    assert (not terms.takes_prompt_id, terms.is_paid) == (is_v2, is_paid)
    assert terms.most_out == (100 if is_v2 else None)
    settings = Settings(output_dir=Path(), server_options={url: replace_key(options)})
    assert type(client_for(parse_server(url), settings)) is (ApiV2 if is_v2 else ComfyUI)


def test_the_first_api_of_the_cloud_is_not_spoken() -> None:
    with pytest.raises(SettingsError, match=r"https://cloud\.comfy\.org: its first API takes no id of ours"):
        terms_of(parse_server(CLOUD), ServerOptions(api="comfyui"))


def replace_key(options: ServerOptions) -> ServerOptions:
    return ServerOptions(options.api, options.paid, options.at_once)


def test_settings_are_read_and_written_as_they_are(state: Path) -> None:
    settings = load_settings(state)
    assert settings.allow_spend == 7
    cloud, proxy = settings.servers
    assert settings.options_of(cloud) == ServerOptions(at_once=3, partner_key="env:BURST_TEST_PARTNER")
    assert settings.options_of(proxy).api == "v2"
    before = kept_settings(state)
    save_settings(state, before)
    assert kept_settings(state) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("allow_spend = -1", "allow_spend: expected a number of prompts in 24 hours"),
        ("allow_spend = true", "allow_spend: expected a number of prompts in 24 hours"),
        ('[server_options.a]\napi = "v3"', r"\[server_options\]: expected tables such as"),
        ("[server_options.a]\nat_once = 0", r"\[server_options\]: expected tables such as"),
        ('[server_options.a]\npartner_key = "comfyui-secret"', r"\[server_options\]: expected tables such as"),
        ('[server_options.a]\npartner_key = "env:"', r"\[server_options\]: expected tables such as"),
    ],
)
def test_what_does_not_fit_is_refused_without_repeating_it(state: Path, text: str, message: str) -> None:
    (state.parent / "state.burst/settings.toml").write_text(text)
    with pytest.raises(SettingsError, match=message) as refused:
        load_settings(state)
    assert "comfyui-secret" not in str(refused.value)


def test_keys_come_from_the_environment(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(state)
    cloud, proxy = settings.servers
    with pytest.raises(SettingsError, match="BURST_TEST_KEY is not set"):
        client_for(cloud, settings)
    monkeypatch.setenv("BURST_TEST_KEY", KEY)
    with pytest.raises(SettingsError, match="partner_key: the environment variable BURST_TEST_PARTNER is not set"):
        client_for(cloud, settings)
    monkeypatch.setenv("BURST_TEST_PARTNER", "partner-0123456789")
    client = client_for(cloud, settings)
    assert client._secret_data == {"api_key_comfy_org": "partner-0123456789"}
    assert client._secrets.hidden(f"{KEY} Bearer {KEY} partner-0123456789") == "*** *** ***"
    assert client_for(proxy, settings)._secret_data == {}
    for shown in (repr(settings), repr(client)):
        assert KEY not in shown
        assert "partner-0123456789" not in shown


def test_options_follow_a_server_that_moved(state: Path) -> None:
    settings = kept_settings(state)
    moved = _Moved.of(ServerMove.between(PROXY, "http://127.0.0.1:9999"), settings, settings.all_servers)
    followed = moved.apply(settings)
    (proxy,) = [one for one in followed.servers if one.url == "http://127.0.0.1:9999"]
    assert followed.options_of(proxy).api == "v2"
    assert replace(followed, server_options={}).options_of(proxy) == ServerOptions()
