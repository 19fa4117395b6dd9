"""Sweeps over texts: search and replace, placeholders; what they mean, refuse, record, and how a page shows them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from batches.test_dynamic_generate import items_of, listed, made
from batches.test_planning import plan
from batches.test_report_html import cells, page
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from support.documents import checked
from support.report_project import Album

from burst import cli
from orchestrator.batches.flags import parse_sweeps
from orchestrator.batches.prompt_entry import PromptEntry
from orchestrator.batches.sidecars import read_sidecar
from orchestrator.batches.spec import BatchSpec
from orchestrator.batches.text_axes import TextAxes
from orchestrator.batches.text_axis import TextAxis, text_axis
from orchestrator.errors import RequestConflict, UsageError
from orchestrator.sandbox import Sandbox, SandboxSettings

ANIMALS = {"{animal}": ("fox", "cat")}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings()) as running:
        yield running


def texts(home: Path, **said: Any) -> list[str | None]:
    return [item.prompt_text for item in plan(home, **said).items]


def refusal(home: Path, **said: Any) -> str:
    with pytest.raises(UsageError) as caught:
        plan(home, **said)
    return str(caught.value)


# What they mean


def test_a_text_is_searched_in_the_prompt_alone_and_replaced_everywhere_in_it(tmp_path: Path) -> None:
    items = plan(tmp_path, prompt="a fox, foxes", negative="no fox", sweeps={"prompt:fox": ("fox", "cat")}).items
    assert [item.prompt_text for item in items] == ["a fox, foxes", "a cat, cates"]
    assert {item.inputs["negative"] for item in items} == {"no fox"}


def test_a_placeholder_has_its_value_in_every_text(tmp_path: Path) -> None:
    said = {"prompt": "a {animal}", "negative": "no {animal}", "model": "{animal}.safetensors"}
    items = plan(tmp_path, **said, sweeps=ANIMALS).items
    found = [(item.prompt_text, item.inputs["negative"], item.inputs["model"]) for item in items]
    assert found == [("a fox", "no fox", "fox.safetensors"), ("a cat", "no cat", "cat.safetensors")]


def test_a_text_that_nobody_set_is_the_templates_own(tmp_path: Path) -> None:
    items = plan(tmp_path, sweeps={"negative:blurry": ("ugly", "grey")}).items
    assert [str(item.inputs["negative"]).split(",")[0] for item in items] == ["ugly", "grey"]
    assert texts(tmp_path, sweeps={"6.text:fox": ("owl",)}) == ["a owl"], "the prompt, by its address"


def test_they_are_crossed_with_each_other_and_with_other_sweeps(tmp_path: Path) -> None:
    sweeps = {"prompt:red": ("red", "blue"), **ANIMALS, "cfg": (5, 7)}
    items = plan(tmp_path, prompt="a red {animal}", sweeps=sweeps, count=2, seed=1).items
    assert [item.prompt_text for item in items[::4]] == ["a red fox", "a red cat", "a blue fox", "a blue cat"]
    assert [(item.inputs["cfg"], item.inputs["seed"]) for item in items[:4]] == [(5, 1), (5, 2), (7, 1), (7, 2)]


def test_what_a_value_brings_in_is_not_searched_again(tmp_path: Path) -> None:
    sweeps = {"prompt:fox": ("cat", "dog"), "prompt:cat": ("owl", "bee")}
    assert texts(tmp_path, prompt="a fox, a cat", sweeps=sweeps)[0] == "a cat, a owl"
    sweeps = {"prompt:fox": ("cat", "dog"), "prompt:fox cub": ("fox", "kit")}
    assert texts(tmp_path, prompt="a fox cub, a fox", sweeps=sweeps)[0] == "a fox, a cat"


def test_a_row_of_a_table_and_an_image_made_again_have_them_too(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt,negative\na {animal},no {animal}\none {animal},\n")
    items = plan(tmp_path, prompt=None, csv=str(tmp_path / "a.csv"), sweeps=ANIMALS).items
    assert [item.prompt_text for item in items] == ["a fox", "a cat", "one fox", "one cat"]
    assert [item.inputs.get("negative") for item in items] == ["no fox", "no cat", None, None]


def test_numbers_stay_texts_and_a_key_is_known_in_any_spelling(tmp_path: Path) -> None:
    assert parse_sweeps(["{n}=20,30", "Positive Prompt:fox=1,cat"]) == {"{n}": ("20", "30"), "prompt:fox": ("1", "cat")}
    assert texts(tmp_path, prompt="{n} foxes", sweeps={"{n}": (20, 3.5)}) == ["20 foxes", "3.5 foxes"]
    with pytest.raises(UsageError, match="given twice"):
        parse_sweeps(["prompt:fox=a,b", "positive_prompt:fox=c,d"])


@pytest.mark.parametrize(
    ("key", "axis"),
    [
        ("prompt:a: b=c", TextAxis("a: b=c", "prompt")),
        ("title=My Text.text:fox", TextAxis("fox", "title=My Text.text")),
        ("98:6.text:fox", TextAxis("fox", "98:6.text")),
        ("{my animal}", TextAxis("{my animal}")),
        *((key, None) for key in ("98:6.text", "cfg", "3.steps", "title=A: b.text", "class=KSampler.seed", "prompt:")),
    ],
)
def test_which_keys_are_about_texts(key: str, axis: TextAxis | None) -> None:
    assert text_axis(key) == axis


@given(
    parts=st.lists(st.sampled_from(["fox", "{a}", "{b}", "a ", "{", "}", "\\", "$", "é"]), max_size=12),
    values=st.lists(st.sampled_from(["fox", "{a}", "{b}", "x", "\\1", "|"]), min_size=3, max_size=3),
)
def test_a_text_is_taken_literally_or_replaced_and_never_both(parts: list[str], values: list[str]) -> None:
    keys = ["prompt:fox", "{a}", "{b}"]
    sweeps = {key: (value,) for key, value in zip(keys, values, strict=True)}
    spec = BatchSpec(prompt="x", literal=True, sweeps=sweeps)
    axes = TextAxes(spec, {key: axis for key in keys if (axis := text_axis(key))}, {})
    text, expected, before, used = "".join(parts), "", "", set()
    while text:  # a reader of its own, from left to right
        found = next((key for key in keys if text.startswith(key.removeprefix("prompt:"))), None)
        if found is not None and not (found[0] == "{" and before[-1:] in tuple("\\$%")):
            piece = found.removeprefix("prompt:")
            expected += sweeps[found][0]
            used.add(found)
        else:
            piece = text[0]
            expected += piece
        before, text = before + piece, text[len(piece) :]
    entry = PromptEntry("".join(parts), {}, "ideas.txt line 1")
    if len(used) < 3:
        with pytest.raises(UsageError, match=r"is in none of its texts|is not in its prompt"):
            axes.replaced({"prompt": entry.prompt}, dict(zip(keys, values, strict=True)), entry)
    else:
        found_texts = axes.replaced({"prompt": entry.prompt}, dict(zip(keys, values, strict=True)), entry)
        assert found_texts == {"prompt": expected}


# With dynamic prompts


def test_what_is_chosen_is_the_same_in_every_cell(tmp_path: Path) -> None:
    said = {"prompt": "a {red|blue|green|grey} {animal} {1|2|3|4}", "dynamic": True, "seed": 7, "count": 5}
    items = plan(tmp_path, **said, sweeps=ANIMALS).items
    assert [str(item.prompt_text).replace("cat", "fox") for item in items[5:]] == [i.prompt_text for i in items[:5]]
    assert len({item.prompt_text for item in items[:5]}) > 1
    assert items[0].dynamic["texts"] == {"prompt": said["prompt"]}
    assert items[0].dynamic["axes"] == {"{animal}": "fox"}
    assert [source for source, _ in items[0].dynamic["chosen"]] == ["{red|blue|green|grey}", "{1|2|3|4}"]


def test_a_value_is_expanded_with_the_text_around_it(tmp_path: Path) -> None:
    chosen = texts(tmp_path, prompt="a {animal}", dynamic=True, count=20, seed=1, sweeps={"{animal}": ("{fox|cat}",)})
    assert set(chosen) == {"a fox", "a cat"}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            {"prompt": "a {anmal}", "sweeps": ANIMALS},
            "prompt: sweeps['{animal}'] is in none of its texts; did you mean {anmal}?",
        ),
        ({"prompt": "a {animal} {hue}", "sweeps": ANIMALS}, "no sweeps sets {hue}; add one, or write the text"),
        ({"prompt": "a {animal} {hue}", "sweeps": ANIMALS, "dynamic": True}, "no sweeps sets {hue}"),
        ({"prompt": "a {animal}", "sweeps": {"{animal}": ("{a|b}",)}}, "'{a|b}' looks like a dynamic prompt once"),
        (
            {"prompt": "a {animal}", "sweeps": {"{animal}": ("{a|b",)}, "dynamic": True},
            "sweeps: prompt, column 3: this {",
        ),
        ({"sweeps": {"prompt:owl": ("a", "b")}}, "prompt: sweeps['prompt:owl']: 'owl' is not in its prompt"),
        ({"sweeps": {"steps:20": ("a", "b")}}, "is not in its steps"),
        ({"sweeps": {"stepz:20": ("a", "b")}}, "this workflow has no binding 'stepz'"),
        ({"sweeps": {"9.nothing:x": ("a", "b")}}, "nothing"),
        ({"sweeps": {"{a|b}": ("a", "b")}}, "'{a|b}' is not a placeholder; write a name in braces"),
        ({"sweeps": {"{a}": ("a", "a")}}, "'a' is there twice"),
        ({"sweeps": {"{a}": ("a\0",)}}, "holds a NUL"),
        ({"prompt": "{a}", "sweeps": {"{a}": ("b",)}, "dynamic": True, "combinatorial": 0}, "combinatorial and sweeps"),
        ({"prompt": "{a}", "sweeps": {"{a}": ("",)}}, "the prompt is empty"),
    ],
)
def test_what_is_refused(tmp_path: Path, said: dict[str, Any], words: str) -> None:
    assert words in refusal(tmp_path, **said)


def test_a_line_without_it_is_named_for_it_would_be_rendered_twice_alike(tmp_path: Path) -> None:
    said = listed(tmp_path, "a {animal}", "# a note", "an owl") | {"dynamic": False}
    assert refusal(tmp_path, **said, sweeps=ANIMALS).startswith(
        f"{tmp_path}/ideas.txt line 3: sweeps['{{animal}}'] is in"
    )


def test_an_escaped_one_and_literal_text_stay(tmp_path: Path) -> None:
    assert texts(tmp_path, prompt=r"a {animal} \{animal}", sweeps=ANIMALS)[0] == r"a fox \{animal}"
    assert texts(tmp_path, prompt="a {animal} {hue} {a|b}", sweeps=ANIMALS, literal=True)[0] == "a fox {hue} {a|b}"
    assert texts(tmp_path, prompt='a {fox} {"key": 1}') == ['a {fox} {"key": 1}'], (
        "without a sweep nothing is looked for"
    )


# The same request


def test_the_same_request_continues_and_another_value_is_another_one(tmp_path: Path) -> None:
    said = {"prompt": "a {animal}", "sweeps": ANIMALS, "name": "zoo"}
    first = made(tmp_path, **said)
    assert (made(tmp_path, **said).record.batch, first.continued) == (first.record.batch, False)
    assert len(items_of(tmp_path)) == 2
    with pytest.raises(RequestConflict, match=r"sweeps\['{animal}'\] is \['fox', 'cat'\] there"):
        made(tmp_path, **said | {"sweeps": {"{animal}": ("fox", "owl")}})


@pytest.mark.parametrize("layout", ["numbered", "batch", "mirror", "gallery"])
def test_each_has_a_file_name_of_its_own(tmp_path: Path, layout: str) -> None:
    (tmp_path / "a.csv").write_text(
        "prompt,name\na {animal},hero\none {animal},mage\n" if layout == "mirror" else "prompt\na {animal}\n"
    )
    said = {"prompt": None, "csv": str(tmp_path / "a.csv"), "layout": layout, "count": 2}
    items = plan(tmp_path, **said, sweeps=ANIMALS).items
    assert len({(item.subfolder, item.filename, item.sidecar) for item in items}) == len(items)


# Rendered


def test_the_sidecar_says_what_was_replaced_and_makes_it_again(tmp_path: Path, sandbox: Sandbox) -> None:
    said = {"prompt": "a {animal}", "sweeps": ANIMALS, "layout": "batch", "size": (64, 64)}
    made(tmp_path, sandbox, **said)
    sidecar = tmp_path / "out" / str(items_of(tmp_path)[1].sidecar)
    checked(json.loads(sidecar.read_text()))
    inputs, facts = read_sidecar(sidecar)
    assert inputs["prompt"] == "a cat"
    assert facts["dynamic"] == {"texts": {"prompt": "a {animal}"}, "axes": {"{animal}": "cat"}}
    made(tmp_path, sandbox, from_file=str(sidecar), sweeps={"prompt:cat": ("owl",)})
    assert items_of(tmp_path)[-1].prompt_text == "a owl"


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = ["generate", "--template", "smoke", "--dry-run", "--json", "--all", "--queue-only", "--prompt", "a fox, {x}"]
    result = CliRunner().invoke(cli, [*said, "--sweep", "prompt:fox=fox,cat", "--sweep", '{x}="red, blue",grey'])
    assert result.exit_code == 0, result.output
    prompts = [item["prompt"] for item in json.loads(result.stdout)["items"]]
    assert prompts == ["a fox, red, blue", "a fox, grey", "a cat, red, blue", "a cat, grey"]


# Its page


def test_prompts_are_the_rows_of_a_grid(tmp_path: Path) -> None:
    album = Album(tmp_path)
    (tmp_path / "ideas.txt").write_text("a {animal}\none {animal}\n")
    said = {"prompt": None, "prompts_file": str(tmp_path / "ideas.txt"), "count": 2, "seed": 1}
    planned = plan(tmp_path, **said, sweeps=ANIMALS)
    album.store.add(planned.items, batch=planned.record)
    found = page(album, planned.record.batch)
    (table,) = found.tables
    assert table[0] == ["", "animal fox", "animal cat"]
    assert [row[0] for row in table[1:]] == ["a {animal}", "one {animal}"]
    assert cells(table) == [["1", "3"], ["5", "7"]]
    assert "2 seed 2" in table[1][1]
    assert found.headings == []


def test_one_prompt_and_two_axes_are_a_grid_of_that_prompt(tmp_path: Path) -> None:
    album = Album(tmp_path)
    sweeps = {"prompt:fox": ("fox", "cat"), "cfg": (5, 7)}
    planned = plan(tmp_path, prompt="a fox {in|at} sea", dynamic=True, sweeps=sweeps, seed=1)
    album.store.add(planned.items, batch=planned.record)
    found = page(album, planned.record.batch)
    (table,) = found.tables
    assert (found.headings, [row[0] for row in table]) == (["a fox {in|at} sea"], ["", "fox → fox", "fox → cat"])
    assert cells(table) == [["1", "2"], ["3", "4"]]
    assert str(planned.items[3].prompt_text) in table[2][2], "what was chosen is not in the heads"


def test_several_prompts_and_one_axis_of_values_are_one_grid_too(tmp_path: Path) -> None:
    album = Album(tmp_path)
    album.add(
        "b1", [{"cfg": cfg} for _ in range(2) for cfg in (5.0, 7.5)], prompt="a fox\na cat", axes={"cfg": [5.0, 7.5]}
    )
    (table,) = page(album, "b1").tables
    assert [row[0] for row in table] == ["", "a fox", "a cat"]
