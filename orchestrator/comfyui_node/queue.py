"""ComfyUI's queue as this node sees it: the prompt that runs, those that wait, how one ended, one more behind them.

The one module that knows the server. Outside ComfyUI there is none, and nothing runs, waits or is queued.
"""

from __future__ import annotations

import sys
import uuid
from dataclasses import dataclass
from enum import Enum
from typing import Any

_CHAINED = "burst_node"
"""In the extra_data of a prompt that was queued here: no press of Queue, but the way on from one."""


class How(Enum):
    """How a prompt ended."""

    WELL = "well"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    UNKNOWN = "unknown"
    """It is neither in the queue nor in the history: someone deleted it there."""


@dataclass(frozen=True)
class Ending:
    how: How
    message: str = ""
    node_id: str | None = None


@dataclass(frozen=True)
class Prompt:
    """One entry of the queue: (number, prompt_id, graph, extra_data, outputs to execute, what newer servers add…)."""

    entry: tuple[Any, ...]

    @property
    def prompt_id(self) -> str:
        return str(self.entry[1])

    @property
    def graph(self) -> dict[str, Any]:
        graph: dict[str, Any] = self.entry[2]
        return graph

    @property
    def outputs(self) -> list[str]:
        """Ids of the output nodes that it executes."""
        return list(self.entry[4])

    @property
    def chained(self) -> bool:
        return _CHAINED in self.entry[3]


def running() -> Prompt | None:
    """The prompt that a node is asked to run for."""
    server = _server()
    if server is None:
        return None
    # With an extra_data of its own: when the prompt ends, the server takes its secrets out of the one that it holds.
    prompts = [Prompt((*entry[:3], dict(entry[3]), *entry[4:])) for entry in _entries(server)[0]]
    named = [prompt for prompt in prompts if prompt.prompt_id == getattr(server, "last_prompt_id", None)]
    return next(iter(named or prompts), None)


def others(prompt_id: str) -> list[Prompt]:
    """Prompts that run or wait, but for this one."""
    server = _server()
    entries = [] if server is None else [entry for part in _entries(server) for entry in part]
    return [prompt for prompt in map(Prompt, entries) if prompt.prompt_id != prompt_id]


def ending(prompt_id: str) -> Ending | None:
    """None while it runs or waits."""
    server = _server()
    if server is None:
        return Ending(How.UNKNOWN)
    # The history is asked again: the prompt may have gone there from the queue between the two questions.
    known = _from_history(server, prompt_id)
    if known is None and prompt_id in {str(entry[1]) for part in _entries(server) for entry in part}:
        return None
    return known or _from_history(server, prompt_id) or Ending(How.UNKNOWN)


def queue_again(prompt: Prompt) -> str:
    """The same prompt once more, behind all that wait; its prompt_id.

    The entry is copied as it was validated and queued, whatever a server of another version holds in it: with the
    client_id, so that the browser which pressed Queue goes on seeing it, and with the keys that its nodes need.
    """
    server = _server()
    assert server is not None
    _, _, graph, extra, *rest = prompt.entry
    prompt_id = str(uuid.uuid4())
    # An item that a burst sent is one prompt, the first: its mark must not name the others.
    extra = {name: value for name, value in extra.items() if name != "burst"} | {_CHAINED: {"after": prompt.prompt_id}}
    # Should a POST take the same number at this moment, the queue still tells the two apart by their ids.
    number = server.number
    server.number = number + 1
    server.prompt_queue.put((number, prompt_id, graph, extra, *rest))
    return prompt_id


def _server() -> Any:
    """ComfyUI's PromptServer, which has loaded long before its custom nodes; None elsewhere."""
    return getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)


def _entries(server: Any) -> tuple[list[Any], list[Any]]:
    """What runs, and what waits."""
    queue = server.prompt_queue
    # Where it is there: the other one copies every graph.
    look = getattr(queue, "get_current_queue_volatile", queue.get_current_queue)
    running, waiting = look()
    return running, waiting


def _from_history(server: Any, prompt_id: str) -> Ending | None:
    entry = server.prompt_queue.get_history(prompt_id=prompt_id).get(prompt_id)
    if entry is None:
        return None
    status = entry.get("status") or {}
    messages: dict[str, dict[str, Any]] = dict(status.get("messages", []))
    if "execution_interrupted" in messages:
        return Ending(How.INTERRUPTED)
    error = messages.get("execution_error")
    if error is not None or not status.get("completed", True):
        error = error or {}
        node_id = error.get("node_id")
        message = str(error.get("exception_message", "the server says that it failed")).strip()
        return Ending(How.FAILED, message, None if node_id is None else str(node_id))
    return Ending(How.WELL)
