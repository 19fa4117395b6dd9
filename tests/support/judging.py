"""What must hold after faults: each item rendered once by what servers have on their disks, and each file its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.outputs import decodes
from orchestrator.outputs.pictures import embedded_graph
from orchestrator.verify import verify_outputs
from state.item import Item, Status
from support.projects import Project
from support.server_process import Render


def rendered_twice(items: Sequence[Item], renders: Sequence[Render], texts: Mapping[str, str]) -> tuple[list[str], int]:
    """Items that were rendered more often than they had to be, and how many renders servers lost.

    A second render is excused where the first one's files were wiped before the last prompt was sent.
    """
    by_text: dict[str, list[Render]] = {}
    for render in renders:
        by_text.setdefault(render.text, []).append(render)
    twice, lost = [], 0
    for item in items:
        mine = by_text.get(texts[item.key], [])
        others = [render for render in mine if render.prompt_id != item.prompt_id]
        again = sum(render.times - 1 for render in mine)
        sent = item.submitted_at.timestamp() if item.submitted_at is not None else 0.0
        for render in others:
            excused = render.wiped_at is not None and render.wiped_at <= sent
            lost += excused
            again += not excused
        if again:
            twice.append(f"{item.key}: {item.prompt_id}, {item.previous_prompt_ids}, {mine}")
    return twice, lost


def wrong_files(project: Project, texts: Mapping[str, str], *, batch_size: int) -> list[str]:
    """Images that do not decode, or whose graph is not their item's."""
    wrong = []
    for item in project.items(Status.COMPLETED):
        for output in item.outputs:
            path = project.output / output.path
            graph = embedded_graph(path) if decodes(path) else None
            if graph is None or graph["6"]["inputs"]["text"] != texts[item.key]:
                wrong.append(output.path)
        if len(item.outputs) != batch_size:
            wrong.append(f"{item.key}: {len(item.outputs)} files")
    return wrong + [problem.message for _, problem in verify_outputs(project.state).problems]
