"""Names that a server does not know, with those that may have been meant."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.preparing import preparation_of

from orchestrator.batches.name_check import unknown_names
from orchestrator.batches.suggestions import advice, near_matches
from orchestrator.comfyui import ComfyUI
from orchestrator.errors import ServerBusy, ServerUnreachable
from orchestrator.sandbox import Sandbox, SandboxSettings
from state.item import Item, Status
from templates import Graph, load_workflow

XL, TURBO, SD15 = "SDXL/sd_xl_base_1.0.safetensors", "SDXL/sd_xl_turbo.safetensors", "v1-5-pruned.safetensors"
LORAS = ("pixel-art.safetensors", "watercolour.safetensors")
SDXL = load_workflow("txt2img-sdxl").graph


@pytest.fixture(scope="module")
def stocked() -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings(checkpoints=(XL, TURBO, SD15), loras=LORAS)) as running:
        yield running


@pytest.fixture(scope="module")
def other() -> Iterator[Sandbox]:
    """The template's own model under its plain name, and no LoRA."""
    with Sandbox(SandboxSettings(checkpoints=("sd_xl_base_1.0.safetensors",), loras=())) as running:
        yield running


Make = Callable[..., Graph]


@pytest.fixture
def made(tmp_path: Path) -> Make:
    """The graph of an item with these inputs; its model is there unless they say another."""
    prompts = preparation_of(tmp_path, "txt2img-sdxl")

    def make(**inputs: Any) -> Graph:
        item = Item(key="a", status=Status.PENDING, prompt_text="a cat", inputs={"model": XL} | inputs)
        return prompts.prepare(item).graph

    return make


def client(sandbox: Sandbox) -> ComfyUI:
    return ComfyUI(sandbox.url, retry_seconds=0)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, None),
        ({"model": SD15, "lora": LORAS[0], "sampler": "dpmpp_2m", "scheduler": "karras", "steps": 3}, None),
        ({"model": "sd_xl_base.safetensors"}, f'checkpoint "sd_xl_base.safetensors" is not there; did you mean {XL!r}'),
        ({"model": "sdxl"}, f'checkpoint "sdxl" is not there; did you mean {XL!r} or {TURBO!r}?'),
        ({"model": "flux"}, f'checkpoint "flux" is not there; there are: {XL}, {TURBO}, {SD15}'),
        ({"lora": "pixel_art"}, "LoRA \"pixel_art\" is not there; did you mean 'pixel-art.safetensors'?"),
        ({"lora": [LORAS[1], "pixelart:0.5"]}, 'LoRA "pixelart" is not there; did you mean'),
        ({"sampler": "Euler Ancestral"}, 'KSampler has no sampler_name "Euler Ancestral"; did you mean \'euler_ancest'),
        ({"scheduler": "karas"}, "KSampler has no scheduler \"karas\"; did you mean 'karras'?"),
    ],
)
def test_one_server(stocked: Sandbox, made: Make, inputs: dict[str, Any], said: str | None) -> None:
    found = list(unknown_names([client(stocked)], [made(**inputs)]))
    assert len(found) == (said is not None)
    assert said is None or found[0].startswith(f"{stocked.url}: {said}")


def test_every_unknown_name_is_said_once(stocked: Sandbox, made: Make) -> None:
    graphs = [
        made(model=model, sampler=sampler, seed=seed)
        for model in (XL, "gone.pt")
        for sampler in ("euler", "eular")
        for seed in range(5)
    ]
    said = [re.sub(r'^.*?"(.*?)".*$', r"\1", message) for message in unknown_names([client(stocked)], graphs)]
    assert sorted(said) == ["eular", "gone.pt"]


def test_any_number_of_graphs_costs_a_question_for_each_class(stocked: Sandbox, made: Make) -> None:
    def asked() -> int:
        return sum(count for path, count in stocked.counts()["requests"].items() if "object_info" in path)

    before = asked()
    assert unknown_names([client(stocked)], (made(seed=seed, cfg=seed / 10) for seed in range(300))) == {}
    assert asked() - before == len({node["class_type"] for node in SDXL.values()})


def test_a_class_that_is_not_there(made: Make) -> None:
    with Sandbox(SandboxSettings(checkpoints=(XL,), missing_nodes=("KSampler",))) as sandbox:
        assert list(unknown_names([client(sandbox)], [made()])) == [
            f'{sandbox.url}: node class "KSampler" is not there; install its custom node there'
        ]


def test_a_server_that_has_nothing_says_so(made: Make) -> None:
    with Sandbox(SandboxSettings(checkpoints=())) as sandbox:
        assert list(unknown_names([client(sandbox)], [made()])) == [
            f'{sandbox.url}: checkpoint "{XL}" is not there; there are: none'
        ]


def test_of_several_servers_one_is_enough_for_each_graph(stocked: Sandbox, other: Sandbox, made: Make) -> None:
    plain, with_lora = made(model="sd_xl_base_1.0.safetensors"), made(lora=LORAS[0])
    both = [client(stocked), client(other)]
    assert unknown_names(both, [plain, with_lora]) == {}
    assert len(unknown_names(both[:1], [plain, with_lora])) == 1
    assert len(unknown_names(both[1:], [plain, with_lora])) == 2
    # The model is on the one, the LoRA on the other: none can run it.
    torn = made(model="sd_xl_base_1.0.safetensors", lora=LORAS[0])
    said = unknown_names(both, [plain, torn])
    assert [message.partition(" is not there")[0] for message in said] == [
        f'{stocked.url}: checkpoint "sd_xl_base_1.0.safetensors"',
        f'{other.url}: LoRA "{LORAS[0]}"',
    ]


def test_a_server_that_does_not_answer_is_no_verdict(stocked: Sandbox, made: Make) -> None:
    stocked.change(unavailable_next=1)
    with pytest.raises(ServerBusy):
        unknown_names([client(stocked)], [made(model="gone.pt")])
    with Sandbox() as gone:
        address = client(gone)
    with pytest.raises(ServerUnreachable):
        unknown_names([client(stocked), address], [made(model="gone.pt")])
    assert unknown_names([client(stocked), address], [made()]) == {}


@pytest.mark.parametrize(
    ("wanted", "known", "near"),
    [
        ("eular", ["euler", "euler_ancestral", "heun"], ["euler"]),
        ("EULAR", ["euler", "heun"], ["euler"]),
        ("a.pt", ["x\\y\\A.pt", "b/c.safetensors"], ["x\\y\\A.pt"]),
        (
            "xl",
            [f"xl-{number:02}-long.safetensors" for number in range(9)],
            [f"xl-0{n}-long.safetensors" for n in range(3)],
        ),
        ("base.pt", ["one/base.pt", "two/base.pt"], ["one/base.pt", "two/base.pt"]),
        ("", ["a", "b"], []),
        ("...", ["a.b", "c.d"], []),
        ("a", [], []),
    ],
)
def test_near_matches(wanted: str, known: list[str], near: list[str]) -> None:
    assert near_matches(wanted, known) == near


def test_without_near_matches_the_first_are_listed() -> None:
    assert advice("zzz", (f"m{number}" for number in range(10))).endswith("m0, m1, m2, m3, m4, m5, m6, m7, and 2 more")
    assert advice("zzz", ["b", "a"]) == "there are: a, b"
