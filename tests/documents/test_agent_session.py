"""How many characters a usual session costs an agent that reads all that is printed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.agent_loop import agents_loop
from support.projects import Project

from orchestrator.sandbox import Sandbox, SandboxSettings

MOST_CHARACTERS = 5_000


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with Sandbox(SandboxSettings()) as sandbox:
        yield Project(tmp_path, server=sandbox.url, count=15)


def test_init_four_rounds_and_doctor_print_at_most_5000_characters(project: Project) -> None:
    ended = [
        project.burst("init", "prompts", "--json"),
        *(project.burst("run", "-n", "4", "--json") for _ in range(4)),
        project.burst("doctor", "--json"),
    ]
    assert [one.code for one in ended] == [0] * 6
    assert (ended[4].report["remaining"], ended[5].report["ok"]) == (0, True)
    assert sum(len(one.out + one.err) for one in ended) <= MOST_CHARACTERS


def test_a_round_costs_the_same_when_a_hundred_items_fail(project: Project) -> None:
    project.add_prompts(range(16, 116))
    for prompt in project.prompts.rglob("*.txt"):
        prompt.write_text("")
    ended = project.burst("run", "-n", "115", "--json")
    assert (ended.code, ended.report["failures_total"]) == (1, 115)
    assert len(ended.out + ended.err) <= MOST_CHARACTERS


def test_the_loop_prints_only_what_a_round_reports() -> None:
    loop = agents_loop({})
    calls = re.findall(r"burst (?:run|status|doctor)\b.*", loop)
    assert len(calls) == 4
    printing = [call for call in calls if not re.search(r"\| grep|>/dev/null", call)]
    assert [call.split()[:2] for call in printing] == [["burst", "run"]]
