"""Addresses: how a user names one input of a graph.

By node id (`98:6.text`), node title (`title=Positive Prompt.text`) or class (`class=KSampler.seed`).
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from orchestrator.errors import TemplateError
from templates.graph import Graph, Target, class_of, describe, inputs_of, title_of

_MAX_LISTED = 12


def resolve(graph: Graph, address: str) -> tuple[str, str]:
    """The node id and input name that an address refers to.

    Titles, ids and input names may contain dots, so every dot is tried as the separator. Errors: TemplateError if no
    input or more than one matches; it lists the inputs of the graph, closest matches first.
    """
    candidates = [(node_id, name) for selector, name in _splits(address) for node_id in select(graph, selector)]
    matches = list(dict.fromkeys((node_id, name) for node_id, name in candidates if name in inputs_of(graph, node_id)))
    if len(matches) == 1:
        return matches[0]
    if matches:
        listed = _format_list([Target(*match) for match in matches], graph)
        raise TemplateError(f"address {address!r} matches {len(matches)} inputs; use one of: {listed}")
    if candidates:
        raise TemplateError(_no_such_input(graph, address, candidates))
    raise TemplateError(_no_such_node(graph, address))


def spelled(graph: Graph, target: Target) -> str:
    """An address of the input that a person recognizes: by the node's title, where no other node has it."""
    by_title = f"title={title_of(graph, target.node_id)}.{target.input_name}"
    try:
        is_clear = title_of(graph, target.node_id) and resolve(graph, by_title) == (target.node_id, target.input_name)
    except TemplateError:
        is_clear = False
    return by_title if is_clear else target.address


def resolve_all(graph: Graph, addresses: str) -> tuple[Target, ...]:
    """The inputs that one address or several comma-separated ones refer to; a title may contain a comma too."""
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


def select(graph: Graph, selector: str) -> list[str]:
    """The nodes of this id, and those that `title=TITLE` or `class=CLASS` means."""
    found = [selector] if selector in graph else []
    kind, _, value = selector.partition("=")
    if kind == "title":
        found += [node_id for node_id in graph if title_of(graph, node_id) == value]
    if kind == "class":
        found += [node_id for node_id in graph if class_of(graph, node_id) == value]
    return found


def _no_such_input(graph: Graph, address: str, candidates: list[tuple[str, str]]) -> str:
    node_id, name = candidates[-1]
    available = list(inputs_of(graph, node_id))
    close = get_close_matches(name, available, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    where = f"address {address!r}: node {describe(graph, node_id)}"
    return f"{where} has no input {name!r}; {hint}available: {', '.join(available) or 'none'}"


def _no_such_node(graph: Graph, address: str) -> str:
    known = {spelling: target for target in _targets(graph) for spelling in _spellings(graph, target)}
    close = [known[spelling] for spelling in get_close_matches(address, known, n=3, cutoff=0.5)]
    targets = list(dict.fromkeys([*close, *_targets(graph)]))
    hint = "" if "." in address else " (an address is NODE.INPUT, title=TITLE.INPUT or class=CLASS.INPUT)"
    return f"address {address!r} matches no node{hint}; available: {_format_list(targets, graph)}"


def _targets(graph: Graph) -> Iterator[Target]:
    return (Target(node_id, name) for node_id in graph for name in inputs_of(graph, node_id))


def _spellings(graph: Graph, target: Target) -> Iterator[str]:
    yield target.address
    yield f"class={class_of(graph, target.node_id)}.{target.input_name}"
    if title := title_of(graph, target.node_id):
        yield f"title={title}.{target.input_name}"


def _format_list(targets: list[Target], graph: Graph) -> str:
    shown = [_format(target, graph) for target in targets[:_MAX_LISTED]]
    more = len(targets) - len(shown)
    return ", ".join(shown) + (f", and {more} more" if more else "")


def _format(target: Target, graph: Graph) -> str:
    return f"{target.address} ({title_of(graph, target.node_id) or class_of(graph, target.node_id)})"
