"""`burst edit`: items get another text or other values, and are rendered with them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

import templates
from orchestrator.amendment import Amended, amend
from orchestrator.batches.values import clean, fitted, parted
from orchestrator.batches.vocabulary import LORA, Vocabulary
from orchestrator.documents.lists import shortened
from orchestrator.errors import ItemError, UsageError, located
from orchestrator.formatting import counted, first_of, in_lines, key_lines
from orchestrator.literal_texts import looks_dynamic, names_lora
from orchestrator.migration import open_for_writing
from orchestrator.preparation import InputsError, Preparation, prompt_file
from orchestrator.recipes import Recipes
from orchestrator.retries import keys_of, settled
from orchestrator.selection import named_in
from orchestrator.settings import Overrides, load_settings
from orchestrator.withdrawal import AskedServers
from orchestrator.wording import named
from state.counts import Counts
from state.item import DUE, Item, Status
from state.open_store import open_store
from state.store import Store

if TYPE_CHECKING:
    from orchestrator.documents.states import EditDocument

_NAMED = 3
_ENDED = frozenset({Status.COMPLETED, Status.CANCELLED})


@dataclass(frozen=True)
class Edit:
    """What items get. None, and names that are not there, stay as each item has them."""

    prompt: str | None = None
    negative: str | None = None
    sets: Mapping[str, Any] | None = None
    """Name or address → value."""
    loras: Sequence[str] | None = None
    """`NAME` or `NAME:STRENGTH` each, in place of those that the items were given; empty: none but the workflow's."""

    @property
    def texts(self) -> dict[str, str]:
        found = {"prompt": self.prompt, "negative": self.negative}
        return {name: text for name, text in found.items() if text is not None}


@dataclass(frozen=True)
class Edited:
    """Which items were changed, or would be, and which stay as they are."""

    keys: tuple[str, ...]
    unchanged: int
    """Items that were so already."""
    left: tuple[str, ...]
    """Items that a server renders, or may have."""
    ended: int
    """Completed and cancelled items of a batch, without `rescan`."""
    counts: Counts
    dry_run: bool
    notes: tuple[str, ...] = ()

    def as_json(self, *, everything: bool = False) -> EditDocument:
        """As `burst edit --json` prints it; `everything`: with all entries of its lists."""
        document: EditDocument = {
            "schema": "burst.edit/1",
            "dry_run": self.dry_run,
            "items": list(self.keys),
            "items_total": len(self.keys),
            "unchanged": self.unchanged,
            "left": list(self.left),
            "left_total": len(self.left),
            "ended": self.ended,
            "counts": self.counts.as_json(),
            "notes": list(self.notes),
        }
        return shortened(document, "items", "left", "notes", everything=everything)

    def as_text(self, *, everything: bool = False) -> str:
        """A few lines for a person; `everything`: with all items."""
        verb = "would be edited" if self.dry_run else "edited"
        lines = [f"{counted(len(self.keys))} {verb} and due", *key_lines(self.keys, everything=everything)]
        if self.unchanged:
            lines.append(f"{counted(self.unchanged)} already like that")
        if self.left:
            lines.append(f"{counted(len(self.left))} being rendered, or about to be: not changed")
        if self.ended:
            again = named("rescan", True)
            lines.append(f"{counted(self.ended)} completed or cancelled: not changed; {again} edits them too")
        return in_lines([*lines, *(f"Note: {note}" for note in self.notes)])


def edit_items(
    state: Path,
    names: Collection[str],
    edit: Edit,
    *,
    rescan: bool = False,
    literal: bool = False,
    dry_run: bool = False,
    patience_seconds: float = 20.0,
) -> Edited:
    """Give pending and failed items another text or other values; failed ones are due again with them.

    `rescan`: completed and cancelled ones too, which are then due again; without it one that is named itself is
    refused, and those of a batch are left. What waits on a server is taken back first, what it renders is left. A text
    in the record comes before the item's prompt file. `literal`: also a text that looks like a dynamic prompt.
    Works while a burst runs. Errors: UsageError, with nothing changed, for an unknown name, a value that the item's
    workflow does not take, and where nothing can be edited; TemplateError, RecipeUnusable, StateError.
    """
    _check(edit, names, literal=literal)
    with open_store(state, read_only=True) if dry_run else open_for_writing(state) as store:
        items, ended = _chosen(store, names, rescan=rescan)
        preparation = Preparation(
            Recipes(store.recipes, store.location.home), load_settings(state), store.location.home, items=store
        )
        editor = _Editor(preparation, edit)
        if edit.prompt is not None:
            _refuse_several_texts(items)
        changing = [item for item in items if _is_other(item, editor.edited(item))]
        servers = AskedServers(state, Overrides(), patience_seconds)
        keys = keys_of(changing)
        out = [item for item in changing if item.may_be_on_a_server]
        done = Amended(tuple(changing), ()) if dry_run else amend(store, keys, editor.edited, servers=servers)
        if done.left and not done.changed:
            raise UsageError(_told_left(done.left, [*servers.notes]))
        notes = [*servers.notes, *editor.notes(done.changed)]
        if dry_run and out:
            notes.append(f"{counted(len(out))} on a server: withdrawn first, if not rendered yet")
        return Edited(
            keys=keys_of(done.changed),
            unchanged=len(items) - len(changing),
            left=keys_of(done.left),
            ended=ended,
            counts=store.counts(),
            dry_run=dry_run,
            notes=(*notes, *(() if dry_run else settled(store))),
        )


def _check(edit: Edit, names: Collection[str], *, literal: bool) -> None:
    """Errors: UsageError for what is wrong whatever the items are."""
    if not names:
        raise UsageError("name the items or batches to edit")
    if not (edit.texts or edit.sets or edit.loras is not None):
        *first, last = map(named, ("prompt", "negative", "loras", "sets"))
        raise UsageError(f"name what to change: {', '.join(first)} or {last}")
    for name, text in edit.texts.items():
        if not clean(text, named(name)).strip() and name == "prompt":
            raise UsageError(f"{named('prompt')}: the text is empty; write one")
        if not literal and (found := looks_dynamic(text)) is not None:
            raise UsageError(
                f"{named(name)}: {found} looks like a dynamic prompt, which only a new batch expands "
                f"(`burst generate --dynamic`); {named('literal', True)} sends it as it is"
            )
        if not literal and names_lora(text):
            raise UsageError(
                f"{named(name)}: it names a LoRA (<lora:…>), which only a new batch loads (`burst generate`); set it "
                f"with {named('loras', 'NAME:STRENGTH')}, or send the text as it is with "
                f"{named('literal', True)}"
            )


def _chosen(store: Store, names: Collection[str], *, rescan: bool) -> tuple[list[Item], int]:
    """The items that are meant, and how many of a batch are left because they have ended. Errors: UsageError."""
    keys, batches = named_in(store, names)
    own = store.get_many(keys)
    ended = [item for item in own if item.status in _ENDED]
    if ended and not rescan:
        first = ended[0]
        raise UsageError(
            f"{first.key} is {first.status}: {named('rescan', True)} makes it due again with the new values"
        )
    statuses = (*DUE, Status.FAILED, *(_ENDED if rescan else ()))
    theirs = [item for batch in batches for item in store.items(batch=batch)]
    chosen = {item.key: item for item in [*own, *(item for item in theirs if item.status in statuses)]}
    return list(chosen.values()), len({item.key for item in theirs} - chosen.keys())


def _refuse_several_texts(items: Sequence[Item]) -> None:
    """Errors: UsageError where one text would replace several."""
    texts = {item.prompt_text if item.prompt_text is not None else prompt_file(item): item.key for item in items}
    if len(texts) > 1:
        first = first_of(texts.values(), _NAMED)
        raise UsageError(
            f"{named('prompt')}: these items have {len(texts)} different texts ({first}); name items with the same text"
        )


def _is_other(item: Item, edited: Item) -> bool:
    is_same = (edited.prompt_text, edited.inputs) == (item.prompt_text, item.inputs)
    return not is_same or item.status not in DUE


def _told_left(left: Sequence[Item], notes: Sequence[str]) -> str:
    first = left[0]
    if notes:
        return f"nothing was changed: {notes[0]}"
    others = f", like {len(left) - 1} more" if len(left) > 1 else ""
    return (
        f"{first.key} is being rendered, or about to be{others}; nothing was changed: "
        f"wait for it, then use {named('rescan', True)}, or `burst cancel` it first"
    )


class _Editor:
    """Edits items, each by the names of its own workflow."""

    def __init__(self, preparation: Preparation, edit: Edit) -> None:
        self._preparation = preparation
        self._edit = edit
        self._inputs: dict[tuple[str | None, str | None], dict[str, Any]] = {}
        """By recipe and template: the new values, by binding."""
        self._checked: set[tuple[str | None, str | None]] = set()

    def edited(self, item: Item) -> Item:
        """The item due with its new text and values. Errors: UsageError, TemplateError, RecipeUnusable."""
        inputs = dict(item.inputs)
        if self._edit.loras is not None:
            # A strength that is the item's own was meant for the LoRAs that it had.
            inputs = {name: value for name, value in inputs.items() if name not in LORA}
        inputs |= self._values(item)
        text = item.prompt_text
        if self._edit.prompt is not None:
            inputs.pop("prompt", None)
            text = self._edit.prompt.strip()
        new = item if item.status is Status.PENDING else item.start_over()
        new = msgspec.structs.replace(
            new,
            prompt_text=text,
            inputs=inputs,
            dynamic=self._dynamic(item),
            batch_size_auto=item.batch_size_auto and "batch_size" not in self._values(item),
        )
        self._check(new)
        return new

    def _dynamic(self, item: Item) -> dict[str, Any]:
        """What was chosen for a text that is not sent any more describes nothing, nor does a LoRA that was in it."""
        texts = item.dynamic.get("texts", {})
        if self._edit.texts.keys() & texts.keys():
            return {}
        if self._edit.loras is None or not any(map(names_lora, texts.values())):
            return item.dynamic
        left = {name: text for name, text in texts.items() if not names_lora(text)}
        rest = {name: value for name, value in item.dynamic.items() if name != "texts"}
        return rest | {"texts": left} if left else rest

    def notes(self, changed: Sequence[Item]) -> list[str]:
        """What else follows from the edit."""
        files = [item for item in changed if item.batch is None and self._edit.prompt is not None]
        if not files:
            return []
        is_there = [item for item in files if (self._preparation.home / prompt_file(item)).is_file()]
        return [f"{prompt_file(item)} is no longer read for {item.key}" for item in is_there[:_NAMED]]

    def _values(self, item: Item) -> dict[str, Any]:
        """Errors: UsageError for what its workflow does not take."""
        kind = _kind(item)
        if kind not in self._inputs:
            self._inputs[kind] = self._fitted(item)
        return self._inputs[kind]

    def _fitted(self, item: Item) -> dict[str, Any]:
        recipe = self._preparation.recipe_of(item)
        vocabulary = Vocabulary(recipe.graph, recipe.bindings)
        if self._edit.prompt is not None and not recipe.bindings.get("prompt"):
            told = templates.no_binding("prompt", recipe.bindings, graph=recipe.graph)
            raise UsageError(f"{named('prompt')}: {recipe.name}: {told}")
        values: dict[str, Any] = {}
        if self._edit.negative is not None:
            with located(named("negative"), UsageError):
                name = vocabulary.meaning("negative")
                values[name] = fitted(name, self._edit.negative)
        for said, value in (self._edit.sets or {}).items():
            with located(named("sets", key=said), UsageError):
                name = vocabulary.meaning(said)
                values |= parted(name, fitted(name, value))
        if self._edit.loras is not None and "lora" in values:
            raise UsageError(f"choose one: {named('loras')} or {named('sets', key='lora')}")
        if self._edit.loras:
            with located(named("loras"), UsageError):
                loras = fitted(vocabulary.meaning("lora"), list(self._edit.loras))
            values["lora"] = loras[0] if len(loras) == 1 else loras
        return values

    def _check(self, item: Item) -> None:
        """Once for each workflow. What is wrong with an item's own files shows when it is sent. Errors: UsageError."""
        if _kind(item) in self._checked:
            return
        try:
            self._preparation.prepare(item, {} if item.uploads else None)
        except InputsError as error:
            raise UsageError(f"{item.key}: {error}") from error
        except ItemError:
            pass
        self._checked.add(_kind(item))


def _kind(item: Item) -> tuple[str | None, str | None]:
    return item.recipe, item.template if item.recipe is None else None
