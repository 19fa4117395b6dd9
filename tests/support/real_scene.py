"""A state for one test, the command line over it, and the server's records of its items."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from state.item import Item, Status
from state.open_store import open_store
from support.preparing import preparation_of
from support.real_server import RealServer

ROOT = Path(__file__).parents[2]
_LAUNCH = Path(__file__).with_name("launch.py")
Inputs = Mapping[str, Any]


@dataclass(frozen=True)
class Said:
    """The result of a command."""

    code: int
    report: dict[str, Any]
    words: str


class Scene:
    """Item keys contain a tag of this scene or a batch id, to distinguish them in the history of a shared server."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self.state = directory / "re_render_state.json"
        self.output = directory / "pictures"
        self.tag = uuid.uuid4().hex[:8]
        self.template = directory / "workflow.json"
        self.launch: tuple[str, ...] = ()
        """Options of `launch.py`, where commands are to run by that."""

    def write(self, graph: Mapping[str, Any], inputs: Sequence[Inputs]) -> list[str]:
        """Write a state of pending items with this workflow; their keys."""
        self.template.write_text(json.dumps(graph))
        keys = [f"{self.tag}/item_{number:02}" for number in range(1, len(inputs) + 1)]
        records = {
            key: {"status": "pending", "subfolder": "shots", "filename": f"{key[9:]}.txt", "inputs": dict(given)}
            for key, given in zip(keys, inputs, strict=True)
        }
        self.state.write_text(json.dumps(records))
        return keys

    def command(self, *arguments: str) -> list[str]:
        how = [str(_LAUNCH), *self.launch, "--"] if self.launch else ["-m", "burst"]
        return [sys.executable, *how, *arguments]

    def run(self, url: str, *arguments: str) -> Said:
        """Run `burst run` to its end."""
        return self.say(*self._run_arguments(url), *arguments)

    def say(self, *arguments: str) -> Said:
        """Run a command on this state."""
        return self.say_plain(*arguments, "--state", str(self.state), "--json")

    def say_plain(self, *arguments: str) -> Said:
        """Run any command, unchanged."""
        command = self.command(*arguments)
        done = subprocess.run(
            command, cwd=self.directory, env=_environment(), capture_output=True, text=True, timeout=240
        )
        return _said(done.returncode, done.stdout, done.stderr)

    def generate(self, url: str, *arguments: str) -> Said:
        """Run `burst generate` to its end."""
        return self.say(*self._generate_arguments(url), *arguments)

    def running(self, url: str, *arguments: str) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
        """A running `burst run`."""
        return self._at_work(*self._run_arguments(url), *arguments)

    def generating(self, url: str, *arguments: str) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
        """A running `burst generate`."""
        return self._at_work(*self._generate_arguments(url), *arguments)

    @contextlib.contextmanager
    def _at_work(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """A command on this state; killed on leaving the block if it still runs."""
        command = self.command(*arguments, "--state", str(self.state), "--json")
        with subprocess.Popen(
            command,
            cwd=self.directory,
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def _run_arguments(self, url: str) -> list[str]:
        where = ["--server", url, "--output", str(self.output), "--poll-interval", "0.5"]
        return ["run", *where, *(["--template", str(self.template)] if self.template.exists() else [])]

    def _generate_arguments(self, url: str) -> list[str]:
        return ["generate", "--server", url, "--output", str(self.output)]

    def items(self) -> dict[str, Item]:
        """The current items, read without a lock, also during a burst."""
        with open_store(self.state, read_only=True) as store:
            return {item.key: item for item in store.items()}

    def batch(self, name: str) -> list[Item]:
        """The items of a batch, in order of their numbers."""
        return sorted((item for item in self.items().values() if item.batch == name), key=lambda item: item.key)

    def counts(self) -> Counter[Status]:
        return Counter(item.status for item in self.items().values())

    def prepared(self, key: str) -> dict[str, Any]:
        """The graph of an item as a burst prepares it, without the prefixes."""
        prompts = preparation_of(self.directory, self.template)
        return prompts.prepare(self.items()[key]).graph

    def pictures(self) -> list[Path]:
        return sorted(path for path in self.output.rglob("*") if path.is_file())


def finish(process: subprocess.Popen[str], *, seconds: float = 240.0) -> Said:
    """Wait for a running command."""
    out, words = process.communicate(timeout=seconds)
    return _said(process.returncode, out, words)


def _said(code: int, out: str, words: str) -> Said:
    lines = out.strip().splitlines()
    return Said(code, json.loads(lines[-1]) if lines else {}, words)


def _environment() -> dict[str, str]:
    """The environment without COMFYUI_URL, which may name another server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COMFYUI_")}
    return kept | {"PYTHONPATH": str(ROOT)}


def get(url: str, path: str) -> Any:
    return requests.get(url + path, timeout=30).json()


def renders(url: str, scene: Scene) -> Counter[str]:
    """How often each of the scene's items is in the server's history as a success."""
    return Counter(
        key for key, entry in entries(url, scene) if (entry["status"] or {}).get("status_str", "success") == "success"
    )


def entries(url: str, scene: Scene) -> list[tuple[str, dict[str, Any]]]:
    """The history entries of the scene, with the item's key."""
    own, found = scene.items(), []
    for entry in get(url, "/history").values():
        key = _item_of(entry["prompt"])
        if key is not None and key in own:
            found.append((key, entry))
    return found


def queued(url: str, scene: Scene) -> tuple[list[str], list[str]]:
    """Keys of the scene's items that are running and that are queued."""
    own, queue = scene.items(), get(url, "/queue")

    def keys(part: str) -> list[str]:
        named = [_item_of(entry) for entry in queue[part]]
        return [key for key in named if key is not None and key in own]

    return keys("queue_running"), keys("queue_pending")


def _item_of(entry: list[Any]) -> str | None:
    key: str | None = entry[3].get("burst", {}).get("item")
    return key


def check_each_was_rendered_once(scene: Scene, server: RealServer) -> None:
    """By the files on the server: one prompt_id an item, and it is the one whose picture was collected."""
    items = scene.items()
    assert Counter(item.status for item in items.values()) == {Status.COMPLETED: len(items)}
    collected = {int(item.inputs["seed"]): {item.prompt_id} for item in items.values()}
    assert server.prompts_by_seed() == collected
    assert len(scene.pictures()) == len(items)
    assert scene.say("verify", "--output", str(scene.output)).code == 0
