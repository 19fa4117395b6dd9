"""A sandbox as a process that can be killed, and everything it rendered before and after, from its own files."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from orchestrator.outputs.pictures import decodes, embedded_graph
from support.projects import ROOT, Process
from support.proxy import Proxy
from support.waiting import wait_until


@dataclass(frozen=True)
class Render:
    """A prompt whose outputs are complete on the server's disk."""

    prompt_id: str
    text: str
    """The prompt text."""
    times: int
    wiped_at: float | None
    """Wall-clock time at which the server lost it with its output folder; None if it still exists."""


class ServerProcess:
    """`burst sandbox` on one port with one directory; with `proxied` behind a proxy.

    Only `url` may be used by several threads at once.
    """

    def __init__(
        self,
        directory: Path,
        *,
        batch_size: int,
        proxied: bool,
        on: Sequence[str] = (),
        host: str | None = None,
        **settings: Any,
    ) -> None:
        """`on`: runs a command on the machine that it is on; `host`: its address there."""
        self.directory = directory
        self._on = on
        self._host = host
        self._batch_size = batch_size
        self._settings = settings
        self._port = "0"
        self._lost: list[Render] = []
        self._closing = contextlib.ExitStack()
        self.start()
        self._closing.callback(self.kill)
        self.proxy = self._closing.enter_context(Proxy(self.own_url)) if proxied else None

    @property
    def url(self) -> str:
        """The address for bursts."""
        return self.proxy.url if self.proxy is not None else self.own_url

    def start(self) -> None:
        """Start listening, always at the same address."""
        pairs = [(f"--{name.replace('_', '-')}", str(value)) for name, value in self._settings.items()]
        options = [text for pair in pairs for text in pair]
        place = ["--directory", str(self.directory), "--port", self._port]
        place += ["--host", self._host] if self._host is not None else []
        command = [*self._on, sys.executable, "-m", "burst", "sandbox", "--json", *place, *options]
        self._process = Process(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
        wait_until(lambda: "\n" in self._process.out_so_far() or not self._process.lives(), what="the URL")
        assert self._process.lives(), self._process.end().err
        self.own_url: str = json.loads(self._process.out_so_far())["url"]
        self._port = self.own_url.rpartition(":")[2]

    def kill(self, *, keep_outputs: bool = True) -> None:
        """SIGKILL: queue and history are lost, without `keep_outputs` all outputs as well."""
        self._process.kill()
        if not keep_outputs:
            self._lost += self._on_disk(wiped_at=time.time())
            shutil.rmtree(self.directory / "output")

    def tell(self, path: str, **body: Any) -> None:
        """POST to the sandbox's control endpoints, bypassing the proxy."""
        requests.post(f"{self.own_url}/sandbox/{path}", json=body, timeout=30).raise_for_status()

    def ask(self, path: str, **body: Any) -> None:
        """POST once as another client, which may meet a fault of the server too."""
        with contextlib.suppress(requests.RequestException):
            requests.post(f"{self.own_url}{path}", json=body, timeout=30)

    def renders(self) -> list[Render]:
        """Everything it ever rendered."""
        return [*self._lost, *self._on_disk(wiped_at=None)]

    def close(self) -> None:
        """Stop the proxy and the server."""
        self._closing.close()

    def _on_disk(self, *, wiped_at: float | None) -> list[Render]:
        """Renders found by the names and graphs of images. Truncated images do not count."""
        counts: Counter[str] = Counter()
        texts: dict[str, str] = {}
        for path in (self.directory / "output" / "burst").rglob("*.png"):
            graph = embedded_graph(path) if decodes(path) else None
            if graph is not None:
                prompt_id = path.name[:36]
                counts[prompt_id] += 1
                texts[prompt_id] = graph["6"]["inputs"]["text"]
        whole = {prompt_id: count // self._batch_size for prompt_id, count in counts.items()}
        return [Render(prompt_id, texts[prompt_id], times, wiped_at) for prompt_id, times in whole.items() if times]
