"""Whether servers know the names that a batch uses: models, LoRAs, samplers, schedulers, and what else is chosen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orchestrator.batches.suggestions import advice
from orchestrator.comfyui import ComfyUI
from orchestrator.comfyui.capabilities import Capabilities, MissingRequirement
from templates import Graph


def unknown_names(clients: Sequence[ComfyUI], graphs: Iterable[Graph]) -> dict[str, object]:
    """Why graphs that none of these servers can run cannot run: each reason once, with what may have been meant.

    A reason leads to the value that no server has, None where it is a node class.

    Each server is asked once for each node class and folder of models, so any number of graphs that differ in texts
    and seeds costs microseconds each. A graph that one of them can run is fine.
    Errors: ServerUnreachable, ServerBusy, UnexpectedAnswer.
    """
    offers = [(client.url, Capabilities(client)) for client in clients]
    found: dict[str, MissingRequirement] = {}
    for graph in graphs:
        found |= _lacks(offers, graph)
    return {f"{said}; {_advice(lack)}": lack.value for said, lack in found.items()}


def _lacks(offers: Iterable[tuple[str, Capabilities]], graph: Graph) -> dict[str, MissingRequirement]:
    found: dict[str, MissingRequirement] = {}
    for url, offer in offers:
        lacks = offer.lacks(graph)
        if not lacks:
            return {}
        found |= {f"{url}: {lack}": lack for lack in lacks}
    return found


def _advice(lack: MissingRequirement) -> str:
    if lack.input_name is None:
        return "install its custom node there"
    return advice(str(lack.value), map(str, lack.offered))
