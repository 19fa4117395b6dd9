"""What the gallery shows of an image, made from the item that it belongs to or from a batch_info.json."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from orchestrator.batches.sidecars import read_sidecar
from orchestrator.statistics import pictures_of
from orchestrator.web.image_files import Picture, image_id
from orchestrator.web.orphaned_batches import OrphanedBatch, OrphanedImage
from orchestrator.web.states import WatchedState
from state.batch import BatchRecord
from state.item import Item

_SIDECARS_TRIED = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """One image. Times are aware UTC."""

    picture: Picture
    batch_name: str | None
    at: datetime
    """When it was completed."""
    prompt: str
    seed: int | None
    model: str | None
    parameters: Mapping[str, Any]
    """By binding or address: the inputs of its item, and what its template says in all of its batch."""
    template: str | None
    seconds: float | None
    item: Item | None
    """None where no state knows it."""

    @property
    def words(self) -> str:
        """What it is found by: prompt and negative prompt, casefolded."""
        return words_of(self.prompt, self.parameters)


def entries_of(state: WatchedState, record: BatchRecord, item: Item, common: Mapping[str, Any]) -> Iterator[Entry]:
    """One for each image of a completed item. `common`: see `common_of`."""
    parameters = {**common, **item.inputs}
    prompt = str(item.own_text or parameters.pop("prompt", None) or "")
    seed = parameters.pop("seed", None)
    for number, output in enumerate(pictures_of(item), 1):
        name = image_id(item.index, number)
        yield Entry(
            picture=Picture(state, record.batch, name, item, output.path, output.sha256, output.bytes),
            batch_name=record.name,
            at=item.completed_at or record.created_at,
            prompt=prompt,
            seed=seed if isinstance(seed, int) else None,
            model=text_of(parameters.get("model")),
            parameters=parameters,
            template=item.template or record.template,
            seconds=item.seconds,
            item=item,
        )


def entry_of_orphan(left: OrphanedBatch, one: OrphanedImage) -> Entry:
    parameters = {name: value for name, value in left.parameters.items() if name not in ("prompt", "seed")}
    return Entry(
        picture=one.picture,
        batch_name=left.name,
        at=left.ended_at or left.created_at,
        prompt="\n".join(left.prompts),
        seed=one.seed,
        model=text_of(parameters.get("model")),
        parameters=parameters,
        template=left.template,
        seconds=one.seconds,
        item=None,
    )


def common_of(state: WatchedState, items: Iterable[Item]) -> dict[str, Any] | None:
    """What the template of a batch says where its items say nothing, as the sidecar of one of them tells it.

    None while no sidecar tells. One with an input by address is passed over: its sidecar may tell the same by name.
    """
    asked = (item for item in items if item.outputs and not any("." in name for name in item.inputs))
    for item in islice(asked, _SIDECARS_TRIED):
        inputs, _ = sidecar_of(state, item)
        if inputs:
            return {name: value for name, value in inputs.items() if name not in item.inputs and name != "prompt"}
    return None


def sidecar_of(state: WatchedState, item: Item) -> tuple[dict[str, Any], dict[str, Any]]:
    """Inputs and facts of an item's sidecar; empty where it has none that can be read."""
    is_there = item.sidecar is not None and any(output.path == item.sidecar for output in item.outputs)
    path = state.placement.found(item, item.sidecar) if item.sidecar is not None and is_there else None
    try:
        return read_sidecar(path) if path is not None else ({}, {})
    except (OSError, ValueError):
        return {}, {}


def words_of(prompt: str, parameters: Mapping[str, Any]) -> str:
    return f"{prompt}\n{parameters.get('negative', '')}".casefold()


def text_of(value: object) -> str | None:
    return value if isinstance(value, str) else None
