"""`burst serve` as a process: where it listens, how it ends, what becomes of its bursts, what its bursts are told."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import requests
from support.projects import ROOT, Process
from support.server_process import ServerProcess
from support.serving import Served
from support.waiting import wait_until

from orchestrator.sandbox import Sandbox, SandboxSettings
from state.item import Status
from state.open_store import open_store, parts_of


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings(seconds_per_prompt=0.2)) as running:
        yield running


@contextlib.contextmanager
def serving(directory: Path, server: str, *options: str, **variables: str) -> Iterator[Served]:
    with Served(directory, servers=[server], options=options, env=variables) as served:
        try:
            yield served
        finally:
            served.kill()
            wait_until(lambda: not is_held(served), what="every burst to have ended")


def counts(served: Served) -> dict[Status, int]:
    with open_store(served.state, read_only=True) as store:
        return store.counts()


def is_held(served: Served) -> bool:
    return parts_of(served.state).is_leased()


def check_rendered_once(sandbox: Sandbox, count: int) -> None:
    assert list(sandbox.counts()["rendered_by_item"].values()) == [1] * count


def process(*arguments: str, cwd: Path, env: Mapping[str, str]) -> Process:
    return Process([sys.executable, "-m", "burst", *arguments], cwd=cwd, env={**env, "PYTHONPATH": str(ROOT)})


def generate(served: Served, server: str, *more: str) -> Process:
    said = ("--prompt", "an owl", "--template", "smoke", "--server", server, "--output", str(served.output))
    return process("generate", "--state", str(served.state), *said, *more, cwd=served.home, env=os.environ)


def test_killed_in_mid_batch_its_burst_goes_on_and_the_next_one_shows_it(tmp_path: Path, sandbox: Sandbox) -> None:
    with serving(tmp_path, sandbox.url) as served:
        batch = served.begin(count=10)
        served.wait_for_completed(batch, 1)
        with requests.Session() as page:
            # Its connection ends with the server, whose port is to be had again all the same.
            page.get(f"{served.url}/api/states", timeout=30)
            served.kill()
        served.start()
        assert served.wait_for_end(batch)["progress"]["status"] == "complete"
    check_rendered_once(sandbox, 10)


def test_killed_with_its_burst_the_next_one_goes_on(tmp_path: Path, sandbox: Sandbox) -> None:
    with serving(tmp_path, sandbox.url) as served:
        batch = served.begin(count=10)
        served.wait_for_completed(batch, 1)
        (holder,) = parts_of(served.state).holders()
        served.kill()
        os.kill(holder.pid, signal.SIGKILL)
        wait_until(lambda: not is_held(served), what="the burst to be dead")
        assert counts(served)[Status.COMPLETED] < 10
        served.start()
        assert served.wait_for_end(batch)["progress"]["status"] == "complete"
    check_rendered_once(sandbox, 10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_its_burst_and_leaves_the_work_due(
    tmp_path: Path, sandbox: Sandbox, number: signal.Signals
) -> None:
    with serving(tmp_path, sandbox.url) as served:
        batch = served.begin(count=20)
        served.wait_for_completed(batch, 1)
        assert served.end(number) == 128 + number, "as everybody expects of a signal"
        assert not is_held(served)
    found = counts(served)
    assert found[Status.PENDING] + found[Status.SUBMITTED] > 0
    assert found[Status.FAILED] == 0


def test_another_bursts_work_is_left_to_it(tmp_path: Path, sandbox: Sandbox) -> None:
    """Two at work on one state would render twice; the other one's end is waited for."""
    with serving(tmp_path, sandbox.url) as served, generate(served, sandbox.url, "--count", "8") as other:
        wait_until(served.state.exists, what="the other one to begin")
        batch = served.begin(count=3)
        assert served.wait_for_end(batch)["progress"]["status"] == "complete"
        assert other.end().code == 0
    check_rendered_once(sandbox, 11)


def test_what_a_person_queues_is_worked_off_too(tmp_path: Path, sandbox: Sandbox) -> None:
    with serving(tmp_path, sandbox.url) as served:
        with generate(served, sandbox.url, "--queue-only") as queues:
            assert queues.end().code == 0
        wait_until(lambda: counts(served)[Status.COMPLETED] == 1, what="it to be rendered")


def test_a_server_that_is_away_is_said_and_waited_for(tmp_path: Path) -> None:
    with contextlib.ExitStack() as held:
        server = ServerProcess(tmp_path / "server", batch_size=1, proxied=False, seconds_per_prompt=0.2)
        held.callback(server.close)
        served = held.enter_context(serving(tmp_path, server.url))
        batch = served.begin(count=20)
        server.kill()
        said = wait_until(lambda: served.progress(batch)["message"], what="the reason to be shown")
        assert server.url.removeprefix("http://") in said
        had = served.progress(batch)["progress"]["completedImages"]
        server.start()
        served.wait_for_completed(batch, had + 1)
        wait_until(lambda: served.progress(batch)["message"] is None, what="nothing more to be said")
        assert served.wait_for_end(batch)["progress"]["status"] == "complete"


def test_off_loopback_it_makes_up_a_token(tmp_path: Path, sandbox: Sandbox) -> None:
    with serving(tmp_path, sandbox.url, "--host", "0.0.0.0") as served:
        token = served.printed_url.partition("/?token=")[2]
        assert len(token) >= 24
        local = f"http://127.0.0.1:{served.url.rpartition(':')[2]}/api/options"
        assert requests.get(local, timeout=30).status_code == 401
        assert requests.get(local, headers={"Authorization": f"Bearer {token}"}, timeout=30).status_code == 200


def test_the_token_may_be_chosen(tmp_path: Path, sandbox: Sandbox) -> None:
    with serving(tmp_path, sandbox.url, "--token-env", "MY_TOKEN", MY_TOKEN="sesame") as served:
        assert served.printed_url.endswith("/?token=sesame")
        assert served.call("GET", "/api/options").status_code == 401
        assert served.call("GET", "/api/options", headers={"Authorization": "Bearer sesame"}).status_code == 200


def test_the_other_loopback_address(tmp_path: Path, sandbox: Sandbox) -> None:
    with serving(tmp_path, sandbox.url, "--host", "::1") as served:
        assert re.fullmatch(r"http://\[::1\]:\d+/", served.printed_url), "no token is needed here"
        assert served.call("GET", "/api/options").status_code == 200
        batch = served.begin()
        assert served.wait_for_end(batch)["progress"]["completedImages"] == 2


def test_bound_to_all_addresses_it_is_reached_by_its_own_names_and_those_that_are_allowed(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    options = ("--host", "0.0.0.0", "--allow-host", "Pictures.example", "--token-env", "MY_TOKEN")
    with serving(tmp_path, sandbox.url, *options, MY_TOKEN="a+b&c") as served:
        assert served.printed_url.endswith("/?token=a%2Bb%26c"), "as an address has to have it"
        local = f"http://127.0.0.1:{served.url.rpartition(':')[2]}"
        port = local.rpartition(":")[2]
        for name, status in (
            (socket.gethostname(), 200),
            (f"{socket.gethostname()}.local", 200),
            ("192.168.1.5", 200),
            ("pictures.example", 200),
            ("evil.example", 403),
        ):
            headers = {"Host": f"{name}:{port}", "Authorization": "Bearer a+b&c"}
            assert requests.get(f"{local}/api/options", headers=headers, timeout=30).status_code == status, name
        assert requests.get(served.printed_url, timeout=30).status_code == 200, "what is printed can be opened"
        with requests.Session() as browser:
            query = served.printed_url.partition("?")[2]
            assert browser.get(f"{local}/api/options?{query}", timeout=30).url == f"{local}/api/options"


def test_two_of_them_on_one_state_both_show_it_and_one_works_at_a_time(tmp_path: Path, sandbox: Sandbox) -> None:
    with serving(tmp_path, sandbox.url) as one, serving(tmp_path, sandbox.url) as other:
        assert one.url != other.url
        batches = [served.begin(count=4) for served in (one, other, one)]
        for batch in batches:
            for served in (one, other):
                assert served.wait_for_end(batch)["progress"]["completedImages"] == 4
    check_rendered_once(sandbox, 12)


@pytest.mark.parametrize(
    ("arguments", "variables", "names"),
    [
        ((), {}, ["re_render_state.json"]),
        ((), {"BURST_STATE": "said.json"}, ["said.json"]),
        (("--state", "b.json", "--state", "a.json"), {"BURST_STATE": "said.json"}, ["b.json", "a.json"]),
    ],
    ids=["default", "variable", "flags"],
)
def test_which_states_it_shows(
    tmp_path: Path, arguments: tuple[str, ...], variables: dict[str, str], names: list[str]
) -> None:
    plain = {name: value for name, value in os.environ.items() if name != "BURST_STATE"}
    with process("serve", "--json", "--port", "0", *arguments, cwd=tmp_path, env={**plain, **variables}) as serves:
        wait_until(lambda: "\n" in serves.out_so_far() or not serves.lives(), what="the URL")
        url = json.loads(serves.out_so_far())["url"]
        shown = requests.get(f"{url}api/states", timeout=30).json()
    assert [one["path"] for one in shown] == [str(tmp_path / name) for name in names]


def refused(directory: Path, *arguments: str) -> str:
    """What `burst serve` says to this."""
    with process("serve", *arguments, cwd=directory, env=os.environ) as refused:
        done = refused.end()
    assert done.code == 2
    return done.err.strip()


def test_a_port_that_is_taken_is_one_clear_message(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = refused(tmp_path, "--port", port)
    assert said.endswith(f" burst: cannot listen on 127.0.0.1:{port}: Address already in use; try --port 0")
    assert len(said.splitlines()) == 1


def test_a_token_variable_that_is_not_set_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "NO_SUCH_VARIABLE" in refused(tmp_path, "--token-env", "NO_SUCH_VARIABLE")
    monkeypatch.setenv("EMPTY_VARIABLE", "")
    assert "EMPTY_VARIABLE" in refused(tmp_path, "--token-env", "EMPTY_VARIABLE")
