"""Connections that are refused, reset, silent or not trusted, in the middle of whole bursts.

What workers make of lost and late responses is in cycle/test_spoiled_responses.py. Resets around the POST are in
kills/test_kill_cases.py, a download that goes on where it broke there too.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator

import pytest
import trustme
from support.burst_runs import Burst, SetTimes, check_done_once, check_next_run, check_untouched
from support.comfyui_loopback import closed_port
from support.projects import MakeProject
from support.proxy import Proxy

from orchestrator.log_lines import without_time
from orchestrator.sandbox import Sandbox
from state.item import Status

QUEUE = b'{"queue_running": [], "queue_pending": []}'


# No connection.


def test_a_refused_connection_is_one_message_and_exit_75(
    make_project: MakeProject, sandbox: Sandbox, burst: Burst
) -> None:
    with closed_port() as port:
        project = make_project(server=f"http://127.0.0.1:{port}")
        ended = project.run("--wait-server", "0")
    assert ended.code == 75
    reason = ended.report["reason"]
    assert reason.startswith(f"http://127.0.0.1:{port}: GET /api/queue: Connection refused; check that the server runs")
    assert without_time(ended.err.splitlines()[-1]) == f"burst: {reason}"
    assert "Traceback" not in ended.err
    check_untouched(project)
    check_next_run(project, sandbox, server=sandbox.url)


@contextlib.contextmanager
def full_backlog() -> Iterator[int]:
    """A port that takes no connection and refuses none: packets to it are dropped."""
    with contextlib.ExitStack() as held:
        listener = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = listener.getsockname()
        for _ in range(8):
            waiting = held.enter_context(socket.socket())
            waiting.settimeout(0.2)
            try:
                waiting.connect(address)
            except TimeoutError:
                break
        else:
            pytest.skip("this system takes connections beyond a listener's backlog")
        yield address[1]


def test_a_server_that_takes_no_connection(
    make_project: MakeProject, sandbox: Sandbox, burst: Burst, set_times: SetTimes
) -> None:
    set_times(connect_timeout_seconds=0.2, retry_seconds=0.3)
    with full_backlog() as port:
        project = make_project(server=f"http://127.0.0.1:{port}")
        report = burst(project)
    assert report.exit_code == 75
    assert report.reason is not None
    assert "GET /api/queue: no connection within 0.2 s; check that the server runs" in report.reason
    check_untouched(project)
    check_next_run(project, sandbox, server=sandbox.url)


def test_a_name_without_an_address(
    make_project: MakeProject,
    sandbox: Sandbox,
    burst: Burst,
    set_times: SetTimes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RES_OPTIONS", "timeout:1 attempts:1")
    set_times(retry_seconds=0.1)
    project = make_project(server="http://gpu7.invalid:8188")
    report = burst(project)
    assert report.exit_code == 75
    assert report.reason is not None
    assert report.reason.startswith("http://gpu7.invalid:8188: GET /api/queue: ")
    assert "its name has no address here; check its spelling" in report.reason
    check_untouched(project)
    check_next_run(project, sandbox, server=sandbox.url)


@contextlib.contextmanager
def unverified() -> Iterator[tuple[str, list[bytes]]]:
    """An https server whose certificate nobody vouches for, and what it was sent after a handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    listener = socket.create_server(("127.0.0.1", 0))
    received: list[bytes] = []

    def accept() -> None:
        while True:
            with contextlib.suppress(ssl.SSLError, ConnectionError):
                try:
                    plain, _ = listener.accept()
                except OSError:
                    return
                with plain, context.wrap_socket(plain, server_side=True) as client:
                    received.append(client.recv(1 << 16))

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield f"https://localhost:{listener.getsockname()[1]}", received
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_a_certificate_that_does_not_verify_says_what_to_do(
    make_project: MakeProject,
    sandbox: Sandbox,
    burst: Burst,
    set_times: SetTimes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That REQUESTS_CA_BUNDLE mends it is shown in test_comfyui_tls.py."""
    set_times(retry_seconds=0.1)
    with unverified() as (url, received):
        project = make_project(server=url)
        report = burst(project, headers={"Authorization": "Bearer secret-0123"})
    assert report.exit_code == 75
    assert report.reason is not None
    assert report.reason.startswith(f"{url}: GET /api/queue: ")
    assert "its certificate does not verify and nothing was sent" in report.reason
    assert "REQUESTS_CA_BUNDLE" in report.reason
    assert received == []
    check_untouched(project)
    check_next_run(project, sandbox, server=sandbox.url)


# Connections that break.


def test_resets_while_watching_and_fetching_are_tried_again(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst
) -> None:
    project = make_project(server=proxy.url)
    for request in ("GET /api/queue", "GET /api/history", "GET /api/view"):
        proxy.reset(request, times=2)
        proxy.reset_answers(request, times=1)
        proxy.reset_answers(request, after_bytes=60, times=1)
    proxy.reset_answers("GET /api/view", after_bytes=400, times=1)
    report = burst(project)
    assert (report.exit_code, report.reason, report.completed, report.put_back) == (0, None, 3, 0)
    assert proxy.spoilings_left() == 0
    check_done_once(project, sandbox)


# Silence.


@pytest.mark.parametrize(("request_", "after_bytes"), [("GET /api/history", 0), ("GET /api/view", 60)])
def test_silence_is_asked_again(
    make_project: MakeProject,
    sandbox: Sandbox,
    proxy: Proxy,
    burst: Burst,
    set_times: SetTimes,
    request_: str,
    after_bytes: int,
) -> None:
    """No answer, or the start of one and nothing more; the read time-out ends both."""
    set_times(read_timeout_seconds=0.4)
    project = make_project(server=proxy.url, count=2)
    proxy.hold_answers(request_, after_bytes=after_bytes, times=1)
    report = burst(project)
    assert proxy.held == 1
    assert (report.exit_code, report.completed, report.put_back) == (0, 2, 0)
    check_done_once(project, sandbox)


def test_a_server_that_takes_connections_and_says_nothing(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst, set_times: SetTimes
) -> None:
    """What is out stays submitted; the next burst collects it."""
    project = make_project(server=proxy.url, count=2)
    sandbox.hold()
    assert burst(project, max_seconds=0.5).counts[Status.SUBMITTED] == 2
    set_times(read_timeout_seconds=0.2, retry_seconds=0.3)
    proxy.hold("")
    report = burst(project)
    assert (report.exit_code, report.counts[Status.SUBMITTED]) == (75, 2)
    assert report.reason is not None
    assert "GET /api/queue: no answer within 0.2 s" in report.reason
    set_times(read_timeout_seconds=30.0, retry_seconds=20.0)
    proxy.drop()
    proxy.release()
    sandbox.release()
    check_next_run(project, sandbox)
    assert sandbox.counts()["posts"] == 2
