"""`burst init`: directories of prompts or pictures become items, and what a run needs is remembered."""

from __future__ import annotations

import contextlib
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

import templates
from orchestrator.documents.lists import shortened
from orchestrator.errors import TemplateError, UsageError
from orchestrator.file_kinds import FILES, IMAGES
from orchestrator.formatting import counted, in_lines
from orchestrator.gone_files import gone_items, gone_notes
from orchestrator.host_roots import below
from orchestrator.init_again import edited_items, fix_default, put_back_changed, renew
from orchestrator.intake import Intake
from orchestrator.kept_paths import kept_path
from orchestrator.literal_texts import literal_notes, looks_dynamic, names_lora
from orchestrator.migration import open_for_writing
from orchestrator.node_classes import ClassSource, kept_classes
from orchestrator.outputs.collisions import refuse_collisions
from orchestrator.outputs.elsewhere import images_elsewhere
from orchestrator.outputs.placement import Placement
from orchestrator.places import Place, is_named_root
from orchestrator.preparation import Preparation, prompt_file
from orchestrator.prompt_directories import PROMPT_PATTERNS, prompt_items
from orchestrator.recipes import LoadedRecipe, Recipes
from orchestrator.retries import keys_of
from orchestrator.settings import Overrides, Settings, kept_settings, load_settings, refuse_secrets, save_settings
from orchestrator.text_files import read_ordinary
from orchestrator.wording import named
from state.counts import Counts
from state.item import DUE, Item, Status
from state.location import PassingHome
from state.open_store import parts_of
from state.store import Store

if TYPE_CHECKING:
    from orchestrator.documents.states import InitDocument
    from orchestrator.init_values import InitValues

_LOOKED_AT_BYTES = 1 << 16
"""Of a prompt file."""


@dataclass(frozen=True)
class InitReport:
    """What `init` found and did."""

    state: Path
    settings: Settings
    found: int
    added: int
    put_back: tuple[str, ...]
    counts: Counts
    noun: str = "prompt file"
    """What was found."""
    masks: int = 0
    texts: int = 0
    """So many pictures have a prompt text of the same name."""
    edited: tuple[str, ...] = ()
    """Finished items whose prompt text, images or inputs are others now; with `rescan` they are put back."""
    gone: tuple[str, ...] = ()
    """Items whose prompt file or images are not on the disk any more."""
    notes: tuple[str, ...] = ()
    next: str = "burst run"
    """The command to type next."""

    def as_json(self, *, everything: bool = False) -> InitDocument:
        """As `burst init --json` prints it; `everything`: with all entries of its lists."""
        document: InitDocument = {
            "schema": "burst.init/2",
            "state": str(self.state),
            "found": self.found,
            "masks": self.masks,
            "texts": self.texts,
            "added": self.added,
            "put_back": list(self.put_back),
            "put_back_total": len(self.put_back),
            "counts": self.counts.as_json(),
            "template": self.settings.template,
            "output_dir": str(self.settings.output_dir),
            "servers": [server.url for server in self.settings.servers],
            "edited": list(self.edited),
            "edited_total": len(self.edited),
            "gone": list(self.gone),
            "gone_total": len(self.gone),
            "notes": list(self.notes),
            "next": self.next,
        }
        return shortened(document, "put_back", "edited", "gone", "notes", everything=everything)

    def as_text(self, *, everything: bool = False) -> str:
        """A few lines for a person, with what to type next."""
        beside = [f"{number} with a {what}" for number, what in ((self.masks, "mask"), (self.texts, "text")) if number]
        found = ", ".join([f"{self.added} added now, {counted(self.found, self.noun)} found", *beside])
        lines = [f"{self.state}: {counted(self.counts.total)}" + (f", {found}" if self.found else "")]
        lines += [f"Note: {note}" for note in self.notes]
        if self.put_back:
            lines.append(
                f"Put back, because prompt, inputs, workflow or a model changed: {', '.join(self.put_back[:5])}"
            )
        template = self.settings.template or f"none yet; name one with {named('template', 'NAME')}"
        lines.append(f"Template: {template}")
        servers = ", ".join(server.shown for server in self.settings.servers)
        lines.append(f"Server: {servers}; images go to {self.settings.output_dir}")
        lines.append(f"Next: {self.next}")
        return in_lines(lines)


def init_state(
    state: Path,
    directories: Sequence[Path],
    *,
    overrides: Overrides | None = None,
    patterns: Sequence[str] = (),
    images: bool = False,
    files: bool = False,
    masks: str | None = None,
    rescan: bool = False,
    values: InitValues | None = None,
    classes: ClassSource = kept_classes,
) -> InitReport:
    """Add the files below `directories` to a state, begun where there is none. Safe to repeat.

    Without directories a state that is there, such as one written by hand, gets its template, servers and output.
    Prompt files, or with `images` pictures, whose `masks` are called by a rule such as `{stem}_mask.png`, or with
    `files` images, videos and audio, each of which binds the name of its kind.
    `values`: of the items that are added. `classes`: where the node classes come from that its bindings go by.
    What is done stays done; `rescan` puts completed items back whose prompt text, pictures, inputs or workflow changed
    since, or that were rendered with other model files than their server has now.
    Errors: UsageError, TemplateError, SettingsError, StateError, DiskFull; nothing was written then.
    """
    overrides = overrides or Overrides()
    if not directories:
        _refuse_without_state(state)
    before, settings = kept_settings(state), load_settings(state, overrides)
    _refuse_unknown(overrides.bindings, before)
    home = state.resolve().parent
    known = Recipes(parts_of(state).recipes, home)
    recipe = known.from_settings(settings, classes=classes) if settings.template is not None else None
    placement = Placement(known, settings.output_dir)
    kinds = IMAGES if images else FILES if files else ()
    found = _found(directories, settings, recipe, placement, home=home, patterns=patterns, kinds=kinds, masks=masks)
    if values is not None:
        found = replace(found, items=values.given(found.items, recipe))
    refuse_collisions(placement, found.items)
    refuse_secrets(settings)
    with open_for_writing(state, create=bool(directories)) as store:
        if not directories:
            found = replace(found, there=frozenset(key for key, one in store.parts(_Belongs) if one.batch is None))
        found = found.called_as_in(store)
        added_now = [item for item in found.items if item.key not in store]
        refuse_collisions(placement, added_now, store=store)
        recipes = Recipes(store.recipes, home)
        if recipe is not None and found.keys:
            recipes.keep(recipe)
        gone = tuple(gone_items(store))
        notes = [
            *found.notes,
            *_literal(added_now or [item for item in store.get_many(found.there) if item.status in DUE], home),
            *_changed_default(store, before, settings),
            *_keeping(store, found, recipe),
            *_each_host_its_own(settings.output_dir, home),
        ]
        if before.output_dir != settings.output_dir:
            old = Placement(recipes, before.output_dir)
            notes += images_elsewhere(store, old, root=settings.output_dir)
        save_settings(state, settings)
        preparation = Preparation(recipes, settings, home, items=store)
        intake = Intake(store, recipes, preparation, settings.output_dir)
        added = store.add(intake.all(item for item in found.with_recipe(recipe) if item.key not in store))
        if intake.takes_in and recipe is not None:
            fix_default(store, {*found.keys, *(key for key, one in store.parts(_Belongs) if one.batch is None)}, recipe)
        edited = renew(store, found.items, intake, preparation, rescan=rescan)
        put_back: tuple[str, ...] = ()
        if rescan:
            from orchestrator.replaced_models import ReplacedModels

            with ReplacedModels(settings) as models:
                put_back = put_back_changed(store, preparation, placement, found.keys, recipe, models)
                notes += models.notes()
        store.settle(at_end=True)
        return InitReport(
            state=state,
            settings=settings,
            found=len(found.items),
            added=len(added),
            put_back=put_back,
            counts=store.counts(),
            noun="image" if images else "file" if files else "prompt file",
            masks=len(found.items) if masks is not None else 0,
            texts=found.texts,
            edited=tuple(edited if intake.takes_in else edited_items(store, preparation, found.keys)),
            gone=keys_of(gone),
            notes=(*notes, *intake.notes(), *gone_notes(gone), *_masks_that_are_items(store, found.items)),
        )


def _refuse_without_state(state: Path) -> None:
    """Errors: UsageError where there is neither a state nor a directory to begin one with."""
    if not parts_of(state).exists():
        raise UsageError(f"{state}: no state here; name the directory of prompts or images to begin one with")


def _refuse_unknown(bindings: Mapping[str, str], kept: Settings) -> None:
    """Errors: UsageError for a binding that is to be forgotten and is not kept."""
    for name, address in bindings.items():
        if not address and name not in kept.bindings:
            there = ", ".join(sorted(kept.bindings)) or "none"
            raise UsageError(f"{named('bindings', '', key=name)}: no binding of this name is kept (kept: {there})")


class _Belongs(msgspec.Struct, frozen=True):
    batch: str | None = None


@dataclass(frozen=True)
class _Found:
    items: Sequence[Item]
    texts: int = 0
    notes: tuple[str, ...] = ()
    there: frozenset[str] = frozenset()
    """Keys of the state's own items, where no directory was named."""

    @property
    def keys(self) -> frozenset[str]:
        return self.there.union(item.key for item in self.items)

    def called_as_in(self, store: Store) -> Self:
        """With the keys of a state that somebody wrote with absolute paths, where it has these files; or of one on a
        server that was copied from files, with those that they had there."""
        home = store.location.home

        def called(item: Item) -> Item:
            if isinstance(home, PassingHome):
                before = below(Path(item.key), home)
                is_copied = item.key not in store and before is not None and before in store
                return _as_copied(item, home) if is_copied else item
            absolute = str(home / item.key)
            is_other = item.key not in store and absolute in store and not item.uploads
            return msgspec.structs.replace(item, key=absolute) if is_other else item

        return replace(self, items=[called(item) for item in self.items])

    def with_recipe(self, recipe: LoadedRecipe | None) -> list[Item]:
        """The items as they are added: all of them are made with what `init` was given, if it was given a workflow."""
        recipe_id = recipe.recipe.id if recipe is not None else None
        return [msgspec.structs.replace(item, recipe=recipe_id) for item in self.items]


def _as_copied(item: Item, home: Path) -> Item:
    """With its paths from the working directory on."""
    uploads = {name: below(Path(str(source)), home) or source for name, source in item.uploads.items()}
    return msgspec.structs.replace(item, key=below(Path(item.key), home) or item.key, uploads=uploads)


def _found(
    directories: Sequence[Path],
    settings: Settings,
    recipe: LoadedRecipe | None,
    placement: Placement,
    *,
    home: Path,
    patterns: Sequence[str],
    kinds: Sequence[str],
    masks: str | None,
) -> _Found:
    if not directories:
        return _Found(())
    if not kinds:
        _refuse_unbound(["prompt"], settings, recipe)
        return _Found(prompt_items(directories, home=home, patterns=patterns or PROMPT_PATTERNS))
    from orchestrator.image_directories import MaskRule, picture_items

    rule = MaskRule(masks) if masks is not None else None
    _refuse_unbound([*(kinds if len(kinds) == 1 else ()), *(["mask"] if rule is not None else [])], settings, recipe)
    pictures = picture_items(directories, home=home, placement=placement, patterns=patterns, masks=rule, kinds=kinds)
    _refuse_unbound(dict.fromkeys(name for item in pictures.items for name in item.uploads), settings, recipe)
    bound = recipe.bindings if recipe is not None else None
    notes = []
    if pictures.lonely_masks:
        named = ", ".join(pictures.lonely_masks[:3])
        notes.append(f"{counted(len(pictures.lonely_masks), 'mask')} without an image left out: {named}")
    if pictures.texts and bound is not None and "prompt" not in bound:
        notes.append(f"{settings.template} takes no prompt text: {counted(pictures.texts, 'text')} not used")
        return _Found(pictures.items, notes=tuple(notes))
    return _Found(pictures.items, pictures.texts, tuple(notes))


def _refuse_unbound(names: Iterable[str], settings: Settings, recipe: LoadedRecipe | None) -> None:
    """Before anything is added: what a run would refuse. Errors: TemplateError for a name that sets no input."""
    for name in names if recipe is not None else ():
        if recipe is not None and not recipe.bindings.get(name):
            told = templates.no_binding(name, recipe.bindings, graph=recipe.graph)
            raise TemplateError(f"{settings.template}: {told}")


def _masks_that_are_items(store: Store, found: Sequence[Item]) -> Iterator[str]:
    """What was taken in before it was said to be a mask."""
    masks = {item.uploads["mask"] for item in found if "mask" in item.uploads}
    keys = [item.key for item in store.items(Status.PENDING) if item.key in masks] if masks else []
    if keys:
        what = "1 due item is a mask" if len(keys) == 1 else f"{len(keys)} due items are masks"
        yield f"{what} by this rule: `burst cancel {shlex.join(keys[:3])}`" + (" …" if len(keys) > 3 else "")


def _each_host_its_own(root: Place, home: Path) -> Iterator[str]:
    """That another host has another directory of this path, or none."""
    if isinstance(home, PassingHome) and isinstance(root, Path) and not is_named_root(kept_path(root, home)):
        yield (
            f"images go to {root} of the host that renders them; for several hosts name a shared directory in "
            f"[roots] of each one's host.toml, then {named('output_dir', 'root://NAME/DIR')}"
        )


def _changed_default(store: Store, before: Settings, now: Settings) -> Iterator[str]:
    """How many due items without a recipe are made otherwise from now on."""
    is_changed = _as_default(before) != _as_default(now)
    if not is_changed and before.template == now.template:
        return
    due = [item for item in store.items(Status.PENDING) if item.recipe is None]
    changed = [item for item in due if is_changed or item.template is None]
    if changed:
        yield (
            f"{counted(len(changed))} due without a recipe: made with the new default from now on "
            f"(template {now.template or 'none yet'}, output directory {now.output_dir})"
        )


def _literal(items: Iterable[Item], home: Path) -> Iterator[str]:
    """How many of these texts look like dynamic prompts or name LoRAs. What cannot be read is left to the run."""
    count = lora_count = 0
    for item in items:
        with contextlib.suppress(OSError, ValueError):
            text = _text_of(item, home)
            count += looks_dynamic(text) is not None
            lora_count += names_lora(text)
    yield from literal_notes(count, lora_count)


def _text_of(item: Item, home: Path) -> str:
    if item.own_text is not None:
        return item.own_text
    return read_ordinary(home / prompt_file(item), most_bytes=_LOOKED_AT_BYTES).decode(errors="replace")


def _as_default(settings: Settings) -> tuple[object, ...]:
    return settings.bindings, settings.output_dir, settings.outputs


def _keeping(store: Store, found: _Found, recipe: LoadedRecipe | None) -> Iterator[str]:
    """How many of the items that are there already, and due, keep another recipe."""
    if recipe is None:
        return
    due = [item for item in map(store.get, filter(store.__contains__, found.keys)) if item.status is Status.PENDING]
    known = store.recipes.all()
    same = {None, *(key for key, other in known.items() if other.request_id == recipe.recipe.request_id)}
    others = Counter(item.recipe for item in due if item.recipe not in same)
    if others:
        names = dict.fromkeys(other.workflow_name or "" for key, other in known.items() if key in others)
        yield (
            f"{counted(others.total())} of these were added before and keep their recipe "
            f"({', '.join(names)}); `burst update` gives them a new recipe"
        )
