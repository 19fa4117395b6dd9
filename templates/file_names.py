"""The names of the files that a prompt saves, as far as they are known in advance."""

from __future__ import annotations

import msgspec

from templates.graph import Graph
from templates.output_order import saves_in_order
from templates.saving import prefix_for

MOST_FILES = 10_000
"""A graph with a higher count is rejected by the server, and the list of its file names could fill the memory."""


class NumberedFiles(msgspec.Struct, frozen=True):
    """The files of one save node: `<name>_00001_<extension>` and so on. `count`: how many; None if that is unknown."""

    node_id: str
    subfolder: str
    name: str
    extension: str
    count: int | None

    def filename(self, number: int) -> str:
        """Of the file of this number, from 1."""
        return f"{self.name}_{number:05}_{self.extension}"


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
        found.append(NumberedFiles(save.node_id, subfolder, name, save.extension, count))
    return found
