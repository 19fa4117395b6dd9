"""The sandbox as a server: its queue, its pictures, its cache, its counts, and what a test can do to it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image
from support.background import in_background
from support.sandbox_client import Client, Listener, empty_image, eventually, text_to_image
from websocket import WebSocket, WebSocketBadStatusException, WebSocketTimeoutException, create_connection

from orchestrator.errors import SettingsError
from orchestrator.sandbox import Sandbox, SandboxSettings, serve
from orchestrator.sandbox.catalogue import NODE_CLASSES
from orchestrator.sandbox.graph import run_order
from orchestrator.sandbox.newer_catalogue import newer_classes
from orchestrator.sandbox.nodes import Catalogue
from templates import load_workflow

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(directory=tmp_path) as running:
        yield running


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[Client]:
    with Client(sandbox.url) as asking:
        yield asking


def picture(client: Client, file: dict[str, str]) -> Image.Image:
    answer = client.get("/view", params=file)
    assert answer.status_code == 200
    return Image.open(io.BytesIO(answer.content))


class TestQueue:
    def test_runs_by_number_front_first_then_as_they_came(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.hold("next")
        for color, (name, more) in enumerate(
            [("c", {}), ("d", {}), ("explicit", {"number": 0.5}), ("front", {"front": True}), ("last", {"number": 99})]
        ):
            client.submit(empty_image(color=color, prefix=name), prompt_id=name, **more)
        sandbox.release()
        eventually(client.idle)
        # c took number 0, d number 1, front -2 (an explicit number uses none up).
        assert list(client.get("/history").json()) == ["front", "c", "explicit", "d", "last"]

    def test_fronts_run_in_reverse(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.hold("next")
        client.submit(empty_image(), prompt_id="first")
        for name in ("one", "two"):
            client.submit(empty_image(prefix=name), prompt_id=name, front=True)
        sandbox.release()
        eventually(client.idle)
        assert list(client.get("/history").json()) == ["two", "one", "first"]

    def test_one_at_a_time_and_listed_whole(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.hold("render")
        ids = [client.submit(empty_image(color=color)) for color in range(3)]
        eventually(client.running)
        assert (client.running(), client.waiting()) == (ids[:1], ids[1:])
        assert client.get("/prompt").json() == {"exec_info": {"queue_remaining": 3}}
        assert client.get("/queue").json()["queue_pending"][0][2] == empty_image(color=1)

    def test_an_id_used_twice_is_queued_again(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.hold("next")
        client.submit(empty_image(color=1), prompt_id="twice")
        client.submit(empty_image(color=2), prompt_id="twice")
        assert client.waiting() == ["twice", "twice"]
        client.post("/queue", {"delete": ["twice"]})
        assert client.waiting() == ["twice"]
        sandbox.release()
        assert client.entry("twice")["prompt"][2] == empty_image(color=2)

    def test_chooses_an_id_where_none_is_given(self, client: Client) -> None:
        given = client.post("/prompt", {"prompt": empty_image()}).json()["prompt_id"]
        assert str(uuid.UUID(given)) == given

    def test_clear_leaves_the_running_one(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.hold("render")
        ids = [client.submit(empty_image(color=color)) for color in range(3)]
        eventually(client.running)
        client.post("/queue", {"clear": True})
        assert (client.running(), client.waiting()) == (ids[:1], [])

    def test_every_route_stands_under_api_too(self, client: Client) -> None:
        for path in ("/queue", "/prompt", "/history", "/object_info/SaveImage", "/models", "/embeddings", "/features"):
            plain, prefixed = client.get(path), client.get(f"/api{path}")
            assert plain.status_code == prefixed.status_code == 200
            assert plain.json() == prefixed.json()

    def test_history_is_evicted_oldest_first(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.change(history_limit=2)
        ids = [client.submit(empty_image(color=color)) for color in range(5)]
        eventually(client.idle)
        # ComfyUI drops one only when there are more than the limit, so one more than the limit is kept.
        assert list(client.get("/history").json()) == ids[2:]
        assert list(client.get("/history?max_items=1").json()) == ids[-1:]
        assert client.get(f"/history/{ids[0]}").json() == {}

    def test_a_page_of_another_origin_is_refused(self, client: Client) -> None:
        answer = client.session.get(f"{client.url}/queue", headers={"Origin": "http://elsewhere.example"}, timeout=5)
        assert answer.status_code == 403


class TestTheRace:
    def test_history_then_queue_alone_takes_a_living_prompt_for_lost(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.hold("finish")
        prompt_id = client.submit(empty_image())
        eventually(client.running)
        history = client.get(f"/history/{prompt_id}").json()
        sandbox.release()
        eventually(client.idle)
        queue = client.get("/queue").json()
        assert history == {}
        assert queue == {"queue_running": [], "queue_pending": []}
        assert client.get(f"/history/{prompt_id}").json()[prompt_id]["status"]["completed"]

    def test_a_prompt_is_never_in_neither_place(self, sandbox: Sandbox) -> None:
        """History asked again after the queue finds every prompt, however fast they move."""
        stop = threading.Event()
        ids: list[str] = []

        def submit_on() -> None:
            with Client(sandbox.url) as other:
                while not stop.is_set():
                    ids.append(other.submit(empty_image(color=len(ids) % 1000, prefix=f"p{len(ids)}")))

        submitting = threading.Thread(target=submit_on)
        submitting.start()
        try:
            with Client(sandbox.url) as client:
                for _ in range(100):
                    latest = eventually(lambda: ids[-1:])[0]
                    seen = client.get("/queue").text + client.get(f"/history/{latest}").text
                    assert latest in seen
        finally:
            stop.set()
            submitting.join()


class TestInterrupt:
    def test_stops_the_running_prompt_only(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.change(seconds_per_prompt=300.0)
        prompt_id = client.submit(text_to_image())
        eventually(client.running)
        client.post("/interrupt", {"prompt_id": UNKNOWN})
        assert client.running() == [prompt_id]
        client.post("/interrupt", {"prompt_id": prompt_id})
        status = client.entry(prompt_id)["status"]
        assert (status["status_str"], status["completed"]) == ("error", False)
        kind, data = status["messages"][-1]
        assert (kind, data["node_type"]) == ("execution_interrupted", "KSampler")
        assert sandbox.counts()["rendered"] == {}

    def test_without_an_id_and_without_a_body(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.change(seconds_per_prompt=300.0)
        prompt_id = client.submit(text_to_image())
        eventually(client.running)
        assert client.session.post(f"{client.url}/interrupt", timeout=5).status_code == 200
        assert client.entry(prompt_id)["status"]["messages"][-1][0] == "execution_interrupted"

    def test_an_idle_server_keeps_no_interrupt_for_later(self, client: Client) -> None:
        client.post("/interrupt", {})
        assert client.entry(client.submit(empty_image()))["status"]["completed"]


class TestOrder:
    def test_what_brings_a_save_node_nearer_runs_first(self) -> None:
        graph = text_to_image()
        graph["10"] = {"class_type": "VAELoader", "inputs": {"vae_name": "tiny-vae.safetensors"}}
        graph["8"]["inputs"] = {"vae": ["10", 0], "samples": ["3", 0]}
        catalogue = Catalogue(lambda: NODE_CLASSES, choices=lambda kind: [])
        order = run_order(graph, outputs=("9",), cached=set(), catalogue=catalogue)
        assert order == ["10", "5", "4", "7", "6", "3", "8", "9"]
        assert run_order(graph, outputs=("9",), cached={"3"}, catalogue=catalogue) == ["10", "8", "9"]


class TestWebsocket:
    def test_an_interruption_is_told_to_everyone(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.change(seconds_per_prompt=300.0)
        with Listener(sandbox.url, "bystander") as listener:
            prompt_id = client.submit(text_to_image())
            eventually(client.running)
            client.post("/interrupt", {})
            eventually(lambda: "execution_interrupted" in [message["type"] for message in listener.of(prompt_id)])
            assert "execution_start" not in [message["type"] for message in listener.of(prompt_id)]

    def test_messages_go_to_the_client_that_submitted(self, sandbox: Sandbox, client: Client) -> None:
        with Listener(sandbox.url, "me") as mine, Listener(sandbox.url, "other") as other:
            prompt_id = client.submit(text_to_image(), client_id="me")
            mine.wait_for_end(prompt_id)
            assert other.of(prompt_id) == []

    def test_a_client_that_comes_back_is_told_the_running_node(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.hold("render")
        client.submit(empty_image(), client_id="me")
        eventually(client.running)
        with Listener(sandbox.url, "me") as listener:
            told = eventually(lambda: listener.messages[1:2], "a second message")
        assert told == [{"type": "executing", "data": {"node": "1"}}]

    def test_features_are_told_when_asked_for(self, sandbox: Sandbox) -> None:
        async def ask() -> Any:
            async with aiohttp.ClientSession() as session, session.ws_connect(f"{sandbox.url}/ws") as socket:
                await socket.receive_json(timeout=5)
                await socket.send_json({"type": "feature_flags", "data": {}})
                return await socket.receive_json(timeout=5)

        with in_background(asyncio.run, ask()) as end:  # the loop of Playwright may run in this thread
            answer = end()
        assert answer == {
            "type": "feature_flags",
            "data": {"supports_preview_metadata": True, "max_upload_size": 2**20 * 100},
        }

    def test_refused_where_that_was_asked_for(self, sandbox: Sandbox) -> None:
        sandbox.change(refuse_websocket=True)
        with pytest.raises(WebSocketBadStatusException, match="404"):
            create_connection(f"{sandbox.url.replace('http', 'ws')}/ws?clientId=me", timeout=10)

    def test_no_previews_unless_asked_for(self, sandbox: Sandbox, client: Client) -> None:
        with websocket(sandbox, "me") as socket:
            client.submit(text_to_image(steps=1), client_id="me")
            assert not [message for message in until_the_end(socket) if isinstance(message, bytes)]

    def test_a_preview_after_each_step(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.change(latent_previews=True)
        with websocket(sandbox, "me") as socket:
            client.submit(text_to_image(steps=3), client_id="me")
            found = [message for message in until_the_end(socket) if isinstance(message, bytes)]
        assert [struct.unpack(">II", one[:8]) for one in found] == [(1, 1)] * 3
        with Image.open(io.BytesIO(found[-1][8:])) as picture:
            assert (picture.format, picture.size) == ("JPEG", (64, 64))

    def test_previews_tell_their_prompt_to_a_client_that_wants_to_know(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.change(latent_previews=True)
        with websocket(sandbox, "me") as socket:
            socket.send(json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}}))
            prompt_id = client.submit(text_to_image(steps=1), client_id="me")
            (found,) = [message for message in until_the_end(socket) if isinstance(message, bytes)]
        kind, length = struct.unpack(">II", found[:8])
        metadata = json.loads(found[8 : 8 + length])
        assert (kind, metadata["prompt_id"], metadata["node_id"]) == (4, prompt_id, "3")
        assert metadata["image_type"] == "image/jpeg"
        with Image.open(io.BytesIO(found[8 + length :])) as picture:
            assert picture.format == "JPEG"

    def test_the_end_of_a_replaced_socket_makes_its_client_deaf(self, sandbox: Sandbox, client: Client) -> None:
        """So does ComfyUI: whoever ends takes what is known under its id away."""
        with websocket(sandbox, "me") as first, websocket(sandbox, "me") as second:
            second.settimeout(0.05)
            first.close()

            def is_deaf() -> bool:
                client.entry(client.submit(empty_image(), client_id="me"))
                try:
                    second.recv()
                except WebSocketTimeoutException:
                    return True
                return False

            eventually(is_deaf)


def websocket(sandbox: Sandbox, client_id: str) -> contextlib.closing[WebSocket]:
    """An open socket that has been greeted; close it."""
    socket = create_connection(f"{sandbox.url.replace('http', 'ws')}/ws?clientId={client_id}", timeout=10)
    assert json.loads(socket.recv())["data"]["sid"] == client_id
    return contextlib.closing(socket)


def until_the_end(socket: WebSocket) -> list[str | bytes]:
    """Everything up to `executing` without a node."""
    found: list[str | bytes] = []
    while not (found and isinstance(found[-1], str) and '"node": null' in found[-1]):
        found.append(socket.recv())
    return found


class TestPictures:
    def test_of_the_graphs_size_with_the_graph_in_it(self, client: Client) -> None:
        graph = text_to_image(size=128, prefix="burst/EP01/a")
        graph["5"]["inputs"]["height"] = 64
        extra = {"extra_pnginfo": {"workflow": {"nodes": [1]}}}
        entry = client.entry(client.submit(graph, extra_data=extra))
        file = {"filename": "a_00001_.png", "subfolder": "burst/EP01", "type": "output"}
        assert entry["outputs"] == {"9": {"images": [file]}}
        with picture(client, file) as found:
            assert (found.format, found.mode, found.size) == ("PNG", "RGB", (128, 64))
            assert json.loads(found.info["prompt"]) == graph
            assert json.loads(found.info["workflow"]) == {"nodes": [1]}

    def test_the_shipped_upscale_doubles_it(self, client: Client) -> None:
        entry = client.entry(client.submit(dict(load_workflow("upscale").graph)))
        with picture(client, entry["outputs"]["3"]["images"][0]) as drawn:
            assert drawn.size == (1024, 1024)

    @pytest.mark.parametrize(("model", "side"), [("RealESRGAN_x4plus.pth", 2048), ("2x_tiny.safetensors", 1024)])
    def test_an_upscale_model_makes_it_as_many_times_as_large(
        self, sandbox: Sandbox, client: Client, model: str, side: int
    ) -> None:
        sandbox.change(upscale_models=[model])
        graph = dict(load_workflow("upscale-model").graph)
        graph["2"] = {"class_type": "UpscaleModelLoader", "inputs": {"model_name": model}}
        entry = client.entry(client.submit(graph))
        with picture(client, entry["outputs"]["4"]["images"][0]) as drawn:
            assert drawn.size == (side, side)

    def test_without_captions_nothing_is_written_on_it(self, sandbox: Sandbox, client: Client) -> None:
        colors = []
        for captions in (True, False):
            sandbox.change(hide_captions=not captions)
            entry = client.entry(client.submit(text_to_image(size=256, prefix=f"c{captions}", seed=5)))
            with picture(client, entry["outputs"]["9"]["images"][0]) as drawn:
                colors.append(len(drawn.crop((0, 240, 256, 256)).getcolors(256 * 16) or []))
        assert colors[0] > colors[1] + 4, "letters have many shades, and hills one each"

    def test_a_batch_counts_on_from_what_is_there(self, client: Client) -> None:
        names = []
        for seed in (1, 2):
            entry = client.entry(client.submit(text_to_image(seed=seed, prefix="b", batch=2)))
            names += [file["filename"] for file in entry["outputs"]["9"]["images"]]
        assert names == ["b_00001_.png", "b_00002_.png", "b_00003_.png", "b_00004_.png"]

    def test_another_seed_or_text_is_another_picture(self, client: Client) -> None:
        found = set()
        for number, (text, seed) in enumerate([("a", 1), ("a", 2), ("b", 1)]):
            entry = client.entry(client.submit(text_to_image(text, seed=seed, prefix=f"s{number}")))
            with picture(client, entry["outputs"]["9"]["images"][0]) as drawn:
                found.add(drawn.getpixel((60, 60)))
        assert len(found) == 3

    def test_is_marked_as_a_placeholder(self, client: Client) -> None:
        graph = empty_image(color=0x808080)
        graph["1"]["inputs"] |= {"width": 512, "height": 512}
        entry = client.entry(client.submit(graph))
        with picture(client, entry["outputs"]["2"]["images"][0]) as drawn:
            banner = drawn.crop((0, 472, 512, 512)).convert("L").getextrema()
            assert drawn.getpixel((500, 10)) == (0x80, 0x80, 0x80)
        assert banner[1] - banner[0] > 60

    def test_leaving_the_output_folder_is_an_execution_error(self, sandbox: Sandbox, client: Client) -> None:
        entry = client.entry(client.submit(empty_image(prefix="../../outside")))
        kind, data = entry["status"]["messages"][-1]
        assert (kind, data["node_id"]) == ("execution_error", "2")
        assert "outside the output folder" in data["exception_message"]
        assert list(sandbox.output_directory.rglob("*.png")) == []

    def test_previews_are_temporary(self, sandbox: Sandbox, client: Client) -> None:
        graph = empty_image()
        graph["2"] = {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}
        entry = client.entry(client.submit(graph))
        (file,) = entry["outputs"]["2"]["images"]
        assert file["type"] == "temp"
        picture(client, file).close()
        sandbox.restart(keep_outputs=True)
        assert client.get("/view", params=file).status_code == 404

    def test_animated_webp_brings_a_list_that_holds_no_files(self, client: Client) -> None:
        graph = text_to_image(batch=3)
        more = {"fps": 6.0, "lossless": True, "quality": 80, "method": "default"}
        inputs = {"images": ["8", 0], "filename_prefix": "an", **more}
        graph["9"] = {"class_type": "SaveAnimatedWEBP", "inputs": inputs}
        output = client.entry(client.submit(graph))["outputs"]["9"]
        assert output["animated"] == [True]
        with picture(client, output["images"][0]) as drawn:
            assert (drawn.format, getattr(drawn, "n_frames", 1)) == ("WEBP", 3)

    def test_an_uploaded_picture_is_drawn_over(self, sandbox: Sandbox, client: Client) -> None:
        data = io.BytesIO()
        Image.new("RGB", (80, 48), (0, 200, 0)).save(data, "PNG")
        form = {"files": {"image": ("in.png", data.getvalue(), "image/png")}, "data": {"subfolder": "sub"}}
        answer = client.session.post(f"{client.url}/upload/image", timeout=5, **form)
        assert answer.json() == {"name": "in.png", "subfolder": "sub", "type": "input"}
        graph = {
            "1": {"class_type": "LoadImage", "inputs": {"image": "sub/in.png"}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
        }
        with picture(client, client.entry(client.submit(graph))["outputs"]["2"]["images"][0]) as drawn:
            assert drawn.size == (80, 48)
            red, green, _ = drawn.getpixel((79, 47))  # type: ignore[misc]
        assert green > max(130, red)


class TestCache:
    def test_an_equal_graph_gets_the_earlier_file(self, sandbox: Sandbox, client: Client) -> None:
        first = client.entry(client.submit(text_to_image(prefix="same"), prompt_id="one"))
        second = client.entry(client.submit(text_to_image(prefix="same"), prompt_id="two"))
        assert second["outputs"] == first["outputs"]
        assert second["status"]["messages"][1][1]["nodes"] == list(text_to_image())
        assert sandbox.counts()["rendered"] == {"one": 1}

    def test_another_prefix_runs_the_save_node_alone(self, sandbox: Sandbox, client: Client) -> None:
        client.entry(client.submit(text_to_image(prefix="a")))
        entry = client.entry(client.submit(text_to_image(prefix="b"), prompt_id="again"))
        assert entry["outputs"]["9"]["images"][0]["filename"] == "b_00001_.png"
        assert set(entry["status"]["messages"][1][1]["nodes"]) == set(text_to_image()) - {"9"}
        assert sandbox.counts()["rendered"]["again"] == 1

    def test_remembers_no_more_than_the_last_prompt(self, client: Client) -> None:
        for prompt_id, graph in (("a", empty_image(color=1)), ("b", empty_image(color=2)), ("c", empty_image(color=1))):
            entry = client.entry(client.submit(graph, prompt_id=prompt_id))
            assert entry["status"]["messages"][1][1]["nodes"] == []
        assert entry["outputs"]["2"]["images"][0]["filename"] == "e_00003_.png"

    def test_notices_another_file_of_the_same_name(self, sandbox: Sandbox, client: Client) -> None:
        graph = {
            "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
        }
        cached = []
        for color in (1, 1, 2):
            Image.new("RGB", (16, 16), (color, 0, 0)).save(sandbox.input_directory / "a.png")
            cached.append(client.entry(client.submit(graph))["status"]["messages"][1][1]["nodes"])
        assert cached == [[], ["1", "2"], []]

    def test_free_forgets(self, client: Client) -> None:
        client.entry(client.submit(empty_image()))
        client.post("/free", {"unload_models": True, "free_memory": True})
        entry = client.entry(client.submit(empty_image()))
        assert entry["status"]["messages"][1][1]["nodes"] == []

    def test_takes_no_time(self, sandbox: Sandbox, client: Client) -> None:
        client.entry(client.submit(empty_image()))
        sandbox.change(seconds_per_prompt=300.0)
        assert client.entry(client.submit(empty_image()))["status"]["completed"]


class TestValidation:
    @pytest.mark.parametrize(
        ("change", "error_type"),
        [
            ({"width": "x"}, "invalid_input_type"),
            ({"width": 99999}, "value_bigger_than_max"),
            ({"width": ["2"]}, "bad_linked_input"),
            ({"width": ["2", 0]}, "exception_during_validation"),
            ({"width": ["1", 0]}, "return_type_mismatch"),
        ],
    )
    def test_says_what_is_wrong(self, client: Client, change: dict[str, Any], error_type: str) -> None:
        graph = empty_image()
        graph["1"]["inputs"] |= change
        answer = client.post("/prompt", {"prompt": graph})
        assert answer.status_code == 400
        said = json.dumps(answer.json()["node_errors"])
        assert error_type in said or "exception_during_inner_validation" in said

    def test_numbers_in_quotes_are_taken(self, client: Client) -> None:
        graph = empty_image()
        graph["1"]["inputs"]["width"] = "48"
        entry = client.entry(client.submit(graph))
        assert entry["prompt"][2]["1"]["inputs"]["width"] == 48

    def test_one_good_output_is_enough(self, client: Client) -> None:
        graph = empty_image()
        graph["3"] = {"class_type": "SaveImage", "inputs": {"images": ["9", 0], "filename_prefix": "x"}}
        answer = client.post("/prompt", {"prompt": graph})
        assert answer.status_code == 200
        assert list(answer.json()["node_errors"]) == ["3"]
        assert client.entry(answer.json()["prompt_id"])["prompt"][4] == ["2"]

    def test_a_circle_is_refused(self, client: Client) -> None:
        graph = empty_image()
        graph["1"] = {"class_type": "ImageInvert", "inputs": {"image": ["4", 0]}}
        graph["4"] = {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}}
        assert client.post("/prompt", {"prompt": graph}).status_code == 400

    def test_what_is_no_json_is_a_500(self, client: Client) -> None:
        assert client.session.post(f"{client.url}/prompt", data=b"{", timeout=5).status_code == 500

    def test_any_model_on_request(self, sandbox: Sandbox, client: Client) -> None:
        graph = text_to_image()
        graph["4"]["inputs"]["ckpt_name"] = "elsewhere.safetensors"
        assert client.post("/prompt", {"prompt": graph}).status_code == 400
        sandbox.change(accept_any_model=True)
        assert client.post("/prompt", {"prompt": graph}).status_code == 200

    def test_a_node_class_that_it_lacks(self, sandbox: Sandbox, client: Client) -> None:
        everything = client.get("/object_info").json()
        sandbox.change(missing_nodes=["KSampler"])
        assert set(everything) - set(client.get("/object_info").json()) == {"KSampler"}
        assert client.get("/object_info/KSampler").json() == {}
        answer = client.post("/prompt", {"prompt": text_to_image()})
        assert answer.status_code == 400
        assert answer.json()["error"]["message"] == "Cannot execute because node KSampler does not exist."
        assert client.post("/prompt", {"prompt": empty_image()}).status_code == 200

    def test_what_is_accepted_is_rendered_though_its_node_goes(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.hold("next")
        prompt_id = client.submit(empty_image())
        sandbox.change(missing_nodes=["EmptyImage"])
        sandbox.release()
        assert client.entry(prompt_id)["status"]["completed"]


class TestCounts:
    def test_counts_what_was_rendered(self, sandbox: Sandbox, client: Client) -> None:
        client.entry(client.submit(empty_image(color=1), prompt_id="a", item="item one"))
        client.entry(client.submit(empty_image(color=2), prompt_id="b", item="item one"))
        client.get("/api/history/a")
        counts = client.get("/sandbox/counts").json()
        assert counts["rendered"] == {"a": 1, "b": 1}
        assert counts["rendered_by_item"] == counts["queued_by_item"] == {"item one": 2}
        assert counts["posts"] == counts["requests"]["POST /prompt"] == 2
        assert counts["requests"]["GET /history/{prompt_id}"] >= 3
        assert not any("sandbox" in name for name in counts["requests"])

    def test_measures_how_busy_it_was(self, sandbox: Sandbox, client: Client) -> None:
        assert sandbox.counts()["busy_share"] == 0.0
        sandbox.change(seconds_per_prompt=0.1)
        client.entry(client.submit(empty_image()))
        counts = sandbox.counts()
        assert 0.1 <= counts["busy_seconds"] < 5.0
        assert 0.5 < counts["busy_share_of_work"] <= 1.0
        assert counts["busy_share"] <= counts["busy_share_of_work"]

    def test_counts_a_prompt_with_two_save_nodes_once(self, sandbox: Sandbox, client: Client) -> None:
        graph = empty_image()
        graph["3"] = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "second"}}
        prompt_id = client.submit(graph)
        assert len(client.entry(prompt_id)["outputs"]) == 2
        assert sandbox.counts()["rendered"] == {prompt_id: 1}

    def test_keeps_no_api_key_in_the_history(self, client: Client) -> None:
        prompt_id = client.submit(empty_image(), extra_data={"api_key_comfy_org": "secret"})
        assert client.entry(prompt_id)["prompt"][3] == {}

    def test_does_not_count_a_failure(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.change(fail_next=1)
        client.entry(client.submit(empty_image()))
        assert sandbox.counts()["rendered"] == {}


class TestRestart:
    def test_loses_queue_history_and_numbers(self, sandbox: Sandbox, client: Client) -> None:
        done = client.submit(empty_image(color=1), item="done")
        file = client.entry(done)["outputs"]["2"]["images"][0]
        sandbox.hold("render")
        lost = [client.submit(empty_image(color=color)) for color in (2, 3)]
        eventually(client.running)
        answer = client.post("/sandbox/restart", {"keep_outputs": True})
        assert answer.json() == {"lost_by_restart": 2}
        assert client.idle()
        assert [client.get(f"/history/{each}").json() for each in (done, *lost)] == [{}, {}, {}]
        assert client.get("/view", params=file).status_code == 200
        counts = sandbox.counts()
        assert (counts["lost_by_restart"], counts["rendered_by_item"]) == (2, {"done": 1})
        sandbox.release()
        assert client.post("/prompt", {"prompt": empty_image(color=1)}).json()["number"] == 0

    def test_forgets_the_cache(self, sandbox: Sandbox, client: Client) -> None:
        client.entry(client.submit(empty_image()))
        sandbox.restart()
        entry = client.entry(client.submit(empty_image()))
        assert entry["outputs"]["2"]["images"][0]["filename"] == "e_00002_.png"

    def test_can_wipe_the_outputs(self, sandbox: Sandbox, client: Client) -> None:
        file = client.entry(client.submit(empty_image()))["outputs"]["2"]["images"][0]
        sandbox.restart(keep_outputs=False)
        assert client.get("/view", params=file).status_code == 404

    def test_can_leave_a_file_cut_short(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.change(seconds_per_prompt=300.0)
        prompt_id = client.submit(text_to_image(prefix="cut", size=512, batch=2))
        eventually(client.running)
        sandbox.restart(leave_cut_file=True)
        assert [path.name for path in sandbox.output_directory.iterdir()] == ["cut_00001_.png"]
        answer = client.get("/view", params={"filename": "cut_00001_.png"})
        with pytest.raises(OSError, match="truncated"), Image.open(io.BytesIO(answer.content)) as cut:
            cut.load()
        assert prompt_id not in sandbox.counts()["rendered"]

    def test_leaves_nothing_of_the_running_prompt_otherwise(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.change(seconds_per_prompt=300.0)
        client.submit(text_to_image())
        eventually(client.running)
        sandbox.restart()
        assert list(sandbox.output_directory.rglob("*.png")) == []

    def test_closes_the_websockets(self, sandbox: Sandbox) -> None:
        with Listener(sandbox.url, "me") as listener:
            sandbox.restart()
            eventually(listener.closed.is_set)

    def test_resets_connections_while_it_is_down(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.restart(down_seconds=300.0)
        with pytest.raises(OSError, match=r"[Rr]eset|aborted|closed"):
            client.get("/queue")
        assert client.post("/sandbox/restart", {}).status_code == 200
        assert client.idle()

    def test_refuses_what_it_does_not_know(self, client: Client) -> None:
        for body in ({"keep": True}, {"keep_outputs": "yes"}, [1]):
            assert client.post("/sandbox/restart", body).status_code == 400


class TestStallAndHold:
    def test_a_stalled_worker_leaves_http_going(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.change(seconds_per_prompt=300.0)
        ids = [client.submit(empty_image(color=color)) for color in (1, 2)]
        eventually(client.running)
        assert client.post("/sandbox/stall").status_code == 200
        client.post("/interrupt", {})
        sandbox.change(seconds_per_prompt=0.0)
        assert (client.running(), client.waiting()) == (ids[:1], ids[1:])
        sandbox.restart()
        assert client.entry(client.submit(empty_image(color=3)))["status"]["completed"]

    def test_held_at_render_nothing_is_on_disk_yet(self, sandbox: Sandbox, client: Client) -> None:
        client.post("/sandbox/hold", {"at": "render"})
        prompt_id = client.submit(empty_image())
        eventually(client.running)
        assert list(sandbox.output_directory.iterdir()) == []
        client.post("/sandbox/release")
        assert client.entry(prompt_id)["status"]["completed"]

    def test_held_at_finish_the_files_are_there_and_the_history_is_not(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.hold("finish")
        prompt_id = client.submit(empty_image())
        eventually(lambda: sandbox.counts()["rendered"])
        assert len(list(sandbox.output_directory.iterdir())) == 1
        assert client.running() == [prompt_id]
        assert client.get(f"/history/{prompt_id}").json() == {}
        sandbox.restart()
        assert client.get(f"/history/{prompt_id}").json() == {}
        assert sandbox.counts()["rendered"] == {prompt_id: 1}

    def test_refuses_an_unknown_place(self, client: Client) -> None:
        assert client.post("/sandbox/hold", {"at": "lunch"}).status_code == 400


class TestJobs:
    """What the replay of the recording does not show; it shows the most."""

    @pytest.fixture(autouse=True)
    def is_newer(self, sandbox: Sandbox) -> None:
        sandbox.change(comfyui_version="0.33.0")

    def test_an_older_version_has_none(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.change(comfyui_version="0.3.64")
        assert [client.get(path).status_code for path in ("/api/jobs", f"/api/jobs/{UNKNOWN}")] == [404, 404]
        assert client.post("/api/jobs/cancel", {"job_ids": []}).status_code == 405
        assert client.post(f"/api/jobs/{UNKNOWN}/cancel").status_code == 405

    def test_tells_lost_from_waiting(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.change(fail_next=1)
        failed = client.submit(empty_image(color=1))
        client.entry(failed)
        done = client.submit(empty_image(color=2))
        client.entry(done)
        sandbox.hold("render")
        running, waiting = (client.submit(empty_image(color=color)) for color in (3, 4))
        eventually(client.running)
        wanted = {failed: "failed", done: "completed", running: "in_progress", waiting: "pending"}
        assert {job: client.get(f"/api/jobs/{job}").json()["status"] for job in wanted} == wanted
        lost = client.get(f"/api/jobs/{UNKNOWN}")
        assert (lost.status_code, lost.json()) == (404, {"error": "Job not found"})
        for query, found in (
            ("", [waiting, running, done, failed]),
            ("?sort_order=asc", [failed, done, running, waiting]),
            ("?status=Failed, completed", [done, failed]),
            ("?limit=1&offset=1", [running]),
        ):
            listed = client.get(f"/api/jobs{query}").json()
            assert [job["id"] for job in listed["jobs"]] == found
        assert listed["pagination"] == {"offset": 1, "limit": 1, "total": 4, "has_more": True}

    @pytest.mark.parametrize(
        "query", ["status=lunch", "limit=0", "limit=x", "offset=x", "sort_by=name", "sort_order=down"]
    )
    def test_refuses_what_the_real_one_does(self, client: Client, query: str) -> None:
        assert client.get(f"/api/jobs?{query}").status_code == 400

    def test_what_was_queued_before_the_version_was_changed(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.change(comfyui_version="0.3.64")
        done = client.submit(empty_image(), prompt_id="any text")
        client.entry(done)
        sandbox.change(comfyui_version="0.33.0")
        assert client.get(f"/api/jobs/{done}").json()["status"] == "completed"
        assert [job["id"] for job in client.get("/api/jobs").json()["jobs"]] == [done]

    def test_a_body_that_is_no_json(self, client: Client) -> None:
        assert client.post("/api/jobs/cancel", data="{").status_code == 400


class TestVersions:
    @pytest.mark.parametrize("name", [name for name in newer_classes() if name != "ImageCropV2"])
    def test_what_an_older_version_takes_a_newer_one_takes(self, name: str) -> None:
        old, new = NODE_CLASSES[name], newer_classes()[name]
        assert (list(old.required), list(old.optional), old.output_node) == (
            list(new.required),
            list(new.optional),
            new.output_node,
        )

    def test_a_save_node_hands_its_images_on_in_the_newer_one(self, sandbox: Sandbox, client: Client) -> None:
        graph = empty_image() | {"3": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}}}
        assert "2" in client.entry(client.submit(graph))["outputs"]
        assert client.post("/prompt", {"prompt": graph}).json()["node_errors"].keys() == {"3"}
        sandbox.change(comfyui_version="0.33.0")
        assert client.entry(client.submit(graph | {"1": empty_image(color=7)["1"]}))["outputs"].keys() == {"2", "3"}

    @pytest.mark.parametrize(("method", "taken"), [("fastest", True), ("slow", False)])
    def test_choices_of_the_newer_form(self, sandbox: Sandbox, client: Client, method: str, taken: bool) -> None:
        sandbox.change(comfyui_version="0.33.0")
        inputs = {"images": ["1", 0], "filename_prefix": "w", "fps": 6.0, "lossless": True, "quality": 80}
        graph = {
            "1": empty_image()["1"],
            "2": {"class_type": "SaveAnimatedWEBP", "inputs": {**inputs, "method": method}},
        }
        answer = client.post("/prompt", {"prompt": graph})
        assert (answer.status_code == 200) is taken
        if not taken:
            (problem,) = answer.json()["node_errors"]["2"]["errors"]
            assert problem["details"] == "method: 'slow' not in ['default', 'fastest', 'slowest']"


class TestProcess:
    SERVE = (
        "from orchestrator.sandbox import *; from pathlib import Path; "
        "serve(SandboxSettings(), port=0, announce=lambda url: print(url, flush=True), directory=Path({!r}))"
    )

    def start(self, *, directory: Path) -> tuple[subprocess.Popen[str], str]:
        script = self.SERVE.format(str(directory))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-W", "error", "-c", script]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_ends_by_itself_on_a_signal(self, tmp_path: Path, number: int) -> None:
        process, url = self.start(directory=tmp_path)
        with Client(url) as client:
            client.submit(empty_image())
            process.send_signal(number)
            out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, "", "")

    def test_what_it_wrote_outlives_a_sigkill(self, tmp_path: Path) -> None:
        process, url = self.start(directory=tmp_path)
        with Client(url) as client:
            file = client.entry(client.submit(empty_image()))["outputs"]["2"]["images"][0]
        process.kill()
        process.communicate(timeout=20)
        again, url = self.start(directory=tmp_path)
        with Client(url) as client:
            assert client.get("/history").json() == {}
            picture(client, file).close()
        again.terminate()
        again.communicate(timeout=20)

    def test_needs_the_main_thread(self) -> None:
        with pytest.raises(ValueError, match="main thread"):
            in_a_thread(lambda: serve(SandboxSettings(), port=0, announce=print))


def in_a_thread(action: Any) -> None:
    """Run in another thread; what it raises is raised here."""
    raised: list[Exception] = []

    def run() -> None:
        try:
            action()
        except ValueError as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


class TestLibrary:
    def test_leaves_no_thread_and_frees_the_port(self) -> None:
        before = threading.enumerate()
        with Sandbox() as sandbox, Client(sandbox.url) as client, Listener(sandbox.url, "me"):
            sandbox.change(seconds_per_prompt=300.0)
            client.submit(empty_image())
            eventually(client.running)
            directory = sandbox.output_directory
            port = int(sandbox.url.rsplit(":", 1)[1])
            sandbox.close()
        assert threading.enumerate() == before
        assert not directory.exists()
        with Sandbox(port=port) as again:
            assert again.url.endswith(f":{port}")

    def test_a_taken_port_is_an_error_that_leaves_nothing(self, sandbox: Sandbox) -> None:
        before = threading.enumerate()
        with pytest.raises(OSError, match="in use"):
            Sandbox(port=int(sandbox.url.rsplit(":", 1)[1])).start()
        assert threading.enumerate() == before

    def test_says_when_it_is_not_running(self) -> None:
        with pytest.raises(RuntimeError, match="not running"):
            Sandbox().counts()

    def test_importing_it_loads_neither_aiohttp_nor_pillow(self) -> None:
        script = "import sys, orchestrator, orchestrator.sandbox; print({'aiohttp', 'PIL'} & set(sys.modules))"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", script]
        assert subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout == "set()\n"

    @pytest.mark.parametrize(
        "wrong",
        [
            {"failure_rate": 1.5},
            {"lunch": 1},
            {"fail_next": -1},
            {"fail_next": True},
            {"checkpoints": "a"},
            {"comfyui_version": "0.3.65"},
            {"comfyui_version": 1},
            {"seconds_next": [1, "2"]},
            {"seconds_next": [True]},
            {"seconds_next": 7},
            {"unreadable_history": 1},
        ],
    )
    def test_settings_are_checked(self, sandbox: Sandbox, wrong: dict[str, Any]) -> None:
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            sandbox.change(**wrong)
        with Client(sandbox.url) as client:
            answer = client.post("/sandbox/settings", {**wrong, "random_seed": 5})
            assert answer.status_code == 400
            assert client.get("/sandbox/settings").json()["random_seed"] == 0
