"""One burst against a sandbox in this process: what only shows in the middle of it."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

import templates
from orchestrator import run_burst
from orchestrator.comfyui import ComfyUI
from orchestrator.comfyui.lookup import Absent, Queued, look_up, withdraw
from orchestrator.sandbox import Sandbox, SandboxSettings
from orchestrator.servers import default_name

Answer = tuple[int, dict[str, str], bytes]
OLD_ID = "00000000-0000-4000-8000-0000000000aa"
OTHER_ID = "00000000-0000-4000-8000-0000000000bb"
GRAPH = templates.load_workflow("smoke").graph


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings()) as running:
        yield running


class Between:
    """A server in front of the sandbox: `rule(method, path)` may answer in its stead, or None lets it through."""

    def __init__(self, target: str, rule: Callable[[str, str], Answer | None]) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                spoiled = rule(self.command, self.path)
                status, headers, content = spoiled or self._passed_on(body)
                self.send_response(status)
                for name, value in (headers | {"Content-Length": str(len(content))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def _passed_on(self, body: bytes) -> Answer:
                headers = {"Content-Type": self.headers.get("Content-Type", "")}
                answer = requests.request(self.command, target + self.path, data=body, headers=headers, timeout=10)
                return answer.status_code, {"Content-Type": answer.headers.get("Content-Type", "")}, answer.content

            do_GET = do_POST = _answer

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


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


def three(tmp_path: Path) -> Path:
    return state_of(tmp_path, **{key: {"status": "pending", "prompt_text": key} for key in "abc"})


def test_a_file_that_the_server_will_not_give_hinders_no_other_item(tmp_path: Path, sandbox: Sandbox) -> None:
    """It stays submitted, is asked for again by later bursts, and fails after its attempts; it is rendered once."""
    spoiled: list[str] = []

    def refuse_the_first(method: str, path: str) -> Answer | None:
        if "/view" not in path:
            return None
        spoiled[:] = spoiled or [path]
        return (403, {}, b"no") if path == spoiled[0] else None

    state = three(tmp_path)
    with Between(sandbox.url, refuse_the_first) as url:
        first = run_burst(state, server=url, template="smoke")
        assert (first.completed, first.failed, first.counts["submitted"]) == (2, 0, 1)
        assert "later burst" in first.notes[0]
        run_burst(state, server=url, template="smoke")
        last = run_burst(state, server=url, template="smoke")
    assert (last.failed, last.remaining) == (1, 0)
    assert set(sandbox.counts()["rendered_by_item"].values()) == {1}


def test_a_history_entry_that_cannot_be_read_hinders_no_other_item(tmp_path: Path, sandbox: Sandbox) -> None:
    spoiled: list[str] = []

    def garble_the_first(method: str, path: str) -> Answer | None:
        if "/history/" not in path:
            return None
        spoiled[:] = spoiled or [path]
        return (200, {}, b'{"surprise": []}') if path == spoiled[0] else None

    state = three(tmp_path)
    with Between(sandbox.url, garble_the_first) as url:
        report = run_burst(state, server=url, template="smoke")
    assert (report.completed, report.counts["submitted"]) == (2, 1)
    mended = state.read_text().replace(default_name(url), default_name(sandbox.url))
    state.write_text(mended)
    assert run_burst(state, server=sandbox.url, template="smoke").completed == 1
    assert set(sandbox.counts()["rendered_by_item"].values()) == {1}


def test_a_server_that_answers_nothing_sensible_charges_nobody(tmp_path: Path, sandbox: Sandbox) -> None:
    good = [True]

    def page(method: str, path: str) -> Answer | None:
        good[0] = good[0] and "/history/" not in path
        return None if good[0] else (200, {"Content-Type": "text/html"}, b"<html>maintenance</html>")

    state = three(tmp_path)
    with Between(sandbox.url, page) as url:
        report = run_burst(state, server=url, template="smoke")
    assert (report.exit_code, report.counts["submitted"]) == (75, 3)
    assert all("attempts" not in record for record in json.loads(state.read_text()).values())


def test_a_full_queue_pauses_the_sending_and_nothing_else(tmp_path: Path, sandbox: Sandbox) -> None:
    """429 to the second POST: the first is collected meanwhile, the others are sent when the server takes more."""
    posts: list[str] = []

    def full_once(method: str, path: str) -> Answer | None:
        if method == "POST" and path.endswith("/prompt"):
            posts.append(path)
            if len(posts) == 2:
                return 429, {"Retry-After": "1"}, b"full"
        return None

    state = three(tmp_path)
    with Between(sandbox.url, full_once) as url:
        report = run_burst(state, server=url, template="smoke")
    assert (report.completed, report.put_back) == (3, 0)
    assert len(posts) == 4
    assert all("previous_prompt_ids" not in record for record in json.loads(state.read_text()).values())


def test_a_server_that_is_still_being_waited_for_at_the_end_is_named(tmp_path: Path, sandbox: Sandbox) -> None:
    state = state_of(tmp_path, **{f"{n}.txt": {"status": "pending", "prompt_text": str(n)} for n in range(3)})
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{held.getsockname()[1]}"
        report = run_burst(state, template="smoke", server=[sandbox.url, away])
    assert report.completed == 3
    assert report.servers[0].lost is None
    assert "refused" in (report.servers[1].lost or "")
