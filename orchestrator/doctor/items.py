"""The check of `burst doctor` on what is to be sent: every pending item is prepared as a run would do it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.clock import Clock
from orchestrator.doctor.diagnosis import Check, command
from orchestrator.doctor.survey import Survey
from orchestrator.errors import ItemError, OutputRootUnusable, RecipeUnusable, TemplateError
from orchestrator.formatting import counted
from orchestrator.input_files import refuse_unreadable, stand_ins
from orchestrator.outputs.placement import Placement
from orchestrator.preparation import Preparation
from state.item import Item

_LONGEST_SECONDS = 5.0
_NAMES = {"prompt_text": "prompts", "upload": "images", "inputs": "inputs", "output_refused": "output"}
"""The name of the check, by the kind of the error that the item would end with."""


@dataclass
class _Refused:
    """The items that a run would not send, for one kind of reason."""

    message: str
    """Of the first one."""
    keys: list[str] = field(default_factory=list)


def check_items(
    state: Path, seen: Survey, preparation: Preparation, placement: Placement, *, clock: Clock
) -> Iterator[Check]:
    """Prompt texts, images, inputs and places of pending items. Of images, only whether they can be opened.

    Ends after some seconds, and says then how many were checked. `placement`: used for nothing else, since each item's
    place is kept for it.
    """
    until = clock.monotonic() + _LONGEST_SECONDS
    refused: dict[str, _Refused] = {}
    checked, due = 0, len(seen.pending) - len(seen.waiting)
    for item in seen.pending:
        if item.key in seen.waiting:
            continue
        if clock.monotonic() > until:
            break
        checked += 1
        try:
            _prepare(item, preparation, placement)
        except ItemError as error:
            refused.setdefault(error.kind, _Refused(str(error))).keys.append(item.key)
        except (RecipeUnusable, TemplateError, OutputRootUnusable):
            continue  # the checks of workflows and output directories say so
    for kind, found in refused.items():
        yield _refused(state, _NAMES.get(kind, kind), found, due)
    if seen.pictures and "upload" not in refused:
        facts = {"images": seen.pictures, "missing": 0}
        yield Check("images", "ok", f"{counted(seen.pictures, 'image')} to be uploaded, all there", facts=facts)
    if checked < due:
        yield Check("inputs", "ok", f"only the first {checked} of {due} pending items were checked")


def _prepare(item: Item, preparation: Preparation, placement: Placement) -> None:
    """Everything that a run does with an item before it asks a server, without reading whole images."""
    refuse_unreadable(item.upload_sources, preparation.locate)
    prepared = preparation.prepare(item, stand_ins(item.uploads))
    placement.refuse_occupied(item, extensions=prepared.extensions[:1], own=placement.own_outputs(item))


def _refused(state: Path, name: str, found: _Refused, pending: int) -> Check:
    count = len(found.keys)
    which = f"{count} of {pending} pending items cannot be sent, such as " if count > 1 else ""
    message = found.message
    for ending in (", then `burst retry`", "; then `burst retry`"):
        message = message.removesuffix(ending)
    first = found.keys[0]
    message = message if message.startswith(first) else f"{first}: {message}"
    facts = {"count": count, "items": found.keys[:3]} | ({"missing": count} if name == "images" else {})
    return Check(name, "problem", f"{which}{message}", command("run", state), facts)
