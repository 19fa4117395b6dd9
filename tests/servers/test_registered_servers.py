"""Servers that are registered in a state: what `burst servers` changes, and which of them a run uses."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.state_scenes import NOON
from support.stores import KINDS, State

from orchestrator import add_servers, drain_servers, enable_servers, init, list_servers, remove_servers
from orchestrator.cycle.request import Request
from orchestrator.cycle.run import Run
from orchestrator.errors import SettingsError, UsageError
from orchestrator.servers import this_host
from orchestrator.settings import Overrides, Settings, kept_settings, load_settings, remember_servers, save_settings
from state.burst_record import BurstRecord
from state.change import Change
from state.facts import ServerHealth
from state.item import Item, Status
from state.location import state_path
from state.open_store import open_store

GPU1, GPU2 = "http://10.0.0.7:8188", "http://10.0.0.8:8188"
LOOPBACK = "http://127.0.0.1:8188"


@pytest.fixture(params=[kind for kind in KINDS if kind.name != "postgresql"], ids=lambda kind: kind.name)
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A state of some kind; the contract tests show that all kinds keep facts alike."""
    with State(request.param, tmp_path) as made:
        made.open(create=True)
        yield state_path(str(made.address))


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes this process one of another host."""
    return lambda name: monkeypatch.setattr(socket, "gethostname", lambda: name)


def names(state: Path) -> list[str]:
    return [one.server.name for one in list_servers(state).servers]


def used(state: Path, *given: str) -> list[str]:
    """The servers of a run."""
    settings = load_settings(state, Overrides(servers=given))
    settings.check_servers()
    return [server.argument for server in settings.servers]


def submit(state: Path, *servers: str) -> None:
    """An item for each, submitted to it."""
    with open_store(state) as store:
        store.add([Item(key=f"{at}.txt", status=Status.PENDING, prompt_text="x") for at in range(len(servers))])
        for at, server in enumerate(servers):
            store.apply([Change(f"{at}.txt", Status.PENDING, sent_to(server, f"id-{at}"))])


def sent_to(server: str, prompt_id: str) -> Callable[[Item], Item]:
    return lambda now: now.submit(prompt_id=prompt_id, server=server, at=NOON, fingerprint="f")


# Registering


def test_added_twice_is_once_and_what_is_said_anew_replaces_what_was_said(state: Path) -> None:
    add_servers(state, [f"gpu1={GPU1}", GPU2], labels=["big", "fast"], window=3)
    (gpu1, gpu2) = list_servers(state).servers
    assert (gpu1.server.labels, gpu1.server.window, gpu2.server.name) == (("big", "fast"), 3, GPU2)
    again = add_servers(state, [f"gpu1={GPU1}"])
    assert again.notes == (f"gpu1 is registered already, as {GPU1}",)
    add_servers(state, ["gpu1"], labels=["big"], window=0)
    (gpu1, _) = list_servers(state).servers
    assert (gpu1.server.labels, gpu1.server.window) == (("big",), None)
    assert names(state) == ["gpu1", GPU2]


def test_an_address_gets_a_name_later_and_has_one_only(state: Path) -> None:
    add_servers(state, [GPU1], labels=["big"])
    add_servers(state, [f"gpu1={GPU1}"])
    (gpu1,) = list_servers(state).servers
    assert (gpu1.server.name, gpu1.server.labels) == ("gpu1", ("big",))
    add_servers(state, [GPU1], window=2)
    (gpu1,) = list_servers(state).servers
    assert (gpu1.server.name, gpu1.server.window) == ("gpu1", 2)
    for wrong in ([f"gpu2={GPU1}"], [f"gpu2={GPU2}", f"gpu3={GPU2}"], [f"gpu2={GPU2}", f"gpu3={GPU1}"]):
        with pytest.raises(UsageError, match="name it once"):
            add_servers(state, wrong)
    assert names(state) == ["gpu1"], "none is registered where one is refused"


def test_a_password_is_never_kept(state: Path) -> None:
    with pytest.raises(UsageError, match="password") as refused:
        add_servers(state, ["http://me:hunter2@10.0.0.7:8188"])
    assert "hunter2" not in str(refused.value)
    assert names(state) == []


def test_a_changed_address_is_a_move(state: Path) -> None:
    """Records that mean it by its address follow; so does `--server-moved` change what is registered."""
    add_servers(state, [f"gpu1={GPU1}"], labels=["big"])
    submit(state, GPU1, "gpu1")
    report = add_servers(state, [f"gpu1={GPU2}"])
    assert report.notes[0] == f"gpu1 has moved from {GPU1} to {GPU2}"
    assert "2 items out on gpu1 looked for at" in report.notes[1]
    (gpu1,) = list_servers(state).servers
    assert (gpu1.server.url, gpu1.server.labels, gpu1.submitted) == (GPU2, ("big",), 2)
    assert used(state) == [f"gpu1={GPU2}"]


def test_a_move_of_a_run_changes_what_is_registered(state: Path) -> None:
    add_servers(state, [f"gpu1={GPU1}", f"gpu2={LOOPBACK}"], labels=["big"])
    Run(Request(state=state, server_moved=("gpu1", GPU2))).execute()
    assert used(state) == [f"gpu1={GPU2}", f"gpu2={LOOPBACK}"]
    assert list_servers(state).servers[0].server.labels == ("big",)


# Taking out


def test_a_server_with_items_is_not_removed(state: Path) -> None:
    add_servers(state, [f"gpu1={GPU1}", f"gpu2={GPU2}"])
    submit(state, "gpu1", "gpu1", GPU2)
    for name, count in (("gpu1", "2 items"), ("gpu2", "1 item")):
        with pytest.raises(UsageError, match=f"{count} submitted to {name}; `burst servers drain {name}`"):
            remove_servers(state, [name])
    with pytest.raises(UsageError, match="gpu3: no server of this name"):
        remove_servers(state, ["gpu1", "gpu3"])
    assert names(state) == ["gpu1", "gpu2"]
    add_servers(state, ["http://10.0.0.9"])
    remove_servers(state, ["http://10.0.0.9:80"])
    assert names(state) == ["gpu1", "gpu2"]


def test_drained_and_enabled(state: Path) -> None:
    add_servers(state, [f"gpu1={GPU1}", f"gpu2={GPU2}"])
    submit(state, "gpu1")
    assert drain_servers(state, ["gpu1", GPU2]).notes == (
        "gpu1 is draining: runs collect what it has (1 item)",
        "gpu2 is draining: nothing is submitted to it",
    )
    drain_servers(state, ["gpu1"])
    assert [one.server.draining for one in list_servers(state).servers] == [True, True]
    assert "still draining" in add_servers(state, ["gpu1"], window=4).notes[0]
    enable_servers(state, ["gpu1"])
    enable_servers(state, ["gpu1"])
    assert [one.server.draining for one in list_servers(state).servers] == [False, True]


# Which of them a run uses


def test_a_run_uses_what_is_named_else_what_is_registered_else_the_settings(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert used(state) == [LOOPBACK], "the default"
    save_settings(
        state,
        Settings(output_dir=Path("out"), servers=load_settings(state, Overrides(servers=("old=http://old",))).servers),
    )
    assert used(state) == ["old=http://old:80"] or used(state) == ["old=http://old"]
    report = add_servers(state, [f"gpu1={GPU1}"])
    assert "not those of the settings: old" in report.notes[-1]
    assert used(state) == [f"gpu1={GPU1}"]
    assert used(state, "gpu2=" + GPU2) == [f"gpu2={GPU2}"]
    assert used(state, "gpu1", GPU2) == [f"gpu1={GPU1}", GPU2], "a registered name is known"
    assert used(state, GPU1) == [f"gpu1={GPU1}"], "and an address has its name"
    with pytest.raises(SettingsError, match="gpu1 is http"):
        used(state, f"gpu1={GPU2}")
    monkeypatch.setenv("COMFYUI_URL", GPU2)
    assert used(state) == [GPU2]
    monkeypatch.delenv("COMFYUI_URL")
    remove_servers(state, ["gpu1"])
    assert used(state) == ["old=http://old"]


def test_the_window_is_how_many_prompts_it_gets(state: Path) -> None:
    add_servers(state, [f"gpu1={GPU1}"], window=3)
    settings = load_settings(state)
    assert settings.options_of(settings.servers[0]).at_once == 3


def test_what_is_registered_is_not_copied_into_the_settings(state: Path, tmp_path: Path) -> None:
    """`init` a second time, and a request that names a registered server."""
    prompts = tmp_path / "prompts"
    prompts.mkdir()
    (prompts / "a.txt").write_text("a fox")
    add_servers(state, [f"gpu1={GPU1}"])
    init(state, [prompts], overrides=Overrides(template="smoke"))
    remember_servers(state, load_settings(state, Overrides(servers=("gpu1",))).servers)
    assert [server.url for server in kept_settings(state).all_servers] == [LOOPBACK]
    init(state, [prompts], overrides=Overrides(servers=(f"gpu2={GPU2}",)))
    assert [server.argument for server in kept_settings(state).all_servers] == [f"gpu2={GPU2}"]
    assert used(state) == [f"gpu1={GPU1}"]


def test_a_loopback_server_is_its_host_s_alone(state: Path, elsewhere: Any) -> None:
    """Another host neither uses it nor takes its own server of the same address, or name, for it."""
    add_servers(state, [f"gpu1={LOOPBACK}", LOOPBACK.replace("8188", "8189")])
    here = this_host()
    assert names(state) == ["gpu1", f"127.0.0.1:8189@{here}"]
    assert used(state) == [f"gpu1={LOOPBACK}", "http://127.0.0.1:8189"]
    elsewhere("other")
    with pytest.raises(SettingsError, match=f"none of the registered servers can be reached.*gpu1 is on host {here}"):
        used(state)
    with pytest.raises(SettingsError, match=f"gpu1 is registered as .* of host {here}"):
        used(state, f"gpu1={LOOPBACK}")
    with pytest.raises(UsageError, match=f"gpu1 is registered as .* of host {here}, and .*\\(other\\)"):
        add_servers(state, [f"gpu1={LOOPBACK}"])
    assert used(state, LOOPBACK) == [LOOPBACK], "its own"
    with pytest.raises(SettingsError, match=f"gpu1 can only be reached from host {here}"):
        load_settings(state).server_named("gpu1")
    add_servers(state, [f"gpu2={LOOPBACK}"])
    assert used(state) == [f"gpu2={LOOPBACK}"]
    drain_servers(state, ["gpu1"])
    assert [one.server.draining for one in list_servers(state).servers] == [True, False, False]
    add_servers(state, [f"gpu1={GPU1}"])
    assert used(state) == [f"gpu1={GPU1}", f"gpu2={LOOPBACK}"], "moved to where it can be reached"
    elsewhere(here)
    assert used(state) == [f"gpu1={GPU1}", "http://127.0.0.1:8189"]


# The list


def record(ended: str, *, servers: tuple[str, ...] = (), away: tuple[str, ...] = (), minute: int = 0) -> BurstRecord:
    at = NOON.replace(minute=minute)
    return BurstRecord(
        burst=f"b{minute}", started_at=at, ended_at=at, ended=ended, size=1, completed=len(servers), servers=servers,
        away=away, reason="no answer" if away else None,
    )  # fmt: skip


def test_the_list_says_how_each_server_is(state: Path) -> None:
    add_servers(state, [f"gpu1={GPU1}", f"gpu2={GPU2}", "gpu3=http://10.0.0.9"])
    submit(state, "gpu1")
    with open_store(state) as store:
        for one in (
            record("done", servers=("gpu1", "gpu2"), minute=1),
            record("error", away=("gpu2",), minute=2),
            record("error", away=("gpu2",), servers=("gpu1",), minute=3),
        ):
            store.bursts.append(one)
        store.facts.append(ServerHealth(server="gpu1", health="sick", at=NOON, reason="no luck"))
        with store.lease() as lease:
            lease.begin_burst(burst="now", size=1, started_at=NOON, run_started_at=NOON, servers=["gpu3"])
            one, two, three = list_servers(state).as_json()["servers"]
    assert (one["health"], one["health_reason"], one["submitted"]) == ("sick", "no luck", 1)
    assert (two["health"], two["health_since"]) == ("away", NOON.replace(minute=2).isoformat())
    assert (one["last_completed_at"], two["last_completed_at"]) == (
        NOON.replace(minute=3).isoformat(),
        NOON.replace(minute=1).isoformat(),
    )
    assert (three["health"], three["last_completed_at"]) == ("unknown", None)
    assert [run["burst"] for run in three["runs"]] == ["now"]
    assert (one["runs"], two["runs"], one["submitted_since"]) == ([], [], NOON.isoformat())
    text = list_servers(state).as_text()
    assert "gpu2  http://10.0.0.8:8188: enabled\n  away since" in text
    assert "1 item submitted since" in text
