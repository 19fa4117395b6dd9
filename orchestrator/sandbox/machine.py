"""The sandbox without HTTP: what survives a restart, and the state of one server process, which does not."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.clock import Clock
from orchestrator.sandbox import drawing
from orchestrator.sandbox.catalogue import NODE_CLASSES
from orchestrator.sandbox.counts import Counts
from orchestrator.sandbox.events import Events, status_data
from orchestrator.sandbox.execution import Surroundings
from orchestrator.sandbox.faults import Faults
from orchestrator.sandbox.files import Files
from orchestrator.sandbox.newer_catalogue import newer_classes
from orchestrator.sandbox.nodes import Catalogue
from orchestrator.sandbox.queue import PromptQueue
from orchestrator.sandbox.settings import HoldPoint, SandboxSettings
from orchestrator.sandbox.validate import Validation
from orchestrator.sandbox.worker import Gate, Worker


@dataclass
class Life:
    """What a kill -9 destroys: queue, history, cache, the running prompt and the number counter."""

    queue: PromptQueue
    worker: Worker
    number: int = 0


class Machine:
    """Files, counts, faults and listeners, and the current `Life` that uses them. Thread-safe."""

    def __init__(self, settings: SandboxSettings, *, directory: Path, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.files = Files(directory)
        self._draw_example()
        self.faults = Faults(settings)
        self.counts = Counts(self.clock)
        self.events = Events()
        newer = newer_classes()
        self.catalogue = Catalogue(
            lambda: newer if self.faults.settings.is_newer else NODE_CLASSES,
            choices=self.choices,
            missing=lambda: self.faults.settings.missing_nodes,
        )
        self._changed = threading.Condition()
        self._gate = Gate()
        self._restarting = threading.Lock()
        self._down_until = 0.0
        self.life = self._begin()

    @property
    def is_down(self) -> bool:
        """Whether a restart is in progress, so that connections are reset."""
        return self.clock.monotonic() < self._down_until

    def validation(self) -> Validation:
        """A validation of one graph."""
        return Validation(
            self.catalogue,
            input_exists=lambda name: self.files.input_file(name).is_file(),
            any_model=self.faults.settings.accept_any_model,
            is_newer=self.faults.settings.is_newer,
        )

    def choices(self, kind: str) -> list[str]:
        """The names listed by nodes and GET /models/{folder}: a folder of models, or the input images."""
        settings = self.faults.settings
        if kind == "input":
            return self.files.input_names()
        listed = {
            "checkpoints": settings.checkpoints,
            "loras": settings.loras,
            "vae": settings.vaes,
            "vae and pixel_space": (*settings.vaes, "pixel_space"),
            "upscale_models": settings.upscale_models,
            "embeddings": settings.embeddings,
        }
        return list(listed.get(kind, ()))

    def hold(self, at: HoldPoint) -> None:
        """Make the worker wait at a point until `release`."""
        with self._changed:
            self._gate.held_at = at
            self._changed.notify_all()

    def release(self) -> None:
        with self._changed:
            self._gate.held_at = None
            self._changed.notify_all()

    def stall(self) -> None:
        """Stop the worker: the running prompt never ends, the queue stands still, HTTP works. Ended by a restart."""
        self.life.worker.end()

    def restart(self, *, keep_outputs: bool, leave_cut_file: bool = False, down_seconds: float = 0.0) -> None:
        """A kill -9 and a restart. The temp folder is always cleared, the input folder never.

        `leave_cut_file`: the running prompt leaves half of its first file under the final name.
        `down_seconds`: how long connections are reset afterwards.
        """
        with self._restarting:
            with self._changed:
                self.life.worker.end(cut_short=leave_cut_file)
                lost = self.life.queue.abandon()
            self.life.worker.join()
            self.counts.lost(lost)
            self.files.wipe("temp")
            if not keep_outputs:
                self.files.wipe("output")
            self._down_until = self.clock.monotonic() + down_seconds
            self.events.drop_all()
            self.life = self._begin()

    def close(self) -> None:
        """Stop the worker's thread."""
        self.life.worker.end()
        self.life.worker.join()

    def _begin(self) -> Life:
        queue = PromptQueue(changed=self._changed, on_update=self._tell_status)
        around = Surroundings(self.files, self.catalogue, self.faults, self.counts, self.events, self.clock)
        worker = Worker(queue, gate=self._gate, around=around)
        worker.start()
        return Life(queue, worker)

    def _draw_example(self) -> None:
        """ComfyUI ships with an example image in its input folder, which workflows refer to."""
        path = self.files.input_file("example.png")
        if not path.exists():
            path.write_bytes(drawing.example())

    def _tell_status(self, remaining: int) -> None:
        data: dict[str, Any] = {"status": status_data(remaining)}
        self.events.send("status", data)
