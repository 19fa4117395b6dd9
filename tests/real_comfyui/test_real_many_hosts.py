"""Two runs on one PostgreSQL and two real servers: a run and a server killed with -9 in the middle of the work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.postgres import fresh_database
from support.real_graphs import new_seeds, slow
from support.real_scene import Scene, finish
from support.real_server import RealServer
from support.waiting import wait_until

from orchestrator.state_copy import copy_state
from state.item import Status
from state.location import DatabaseAddress
from state.open_store import open_store

pytestmark = pytest.mark.timeout(600)

ITEMS = 24
LEASE_SECONDS = 10.0


@pytest.fixture
def servers(
    mortal_server: RealServer, start_server: Callable[[Path], RealServer], tmp_path: Path
) -> Iterator[dict[str, RealServer]]:
    """By name."""
    with start_server(tmp_path / "other") as other:
        yield {"gpu1": mortal_server, "gpu2": other}


def begin(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state in PostgreSQL, as it is brought there from a file."""
    monkeypatch.chdir(scene.directory)
    scene.write(slow(blurs=2), new_seeds(ITEMS))
    address = fresh_database()
    copy_state(scene.state, address)
    scene.state = DatabaseAddress(address)
    scene.launch = ("--lease", str(LEASE_SECONDS))


def addresses(servers: dict[str, RealServer], *names: str) -> str:
    return ",".join(f"{name}={servers[name].url}" for name in names)


def out_on(scene: Scene, name: str) -> int:
    """How many items are submitted to a server."""
    return sum(item.status is Status.SUBMITTED and item.server == name for item in scene.items().values())


def check_each_was_rendered_once(scene: Scene, servers: dict[str, RealServer]) -> None:
    """By the files of both servers: one prompt_id an item, and it is the one whose image was collected."""
    items = scene.items()
    assert Counter(item.status for item in items.values()) == {Status.COMPLETED: ITEMS}
    rendered: Counter[tuple[int, str]] = Counter()
    for server in servers.values():
        rendered.update((seed, one) for seed, ids in server.prompts_by_seed().items() for one in ids)
        assert len(server.pictures()) == sum(len(ids) for ids in server.prompts_by_seed().values())
    assert rendered == {(int(item.inputs["seed"]), item.prompt_id): 1 for item in items.values()}
    assert {item.server for item in items.values()} == set(servers)
    assert len(scene.pictures()) == ITEMS
    assert scene.say("verify", "--output", str(scene.output)).code == 0
    with open_store(scene.state) as store, store.lease() as lease:
        assert (store.holders(), list(lease.left_behind())) == ([], [])


def test_a_run_and_a_server_are_killed_in_the_middle(
    scene: Scene, servers: dict[str, RealServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(scene, monkeypatch)
    both = addresses(servers, "gpu1", "gpu2")
    with (
        scene.running(addresses(servers, "gpu1"), "--until-done") as killed,
        scene.running(both, "--until-done", "--wait-server", "300") as other,
    ):
        wait_until(lambda: scene.counts()[Status.COMPLETED] >= 4, what="four are collected", seconds=120)
        wait_until(lambda: out_on(scene, "gpu1") > 1 and out_on(scene, "gpu2"), what="both have work", seconds=120)
        killed.kill()
        servers["gpu2"].kill()
        servers["gpu2"].start()
        went_on = finish(other, seconds=400)
    assert went_on.code == 0, went_on.words
    last = scene.run(both, "--until-done")
    assert last.code == 0, last.words
    check_each_was_rendered_once(scene, servers)
