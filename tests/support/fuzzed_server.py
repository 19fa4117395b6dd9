"""A fake server that restarts, forgets its history, loses responses, fails prompts and counts renders per item."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from support.fake_faults import Fault
from support.fake_queue import Prompt
from support.fake_transport import FakeServer
from support.killable_disk import Fuse


@dataclass
class FuzzedServer(FakeServer):
    """Counts renders per item. Requests and responses may be lost on either side."""

    fuse: Fuse = field(default_factory=Fuse)
    """The fuse of the client process."""
    away_until: float = 0.0
    """Until when it refuses connections."""
    faults: list[tuple[Fault, str]] = field(default_factory=list)
    """Faults that happen once each, with the beginning of the request (`METHOD /path`) that they wait for."""
    rendered: Counter[str] = field(default_factory=Counter)
    """By item. A prompt that failed or was interrupted made no image."""
    failed: Counter[str] = field(default_factory=Counter)
    forgotten: Counter[str] = field(default_factory=Counter)
    """By item: prompts that were lost, or that ended and are not in the history any more."""

    def __post_init__(self) -> None:
        self.fault = self._mishap

    def finish(self, prompt: Prompt, how: str) -> None:
        super().finish(prompt, how)
        self.rendered[_item(prompt)] += how == "success"
        self.failed[_item(prompt)] += how == "error"

    def restart_without(self, *, files: bool) -> list[str]:
        """Lose queue and history, with `files` those too; returns the items whose images are lost with them."""
        self.tick()
        with_images = [one for one in self.accepted.values() if any(path in self.files for path in one.paths())]
        self._forget([*self.queue, *self.history.values()])
        self.restart()
        if files:
            self.files.clear()
        return [_item(one) for one in with_images] if files else []

    def evict(self) -> None:
        """Clear the history of finished prompts; the files stay."""
        self.tick()
        self._forget(self.history.values())
        self.history.clear()

    def recover(self) -> None:
        """End all faults."""
        self.away_until, self.prompts_to_fail = 0.0, 0
        self.faults.clear()

    def _forget(self, prompts: Iterable[Prompt]) -> None:
        self.forgotten.update(_item(prompt) for prompt in prompts)

    def _mishap(self, asked: str) -> Fault:
        if self.clock.seconds < self.away_until:
            return "refused"
        for fault in self.faults:
            if asked.startswith(fault[1]):
                self.faults.remove(fault)
                return fault[0]
        return None

    def _arrive(self, asked: str) -> Fault:
        self.fuse.step()
        return super()._arrive(asked)

    def _leave(self, fault: Fault) -> None:
        self.fuse.step()
        super()._leave(fault)


def _item(prompt: Prompt) -> str:
    return str(prompt.extra_data["burst"]["item"])
