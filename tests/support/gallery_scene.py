"""A front end over states with finished batches, for the tests of images, downloads and gallery."""

from __future__ import annotations

import contextlib
import io
import shutil
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from PIL import Image
from starlette.testclient import TestClient

from orchestrator.batches import batch_info
from orchestrator.settings import Overrides
from orchestrator.web.app import create_app
from orchestrator.web.server import WebServer
from orchestrator.web.states import WatchedStates
from orchestrator.web.supervisor import Supervisor
from support.report_project import NOON, Album
from support.waiting import wait_until

ORIGIN = "http://127.0.0.1:8189"
PROMPT = "a fox in the snow"


class Idle(Supervisor):
    """A supervisor that runs nothing."""

    def start(self) -> None:
        pass


@dataclass
class Gallery:
    """A front end over these albums, which share an output directory by default."""

    library: Sequence[Album]
    http: TestClient
    watched: WatchedStates

    @property
    def album(self) -> Album:
        return self.library[0]

    def get(self, path: str, **query: Any) -> Any:
        """The JSON of a successful call."""
        answer = self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def pictures(self, **query: Any) -> list[str]:
        """`BATCH/IMAGE` of each entry on the first page of the gallery."""
        return [f"{one['batchId']}/{one['image']}" for one in self.get("/api/gallery", **query)["images"]]

    def delete(self, path: str, **query: Any) -> Any:
        return self.http.delete(path, params=query)


@contextlib.contextmanager
def gallery_over(*library: Album, token: str | None = None) -> Iterator[Gallery]:
    """A gallery in which nothing is run, so its content does not change by itself. Calls of `http` show the token."""
    overrides = Overrides(output_dir=library[0].output, servers=("http://127.0.0.1:9",))
    watched = WatchedStates([album.state for album in library], overrides)
    app = create_app(watched, Idle(watched, arguments=[], environment={}), token=token)
    headers = {"Origin": ORIGIN} | ({"Authorization": f"Bearer {token}"} if token else {})
    with TestClient(app, base_url=ORIGIN, headers=headers) as http:
        yield Gallery(library, http, watched)


@dataclass(frozen=True)
class Listening:
    """The address of a gallery for browsers."""

    url: str


@contextlib.contextmanager
def listening(gallery: Gallery, *, port: int = 0) -> Iterator[Listening]:
    """Run a real server, so that clients can disconnect and browsers connect."""
    config = uvicorn.Config(gallery.http.app, log_level="error", lifespan="off", timeout_graceful_shutdown=30)
    server = WebServer(config, lambda: None, gallery.http.app.state.events)
    with socket.create_server(("127.0.0.1", port)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_until(lambda: server.started, what="the server")
            yield Listening(f"http://127.0.0.1:{listener.getsockname()[1]}")
        finally:
            server.should_exit = True
            thread.join()


def png(colour: tuple[int, int, int] = (200, 60, 20), size: tuple[int, int] = (64, 48)) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", size, colour).save(target, "PNG")
    return target.getvalue()


def fill(
    album: Album, name: str = "b1", *, count: int = 3, after: timedelta = timedelta(), prompt: str = PROMPT, **said: Any
) -> None:
    """Add a batch in the browser's layout with images of different colours, one minute apart."""
    inputs = [{"seed": 40 + index, **said} for index in range(1, count + 1)]
    album.add(name, inputs, prompt=prompt, layout="gallery", directory=f"batches/{name}", created_at=NOON + after)
    for index in range(1, count + 1):
        finish(album, name, index, at=NOON + after + timedelta(minutes=index))


def finish(album: Album, name: str, index: int, *, at: datetime = NOON) -> None:
    """Complete an item with an image of its own colour."""
    shade = (hash_of(name) + 37 * index) % 256
    path = f"batches/{name}/image_{index:03d}.png"
    album.complete(f"{name}/{index:03d}", path, data=png((shade, index % 256, 40)), at=at)


def hash_of(name: str) -> int:
    return sum(name.encode())


def left_behind(album: Album, name: str = "old", *, count: int = 2) -> Path:
    """The directory of a batch as bursts leave it."""
    fill(album, name, count=count)
    folder = album.output / "batches" / name
    record = album.log.read()[name].record
    told = [item for item in album.store.items() if item.batch == name]
    info = batch_info.batch_info(record, told, ended_at=NOON, template_of=lambda recipe: None)
    info |= {"parameters": {"model": "old.safetensors"}, "name": "foxes"}
    (folder / batch_info.NAME).write_bytes(msgspec.json.encode(info))
    return folder


def forget(album: Album) -> Album:
    """An empty state in the place of this one."""
    shutil.rmtree(album.store.checkpoint_directory)
    album.state.unlink()
    return Album(album.home)
