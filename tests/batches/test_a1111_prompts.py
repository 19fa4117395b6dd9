"""AUTOMATIC1111's lines of options and `parameters` texts, in lists and images; files of other formats are refused."""

from __future__ import annotations

import io
import json
import shlex
import zipfile
from pathlib import Path
from typing import Any

import pytest
from batches.test_dynamic_generate import items_of, made
from batches.test_planning import plan
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from orchestrator.batches.a1111_lines import LineFault, are_plain, read_line, words_of
from orchestrator.batches.a1111_names import sampler_inputs
from orchestrator.batches.a1111_parameters import read_parameters
from orchestrator.batches.foreign_formats import looks_like_parameters
from orchestrator.batches.prompt_entry import PromptEntry
from orchestrator.batches.vocabulary import Vocabulary
from orchestrator.errors import UsageError
from state.item import Item
from templates import find_bindings, load_workflow

DOCUMENTED = """--prompt "photo of sunset"
--prompt "photo of sunset" --negative_prompt "orange, pink, lake" --width 1024 --height 768 \
--sampler_name "DPM++ 2M Karras" --steps 10 --batch_size 2 --cfg_scale 3 --seed 9
--prompt "photo of winter mountains" --steps 7 --sampler_name "DDIM"
--prompt "photo of winter mountains" --width 1024
"""
"""From "Prompts from file or textbox" of the web UI's wiki, page Features."""
PARAMETERS = """girl with an artist's beret, ((eyeshadow)), (coquettish:1.2),
detailed
Negative prompt: ugly, fat, (((deformed))), [blurry]
Steps: 20, Sampler: DPM++ 2M SDE, Schedule type: Karras, CFG scale: 7.5, Seed: 965400086, Size: 512x768, \
Model hash: 45dee52b, Model: dream_8, Clip skip: 2, Lora hashes: "a: 1, b: 2", Version: v1.10.1
"""


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    graph = load_workflow("txt2img-sd15", relative_to=Path()).graph
    return Vocabulary(graph, find_bindings(graph))


def items(home: Path, text: str | bytes, *, name: str = "ideas.txt", **said: Any) -> tuple[Item, ...]:
    (home / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return plan(home, prompt=None, prompts_file=str(home / name), **said).items


def refusal(home: Path, text: str | bytes, *, name: str = "ideas.txt", **said: Any) -> str:
    with pytest.raises(UsageError) as caught:
        items(home, text, name=name, **said)
    return str(caught.value).removeprefix(f"{home}/")


def image(text: str, *, name: str = "parameters") -> bytes:
    info, stream = PngInfo(), io.BytesIO()
    info.add_text(name, text)
    Image.new("RGB", (8, 8)).save(stream, format="PNG", pnginfo=info)
    return stream.getvalue()


# Lines of options


def test_the_documented_lines_mean_what_they_say(tmp_path: Path) -> None:
    first, second, third, fourth = items(tmp_path, DOCUMENTED, seed=1)
    assert (first.prompt_text, dict(first.inputs)) == ("photo of sunset", {"seed": 1})
    assert dict(second.inputs) == {
        "negative": "orange, pink, lake",
        "width": 1024,
        "height": 768,
        "sampler": "dpmpp_2m",
        "scheduler": "karras",
        "steps": 10,
        "batch_size": 2,
        "cfg": 3,
        "seed": 9,
    }
    assert dict(third.inputs) == {"seed": 1, "steps": 7, "sampler": "ddim"}
    assert (fourth.prompt_text, fourth.inputs["width"]) == ("photo of winter mountains", 1024)


@pytest.mark.parametrize(
    ("line", "prompt", "inputs"),
    [
        ("--prompt a cat on a mat --steps 7", "a cat on a mat", {"steps": 7}),
        (r'--prompt "(fox \(style\):1.2), \"a\" [b|c]"', r'(fox \(style\):1.2), "a" [b|c]', {}),
        ("--prompt 'it is --steps 9' --steps 7", "it is --steps 9", {"steps": 7}),
        ("--prompt x --negative_prompt y z --seed -1", "x", {"negative": "y z"}),
        ("--prompt x --restore_faces false --do_not_save_grid true --n_iter 1 --subseed_strength 0", "x", {}),
        ("--prompt x --sd_model 'dream_8.safetensors [6ce0161689]'", "x", {"model": "dream_8.safetensors"}),
        ("--prompt x --sampler_name euler --scheduler beta", "x", {"sampler": "euler", "scheduler": "beta"}),
        ("--prompt x --size 512x768 --lora a:0.5 --3.denoise 0.5", "x", {"width": 512, "height": 768, "lora": "a:0.5"}),
        ("-- a fox, -b --- c", "-- a fox, -b --- c", {}),
        ("a fox -- running", "a fox -- running", {}),
    ],
)
def test_what_a_line_says(tmp_path: Path, line: str, prompt: str, inputs: dict[str, Any]) -> None:
    (item,) = items(tmp_path, line, seed=1)
    assert (item.prompt_text, {name: item.inputs[name] for name in inputs}) == (prompt, inputs)
    assert set(item.inputs) - set(inputs) <= {"seed", "denoise"}


def test_literal_lines_are_no_options(tmp_path: Path) -> None:
    text = "--prompt a --steps 7\nNegative prompt: x\n- a\n---\nprompt,negative\na --ar 16:9"
    assert [item.prompt_text for item in items(tmp_path, text, literal=True)] == text.split("\n")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('  --prompt "a fox --steps 7', 'ideas.txt line 2, column 12: this " is not closed'),
        ("--prompt a cat's eye", "ideas.txt line 2, column 15: this ' is not closed"),
        ("--prompt a\\", r"line 2, column 11: nothing follows this \;"),
        ("--prompt x --stepz 7", "line 2, column 12, --stepz: no such option; did you mean '--steps'"),
        ("--prompt x --frobnicate 7", "line 2, column 12, --frobnicate: no such option; there are: "),
        ("--prompt x --steps", "line 2, column 12: --steps has no value"),
        ("--prompt --steps 7", "line 2, column 1: --prompt has no value"),
        ("--steps 7", "line 2, column 1: there is no --prompt in this line"),
        ("--prompt x --steps 7 8", "line 2, column 22: '8' belongs to no option"),
        ("--prompt x --steps seven", "line 2, column 12, --steps: steps is a whole number"),
        ("--prompt x --width 500", "line 2, column 12, --width: width 500 is not a multiple of 8"),
        ("--prompt x --steps 7 --steps 8", "line 2, column 22: --steps sets steps, which --steps has set"),
        ("--prompt x --width 8 --size 8x8", "line 2, column 22: --size sets width, which --width has set"),
        ("--prompt x --sampler_name Restart", "no sampler of ComfyUI is known for 'Restart'"),
        ("--prompt x --tiling true", "--tiling: there is nothing like it here; false is taken, or leave it out"),
        ("--prompt x --subseed_strength 0.5", "--subseed_strength: there is nothing like it here"),
        ("--prompt x --n_iter 0", "line 2, column 12, --n_iter: a line has from 1 to 999 images; '0' is not"),
        ("--prompt x --styles photo", "--styles: it is not taken in a list; write the style's text"),
        ("--prompt x --sampler_index 3", "name the sampler with --sampler_name"),
        ("--prompt x --guidance 3", "--guidance"),
        ("a fox --ar 16:9", "line 2, column 7: --ar looks like an option within a text; begin the line with --prompt"),
        ("a fox --steps 7", "line 2, column 7: --steps looks like an option"),
        ("a fox -s20 -W512", "line 2, column 7: '-s20' looks like an option of InvokeAI"),
        ('\u2014prompt "a fox"', "line 2, column 1: '\u2014prompt' begins with a dash that a word processor made"),
        ("---", "line 2, column 1: '---' parts or heads blocks of prompts, as for ComfyUI's Inspire Pack"),
        ("positive: a fox", "line 2, column 1: 'positive:' parts or heads"),
        ("Prompt 2: a fox", "'Prompt 2:' parts or heads"),
        ("/imagine prompt: a fox", "a command of Midjourney"),
    ],
)
def test_a_fault_is_refused_at_its_line_and_column(tmp_path: Path, line: str, words: str) -> None:
    assert words in refusal(tmp_path, f"# a list\n{line}\na cat\n")


@given(st.text(alphabet=" \t\"'\\a-é{|}", max_size=30))
@example("a\"b c\"'d e'f")
def test_words_are_those_of_a_shell(line: str) -> None:
    try:
        expected: list[str] | None = shlex.split(line)
    except ValueError:
        expected = None
    place = 0
    try:
        found: list[str] | None = [word.text for word in words_of(line)]
    except LineFault as fault:
        found, place = None, fault.at
    assert found == expected
    assert 0 <= place <= len(line)


@given(
    st.text(alphabet=st.characters(exclude_characters="\0\r\n", exclude_categories=("Cs",)), min_size=1).filter(
        lambda text: text.strip() and not looks_like_parameters(text.strip())
    )
)
def test_a_text_is_taken_literally_or_means_what_the_format_says(vocabulary: Vocabulary, text: str) -> None:
    text = text.strip()
    plain = PromptEntry(text, {}, "ideas.txt line 1")
    try:
        found = read_line(plain, vocabulary)
    except UsageError:
        assert not are_plain(text)
    else:
        assert found == plain or not are_plain(text)
        assert found == plain or text.startswith("--"), "sent as it is written, whole"
    quoted = read_line(PromptEntry(f"--prompt {shlex.quote(text)} --steps 7", {}, "ideas.txt line 1"), vocabulary)
    assert (quoted.prompt, dict(quoted.inputs)) == (text, {"steps": 7})


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Euler a", {"sampler": "euler_ancestral"}),
        ("DPM++ 2M SDE Heun Exponential", {"sampler": "dpmpp_2m_sde_heun", "scheduler": "exponential"}),
        ("dpm++ 3m sde karras", {"sampler": "dpmpp_3m_sde", "scheduler": "karras"}),
        ("UniPC", {"sampler": "uni_pc"}),
        ("res_multistep", {"sampler": "res_multistep"}),
    ],
)
def test_samplers_by_the_web_uis_names(said: str, expected: dict[str, str]) -> None:
    assert sampler_inputs(said) == expected
    assert sampler_inputs(said, "Automatic") == expected
    assert sampler_inputs(said, "SGM Uniform") == expected | {"scheduler": "sgm_uniform"}


# The text of its images


def test_a_parameters_text_is_one_prompt_with_its_values(tmp_path: Path) -> None:
    (item,) = items(tmp_path, PARAMETERS, template="txt2img-sd15")
    assert item.prompt_text == "girl with an artist's beret, ((eyeshadow)), (coquettish:1.2),\ndetailed"
    assert dict(item.inputs) == {
        "negative": "ugly, fat, (((deformed))), [blurry]",
        "steps": 20,
        "sampler": "dpmpp_2m_sde",
        "scheduler": "karras",
        "cfg": 7.5,
        "seed": 965400086,
        "width": 512,
        "height": 768,
        "model": "dream_8.safetensors",
    }


def test_several_follow_one_another_and_the_last_line_may_be_missing(tmp_path: Path) -> None:
    found = items(tmp_path, f"{PARAMETERS}\n\n{PARAMETERS.replace('girl', 'boy')}\n")
    assert [str(item.prompt_text).split()[0] for item in found] == ["girl", "boy"]
    (item,) = items(tmp_path, "a fox\nNegative prompt: bad\n", seed=1)
    assert (item.prompt_text, dict(item.inputs)) == ("a fox", {"seed": 1, "negative": "bad"})


def test_what_the_request_says_wins_over_a_record(tmp_path: Path) -> None:
    said: dict[str, Any] = {"cfg": 5.0, "seed": 3, "sweeps": {"steps": (10, 30)}, "size": (64, 64)}
    found = items(tmp_path, PARAMETERS, **said)
    assert [item.inputs["steps"] for item in found] == [10, 30]
    assert {(item.inputs["cfg"], item.inputs["seed"], item.inputs["width"]) for item in found} == {(5.0, 3, 64)}
    assert items(tmp_path, PARAMETERS, seed_mode="random")[0].inputs["seed"] != 965400086


def test_a_line_may_have_several_images_and_a_random_seed(tmp_path: Path) -> None:
    found = items(tmp_path, "--prompt a --n_iter 2 --seed 5\n--prompt b --seed -1\nc", seed=1)
    assert [(item.prompt_text, item.inputs["seed"]) for item in found[:2]] == [("a", 5), ("a", 6)]
    assert (found[2].prompt_text, found[3].inputs["seed"]) == ("b", 1)
    assert found[2].inputs["seed"] not in (1, -1), "drawn"


def test_what_the_template_has_no_place_for_is_left_out(tmp_path: Path) -> None:
    (item,) = items(tmp_path, PARAMETERS, template="smoke")
    assert set(item.inputs) <= {"width", "height", "seed"}
    planned = plan(tmp_path, prompt=None, prompts_file=str(tmp_path / "ideas.txt"))
    assert planned.notes == (f"{tmp_path}/ideas.txt: not used of the images' parameters: Clip skip",)
    (found,) = read_parameters(PARAMETERS, "a.txt", lambda name: name != "cfg")
    assert found.left_out == ("cfg", "Clip skip"), "not those that say nothing about the image"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{PARAMETERS}\nan owl\n", "ideas.txt line 6: no line of settings"),
        ("a fox\nNegative prompt: b\nan owl\nNegative prompt: c\n", "line 4: a second negative prompt"),
        ("\nNegative prompt: b\nSteps: 20, Sampler: Euler\n", "line 2: there is no prompt before its settings"),
        ("a fox\nSteps: 20, Sampler: PLMS, Seed: 1\n", "line 2: Sampler: no sampler of ComfyUI is known for 'PLMS'"),
        ("a fox\nSteps: 20, Size: 513x512\n", "line 2: Size: both sides"),
        ("a fox\nSteps: 20, Seed: x\n", "line 2: Seed: seed is a whole number"),
    ],
)
def test_a_fault_in_one_is_refused_at_its_line(tmp_path: Path, text: str, words: str) -> None:
    assert words in refusal(tmp_path, text)


@pytest.mark.parametrize("text", [PARAMETERS, PARAMETERS.replace("girl", "gïrl \U0001f98a")])
def test_it_comes_out_of_an_image_too(tmp_path: Path, text: str) -> None:
    (item,) = items(tmp_path, image(text), name="a.png")
    assert (item.prompt_text, item.inputs) == (
        items(tmp_path, text)[0].prompt_text,
        items(tmp_path, text)[0].inputs,
    )
    made(tmp_path, from_file=str(tmp_path / "a.png"), steps=9)
    (again,) = items_of(tmp_path)
    assert (again.prompt_text, again.inputs) == (item.prompt_text, item.inputs | {"steps": 9})


def test_an_image_without_it_is_refused(tmp_path: Path) -> None:
    assert "holds no `parameters` of AUTOMATIC1111" in refusal(tmp_path, image("{}", name="prompt"), name="a.png")
    assert "from_file='FILE'" in refusal(tmp_path, image("{}", name="prompt"), name="a.png")


# Files of other formats


def archive(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as zipped:
        for name in names:
            zipped.writestr(name, "x")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.txt", rb"{\rtf1\ansi a fox}", "rich text (RTF), not a list of prompts; save it as plain text"),
        (
            "a.txt",
            archive("xl/workbook.xml"),
            "an Excel workbook (.xlsx), not a list of prompts; give it with xlsx=",
        ),
        ("a.txt", archive("word/document.xml"), "a Word document (.docx)"),
        ("a.txt", archive("content.xml"), "an OpenDocument file"),
        ("a.txt", b"PK\x03\x04 broken", "a ZIP archive"),
        ("a.txt", b"%PDF-1.7", "a PDF"),
        ("a.txt", b"\xff\xd8\xff\xe0", "a JPEG image"),
        ("a.txt", b"\xd0\xcf\x11\xe0\xa1\xb1", "an old or encrypted Office file"),
        (
            "a.txt",
            b"prompt,negative\na fox,bad\n",
            "a table (CSV), not a list with one prompt per line; give it with csv=",
        ),
        ("a.txt", b"Prompt;Steps;3.denoise\na fox;7;1\n", "a table (CSV)"),
        ("a.txt", b'"prompt"\t"cfg scale"\n', "a table (CSV)"),
        ("a.csv", b"a fox\n", "a table by its name (.csv)"),
        ("a.txt", b'{"prompt": "a fox"}\n{"prompt": "a cat", "seed": 1}\n', "JSON Lines"),
        ("a.txt", b'["a fox", "a cat"]', "JSON, not a list"),
        ("a.txt", b'{\n"0": "a fox",\n"30": "a cat"\n}', "JSON, not a list"),
        ("a.txt", json.dumps({"1": {"class_type": "A", "inputs": {}}}).encode(), "a workflow"),
        ("a.txt", b"- a fox\n- a cat\n", "a YAML list"),
        ("a.yml", b"prompts: [a]\n", "YAML"),
        ("a.txt", b"prompts:\n  - a fox\n", "YAML"),
        ("a.txt", b"<?xml version='1.0'?><a/>", "XML or HTML"),
    ],
)
def test_a_file_of_another_format_is_refused_with_what_to_give(
    tmp_path: Path, name: str, data: bytes, words: str
) -> None:
    assert words in refusal(tmp_path, data, name=name)


@pytest.mark.parametrize(
    "text",
    [
        "a prompt, a fox\nb",
        "masterpiece, prompt, best quality\nx",
        '{"scene": "a fox"}\n{"scene": "a cat"}',
        '{"scene": "a fox"}',
        "- a fox\na cat",
        "[a|b] fox",
        "(word:1.2), ((a)), [b]",
        "steps: 20, sampler",
        "a fox <3, <b>",
        "$5 50% a_b, well-known -- yes - no",
    ],
)
def test_prompts_that_look_a_little_like_it_are_prompts(tmp_path: Path, text: str) -> None:
    assert [item.prompt_text for item in items(tmp_path, text)] == text.split("\n")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (PARAMETERS.encode(), "a prompt with its settings, not one text; give it with prompts_file="),
        (DOCUMENTED.encode(), "prompts with options, not one text"),
        (image(PARAMETERS), "an image, not one text; give it with prompts_file="),
        (rb"{\rtf1}", "rich text (RTF)"),
    ],
)
def test_a_list_is_not_one_prompt(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(UsageError) as caught:
        plan(tmp_path, prompt=None, prompt_file=str(tmp_path / "a.txt"))
    assert words in str(caught.value)
