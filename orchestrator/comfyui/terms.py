"""What a server's API offers a run, and what it costs: the cycle asks for this, never for the kind of a server."""

from __future__ import annotations

import msgspec


class Terms(msgspec.Struct, frozen=True):
    """By default those of a ComfyUI of one's own."""

    takes_prompt_id: bool = True
    """A prompt has the id that its request names. Otherwise the server chooses one, and the request's is its key."""
    key_seconds: float = 0.0
    """For how long the server refuses a second request with the same key, so that one without an answer may be repeated
    without a second prompt; 0: it knows no keys."""
    has_files_by_name: bool = True
    """Files can be fetched by their names alone, whatever became of the prompt."""
    has_priorities: bool = True
    has_events: bool = True
    renders_in_order: bool = True
    """One prompt after another, so that the oldest is the next to end."""
    shows_queue: bool = True
    """What waits on it before ours can be seen, so that a queue that stands still is told from one that moves."""
    lists_nodes: bool = True
    """Its node classes and models can be asked for."""
    most_out: int | None = None
    """How many prompts of this state it gets at a time; None: any number."""
    is_paid: bool = False
    """What it renders costs money."""
