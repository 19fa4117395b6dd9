"""Parts of several documents."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from orchestrator.documents.kinds import ItemErrorKind


class FailureDocument(TypedDict):
    """A failed item."""

    item: str
    """Its key, as `burst retry` takes it."""
    kind: ItemErrorKind
    """What kind of error it was, such as `execution_error`."""
    message: str
    """What went wrong, and what to do about it."""


class ItemMessageDocument(TypedDict):
    """An item, and what is wrong with it."""

    item: str
    """Its key."""
    message: str
    """What is wrong."""


class SetAsideDocument(TypedDict):
    """A recipe that cannot be used; its items stay as they are."""

    recipe: str | None
    """Its id; null: the default of items without a recipe."""
    name: str
    """Where its workflow came from."""
    reason: str
    """Why, and what to do about it."""
    output: str | None
    """The output directory that cannot be used, if that is the reason."""
    items: int
    """How many items wait for it."""
    submitted: int
    """How many of them are submitted."""
    batches: list[str]
    """The batches that they belong to: the first ten."""
    batches_total: NotRequired[int]
    """How many, where `batches` was cut."""
    next: str
    """The command for these items, once the reason is gone."""


class WaitingDocument(TypedDict):
    """A pending item that is made from an output of another item, and waits for that."""

    item: str
    """Its key."""
    source: str
    """Key of the item that it waits for; of several, the first."""
    output: int
    """Which of its outputs, from 1."""
    source_status: str | None
    """The status of that item; null where it is not there."""


class ChangedWorkflowDocument(TypedDict):
    """A workflow file that was changed after pending items were added."""

    path: str
    """As the recipes name it."""
    items: int
    """How many pending items will be rendered with the file as it was."""
