"""An address where something else than a ComfyUI answers: a person must change it, unless it was a ComfyUI before."""

from __future__ import annotations

import signal

import pytest
from support.burst_runs import check_next_run, check_untouched, run_quickly
from support.projects import MakeProject, Project
from support.proxy import Proxy, http_answer
from support.waiting import wait_until

from orchestrator.batches.spec import BatchSpec
from orchestrator.comfyui import ComfyUI
from orchestrator.cycle.report import BurstReport
from orchestrator.cycle.request import Request
from orchestrator.errors import NotComfyUI, TransientError
from orchestrator.generation import generate
from orchestrator.sandbox import Sandbox
from orchestrator.settings import Overrides

PAGE = http_answer(200, b"<html><h1>Tunnel not ready</h1></html>", Content_Type="text/html")
NOTHING = http_answer(404, b'{"detail": "Not Found"}', Content_Type="application/json")
USUAL = "http://127.0.0.1:8188"


def with_tls(url: str) -> str:
    return url.replace("http://", "https://")


def wrong(report: BurstReport) -> str:
    """The reason of a run that ended for a person to change something."""
    assert (report.exit_code, report.ended) == (2, "error")
    assert report.reason is not None
    return report.reason


@pytest.mark.parametrize(("answer", "status"), [(PAGE, 200), (NOTHING, 404)], ids=["a page", "404 to everything"])
@pytest.mark.parametrize("until_done", [False, True])
def test_what_was_never_a_comfyui_is_exit_2_with_the_address_to_try(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, answer: bytes, status: int, until_done: bool
) -> None:
    project = make_project(server=proxy.url)
    proxy.answer("", answer)
    reason = wrong(run_quickly(project, until_done=until_done))
    assert reason.startswith(f"{proxy.url}: GET /queue answered {status} (")
    assert reason.endswith(f": ComfyUI does not answer like this; try {USUAL}")
    check_untouched(project)
    proxy.heal()
    check_next_run(project, sandbox)


def test_https_to_a_server_without_tls(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project(server=with_tls(sandbox.url))
    assert wrong(run_quickly(project)).endswith(f"does not speak TLS; try {sandbox.url}")
    check_untouched(project)
    check_next_run(project, sandbox, server=sandbox.url)


def test_http_to_a_server_with_tls() -> None:
    """As nginx answers it."""
    refusal = http_answer(400, b"<html>The plain HTTP request was sent to HTTPS port</html>", Content_Type="text/html")
    with Sandbox() as sandbox, Proxy(sandbox.url) as proxy:
        proxy.answer("", refusal)
        with ComfyUI(proxy.url) as client, pytest.raises(NotComfyUI) as caught:
            client.queue_remaining()
    assert caught.value.url_to_try == with_tls(proxy.url)


def completed_one(project: Project, sandbox: Sandbox) -> None:
    assert run_quickly(project, size=1).completed == 1


def submitted_one(project: Project, sandbox: Sandbox) -> None:
    sandbox.hold("render")
    with project.start_run("-n", "1") as run:
        wait_until(lambda: any(item.accepted for item in project.items()), what="one accepted")
        assert run.stop(signal.SIGTERM).code == 143
    assert "submitted" in project.statuses()
    sandbox.release()


@pytest.mark.parametrize("answer", [PAGE, NOTHING], ids=["a page", "404 to everything"])
@pytest.mark.parametrize("known_by", [completed_one, submitted_one])
def test_what_was_a_comfyui_is_waited_for(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, known_by: object, answer: bytes
) -> None:
    project = make_project(server=proxy.url)
    assert callable(known_by)
    known_by(project, sandbox)
    proxy.answer("", answer)
    report = run_quickly(project)
    assert report.exit_code == 75
    assert "It was a ComfyUI before, so it is waited for" in str(report.reason)
    proxy.heal()
    check_next_run(project, sandbox)


def test_one_wrong_address_among_good_ones(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project()
    report = run_quickly(project, server=[with_tls(sandbox.url), sandbox.url], until_done=True)
    assert (report.exit_code, report.completed, report.remaining) == (0, 3, 0)
    no_tls, good = report.servers
    assert good.lost is None
    assert str(no_tls.lost).endswith(f"does not speak TLS; try {sandbox.url}")
    assert f"try {sandbox.url}" in report.as_text()


def test_several_wrong_addresses_are_all_named(make_project: MakeProject, sandbox: Sandbox, proxy: Proxy) -> None:
    project = make_project()
    proxy.answer("", PAGE)
    reason = wrong(run_quickly(project, server=[with_tls(sandbox.url), proxy.url]))
    assert f"{with_tls(sandbox.url)}: " in reason
    assert f"{proxy.url}: " in reason
    check_untouched(project)


def test_one_that_is_away_beside_a_wrong_one_is_waited_for(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, set_times: object
) -> None:
    assert callable(set_times)
    set_times(retry_seconds=0.2)
    project = make_project()
    proxy.refuse()
    report = run_quickly(project, server=[with_tls(sandbox.url), proxy.url])
    assert report.exit_code == 75
    check_untouched(project)


def test_generate_tells_the_same(make_project: MakeProject, sandbox: Sandbox, proxy: Proxy) -> None:
    project = make_project(server=proxy.url)

    def error(name: str) -> TransientError:
        with pytest.raises(TransientError) as caught:
            generate(
                BatchSpec(name=name, prompt="a pier", sampler="euler"),
                request=Request(state=project.state, overrides=Overrides(servers=(proxy.url,))),
            )
        return caught.value

    proxy.answer("", PAGE)
    assert error("first").exit_code == 2
    proxy.heal()
    completed_one(project, sandbox)
    proxy.answer("", PAGE)
    assert error("second").exit_code == 75


def test_where_every_comfyui_may_have_nothing_404_means_nothing(sandbox: Sandbox) -> None:
    """The first request of a client may be for a folder of models that this server does not have."""
    with ComfyUI(sandbox.url) as client, pytest.raises(TransientError) as caught:
        client.models("no_such_folder")
    assert not isinstance(caught.value, NotComfyUI)
