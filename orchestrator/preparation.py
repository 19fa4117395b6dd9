"""From an item to the graph that is posted: its recipe, its text, its inputs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

import templates
from orchestrator.errors import ItemError, OutputRefused, PromptTextError, RecipeUnusable, TemplateError, UploadError
from orchestrator.outputs.inputs_folder import kept_place
from orchestrator.places import Place, root_at_home
from orchestrator.recipes import LoadedRecipe, Recipes
from orchestrator.settings import Settings
from orchestrator.text_files import decoded, read_ordinary
from state.item import Item, ItemOutput
from state.recipe import Recipe
from templates import Bindings, Graph, SaveNode

if TYPE_CHECKING:
    from orchestrator.input_files import InputFile, UploadedFile
    from state.patience import Patience

LARGEST_PROMPT_BYTES = 16 << 20
"""A larger file is a mistake, and would be held in memory several times over."""


def read_prompt(path: Path) -> str:
    """The text of a prompt file: UTF-8, with or without a byte order mark; its lines end with `\\n`.

    Never waits, whatever stands there.
    Errors: FileNotFoundError and NotADirectoryError where nothing is; PromptTextError for what is no such text.
    """
    try:
        data = _read(path)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise PromptTextError(f"{path}: cannot be read: {reason}; fix it, then `burst retry`") from error
    try:
        return decoded(data)
    except ValueError as error:
        raise PromptTextError(f"{path}: {error}, then `burst retry`") from error


def _read(path: Path) -> bytes:
    data = read_ordinary(path, most_bytes=LARGEST_PROMPT_BYTES + 1)
    if len(data) > LARGEST_PROMPT_BYTES:
        raise PromptTextError(f"{path}: over {LARGEST_PROMPT_BYTES >> 20} MiB, too large for a prompt; shorten it")
    return data


def prompt_file(item: Item) -> str:
    """Where an item's prompt text is, unless its record says it: the key, or beside a picture the text of its name."""
    return str(PurePosixPath(item.key).with_suffix(".txt")) if _is_picture(item) else item.key


def is_text_of_a_file(item: Item) -> bool:
    """Whether an item cannot be made without its prompt file: neither its record nor its inputs stand in for it."""
    if item.own_text is not None or "prompt" in item.inputs or item.uploads:
        return False
    # Values of its own do not replace the text of the file that it is named after.
    file = PurePosixPath(item.key)
    return not item.inputs or (item.filename == file.name and bool(file.suffix))


def _is_picture(item: Item) -> bool:
    return item.key in item.uploads.values()


class Items(Protocol):
    """A store, as it is read here."""

    def get_many(self, keys: Iterable[str]) -> list[Item]: ...


class InputsError(ItemError):
    """The item's inputs do not fit its template."""

    kind = "inputs"


class Prepared(msgspec.Struct, frozen=True):
    """An item's graph, before a prompt_id gives its save nodes their names."""

    recipe: LoadedRecipe
    """What it was prepared with."""
    graph: Graph
    fingerprint: str
    compared: Graph
    """What the fingerprint is of: with the images' own names, whatever a server calls them."""
    saves: tuple[SaveNode, ...]
    """The save nodes of the graph, loose ends too."""
    touched: frozenset[str]
    """Ids of the nodes that take this item's text and inputs."""
    loading: frozenset[str]
    """Ids of those among them that load a picture of its own."""
    extensions: tuple[str, ...]
    """Of the files that its save nodes write, where they are known."""

    def is_as(self, fingerprint: str | None, *, loose_ends: Collection[str] = ()) -> bool:
        """Whether a recorded fingerprint is of what this makes; also one of a burst before loose ends were known.

        `loose_ends`: those that were known when it was recorded.
        """
        if fingerprint == self.fingerprint:
            return True
        recorded_then = templates.fingerprint(
            self.compared, loose_ends=loose_ends, chosen=self.recipe.recipe.output_nodes
        )
        return fingerprint in (recorded_then, templates.former_fingerprint(self.compared))

    @property
    def text(self) -> str:
        """The prompt text in its graph; empty where it takes none."""
        for target in self.recipe.bindings.get("prompt", ()):
            value = self.graph[target.node_id]["inputs"].get(target.input_name)
            return value if isinstance(value, str) else ""
        return ""


def filled(graph: Graph, bindings: Bindings, values: Mapping[str, Any]) -> tuple[Graph, dict[str, Any]]:
    """A template's graph with the values in it, and those of them that went to nodes of its own; LoRAs are spliced in.

    Errors: TemplateError.
    """
    left = dict(values)
    if "lora" in left:
        graph, left = templates.with_loras(graph, bindings, left)
    return templates.bind(graph, bindings, left), left


class Preparation:
    """Prepares items. `home` is the state file's directory: relative prompt files and templates start there."""

    def __init__(self, recipes: Recipes, settings: Settings, home: Path, *, items: Items | None = None) -> None:
        """`settings`: the default of items without a recipe; it is made once, when the first one needs it. `items`: of
        the state, for those that are made from outputs of others."""
        self._recipes = recipes
        self._items = items
        self._settings = settings
        self.home = home
        self.patience: Patience | None = None
        """With which sources of items are waited for in object storage; None to try for some seconds."""
        self._stored_roots: dict[str, Place] = {}
        self._defaults: dict[tuple[str | None, str | None], LoadedRecipe] = {}
        """By the item's own template and output root, where it has one."""

    def default(self) -> LoadedRecipe | None:
        """The recipe of items that have none; None where no template is set. Errors: TemplateError."""
        return self._default(None) if self._settings.template is not None else None

    def recipe_of(self, item: Item) -> LoadedRecipe:
        """What the item is made with: its own recipe, or the default. Errors: RecipeUnusable, TemplateError."""
        if item.recipe is None:
            return self._default(item.template)
        recipe = self._recipes.recipe(item.recipe)
        if recipe.workflow is None:
            return self._default(item.template, output=recipe.output)
        return self._recipes.loaded(item.recipe)

    def servers_of(self, recipe_id: str | None) -> tuple[str, ...]:
        """The names of the only servers that may render its items; empty if any server of a run may."""
        if recipe_id is None:
            return ()
        try:
            return self._recipes.recipe(recipe_id).servers
        except RecipeUnusable:
            return ()

    def needs_of(self, recipe_id: str | None) -> tuple[str, ...]:
        """The labels that a server must have to be sent its items."""
        if recipe_id is None:
            return ()
        try:
            return self._recipes.recipe(recipe_id).needs
        except RecipeUnusable:
            return ()

    def loose_ends_of(self, recipe_id: str | None) -> tuple[str, ...]:
        """The nodes that only look as if they saved; none where nothing says so."""
        if recipe_id is None:
            return ()
        try:
            return self._recipes.recipe(recipe_id).loose_ends
        except RecipeUnusable:
            return ()

    def has_named_servers(self) -> bool:
        """Whether any recipe of the state names servers."""
        return any(recipe.servers for recipe in self._recipes.all().values())

    def name_of(self, item: Item) -> str:
        """Where the item's workflow comes from, for messages, whether it can be used or not."""
        if item.recipe is None:
            return item.template or self._settings.template or "no template"
        return self._recipes.workflow_name(item.recipe) or f"recipe {item.recipe}"

    def keep(self, recipe: LoadedRecipe) -> Recipe:
        """Before an item names it: durable on return. Errors: as `RecipeBook.add`."""
        return self._recipes.keep(recipe)

    def pictures(self, item: Item) -> dict[str, InputFile]:
        """What its server must have before its prompt is sent, by binding. Reads files. Errors: UploadError."""
        if not item.uploads:
            return {}
        from orchestrator.input_files import read_uploads

        return read_uploads(item.upload_sources, self.locate)

    def locate(self, source: str | ItemOutput) -> Place:
        """The file of an upload, there or not. Errors: UploadError for an output of another item that is not there."""
        if isinstance(source, str):
            if (taken := kept_place(source, self.home)) is None:
                return self.home / source
            root, inside = taken
            return self._waited_for(root) / inside
        from orchestrator.outputs.source_files import source_file

        item = next(iter(self._items.get_many([source.item])), None) if self._items is not None else None
        root = self._settings.output_dir
        try:
            if item is not None and item.recipe is not None:
                root = root_at_home(self._recipes.recipe(item.recipe).output, self.home)
            return source_file(source, item, self._waited_for(root))
        except (RecipeUnusable, OutputRefused, OSError) as error:
            place = f"output {source.output} of {source.item}"
            raise UploadError(f"where {place} lies is not known: {error}; then `burst retry`") from error

    def _waited_for(self, root: Place) -> Place:
        """Object storage as one object, so that it is connected to and looked at once."""
        if isinstance(root, Path):
            return root
        return self._stored_roots.setdefault(str(root), root.waiting(self.patience))

    def prepare(
        self, item: Item, given: Mapping[str, UploadedFile] | None = None, *, recipe: LoadedRecipe | None = None
    ) -> Prepared:
        """`given`: what its server calls the item's images; without it their files are read for their own names.

        `recipe`: another one than the item's own.

        Errors: PromptTextError, UploadError, InputsError (this item's); RecipeUnusable, TemplateError (its recipe's).
        """
        recipe = recipe or self.recipe_of(item)
        if given is None:
            given = self._as_if_given(item)
        values = self._values(item, recipe.bindings) | {name: one.wanted for name, one in given.items()}
        if "prompt" in values and "prompt" not in recipe.bindings:
            raise TemplateError(f"{recipe.name}: {templates.no_binding('prompt', recipe.bindings, graph=recipe.graph)}")
        try:
            graph, values = filled(recipe.graph, recipe.bindings, values)
        except TemplateError as error:
            raise InputsError(f"{error} (template {recipe.name})") from error
        compared, kept = graph, recipe.recipe
        # The images' names, which are set below, decide nothing about them.
        saves = templates.save_nodes(recipe.saving(graph))
        digest = templates.fingerprint(graph, loose_ends=kept.loose_ends, chosen=kept.output_nodes, saves=saves)
        graph = templates.bind(graph, recipe.bindings, {name: one.told for name, one in given.items()})
        saving = [node for node in templates.saves_in_order(graph, saves) if recipe.fetches(node)]
        spliced = graph.keys() - recipe.graph.keys()
        return Prepared(
            recipe=recipe,
            graph=graph,
            fingerprint=digest,
            compared=compared,
            saves=tuple(templates.save_nodes(graph) if kept.loose_ends else saves),
            touched=frozenset(templates.touched_nodes(graph, recipe.bindings, values) | spliced),
            loading=frozenset(templates.touched_nodes(graph, recipe.bindings, given)),
            extensions=tuple(dict.fromkeys(node.extension for node in saving if node.extension)),
        )

    def why_alone(self, item: Item) -> str | None:
        """Why no other prompt may be out beside this item's, None where any may. Errors: as `recipe_of`.

        A save node that takes no prefix, or an unknown node that may be one, would overwrite what another saved.
        """
        recipe = self.recipe_of(item)
        if not recipe.unprefixed:
            return None
        nodes = ", ".join(f"{node_id} ({recipe.graph[node_id]['class_type']})" for node_id in recipe.unprefixed)
        return (
            f"{recipe.name}: node {nodes} may save without a file name prefix, so its prompts are sent one at "
            "a time; a SaveImage node in its place avoids that"
        )

    def _default(self, template: str | None, *, output: str | None = None) -> LoadedRecipe:
        made = self._defaults.get((template, output))
        if made is None:
            made = self._recipes.from_settings(self._settings, template=template)
            made = made if output is None else made.below(output)
            self._defaults[template, output] = made
        return made

    def _as_if_given(self, item: Item) -> Mapping[str, UploadedFile]:
        if not item.uploads:
            return {}
        from orchestrator.input_files import name_uploads

        return name_uploads(item.upload_sources, self.locate)

    def _values(self, item: Item, bindings: Bindings) -> dict[str, Any]:
        values = dict(item.inputs)
        if "prompt" not in values and ("prompt" in bindings or not _is_picture(item)):
            text = self._text(item)
            if text is not None:
                values["prompt"] = text
        return values

    def _text(self, item: Item) -> str | None:
        """The prompt text: the record's own, or that of its file; None for an item of inputs or pictures alone."""
        text = item.own_text
        if text is None:
            path = self.home / prompt_file(item)
            try:
                text = read_prompt(path)
            except (FileNotFoundError, NotADirectoryError) as error:
                if not is_text_of_a_file(item):
                    return None
                raise PromptTextError(f"the prompt file {path} is gone; restore it, then `burst retry`") from error
        if not text.strip():
            where = item.key if item.prompt_text is not None else prompt_file(item)
            again = "`burst init` its directory again" if item.file_text is not None else "`burst retry`"
            raise PromptTextError(f"{where}: the prompt text is empty; write one, then {again}")
        return text.strip()
