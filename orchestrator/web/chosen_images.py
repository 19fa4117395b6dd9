"""Images that a browser has chosen, of any batches: which outputs of which items they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from orchestrator.outputs.numbering import numbered
from orchestrator.web.chosen_schemas import ImageRef
from orchestrator.web.error_responses import Refused
from orchestrator.web.image_files import NOT_FOUND, version_of
from orchestrator.web.library import Library
from orchestrator.web.states import WatchedState
from state.item import Item, OutputRecord

READ_ONLY = "This batch belongs to no state any more, so its images cannot be marked"


@dataclass(frozen=True)
class Chosen:
    """An image of a state."""

    ref: ImageRef
    state: WatchedState
    item: Item
    output: OutputRecord

    @property
    def number(self) -> int:
        """Which of its item's outputs it is, as `burst star` counts them."""
        return next(number for number, output in numbered(self.item).items() if output == self.output)


@dataclass
class Choice:
    """What was found of a choice."""

    found: list[Chosen] = field(default_factory=list)
    missing: list[ImageRef] = field(default_factory=list)
    """Gone since, or another image than the one that was shown."""
    read_only: list[ImageRef] = field(default_factory=list)
    """Of batches that no state knows."""

    def by_state(self) -> dict[WatchedState, list[Chosen]]:
        found: dict[WatchedState, list[Chosen]] = {}
        for one in self.found:
            found.setdefault(one.state, []).append(one)
        return found


def choice_of(library: Library, refs: Iterable[ImageRef]) -> Choice:
    """Each image once, as the states are now. Errors: StateError; Refused with 404 for what is no image's id."""
    by_batch: dict[str, dict[str, ImageRef]] = {}
    for ref in refs:
        by_batch.setdefault(ref.batchId, {})[ref.image] = ref
    choice = Choice()
    for batch_id, images in by_batch.items():
        found = library.outputs(batch_id, images)
        if found is None:
            is_left = batch_id in library.orphaned_batches.batches()
            (choice.read_only if is_left else choice.missing).extend(images.values())
            continue
        state, _, there = found
        for image, ref in images.items():
            item, output = there.get(image, (None, None))
            if item is None or output is None or ref.version not in (None, version_of(output.sha256)):
                choice.missing.append(ref)
            else:
                choice.found.append(Chosen(ref, state, item, output))
    return choice


def chosen_image(library: Library, batch_id: str, image: str) -> Chosen:
    """Errors: StateError; Refused with 404, or 409 for an image that no state knows."""
    choice = choice_of(library, [ImageRef(batchId=batch_id, image=image)])
    if choice.read_only:
        raise Refused(409, READ_ONLY, "batchId")
    if not choice.found:
        raise Refused(404, NOT_FOUND, "image")
    return choice.found[0]
