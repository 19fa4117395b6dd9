"""`burst stage`: a chain of batches, each made from the images of the one before it; one is rendered too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.documents import checked
from support.drafts import DRAFTS, Drafts
from support.image_project import INVERT, wanted_name

from burst import cli
from orchestrator.batches.generate_report import Generated
from orchestrator.batches.spec import BatchSpec
from orchestrator.comfyui import ComfyUI
from orchestrator.cycle.request import Request
from orchestrator.cycle.run import Run
from orchestrator.errors import TemplateError, UsageError
from orchestrator.generation import generate
from orchestrator.marks import star
from orchestrator.retries import retry
from orchestrator.sandbox import Sandbox
from orchestrator.settings import Overrides
from orchestrator.stage_chain import stage
from orchestrator.status import read_status
from state.item import Item, Status
from state.open_store import open_store


@pytest.fixture
def drafts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Drafts:
    monkeypatch.chdir(tmp_path)
    return Drafts(tmp_path)


def items_of(state: Path, batch: str) -> list[Item]:
    with open_store(state, read_only=True) as store:
        return store.get_many(store.batch_keys(batch))


def test_each_batch_is_made_from_the_one_before_it(drafts: Drafts) -> None:
    star(drafts.state, [drafts.keys[1]])
    done = stage(drafts.state, DRAFTS, ["invert.json", "repaint.json"], pick="favorites", name="final", priority="high")
    assert [(one.record.name, one.record.total, one.continued) for one in done.stages] == [
        ("final-1", 2, False),
        ("final-2", 2, False),
    ]
    assert done.waiting == 4
    first, second = (items_of(drafts.state, one.record.batch) for one in done.stages)
    assert [item.sources for item in first] == [(drafts.keys[1],)] * 2
    assert [item.sources for item in second] == [(item.key,) for item in first]
    assert {item.priority for item in (*first, *second)} == {"high"}
    assert [item.prompt_text for item in (*first, *second)] == [None, None, "a cat", "a cat"]


def test_the_same_chain_is_added_once_and_goes_on_where_it_was_killed(drafts: Drafts) -> None:
    (first,) = stage(drafts.state, DRAFTS, ["invert.json"]).stages
    both = stage(drafts.state, DRAFTS, ["invert.json", "repaint.json"]).stages
    assert [one.continued for one in both] == [True, False]
    assert both[0].record.batch == first.record.batch
    again = stage(drafts.state, DRAFTS, ["invert.json", "repaint.json"])
    assert [one.continued for one in again.stages] == [True, True]
    assert "(there already)" in again.as_text()
    assert drafts.batches() == 3


@pytest.mark.parametrize(
    ("templates", "said"),
    [
        (["invert.json", "txt2img-sd15"], "txt2img-sd15: it takes no image, video or audio"),
        (["invert.json", "nowhere.json"], "nowhere.json"),
        ([], "name a workflow for each stage"),
    ],
)
def test_nothing_is_added_where_any_template_does_not_fit(drafts: Drafts, templates: list[str], said: str) -> None:
    with pytest.raises((UsageError, TemplateError)) as refused:
        stage(drafts.state, DRAFTS, templates)
    assert said in str(refused.value)
    assert drafts.batches() == 1


def test_the_command_prints_what_was_added_and_what_to_type(drafts: Drafts) -> None:
    def said(*more: str) -> str:
        done = CliRunner().invoke(cli, ["stage", DRAFTS, "invert.json", "--state", str(drafts.state), *more])
        assert done.exit_code == 0, done.output
        return done.stdout

    text = said()
    assert "6 items made from drafts with invert.json" in text
    assert "6 of them wait for others.\nNext: burst run --until-done" in text
    document = checked(json.loads(said("--json")))
    assert [(one["source"], one["total"], one["continued"]) for one in document["batches"]] == [(DRAFTS, 6, True)]


def test_drafts_are_rendered_picked_and_made_into_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And made again with the one that is retried."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "invert.json").write_text(json.dumps(INVERT))
    state = tmp_path / "state.json"
    with Sandbox() as sandbox:
        overrides = Overrides(template="smoke", output_dir=tmp_path / "out", servers=(sandbox.url,))
        request = Request(state=state, overrides=overrides)
        drafts = generate(
            BatchSpec(prompt="a fox", count=3, name=DRAFTS, layout="batch"), request=request, queue_only=True
        )
        run = Request(state=state, until_done=True, overrides=Overrides(servers=(sandbox.url,)))
        assert Run(run).execute().completed == 3
        made = items_of(state, drafts.record.batch)  # type: ignore[union-attr]
        star(state, [f"out/{made[2].outputs[0].path}"])
        chain = stage(state, DRAFTS, ["invert.json", "invert.json"], pick="favorites")
        assert read_status(state).stages_waiting == 1
        assert Run(run).execute().completed == 2
        first, last = (items_of(state, one.record.batch)[0] for one in chain.stages)
        with ComfyUI(sandbox.url) as client:
            entry = client.history(last.prompt_id or "")
        assert entry is not None
        source = next(path for path in (tmp_path / "out").rglob("*.png") if str(path).endswith(first.outputs[0].path))
        assert entry.graph["1"]["inputs"]["image"] == wanted_name(source)
        assert sorted(retry(state, [made[2].key]).keys) == sorted([made[2].key, first.key, last.key])
        assert Run(run).execute().completed == 3
    assert {item.status for item in items_of(state, chain.stages[1].record.batch)} == {Status.COMPLETED}


def test_generate_ends_where_its_sources_are_another_batchs_to_render(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It renders its own items alone, as ever: those wait, and it says what for and what to type."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "invert.json").write_text(json.dumps(INVERT))
    state = tmp_path / "state.json"
    with Sandbox() as sandbox:
        overrides = Overrides(template="smoke", output_dir=tmp_path / "out", servers=(sandbox.url,))
        generate(
            BatchSpec(prompt="a fox", name=DRAFTS), request=Request(state=state, overrides=overrides), queue_only=True
        )
        more = Overrides(template="invert.json", servers=(sandbox.url,))
        done = generate(BatchSpec(from_batch=DRAFTS), request=Request(state=state, overrides=more))
        assert isinstance(done, Generated)
        assert (done.remaining, done.counts.completed, sandbox.counts()["posts"]) == (1, 0, 0)
        assert any("waits for outputs of others" in note for note in done.notes)
        assert "burst run" in done.as_text()


def test_every_stage_needs_the_labels_that_are_given(drafts: Drafts) -> None:
    line = ["stage", DRAFTS, "invert.json", "repaint.json", "--needs", "big", "--state", str(drafts.state), "--json"]
    result = CliRunner().invoke(cli, line)
    assert result.exit_code == 0, result.output
    with open_store(drafts.state, read_only=True) as store:
        made = [store.batches.read()[one["batch"]].record.recipe for one in json.loads(result.stdout)["batches"]]
        assert [store.recipes.get(str(recipe)).needs for recipe in made] == [("big",), ("big",)]
