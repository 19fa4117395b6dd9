"""Rows that say how they are made: counts, priorities, workflows, output directories and files of their own."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import templates
from orchestrator.batches.generate_report import Generated, Planned
from orchestrator.batches.spec import BatchSpec
from orchestrator.cycle.request import Request
from orchestrator.errors import RequestConflict, UsageError
from orchestrator.generation import Generation
from orchestrator.recipes import Recipes
from orchestrator.settings import Overrides
from state.item import Item
from state.open_store import open_store


class Studio:
    """A directory with a state, a list beside it and files; nothing is asked of a server."""

    def __init__(self, home: Path) -> None:
        self.home, self.state = home, home / "state.json"

    def write(self, text: str) -> str:
        (self.home / "list.csv").write_text(text)
        return str(self.home / "list.csv")

    def generate(self, text: str, *, template: str = "txt2img-sd15", dry_run: bool = False, **said: Any) -> Any:
        overrides = Overrides(template=template, output_dir=self.home / "renders")
        return Generation(
            BatchSpec(csv=self.write(text), **said),
            Request(state=self.state, overrides=overrides),
            queue_only=True,
            dry_run=dry_run,
            stdin=io.BytesIO(),
        ).execute()

    def items(self) -> list[Item]:
        """In the order of their numbers; the state has them in the order in which they are due."""
        with open_store(self.state, read_only=True) as store:
            return sorted(store.items(), key=lambda item: item.index or 0)

    def workflows(self) -> list[str | None]:
        with open_store(self.state, read_only=True) as store:
            recipes = Recipes(store.recipes, self.home)
            return [recipes.loaded(item.recipe or "").recipe.workflow_name for item in self.items()]


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    Image.new("RGB", (8, 8)).save(tmp_path / "cat.png")
    return Studio(tmp_path)


def test_a_row_has_its_own_count_and_priority(studio: Studio) -> None:
    studio.generate("prompt,count,priority\na,3,urgent\nb,,\nc,1,low\n", count=2, seed=5)
    assert [(item.prompt_text, item.inputs["seed"], item.priority) for item in studio.items()] == [
        ("a", 5, "urgent"),
        ("a", 6, "urgent"),
        ("a", 7, "urgent"),
        ("b", 5, "normal"),
        ("b", 6, "normal"),
        ("c", 5, "low"),
    ]
    assert [item.filename for item in studio.items()][-1] == "image_006.png"


def test_counts_of_rows_are_part_of_what_one_batch_takes(studio: Studio) -> None:
    rows = "".join(f"p{number},999\n" for number in range(101))
    with pytest.raises(UsageError, match="and 100899 of rows with a count of their own, are 100899 items"):
        studio.generate(f"prompt,count\n{rows}", dry_run=True)


def test_a_seed_of_minus_one_is_drawn(studio: Studio) -> None:
    studio.generate("prompt,seed,count\na,-1,2\nb,-1,\nc,7,\n", seed=-1)
    first, second, other, told = [item.inputs["seed"] for item in studio.items()]
    assert second == first + 1
    assert len({first, second, other, told}) == 4
    assert (told, min(first, other) >= 0) == (7, True)


def test_random_seeds_and_a_seed_of_minus_one_go_together(studio: Studio) -> None:
    studio.generate("prompt,seed\na,-1\nb,\n", seed_mode="random")
    assert len({item.inputs["seed"] for item in studio.items()}) == 2


def test_rows_are_made_with_workflows_of_their_own(studio: Studio) -> None:
    (studio.home / "mine.json").write_text(json.dumps(templates.load_workflow("smoke").graph))
    text = "prompt,template,steps\na,,9\nb,smoke,\nc,mine.json,\nd,txt2img-sd15,\n"
    outcome = studio.generate(text)
    assert isinstance(outcome, Generated)
    assert studio.workflows() == ["txt2img-sd15", "smoke", "mine.json", "txt2img-sd15"]
    assert [sorted(item.inputs) for item in studio.items()] == [["seed", "steps"], ["seed"], ["seed"], ["seed"]]


def test_what_is_set_for_all_must_fit_the_workflow_of_each_row(studio: Studio) -> None:
    with pytest.raises(UsageError, match=r"list.csv line 3: steps: .* no binding 'steps'"):
        studio.generate("prompt,template\na,\nb,smoke\n", steps=9)
    with pytest.raises(UsageError, match=r"line 2, column 'template': template 'smok': .*did you mean 'smoke'"):
        studio.generate("prompt,template\na,smok\n")
    assert not studio.state.exists()


def test_rows_go_to_output_directories_of_their_own(studio: Studio) -> None:
    outcome = studio.generate("prompt,output\na,\nb,hero\nc,hero\n")
    assert {Path(one).relative_to(studio.home).parts[0] for one in outcome.directories} == {"renders", "hero"}
    with open_store(studio.state, read_only=True) as store:
        recipes = Recipes(store.recipes, studio.home)
        roots = [recipes.loaded(item.recipe or "").recipe.output for item in store.items()]
    assert roots == ["renders", "hero", "hero"]
    with pytest.raises(UsageError, match=r"column 'output': a file stands at .*cat.png"):
        studio.generate("prompt,output\na,cat.png\n")


def test_an_image_of_a_row_is_uploaded(studio: Studio) -> None:
    studio.generate("prompt,image\na,cat.png\nb,server:dog.png\nc,./cat.png\n", template="img2img")
    assert [(item.uploads, item.inputs.get("image")) for item in studio.items()] == [
        ({"image": "cat.png"}, None),
        ({}, "dog.png"),
        ({"image": "cat.png"}, None),
    ]


def test_the_same_list_with_another_workflow_behind_a_name_is_another_request(studio: Studio) -> None:
    text = "prompt,template\na,mine.json\n"
    mine = studio.home / "mine.json"
    mine.write_text(json.dumps(templates.load_workflow("smoke").graph))
    first = studio.generate(text, name="cast")
    assert studio.generate(text, name="cast").record.batch == first.record.batch
    mine.write_text(json.dumps(templates.load_workflow("txt2img-sd15").graph))
    with pytest.raises(RequestConflict, match="what cells of the list name differs"):
        studio.generate(text, name="cast")


def test_what_was_left_out_is_said_by_the_plan_and_by_the_call_that_adds(studio: Studio) -> None:
    note = f"{studio.home / 'list.csv'}: columns ignored, because nothing uses them: 'owner'"
    planned = studio.generate("prompt,owner\na,me\n", ignore_columns=True, dry_run=True)
    assert isinstance(planned, Planned)
    assert (planned.as_json()["notes"], f"Note: {note}" in planned.as_text()) == ([note], True)
    added = studio.generate("prompt,owner\na,me\n", ignore_columns=True)
    assert (added.as_json()["notes"], f"Note: {note}" in added.as_text()) == ([note], True)
