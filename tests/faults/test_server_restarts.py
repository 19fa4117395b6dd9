"""A server that goes down in mid-burst and comes back, or that forgets; and an item that brings it down."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.background import in_background, wait_for_renders
from support.burst_runs import Burst
from support.projects import MakeProject, Project, small_template
from support.proxy import Proxy
from support.waiting import wait_until

from orchestrator.cycle.report import BurstReport
from orchestrator.retries import retry
from orchestrator.sandbox import Sandbox
from state.item import Item, Status


class TestRestarted:
    """All is rendered and the burst does not know it yet, when the server is killed and started again."""

    @contextmanager
    def restarted(
        self, burst: Burst, project: Project, sandbox: Sandbox, proxy: Proxy, *, keep: bool
    ) -> Iterator[Callable[[], BurstReport]]:
        """The burst hears nothing of the server until what is given is called for its report."""
        proxy.hold("GET /api/history")
        with in_background(burst, project, sweep_seconds=0.2) as end:
            wait_for_renders(sandbox, len(project.items()))
            sandbox.restart(keep_outputs=keep)

            def heard() -> BurstReport:
                proxy.release()
                return end()

            yield heard

    @pytest.mark.parametrize("keep", [True, False], ids=["outputs kept", "outputs gone"])
    def test_in_mid_burst(
        self, make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst, keep: bool
    ) -> None:
        project = make_project(server=proxy.url, count=3, template=small_template(batch_size=4, save_nodes=2))
        with self.restarted(burst, project, sandbox, proxy, keep=keep) as heard:
            report = heard()
        assert (report.exit_code, report.completed) == (0, 3)
        assert (report.rescued, report.put_back) == ((3, 0) if keep else (0, 3))
        assert [item.attempts for item in project.items()] == [0, 0, 0]
        assert [len(item.outputs) for item in project.items()] == [8, 8, 8]
        project.check_all_done(sandbox.counts(), rendered_twice=[] if keep else [item.key for item in project.items()])

    @pytest.mark.parametrize("spoilt", ["missing", "cut", "another prompt's"])
    def test_a_batch_that_is_not_whole_is_rendered_again_and_the_others_are_rescued(
        self, make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst, spoilt: str
    ) -> None:
        project = make_project(server=proxy.url, count=2, template=small_template(batch_size=4))
        with self.restarted(burst, project, sandbox, proxy, keep=True) as heard:
            first, second = (self.pictures(sandbox, item) for item in project.items())
            match spoilt:
                case "missing":
                    first[3].unlink()
                case "cut":
                    first[2].write_bytes(first[2].read_bytes()[:-200])
                case _:
                    shutil.copy(second[1], first[1])
            report = heard()
        assert (report.rescued, report.put_back, report.completed) == (1, 1, 2)
        assert [item.attempts for item in project.items()] == [0, 0]
        assert [len(item.outputs) for item in project.items()] == [4, 4]
        project.check_all_done(sandbox.counts(), rendered_twice=[project.item(1).key])

    def pictures(self, sandbox: Sandbox, item: Item) -> list[Path]:
        return sorted(sandbox.output_directory.rglob(f"{item.prompt_id}-*.png"))


def test_a_history_that_was_evicted_before_it_was_asked(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst
) -> None:
    """15 are rendered before the first is asked for, and the server remembers the last few alone."""
    sandbox.change(history_limit=5)
    project = make_project(server=proxy.url, count=15)
    proxy.hold("GET /api/history")
    with in_background(burst, project, sweep_seconds=0.2) as end:
        wait_for_renders(sandbox, 15)
        proxy.release()
        report = end()
    assert (report.completed, report.rescued, report.put_back) == (15, 9, 0)
    assert sandbox.counts()["posts"] == 15
    project.check_all_done(sandbox.counts())


def accepted(project: Project) -> int:
    return sum(item.accepted for item in project.items())


class TestAnItemThatBringsTheServerDown:
    """The first of three. The worker is held while it runs, so that the test decides when the server goes down."""

    @pytest.fixture
    def project(self, make_project: MakeProject, sandbox: Sandbox) -> Project:
        sandbox.hold("render")
        return make_project(count=3)

    def seen(self, project: Project, prompt_ids: set[str], *, number: int = 1) -> None:
        """Until the burst has seen a new prompt of the item running."""

        def is_seen() -> bool:
            item = project.item(number)
            return item.seen_running and item.prompt_id not in prompt_ids

        wait_until(is_seen, what="seen running")
        prompt_ids.add(project.item(number).prompt_id or "")

    def check_quarantine(self, project: Project) -> None:
        bad = project.item(1)
        assert (bad.status, bad.attempts, bad.crashes) == (Status.FAILED, 0, 2)
        assert bad.error is not None
        assert bad.error.kind == "quarantine"
        assert all(word in bad.error.message for word in ("2 times", project.server, f"`burst retry {bad.key}`"))

    def check_mended(self, project: Project, sandbox: Sandbox, burst: Burst) -> None:
        """Whatever made it bring the server down is gone: it is done like any other."""
        retry(project.state, [project.item(1).key])
        assert "crashes" not in json.loads(project.state.read_text())[project.item(1).key]
        assert burst(project).completed == 1
        project.check_all_done(sandbox.counts())

    def test_is_remembered_from_one_burst_to_the_next(self, project: Project, sandbox: Sandbox, burst: Burst) -> None:
        """Each burst is killed before it learns that the server went down."""
        prompt_ids: set[str] = set()
        for _ in range(2):
            with project.start_run(launch=["--sweep", "0.1"]) as run:
                self.seen(project, prompt_ids)
                run.kill()
            sandbox.restart()
        sandbox.release()
        report = burst(project)
        assert (report.completed, report.failed) == (2, 1)
        self.check_quarantine(project)
        self.check_mended(project, sandbox, burst)

    def test_is_no_suspect_when_it_had_written_its_pictures(
        self, project: Project, sandbox: Sandbox, burst: Burst
    ) -> None:
        sandbox.hold("finish")
        with in_background(burst, project, sweep_seconds=0.1) as end:
            self.seen(project, set())
            wait_until(lambda: sandbox.counts()["rendered"])
            sandbox.restart()
            sandbox.release()
            report = end()
        assert (report.completed, report.rescued, report.put_back) == (3, 1, 2)
        assert [item.crashes for item in project.items()] == [0, 0, 0]
        project.check_all_done(sandbox.counts())
