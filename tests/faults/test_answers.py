"""Servers, and what stands before them, that answer something else than ComfyUI would, in whole bursts.

What workers make of each of these is in cycle/test_spoiled_responses.py; 503 to everything is in
kills/test_kill_cases.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.background import Threads
from support.burst_runs import Burst, check_done_once, check_next_run, check_untouched
from support.comfyui_loopback import Loopback, Request
from support.projects import MakeProject
from support.proxy import ALWAYS, Proxy, http_answer
from support.waiting import wait_until

from orchestrator.sandbox import Sandbox

PAGE = b"<html><h1>Bad luck</h1></html>"
TOKEN = "s3cret-Token-0123456789"
HEADERS = {"X-API-Key": TOKEN, "Authorization": f"Bearer {TOKEN}"}


def page(status: int, **headers: str) -> bytes:
    return http_answer(status, PAGE, Content_Type="text/html", **headers)


# For longer than anybody waits.


def test_a_prompt_that_the_server_never_takes_fails_alone_where_it_takes_others(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst
) -> None:
    project = make_project(server=proxy.url)
    proxy.answer("POST /api/prompt", page(500), containing="a lighthouse, view 1")
    report = burst(project, in_doubt_seconds=0.1)
    assert (report.exit_code, report.completed, report.failed, report.remaining) == (1, 2, 1, 0)
    ((key, message),) = report.failures
    assert key == project.item().key
    assert "4 times and did not take it each time" in message
    assert "answered 500 (Bad luck)" in message
    proxy.heal()
    assert project.burst("retry", "--json").code == 0
    check_next_run(project, sandbox)


def test_a_queue_that_stays_full_ends_with_the_time_and_is_said(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst
) -> None:
    project = make_project(server=proxy.url)
    proxy.answer("POST /api/prompt", page(429))
    report = burst(project, max_seconds=1.5)
    assert (report.exit_code, report.ended) == (0, "deadline")
    assert any("POST /api/prompt answered 429" in note for note in report.notes)
    check_untouched(project)
    proxy.heal()
    check_next_run(project, sandbox)


# What a person must change.


@pytest.mark.parametrize("request_", ["GET ", "POST /api/prompt"])
def test_a_redirect_to_another_host_is_not_followed(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst, request_: str
) -> None:
    """Nobody but the server that was named is asked; asking again would not help, so it is exit 2."""
    with Loopback(lambda request: request.reply(200)) as stranger:
        project = make_project(server=proxy.url)
        proxy.answer(request_, page(307, Location=f"{stranger.url}/api/queue?key={TOKEN}"))
        report = burst(project, headers=HEADERS)
        assert stranger.requests == []
    assert report.exit_code == 2
    assert report.reason is not None
    assert f"it points to {stranger.url}/api/queue; use that address as the server's" in report.reason
    check_untouched(project)
    assert_nowhere(TOKEN, project.home, json.dumps(report.as_json()))
    proxy.heal()
    check_next_run(project, sandbox)


def assert_nowhere(secret: str, home: Path, *said: str) -> None:
    """Neither in what was said nor in any file."""
    assert not any(secret in text for text in said)
    assert not any(secret.encode() in path.read_bytes() for path in home.rglob("*") if path.is_file())


def test_files_at_another_host_are_fetched_without_our_headers(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst
) -> None:
    def give(request: Request) -> None:
        (picture,) = sandbox.output_directory.rglob("*.png")
        request.reply(200, picture.read_bytes(), Content_Type="image/png")

    project = make_project(server=proxy.url, count=1)
    with Loopback(give) as store:
        proxy.answer("GET /api/view", page(302, Location=f"{store.url}/signed?sig=1"), times=1)
        assert burst(project, headers=HEADERS).completed == 1
        (request,) = store.requests
    assert request.path == "/signed?sig=1"
    assert TOKEN not in str(request.headers)
    assert all(TOKEN in line for line in proxy.requests)
    check_done_once(project, sandbox)


def test_a_server_that_wants_a_key(make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst) -> None:
    project = make_project(server=proxy.url)
    proxy.answer("GET ", page(401))
    report = burst(project)
    assert report.exit_code == 2
    assert report.reason is not None
    assert "access refused; give the server's key with headers" in report.reason
    check_untouched(project)
    proxy.heal()
    check_next_run(project, sandbox)


def test_a_challenge_page_is_waited_out_by_the_next_run(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst
) -> None:
    """Its status is that of a wanted key, and nothing is wrong with the key."""
    project = make_project(server=proxy.url)
    challenge = b"<html><title>Just a moment...</title><script src=/cdn-cgi/challenge-platform/x></script></html>"
    proxy.answer("GET ", http_answer(403, challenge, Content_Type="text/html"))
    report = burst(project)
    assert report.exit_code == 75
    assert report.reason is not None
    assert "requires a browser" in report.reason
    check_untouched(project)
    proxy.heal()
    check_next_run(project, sandbox)


def test_one_of_two_servers_that_refuses_posts_is_left_alone(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst
) -> None:
    """It ends the run only where it is the only one."""
    project = make_project(server=proxy.url)
    proxy.answer("POST /api/prompt", page(401))
    with Sandbox() as other, Threads() as beside:
        other.hold()
        running = beside.submit(burst, project, server=[proxy.url, other.url])
        wait_until(lambda: proxy.spoilings_left() < ALWAYS, what="a POST to the first")
        other.release()
        report = running.result()
        assert (report.exit_code, report.completed, report.put_back) == (0, 3, 0)
        refusing, willing = report.servers
        assert refusing.lost is not None
        assert "POST /api/prompt answered 401" in refusing.lost
        assert (willing.completed, willing.lost) == (3, None)
        check_done_once(project, other)
    assert sandbox.counts()["posts"] == 0
