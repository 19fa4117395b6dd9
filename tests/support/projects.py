"""A user's project: prompts, a template and a state, and `burst` run on them, in this process or as one of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from orchestrator.init_state import init_state
from orchestrator.outputs import decodes
from orchestrator.settings import Overrides
from orchestrator.verify import verify_outputs
from state.burst_record import BurstRecord
from state.item import Item, Status
from state.json.journal_lines import read_lines
from state.location import DatabaseAddress
from state.open_store import open_store, parts_of
from state.recipe import RecipeBook
from support.documents import checked
from support.fork_server import start
from support.in_process import call
from support.launch import __file__ as LAUNCHER
from support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
_END_SECONDS = 60.0
AT_ONCE_SECONDS = 4.0
"""The promise is a second, which `kill_300.py --signal TERM` measures; this tells it on a busy machine from a process
that waits for what is in flight, which takes 10 s."""

Graph = dict[str, Any]
MISSING_CHECKPOINT = "nobody-has-this.safetensors"


def small_template(*, batch_size: int = 1, save_nodes: int = 1, text: bool = False) -> Graph:
    """Text to image at 64 × 64 in two steps, with the given numbers of images and save nodes, and a text output."""
    graph: Graph = {
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "tiny-random.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": batch_size}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["4", 1]}},
        "3": {
            "class_type": "KSampler",
            "inputs": {
                "seed": 7,
                "steps": 2,
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
    }
    for number in range(save_nodes):
        graph[str(9 + number)] = {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "x"}}
    if text:
        graph["20"] = {"class_type": "PreviewAny", "inputs": {"source": ["4", 0]}}
    return graph


def unusable_template() -> Graph:
    """The same with a node that every server refuses and no item touches."""
    graph = small_template()
    graph["4"]["inputs"]["ckpt_name"] = MISSING_CHECKPOINT
    return graph


def _opened(descriptors: Path) -> Iterator[str]:
    """The files that a process has open. A descriptor may be closed between listing and reading it."""
    for one in descriptors.iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield os.readlink(one)


def _written(stream: IO[bytes]) -> str:
    # Not by seeking: the process writes at the stream's position.
    return os.pread(stream.fileno(), os.fstat(stream.fileno()).st_size, 0).decode()


@dataclass(frozen=True)
class Ended:
    """A process that ended."""

    code: int
    out: str
    err: str
    seconds: float = 0.0

    @property
    def report(self) -> dict[str, Any]:
        """The one JSON object on stdout, which is as its type says."""
        return checked(json.loads(self.out))


class Process:
    """A running `burst`. A context manager: killed on exit if it still runs."""

    def __init__(self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> None:
        self._streams = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115
        out, err = (stream.fileno() for stream in self._streams)
        self._child = start(arguments, cwd=cwd, env=env, stdout=out, stderr=err)
        self._ended: Ended | None = None

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self._child.pid

    def lives(self) -> bool:
        return self._child.poll() is None

    def out_so_far(self) -> str:
        """What it has written to stdout."""
        return _written(self._streams[0])

    def err_so_far(self) -> str:
        """What it has written to stderr."""
        return _written(self._streams[1])

    def signal(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    def stop(self, number: signal.Signals) -> Ended:
        """Send a signal and wait for the end; `seconds` of the result is how long that took."""
        started = time.monotonic()
        self.signal(number)
        ended = self.end()
        return replace(ended, seconds=time.monotonic() - started)

    def kill(self) -> Ended:
        """SIGKILL, if it still runs."""
        self._child.kill()
        return self.end()

    def end(self) -> Ended:
        """Wait until it ends. The code is that of a shell: 137 after SIGKILL."""
        if self._ended is None:
            code = self._child.wait(timeout=_END_SECONDS)
            self._ended = Ended(code if code >= 0 else 128 - code, self.out_so_far(), self.err_so_far())
            for stream in self._streams:
                stream.close()
        return self._ended

    def has_open(self, path: Path) -> bool:
        """Whether it has this file open at the moment."""
        return str(path) in _opened(Path(f"/proc/{self.pid}/fd"))


def called(arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> Ended:
    """`burst ARGUMENTS`, called in this process."""
    return Ended(*call(arguments, cwd=cwd, env=env))


_RUN = ("run", "--json", "--all", "--poll-interval", "0.2")


class Project:
    """`count` prompts below one directory, a template, and a state made by `init`."""

    def __init__(
        self,
        home: Path,
        *,
        server: str,
        count: int = 3,
        template: Graph | None = None,
        bindings: Mapping[str, str] | None = None,
        state: Path | None = None,
        output: Path | None = None,
    ) -> None:
        self.home = home
        self.server = server
        self._bindings = bindings or {}
        self.state = state or home / "re_render_state.json"
        self.folder = self.state.with_suffix(".burst")
        self.output = output or home / "output"
        self.prompts = home / "prompts"
        self._template = home / "template.json"
        self._template.write_text(json.dumps(template or small_template()))
        self.add_prompts(range(1, count + 1))

    def add_prompts(self, numbers: Sequence[int]) -> None:
        """Add prompt files and run `init`."""
        for number in numbers:
            path = self.prompts / "EP01" / f"prompt_{number:03d}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"a lighthouse, view {number}")
        init_state(self.state, [self.prompts], overrides=self._overrides())

    def _overrides(self) -> Overrides:
        return Overrides(
            template=str(self._template), bindings=self._bindings, output_dir=self.output, servers=(self.server,)
        )

    def take_recipes_out(self) -> None:
        """Remove the recipes of due items, as in a state written by hand: the default will apply."""
        records = json.loads(self.state.read_bytes())
        for record in records.values():
            if record["status"] == "pending":
                record.pop("recipe", None)
        self.state.write_text(json.dumps(records))

    # Processes

    def start(self, *arguments: str, launch: Sequence[str] = (), on: Sequence[str] = ()) -> Process:
        """Start `burst ARGUMENTS`; `launch`: through launch.py with these options; `on`: on another host."""
        module = [LAUNCHER, *launch, "--"] if launch else ["-m", "burst"]
        return Process([*on, sys.executable, *module, *arguments], cwd=self.home, env=self.env())

    def env(self) -> dict[str, str]:
        """The environment of its processes."""
        return {**os.environ, "PYTHONPATH": str(ROOT), "BURST_STATE": state_variable(self.state)}

    def burst(self, *arguments: str, launch: Sequence[str] = (), on: Sequence[str] = ()) -> Ended:
        """`burst ARGUMENTS`, called in this process; or started, through launch.py or on another host."""
        if not launch and not on:
            return called(arguments, cwd=self.home, env=self.env())
        with self.start(*arguments, launch=launch, on=on) as process:
            return process.end()

    def start_run(self, *arguments: str, launch: Sequence[str] = (), on: Sequence[str] = ()) -> Process:
        return self.start(*_RUN, *arguments, launch=launch, on=on)

    def run(self, *arguments: str, launch: Sequence[str] = (), on: Sequence[str] = ()) -> Ended:
        """One burst with short ticks, to its end."""
        return self.burst(*_RUN, *arguments, launch=launch, on=on)

    # What is on disk

    def items(self, *statuses: Status) -> list[Item]:
        """The items as a reader sees them."""
        store = open_store(self.state, read_only=True)
        try:
            return list(store.items(*statuses))
        finally:
            store.close()

    def recipes(self) -> RecipeBook:
        """The recipes of its items."""
        return parts_of(self.state).recipes

    def workflow_names(self) -> list[str | None]:
        """Where the workflow of each item came from; None for an item without a recipe."""
        recipes = self.recipes()
        return [recipes.get(item.recipe).workflow_name if item.recipe else None for item in self.items()]

    def item(self, number: int = 1) -> Item:
        return self.items()[number - 1]

    def statuses(self) -> list[str]:
        return [str(item.status) for item in self.items()]

    def count(self, status: Status) -> int:
        return len(self.items(status))

    def wait_for(self, status: Status, count: int = 1) -> None:
        """Wait until this many items have this status."""
        wait_until(lambda: self.count(status) >= count, what=f"{count} {status}")

    def wait_for_holder(self) -> dict[str, Any]:
        """Wait until a burst holds the lock and has written holder.json."""
        path = self.folder / "holder.json"
        holder: dict[str, Any] = json.loads(wait_until(lambda: path.exists() and path.read_text(), what="holder.json"))
        return holder

    def bursts(self) -> list[BurstRecord]:
        """The records of all bursts."""
        return parts_of(self.state).bursts.read(last=1_000_000)

    def temporary_files(self) -> list[str]:
        """Files that a burst must not leave behind."""
        places = {self.home, self.state.parent, self.output}
        found = {path for place in places for pattern in ("*.part", "*.tmp") for path in place.rglob(pattern)}
        return sorted(map(str, found))

    def check_readable(self) -> dict[str, Any]:
        """Check that the state can be read as JSON, as items and by `burst status --json`."""
        plain = json.loads(self.state.read_bytes())
        assert isinstance(plain, dict)
        self.items()
        status = self.burst("status", "--json")
        assert status.code == 0, status.err
        return status.report

    def check_all_done(self, sandbox_counts: Mapping[str, Any], *, rendered_twice: Sequence[str] = ()) -> None:
        """Check that every item is completed, rendered once by the server's count, with no file cut or left over."""
        items = self.items()
        assert {item.status for item in items} == {Status.COMPLETED}
        rendered = sandbox_counts["rendered_by_item"]
        assert rendered == {item.key: 1 + (item.key in rendered_twice) for item in items}
        recorded = {output.path for item in items for output in item.outputs}
        assert len(recorded) == sum(len(item.outputs) for item in items)
        on_disk = {path.relative_to(self.output).as_posix() for path in self.output.rglob("*") if path.is_file()}
        assert on_disk == recorded
        assert all(decodes(self.output / path) for path in recorded if not path.endswith((".txt", ".json")))
        assert verify_outputs(self.state).problems == ()
        assert self.temporary_files() == []

    def check_at_rest(self) -> None:
        """Check that the journal ends with a complete line, no temporary file is left and everything can be read."""
        journal = self.folder / "journal.jsonl"
        if journal.exists():
            data = journal.read_bytes()
            assert read_lines(journal, data).end == len(data)
        assert self.temporary_files() == []
        self.items()


def state_variable(state: Path) -> str:
    """What names this state to a process; with the password of a database."""
    return state.url if isinstance(state, DatabaseAddress) else str(state)


MakeProject = Callable[..., Project]
"""The fixture `make_project`."""
