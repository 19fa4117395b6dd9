"""LoRAs named within a prompt: what they become, which file they are, what is refused, what stays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from batches.test_dynamic_generate import items_of, made
from batches.test_planning import plan
from batches.test_report_html import cells, page
from hypothesis import given
from hypothesis import strategies as st
from support.report_project import Album

from orchestrator.batches.lora_tags import LoraTags
from orchestrator.batches.model_files import matching
from orchestrator.batches.prompt_entry import PromptEntry
from orchestrator.batches.sidecars import read_sidecar
from orchestrator.comfyui import ComfyUI
from orchestrator.cycle.request import Request
from orchestrator.cycle.run import Run
from orchestrator.errors import UsageError
from orchestrator.init_state import init_state
from orchestrator.sandbox import Sandbox, SandboxSettings
from orchestrator.settings import Overrides

LORAS = ("tiny-lora.safetensors", "sdxl/Style.safetensors", "sd15/pose.pt", "other/pose.safetensors")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings(loras=LORAS)) as running:
        yield running


def loras(home: Path, prompt: str, **said: Any) -> tuple[str | None, Any]:
    (item,) = plan(home, prompt=prompt, **said).items
    return item.prompt_text, item.inputs.get("lora")


def refusal(home: Path, **said: Any) -> str:
    with pytest.raises(UsageError) as caught:
        plan(home, **said)
    return str(caught.value)


# What they become


@pytest.mark.parametrize(
    ("prompt", "text", "lora"),
    [
        ("a fox <lora:style:0.8>", "a fox", "style.safetensors:0.8"),
        ("a <lora:style>, fox", "a , fox", "style.safetensors:1"),
        ("<LORA:a.pt:-.5> fox <lyco:b:1:1>", "fox", ["a.pt:-.5", "b.safetensors:1"]),
        ("fox<lora:a:te=0.5:unet=0.5>", "fox", "a.safetensors:0.5"),
        (r"fox \<lora:a:1>", "fox <lora:a:1>", None),
        ("(fox:1.2) <3 <b> <break> [a|b] <lora>", "(fox:1.2) <3 <b> <break> [a|b] <lora>", None),
    ],
)
def test_a_tag_leaves_the_text_and_is_a_lora(tmp_path: Path, prompt: str, text: str, lora: Any) -> None:
    assert loras(tmp_path, prompt) == (text, lora)


def test_they_come_behind_those_of_the_flags_and_of_the_row(tmp_path: Path) -> None:
    assert loras(tmp_path, "x <lora:b:1>", loras=("a",)) == ("x", ["a", "b.safetensors:1"])
    (tmp_path / "a.csv").write_text("prompt,lora\nx <lora:b:1>,c:2\n")
    (item,) = plan(tmp_path, prompt=None, csv=str(tmp_path / "a.csv"), loras=("a",)).items
    assert item.inputs["lora"] == ["c:2", "b.safetensors:1"]


def test_they_are_spliced_in_as_lora_does(tmp_path: Path) -> None:
    tagged = plan(tmp_path, prompt="a fox <lora:a:0.8><lora:b:1>", seed=1)
    flagged = plan(tmp_path, prompt="a fox", loras=("a.safetensors:0.8", "b.safetensors:1"), seed=1)
    assert tagged.first_graph == flagged.first_graph
    assert tagged.items[0].dynamic == {"texts": {"prompt": "a fox <lora:a:0.8><lora:b:1>"}}


def test_they_may_be_chosen_and_swept(tmp_path: Path) -> None:
    said: dict[str, Any] = {"prompt": "a fox {<lora:a:1>|<lora:b:1>}", "dynamic": True, "count": 20, "seed": 1}
    assert {item.inputs["lora"] for item in plan(tmp_path, **said).items} == {"a.safetensors:1", "b.safetensors:1"}
    sweeps = {"{style}": ("<lora:a:1>", "<lora:b:0.5>")}
    items = plan(tmp_path, prompt="a fox {style}", sweeps=sweeps).items
    assert [item.inputs["lora"] for item in items] == ["a.safetensors:1", "b.safetensors:0.5"]
    assert items[1].dynamic == {"texts": {"prompt": "a fox {style}"}, "axes": {"{style}": "<lora:b:0.5>"}}


def test_a_swept_lora_stays_an_axis_of_the_page(tmp_path: Path) -> None:
    album = Album(tmp_path)
    planned = plan(tmp_path, prompt="a fox <lora:x:1>", sweeps={"lora": ("a", "b")}, seed=1)
    assert [item.inputs["lora"] for item in planned.items] == [["a", "x.safetensors:1"], ["b", "x.safetensors:1"]]
    album.store.add(planned.items, batch=planned.record)
    (table,) = page(album, planned.record.batch).tables
    assert cells([["", *table[0]], ["", *table[1]]]) == [["1", "2"]]


def test_literal_text_keeps_them(tmp_path: Path) -> None:
    assert loras(tmp_path, "a fox <lora:style:0.8>", literal=True) == ("a fox <lora:style:0.8>", None)
    (item,) = plan(tmp_path, prompt="x", negative="<lora:a:1>", literal=True).items
    assert item.inputs["negative"] == "<lora:a:1>"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"prompt": "a fox <lora:a:0.8"}, "prompt, column 7: '<lora:a:0.8' is not closed"),
        (
            {"prompt": "a\nfox <lora:a:b>"},
            "prompt, line 2 of the text, column 5: '<lora:a:b>': the strength is a number",
        ),
        ({"prompt": "x <lora:a:1e9>"}, "the strength is a number from -100 to 100; '1e9' is not"),
        ({"prompt": "x <lora:a:101>"}, "'101' is not"),
        ({"prompt": "x <lora::1>"}, "'<lora::1>' names no LoRA"),
        ({"prompt": "x <lora:a:1:0.5>"}, "text encoder and model have one strength here"),
        ({"prompt": "x <lora:a:1:lbw=OUTD>"}, "only NAME and STRENGTH are taken"),
        ({"prompt": "x <lora:a:1:1:4>"}, "only NAME and STRENGTH are taken"),
        ({"prompt": "x <hypernet:a:1>"}, "hypernetworks are not loaded from a text"),
        ({"prompt": "x", "negative": "y <lora:a:1>"}, "'<lora:a:1>' is in the negative prompt, where it loads nothing"),
        ({"prompt": "<lora:a:1>"}, "the prompt is empty"),
        ({"prompt": "x <lora:a:1>", "template": "smoke"}, "cannot add the LoRA 'a.safetensors'"),
        ({"prompt": "x <lora:a:1>", "sets": {"lora_strength": 0.5}}, "'lora_strength' applies only to"),
    ],
)
def test_what_is_refused(tmp_path: Path, said: dict[str, Any], words: str) -> None:
    assert words in refusal(tmp_path, **said)


def test_a_fault_in_a_list_is_at_its_line_and_column(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text('a fox\n  a <lora:a:x>\n--prompt "a <lora:a:y>"\n')
    assert refusal(tmp_path, prompt=None, prompts_file=str(tmp_path / "a.txt")).startswith(
        f"{tmp_path}/a.txt line 2, column 5: '<lora:a:x>'"
    )
    (tmp_path / "a.txt").write_text('a fox\n--prompt "a <lora:a:y>"\n')
    assert f"{tmp_path}/a.txt line 2, column 13: '<lora:a:y>'" in refusal(
        tmp_path, prompt=None, prompts_file=str(tmp_path / "a.txt")
    )


@given(
    st.lists(
        st.sampled_from(["a fox", "<lora:a:0.5>", "<lora:b>", "\\", "<", ">", "<lora:", "<3", "{", ":", " "]),
        max_size=8,
    )
)
def test_a_text_is_taken_literally_or_is_a_lora_and_never_both(parts: list[str]) -> None:
    text = "".join(parts)
    entry = PromptEntry(text, {}, "prompt")
    try:
        found = LoraTags(lambda name, place: name).read(text, {}, entry)
    except UsageError:
        return
    if found is None:
        assert "<lora:" not in text
        return
    assert "<lora:" not in found.text.replace("<lora:", "", text.count("\\<lora:")), "but what was escaped"
    assert len(found.loras) + text.count("\\<lora:") == text.count("<lora:")


# Which file


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("tiny-lora", ["tiny-lora.safetensors"]),
        ("tiny-lora.safetensors", ["tiny-lora.safetensors"]),
        ("style", ["sdxl/Style.safetensors"]),
        ("SDXL\\Style", ["sdxl/Style.safetensors"]),
        ("pose", ["sd15/pose.pt", "other/pose.safetensors"]),
        ("sd15/pose", ["sd15/pose.pt"]),
        ("tiny", []),
    ],
)
def test_the_file_of_a_name(said: str, found: list[str]) -> None:
    assert matching(said, LORAS) == found


def test_servers_are_asked_for_it(tmp_path: Path, sandbox: Sandbox) -> None:
    with ExitStack() as held:
        said: dict[str, Any] = {"servers": [held.enter_context(ComfyUI(sandbox.url))]}
        assert loras(tmp_path, "x <lora:style:1>", **said)[1] == "sdxl/Style.safetensors:1"
        assert "prompt, column 3: no server has the LoRA 'tiny-lorra'; did you mean 'tiny-lora'?" in refusal(
            tmp_path, prompt="x <lora:tiny-lorra:1>", **said
        )
        assert "'pose' is more than one LoRA; write one of sd15/pose.pt, other/pose.safetensors" in refusal(
            tmp_path, prompt="x <lora:pose:1>", **said
        )
        (tmp_path / "a.txt").write_text(
            "--prompt x --sd_model 'sd_xl_base_1.0 [6ce0161689]'\n--prompt y --sd_model none\n"
        )
        words = refusal(tmp_path, prompt=None, prompts_file=str(tmp_path / "a.txt"), **said)
        assert "a.txt line 2: no server has the checkpoint 'none'" in words
        (tmp_path / "a.txt").write_text("x\nSteps: 20, Seed: 1, Model: sd_xl_base_1.0\n")
        (item,) = plan(tmp_path, prompt=None, prompts_file=str(tmp_path / "a.txt"), **said).items
        assert item.inputs["model"] == "sd_xl_base_1.0.safetensors"


# Rendered


def test_the_sidecar_says_what_was_written_and_makes_it_again(tmp_path: Path, sandbox: Sandbox) -> None:
    made(tmp_path, sandbox, prompt="a fox <lora:style:0.8>", size=(64, 64))
    (item,) = items_of(tmp_path)
    inputs, facts = read_sidecar(tmp_path / "out" / str(item.sidecar))
    assert (inputs["prompt"], inputs["lora"]) == ("a fox", "sdxl/Style.safetensors:0.8")
    assert facts["dynamic"] == {"texts": {"prompt": "a fox <lora:style:0.8>"}}
    made(tmp_path, sandbox, from_file=str(tmp_path / "out" / str(item.sidecar)))
    again = items_of(tmp_path)[-1]
    assert (again.prompt_text, again.inputs["lora"]) == (item.prompt_text, item.inputs["lora"])
    made(tmp_path, sandbox, prompt="a cat <lora:style:0.8>", literal=True, size=(64, 64), name="literal")
    literal = items_of(tmp_path)[-1]
    made(tmp_path, from_file=str(tmp_path / "out" / str(literal.sidecar)))
    assert items_of(tmp_path)[-1].prompt_text == "a cat <lora:style:0.8>", "sent as it was then"


def test_init_and_run_note_prompt_files_that_name_loras(tmp_path: Path, sandbox: Sandbox) -> None:
    (tmp_path / "prompts").mkdir()
    for name, text in (("a", "a <lora:x:1>"), ("b", "a fox <3"), ("c", r"\<lora:x:1>")):
        (tmp_path / "prompts" / f"{name}.txt").write_text(text)
    overrides = Overrides(template="smoke", output_dir=tmp_path / "out", servers=(sandbox.url,))
    (note,) = init_state(tmp_path / "state.json", [tmp_path / "prompts"], overrides=overrides).notes
    assert note.startswith("1 prompt names LoRAs")
    ran = Run(Request(state=tmp_path / "state.json", size=10)).execute()
    assert [one for one in ran.notes if "LoRA" in one] == [note]
