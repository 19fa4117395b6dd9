"""A directory with workflows that produce distinguishable images, and `burst` on them."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.outputs import embedded_graph
from state.item import Item, Status
from state.open_store import parts_of
from state.recipe import Recipe
from support.generate_project import Place
from support.projects import Ended, small_template
from support.waiting import wait_until


class RecipeProject(Place):
    """Workflows differ in the steps of their sampler, which the graph in each image shows."""

    def workflow(self, name: str, *, steps: int) -> Path:
        """Write or change a workflow file."""
        graph = small_template()
        graph["3"]["inputs"]["steps"] = steps
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(graph))
        return path

    def prompts(self, directory: str, count: int) -> None:
        for number in range(1, count + 1):
            path = self.home / directory / f"prompt_{number:02}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{directory}, view {number}")

    def call(self, *arguments: str, launch: Sequence[str] = ()) -> Ended:
        """Run `burst ARGUMENTS` with JSON output; must succeed."""
        ended = self.burst(*arguments, "--json", launch=launch)
        assert ended.code == 0, ended
        return ended

    def run_to_the_end(self, *arguments: str, killed: bool = False) -> Ended:
        """`burst run` until nothing remains; with `killed` a first run is killed part way."""
        if killed:
            done = self.count(Status.COMPLETED)
            with self.start("run", "--poll-interval", "0.2", "--until-done", *arguments) as run:
                wait_until(lambda: self.count(Status.COMPLETED) > done, what="an image of the run")
                assert run.stop(signal.SIGKILL).code == 137
            assert self.count(Status.COMPLETED) < len(self.items())
        return self.call("run", "--all", "--poll-interval", "0.2", "--until-done", *arguments)

    def count(self, status: Status) -> int:
        return sum(item.status is status for item in self.items())

    def recipes(self) -> dict[str, Recipe]:
        return parts_of(self.state).recipes.all()

    def ids_after(self, *arguments: str, cwd: Path | None = None) -> set[str]:
        """The ids of all recipes after `burst ARGUMENTS` in another directory."""
        with self.start(*arguments, cwd=cwd) as process:
            ended = process.end()
        assert ended.code == 0, ended
        return set(self.recipes())

    def graph_of(self, item: Item, *, root: str = "output") -> dict[str, Any]:
        """The graph that the image contains."""
        (image,) = [output.path for output in item.outputs if output.path.endswith(".png")]
        graph = embedded_graph(self.home / root / image)
        assert graph is not None
        return graph

    def steps_of(self, item: Item, *, root: str = "output") -> int:
        steps: int = self.graph_of(item, root=root)["3"]["inputs"]["steps"]
        return steps

    def edit_state(self, **fields: Any) -> None:
        """Set fields of every record by hand; None removes a field."""
        records = json.loads(self.state.read_bytes())
        for record in records.values():
            record.update(fields)
            for name in [name for name, value in record.items() if value is None]:
                del record[name]
        self.state.write_text(json.dumps(records))
