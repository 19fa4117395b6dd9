"""The two races of a real server: a prompt that moves between two questions, and a POST that outlives its sender.

Each is shown first with the naive client, so that it is known to be there, and then passed.
"""

from __future__ import annotations

import json
import socket
import time
import uuid
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
import requests
from support.real_graphs import Graph, new_seeds, quick
from support.real_scene import Scene, entries, finish, get, renders
from support.relay import Relay
from support.waiting import wait_until

import templates
from orchestrator.comfyui import ComfyUI
from orchestrator.comfyui.lookup import Absent, Finished, look_up
from orchestrator.cycle.pacing import IN_DOUBT_SECONDS
from orchestrator.cycle.request import Request
from orchestrator.cycle.run import Run
from orchestrator.settings import Overrides
from state.item import Status

TRIES = 60
ORPHANS = 20
LATE_SECONDS = 3.0


def submit(url: str, graph: Graph) -> str:
    prompt_id = str(uuid.uuid4())
    answer = requests.post(f"{url}/prompt", json={"prompt": graph, "prompt_id": prompt_id}, timeout=10)
    assert answer.status_code == 200, answer.text
    return prompt_id


def quick_graph() -> Graph:
    prompt_id = str(uuid.uuid4())
    graph = templates.set_prefixes(quick(), prompt_id)
    graph["2"]["inputs"] |= new_seeds(1)[0]
    return graph


def until_over(is_lost: Callable[[str], bool | None], prompt_id: str) -> bool:
    """Ask again and again until it is known: True when a living prompt was called lost on the way."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if (lost := is_lost(prompt_id)) is not None:
            return lost
    raise AssertionError(f"{prompt_id} did not end")


def test_history_then_queue_loses_living_prompts_and_our_look_up_none(
    server_url: str, record_property: Callable[[str, object], None]
) -> None:
    with ComfyUI(server_url) as client:

        def naive(prompt_id: str) -> bool | None:
            if client.history(prompt_id) is not None:
                return False
            queue = client.queue()
            return None if prompt_id in {one.prompt_id for one in (*queue.running, *queue.pending)} else True

        def ours(prompt_id: str) -> bool | None:
            match look_up(client, [prompt_id])[prompt_id]:
                case Absent():
                    return True
                case Finished():
                    return False
            return None

        lost = {
            name: sum(until_over(asked, submit(server_url, quick_graph())) for _ in range(TRIES))
            for name, asked in (("naive", naive), ("ours", ours))
        }
        wait_until(lambda: client.queue_remaining() == 0, what="the queue is empty")
    record_property("lost", lost)
    print(f"called lost while they lived, of {TRIES}: {lost}")
    assert lost["naive"] > 0, "the race did not show: this test proves nothing here"
    assert lost["ours"] == 0


def test_a_post_whose_sender_closes_at_once_is_still_executed(server_url: str) -> None:
    prompt_ids = [str(uuid.uuid4()) for _ in range(ORPHANS)]
    address = urlsplit(server_url)
    for prompt_id in prompt_ids:
        body = json.dumps({"prompt": quick_graph(), "prompt_id": prompt_id}).encode()
        head = f"POST {address.path}/prompt HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
        with socket.create_connection((address.hostname, address.port or 80), timeout=10) as connection:
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    wait_until(lambda: all(get(server_url, f"/history/{one}") for one in prompt_ids), what="all are executed")


def test_a_burst_killed_while_its_post_is_on_the_way_is_adopted_not_repeated(scene: Scene, server_url: str) -> None:
    """The server gets the POST and nobody reads its answer; the next burst comes at once."""
    keys = scene.write(quick(), new_seeds(3))
    with Relay(server_url) as relay:
        relay.on_submit = relay.keep
        with scene.running(relay.url) as process:
            wait_until(lambda: relay.kept, what="the first POST is under way")
            process.kill()
            process.wait()
        orphan = json.loads(relay.kept[0])["prompt_id"]
        assert {item.prompt_id for item in scene.items().values()} >= {orphan}, "the id was durable before the POST"
        relay.deliver(relay.kept[0])
        relay.on_submit = lambda body: True

        said = scene.run(relay.url)

    assert said.code == 0, said.words
    assert scene.items()[keys[0]].prompt_id == orphan
    assert renders(server_url, scene) == dict.fromkeys(keys, 1)


def test_a_post_that_comes_after_the_next_burst_looked_is_adopted(scene: Scene, server_url: str) -> None:
    scene.launch = ("--in-doubt", "30")
    keys = scene.write(quick(), new_seeds(3))
    with Relay(server_url) as relay:
        relay.on_submit = relay.keep
        with scene.running(relay.url) as process:
            wait_until(lambda: relay.kept, what="the first POST is under way")
            process.kill()
            process.wait()
        orphan = json.loads(relay.kept[0])["prompt_id"]
        relay.on_submit = lambda body: True
        relay.asked.clear()
        with scene.running(relay.url) as process:
            history = f"GET /history/{orphan}"
            looks = ("GET /queue", f"GET /jobs/{orphan}", "GET /jobs?status=pending,in_progress")
            looked = [[history, look, history] for look in looks]
            wait_until(
                lambda: any(contains_in_order(relay.asked, one) for one in looked),
                what="the next burst looked and found nothing",
            )
            looked_at = time.monotonic()
            wait_until(lambda: time.monotonic() > looked_at + LATE_SECONDS, what="the POST is late")
            assert get(server_url, f"/history/{orphan}") == {}
            relay.deliver(relay.kept[0])
            said = finish(process)

    assert said.code == 0, said.words
    assert said.report["completed"] == 3
    assert scene.items()[keys[0]].prompt_id == orphan
    assert renders(server_url, scene) == dict.fromkeys(keys, 1)


def test_a_post_that_comes_later_than_the_time_in_doubt_is_counted_and_said(scene: Scene, server_url: str) -> None:
    """With no time in doubt, the naive way, the same delay renders twice; the report says so."""
    (key,) = scene.write(quick(), new_seeds(1))
    with Relay(server_url) as relay:
        relay.on_submit = relay.keep
        with scene.running(relay.url) as process:
            wait_until(lambda: relay.kept, what="the POST is under way")
            process.kill()
            process.wait()

        def late_first(body: bytes) -> bool:
            relay.deliver(relay.kept[0])
            return True

        relay.on_submit = late_first
        overrides = Overrides(template=str(scene.template), output_dir=scene.output, servers=(relay.url,))
        report = Run(Request(state=scene.state, poll_seconds=0.5, in_doubt_seconds=0.0, overrides=overrides)).execute()

    assert report.exit_code == 0
    assert report.rendered_twice == 1
    assert any(key in note for note in report.notes)
    assert scene.items()[key].status is Status.COMPLETED
    assert len(entries(server_url, scene)) == 2


@pytest.mark.parametrize("answered", [False, True], ids=["POST never arrived", "answer was lost"])
def test_a_connection_that_breaks_at_the_post(scene: Scene, server_url: str, answered: bool) -> None:
    """Nobody dies; the burst looks before it sends again."""
    keys = scene.write(quick(), new_seeds(3))
    with Relay(server_url) as relay:
        broken: list[bytes] = []

        def break_the_first(body: bytes) -> bool:
            if broken:
                return True
            if answered:
                relay.deliver(body)
            broken.append(body)
            return False

        relay.on_submit = break_the_first
        said = scene.run(relay.url)

    assert said.code == 0, said.words
    assert scene.counts() == {Status.COMPLETED: 3}
    assert (said.report["seconds"] < IN_DOUBT_SECONDS) is answered, "what is there is found at once"
    assert renders(server_url, scene) == dict.fromkeys(keys, 1)
    assert (scene.items()[keys[0]].prompt_id == json.loads(broken[0])["prompt_id"]) is answered


def contains_in_order(asked: list[str], wanted: list[str]) -> bool:
    rest = iter(list(asked))
    return all(one in rest for one in wanted)
