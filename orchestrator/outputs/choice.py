"""Which outputs of a prompt are fetched, and in which order: by the template, whatever the order of the server."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, TypeVar

import templates
from templates import Graph

if TYPE_CHECKING:
    from orchestrator.comfyui import OutputFile, OutputText

_Output = TypeVar("_Output", "OutputFile", "OutputText")


def chosen(
    graph: Graph, files: Sequence[OutputFile], texts: Sequence[OutputText], *, nodes: Collection[str] = ()
) -> tuple[list[OutputFile], list[OutputText]]:
    """The outputs to fetch, those of the node furthest down the pipeline first; of one node as it lists them.

    `nodes`: nothing but theirs, whatever it is. By default files of type temp, and those that a viewer names, are left
    out where the prompt saved others, and so are texts of nodes that only show them; previews of nodes in between,
    where output nodes gave some; and files that an earlier prompt made, always.
    """
    if nodes:
        return _ordered(graph, _of(graph, files, nodes)), _ordered(graph, _of(graph, texts, nodes))
    files = [file for file in files if not file.is_earlier]
    lasting = _lasting(files)
    if lasting and texts and graph:
        saving = {save.node_id for save in templates.save_nodes(graph) if not save.temporary}
        texts = _of(graph, texts, saving)
    previews = [file for file in files if not file.is_between] or files
    return _ordered(graph, lasting or previews), _ordered(graph, texts)


def that_gave_nothing(graph: Graph, files: Sequence[OutputFile], texts: Sequence[OutputText]) -> list[str]:
    """The nodes that certainly save, and listed nothing."""
    nodes = [*(file.node_id for file in files), *(text.node_id for text in texts)]
    gave = {templates.owner(graph, node_id) for node_id in nodes}
    return [node_id for node_id in _saving(graph) if node_id not in gave]


def all_gave_nothing(graph: Graph, files: Sequence[OutputFile], texts: Sequence[OutputText]) -> bool:
    """Whether the graph saves, and nothing that lasts came of it."""
    if _lasting(files):
        return False
    saving = _saving(graph)
    return bool(saving) and that_gave_nothing(graph, files, texts) == saving


def _saving(graph: Graph) -> list[str]:
    """An input that is called `prefix` alone may be of a text."""
    saves = [save for save in templates.save_nodes(graph) if save.prefix_input not in (None, "prefix")]
    return [save.node_id for save in saves if not save.temporary]


def _lasting(files: Sequence[OutputFile]) -> list[OutputFile]:
    return [file for file in files if file.type != "temp" and not file.is_viewed]


def _of(graph: Graph, outputs: Sequence[_Output], nodes: Collection[str]) -> list[_Output]:
    return [output for output in outputs if templates.owner(graph, output.node_id) in nodes]


def _ordered(graph: Graph, outputs: Sequence[_Output]) -> list[_Output]:
    places = {
        node_id: place for place, node_id in enumerate(templates.in_order(graph, [one.node_id for one in outputs]))
    }
    return sorted(outputs, key=lambda output: places[output.node_id])
