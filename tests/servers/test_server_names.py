"""Names of servers: what is one server, what is refused, and what settings.toml holds."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import SettingsError
from orchestrator.servers import (
    Server,
    canonical_name,
    default_name,
    find_server,
    is_given_name,
    other_host,
    parse_server,
    parse_servers,
    read_servers,
    same_server,
    servers_table,
)
from orchestrator.settings import Overrides, Settings, load_settings, save_settings
from state.open_store import parts_of


@pytest.fixture
def on_host(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """This host is called `alpha`."""
    monkeypatch.delenv("COMFYUI_URL", raising=False)
    call_host(monkeypatch, "alpha")
    return monkeypatch


def call_host(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: name)


LOOPBACK = [
    "localhost:8188",
    "http://127.0.0.1:8188",
    "127.0.0.1:8188/",
    "http://LOCALHOST:8188/",
    "http://localhost.:8188",
    "http://comfy.localhost:8188",
    "[::1]:8188",
    "http://[::ffff:127.0.0.1]:8188",
    "http://0.0.0.0:8188",
    "http://[::]:8188",
    "http://127.1:8188",
    "http://2130706433:8188",
    "http://me:secret@localhost:8188",
    "127.0.0.1:8188@alpha",
    "http://localhost:8188@alpha",
]


@pytest.mark.usefixtures("on_host")
@pytest.mark.parametrize("text", LOOPBACK)
def test_every_spelling_of_loopback_is_one_server_of_this_host(text: str) -> None:
    assert canonical_name(text) == "127.0.0.1:8188@alpha"
    assert same_server(text, "localhost:8188")
    assert other_host(text) is None


@pytest.mark.usefixtures("on_host")
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("127.0.0.1:8188", "127.0.0.1:8189"),
        ("127.0.0.1:8188", "127.0.0.2:8188"),
        ("127.0.0.1:8188", "127.0.0.1:8188@beta"),
        ("127.0.0.1:8188@beta", "127.0.0.1:8188@gamma"),
        ("http://127.0.0.1:8188", "https://127.0.0.1:8188"),
        ("127.0.0.1:8188", "127.0.0.1:8188/prefix"),
        ("http://alpha:8188", "http://127.0.0.1:8188"),
        ("169.254.3.4:8188", "169.254.3.4:8188@beta"),
        ("[fe80::1%25eth0]:8188", "[fe80::1%25eth1]:8188"),
        ("gpu1", "gpu2"),
        ("gpu1", "http://gpu1:8188"),
        ("gpu1", "GPU1"),
    ],
)
def test_these_are_two_servers(one: str, other: str) -> None:
    assert not same_server(one, other)


@pytest.mark.usefixtures("on_host")
@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("gpu1:8188", "http://gpu1:8188"),
        ("HTTP://GPU1:80/", "http://gpu1"),
        ("https://gpu1:443/comfy/", "https://gpu1/comfy"),
        ("10.0.0.7:8188", "http://10.0.0.7:8188"),
        ("[2001:DB8:0:0::7]:8188", "http://[2001:db8::7]:8188"),
        ("http://user:word@gpu1:8188", "http://gpu1:8188"),
        ("http://localhost", "127.0.0.1:80@alpha"),
        ("https://localhost:8443/x/", "https://127.0.0.1:8443/x@alpha"),
        ("169.254.3.4:8188", "169.254.3.4:8188@alpha"),
        ("[fe80::1%25eth0]:8188", "[fe80::1%eth0]:8188@alpha"),
    ],
)
def test_a_server_that_nobody_named_is_called_by_its_address_in_one_spelling(text: str, name: str) -> None:
    assert parse_server(text).name == name == default_name(text) == canonical_name(name)


hosts = st.sampled_from(["alpha", "beta", "gpu-1.lan"])
addresses = st.builds(
    lambda scheme, host, port, path: f"{scheme}{host}:{port}{path}",
    st.sampled_from(["", "http://", "https://"]),
    st.sampled_from(["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "0.0.0.0", "169.254.7.7", "[fe80::2]", "gpu1"]),
    st.integers(1, 65535),
    st.sampled_from(["", "/", "/a", "/a/b/"]),
)
names = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,20}\Z").filter(is_given_name)
texts = st.one_of(addresses, names, st.builds(lambda text, host: f"{text}@{host}", addresses, hosts), st.text())


@given(texts, hosts)
def test_a_name_is_its_own_one_spelling_on_every_host(text: str, host: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        call_host(patch, host)
        name = canonical_name(text)
        assert canonical_name(name) == name
        assert same_server(text, name)
    with pytest.MonkeyPatch.context() as patch:
        call_host(patch, "somewhere-else")
        if other_host(name) is not None:
            assert other_host(name) in (host, text.rpartition("@")[2])
        if is_given_name(text) or "@" in name:
            assert canonical_name(name) == name


@given(addresses, hosts, hosts)
def test_loopback_is_another_server_on_another_host_and_nothing_else_is(text: str, one: str, other: str) -> None:
    found = []
    for host in (one, other):
        with pytest.MonkeyPatch.context() as patch:
            call_host(patch, host)
            found.append(default_name(text))
    assert (found[0] == found[1]) == (one == other or "gpu1" in text)


@given(
    st.lists(st.one_of(addresses, st.builds(lambda name, url: f"{name}={url}", names, addresses)), min_size=1), hosts
)
def test_what_settings_keep_is_read_again_on_the_same_host(words: list[str], host: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        call_host(patch, host)
        try:
            servers = parse_servers(words, source="--server")
        except SettingsError:
            return
        assert read_servers(servers_table(servers), source="settings.toml") == servers
        for server in servers:
            assert find_server(server.name, servers) == server == find_server(server.url, servers)


@pytest.mark.usefixtures("on_host")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["=http://gpu1"], "no name before ="),
        (["g/pu=http://gpu1"], "a server's name has at most 64"),
        (["gpu:1=http://gpu1"], "a server's name has at most 64"),
        (["gpu\u00fc=http://gpu1"], "a server's name has at most 64"),
        (["-gpu=http://gpu1"], "a server's name has at most 64"),
        (["g" * 65 + "=http://gpu1"], "a server's name has at most 64"),
        (["10.0.0.7=http://gpu1"], "is an address, not a name"),
        (["localhost=http://gpu1"], "is an address, not a name"),
        (["gpu1="], "must be http:// or https:// and a host"),
        (["gpu1=ftp://x"], "must be http:// or https:// and a host"),
        (["gpu1=http://u:hunter2/x@b"], "cannot be read"),
        (["gpu1=http://a", "gpu1=http://b"], "gpu1 is both http://a and http://b"),
        (["gpu1=http://a", "gpu2=http://a:80/"], "gpu1 and gpu2 are both http://a"),
        (["127.0.0.1:8188@beta"], "the name of a server of host beta"),
    ],
)
def test_bad_input_gets_one_clear_error(words: list[str], told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse_servers(words, source="--server")
    assert str(refused.value).startswith("--server")
    assert told in str(refused.value)
    assert "hunter2" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize(
    ("word", "server"),
    [
        ("gpu1=http://10.0.0.7:8188/", Server("gpu1", "http://10.0.0.7:8188")),
        ("gpu1=10.0.0.7:8188", Server("gpu1", "http://10.0.0.7:8188")),
        ("gpu1=http://me:a=b@gpu", Server("gpu1", "http://gpu", "me:a=b")),
        ("http://gpu/a=b", Server("http://gpu/a=b", "http://gpu/a=b")),
        ("me:a=b@gpu:1", Server("http://gpu:1", "http://gpu:1", "me:a=b")),
    ],
)
def test_what_stands_before_an_equals_sign_is_a_name_or_belongs_to_the_address(word: str, server: Server) -> None:
    assert parse_server(word) == server
    assert "a=b" not in repr(parse_server("gpu1=http://me:a=b@gpu"))


@pytest.fixture
def state(tmp_path: Path, on_host: pytest.MonkeyPatch) -> Path:
    return tmp_path / "re_render_state.json"


def keep(state: Path, *words: str) -> None:
    save_settings(state, Settings(output_dir=state.parent / "output", servers=parse_servers(words, source="")))


def said(state: Path, *words: str) -> tuple[Server, ...]:
    return load_settings(state, Overrides(servers=words)).servers


GPU1, GPU2 = Server("gpu1", "http://10.0.0.7:8188"), Server("gpu2", "https://gpu2/comfy")


def test_settings_hold_servers_by_name(state: Path) -> None:
    keep(state, "gpu1=http://10.0.0.7:8188", "gpu2=https://gpu2/comfy", "http://gpu3:8188")
    assert 'gpu1 = "http://10.0.0.7:8188"' in (parts_of(state).settings.read() or "")
    assert load_settings(state).servers == (GPU1, GPU2, Server("http://gpu3:8188", "http://gpu3:8188"))


def test_a_flag_may_choose_a_known_server_by_name_or_address(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(state, "gpu1=http://10.0.0.7:8188", "gpu2=https://gpu2/comfy")
    assert said(state, "gpu2") == (GPU2,)
    assert said(state, "10.0.0.7:8188/", "gpu1") == (GPU1,)
    assert said(state, "gpu1=http://10.0.0.7:8188") == (GPU1,)
    monkeypatch.setenv("COMFYUI_URL", "gpu2, gpu1 gpu9=http://gpu9")
    assert load_settings(state).servers == (GPU2, GPU1, Server("gpu9", "http://gpu9"))
    settings = load_settings(state, Overrides(servers=("gpu2",)))
    assert settings.find_server("gpu1") == settings.find_server("http://10.0.0.7:8188") == GPU1


def test_a_known_name_with_another_address_is_refused_and_the_way_is_named(state: Path) -> None:
    """What is out on gpu1 would be looked for at the wrong place, called gone, and rendered twice."""
    keep(state, "gpu1=http://10.0.0.7:8188")
    with pytest.raises(SettingsError, match=r"^servers: gpu1 is http://10.0.0.7:8188.*server_moved=\('gpu1', 'URL'\)"):
        said(state, "gpu1=http://10.0.0.8:8188")


def test_a_loopback_server_that_is_kept_is_each_host_s_own(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(state, "http://localhost:8188")
    assert [server.name for server in load_settings(state).servers] == ["127.0.0.1:8188@alpha"]
    call_host(monkeypatch, "beta")
    assert [server.name for server in load_settings(state).servers] == ["127.0.0.1:8188@beta"]


def write(state: Path, text: str) -> None:
    parts_of(state).settings.write(text)


def test_a_table_written_by_hand(state: Path) -> None:
    write(
        state,
        """
        [servers]
        gpu1 = "10.0.0.7:8188"
        "http://old:8188" = "http://new:8188"
        "127.0.0.1:8188@beta" = "http://beta:8188"
        "127.0.0.1:8189@beta" = "http://127.0.0.1:8189"
        "localhost:8188" = "http://127.0.0.1:9999"
        """,
    )
    assert [(server.name, server.url) for server in load_settings(state).servers] == [
        ("gpu1", "http://10.0.0.7:8188"),
        ("http://old:8188", "http://new:8188"),
        ("127.0.0.1:8188@beta", "http://beta:8188"),
        ("127.0.0.1:8188@alpha", "http://127.0.0.1:9999"),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[servers]\n", "servers"),
        ("[servers]\ngpu1 = 3", "servers"),
        ("[servers]\ngpu1 = 'ftp://x'", r"servers, gpu1: .*http:// or https://"),
        ("[servers]\n'http://a' = 'http://b'\n'http://a:80' = 'http://c'", "http://a is both http://b and http://c"),
        ("[servers]\n'ftp://u:hunter2@x' = 'http://b'", r"servers, a name: .*http:// or https://"),
        ("[servers]\n'127.0.0.1:1@beta' = 'http://127.0.0.1:1'", "other hosts' loopback servers"),
    ],
)
def test_a_bad_table_names_the_place(state: Path, text: str, told: str) -> None:
    write(state, text)
    with pytest.raises(SettingsError, match=told) as refused:
        load_settings(state)
    assert "settings.toml" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_a_name_that_is_an_old_address_means_that_server_also_where_another_one_lives_there_now(state: Path) -> None:
    write(state, "[servers]\ngpu9 = 'http://old'\n'http://old' = 'http://new'")
    gpu9, moved = load_settings(state).servers
    assert (gpu9, moved) == (Server("gpu9", "http://old"), Server("http://old", "http://new"))
    settings = load_settings(state)
    assert settings.find_server("http://old") == moved == settings.find_server("http://new")
    assert settings.find_server("gpu9") == gpu9


def test_headers_of_one_server_go_by_name_or_address(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "secret")
    write(
        state,
        """
        [servers]
        gpu1 = "http://10.0.0.7:8188"
        gpu2 = "https://gpu2/comfy"
        gpu3 = "http://gpu3"
        [headers.gpu1]
        X-Key = "env:KEY"
        [headers."https://gpu2/comfy/"]
        X-Key = "env:KEY"
        """,
    )
    settings = load_settings(state)
    save_settings(state, settings)
    assert load_settings(state) == settings
    keyed = [bool(settings.resolved_headers(server)) for server in settings.servers]
    assert keyed == [True, True, False]
