"""An address: how a user names one input of a graph.

`98:6.text` (node id), `title=Positive Prompt.text` (the node's title), `class=KSampler.seed` (its class).
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from orchestrator.errors import TemplateError
from templates.graph import Graph, Target, class_of, describe, inputs_of, title_of

_LISTED_COUNT = 12


def resolve(graph: Graph, address: str) -> tuple[str, str]:
    """The node id and the input that an address means.

    Titles, ids and inputs may hold dots: every dot is tried. Raises `TemplateError` when nothing or several inputs
    match, listing what is there, the nearest first.
    """
    named = [(node_id, name) for selector, name in _splits(address) for node_id in _selected(graph, selector)]
    matches = list(dict.fromkeys((node_id, name) for node_id, name in named if name in inputs_of(graph, node_id)))
    if len(matches) == 1:
        return matches[0]
    if matches:
        listed = _listed([Target(*match) for match in matches], graph)
        raise TemplateError(f"address {address!r} matches {len(matches)} inputs; use one of: {listed}")
    if named:
        raise TemplateError(_no_such_input(graph, address, named))
    raise TemplateError(_no_such_node(graph, address))


def resolve_all(graph: Graph, addresses: str) -> tuple[Target, ...]:
    """The inputs that one address, or several with commas between, mean; a title may hold a comma too."""
    try:
        return (Target(*resolve(graph, addresses)),)
    except TemplateError:
        if "," not in addresses:
            raise
    return tuple(dict.fromkeys(Target(*resolve(graph, part.strip())) for part in addresses.split(",")))


def _splits(address: str) -> Iterator[tuple[str, str]]:
    for index, character in enumerate(address):
        if character == ".":
            yield address[:index], address[index + 1 :]


def _selected(graph: Graph, selector: str) -> list[str]:
    found = [selector] if selector in graph else []
    kind, _, wanted = selector.partition("=")
    if kind == "title":
        found += [node_id for node_id in graph if title_of(graph, node_id) == wanted]
    if kind == "class":
        found += [node_id for node_id in graph if class_of(graph, node_id) == wanted]
    return found


def _no_such_input(graph: Graph, address: str, named: list[tuple[str, str]]) -> str:
    node_id, name = named[-1]
    there = list(inputs_of(graph, node_id))
    near = get_close_matches(name, there, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    where = f"address {address!r}: node {describe(graph, node_id)}"
    return f"{where} has no input {name!r}; {hint}it has: {', '.join(there) or 'none'}"


def _no_such_node(graph: Graph, address: str) -> str:
    known = {spelling: target for target in _all(graph) for spelling in _spellings(graph, target)}
    near = [known[spelling] for spelling in get_close_matches(address, known, n=3, cutoff=0.5)]
    targets = list(dict.fromkeys([*near, *_all(graph)]))
    hint = "" if "." in address else " (an address is NODE.INPUT, title=TITLE.INPUT or class=CLASS.INPUT)"
    return f"address {address!r} matches no node{hint}; there are: {_listed(targets, graph)}"


def _all(graph: Graph) -> Iterator[Target]:
    return (Target(node_id, name) for node_id in graph for name in inputs_of(graph, node_id))


def _spellings(graph: Graph, target: Target) -> Iterator[str]:
    yield f"{target.node_id}.{target.input_name}"
    yield f"class={class_of(graph, target.node_id)}.{target.input_name}"
    if title := title_of(graph, target.node_id):
        yield f"title={title}.{target.input_name}"


def _listed(targets: list[Target], graph: Graph) -> str:
    shown = [_spelled(target, graph) for target in targets[:_LISTED_COUNT]]
    more = len(targets) - len(shown)
    return ", ".join(shown) + (f", and {more} more" if more else "")


def _spelled(target: Target, graph: Graph) -> str:
    return (
        f"{target.node_id}.{target.input_name} ({title_of(graph, target.node_id) or class_of(graph, target.node_id)})"
    )
