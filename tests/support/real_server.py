"""A ComfyUI process for one test: started, killed and restarted on the same port."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import socket
import subprocess
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
from PIL import Image

from support.waiting import wait_until

_DIRECTORIES = ("output", "temp", "input", "user")
_START_SECONDS = 300.0
"""Of a machine that is busy with other things: an idle one takes ten."""


class RealServer:
    """Keeps its port and directories across restarts; `kill` is a kill -9."""

    def __init__(
        self,
        checkout: Path,
        *,
        interpreter: str,
        directory: Path,
        nodes: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> None:
        """`nodes`: the directories below `directory/custom_nodes` to load. `options`: further ones of its main.py."""
        self._checkout = checkout
        self._interpreter = interpreter
        self._directory = directory
        self._nodes = nodes
        self._options = options
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}"
        for name in _DIRECTORIES:
            (directory / name).mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self, *, hash_seed: int | None = None) -> float:
        """Start, wait until it responds, and return the seconds that took.

        `hash_seed`: of its Python, which decides the order of what it keeps in sets.
        """
        assert self._process is None
        began = time.monotonic()
        folders = [part for name in _DIRECTORIES for part in (f"--{name}-directory", str(self._directory / name))]
        command = [self._interpreter, "main.py", "--cpu", "--port", str(self._port), "--disable-api-nodes"]
        command += ["--disable-all-custom-nodes", "--database-url", "sqlite:///:memory:", *folders, *self._options]
        if self._nodes:
            command += ["--base-directory", str(self._directory), "--whitelist-custom-nodes", *self._nodes]
        environment = os.environ | ({} if hash_seed is None else {"PYTHONHASHSEED": str(hash_seed)})
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._checkout, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            wait_until(self._answers, what="the server answers", seconds=_START_SECONDS)
        except BaseException:
            self.kill()
            raise
        return time.monotonic() - began

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def wipe_outputs(self) -> None:
        shutil.rmtree(self.output)
        self.output.mkdir()

    @property
    def output(self) -> Path:
        return self._directory / "output"

    def pictures(self) -> list[Path]:
        """Every saved file that decodes; a kill may leave a truncated one."""
        return [path for path in sorted(self.output.rglob("*.png")) if embedded(path.read_bytes()) is not None]

    def prompts_by_seed(self) -> dict[int, set[str]]:
        """Seed in each complete saved image → the prompt_ids under which it was saved."""
        found: dict[int, set[str]] = defaultdict(set)
        for path in self.pictures():
            graph = embedded(path.read_bytes())
            assert graph is not None
            if (seed := seed_of(graph)) is not None:
                found[seed].add(path.name[:36])
        return dict(found)

    @property
    def _log(self) -> Path:
        return self._directory / "log.txt"

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"the server ended: {self._log.read_text(errors='replace')[-2000:]}")
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"{self.url}/prompt", timeout=2).status_code == 200
        return False


def embedded(data: bytes) -> dict[str, Any] | None:
    """The graph in a PNG; None if the image does not decode completely or contains none."""
    try:
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
            text = picture.info.get("prompt")
    except (OSError, SyntaxError):
        return None
    return json.loads(text) if text else None


def seed_of(graph: dict[str, Any]) -> int | None:
    """The seed of a graph; None if it has none."""
    return next((node["inputs"]["seed"] for node in graph.values() if "seed" in node["inputs"]), None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
