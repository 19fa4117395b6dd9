"""What `burst notify` prints, and what receivers of a state get."""

from __future__ import annotations

from typing import Any, Literal, TypedDict


class ReceiverDocument(TypedDict):
    """Somebody who is notified; nothing of it is a secret."""

    id: str
    """As `burst notify remove` takes it."""
    address: str
    """Scheme and host of a webhook; of another service the scheme alone."""
    on: list[str]
    """Of which events: `done`, `failed`, `stuck`, `disk`."""
    runs: int
    """After how many runs in a row that ended no item it is told `stuck`."""
    signed: bool
    """Whether calls are signed."""
    secret_env: str | None
    """The environment variable with the key, where it is kept out of the state."""
    added_at: str
    """What happened before is not told (ISO 8601)."""
    last_tried_at: str | None
    """When it was last told something; null: never."""
    last_problem: str | None
    """Why that did not arrive; null where it did."""


class NotifyDocument(TypedDict):
    """Who is notified."""

    schema: Literal["burst.notify/1"]
    action: Literal["list", "add", "remove", "test"]
    receivers: list[ReceiverDocument]
    secret: str | None
    """The key of a new receiver's signatures, which is shown nowhere else."""
    problems: list[str]
    """Receivers that a test did not reach, and why."""
    notes: list[str]
    """What was done."""
    exit_code: int
    """What the process returns."""


class NotificationDocument(TypedDict):
    """The body of a call to a receiver that `burst notify add` named."""

    schema: Literal["burst.notification/1"]
    id: str
    """The id of the event, as in the header `webhook-id`: the same each time it is sent."""
    type: Literal[
        "batch.done",
        "batch.failed",
        "batch.cancelled",
        "state.done",
        "items.failed",
        "command.failed",
        "job.stuck",
        "disk.full",
        "test",
    ]
    """`batch.failed`: a batch has ended and some of its items failed; `command.failed`: a command of `--then` did."""
    timestamp: str
    """When it happened (ISO 8601)."""
    state: str
    """The state: its path or address, without a password."""
    text: str
    """The same for a person."""
    data: dict[str, Any]
    """By type. `batch.*`: as the body of a call to `--notify URL`, with the batch's `name`. `state.done`: `counts`.
    `items.failed`: `failed` (new ones), `total`, and the first ten `items` with their `message`. `job.stuck`: `runs`,
    `fruitless_runs`, `remaining`. `disk.full`: `reason`. `command.failed`: `name`, `batch`, `host`, `problem`."""
