"""Servers, and what stands before them, that answer something else than ComfyUI would, in whole bursts.

Pages in the history for a while are in test_cycle.py, and 503 to everything is in kills/test_kill_cases.py.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.burst_runs import Burst, SetTimes, check_done_once, check_next_run, check_untouched
from support.comfyui_loopback import Loopback, Request
from support.projects import MakeProject
from support.proxy import ALWAYS, Proxy, http_answer
from support.waiting import wait_until

from orchestrator.sandbox import Sandbox
from state.item import Status

PAGE = b"<html><h1>Bad luck</h1></html>"
TOKEN = "s3cret-Token-0123456789"
HEADERS = {"X-API-Key": TOKEN, "Authorization": f"Bearer {TOKEN}"}


def page(status: int, **headers: str) -> bytes:
    return http_answer(status, PAGE, Content_Type="text/html", **headers)


# 5xx and 429 for a while.


@pytest.mark.parametrize("status", [429, 500, 502, 503])
@pytest.mark.parametrize("request_", ["GET /api/history", "GET /api/view"])
def test_questions_are_asked_again(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst, request_: str, status: int
) -> None:
    project = make_project(server=proxy.url)
    proxy.answer(request_, page(status), times=3)
    report = burst(project)
    assert proxy.spoilings_left() == 0
    assert (report.exit_code, report.completed, report.put_back, report.notes) == (0, 3, 0, ())
    check_done_once(project, sandbox)


@pytest.mark.parametrize("status", [500, 502, 503, 200])
def test_a_post_that_is_answered_by_a_page_is_looked_up_and_sent_again(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst, status: int
) -> None:
    """It did not reach the server: absent after the time in doubt. The others do not wait for that."""
    project = make_project(server=proxy.url)
    proxy.answer("POST /api/prompt", page(status), times=1)
    report = burst(project)
    assert (report.exit_code, report.completed, report.put_back) == (0, 3, 1)
    (note,) = report.notes
    assert f"POST /api/prompt answered {status} (<html><h1>Bad luck" in note
    assert "looked up before it is sent again" in note
    assert sandbox.counts()["posts"] == 3
    check_done_once(project, sandbox)


@pytest.mark.parametrize("status", [502, 200])
def test_a_post_that_arrived_and_is_answered_by_a_page_is_not_sent_again(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst, status: int
) -> None:
    project = make_project(server=proxy.url)
    proxy.answer("POST /api/prompt", page(status), reaches_server=True, times=1)
    report = burst(project)
    assert (report.exit_code, report.completed, report.put_back) == (0, 3, 0)
    assert sandbox.counts()["posts"] == 3
    check_done_once(project, sandbox)


@pytest.mark.parametrize("request_", ["POST /api/prompt", "GET /api/history", "GET /api/view"])
def test_retry_after_is_waited_for(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst, request_: str
) -> None:
    """Two seconds where the own pauses are one for a POST, and hundredths for a question."""
    project = make_project(server=proxy.url)
    proxy.answer(request_, page(429, Retry_After="2"), times=1)
    report = burst(project)
    assert (report.exit_code, report.completed, report.put_back) == (0, 3, 0)
    assert report.seconds >= 2.0
    assert sandbox.counts()["posts"] == 3
    check_done_once(project, sandbox)


def test_a_post_that_is_refused_for_now_is_sent_a_second_later(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst
) -> None:
    """429 without Retry-After; surely not queued, so no doubt and no look-up."""
    project = make_project(server=proxy.url)
    proxy.answer("POST /api/prompt", page(429), times=1)
    report = burst(project, in_doubt_seconds=60.0)
    assert (report.exit_code, report.completed, report.put_back) == (0, 3, 0)
    assert 1.0 <= report.seconds < 30.0
    (note,) = report.notes
    assert "POST /api/prompt answered 429" in note
    assert "sending goes on when it accepts more" in note
    check_done_once(project, sandbox)


# For longer than anybody waits.


def test_a_history_that_stays_broken_ends_the_burst_and_keeps_the_items(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst, set_times: SetTimes
) -> None:
    set_times(retry_seconds=0.3)
    project = make_project(server=proxy.url)
    proxy.answer("GET /api/history", page(503, Retry_After="40"))
    report = burst(project)
    assert (report.exit_code, report.counts[Status.SUBMITTED]) == (75, 3)
    assert report.reason is not None
    assert "answered 503 (<html><h1>Bad luck</h1></html>) and asks to wait 40 s; if it goes on" in report.reason
    proxy.heal()
    check_next_run(project, sandbox)
    assert sandbox.counts()["posts"] == 3


@pytest.mark.parametrize(("status", "attempts"), [(503, 1), (429, 0)])
def test_files_that_stay_refused_are_left_for_the_next_burst(
    make_project: MakeProject,
    sandbox: Sandbox,
    proxy: Proxy,
    burst: Burst,
    set_times: SetTimes,
    status: int,
    attempts: int,
) -> None:
    """Rendered once, whatever it takes; being asked to ask less often is charged to no item."""
    set_times(retry_seconds=0.3)
    project = make_project(server=proxy.url, count=2)
    proxy.answer("GET /api/view", page(status))
    report = burst(project)
    assert (report.exit_code, report.failed, report.counts[Status.SUBMITTED]) == (0, 0, 2)
    assert all(f"left for a later burst: {proxy.url}: GET /api/view answered {status}" in n for n in report.notes)
    assert [item.attempts for item in project.items()] == [attempts] * 2
    proxy.heal()
    assert burst(project).completed == 2
    project.check_all_done(sandbox.counts())


@pytest.mark.parametrize("status", [500, 200])
def test_a_server_that_never_takes_a_prompt_is_given_up_after_four_times(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst, status: int
) -> None:
    project = make_project(server=proxy.url, count=1)
    proxy.answer("POST /api/prompt", page(status))
    report = burst(project, in_doubt_seconds=0.1)
    (item,) = project.items()
    assert report.exit_code == 75
    assert report.reason is not None
    assert f"was sent {item.key} 4 times and did not take it each time: {proxy.url}: POST" in report.reason
    assert f"POST /api/prompt answered {status} (<html><h1>Bad luck</h1></html>)" in report.reason
    assert (item.status, item.attempts) == (Status.PENDING, 0)
    proxy.heal()
    check_next_run(project, sandbox)


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
    assert "answered 500 (<html><h1>Bad luck</h1></html>)" in message
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


# What is no answer of ComfyUI.


@pytest.mark.parametrize(("status", "words"), [(200, "not whole JSON"), (404, "not an answer of ComfyUI")])
def test_pages_for_everything(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst, status: int, words: str
) -> None:
    project = make_project(server=proxy.url)
    proxy.answer("", page(status))
    report = burst(project)
    assert report.exit_code == 75
    assert report.reason is not None
    assert f"{proxy.url}: GET /queue answered {status} (<html><h1>Bad luck</h1></html>): " in report.reason
    assert words in report.reason
    check_untouched(project)
    proxy.heal()
    check_next_run(project, sandbox)


def test_a_page_in_place_of_a_file_is_not_taken_for_one(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst
) -> None:
    project = make_project(server=proxy.url)
    proxy.answer("GET /api/view", page(200), times=1)
    report = burst(project)
    assert (report.exit_code, report.completed, report.counts[Status.SUBMITTED]) == (0, 2, 1)
    (note,) = report.notes
    assert "is left for a later burst" in note
    assert burst(project).completed == 1
    project.check_all_done(sandbox.counts())


@pytest.mark.parametrize("announced", [None, 400], ids=["the whole body", "a body that breaks off"])
def test_cut_json_after_a_post_that_arrived(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst, announced: int | None
) -> None:
    project = make_project(server=proxy.url)
    cut = http_answer(200, b'{"prompt_id": "0000', announced=announced, Content_Type="application/json")
    proxy.answer("POST /api/prompt", cut, reaches_server=True, times=1)
    report = burst(project)
    assert (report.exit_code, report.completed, report.put_back) == (0, 3, 0)
    assert sandbox.counts()["posts"] == 3
    check_done_once(project, sandbox)


def test_a_history_that_breaks_off_is_asked_for_again(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst
) -> None:
    project = make_project(server=proxy.url)
    proxy.answer("GET /api/history", http_answer(200, b'{"0000', announced=400), times=3)
    report = burst(project)
    assert proxy.spoilings_left() == 0
    assert (report.exit_code, report.completed, report.put_back) == (0, 3, 0)
    check_done_once(project, sandbox)


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


@pytest.mark.parametrize("request_", ["GET ", "POST /api/prompt"])
@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_wants_a_key(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst, request_: str, status: int
) -> None:
    project = make_project(server=proxy.url)
    proxy.answer(request_, page(status))
    report = burst(project)
    assert report.exit_code == 2
    assert report.reason is not None
    assert "access refused; give the server's key with --header" in report.reason
    check_untouched(project)
    proxy.heal()
    check_next_run(project, sandbox)


@pytest.mark.parametrize("status", [401, 404, 307])
def test_one_of_two_servers_that_refuses_posts_is_left_alone(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst, status: int
) -> None:
    """It ends the run only where it is the only one."""
    project = make_project(server=proxy.url)
    proxy.answer("POST /api/prompt", page(status, Location="http://login.test/"))
    with Sandbox() as other, ThreadPoolExecutor(1) as beside:
        other.hold()
        running = beside.submit(burst, project, server=[proxy.url, other.url])
        wait_until(lambda: proxy.spoilings_left() < ALWAYS, what="a POST to the first")
        other.release()
        report = running.result()
        assert (report.exit_code, report.completed, report.put_back) == (0, 3, 0)
        refusing, willing = report.servers
        assert refusing.lost is not None
        assert f"POST /api/prompt answered {status}" in refusing.lost
        assert (willing.completed, willing.lost) == (3, None)
        check_done_once(project, other)
    assert sandbox.counts()["posts"] == 0


def test_a_prompt_that_is_too_large_fails_alone(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst
) -> None:
    """413 of what stands before the server: the others are not kept waiting behind it for ever."""
    project = make_project(server=proxy.url)
    proxy.answer("POST /api/prompt", page(413), times=1)
    report = burst(project)
    assert (report.exit_code, report.completed, report.failed) == (1, 2, 1)
    ((key, message),) = report.failures
    assert key == project.item().key
    assert "answered 413" in message
    assert "raise its limit on requests, or send less" in message
    assert project.burst("retry", "--json").code == 0
    check_next_run(project, sandbox)
