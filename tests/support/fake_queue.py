"""A ComfyUI without a network and without rendering: its queue, history and files, on a clock moved by hand.

Responses have the shapes of ComfyUI 0.3.64, or of 0.33.0 where that has more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import PurePosixPath
from typing import Any

from orchestrator.sandbox import media
from support.hand_clock import BEGINNING, HandClock
from support.media_files import by_extension, frames
from support.served_outputs import png

_SAVED = {"SaveImage": ".png", "SaveVideo": ".mp4", "SaveWEBM": ".webm"}
_AUDIO = {"SaveAudio": ".flac", "SaveAudioMP3": ".mp3", "SaveAudioOpus": ".opus"}
_VIDEO = frames(1, (16, 16))
_CAUSE = {"exception_message": "no luck", "exception_type": "ValueError", "traceback": ["  no luck\n"]}
_JOB_STATUS = {"success": "completed", "error": "failed", "interrupted": "cancelled"}


@dataclass
class Prompt:
    """An accepted prompt. When it will end is known as soon as it begins."""

    prompt_id: str
    number: float
    graph: dict[str, Any]
    extra_data: dict[str, Any]
    begin: float = inf
    end: float = inf
    ended_as: str = ""
    cause: Mapping[str, Any] = field(default_factory=lambda: _CAUSE)
    images: int = 1
    """How many files each save node of it saves."""
    audio_number: str = "_{:05}_"
    """How the server writes the number of an audio file."""

    @property
    def item(self) -> str:
        """The key of the item that it was submitted for."""
        return str(self.extra_data["burst"]["item"])

    def queued(self) -> list[Any]:
        return [self.number, self.prompt_id, self.graph, self.extra_data, list(self.outputs())]

    def outputs(self) -> dict[str, dict[str, list[Any]]]:
        """By node id: what its nodes save and show."""
        found: dict[str, dict[str, list[Any]]] = {}
        for node_id, node in self.graph.items():
            if (extension := _SAVED.get(node["class_type"])) is not None:
                folder, _, name = node["inputs"]["filename_prefix"].rpartition("/")
                names = [f"{name}_{number:05}_{extension}" for number in range(1, self.images + 1)]
                found[node_id] = {"images": [{"filename": one, "subfolder": folder, "type": "output"} for one in names]}
            elif (extension := _AUDIO.get(node["class_type"])) is not None:
                folder, _, name = node["inputs"]["filename_prefix"].rpartition("/")
                name = f"{name}{self.audio_number.format(1)}{extension}"
                found[node_id] = {"audio": [{"filename": name, "subfolder": folder, "type": "output"}]}
            elif node["class_type"] == "Image Save":  # as WAS Node Suite has it: it makes no folder, and says nothing
                prefix = node["inputs"]["filename_prefix"]
                names = [] if "/" in prefix else [f"{prefix}_{number:04}.png" for number in range(1, self.images + 1)]
                found[node_id] = {"images": [{"filename": one, "subfolder": "", "type": "output"} for one in names]}
            elif node["class_type"] == "PreviewAny":
                source = self.graph.get(str(node["inputs"].get("source", [""])[0]), {}).get("inputs", {})
                found[node_id] = {"text": [source.get("string_a") or "a text"]}
        return found

    def paths(self) -> list[str]:
        """The files that it saves, as `subfolder/filename`."""
        made = [made.get("images", made.get("audio", [])) for made in self.outputs().values()]
        return [f"{one['subfolder']}/{one['filename']}" for files in made for one in files]

    def entry(self) -> dict[str, Any]:
        """Its history entry."""
        succeeded = self.ended_as == "success"
        outputs = self.outputs() if succeeded else {}
        failed, nodes = self.ended_as == "error", list(self.graph)
        node = self.graph[at := nodes[0] if failed else nodes[-1]]
        where = {"node_id": at, "node_type": node["class_type"], "executed": [] if failed else nodes[:-1]}
        given = {name: [value] for name, value in node["inputs"].items()}
        cause = {**self.cause, "current_inputs": given, "current_outputs": nodes} if failed else {}
        parts = [
            ("start", self.begin, {}),
            ("cached", self.begin, {"nodes": []}),
            (self.ended_as, self.end, {} if succeeded else where | cause),
        ]
        messages = [
            [f"execution_{name}", {**more, "prompt_id": self.prompt_id, "timestamp": _milliseconds(at)}]
            for name, at, more in parts
        ]
        return {
            "prompt": self.queued(),
            "outputs": outputs,
            "status": {
                "status_str": "success" if succeeded else "error",
                "completed": succeeded,
                "messages": messages,
            },
            "meta": {
                one: {"node_id": one, "display_node": one, "parent_node": None, "real_node_id": one} for one in outputs
            },
        }


@dataclass
class FakeQueue:
    """Renders one prompt after another, the smallest number first; the nth, counted from 0, takes `seconds(n)`."""

    url: str
    clock: HandClock
    seconds: Callable[[int], float]
    accepted: dict[str, Prompt] = field(default_factory=dict)
    """Every prompt that was ever submitted, by id."""
    queue: list[Prompt] = field(default_factory=list)
    """The running prompt, then the pending ones."""
    history: dict[str, Prompt] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    """By `subfolder/filename`."""
    prompts_to_fail: int = 0
    sickness: Callable[[Prompt], str | None] = lambda prompt: None
    """What a prompt that begins fails with, as `type: message`; None: it does not. Lasts until it is changed."""
    images: Callable[[Prompt], int] = lambda prompt: 1
    audio_number: str = "_{:05}_"
    """How many files each save node of a prompt saves."""
    is_newer: bool = False
    """It has /api/jobs, and notes when a prompt came."""
    sick_seconds: float = 0.1
    """How long such a prompt takes."""
    freed: list[tuple[float, int]] = field(default_factory=list)
    """Of each `POST /free`: when, and how many prompts were in the queue."""
    begun: int = 0
    _free_at: float = 0.0

    def tick(self) -> None:
        """Advance to the current time."""
        while self.queue:
            first = self.queue[0]
            if first.begin == inf:
                first.begin, first.end = self._free_at, self._free_at + self.seconds(self.begun)
                self.begun += 1
                if (said := self.sickness(first)) is not None:
                    kind, _, message = said.partition(": ")
                    first.cause = {"exception_type": kind, "exception_message": message, "traceback": []}
                    first.end = first.begin + self.sick_seconds
            if first.end > self.clock.seconds:
                return
            fails = self.prompts_to_fail or first.cause is not _CAUSE
            self.finish(first, "error" if fails else "success")
        self._free_at = self.clock.seconds

    def add(self, prompt: Prompt) -> None:
        prompt.images, prompt.audio_number = self.images(prompt), self.audio_number
        self.accepted[prompt.prompt_id] = prompt
        self.queue = sorted([*self.queue, prompt], key=lambda one: one.number if one.begin == inf else -inf)

    def finish(self, prompt: Prompt, how: str) -> None:
        """End the running prompt."""
        self.queue.remove(prompt)
        prompt.ended_as, self._free_at = how, prompt.end
        self.history[prompt.prompt_id] = prompt
        if how == "success":
            self.files |= {path: _content(path, prompt.graph) for path in prompt.paths()}
        if how == "error" and prompt.cause is _CAUSE:
            self.prompts_to_fail -= 1

    def delete(self, prompt_ids: Iterable[str]) -> None:
        self.queue = [one for one in self.queue if one.begin < inf or one.prompt_id not in prompt_ids]

    def interrupt(self, prompt_id: str) -> None:
        for prompt in self.queue[:1]:
            if prompt.prompt_id == prompt_id:
                prompt.end = self.clock.seconds
                self.finish(prompt, "interrupted")

    def restart(self) -> None:
        """Lose queue and history; the files stay."""
        self.tick()
        self.queue, self.history, self._free_at = [], {}, self.clock.seconds

    def respond(self, asked: list[str], body: dict[str, Any]) -> tuple[int, Any]:
        """Status and JSON body for a method and the parts of a path; None is an empty body."""
        match asked:
            case ["GET", "api", "prompt"]:
                return 200, {"exec_info": {"queue_remaining": len(self.queue)}}
            case ["POST", "api", "prompt"]:
                extra_data = body["extra_data"] | {name: body[name] for name in ("client_id",) if name in body}
                if self.is_newer:
                    extra_data["create_time"] = _milliseconds(self.clock.seconds)
                self.add(Prompt(body["prompt_id"], body["number"], body["prompt"], extra_data))
                return 200, {"prompt_id": body["prompt_id"], "number": body["number"], "node_errors": {}}
            case ["GET", "api", "queue"]:
                queued = [prompt.queued() for prompt in self.queue]
                return 200, {"queue_running": queued[:1], "queue_pending": queued[1:]}
            case ["GET", "api", "history", prompt_id]:
                prompt = self.history.get(prompt_id)
                return 200, {prompt_id: prompt.entry()} if prompt else {}
            case ["POST", "api", "queue"]:
                self.delete(body["delete"])
            case ["POST", "api", "free"]:
                self.freed.append((self.clock.seconds, len(self.queue)))
            case ["POST", "api", "interrupt"]:
                self.interrupt(body["prompt_id"])
            case ["GET" | "POST", "api", "jobs" | "jobs?status=pending,in_progress", *_] if self.is_newer:
                return self._respond_of_jobs(asked[2:], body)
            case _:
                return 404, None
        return 200, None

    def _respond_of_jobs(self, asked: list[str], body: dict[str, Any]) -> tuple[int, Any]:
        """What burst asks of /api/jobs."""
        jobs = {one.prompt_id: {"status": _JOB_STATUS[one.ended_as]} for one in self.history.values()}
        jobs |= {one.prompt_id: {"status": "pending"} for one in self.queue}
        jobs |= {one.prompt_id: {"status": "in_progress"} for one in self.queue[:1]}
        match asked:
            case ["jobs", "cancel"]:
                there = [one for one in body["job_ids"] if any(prompt.prompt_id == one for prompt in self.queue)]
                self.delete(there)
                for prompt_id in there:
                    self.interrupt(prompt_id)
                return 200, {"cancelled": bool(there)}
            case ["jobs", prompt_id]:
                return (200, jobs[prompt_id]) if prompt_id in jobs else (404, {"error": "Job not found"})
            case _:
                listed = [{"id": one.prompt_id, **jobs[one.prompt_id]} for one in self.queue]
                return 200, {"jobs": listed, "pagination": {"has_more": False}}


def _milliseconds(at: float) -> int:
    return int((BEGINNING.timestamp() + at) * 1000)


def _content(path: str, graph: dict[str, Any]) -> bytes:
    """A real small file of the kind that its name says."""
    if path.endswith(tuple(_AUDIO.values())):
        return by_extension()[PurePosixPath(path).suffix]
    if path.endswith(".mp4"):
        return media.mp4(_VIDEO, frames_per_second=1)
    return media.webm(_VIDEO, frames_per_second=1) if path.endswith(".webm") else png(graph=graph)
