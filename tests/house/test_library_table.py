"""docs/library.md's table of a batch processor's methods and our names for them: each can be imported, and does it."""

from __future__ import annotations

import importlib
import io
import json
import re
import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from PIL import Image
from support.pages import page
from support.waiting import wait_until

import orchestrator.batches.layouts
import orchestrator.comfyui
import state.item
import templates
from orchestrator.sandbox import Sandbox
from state.item import Status

NAMES = sorted(
    {
        name
        for row in re.findall(
            r"^\| `(?:BatchProcessor|ComfyUIClient|OutputManager)\b.*\|(.*)\|$", page("library.md"), re.MULTILINE
        )
        for name in re.findall(r"`((?:orchestrator|state|templates)\.[\w.]+)`", row)
    }
)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.fixture
def graph() -> templates.Graph:
    """A workflow of small pictures."""
    found = templates.load_workflow("txt2img-sd15").graph
    return templates.bind(found, templates.find_bindings(found), {"width": 64, "height": 64})


def test_the_table_is_there() -> None:
    assert len(NAMES) >= 25


@pytest.mark.parametrize("name", NAMES)
def test_each_name_can_be_imported_and_is_used_below(name: str) -> None:
    *parts, last = name.split(".")
    found = importlib.import_module(parts.pop(0))
    for part in (*parts, last):
        found = getattr(found, part)
    assert f".{last}" in Path(__file__).read_text()


def test_the_batch_processors_example(tmp_path: Path, sandbox: Sandbox, graph: templates.Graph) -> None:
    """Submit a job with a priority, look at it, cancel another, let it be worked off, read the figures."""
    (tmp_path / "workflow.json").write_text(json.dumps(graph))
    there = tmp_path / "re_render_state.json"
    tools = orchestrator.Overrides(
        servers=(sandbox.url,), template=str(tmp_path / "workflow.json"), output_dir=tmp_path / "outputs"
    )
    request = orchestrator.Request(state=there, overrides=tools)
    assert "high" in state.item.Priority.__args__
    wish = orchestrator.BatchSpec(batch_size=4, priority="high", model="sd_xl_base_1.0.safetensors", steps=2, cfg=8.0)
    prompts = ["pixel art warrior", "pixel art mage,\nfront view"]
    job = orchestrator.generate(wish, prompts=prompts, request=request, queue_only=True)
    other = orchestrator.generate(orchestrator.BatchSpec(prompt="a fox"), request=request, queue_only=True)
    assert len(orchestrator.list_batches(there).batches) == 2
    assert orchestrator.read_batch(there, job.record.batch).percent == 0
    orchestrator.cancel(there, [other.record.batch])

    stop = threading.Event()
    report = orchestrator.run_burst(there, until_done=True, stop=stop)
    assert (report.completed, report.failed) == (2, 0)
    (done,) = orchestrator.watch_batch(there, job.record.batch)
    assert (done.percent, done.standing, done.record.prompts) == (100, "done", tuple(prompts))
    figures = orchestrator.read_status(there, stats=True).figures
    assert figures is not None
    assert (figures.pictures, figures.queue_length) == (8, 0)
    assert figures.pictures_per_minute is not None
    assert figures.counts[Status.CANCELLED] == 1
    assert orchestrator.verify_outputs(there).problems == ()
    assert len(orchestrator.retry(there, cancelled=True).keys) == 1
    stop.set()
    assert orchestrator.run_burst(there, stop=stop).completed == 0


def test_the_clients_example(tmp_path: Path, sandbox: Sandbox, graph: templates.Graph) -> None:
    """Is it there; put the parameters in, submit, wait for the end, download."""
    with orchestrator.ComfyUI(sandbox.url) as client:
        assert client.system_stats()["devices"]
        assert client.queue_remaining() == 0
        bindings = templates.find_bindings(graph)
        wanted = templates.bind(graph, bindings, {"prompt": "pixel art sprite", "batch_size": 4, "seed": 42})
        prompt_id = str(uuid.uuid4())
        client.submit(templates.set_prefixes(wanted, prompt_id), prompt_id=prompt_id, number=1, extra_data={})
        entry = wait_until(lambda: client.history(prompt_id), what="its end")
        assert entry is not None
        assert isinstance(entry, orchestrator.comfyui.HistoryEntry)
        assert (entry.succeeded, len(entry.files)) == (True, 4)
        assert {queued.prompt_id for queued in client.queue().running} == set()
        for file in entry.files:
            with client.view(file) as download:
                assert Image.open(io.BytesIO(b"".join(download.iter_chunks()))).size == (64, 64)

        outputs = orchestrator.Outputs(tmp_path)
        fetched = outputs.fetch(
            client, entry.files, entry.texts, subfolder="hero", filename="sprite.png", prompt_id=prompt_id, own=()
        )
        outputs.place([fetched])
    names = ["sprite.png", *(f"sprite_{number:03}.png" for number in (2, 3, 4))]
    assert sorted(path.name for path in (tmp_path / "hero").iterdir()) == names


def test_the_output_managers_example(tmp_path: Path, sandbox: Sandbox) -> None:
    """A directory for the batch, what made each picture beside it, a list of batches, figures of one, and cleaning."""
    there = tmp_path / "re_render_state.json"
    tools = orchestrator.Overrides(servers=(sandbox.url,), template="smoke", output_dir=tmp_path / "outputs")
    wish = orchestrator.BatchSpec(prompt="pixel art warrior", seed=42, layout="batch")
    made = orchestrator.generate(wish, request=orchestrator.Request(state=there, overrides=tools))
    record = made.record
    named = orchestrator.batches.layouts.directory_name("batch", record.created_at.astimezone(), record.batch)
    assert made.directory == tmp_path / "outputs" / named
    recipe = orchestrator.read_reproduction(made.directory / "metadata" / "sprite_0001.json", home=tmp_path)
    assert (recipe.prompt, recipe.seed, recipe.template) == ("pixel art warrior", 42, "smoke")
    assert json.loads((made.directory / "batch_info.json").read_text())["totals"]["completed"] == 1

    (batch,) = orchestrator.list_batches(there).batches
    assert (batch.done, batch.remaining) == (1, 0)
    page = orchestrator.write_report(there, batch.id, tmp_path / "page.html")
    assert "pixel art warrior" in page.path.read_text()
    rehearsed = orchestrator.clean_batches(there, older_than=timedelta(0), dry_run=True)
    assert made.directory.exists()
    cleaned = orchestrator.clean_batches(there, older_than=timedelta(0))
    assert cleaned.removed == rehearsed.removed != ()
    assert not made.directory.exists()
