"""What a person names to list or export: a batch, or a search."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.batches.batch_status import batch_called
from orchestrator.errors import UsageError
from orchestrator.outputs.placement import placement_of
from orchestrator.results.matching import Matching
from orchestrator.results.rendered import Rendered, Walk
from orchestrator.results.search_text import Query, WrongTerm, parsed
from orchestrator.settings import Overrides, load_settings
from state.open_store import open_store

_LEAST_LETTERS = 8
"""Of the beginning of an id; what is shorter is a word to look for."""


@dataclass(frozen=True)
class Selection:
    """Some images of an open state. Read from it each time, and never in memory as a whole."""

    walk: Walk
    text: str
    """As it was given."""
    batch: str | None
    """The id of the batch that it names."""
    matching: Matching

    @property
    def state(self) -> str:
        return self.walk.store.location.shown()

    def __iter__(self) -> Iterator[Rendered]:
        matching = self.matching
        found = self.walk.images(batch=self.batch, since=matching.since, until=matching.until)
        return (one for one in found if matching.takes(one))


@contextlib.contextmanager
def open_selection(
    state: Path, words: Sequence[str], *, overrides: Overrides | None = None, names_batch: bool = False
) -> Iterator[Selection]:
    """The images that this search means, of a state that is opened to read: no lock, nothing written.

    `names_batch`: a text that is the name or id of a batch, or begins the id of one, means that batch.
    Errors: UsageError for a term that means nothing; StateError.
    """
    text = " ".join(words).strip()
    with open_store(state, read_only=True) as store:
        walk = Walk(store, placement_of(store, load_settings(state, overrides)))
        batch = _batch_named(walk, text) if names_batch else None
        query = _understood(text, walk) if batch is None else Query()
        yield Selection(walk, text, batch, Matching(query, store.location.shown()))


def _understood(text: str, walk: Walk) -> Query:
    try:
        return parsed(text, names=walk.names)
    except WrongTerm as error:
        raise UsageError(str(error)) from error


def _batch_named(walk: Walk, text: str) -> str | None:
    named = batch_called(walk.batches, text)
    if named is not None:
        return named.id if not named.gone else None
    begun = [name for name, batch in walk.batches.items() if name.startswith(text) and not batch.gone]
    return begun[0] if len(begun) == 1 and len(text) >= _LEAST_LETTERS else None
