"""The sandbox's faults strike as told, as often as told, and the same way again; and /view's ranges."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from support.sandbox_client import Client, Graph, empty_image, eventually, text_to_image

from orchestrator.sandbox import Sandbox, SandboxSettings
from orchestrator.sandbox.faults import Fault, Faults


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(directory=tmp_path) as running:
        yield running


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[Client]:
    with Client(sandbox.url) as asking:
        yield asking


def rendered_file(client: Client) -> dict[str, str]:
    graph = text_to_image(size=256, prefix="burst/r")
    file: dict[str, str] = client.entry(client.submit(graph))["outputs"]["9"]["images"][0]
    return file


class TestPrompts:
    def test_fails_once_when_told_so(self, sandbox: Sandbox, client: Client) -> None:
        client.post("/sandbox/settings", {"fail_next": 1})
        first = client.entry(client.submit(text_to_image(seed=1)))
        second = client.entry(client.submit(text_to_image(seed=2)))
        kind, data = first["status"]["messages"][-1]
        assert (kind, data["node_type"], data["exception_type"]) == ("execution_error", "KSampler", "RuntimeError")
        assert data["traceback"]
        assert first["outputs"] == {}
        assert second["status"]["completed"]
        assert sandbox.settings.fail_next == 0

    def test_runs_out_of_memory_as_comfyui_does(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.change(out_of_memory_next=1)
        data = client.entry(client.submit(text_to_image()))["status"]["messages"][-1][1]
        assert data["exception_type"] == "torch.OutOfMemoryError"
        assert data["exception_message"].startswith("Allocation on device ")

    @pytest.mark.parametrize("graph", [text_to_image, empty_image])
    def test_runs_out_of_memory_above_so_many_pictures_at_once(
        self, sandbox: Sandbox, client: Client, graph: Callable[..., Graph]
    ) -> None:
        sandbox.change(out_of_memory_above=2)
        ended = [client.entry(client.submit(graph(batch=batch)))["status"] for batch in (3, 2, 3, 1)]
        assert [status["completed"] for status in ended] == [False, True, False, True]
        assert ended[0]["messages"][-1][1]["exception_type"] == "torch.OutOfMemoryError"
        sandbox.change(out_of_memory_above=0)
        assert client.entry(client.submit(graph(batch=3)))["status"]["completed"]

    def test_a_cuda_error_lasts_until_the_restart(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.change(cuda_error_after=2)

        def ended(*seeds: int) -> list[str]:
            entries = [client.entry(client.submit(text_to_image(seed=seed))) for seed in seeds]
            return [entry["status"]["messages"][-1][1].get("exception_type", "") for entry in entries]

        sick = "torch.AcceleratorError"
        assert ended(1, 2, 3, 4) == ["", "", sick, sick]
        data = client.entry(client.submit(text_to_image(seed=5)))["status"]["messages"][-1][1]
        assert data["exception_message"].startswith("CUDA error: ")
        sandbox.restart()
        assert ended(3, 4, 5) == ["", "", sick]
        sandbox.change(cuda_error_after=0)
        assert ended(6) == [""]

    def test_a_sick_server_fails_at_once(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.change(cuda_error_after=1)
        client.entry(client.submit(text_to_image(seed=1)))
        sandbox.change(seconds_per_prompt=300.0, seconds_next=[200.0])
        assert not client.entry(client.submit(text_to_image(seed=2)))["status"]["completed"]
        assert sandbox.settings.seconds_next == (200.0,)

    def test_the_next_prompts_take_so_long_each(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.change(seconds_per_prompt=0.0, seconds_next=[0.0, 300.0, 0.0])
        client.entry(client.submit(text_to_image(seed=1)))
        again = client.entry(client.submit(text_to_image(seed=1)))
        assert again["status"]["messages"][1][1]["nodes"], "what comes from the cache takes no time of any"
        slow = client.submit(text_to_image(seed=2))
        eventually(lambda: sandbox.settings.seconds_next == (0.0,))
        assert client.running() == [slow]
        client.post("/interrupt", {"prompt_id": slow})
        client.entry(client.submit(text_to_image(seed=3)))
        assert sandbox.settings.seconds_next == ()
        assert client.entry(client.submit(text_to_image(seed=4)))["status"]["completed"]

    def outcomes(self, settings: SandboxSettings) -> list[bool]:
        with Sandbox(settings) as sandbox, Client(sandbox.url) as client:
            for color in range(40):
                client.submit(empty_image(color=color))
            eventually(client.idle)
            return [entry["status"]["completed"] for entry in client.get("/history").json().values()]

    def test_a_rate_can_be_repeated_by_its_seed(self) -> None:
        first = self.outcomes(SandboxSettings(failure_rate=0.3, random_seed=1))
        assert first == self.outcomes(SandboxSettings(failure_rate=0.3, random_seed=1))
        assert first != self.outcomes(SandboxSettings(failure_rate=0.3, random_seed=2))
        assert 4 <= first.count(False) <= 22

    def test_naming_the_seed_again_starts_the_draws_anew(self) -> None:
        faults = Faults(SandboxSettings(failure_rate=0.5, random_seed=3))
        first = [faults.strikes(Fault.FAILURE) for _ in range(30)]
        faults.change({"random_seed": 3})
        assert [faults.strikes(Fault.FAILURE) for _ in range(30)] == first


class TestConnections:
    def test_dropped_before_the_queue_nothing_is_queued(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.change(drop_before_queue_next=1)
        with pytest.raises(requests.ConnectionError):
            client.submit(empty_image(), prompt_id="gone")
        counts = sandbox.counts()
        assert (counts["posts"], counts["queued"]) == (1, {})
        assert client.submit(empty_image(), prompt_id="gone") == "gone"

    def test_dropped_after_the_queue_it_runs(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.change(drop_after_queue_next=1)
        with pytest.raises(requests.ConnectionError):
            client.submit(empty_image(), prompt_id="there")
        assert client.entry("there")["status"]["completed"]
        assert sandbox.counts()["rendered"] == {"there": 1}

    def test_drop_rates_strike_about_as_often_as_they_say(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.change(drop_before_queue_rate=0.5)
        dropped = 0
        for _ in range(40):
            try:
                client.submit(empty_image())
            except requests.ConnectionError:
                dropped += 1
        assert 8 <= dropped <= 32
        assert sum(sandbox.counts()["queued"].values()) == 40 - dropped

    def test_unavailable_answers_a_page(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.change(unavailable_next=1)
        answer = client.get("/queue")
        assert (answer.status_code, answer.headers["Content-Type"]) == (503, "text/html; charset=utf-8")
        assert client.get("/queue").status_code == 200

    def test_a_history_that_nobody_can_read(self, sandbox: Sandbox, client: Client) -> None:
        prompt_id = client.submit(empty_image())
        client.entry(prompt_id)
        sandbox.change(unreadable_history=True)
        answer = client.get(f"/history/{prompt_id}")
        assert (answer.status_code, answer.headers["Content-Type"]) == (403, "text/html; charset=utf-8")
        assert [client.get(path).status_code for path in ("/history", "/queue", "/prompt")] == [200, 200, 200]
        sandbox.change(unreadable_history=False)
        assert prompt_id in client.get(f"/history/{prompt_id}").json()

    def test_renames_prompts_when_told_so(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.change(rename_prompts=True)
        given = client.submit(empty_image(), prompt_id="mine")
        assert given != "mine"
        assert client.entry(given)["status"]["completed"]


class TestDownloads:
    def test_truncated_it_announces_more_than_it_sends(self, sandbox: Sandbox, client: Client) -> None:
        file = rendered_file(client)
        whole = client.get("/view", params=file).content
        client.post("/sandbox/settings", {"truncate_next": 1})
        answer = client.get("/view", params=file, stream=True)
        assert int(answer.headers["Content-Length"]) == len(whole)
        got = b""

        def read() -> None:
            nonlocal got
            for chunk in answer.iter_content(512):
                got += chunk

        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            read()
        assert whole.startswith(got)
        assert 0 < len(got) < len(whole)
        assert client.get("/view", params=file).content == whole

    def test_gives_a_range(self, client: Client) -> None:
        file = rendered_file(client)
        whole = client.get("/view", params=file).content
        answer = client.get("/view", params=file, headers={"Range": "bytes=100-"})
        assert (answer.status_code, answer.content) == (206, whole[100:])
        assert answer.headers["Content-Range"] == f"bytes 100-{len(whole) - 1}/{len(whole)}"
        assert client.get("/view", params=file, headers={"Range": "bytes=10-19"}).content == whole[10:20]

    def test_refuses_a_range_past_the_end(self, client: Client) -> None:
        answer = client.get("/view", params=rendered_file(client), headers={"Range": "bytes=99999999-"})
        assert answer.status_code == 416

    def test_preview_is_smaller_and_webp(self, client: Client) -> None:
        file = rendered_file(client)
        answer = client.get("/view", params={**file, "preview": "webp;80"})
        assert answer.headers["Content-Type"] == "image/webp"
        assert answer.content[8:12] == b"WEBP"

    @pytest.mark.parametrize(
        ("query", "status"),
        [
            ("", 404),
            ("?filename=", 400),
            ("?filename=/etc/passwd", 400),
            ("?filename=a.png&type=elsewhere", 400),
            ("?filename=a.png&subfolder=../..", 403),
            ("?filename=a.png", 404),
        ],
    )
    def test_refuses_names(self, client: Client, query: str, status: int) -> None:
        assert client.get(f"/view{query}").status_code == status

    def test_uploads_stay_inside(self, sandbox: Sandbox, client: Client) -> None:
        for data in ({"subfolder": "../.."}, {"type": "elsewhere"}):
            files = {"image": ("a.png", b"x", "image/png")}
            answer = client.session.post(f"{client.url}/upload/image", files=files, data=data, timeout=5)
            assert answer.status_code == 400

    def test_an_upload_of_other_bytes_gets_another_name(self, client: Client) -> None:
        names = []
        for data in (b"one", b"one", b"two"):
            files = {"image": ("a.png", data, "image/png")}
            names.append(client.session.post(f"{client.url}/upload/image", files=files, timeout=5).json()["name"])
        assert names == ["a.png", "a.png", "a (1).png"]


def test_a_client_that_dies_in_the_middle_of_its_post_is_not_worth_a_word(
    sandbox: Sandbox, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    host, port = sandbox.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as dying:
        dying.sendall(b'POST /prompt HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"pro')
    eventually(lambda: sandbox.counts()["requests"].get("POST /prompt"))
    assert client.entry(client.submit(text_to_image()))["status"]["completed"]
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
