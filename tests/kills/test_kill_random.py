"""SIGKILL at random moments over one state; `kill_300.py` does the same with 200 kills over 300 items."""

from __future__ import annotations

import random

from support.killing import Killing
from support.projects import MakeProject

from orchestrator.sandbox import Sandbox


def test_twelve_kills_over_forty_items(make_project: MakeProject, sandbox: Sandbox) -> None:
    sandbox.change(seconds_per_prompt=0.12)
    project = make_project(count=40)
    killing = Killing(project, random.Random(7), launch=["--in-doubt", "2"], longest_seconds=1.0)
    for _ in range(12):
        killing.kill_once("-n", "8")
    assert sum(killing.moments.values()) >= 8
    sandbox.change(seconds_per_prompt=0.0)
    ended = project.run("-n", "20", "--until-done", launch=["--in-doubt", "2"])
    assert ended.code == 0, ended.err
    assert ended.report["rendered_twice"] == 0
    assert "killed" in {record.ended for record in project.bursts()}
    project.check_all_done(sandbox.counts())
