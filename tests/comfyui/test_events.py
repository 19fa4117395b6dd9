"""The websocket of a server: what its messages mean, and that whatever it does, nothing but the hint is lost."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from support.event_server import EventServer
from support.recorded import RECORDED
from support.sandbox_client import Client, empty_image, text_to_image
from support.waiting import wait_until
from websocket import WebSocket

from orchestrator.clock import Clock
from orchestrator.comfyui import ComfyUI
from orchestrator.comfyui import events as events_module
from orchestrator.comfyui.events import Event, Listener, Preview, read_message
from orchestrator.errors import ServerUnreachable
from orchestrator.sandbox import Sandbox, SandboxSettings

ONE = "954be33e-63a7-4487-974d-03c1e46594a8"


class Quick(Clock):
    """The real time; waits between two connections are short, and are kept."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.waits.append(seconds)
        return event.wait(min(seconds, 0.01))


class Recorder:
    """Keeps everything it hears."""

    def __init__(self) -> None:
        self.found: list[Any] = []
        self.connections = self.ends = 0
        self.wants_another_connection = False

    def connected(self) -> None:
        self.connections += 1

    def disconnected(self) -> None:
        self.ends += 1

    def hear(self, found: Event | Preview) -> None:
        self.found.append(found)


@pytest.fixture
def hearer() -> Recorder:
    return Recorder()


@pytest.fixture
def clock() -> Quick:
    return Quick()


@pytest.fixture
def listeners(hearer: Recorder, clock: Quick) -> Iterator[Any]:
    opened: list[tuple[ComfyUI, Listener]] = []

    def listen(url: str, **options: Any) -> Listener:
        client = ComfyUI(url, client_id="us", **options)
        listener = Listener(client.open_events, hearer, name="test", clock=clock)
        opened.append((client, listener))
        listener.start()
        return listener

    yield listen
    for client, listener in opened:
        listener.close()
        client.close()


class TestMessages:
    def test_of_a_recorded_prompt(self) -> None:
        found = [read_message(json.dumps(one)) for one in RECORDED["ws success"]["messages"]]
        told = [one for one in found if isinstance(one, Event) and one.kind != "other"]
        assert [(one.kind, one.prompt_id, one.node) for one in told] == [
            ("began", ONE, None),
            ("node", ONE, "98:6"),
            ("node", ONE, "9"),
            ("ended", ONE, None),
            ("over", ONE, None),
        ]

    def test_of_recorded_steps(self) -> None:
        case = RECORDED["ws text to image (KSampler progress)"]
        found = [read_message(json.dumps(one)) for one in case["messages"]]
        steps = [one for one in found if isinstance(one, Event) and one.kind == "step"]
        assert [(one.node, one.step, one.steps) for one in steps] == [("3", 1, 2), ("3", 2, 2)]

    @pytest.mark.parametrize("case", ["ws error", "ws interrupted, then the next one succeeds"])
    def test_a_failure_and_an_interruption_are_ends_too(self, case: str) -> None:
        found = [read_message(json.dumps(one)) for one in RECORDED[case]["messages"]]
        kinds = [one.kind for one in found if isinstance(one, Event)]
        assert kinds.index("ended") < kinds.index("over")

    @pytest.mark.parametrize(
        "message",
        [
            "",
            "[]",
            "{",
            "[" * 100_000,
            '{"type": "executing"}',
            '{"type": "executing", "data": {"node": null}}',
            '{"type": "executing", "data": {"node": 5, "prompt_id": "x"}}',
            '{"type": "execution_success", "data": {"prompt_id": 7}}',
            '{"type": "execution_success", "data": {}}',
            '{"type": "progress", "data": {"prompt_id": "x", "value": 1, "max": 0}}',
            '{"type": "progress", "data": {"prompt_id": "x", "value": "1", "max": 5}}',
            '{"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 0}}}}',
            b"",
            b"\0\0\0\1",
            b"\0\0\0\4\xff\xff\xff\xff{}",
            b"\0\0\0\4\0\0\0\2[]\xff\xd8\xff",
            b"\0\0\0\1\0\0\0\1<html>",
            b"\0\0\0\3text",
        ],
    )
    def test_what_says_nothing_of_a_prompt(self, message: str | bytes) -> None:
        assert read_message(message) is None

    def test_a_step_beyond_the_last_is_the_last(self) -> None:
        message = json.dumps({"type": "progress", "data": {"prompt_id": "x", "node": "3", "value": 25, "max": 20}})
        assert read_message(message) == Event("step", "x", "3", 20, 20)

    def test_previews_with_and_without_their_prompt(self) -> None:
        image = b"\xff\xd8\xff" + b"jpeg"
        metadata = json.dumps({"prompt_id": "x", "node_id": "3", "image_type": "image/jpeg"}).encode()
        assert read_message(struct.pack(">II", 1, 1) + image) == Preview("image/jpeg", image)
        named = struct.pack(">II", 4, len(metadata)) + metadata + image
        assert read_message(named) == Preview("image/jpeg", image, "x")


class TestListener:
    def test_hears_a_prompt_of_its_client(self, listeners: Any, hearer: Recorder) -> None:
        with Sandbox(SandboxSettings(latent_previews=True)) as sandbox, Client(sandbox.url) as client:
            listeners(sandbox.url)
            wait_until(lambda: hearer.connections, what="a connection")
            prompt_id = client.submit(text_to_image(steps=2), client_id="us")
            wait_until(lambda: Event("over", prompt_id) in hearer.found, what="the end")
            client.entry(client.submit(empty_image(), client_id="others"))
        about = {one.prompt_id for one in hearer.found if one.prompt_id is not None}
        assert about == {prompt_id}
        assert Event("step", prompt_id, "3", 2, 2) in hearer.found
        assert [one.prompt_id for one in hearer.found if isinstance(one, Preview)] == [prompt_id] * 2

    def test_connects_again_after_a_cut(self, listeners: Any, hearer: Recorder) -> None:
        with EventServer() as server:
            listeners(server.url)
            for number in range(1, 4):
                server.wait_for_connections(number)
                server.send({"type": "execution_start", "data": {"prompt_id": str(number)}})
                wait_until(lambda: len(hearer.found) == number, what="an event")  # noqa: B023
                server.cut()
        wait_until(lambda: hearer.connections <= hearer.ends, what="the last end")
        assert [one.prompt_id for one in hearer.found] == ["1", "2", "3"]

    @pytest.mark.parametrize("status", [403, 404, 500])
    def test_a_refusal_is_tried_again_more_and_more_rarely(
        self, listeners: Any, hearer: Recorder, clock: Quick, status: int
    ) -> None:
        with EventServer(status=status) as server:
            listeners(server.url)
            wait_until(lambda: len(clock.waits) >= 8, what="eight tries")
        assert clock.waits[:8] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
        assert hearer.connections == 0

    def test_nobody_there(self, listeners: Any, hearer: Recorder, clock: Quick) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            url = f"http://127.0.0.1:{free.getsockname()[1]}"
        listeners(url)
        wait_until(lambda: len(clock.waits) >= 2, what="two tries")
        assert hearer.connections == 0

    def test_a_dead_connection_is_noticed(
        self, listeners: Any, hearer: Recorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(events_module, "PING_AFTER_SECONDS", 0.02)
        with EventServer(answers_pings=False) as server:
            listeners(server.url)
            server.wait_for_connections(2)
            assert server.pings

    def test_a_quiet_connection_is_kept(
        self, listeners: Any, hearer: Recorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Long enough for an answer on a busy machine.
        monkeypatch.setattr(events_module, "PING_AFTER_SECONDS", 0.5)
        with EventServer() as server:
            listeners(server.url)
            wait_until(lambda: server.pings >= 2, what="two pings")
            assert len(server.requests) == 1
            hearer.wants_another_connection = True
            server.wait_for_connections(2)

    def test_a_flood_is_not_listened_to(self, listeners: Any, hearer: Recorder, clock: Quick) -> None:
        with EventServer() as server:
            listeners(server.url)
            server.wait_for_connections(1)
            server.send({"type": "status", "data": {}}, times=2 * events_module.MOST_MESSAGES_A_SECOND)
            wait_until(lambda: clock.waits, what="a pause")
        assert clock.waits[0] == 60.0

    def test_a_message_that_would_fill_the_memory_is_not_taken(
        self, listeners: Any, hearer: Recorder, clock: Quick, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(events_module, "PING_AFTER_SECONDS", 60.0)
        with EventServer() as server:
            listeners(server.url)
            server.wait_for_connections(1)
            server.send_raw(bytes([0x82, 127]) + (1 << 40).to_bytes(8, "big") + b"x" * 100_000)
            wait_until(lambda: clock.waits, what="a pause")

    def test_no_websocket_at_all(self, listeners: Any, hearer: Recorder, clock: Quick) -> None:
        with EventServer() as server:
            listeners(server.url)
            server.wait_for_connections(1)
            server.send_raw(b"HTTP/1.1 200 OK\r\n\r\n<html>" * 50)
            wait_until(lambda: clock.waits, what="a pause")

    def test_the_users_headers_go_along_and_no_origin(self, listeners: Any) -> None:
        with EventServer() as server:
            address = server.url.replace("://", "://me:geheim99@")
            listeners(address, headers={"X-API-Key": "sk-abcdef"})
            server.wait_for_connections(1)
            (head,) = server.requests
        assert head.startswith("GET /ws?clientId=us HTTP/1.1\r\n")
        assert "X-API-Key: sk-abcdef\r\n" in head
        assert "Authorization: Basic bWU6Z2VoZWltOTk=\r\n" in head
        assert "\r\norigin:" not in head.lower()

    def test_a_redirect_is_not_followed(self, listeners: Any, clock: Quick) -> None:
        with EventServer() as stranger, EventServer(status=302, elsewhere=stranger.url) as server:
            listeners(server.url, headers={"X-API-Key": "sk-abcdef"})
            wait_until(lambda: clock.waits, what="a pause")
            assert stranger.requests == []

    def test_one_that_breaks_after_its_handshake_is_closed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def send(self: WebSocket, data: object) -> None:
            raise BrokenPipeError

        monkeypatch.setattr(WebSocket, "send", send)
        with EventServer() as server, ComfyUI(server.url) as client:
            # The error holds all that was open where it was raised.
            with pytest.raises(ServerUnreachable) as broken:
                client.open_events()
            wait_until(lambda: server.ended == 1, what="the end of the connection")
        assert "no events" in str(broken.value)

    def test_no_secret_in_an_error(self) -> None:
        with EventServer(status=403) as server:
            client = ComfyUI(server.url, headers={"X-API-Key": "sk-abcdef"}, client_id="us")
            with client, pytest.raises(ServerUnreachable) as raised:
                client.open_events()
        assert "403" in str(raised.value)
        assert "sk-abcdef" not in str(raised.value)

    def test_close_ends_a_connection_that_is_waited_on(self, listeners: Any, hearer: Recorder) -> None:
        with EventServer() as server:
            listener = listeners(server.url)
            server.wait_for_connections(1)
            listener.close()
            wait_until(lambda: hearer.ends == 1, what="the end")
            listener.start()
            assert len(server.requests) == 1
