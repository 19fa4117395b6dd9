"""One burst against a sandbox in this process: what only shows in the middle of it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import templates
from orchestrator import run_burst
from orchestrator.comfyui import ComfyUI
from orchestrator.comfyui.lookup import Absent, Queued, look_up, withdraw
from orchestrator.sandbox import Sandbox, SandboxSettings
from orchestrator.servers import default_name

OLD_ID = "00000000-0000-4000-8000-0000000000aa"
OTHER_ID = "00000000-0000-4000-8000-0000000000bb"
GRAPH = templates.load_workflow("smoke").graph


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings()) as running:
        yield running


def state_of(tmp_path: Path, **records: dict[str, Any]) -> Path:
    path = tmp_path / "re_render_state.json"
    path.write_text(json.dumps(records))
    return path


def queue_up(sandbox: Sandbox, prompt_id: str, *, item: str) -> None:
    """Put a prompt on the held server as a late POST would."""
    with ComfyUI(sandbox.url) as client:
        graph = templates.set_prefixes(GRAPH, prompt_id)
        extra = {"burst": {"item": item, "prompt_id": prompt_id}}
        client.submit(graph, prompt_id=prompt_id, number=1.0, extra_data=extra)


def test_a_prompt_that_was_given_up_and_waits_is_deleted_and_another_states_is_not(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    state = state_of(
        tmp_path,
        done={"status": "completed", "previous_prompt_ids": [OLD_ID], "prompt_id": "x"},
        due={"status": "pending", "prompt_text": "a fox"},
    )
    sandbox.hold()
    queue_up(sandbox, OLD_ID, item="done")
    queue_up(sandbox, OTHER_ID, item="done")
    report = run_burst(state, server=sandbox.url, template="smoke", max_seconds=0.5)
    assert report.counts["submitted"] == 1
    sandbox.release()
    assert run_burst(state, server=sandbox.url, template="smoke").completed == 1
    rendered = sandbox.counts()["rendered"]
    assert OLD_ID not in rendered
    assert rendered[OTHER_ID] == 1


@pytest.mark.parametrize("hold", ["next", "render"])
def test_withdraw_reaches_a_prompt_that_the_server_renamed(sandbox: Sandbox, hold: Any) -> None:
    sandbox.change(rename_prompts=True)
    sandbox.hold(hold)
    queue_up(sandbox, OLD_ID, item="a")
    with ComfyUI(sandbox.url) as client:
        if hold == "render":
            while not client.queue().running:
                pass
        found = look_up(client, [OLD_ID])[OLD_ID]
        assert isinstance(found, Queued)
        assert found.prompt_id != OLD_ID
        fate = withdraw(client, [OLD_ID])[OLD_ID]
        assert fate in (Absent(), found), "an interrupted prompt may be shown as running for a moment"
        sandbox.release()
        while client.queue_remaining():
            pass
    assert sandbox.counts()["rendered"] == {}


@pytest.mark.parametrize("renames", [False, True])
@pytest.mark.parametrize("hold", ["next", "render"])
def test_a_newer_server_cancels_by_the_ids_of_its_queue(sandbox: Sandbox, hold: Any, renames: bool) -> None:
    """And neither deletes nor interrupts by what was true a moment before."""
    sandbox.change(comfyui_version="0.33.0", rename_prompts=renames)
    sandbox.hold(hold)
    queue_up(sandbox, OLD_ID, item="a")
    queue_up(sandbox, OTHER_ID, item="b")
    with ComfyUI(sandbox.url) as client:
        if hold == "render":
            while not client.queue().running:
                pass
        fate = withdraw(client, [OLD_ID])[OLD_ID]
        assert not isinstance(fate, Queued) or (hold == "render" and fate.running)
        sandbox.release()
        while client.queue_remaining():
            pass
    assert list(sandbox.counts()["rendered_by_item"]) == ["b"]
    asked = sandbox.counts()["requests"]
    assert asked["POST /jobs/cancel"] in (1, 2)
    assert not {"POST /queue", "POST /interrupt"} & asked.keys()


def test_a_submitted_item_without_a_prompt_id_is_simply_due(tmp_path: Path, sandbox: Sandbox) -> None:
    state = state_of(tmp_path, a={"status": "submitted", "prompt_text": "a fox", "server": sandbox.url})
    assert run_burst(state, server=sandbox.url, template="smoke").completed == 1


def test_urgent_items_go_first_and_low_ones_last(tmp_path: Path, sandbox: Sandbox) -> None:
    records = {
        key: {"status": "pending", "prompt_text": key, "priority": priority}
        for key, priority in (("a", "low"), ("b", "normal"), ("c", "urgent"), ("d", "high"))
    }
    state = state_of(tmp_path, **records)
    order = [run_burst(state, size=1, server=sandbox.url, template="smoke") and done(state) for _ in records]
    assert [sorted(keys) for keys in order] == [["c"], ["c", "d"], ["b", "c", "d"], ["a", "b", "c", "d"]]


def done(state: Path) -> list[str]:
    return [key for key, record in json.loads(state.read_text()).items() if record["status"] == "completed"]


def test_an_items_own_template_and_inputs_are_used(tmp_path: Path, sandbox: Sandbox) -> None:
    state = state_of(
        tmp_path,
        a={"status": "pending", "prompt_text": "a fox", "template": "txt2img-sd15", "inputs": {"seed": 5, "width": 64}},
        b={"status": "pending", "inputs": {"seed": 6}},
    )
    assert run_burst(state, server=sandbox.url, template="smoke").completed == 2
    with ComfyUI(sandbox.url) as client:
        records = json.loads(state.read_text())
        first = client.history(records["a"]["prompt_id"])
        second = client.history(records["b"]["prompt_id"])
    assert first is not None
    assert second is not None
    sampler = next(node for node in first.graph.values() if node["class_type"] == "KSampler")
    assert sampler["inputs"]["seed"] == 5
    assert second.graph["2"]["inputs"]["seed"] == 6


def test_inputs_that_do_not_fit_fail_their_item_alone(tmp_path: Path, sandbox: Sandbox) -> None:
    state = state_of(
        tmp_path,
        a={"status": "pending", "prompt_text": "a", "inputs": {"colour": "red"}},
        b={"status": "pending", "prompt_text": "b"},
    )
    report = run_burst(state, server=sandbox.url, template="smoke")
    assert (report.completed, report.failed) == (1, 1)
    assert "colour" in report.failures[0][1]


def test_a_save_node_without_a_prefix_runs_one_prompt_at_a_time(tmp_path: Path, sandbox: Sandbox) -> None:
    """It would overwrite what the prompt before it saved. A node that nothing follows is taken for such a one."""
    graph = GRAPH | {"9": GRAPH["4"]}
    assert templates.needs_exclusive_run(graph) == ["9"]
    template = tmp_path / "flow.json"
    template.write_text(json.dumps(graph))
    state = state_of(tmp_path, **{key: {"status": "pending", "prompt_text": key} for key in "abc"})
    sandbox.hold()
    flow: dict[str, Any] = {"server": sandbox.url, "template": str(template), "bindings": {"prompt": "4.string"}}
    first = run_burst(state, max_seconds=0.5, **flow)
    assert (first.counts["submitted"], first.counts["pending"], sandbox.counts()["posts"]) == (1, 2, 1)
    sandbox.release()
    assert run_burst(state, **flow).completed == 3


def test_a_renamed_prompt_keeps_its_server_and_the_id_that_was_chosen(tmp_path: Path, sandbox: Sandbox) -> None:
    sandbox.change(rename_prompts=True)
    sandbox.hold()
    state = state_of(tmp_path, a={"status": "pending", "prompt_text": "a fox"})
    run_burst(state, server=sandbox.url, template="smoke", max_seconds=0.5)
    record = json.loads(state.read_text())["a"]
    assert record["server"] == default_name(sandbox.url)
    assert len(record["previous_prompt_ids"]) == 1
    assert {"submitted_at", "fingerprint"} <= set(record)
    sandbox.release()
    assert run_burst(state, server=sandbox.url, template="smoke").completed == 1
    assert list(sandbox.counts()["rendered_by_item"].values()) == [1]


def test_a_server_that_is_still_being_waited_for_at_the_end_is_named(tmp_path: Path, sandbox: Sandbox) -> None:
    state = state_of(tmp_path, **{f"{n}.txt": {"status": "pending", "prompt_text": str(n)} for n in range(3)})
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{held.getsockname()[1]}"
        report = run_burst(state, template="smoke", server=[sandbox.url, away])
    assert report.completed == 3
    assert report.servers[0].lost is None
    assert "refused" in (report.servers[1].lost or "")
