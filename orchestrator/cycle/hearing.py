"""What the events of one server say about the prompts of one worker: a hint, never the truth.

An event makes the worker look; what it finds decides. A prompt that was heard of is asked for less often. A server that
is silent, deaf or lying is worked with as if it had no events.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

import msgspec

from orchestrator.clock import Clock
from orchestrator.comfyui.events import Event, Kind, Preview
from state.item import Item

HISTORY_DELAY_SECONDS = 0.1
"""The history may have a prompt only a moment after its `execution_success`; the next message says when."""
_DEAF_SECONDS = 15.0
"""How long a connection is kept that tells nothing."""
_MOST_PROMPTS = 10_000
"""How many are kept in mind, so that a flood of invented ones does not fill the memory."""


_T = TypeVar("_T")


class Source(Protocol):
    """Brings the events; see `orchestrator.comfyui.events.Listener`."""

    def start(self) -> None: ...

    def close(self) -> None: ...


class Sight(msgspec.Struct, frozen=True):
    """A running prompt, as it was last heard of. Times are those of the monotonic clock."""

    prompt_id: str
    began_at: float
    changed_at: float
    """When it was last heard of."""
    node: str | None = None
    node_began_at: float | None = None
    step: int | None = None
    steps: int | None = None
    """Of this node; None where it has no steps."""
    preview: Preview | None = None


class Hearing:
    """Thread-safe: the listener's thread tells, the worker and the display ask."""

    def __init__(self, clock: Clock, wake: Callable[[], None]) -> None:
        """`wake`: called when the worker should look."""
        self._clock = clock
        self._wake = wake
        self._lock = threading.Lock()
        self._source: Source | None = None
        self._is_connected = self._is_listening = False
        self.is_connecting = False
        """The first connection is being opened: in a moment events may tell what polling would ask."""
        self._ended: dict[str, tuple[float, Kind]] = {}
        """Prompts that are said to have ended -> when to look, and which event said so."""
        self._heard: dict[str, float] = {}
        """Prompts that were heard of on this connection -> when they last were."""
        self._disproved: dict[str, Kind] = {}
        """Prompts that this event said to have ended, and had not."""
        self._one_runs = False
        """One of ours runs, without a name: what a server says to a client that comes back."""
        self._missed: str | None = None
        """A prompt that ended without a word, on a connection that should have told."""
        self._is_deaf = False
        self._connected_at = 0.0
        self._last_sign: float | None = None
        self._sight: Sight | None = None

    # The worker

    def listen_with(self, source: Source) -> None:
        """Where events come from once `listen` is called."""
        self._source = source

    def listen(self) -> None:
        """From now on. Safe to repeat."""
        if self._source is not None and not self._is_listening:
            self._is_listening = self.is_connecting = True
            self._source.start()

    def close(self) -> None:
        if self._source is not None:
            self._source.close()

    def is_heard(self, prompt_id: str) -> bool:
        """Whether its end will be told, as far as that can be known."""
        with self._lock:
            if not self._is_connected or prompt_id in self._disproved:
                return False
            return prompt_id in self._heard or self._one_runs

    def due(self, find: Callable[[str], Item | None]) -> Item | None:
        """The item whose prompt is said to have ended and should be looked at now.

        `find`: by prompt_id, among those that the worker waits for; whatever else was said is forgotten.
        """
        if not self._ended:
            return None
        with self._lock:
            now = self._clock.monotonic()
            for prompt_id in [one for one, (at, _) in self._ended.items() if at <= now]:
                if (item := find(prompt_id)) is not None:
                    return item
                del self._ended[prompt_id]
        return None

    def seconds_until_due(self) -> float | None:
        """Until `due` may find another one; None where nothing was said."""
        with self._lock:
            if not self._ended:
                return None
            return max(0.0, min(at for at, _ in self._ended.values()) - self._clock.monotonic())

    def looked(self, prompt_id: str, *, has_ended: bool) -> bool:
        """The worker looked, because it was said to have ended or because it was time.

        Returns whether an event told that it has just ended.
        """
        with self._lock:
            told = self._ended.pop(prompt_id, None)
            if not has_ended:
                if told is not None:
                    _remember(self._disproved, prompt_id, told[1])
                return False
            self._disproved.pop(prompt_id, None)
            self._heard.pop(prompt_id, None)
            if told is not None:
                self._missed, self._is_deaf = None, False
            elif self._is_connected:
                # The first may have overtaken its own event.
                self._is_deaf = self._missed is not None and self._missed != prompt_id
                self._missed = prompt_id
            self._leave(prompt_id)
            return told is not None

    # Whoever shows it, or judges the server

    @property
    def sight(self) -> Sight | None:
        """The running prompt; None while none of ours is known to run."""
        return self._sight

    @property
    def is_sure_of_none(self) -> bool:
        """The connection is open and none of ours was said to run: they wait behind the prompts of others."""
        return self._is_connected and not self._one_runs

    def last_sign(self, prompt_id: str | None = None) -> float | None:
        """When this prompt, or the server at all, was last heard of, on the monotonic clock; None if never."""
        with self._lock:
            if prompt_id is None:
                return self._last_sign
            sight = self._sight
            return sight.changed_at if sight is not None and sight.prompt_id == prompt_id else None

    # The listener

    def connected(self) -> None:
        with self._lock:
            self._is_connected, self._is_deaf, self._missed = True, False, None
            self.is_connecting = False
            self._connected_at = self._clock.monotonic()

    def disconnected(self) -> None:
        with self._lock:
            was_connected, self._is_connected = self._is_connected, False
            self.is_connecting = False
            self._one_runs = False
            self._heard.clear()
        if was_connected:
            self._wake()

    @property
    def wants_another_connection(self) -> bool:
        return self._is_deaf and self._clock.monotonic() - self._connected_at >= _DEAF_SECONDS

    def hear(self, found: Event | Preview) -> None:
        with self._lock:
            now = self._last_sign = self._clock.monotonic()
            if isinstance(found, Preview):
                self._see(found, now)
                return
            news = self._take(found, now)
        if news:
            self._wake()

    def _take(self, event: Event, now: float) -> bool:
        """Whether the worker should look."""
        prompt_id = event.prompt_id
        if event.kind == "other":
            return False
        if prompt_id is None:
            self._one_runs = True
            if self._sight is not None:
                self._sight = _moved(self._sight, event, now)
            return False
        self._one_runs = False
        if prompt_id == self._missed:
            self._missed = None
        if event.kind in ("ended", "over"):
            return self._end(prompt_id, now if event.kind == "over" else now + HISTORY_DELAY_SECONDS, event.kind)
        _remember(self._heard, prompt_id, now)
        if self._sight is None or self._sight.prompt_id != prompt_id:
            self._sight = Sight(prompt_id, began_at=now, changed_at=now)
        self._sight = _moved(self._sight, event, now)
        return False

    def _end(self, prompt_id: str, at: float, kind: Kind) -> bool:
        self._leave(prompt_id)
        if self._disproved.get(prompt_id) in (kind, "over"):
            return False
        before = self._ended.get(prompt_id)
        is_news = before is None or at < before[0]
        if is_news:
            _remember(self._ended, prompt_id, (at, kind))
        return is_news

    def _leave(self, prompt_id: str) -> None:
        if self._sight is not None and self._sight.prompt_id == prompt_id:
            self._sight = None

    def _see(self, preview: Preview, now: float) -> None:
        sight = self._sight
        if sight is not None and preview.prompt_id in (None, sight.prompt_id):
            self._sight = msgspec.structs.replace(sight, preview=preview, changed_at=now)


def _moved(sight: Sight, event: Event, now: float) -> Sight:
    """The same prompt after this event."""
    if event.kind == "node":
        return msgspec.structs.replace(sight, node=event.node, node_began_at=now, step=None, steps=None, changed_at=now)
    if event.kind == "step":
        node = event.node or sight.node
        began_at = sight.node_began_at if node == sight.node else now
        return msgspec.structs.replace(
            sight, node=node, node_began_at=began_at, step=event.step, steps=event.steps, changed_at=now
        )
    return msgspec.structs.replace(sight, changed_at=now)


def _remember(known: dict[str, _T], prompt_id: str, value: _T) -> None:
    known[prompt_id] = value
    if len(known) > _MOST_PROMPTS:
        del known[next(iter(known))]
