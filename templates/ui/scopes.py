"""The uses of subgraphs: each node of a subgraph is there once for every node that uses it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from templates.ui.document import Level, Subgraph, UiNode, UiWorkflow
from templates.ui.refusal import refusal

_MOST = 10_000


@dataclass(frozen=True, eq=False)
class Scope:
    """One use of a level: the workflow itself, or a subgraph inside the node that uses it."""

    level: Level
    path: tuple[str, ...] = ()
    outer: Scope | None = None
    host: UiNode | None = None
    """The node in `outer` that uses this subgraph."""

    @property
    def dropped(self) -> bool:
        """The outermost node around it is muted or bypassed. (The editor asks no node further inside.)"""
        if self.host is None or self.outer is None:
            return False
        return self.outer.dropped if self.outer.path else self.host.muted or self.host.bypassed

    def id_of(self, node: UiNode) -> str:
        """A node's id in the graph: `12:5` for node 5 of the subgraph that node 12 uses."""
        return ":".join((*self.path, node.id))

    def within(self, subgraph: Subgraph) -> bool:
        """Whether this is a use of `subgraph`, or inside one."""
        return self.level is subgraph or (self.outer is not None and self.outer.within(subgraph))


class Scopes:
    """All of a workflow's, outer ones before those inside."""

    def __init__(self, workflow: UiWorkflow) -> None:
        """Errors: TemplateError for a subgraph that holds itself."""
        self._by_path: dict[tuple[str, ...], Scope] = {(): Scope(workflow.top)}
        waiting = [self.top]
        for scope in waiting:
            for node in scope.level.nodes.values():
                if (subgraph := workflow.subgraphs.get(node.type)) is None:
                    continue
                if scope.within(subgraph):
                    raise refusal(node, "this subgraph holds itself; take it out", below=scope.path)
                inner = Scope(subgraph, (*scope.path, node.id), scope, node)
                if len(waiting) >= _MOST:
                    raise refusal(node, f"more than {_MOST} uses of subgraphs; export the API format", below=scope.path)
                self._by_path[inner.path] = inner
                waiting.append(inner)

    @property
    def top(self) -> Scope:
        return self._by_path[()]

    def __iter__(self) -> Iterator[Scope]:
        return iter(self._by_path.values())

    def inside(self, scope: Scope, node: UiNode) -> Scope:
        """The use of a subgraph by this node of `scope`."""
        return self._by_path[*scope.path, node.id]
