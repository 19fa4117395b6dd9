"""`burst adopt`: what waits in a server's own queue becomes items; repeated, killed at any point, after a crash."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from faults.conftest import sandbox
from support.fake_queue import Prompt
from support.fake_transport import FakeServer
from support.fast_disk import FastDisk
from support.hand_clock import HandClock
from support.killable_disk import Fuse, KillableDisk, Killed
from support.sandbox_client import Client as SandboxClient
from support.sandbox_client import empty_image
from support.simulated import Simulation

from burst import cli
from orchestrator import run_burst
from orchestrator.adoption import Adoption
from orchestrator.comfyui.responses import QueuedGraph, read_queued_graphs
from orchestrator.sandbox import Sandbox
from orchestrator.servers import parse_server
from orchestrator.settings import Overrides, load_settings
from orchestrator.shared_graphs import inputs_for
from state.disk import Disk
from state.item import Item, Status
from state.open_store import open_store
from state.store import Store

__all__ = ["sandbox"]

COMPLETED, PENDING, SUBMITTED = Status.COMPLETED, Status.PENDING, Status.SUBMITTED
SAVE = {
    "3": {"class_type": "KSampler", "inputs": {"seed": 1, "cfg": 7.0, "text": "a house", "model": ["4", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a.safetensors"}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "ComfyUI"}},
}


def graph(**literals: Any) -> dict[str, Any]:
    made = copy.deepcopy(SAVE)
    made["3"]["inputs"].update(literals)
    return made


@pytest.fixture
def server() -> FakeServer:
    """It takes ten seconds for a prompt."""
    return FakeServer("http://gpu:8188", HandClock(), lambda _: 10.0)


@pytest.fixture
def queued(server: FakeServer) -> FakeServer:
    """Four prompts of a person at the page."""
    for number in range(4):
        server.add(Prompt(f"p{number}", float(number), graph(seed=number), {"client_id": "page"}))
    return server


def opened(folder: Path, server: FakeServer, disk: Disk | None = None) -> Store:
    return open_store(folder / "state.json", create=True, clock=server.clock, disk=disk or FastDisk())


def adopt(folder: Path, server: FakeServer, *, disk: Disk | None = None) -> Adoption:
    with opened(folder, server, disk) as store:
        settings = load_settings(folder / "state.json", Overrides(servers=(server.url,)))
        adoption = Adoption(store, settings, folder, clock=server.clock)
        with server.client() as client:
            adoption.take_in(parse_server(server.url), client.queued_graphs())
        return adoption


def items(folder: Path, server: FakeServer) -> list[Item]:
    with opened(folder, server) as store:
        return list(store.items())


@pytest.fixture
def run(tmp_path: Path, server: FakeServer) -> Iterator[list[Simulation]]:
    """A run over the state."""
    begun: list[Simulation] = []
    yield begun
    for simulation in begun:
        simulation.close()


def test_each_is_submitted_under_its_own_prompt_id_and_a_run_collects_it(
    tmp_path: Path, queued: FakeServer, run: list[Simulation]
) -> None:
    adoption = adopt(tmp_path, queued)
    assert adoption.added == [f"adopted/p{number}" for number in range(4)]
    found = items(tmp_path, queued)
    assert [(item.status, item.prompt_id, item.server) for item in found] == [
        (SUBMITTED, f"p{number}", queued.url) for number in range(4)
    ]
    run.append(Simulation(tmp_path, queued.clock, [queued], items=0))
    run[0].burst(4)
    assert run[0].statuses() == [COMPLETED] * 4
    assert queued.begun == 4, "nothing was submitted again"
    assert sorted(path.name for path in (tmp_path / "output" / "adopted").iterdir()) == [
        f"p{number}.png" for number in range(4)
    ]


def test_after_the_server_s_crash_they_are_submitted_again_as_they_were(
    tmp_path: Path, queued: FakeServer, run: list[Simulation]
) -> None:
    adopt(tmp_path, queued)
    queued.restart()
    run.append(Simulation(tmp_path, queued.clock, [queued], items=0))
    run[0].burst(4)
    assert run[0].statuses() == [COMPLETED] * 4
    made = [prompt.graph for prompt in queued.history.values()]
    assert [one["3"]["inputs"] for one in made] == [graph(seed=number)["3"]["inputs"] for number in range(4)]
    assert {item.attempts for item in run[0].store.items()} == {0}


def test_twice_is_once(tmp_path: Path, queued: FakeServer) -> None:
    adopt(tmp_path, queued)
    again = adopt(tmp_path, queued)
    assert (again.added, again.known, again.others) == ([], 4, 0)
    assert len(items(tmp_path, queued)) == 4
    queued.add(Prompt("p4", 4.0, graph(seed=40, text="a tower"), {}))
    more = adopt(tmp_path, queued)
    assert (more.added, more.known) == (["adopted/p4"], 4)
    with opened(tmp_path, queued) as store:
        assert len(store.recipes.all()) == 1, "also shared with what was adopted before"


def test_what_was_finished_or_cancelled_since_is_not_added_again(
    tmp_path: Path, queued: FakeServer, run: list[Simulation]
) -> None:
    adopt(tmp_path, queued)
    first = queued.queue[0]
    run.append(Simulation(tmp_path, queued.clock, [queued], items=0))
    run[0].burst(1)
    queued.queue.insert(0, first)
    assert run.pop().close() is None
    assert adopt(tmp_path, queued).added == []


def test_prompts_of_this_state_are_known_and_those_of_another_are_left_out(tmp_path: Path, server: FakeServer) -> None:
    own = Simulation(tmp_path, server.clock, [server], items=2)
    (tmp_path / "other").mkdir()
    other = Simulation(tmp_path / "other", server.clock, [server], items=3)
    for simulation in (own, other):
        simulation.work.begin(3)
        simulation.workers[0].turn()
        simulation.close()
    server.add(Prompt("page", 9e12, graph(), {"client_id": "page"}))
    adoption = adopt(tmp_path, server)
    assert (adoption.added, adoption.known, adoption.others) == (["adopted/page"], 2, 3)


def test_what_it_submitted_again_itself_is_known(tmp_path: Path, queued: FakeServer, run: list[Simulation]) -> None:
    adopt(tmp_path, queued)
    queued.restart()
    simulation = Simulation(tmp_path, queued.clock, [queued], items=0)
    simulation.work.begin(4)
    simulation.work_for(2.0)
    simulation.close()
    assert len(queued.queue) == 4
    again = adopt(tmp_path, queued)
    assert (again.added, again.known, again.others) == ([], 4, 0)


def test_keys_in_the_extra_data_are_dropped_and_the_report_says_so(tmp_path: Path, server: FakeServer) -> None:
    secret = "comfyui-0123456789abcdef"
    server.add(Prompt("p0", 0.0, graph(), {"api_key_comfy_org": secret, "client_id": "page"}))
    adoption = adopt(tmp_path, server)
    (note,) = adoption.notes
    assert "partner nodes" in note
    assert secret not in note
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and secret in path.read_text()]


def test_graphs_that_differ_in_literals_alone_share_a_recipe(tmp_path: Path, server: FakeServer) -> None:
    other = graph()
    other["4"]["class_type"] = "UNETLoader"
    listed = graph()
    listed["3"]["inputs"]["text"] = ["a", "b", "c"]
    graphs = [graph(seed=5), graph(seed=5), graph(text="a tower", cfg=4), other, listed, graph(seed=9)]
    for number, one in enumerate(graphs):
        server.add(Prompt(f"p{number}", float(number), one, {}))
    adoption = adopt(tmp_path, server)
    assert len(adoption.added) == 6
    recipes = [item.recipe for item in items(tmp_path, server)]
    assert len(set(recipes)) == len(adoption.used) == 3
    assert recipes[0] == recipes[1] == recipes[2] == recipes[5]


def test_one_that_is_no_graph_costs_a_note_and_nothing_else(tmp_path: Path, server: FakeServer) -> None:
    server.add(Prompt("odd", 0.0, {"1": {"class_type": "PreviewAny", "inputs": {}}}, {}))
    server.add(Prompt("good", 1.0, graph(), {}))
    adoption = adopt(tmp_path, server)
    assert adoption.added == ["adopted/good"]
    assert "odd" in adoption.notes[0]


def test_an_id_that_is_no_file_name_gets_one(tmp_path: Path, server: FakeServer) -> None:
    server.add(Prompt("../../etc/x", 0.0, graph(), {}))
    (key,) = adopt(tmp_path, server).added
    assert ".." not in key
    assert items(tmp_path, server)[0].prompt_id == "../../etc/x"


def test_while_a_run_is_at_work_it_takes_them_over_itself(tmp_path: Path, queued: FakeServer) -> None:
    simulation = Simulation(tmp_path, queued.clock, [queued], items=1)
    simulation.work.begin(5)
    simulation.work_for(1.0)
    adoption = adopt(tmp_path, queued)
    assert len(adoption.added) == 4
    assert any("a run is at work" in note for note in adoption.notes)
    simulation.store.refresh()
    simulation.work.stir()
    simulation.burst(5)
    assert simulation.statuses() == [COMPLETED] * 5
    assert queued.begun == 5
    simulation.close()


@pytest.mark.parametrize("crashed", [False, True], ids=["the server lives", "the server crashes too"])
def test_killed_at_any_point_and_repeated_it_ends_with_the_same_items(tmp_path: Path, crashed: bool) -> None:
    """At every operation on the disk; a run then renders each once, whether adopt was repeated or not."""
    steps = 0
    while True:
        server = FakeServer("http://gpu:8188", HandClock(), lambda _: 1.0)
        for number in range(3):
            server.add(Prompt(f"p{number}", float(number), graph(seed=number), {}))
        folder = tmp_path / str(steps)
        folder.mkdir()
        fuse = Fuse()
        fuse.light(steps)
        try:
            adopt(folder, server, disk=KillableDisk(fuse))
        except Killed:
            pass
        else:
            break
        if steps % 2 == 0:
            adopt(folder, server)
        there = items(folder, server) if (folder / "state.json").exists() else []
        assert {item.prompt_id for item in there} in (set(), {"p0", "p1", "p2"})
        if crashed:
            server.restart()
        simulation = Simulation(folder, server.clock, [server], items=0)
        simulation.burst(9)
        assert simulation.statuses() == [COMPLETED] * len(there), steps
        sent = [asked for _, asked in server.requests if asked == "POST /api/prompt"]
        assert len(sent) == (len(there) if crashed else 0), steps
        simulation.close()
        steps += 1
    assert steps > 8


def test_the_command_begins_a_state_and_prints_what_it_did(tmp_path: Path, sandbox: Sandbox) -> None:
    sandbox.hold("render")
    with SandboxClient(sandbox.url) as client:
        ids = [client.submit(empty_image(color=number)) for number in range(3)]
    state = tmp_path / "state.json"
    asked = ["adopt", "--state", str(state), "--server", sandbox.url]
    first = CliRunner().invoke(cli, [*asked, "--json"])
    document = json.loads(first.stdout)
    assert (first.exit_code, document["schema"], document["items_total"]) == (0, "burst.adopt/1", 3)
    assert document["items"] == [f"adopted/{prompt_id}" for prompt_id in ids]
    again = CliRunner().invoke(cli, asked)
    assert again.exit_code == 0
    assert "3 prompts in this state already" in again.stdout
    assert "Next: burst run" in again.stdout
    doctor = CliRunner().invoke(cli, ["doctor", "--state", str(state)])
    assert doctor.exit_code == 0, doctor.stdout
    assert "warning" not in doctor.stdout
    assert re.search(r"template +workflow [0-9a-f]+: 2 nodes, nothing wrong", doctor.stdout)
    sandbox.release()
    assert run_burst(state, size=3).completed == 3
    assert len(list((tmp_path / "output" / "adopted").glob("*.png"))) == 3


@pytest.mark.parametrize("secrets", [[], [{"api_key_comfy_org": "x"}]], ids=["five parts", "six parts"])
def test_queue_entries_of_either_version(secrets: list[Any]) -> None:
    body = {
        "queue_running": [[0, "a", SAVE, {"client_id": "page"}, ["9"], *secrets]],
        "queue_pending": [[7, "c", SAVE, {}, ["9"], *secrets], [-3, "b", SAVE, {}, ["9"], *secrets]],
    }
    found = read_queued_graphs(json.loads(json.dumps(body)))
    assert [one.prompt_id for one in found] == ["a", "b", "c"]
    assert found[0] == QueuedGraph("a", 0, SAVE, {"client_id": "page"})


def test_inputs_make_one_graph_of_another() -> None:
    assert inputs_for(graph(), graph(seed=2, cfg=6.5)) == {"3.seed": 2, "3.cfg": 6.5}
    assert inputs_for(graph(), graph()) == {"3.seed": 1}
    assert inputs_for(graph(), graph(seed="1")) is None
    assert inputs_for(graph(), graph(model=["5", 0])) is None
    assert inputs_for(graph(), graph(text=True)) is None
