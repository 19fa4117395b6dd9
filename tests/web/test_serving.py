"""`burst serve` as a process: where it listens, how it ends, what becomes of its bursts, what its bursts are told."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from server_process import ServerProcess
from waiting import wait_until

from orchestrator import itself
from orchestrator.sandbox import Sandbox, SandboxSettings
from state.item import Status
from state.json_store import JsonStore, burst_folder
from state.run_lock import RunLock


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings(seconds_per_prompt=0.2)) as running:
        yield running


class Process:
    """`burst serve --json`, once it has said where."""

    def __init__(self, directory: Path, *arguments: str, **variables: str) -> None:
        self.directory = directory
        self._running = subprocess.Popen(
            itself.command("serve", "--json", "--port", "0", *arguments),
            cwd=directory,
            env=itself.environment({**os.environ, **variables}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._running.stdout is not None
        line = self._running.stdout.readline()
        assert line, self._running.communicate()[1]
        self.said: dict[str, Any] = json.loads(line)
        self.url: str = self.said["url"].rstrip("/")

    def post(self, path: str, body: Any = None, **headers: str) -> requests.Response:
        return requests.post(self.url + path, json=body, headers={"Origin": self.url, **headers}, timeout=30)

    def start(self, count: int) -> str:
        answer = self.post("/api/batches", {"batchRequest": {"prompt": "a fox", "batchCount": count}})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["batchId"])

    def progress(self, batch: str) -> dict[str, Any]:
        return dict(requests.get(f"{self.url}/api/batches/{batch}/progress", timeout=30).json()["progress"])

    def end(self, number: signal.Signals) -> int:
        self._running.send_signal(number)
        code = self._running.wait(30)
        self._running.communicate()
        return code


@contextlib.contextmanager
def serving(directory: Path, *arguments: str, **variables: str) -> Iterator[Process]:
    process = Process(directory, *arguments, **variables)
    try:
        yield process
    finally:
        process.end(signal.SIGKILL)
        _wait_until_nobody_works(directory)


def counts(directory: Path) -> dict[Status, int]:
    with contextlib.closing(JsonStore.open(directory / "re_render_state.json", read_only=True)) as store:
        return store.counts()


def told(sandbox: Sandbox) -> tuple[str, ...]:
    return ("--server", sandbox.url, "--template", "smoke", "--output", "renders")


def check_rendered_once(sandbox: Sandbox, count: int) -> None:
    assert list(sandbox.counts()["rendered_by_item"].values()) == [1] * count


def _wait_until_nobody_works(directory: Path) -> None:
    folder = burst_folder(directory / "re_render_state.json")
    wait_until(lambda: not folder.exists() or not RunLock(folder).is_held(), what="every burst to have ended")


def test_killed_in_mid_batch_the_burst_goes_on_and_the_next_one_shows_it(tmp_path: Path, sandbox: Sandbox) -> None:
    with serving(tmp_path, *told(sandbox)) as first:
        batch = first.start(10)
        wait_until(lambda: first.progress(batch)["completedImages"], what="a first picture")
        first.end(signal.SIGKILL)
    with serving(tmp_path, *told(sandbox)) as second:
        wait_until(lambda: second.progress(batch)["status"] == "complete", what="the batch to be done")
    check_rendered_once(sandbox, 10)


def test_killed_with_its_burst_the_next_one_goes_on(tmp_path: Path, sandbox: Sandbox) -> None:
    with serving(tmp_path, *told(sandbox)) as first:
        batch = first.start(10)
        wait_until(lambda: first.progress(batch)["completedImages"], what="a first picture")
        holder = RunLock(burst_folder(tmp_path / "re_render_state.json")).living_holder()
        assert holder is not None
        first.end(signal.SIGKILL)
        os.kill(holder.pid, signal.SIGKILL)
    assert counts(tmp_path)[Status.COMPLETED] < 10
    with serving(tmp_path, *told(sandbox)) as second:
        wait_until(lambda: second.progress(batch)["status"] == "complete", what="the batch to be done")
    check_rendered_once(sandbox, 10)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, -15), (signal.SIGINT, 130)])
def test_a_signal_ends_it_and_its_burst_and_leaves_the_work_due(
    tmp_path: Path, sandbox: Sandbox, number: signal.Signals, code: int
) -> None:
    with serving(tmp_path, *told(sandbox)) as process:
        batch = process.start(20)
        wait_until(lambda: process.progress(batch)["completedImages"], what="a first picture")
        assert process.end(number) in (code, 128 + number)
        assert not RunLock(burst_folder(tmp_path / "re_render_state.json")).is_held()
    found = counts(tmp_path)
    assert found[Status.PENDING] + found[Status.SUBMITTED] > 0
    assert found[Status.FAILED] == 0


def test_another_bursts_work_is_left_to_it(tmp_path: Path, sandbox: Sandbox) -> None:
    """Two at work on one state would render twice; the other one's end is waited for."""
    with serving(tmp_path, *told(sandbox)) as process:
        process.end(signal.SIGTERM)
    generate = itself.command("generate", "--prompt", "a fox", "--count", "8", *told(sandbox))
    with (
        subprocess.Popen(
            generate, cwd=tmp_path, env=itself.environment(os.environ), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as other,
        contextlib.ExitStack() as held,
    ):
        wait_until((tmp_path / "re_render_state.json").exists, what="the other one to begin")
        process = held.enter_context(serving(tmp_path, *told(sandbox)))
        batch = process.start(3)
        wait_until(lambda: process.progress(batch)["status"] == "complete", what="both to be done")
        other.communicate(timeout=30)
        assert other.returncode == 0
    check_rendered_once(sandbox, 11)


def test_what_a_person_queues_is_worked_off_too(tmp_path: Path, sandbox: Sandbox) -> None:
    with serving(tmp_path, *told(sandbox)):
        done = subprocess.run(
            itself.command("generate", "--prompt", "an owl", "--queue-only", *told(sandbox)),
            cwd=tmp_path,
            env=itself.environment(os.environ),
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        wait_until(lambda: counts(tmp_path)[Status.COMPLETED] == 1, what="it to be rendered")


def test_a_server_that_is_away_is_said_and_waited_for(tmp_path: Path) -> None:
    with contextlib.ExitStack() as held:
        server = ServerProcess(tmp_path / "server", batch_size=1, proxied=False, seconds_per_prompt=0.2)
        held.callback(server.close)
        told_ = ("--server", server.url, "--template", "smoke", "--output", "renders")
        process = held.enter_context(serving(tmp_path, *told_))
        batch = process.start(20)
        server.kill()

        def message() -> str | None:
            answer = requests.get(f"{process.url}/api/batches/{batch}/progress", timeout=30)
            found: str | None = answer.json()["message"]
            return found

        said = wait_until(message, what="the reason to be shown")
        assert said is not None
        assert server.url in said
        server.start()
        wait_until(lambda: process.progress(batch)["status"] == "complete", what="the batch to be done")


def test_off_loopback_it_makes_up_a_token(tmp_path: Path, sandbox: Sandbox) -> None:
    with serving(tmp_path, *told(sandbox), "--host", "0.0.0.0") as process:
        url, _, token = process.said["url"].partition("/?token=")
        assert len(token) >= 24
        port = url.rpartition(":")[2]
        local = f"http://127.0.0.1:{port}"
        assert requests.get(f"{local}/api/options", timeout=30).status_code == 401
        said = {"Authorization": f"Bearer {token}"}
        assert requests.get(f"{local}/api/options", headers=said, timeout=30).status_code == 200


def test_the_token_may_be_chosen_and_is_not_printed_by_the_way(tmp_path: Path, sandbox: Sandbox) -> None:
    with serving(tmp_path, *told(sandbox), "--token-env", "MY_TOKEN", MY_TOKEN="sesame") as process:
        assert requests.get(f"{process.url.partition('/?')[0]}/api/options", timeout=30).status_code == 401


def test_a_port_that_is_taken_is_one_clear_message(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            itself.command("serve", "--port", port),
            cwd=tmp_path,
            env=itself.environment(os.environ),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.strip() == f"burst: cannot listen on 127.0.0.1:{port}: Address already in use; try --port 0"


def test_a_token_variable_that_is_not_set_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        itself.command("serve", "--token-env", "NO_SUCH_VARIABLE"),
        cwd=tmp_path,
        env=itself.environment(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "NO_SUCH_VARIABLE" in done.stderr
