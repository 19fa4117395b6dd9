"""Items that need servers with a label: only those get them, and a run without one leaves them to others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.background import in_background
from support.stores import KINDS, State
from support.waiting import wait_until

from burst import cli
from orchestrator import add_servers, update_items
from orchestrator.cycle.report import BurstReport
from orchestrator.cycle.request import Request
from orchestrator.cycle.run import Run
from orchestrator.sandbox import Sandbox
from orchestrator.settings import Overrides
from state.item import Status
from state.location import state_path
from state.open_store import open_store

COMPLETED, PENDING = Status.COMPLETED, Status.PENDING


@pytest.fixture(params=[kind for kind in KINDS if kind.name != "postgresql"], ids=lambda kind: kind.name)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    with State(request.param, tmp_path) as state:
        yield state


@pytest.fixture
def state(made: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three items that need `big`, before three that need nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BURST_STATE", str(made.address))
    for folder, needs in (("large", ["--needs", "big"]), ("small", [])):
        (tmp_path / folder).mkdir()
        for number in range(3):
            (tmp_path / folder / f"{folder}{number}.txt").write_text(f"a fox {number}")
        said = ["init", folder, "--template", "smoke", "--output", "out", *needs]
        result = CliRunner().invoke(cli, said)
        assert result.exit_code == 0, result.output
    return state_path(str(made.address))


def run(state: Path, *servers: str) -> BurstReport:
    request = Request(state=state, overrides=Overrides(servers=servers), poll_seconds=0.05, until_done=True)
    return Run(request).execute()


def made_by(state: Path) -> dict[str, str | None]:
    with open_store(state, read_only=True) as store:
        return {item.filename: item.server for item in store.items(COMPLETED)}


def test_only_a_server_with_the_label_gets_them(state: Path) -> None:
    with Sandbox() as big, Sandbox() as small:
        add_servers(state, [f"small={small.url}"])
        add_servers(state, [f"big={big.url}"], labels=["big", "fast"])
        report = run(state)
    assert report.completed == 6
    assert {name: server for name, server in made_by(state).items() if name.startswith("large")} == {
        f"large{number}.txt": "big" for number in range(3)
    }


def test_a_run_without_such_a_server_holds_none_of_them_and_says_why(state: Path, made: State) -> None:
    """Where states have several runs, another one may claim them meanwhile."""
    with Sandbox() as small:
        add_servers(state, [f"small={small.url}"], labels=["tiny"])
        small.hold("finish")
        with in_background(run, state) as end:
            with made.open(read_only=True) as seen:
                wait_until(lambda: seen.refresh() or seen.counts().submitted == 3, what="the rest is sent")
            if not made.one_run:
                with made.open() as store, store.lease() as lease:
                    assert sorted(item.filename for item in lease.claim(9)) == [f"large{n}.txt" for n in range(3)]
            small.release()
            report = end()
        assert len(small.counts()["rendered"]) == 3
    assert (report.completed, report.counts[PENDING]) == (3, 3)
    (aside,) = report.set_aside
    assert "need a server with the label big" in aside.reason


def test_needs_are_changed_with_update(state: Path) -> None:
    with open_store(state, read_only=True) as store:
        names = [item.key for item in store.items() if item.filename.startswith("large")]
    with Sandbox() as small:
        add_servers(state, [f"small={small.url}"])
        update_items(state, names, overrides=Overrides(outputs=()))
        assert run(state).completed == 3, "another change keeps what they need"
        assert update_items(state, names, overrides=Overrides(needs=())).updated
        assert run(state).completed == 3
    assert set(made_by(state).values()) == {"small"}
