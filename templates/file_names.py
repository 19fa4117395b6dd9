"""The names of the files that a prompt saves, as far as they are known in advance."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from templates.graph import Graph
from templates.output_order import saves_in_order
from templates.saving import AUDIO, prefix_for

MOST_FILES = 10_000
"""A graph with a higher count is rejected by the server, and the list of its file names could fill the memory."""


_BARE = "_{:05}"
_NUMBERED = f"{_BARE}_"
_OF_AUDIO = (_NUMBERED, _BARE)
"""ComfyUI 0.33.0 saves audio as `<name>_00001.flac`, 0.3.64 as `<name>_00001_.flac`."""


class NumberedFiles(msgspec.Struct, frozen=True):
    """The files of one save node: `<name>_00001_<extension>` and so on. `count`: how many; None if that is unknown."""

    node_id: str
    subfolder: str
    name: str
    extension: str
    count: int | None
    number_formats: tuple[str, ...] = (_NUMBERED,)
    """How the server may write a number; it has one way for all files of a prompt."""

    def spellings(self) -> Iterator[NumberedFiles]:
        """The same for each way in which the server may write numbers."""
        for one in self.number_formats:
            yield msgspec.structs.replace(self, number_formats=(one,))

    def filename(self, number: int) -> str:
        """Of the file of this number, from 1, as it is usually written."""
        return f"{self.name}{self.number_formats[0].format(number)}{self.extension}"


def numbered_files(graph: Graph, prompt_id: str) -> list[NumberedFiles] | None:
    """What each node saves outside `temp`, in the order of the outputs.

    None if any of them names its files in a way that is not known.
    """
    found = []
    for save in saves_in_order(graph):
        if save.temporary:
            continue
        if not save.naming_known or save.extension is None:
            return None
        subfolder, _, name = prefix_for(prompt_id, save.node_id).rpartition("/")
        count = save.count if save.count is None or save.count <= MOST_FILES else None
        formats = _OF_AUDIO if save.class_type in AUDIO else (_NUMBERED,)
        found.append(NumberedFiles(save.node_id, subfolder, name, save.extension, count, formats))
    return found
