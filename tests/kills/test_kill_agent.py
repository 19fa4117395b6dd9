"""Used as an agent would, with a limit on each call; `agent_loop_60.py` is the same at full size."""

from __future__ import annotations

from support.agent_loop import agent_loop
from support.projects import MakeProject

from orchestrator.sandbox import Sandbox


def test_a_loop_of_calls_that_are_cut_short_ends_with_everything_done(
    make_project: MakeProject, sandbox: Sandbox
) -> None:
    sandbox.change(seconds_per_prompt=0.4)
    project = make_project(count=20)
    rounds = agent_loop(project, seconds=2.5, size=12, limit_seconds=180)
    # `timeout` gives 124 for what it ended; every JSON object was parsed on the way.
    assert {one.code for one in rounds} <= {0, 124}
    assert [one.code for one in rounds].count(124) >= 2
    reports = [one.printed[0] for one in rounds if len(one.printed) == 2]
    assert {report["schema"] for report in reports} == {"burst.report/2"}
    assert rounds[-1].printed[-1]["remaining"] == 0
    project.check_all_done(sandbox.counts())
