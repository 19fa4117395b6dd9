"""A small client for the sandbox's tests, a websocket listener, graphs, and waiting with a deadline."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import aiohttp
import requests

from support.waiting import GENEROUS_SECONDS, wait_until

Graph = dict[str, Any]
_DEADLINE_SECONDS = 15.0


def eventually(condition: Callable[[], Any], what: str = "the condition", *, seconds: float = GENEROUS_SECONDS) -> Any:
    """`wait_until` with the name of what is waited for first."""
    return wait_until(condition, seconds=seconds, what=what)


def text_to_image(
    text: str = "a lighthouse", *, seed: int = 7, prefix: str = "t", steps: int = 2, size: int = 64, batch: int = 1
) -> Graph:
    """The usual seven nodes."""
    return {
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "tiny-random.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": size, "height": size, "batch_size": batch}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": text, "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["4", 1]}},
        "3": {
            "class_type": "KSampler",
            "inputs": {
                "seed": seed,
                "steps": steps,
                "cfg": 7.0,
                "sampler_name": "euler",
                "scheduler": "normal",
                "denoise": 1.0,
                "model": ["4", 0],
                "positive": ["6", 0],
                "negative": ["7", 0],
                "latent_image": ["5", 0],
            },
        },
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": prefix}},
    }


def empty_image(*, color: int = 0, prefix: str = "e", batch: int = 1) -> Graph:
    """Two nodes, no sampler."""
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 32, "height": 32, "batch_size": batch, "color": color}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": prefix}},
    }


class Client:
    """A client of one server."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.session.close()

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.session.get(self.url + path, timeout=_DEADLINE_SECONDS, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> requests.Response:
        return self.session.post(self.url + path, json=body, timeout=_DEADLINE_SECONDS, **options)

    def submit(self, graph: Graph, *, prompt_id: str | None = None, item: str | None = None, **more: Any) -> str:
        """Queue a graph; returns its prompt_id."""
        body = {"prompt": graph, "prompt_id": prompt_id or str(uuid.uuid4()), **more}
        if item is not None:
            body["extra_data"] = {"burst": {"item": item}}
        answer = self.post("/prompt", body)
        assert answer.status_code == 200, answer.text
        given: str = answer.json()["prompt_id"]
        return given

    def entry(self, prompt_id: str) -> dict[str, Any]:
        """Wait for the history entry of a prompt."""
        found = eventually(lambda: self.get(f"/history/{prompt_id}").json(), f"{prompt_id} in the history")
        entry: dict[str, Any] = found[prompt_id]
        return entry

    def running(self) -> list[str]:
        return [entry[1] for entry in self.get("/queue").json()["queue_running"]]

    def waiting(self) -> list[str]:
        return [entry[1] for entry in self.get("/queue").json()["queue_pending"]]

    def idle(self) -> bool:
        remaining: int = self.get("/prompt").json()["exec_info"]["queue_remaining"]
        return remaining == 0


class Listener:
    """Collects websocket messages in its own thread."""

    def __init__(self, url: str, client_id: str) -> None:
        self._url = f"{url}/ws?clientId={client_id}"
        self._messages: list[dict[str, Any]] = []
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.closed = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._listen()))

    def __enter__(self) -> Self:
        self._thread.start()
        eventually(lambda: self._messages, "the first websocket message")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._stop is not None and not self.closed.is_set():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    @property
    def messages(self) -> list[dict[str, Any]]:
        return list(self._messages)

    def of(self, *prompt_ids: str) -> list[dict[str, Any]]:
        """The messages about these prompts."""
        return [message for message in self.messages if message["data"].get("prompt_id") in prompt_ids]

    def wait_for_end(self, prompt_id: str) -> None:
        """Wait for `executing` without a node, the last message about a prompt."""
        last = {"type": "executing", "data": {"node": None, "prompt_id": prompt_id}}
        eventually(lambda: last in self._messages, f"the last message of {prompt_id}")

    async def _listen(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with aiohttp.ClientSession() as session, session.ws_connect(self._url) as socket:
            reading = asyncio.create_task(self._read(socket))
            stopping = asyncio.create_task(self._stop.wait())
            await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            for task in (reading, stopping):
                task.cancel()
            await asyncio.gather(reading, stopping, return_exceptions=True)
        self.closed.set()

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            self._messages.append(json.loads(message.data))
