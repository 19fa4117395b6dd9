"""A prompt that ends well and leaves nothing, and twins: what is counted as rendered twice, and what is not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.fake_faults import Fault, Faults, Page, first
from support.fake_queue import Prompt
from support.fake_transport import FakeServer
from support.hand_clock import HandClock
from support.simulated import Simulation

from orchestrator.recipes import Recipes
from orchestrator.settings import Settings
from state.item import Item, Status

WORKFLOW = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "m.safetensors"}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["1", 1]}},
    "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "bad", "clip": ["1", 1]}},
    "4": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
    "5": {
        "class_type": "KSampler",
        "inputs": {"model": ["1", 0], "positive": ["2", 0], "negative": ["3", 0], "latent_image": ["4", 0], "seed": 1},
    },
    "6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["1", 2]}},
}
TEXT: dict[str, Any] = {"8": {"class_type": "PreviewAny", "inputs": {"source": ["6", 0]}}}


def workflow(folder: Path, saves: str, more: Mapping[str, Any] = {}) -> Path:
    """A file whose images end in one node of this class."""
    ends = {"7": {"class_type": saves, "inputs": {"images": ["6", 0], "filename_prefix": "x"}}}
    path = folder / f"{saves}.json"
    path.write_text(json.dumps(WORKFLOW | ends | dict(more)))
    return path


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def server(clock: HandClock) -> FakeServer:
    return FakeServer("http://one:8188", clock, lambda number: 1.0)


def items_of(simulation: Simulation) -> list[Item]:
    return list(simulation.store.items())


class TestWithoutOutputs:
    def test_it_fails_at_once_with_its_own_kind(self, tmp_path: Path, clock: HandClock, server: FakeServer) -> None:
        """Rendered three times each, it would cost 6 prompts and leave nothing all the same."""
        simulation = Simulation(tmp_path, clock, [server], items=2, template=workflow(tmp_path, "SaveElsewhere"))
        simulation.burst(2)
        found = [(item.status, item.attempts, item.error.kind if item.error else "") for item in items_of(simulation)]
        assert found == [(Status.FAILED, 1, "no_outputs")] * 2
        assert len(server.accepted) == 2
        assert (simulation.tally.rendered_twice, simulation.tally.notes) == (0, [])
        error = items_of(simulation)[0].error
        assert error is not None
        assert all(word in error.message for word in (server.url, "SaveElsewhere.json", "SaveImage", "burst retry"))
        simulation.close()

    def test_the_next_run_takes_it_up_after_a_kill(self, tmp_path: Path, clock: HandClock, server: FakeServer) -> None:
        """The process that sent it ended before it was settled: the same, from the history."""
        template = workflow(tmp_path, "SaveElsewhere")
        killed = Simulation(tmp_path, clock, [server], items=1, template=template)
        killed.work.begin(1)
        killed.workers[0].turn()
        assert [item.status for item in items_of(killed)] == [Status.SUBMITTED]
        killed.close()
        clock.seconds += 60.0
        simulation = Simulation(tmp_path, clock, [server], items=0, template=template)
        simulation.burst(2)
        (item,) = items_of(simulation)
        assert (item.status, item.error and item.error.kind, len(server.accepted)) == (Status.FAILED, "no_outputs", 1)
        simulation.close()

    @pytest.mark.parametrize("preview", ["text", "image"])
    def test_a_preview_beside_a_lost_image_is_no_completion(
        self, tmp_path: Path, clock: HandClock, server: FakeServer, preview: str
    ) -> None:
        """The node that saves lists nothing: what it saved is lost, and a preview must not hide that."""
        ends = TEXT
        if preview == "image":
            ends = {"8": {"class_type": "PreviewImage", "inputs": {"images": ["6", 0]}}}
            server = _Previews(server.url, clock, lambda number: 1.0)
        simulation = Simulation(tmp_path, clock, [server], items=1, template=workflow(tmp_path, "SaveElsewhere", ends))
        simulation.burst(1)
        (item,) = items_of(simulation)
        assert (item.status, item.attempts, len(server.accepted)) == (Status.FAILED, 1, 1)
        assert item.error is not None
        assert (item.error.kind, item.error.node_id) == ("no_outputs", "7")
        assert all(word in item.error.message for word in ("7 (SaveElsewhere)", "SaveImage", "outputs", "burst retry"))
        assert not list((tmp_path / "output").rglob("*.*"))
        simulation.close()

    @pytest.mark.parametrize("more", [{}, TEXT], ids=["alone", "beside a text"])
    def test_a_node_that_takes_no_folders_loses_nothing(
        self, tmp_path: Path, clock: HandClock, server: FakeServer, more: Mapping[str, Any]
    ) -> None:
        """Its prefix has none; the rule is noted for who looks for its files by name."""
        simulation = Simulation(tmp_path, clock, [server], items=2, template=workflow(tmp_path, "Image Save", more))
        simulation.burst(2)
        assert [(item.status, item.prefix_scheme) for item in items_of(simulation)] == [(Status.COMPLETED, 2)] * 2
        images = sorted(path.name for path in (tmp_path / "output").iterdir())
        assert images == ["0000.png", "0001.png"]
        simulation.close()

    def test_one_of_two_nodes_that_gave_nothing_is_mentioned(
        self, tmp_path: Path, clock: HandClock, server: FakeServer
    ) -> None:
        """It may have saved elsewhere, or a switch has left it out: the other's images are the item's."""
        ends = {"8": {"class_type": "SaveElsewhere", "inputs": {"images": ["6", 0], "filename_prefix": "y"}}}
        simulation = Simulation(tmp_path, clock, [server], items=2, template=workflow(tmp_path, "SaveImage", ends))
        simulation.burst(2)
        assert [item.status for item in items_of(simulation)] == [Status.COMPLETED] * 2
        (note,) = simulation.tally.notes
        assert all(word in note for word in ("8 (SaveElsewhere)", "SaveImage.json", server.url, "outputs"))
        simulation.close()

    def test_of_the_nodes_that_were_chosen(self, tmp_path: Path, clock: HandClock, server: FakeServer) -> None:
        """Another one saved something, and this one did not."""
        ends = {"8": {"class_type": "SaveElsewhere", "inputs": {"images": ["6", 0], "filename_prefix": "y"}}}
        simulation = Simulation(tmp_path, clock, [server], items=0, template=workflow(tmp_path, "SaveImage", ends))
        recipes = Recipes(simulation.store.recipes, tmp_path)
        settings = Settings(output_dir=tmp_path / "output", template=str(tmp_path / "SaveImage.json"), outputs=("8",))
        simulation.add(["a.txt"], recipe=recipes.keep(recipes.from_settings(settings)).id)
        simulation.burst(1)
        (item,) = items_of(simulation)
        assert (item.status, item.attempts, len(server.accepted)) == (Status.FAILED, 1, 1)
        assert item.error is not None
        assert item.error.kind == "no_outputs"
        assert all(word in item.error.message for word in ("outputs", "others did: 7", "burst update"))
        simulation.close()


class TestTwins:
    @pytest.mark.parametrize("late", [False, True], ids=["collected in vain", "given up in doubt"])
    def test_only_a_prompt_that_was_given_up_in_doubt_is_one(
        self, tmp_path: Path, clock: HandClock, server: FakeServer, late: bool
    ) -> None:
        """The first prompt's file cannot be had, so the item is rendered again: that POST did not come late."""
        if not late:
            server.fault = first(1, "/view", Page(404, b"", {}))
        simulation = Simulation(tmp_path, clock, [server], items=1, template=workflow(tmp_path, "SaveImage"))
        if late:
            server.fault = _late_post(server, simulation)
        simulation.burst_to_end(1)
        (item,) = items_of(simulation)
        assert (item.status, len(server.accepted)) == (Status.COMPLETED, 2)
        assert simulation.tally.rendered_twice == int(late)
        assert any("rendered twice" in note for note in simulation.tally.notes) == late
        simulation.close()


class _Previews(FakeServer):
    """PreviewImage lists a file of type temp."""

    def respond(self, asked: list[str], body: dict[str, Any]) -> tuple[int, Any]:
        status, found = super().respond(asked, body)
        for entry in found.values() if asked[2] == "history" and found else ():
            entry["outputs"]["8"] = {"images": [{"filename": "p.png", "subfolder": "", "type": "temp"}]}
        return status, found


def _late_post(server: FakeServer, simulation: Simulation) -> Faults:
    """The first POST gets no answer and arrives after the item was sent again; it is rendered before the other ends."""
    posts: list[str] = []

    def fault(asked: str) -> Fault:
        if asked == "POST /api/prompt":
            posts.append(asked)
            return Page(502) if len(posts) == 1 else None
        if asked == "GET /api/view" and server.history:
            (item,) = items_of(simulation)
            (newer,) = server.history.values()
            old = Prompt(item.previous_prompt_ids[0], 0.0, newer.graph, newer.extra_data, newer.begin, newer.end)
            server.accepted[old.prompt_id] = server.history[old.prompt_id] = old
            old.ended_as = "success"
        return None

    return fault
