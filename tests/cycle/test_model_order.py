"""Items of one batch are sent in an order that loads each model as rarely as their priorities allow."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from support.fake_transport import FakeServer
from support.hand_clock import HandClock
from support.preparing import preparation_of
from support.projects import small_template
from support.simulated import Simulation

from burst import cli
from orchestrator.cycle.loaded_models import LoadedModels
from orchestrator.cycle.run import run_burst
from orchestrator.model_order import Models, ModelsOfItems, grouped
from orchestrator.sandbox import Sandbox, SandboxSettings
from state.item import Item, Priority, Status
from state.open_store import open_store

A, B, C = (Models(files=(name,)) for name in "ABC")
SD15, SDXL = "v1-5-pruned-emaonly-fp16.safetensors", "sd_xl_base_1.0.safetensors"


def item(key: str, *, batch: str | None = "b", priority: Priority = "normal", rank: float = 0.0) -> Item:
    """Called by its number, then by the model that it needs: `p1A`."""
    return Item(
        key=key, status=Status.PENDING, filename=key, prompt_text=key, batch=batch, priority=priority, rank=rank
    )


def models_of(item: Item) -> Models:
    return Models(files=(item.key[2],), loras=tuple(item.key[3:]))


class TestGrouping:
    def test_each_model_once_in_the_order_of_its_first_item(self) -> None:
        items = [item(key) for key in ("p1A", "p1B", "p2A", "p2B", "p3C", "p3A")]
        assert keys(grouped(items, models_of)) == ["p1A", "p2A", "p3A", "p1B", "p2B", "p3C"]

    def test_loras_of_one_checkpoint_stay_together(self) -> None:
        items = [item(key) for key in ("p1Ax", "p1Bx", "p1Ay", "p2Bx", "p2Ax", "p2Ay")]
        assert keys(grouped(items, models_of)) == ["p1Ax", "p2Ax", "p1Ay", "p2Ay", "p1Bx", "p2Bx"]

    def test_what_is_loaded_comes_first(self) -> None:
        items = [item(key) for key in ("p1A", "p1B", "p2A")]
        assert keys(grouped(items, models_of, first=B)) == ["p1B", "p1A", "p2A"]
        assert keys(grouped(items, models_of, first=C)) == ["p1A", "p2A", "p1B"]

    @given(st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from("xyz"))))
    def test_nothing_is_lost_and_no_model_is_loaded_twice(self, chosen: list[tuple[str, str]]) -> None:
        items = [item(f"p{number % 10}{model}{lora}") for number, (model, lora) in enumerate(chosen)]
        found = grouped(items, models_of)
        assert sorted(keys(found)) == sorted(keys(items))
        for part in (slice(2, 3), slice(2, 4)):
            loads = [name for name, _ in itertools.groupby(key[part] for key in keys(found))]
            assert len(loads) == len(set(loads))


class TestModelsOfItems:
    @pytest.fixture
    def find(self, tmp_path: Path) -> ModelsOfItems:
        (tmp_path / "flow.json").write_text(json.dumps(small_template()))
        return ModelsOfItems(preparation_of(tmp_path, tmp_path / "flow.json").recipe_of)

    def test_a_name_an_address_and_the_workflow_s_own(self, find: ModelsOfItems) -> None:
        own = find.of(Item(key="k", status=Status.PENDING, inputs={"seed": 5, "steps": 3}))
        assert own == Models(files=("tiny-random.safetensors",))
        by_name = find.of(Item(key="k", status=Status.PENDING, inputs={"model": SDXL}))
        by_address = find.of(Item(key="k", status=Status.PENDING, inputs={"4.ckpt_name": SDXL}))
        assert by_name == by_address == Models(files=(SDXL,))

    def test_loras_and_their_strengths(self, find: ModelsOfItems) -> None:
        found = [
            find.of(Item(key="k", status=Status.PENDING, inputs=inputs))
            for inputs in (
                {"lora": "a:0.5"},
                {"lora": "a:0.7"},
                {"lora": "a", "lora_strength": 0.5},
                {"lora": ["a", "b"]},
            )
        ]
        assert len(set(found)) == 4
        assert {models.files for models in found} == {("tiny-random.safetensors",)}

    def test_a_lora_node_of_the_workflow(self, tmp_path: Path) -> None:
        graph = small_template()
        lora = {"lora_name": "x.safetensors", "strength_model": 1.0, "strength_clip": 1.0}
        graph["30"] = {"class_type": "LoraLoader", "inputs": {**lora, "model": ["4", 0], "clip": ["4", 1]}}
        graph["3"]["inputs"]["model"] = ["30", 0]
        (tmp_path / "flow.json").write_text(json.dumps(graph))
        find = ModelsOfItems(preparation_of(tmp_path, tmp_path / "flow.json").recipe_of)
        assert find.of(Item(key="k", status=Status.PENDING)).loras == ("x.safetensors",)

    def test_an_item_that_cannot_be_made_needs_nothing(self, find: ModelsOfItems) -> None:
        assert find.of(Item(key="k", status=Status.PENDING, recipe="gone")) == Models()


def keys(items: Sequence[Item]) -> list[str]:
    return [item.key for item in items]


class Scene:
    """One burst after another over a batch, on servers without a network."""

    def __init__(self, folder: Path, *items: Item, servers: int = 1) -> None:
        clock = HandClock()
        fakes = [FakeServer(f"http://gpu{at}:8188", clock, lambda _: 1.0) for at in range(servers)]
        self.simulation = Simulation(folder, clock, fakes, items=0, models_of=models_of)
        self.simulation.store.add(items)

    def sent(self, server: int = 0) -> list[str]:
        """In the order in which the server renders them."""
        return [prompt.item for prompt in self.simulation.servers[server].accepted.values()]

    def loads(self, server: int = 0) -> list[str]:
        return [model for model, _ in itertools.groupby(key[2] for key in self.sent(server))]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Callable[..., Scene]]:
    made: list[Scene] = []

    def make(*items: Item, servers: int = 1) -> Scene:
        made.append(Scene(tmp_path, *items, servers=servers))
        return made[-1]

    yield make
    for one in made:
        one.simulation.close()


def crossed(*models: str, count: int = 3) -> list[Item]:
    """`p1A p1B p2A p2B …`: as somebody may add them who does not think of models."""
    return [item(f"p{number}{model}") for number in range(1, count + 1) for model in models]


def test_a_burst_that_takes_all_groups_them(scene: Callable[..., Scene]) -> None:
    one = scene(*crossed("A", "B"))
    one.simulation.burst(6)
    assert one.sent() == ["p1A", "p2A", "p3A", "p1B", "p2B", "p3B"]


def test_from_burst_to_burst_what_is_loaded_comes_first(scene: Callable[..., Scene]) -> None:
    one = scene(*crossed("A", "B", count=6))
    for _ in range(6):
        one.simulation.burst(2)
    assert one.loads() == ["A", "B", "A"], "the first burst takes both; from then on B until none is left"


def test_priorities_and_ranks_come_before_models(scene: Callable[..., Scene]) -> None:
    one = scene(
        *(item("p1A"), item("p1B"), item("p2B", priority="high"), item("p2A")),
        *(item("p3A", priority="high"), item("p4B", rank=-1.0), item("p5A", rank=1.0)),
    )
    one.simulation.burst(7)
    assert one.sent() == ["p2B", "p3A", "p4B", "p1B", "p1A", "p2A", "p5A"]


def test_a_retried_item_goes_behind_what_needs_no_loading(scene: Callable[..., Scene]) -> None:
    one = scene(*[item(f"p{number}{model}") for model in "AB" for number in range(1, 5)])
    one.simulation.servers[0].sickness = lambda prompt: "ValueError: no" if prompt.item == "p1A" else None
    one.simulation.burst(5)
    one.simulation.servers[0].sickness = lambda prompt: None
    for _ in range(3):
        one.simulation.burst(2)
    assert one.simulation.store.counts()[Status.COMPLETED] == 8
    assert one.loads() == ["A", "B", "A"]
    assert one.sent()[-1] == "p1A"


def test_another_batch_that_is_added_later_comes_after_and_waits_no_longer(scene: Callable[..., Scene]) -> None:
    """Although it needs what is loaded; and the first batch does not wait for it."""
    one = scene(item("p1A"), item("p2B"))
    one.simulation.burst(1)
    one.simulation.store.add([item(f"q{number}A", batch="later") for number in range(3)])
    for _ in range(4):
        one.simulation.burst(1)
    assert one.sent() == ["p1A", "p2B", "q0A", "q1A", "q2A"]


def test_items_of_no_batch_stay_in_their_order(scene: Callable[..., Scene]) -> None:
    one = scene(*[item(key, batch=None) for key in ("p1A", "p1B", "p2A", "p2B")])
    one.simulation.burst(4)
    assert one.sent() == ["p1A", "p1B", "p2A", "p2B"]


def test_each_of_several_servers_loads_each_model_once_at_most(scene: Callable[..., Scene]) -> None:
    one = scene(*crossed("A", "B", "C", count=9), servers=2)
    one.simulation.burst(27)
    assert one.simulation.store.counts()[Status.COMPLETED] == 27
    for server in range(2):
        assert len(one.loads(server)) == len(set(one.loads(server))) <= 3


def batches_in_turn(count: int) -> list[Item]:
    """One item a batch, which needs A, A, B and B in turn: each of two servers would get A and B in turn."""
    return [item(f"{number:02}{'AABB'[number % 4]}", batch=f"b{number:02}") for number in range(count)]


def test_two_servers_share_batches_by_what_they_have_loaded(scene: Callable[..., Scene]) -> None:
    """In the order of their addition almost every second item would need another model."""
    one = scene(*batches_in_turn(80), servers=2)
    one.simulation.burst(80)
    assert one.simulation.store.counts()[Status.COMPLETED] == 80
    assert len(one.loads(0)) + len(one.loads(1)) <= 12


def test_what_needs_another_model_is_passed_over_by_so_many_and_no_more(scene: Callable[..., Scene]) -> None:
    """However much needs what is loaded, the oldest waits for no more than that on each server."""
    one = scene(*[item(f"{number:02}A", batch=f"b{number:02}") for number in range(4)], servers=2)
    one.simulation.burst(4)
    one.simulation.store.add([item("50B", batch="c50")])
    one.simulation.store.add([item(f"{number}A", batch=f"d{number}") for number in range(51, 99)])
    one.simulation.burst(49)
    sent = [one.sent(server) for server in range(2)]
    (ahead,) = [keys.index("50B") - sum(key < "50" for key in keys) for keys in sent if "50B" in keys]
    assert 0 < ahead <= 16


def test_runs_of_one_database_share_batches_by_what_their_servers_have_loaded(tmp_path: Path) -> None:
    """Two runs with a server each, which take an item in turn and end it."""
    address = f"sqlite:///{tmp_path}/state.db"
    servers: tuple[list[str], list[str]] = ([], [])
    with open_store(address, create=True) as one, open_store(address) as other:
        one.add(batches_in_turn(80))
        with one.lease() as first, other.lease() as second:
            runs = [(lease, LoadedModels(store, lease, models_of)) for store, lease in ((one, first), (other, second))]
            for turn in range(80):
                (lease, loaded), rendered = runs[turn % 2], servers[turn % 2]
                (item,) = loaded.chosen(
                    loaded,
                    lease.claim(1),
                    batch=None,
                    skip=frozenset(),
                    without=frozenset(),
                    accept=lambda item: True,
                    is_shared=True,
                )
                loaded.sent(loaded, [item])
                rendered.append(item.key)
    assert sorted(servers[0] + servers[1]) == [item.key for item in batches_in_turn(80)], "each once"
    loads = [model for keys in servers for model, _ in itertools.groupby(key[2] for key in keys)]
    assert len(loads) <= 12


def test_no_priority_or_rank_waits_for_what_is_loaded(scene: Callable[..., Scene]) -> None:
    one = scene(*[item(f"{number:02}A", batch=f"b{number:02}") for number in range(4)], servers=2)
    one.simulation.burst(4)
    one.simulation.store.add([item(f"{number}A", batch=f"d{number}") for number in range(52, 60)])
    first = [item("90B", batch="c", priority="high"), item("91B", batch="d", rank=-1.0)]
    one.simulation.store.add(first)
    one.simulation.burst(10)
    for server in range(2):
        later = [key for key in one.sent(server) if key > "50"]
        assert sorted(later, key=lambda key: key < "90") == later


def test_what_an_earlier_burst_left_on_the_server_tells_what_is_loaded(tmp_path: Path) -> None:
    clock = HandClock()
    server = FakeServer("http://gpu:8188", clock, lambda _: 10.0)
    first = Simulation(tmp_path, clock, [server], items=0, models_of=models_of)
    first.store.add([item("p1B", priority="high"), item("p1A"), item("p2B")])
    first.work.begin(1)
    first.workers[0].step()
    first.close()
    second = Simulation(tmp_path, clock, [server], items=0, models_of=models_of)
    second.burst(3)
    second.close()
    assert [prompt.item for prompt in server.accepted.values()] == ["p1B", "p2B", "p1A"]


class TestASandboxThatChargesLoading:
    @pytest.fixture(autouse=True)
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        for name in ("COMFYUI_URL", "COMFYUI_HEADERS", "BURST_STATE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.chdir(tmp_path)
        (tmp_path / "flow.json").write_text(json.dumps(small_template()))
        (tmp_path / "prompts.txt").write_text("one\ntwo\nthree\n")
        return tmp_path

    def generate(self, server: str, *more: str) -> None:
        arguments = ["generate", "--prompts-file", "prompts.txt", "--template", "flow.json", "--server", server, *more]
        result = CliRunner().invoke(cli, arguments)
        assert result.exit_code == 0, result.output

    def test_a_sweep_over_checkpoints_loads_each_once_and_keeps_its_numbers(self, home: Path) -> None:
        with Sandbox(SandboxSettings(load_seconds=0.05)) as sandbox:
            self.generate(sandbox.url, "--sweep", f"model={SD15},{SDXL}", "--size", "64x64", "--seed", "5")
            counts = sandbox.counts()
        assert counts["loads"] == [SD15, SDXL]
        assert counts["busy_seconds"] >= 0.1
        with open_store(home / "re_render_state.json", read_only=True) as store:
            items = sorted(store.items(), key=lambda one: one.index or 0)
        planned = [(one.index, one.prompt_text, one.inputs["model"]) for one in items]
        assert planned == [
            (3 * 0 + 1, "one", SD15),
            (2, "one", SDXL),
            (3, "two", SD15),
            (4, "two", SDXL),
            (5, "three", SD15),
            (6, "three", SDXL),
        ]
        assert [Path(one.outputs[0].path).name for one in items] == [f"image_{number:03}.png" for number in range(1, 7)]

    def test_bursts_of_one_item_each_load_each_model_once(self, home: Path) -> None:
        """Killed or not: the order is the store's, and needs nothing that a process remembers."""
        with Sandbox() as sandbox:
            self.generate(sandbox.url, "--queue-only", "--sweep", f"model={SD15},{SDXL}", "--size", "64x64")
            for _ in range(6):
                assert run_burst(home / "re_render_state.json", size=1).completed == 1
            assert sandbox.counts()["loads"] == [SD15, SDXL]

    def test_a_restarted_sandbox_has_nothing_loaded(self) -> None:
        with Sandbox() as sandbox:
            self.generate(sandbox.url, "--size", "64x64")
            sandbox.restart()
            self.generate(sandbox.url, "--size", "64x64", "--again")
            assert sandbox.counts()["loads"] == ["tiny-random.safetensors"] * 2
