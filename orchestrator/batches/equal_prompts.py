"""Prompts of one request that are equal: their seeds go on from one to the next, and what stays equal is noted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from orchestrator.batches.prompt_entry import PromptEntry
from orchestrator.formatting import counted
from orchestrator.wording import named
from state.item import Item

_encode = msgspec.json.Encoder(order="sorted").encode


def seeds_before(entries: Sequence[PromptEntry], counts: Iterable[int]) -> list[int]:
    """For each prompt, how many variations the equal ones before it have. `counts`: how many each has."""
    known: Counter[bytes] = Counter()
    found = []
    for entry, count in zip(entries, counts, strict=True):
        kind = _encode((entry.prompt.strip(), dict(entry.inputs), dict(entry.uploads), entry.template))
        found.append(known[kind])
        known[kind] += count
    return found


def same_image_notes(items: Iterable[Item]) -> Iterator[str]:
    """What to report of items that differ in nothing that makes an image, such as the seed; nothing if none do."""
    kinds = Counter(_encode((item.recipe, item.prompt_text, item.inputs, item.uploads)) for item in items)
    more = kinds.total() - len(kinds)
    if more:
        what = "1 item is" if more == 1 else f"{counted(more)} are"
        yield (
            f"{what} like another in text, values and seed, and so {'is' if more == 1 else 'are'} the same image: "
            f"for others, leave out {named('seed_mode', 'fixed')} and seeds of their own, and bind a seed"
        )
