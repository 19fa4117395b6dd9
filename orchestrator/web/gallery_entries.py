"""What the gallery shows of an image, made from the item that it belongs to or from a batch_info.json."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import count, islice
from typing import Any

from orchestrator.batches.sidecars import read_sidecar
from orchestrator.results.prompt_texts import text_in_file
from orchestrator.statistics import pictures_of
from orchestrator.web.image_files import Picture, image_id
from orchestrator.web.loose_items import loose_id, loose_image_id, moment_of
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


def entries_of(state: WatchedState, record: BatchRecord, item: Item, common: Mapping[str, Any]) -> Iterator[Entry]:
    """One for each image of a completed item. `common`: see `common_of`."""
    parameters = {**common, **item.inputs}
    prompt = str(item.own_text or parameters.pop("prompt", None) or "")
    names = (image_id(item.index, number) for number in count(1))
    at = item.completed_at or record.created_at
    template = item.template or record.template
    return _entries(state, item, record.batch, names, record.name, at, prompt, parameters, template)


def loose_entries_of(state: WatchedState, item: Item) -> Iterator[Entry]:
    """One for each image of a completed item without a batch, with what its own sidecar tells."""
    told, facts = sidecar_of(state, item)
    parameters = {**told, **item.inputs}
    told_prompt = parameters.pop("prompt", None)
    prompt = str(item.own_text or told_prompt or text_in_file(state.path.parent, item))
    names = (loose_image_id(item.key, number) for number in count(1))
    template = item.template or text_of(facts.get("template"))
    return _entries(state, item, loose_id(state), names, None, moment_of(item), prompt, parameters, template)


def _entries(
    state: WatchedState,
    item: Item,
    batch_id: str,
    names: Iterator[str],
    batch_name: str | None,
    at: datetime,
    prompt: str,
    parameters: dict[str, Any],
    template: str | None,
) -> Iterator[Entry]:
    seed = parameters.pop("seed", None)
    for name, output in zip(names, pictures_of(item), strict=False):
        yield Entry(
            picture=Picture(state, batch_id, name, item, output.path, output.sha256, output.bytes),
            batch_name=batch_name,
            at=at,
            prompt=prompt,
            seed=seed if isinstance(seed, int) else None,
            model=text_of(parameters.get("model")),
            parameters=parameters,
            template=template,
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
    """What an image is found by: prompt and negative prompt."""
    return f"{prompt}\n{parameters.get('negative', '')}"


def text_of(value: object) -> str | None:
    return value if isinstance(value, str) else None
