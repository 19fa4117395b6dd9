"""Which images a batch is made from, where those are outputs of items of the same state (`--from-batch`, `--pick`)."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

import templates
from orchestrator.batches.batch_status import find_batch
from orchestrator.batches.prompt_entry import PromptEntry
from orchestrator.batches.spec import BatchSpec
from orchestrator.batches.vocabulary import Vocabulary
from orchestrator.errors import ItemError, RecipeUnusable, TemplateError, UsageError, located
from orchestrator.file_kinds import FILES, PATTERNS
from orchestrator.formatting import counted
from orchestrator.input_files import stand_ins
from orchestrator.marks import Numbers, favorites, named_outputs
from orchestrator.outputs.numbering import numbered
from orchestrator.outputs.placement import Placement
from orchestrator.preparation import Preparation, prompt_file, read_prompt
from orchestrator.statistics import pictures_of
from orchestrator.text_files import decoded
from orchestrator.wording import named
from state.file_names import stem_of
from state.item import Item, ItemOutput, Status
from state.store import Store

ALL, FAVORITES = "all", "favorites"
_AS_BEFORE = "favourites"
"""How the release before wrote it."""
EVERY_ITEM = "."
"""In place of a batch: all items of the state."""
_MOST_OUTPUTS = 1000
_FREE_INPUTS = frozenset({"prompt", "negative", "seed"})
"""What changes nothing about how many outputs there are."""
_ENDED_OTHERWISE = (Status.FAILED, Status.CANCELLED)


class Pick(msgspec.Struct, frozen=True):
    """One output of an item, which may still be to come."""

    item: str
    output: int
    """From 1, in the order of the item's template."""
    kind: str | None
    """`image`, `video` or `audio`; None while it is not known."""
    prompt: str
    """The text of its item, or of what that is made from; empty where there is none."""
    name: str
    """What its item's outputs are called after."""
    subfolder: str


class Picks(msgspec.Struct, frozen=True):
    """What was picked, at least one."""

    request: str
    """What the request is compared by: the same for a batch that goes on being rendered."""
    picks: tuple[Pick, ...]

    def as_bytes(self) -> bytes:
        """For `entries_of`, in place of what another source of prompts holds."""
        return msgspec.json.encode(self)


def picks_of(store: Store, spec: BatchSpec, *, placement: Placement, preparation: Preparation) -> Picks:
    """Errors: UsageError for an unknown batch, and where nothing of it is picked."""
    assert spec.from_batch is not None
    every = spec.from_batch == EVERY_ITEM
    batch = None if every else find_batch(store.batches.read(), spec.from_batch)
    keys = [item.key for item in store.items()] if batch is None else store.batch_keys(batch.id)
    where = named("from_batch", spec.from_batch)
    if not keys:
        raise UsageError(f"{where}: it has no items")
    chosen = _chosen(store, spec, keys, placement)
    items = store.get_many(chosen)
    picker = _Picker(store, preparation)
    picks = tuple(pick for item in items for pick in picker.picks(item, chosen[item.key]))
    if not picks:
        raise UsageError(f"{where}: {_why_none(spec, items)}")
    if spec.pick in (None, ALL):
        return Picks(f"{ALL} of {EVERY_ITEM if batch is None else batch.id}", picks)
    return Picks(", ".join(f"{pick.item} {pick.output}" for pick in picks), picks)


def entries_of(spec: BatchSpec, data: bytes, vocabulary: Vocabulary) -> list[PromptEntry]:
    """An entry for each output that was picked. `data`: of `Picks.as_bytes`.

    Its text is that of the request, else its item's, where the template takes one.
    Errors: UsageError where the template takes no such file.
    """
    found = msgspec.json.decode(data, type=Picks)
    takes_text = vocabulary.binds("prompt")
    if spec.prompt is not None and not takes_text:
        raise UsageError(f"{named('prompt')}: {templates.no_binding('prompt', vocabulary.bindings)}")
    entries = []
    for pick in found.picks:
        text = pick.prompt if spec.prompt is None else spec.prompt.strip()
        entries.append(
            PromptEntry(
                text if takes_text else "",
                {},
                f"{pick.item}, output {pick.output}",
                name=_mirrored_name(pick) if spec.layout == "mirror" else "",
                subfolder=pick.subfolder if spec.layout == "mirror" else "",
                uploads={_binding(pick, vocabulary): ItemOutput(item=pick.item, output=pick.output)},
            )
        )
    return entries


def request_of(data: bytes) -> str:
    """What a request is compared by, of `Picks.as_bytes`."""
    return msgspec.json.decode(data, type=Picks).request


def _chosen(store: Store, spec: BatchSpec, keys: list[str], placement: Placement) -> Mapping[str, Numbers]:
    """The items that are picked, in the batch's order, and which of their outputs."""
    pick = ALL if spec.pick is None else spec.pick
    if not isinstance(pick, str):
        return _named(store, spec, pick, keys)
    if pick == ALL:
        return {item.key: None for item in store.get_many(keys) if item.status not in _ENDED_OTHERWISE}
    if pick in (FAVORITES, _AS_BEFORE):
        starred = {item.key: favorites(item) for item in store.get_many(keys) if item.favourite}
        return {key: numbers for key, numbers in starred.items() if store.get(key).status not in _ENDED_OTHERWISE}
    return _named(store, spec, named_outputs(store, placement, list(_lines(pick))), keys)


def _named(store: Store, spec: BatchSpec, meant: Mapping[str, Numbers], keys: list[str]) -> Mapping[str, Numbers]:
    """Those of a list, in the batch's order. Errors: UsageError."""
    place = named("pick", spec.pick) if isinstance(spec.pick, str) else named("pick")
    others = meant.keys() - set(keys)
    if others:
        raise UsageError(f"{place}: {min(others)} is not of {named('from_batch', spec.from_batch)}")
    for item in store.get_many(meant):
        if item.status in _ENDED_OTHERWISE:
            ended = "failed" if item.status is Status.FAILED else "was cancelled"
            raise UsageError(f"{place}: {item.key} {ended}; `burst retry` it first")
    return {key: meant[key] for key in keys if key in meant}


def _lines(path: str) -> Iterator[str]:
    """The names in a file, one a line; blank ones and those that begin with # are passed over."""
    place = named("pick", path)
    with located(f"{place}: cannot be read", OSError, ValueError, into=UsageError):
        text = decoded(Path(path).read_bytes())
    lines = [line.strip() for line in text.split("\n")]
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise UsageError(f"{place}: it names no item and no image")
    yield from found


@dataclass(frozen=True)
class _Picker:
    """From items to their outputs. What items will make is worked out once for those that differ in texts and seeds."""

    store: Store
    preparation: Preparation
    known: dict[tuple[object, ...], int] = field(default_factory=dict)

    def picks(self, item: Item, numbers: Numbers) -> Iterator[Pick]:
        """`numbers`: those that are wanted."""
        prompt = _prompt_of(item, self.preparation, self.store)
        for number, kind in self._outputs(item).items():
            if numbers is None or number in numbers:
                yield Pick(item.key, number, kind, prompt, stem_of(item.name), item.subfolder)

    def _outputs(self, item: Item) -> dict[int, str | None]:
        """The kinds of its outputs, by number; of one that is not completed, those that its workflow will make."""
        if item.status is Status.COMPLETED:
            pictures = pictures_of(item)
            return {number: _kind_of(output.path) for number, output in numbered(item).items() if output in pictures}
        inputs = {name: value for name, value in item.inputs.items() if name not in _FREE_INPUTS}
        key = item.recipe, item.template, msgspec.json.encode(inputs, order="sorted")
        if key not in self.known:
            self.known[key] = self._count(item)
        return dict.fromkeys(range(1, self.known[key] + 1))

    def _count(self, item: Item) -> int:
        """How many outputs a prompt of this item will have; 1 where that is not known."""
        try:
            prepared = self.preparation.prepare(item, stand_ins(item.uploads))
        except (ItemError, RecipeUnusable, TemplateError):
            return 1
        saves = [save for save in templates.saves_in_order(prepared.graph) if prepared.recipe.fetches(save)]
        counts = [save.count for save in saves if not save.temporary]
        known = 1 if None in counts else sum(count or 0 for count in counts)
        return max(1, min(known, _MOST_OUTPUTS))


def _kind_of(path: str) -> str | None:
    name = path.rpartition("/")[2].lower()
    kinds = (kind for kind, patterns in PATTERNS.items() if any(fnmatch.fnmatch(name, one) for one in patterns))
    return next(kinds, None)


def _binding(pick: Pick, vocabulary: Vocabulary) -> str:
    """What takes this output. Errors: UsageError."""
    kinds = (pick.kind,) if pick.kind is not None else FILES
    binding = next(filter(vocabulary.binds, kinds), None)
    if binding is None:
        raise UsageError(f"output {pick.output} of {pick.item}: {templates.no_binding(kinds[0], vocabulary.bindings)}")
    return binding


def _prompt_of(item: Item, preparation: Preparation, store: Store) -> str:
    """Its own text; where its workflow takes none, that of the item that it is made from."""
    seen: set[str] = set()
    while not (text := _own_prompt(item, preparation)):
        seen.add(item.key)
        sources = store.get_many(key for key in item.sources[:1] if key not in seen)
        if not sources:
            break
        (item,) = sources
    return text


def _own_prompt(item: Item, preparation: Preparation) -> str:
    if item.own_text is not None:
        return item.own_text.strip()
    if isinstance(text := item.inputs.get("prompt"), str):
        return text
    try:
        return read_prompt(preparation.home / prompt_file(item)).strip()
    except (OSError, ItemError):
        return ""


def _mirrored_name(pick: Pick) -> str:
    return pick.name if pick.output == 1 else f"{pick.name}_{pick.output:03d}"


def _why_none(spec: BatchSpec, items: list[Item]) -> str:
    if spec.pick == FAVORITES and not items:
        return "none of its items is a favorite; `burst star ITEM|IMAGE…` makes some"
    if not items:
        return "all of its items failed or were cancelled; `burst retry` them first"
    return f"{counted(len(items))} without an image: they were removed, or there never were any"
