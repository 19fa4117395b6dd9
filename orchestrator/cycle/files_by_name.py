"""What a server still has of a prompt that it has forgotten, by the names that its files must have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

import templates
from orchestrator.comfyui import OutputFile
from orchestrator.cycle.completions import Completions
from orchestrator.cycle.context import WorkerContext
from orchestrator.errors import ItemError, NotOnServer, RecipeUnusable, TemplateError
from orchestrator.outputs import wholeness
from state.item import Item
from templates import NumberedFiles


class FoundByName(msgspec.Struct, frozen=True):
    """`files`: all that the prompt saved, to be collected; none where that is not certain.

    `doubt`: why nothing is taken although the server may have something.
    """

    files: Sequence[OutputFile] = ()
    doubt: str | None = None


class FilesByName:
    """Of one worker's server.

    All of a prompt's files are known where their count is: from the classes of the nodes, or from completed items that
    differ in nothing that could change it. A server that did not go down has written all that it began.
    """

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._completions = Completions(context.dispatch.completed, context.server, context.client)

    def find(self, item: Item) -> FoundByName:
        """The files of its prompt. Those whose end shows are checked when they are fetched.

        Errors: ServerUnreachable, ServerBusy, UnexpectedAnswer.
        """
        assert item.prompt_id is not None
        if item.prefix_scheme > templates.PREFIX_SCHEME:
            return FoundByName(doubt="a newer burst chose their names")
        try:
            prepared = self._context.preparation.prepare(item)
        except (ItemError, RecipeUnusable, TemplateError):
            return FoundByName()
        if not prepared.is_as(item.fingerprint):
            return FoundByName()
        name, chosen = prepared.recipe.name, prepared.recipe.recipe.output_nodes
        numbered = templates.numbered_files(prepared.recipe.saving(prepared.graph), item.prompt_id)
        wanted = [one for one in numbered or () if not chosen or one.node_id in chosen]
        if numbered is None or len(wanted) < len(chosen):
            doubt = f"{name} saves with nodes whose files have names that burst does not know"
            return FoundByName(doubt=doubt if item.accepted else None)
        return self._judged(item, name, wanted)

    def _judged(self, item: Item, name: str, wanted: Sequence[NumberedFiles]) -> FoundByName:
        """`wanted`: of the nodes whose outputs are fetched."""
        counts = [one.count for one in wanted if one.count is not None]
        is_counted = len(counts) == len(wanted)
        unchecked = sorted({one.extension for one in wanted} - wholeness.CHECKED)
        if is_counted and not unchecked:
            return FoundByName(_files(wanted, counts))
        there = [self._there(one) for one in wanted]
        wanted, rows = [one for one, _ in there], [row for _, row in there]
        if not any(rows):
            return FoundByName()
        if not all(_is_whole(one, row) for one, row in zip(wanted, rows, strict=True)):
            return FoundByName(doubt="some of their files are missing")
        files = _files(wanted, map(len, rows))
        usual = None if is_counted else self._completions.usual_count(item)
        if usual not in (None, len(files)):
            return FoundByName(doubt=f"they left {len(files)} files where others of their kind left {usual}")
        is_counted = is_counted or usual is not None
        if (is_counted and not unchecked) or self._completions.stayed_up_since(item):
            return FoundByName(files)
        if is_counted:
            kinds = " and ".join(unchecked)
            return FoundByName(doubt=f"nothing shows that their {kinds} files are complete if the server went down")
        return FoundByName(
            doubt=f"it is not known how many files {name} makes: no completed item differs only in texts and seed"
        )

    def _there(self, one: NumberedFiles) -> tuple[NumberedFiles, list[int]]:
        """The numbers of the files that are there, and what they are called where a server may spell them otherwise."""
        for spelled in one.spellings():
            if found := self._numbers(spelled):
                return spelled, found
        return one, []

    def _numbers(self, one: NumberedFiles) -> list[int]:
        """In a row from 1, and behind a gap."""
        found: list[int] = []
        while len(found) < templates.MOST_FILES and self._is_there(one, len(found) + 1):
            found.append(len(found) + 1)
        # Somebody may have taken some away: as many again are looked for behind the first that is not there.
        behind = range(len(found) + 2, 2 * len(found) + 3)
        return [*found, *(number for number in behind if self._is_there(one, number))]

    def _is_there(self, one: NumberedFiles, number: int) -> bool:
        try:
            with self._context.client.view(_file(one, number)):
                return True
        except NotOnServer:
            return False


def _is_whole(one: NumberedFiles, numbers: Sequence[int]) -> bool:
    """Whether these files are numbered in a row, and as many as are known to be."""
    return bool(numbers) and numbers[-1] == len(numbers) and one.count in (None, len(numbers))


def _files(wanted: Sequence[NumberedFiles], counts: Iterable[int]) -> list[OutputFile]:
    """The first so many of each."""
    return [_file(one, number) for one, count in zip(wanted, counts, strict=True) for number in range(1, count + 1)]


def _file(one: NumberedFiles, number: int) -> OutputFile:
    return OutputFile(one.node_id, "images", one.filename(number), one.subfolder, "output")
