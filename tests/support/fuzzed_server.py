"""A simulated server that restarts, forgets its history, loses responses and fails prompts."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import templates
from orchestrator.comfyui import HistoryEntry, OutputFile, Queue, Submitted
from orchestrator.errors import ExecutionFailed, NotOnServer, ServerUnreachable
from support.killable_disk import Fuse
from support.served_outputs import png
from support.simulated import BEGINNING, SimulatedServer


@dataclass(frozen=True)
class _Prompt:
    item: str
    files: tuple[OutputFile, ...]
    fails: bool


@dataclass(frozen=True)
class _Whole:
    """A download of one chunk."""

    data: bytes
    offset: int = 0
    accepts_resume: bool = True

    @property
    def total_bytes(self) -> int:
        return len(self.data)

    def iter_chunks(self) -> Iterator[bytes]:
        yield self.data


@dataclass
class FuzzedServer(SimulatedServer):
    """Keeps files and counts renders per item. Requests and responses may be lost on either side."""

    fuse: Fuse = field(default_factory=Fuse)
    """The fuse of the client process."""
    answers_to_lose: int = 0
    post_answers_to_lose: int = 0
    prompts_to_fail: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    rendered: Counter[str] = field(default_factory=Counter)
    """By item. A prompt that failed or was interrupted made no image."""
    failed: Counter[str] = field(default_factory=Counter)
    forgotten: Counter[str] = field(default_factory=Counter)
    """By item: prompts that were lost, or that ended and are not in the history any more."""
    _prompts: dict[str, _Prompt] = field(default_factory=dict)
    _over: set[str] = field(default_factory=set)
    _interrupted: set[str] = field(default_factory=set)

    # Faults

    def tick(self) -> None:
        """Advance to the current time: finished prompts are counted and their files exist."""
        for prompt_id, (_, end) in self.ends.items():
            if end <= self.clock.seconds and prompt_id not in self._over:
                self._over.add(prompt_id)
                self._finish(prompt_id)

    def restart(self, *, keep_outputs: bool) -> list[str]:
        """Lose queue and history; returns the items whose images are lost with them."""
        self.tick()
        lost = [] if keep_outputs else [self._prompts[prompt_id].item for prompt_id in self._pictured()]
        self._forget(list(self.ends))
        if not keep_outputs:
            self.files.clear()
        return lost

    def evict(self) -> None:
        """Clear the history of finished prompts; the files stay."""
        self.tick()
        self._forget(self._over & set(self.ends))

    # Requests

    def submit(
        self, graph: Mapping[str, Any], *, prompt_id: str, number: float, extra_data: Mapping[str, Any]
    ) -> Submitted:
        sent = super().submit(graph, prompt_id=prompt_id, number=number, extra_data=extra_data)
        expected = templates.expected_files(dict(graph), prompt_id) or []
        files = tuple(OutputFile(one.node_id, "images", one.filename, one.subfolder, one.type) for one in expected)
        self._prompts[prompt_id] = _Prompt(extra_data["burst"]["item"], files, fails=self.prompts_to_fail > 0)
        self.prompts_to_fail = max(0, self.prompts_to_fail - 1)
        lost, self.post_answers_to_lose = self.post_answers_to_lose, 0
        self.answers_to_lose += lost
        self._answered()
        return sent

    def history(self, prompt_id: str) -> HistoryEntry | None:
        self._asked()
        self._answered()
        begin, end = self.ends.get(prompt_id, (0.0, float("inf")))
        if end > self.clock.seconds:
            return None
        prompt, interrupted = self._prompts[prompt_id], prompt_id in self._interrupted
        failure = ExecutionFailed("node 2 raised ValueError: no luck", node_id="2", exception_type="ValueError")
        succeeded = not (prompt.fails or interrupted)
        return HistoryEntry(
            prompt_id=prompt_id,
            graph={},
            extra_data={},
            files=prompt.files if succeeded else (),
            texts=(),
            succeeded=succeeded,
            interrupted=interrupted,
            failure=failure if prompt.fails and not interrupted else None,
            cached_nodes=frozenset(),
            started_at=BEGINNING + timedelta(seconds=begin),
            finished_at=BEGINNING + timedelta(seconds=end),
        )

    def queue(self) -> Queue:
        queue = super().queue()
        self._answered()
        return queue

    def queue_remaining(self) -> int:
        remaining = super().queue_remaining()
        self._answered()
        return remaining

    def delete_from_queue(self, prompt_ids: Sequence[str]) -> None:
        self._asked()
        for prompt_id in prompt_ids:
            if self.ends.get(prompt_id, (0.0, 0.0))[0] > self.clock.seconds:
                del self.ends[prompt_id]
        self._answered()

    def interrupt(self, prompt_id: str) -> None:
        self._asked()
        begin, end = self.ends.get(prompt_id, (0.0, 0.0))
        if begin <= self.clock.seconds < end:
            self.ends[prompt_id] = begin, self.clock.seconds
            self._interrupted.add(prompt_id)
        self._answered()

    @contextlib.contextmanager
    def view(self, file: OutputFile, *, offset: int = 0) -> Iterator[_Whole]:
        self._asked()
        self._answered()
        if file.filename not in self.files:
            raise NotOnServer(f"{self.url}: the output file {file.filename} is gone", status=404)
        yield _Whole(self.files[file.filename])

    def _forget(self, prompt_ids: Iterable[str]) -> None:
        for prompt_id in prompt_ids:
            del self.ends[prompt_id]
            self.forgotten[self._prompts[prompt_id].item] += 1

    def _asked(self) -> None:
        self.tick()
        self.fuse.step()
        super()._asked()

    def _answered(self) -> None:
        """The response is on its way back."""
        self.fuse.step()
        if self.answers_to_lose:
            self.answers_to_lose -= 1
            self.failures += 1
            raise ServerUnreachable(f"{self.url}: the answer was lost", may_have_arrived=True)

    def _finish(self, prompt_id: str) -> None:
        prompt = self._prompts[prompt_id]
        if prompt_id in self._interrupted:
            return
        if prompt.fails:
            self.failed[prompt.item] += 1
            return
        self.rendered[prompt.item] += 1
        self.files |= {file.filename: png(saved_by=prompt_id) for file in prompt.files}

    def _pictured(self) -> list[str]:
        return [
            prompt_id
            for prompt_id, prompt in self._prompts.items()
            if any(file.filename in self.files for file in prompt.files)
        ]
