"""What cannot be converted for certain: the node, its title and class, why, and what to do."""

from __future__ import annotations

from orchestrator.errors import TemplateError
from templates.ui.document import UiNode


def refusal(node: UiNode, problem: str, *, below: tuple[str, ...] = ()) -> TemplateError:
    """`below`: the ids of the subgraphs' nodes around it. `problem` says what to do, too."""
    shown = f'{node.type} "{node.title}"' if node.title else node.type
    return TemplateError(f"node {':'.join((*below, node.id))} ({shown}): {problem}")
