"""Tables as spreadsheets write them: workbooks, CSV of other countries, and what each row says beside its prompt."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.vocabularies import vocabulary
from support.workbooks import workbook

from orchestrator.batches.prompt_entry import PromptEntry
from orchestrator.batches.sources import Listed, read_list, read_source
from orchestrator.batches.spec import BatchSpec
from orchestrator.batches.values import RANDOM_SEED
from orchestrator.errors import UsageError

WORDS = vocabulary(strength="3.denoise")
IMAGES = vocabulary("img2img")
PASSWORD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 1024 + "EncryptedPackage".encode("utf-16-le")


def listed(kind: str, data: str | bytes, **said: Any) -> Listed:
    data = data.encode() if isinstance(data, str) else data
    how = {name: said.pop(name) for name in ("vocabulary_of", "names_are_ids") if name in said}
    words = said.pop("words", WORDS)
    spec = BatchSpec(**{kind: "-"}, **said)
    return read_list(spec, vocabulary=words, data=read_source(spec, stdin=io.BytesIO(data)), **how)


def entries(kind: str, data: str | bytes, **said: Any) -> list[PromptEntry]:
    return listed(kind, data, **said).entries


def rows(kind: str, data: str | bytes, **said: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(entry.prompt, dict(entry.inputs)) for entry in entries(kind, data, **said)]


def test_a_workbook_is_a_list() -> None:
    data = workbook(
        [
            ["Prompt", "CFG Scale", "seed", "3.denoise", "lora", "negative"],
            ['a "cat",\non a mat', 7.5, 42, 0.5, "a:0.5", None],
            [],
            ["  ", None, "", None, None],
            [1984, None, "18446744073709551615", None, None, 7],
        ]
    )
    assert rows("xlsx", data) == [
        ('a "cat",\non a mat', {"cfg": 7.5, "seed": 42, "strength": 0.5, "lora": "a:0.5"}),
        ("1984", {"seed": 18446744073709551615, "negative": "7"}),
    ]
    assert [entry.where for entry in entries("xlsx", data)] == [
        f"standard input sheet 'Prompts' row {row}" for row in (2, 5)
    ]


def test_the_first_visible_sheet_is_read_and_the_others_are_named() -> None:
    first, second = [["prompt"], ["a"]], [["prompt"], ["b"]]
    data = workbook(first, second)
    (note,) = listed("xlsx", data).notes
    assert rows("xlsx", data) == [("a", {})]
    assert note == "standard input: sheet 'Prompts' was read, not 'Notes'; sheet picks one"
    assert rows("xlsx", data, sheet="notes") == [("b", {})]
    assert listed("xlsx", data, sheet="notes").notes == ()
    assert rows("xlsx", workbook(first, second, hide=0)) == [("b", {})]
    with pytest.raises(UsageError, match="no sheet is called 'Promts'; did you mean 'Prompts'"):
        listed("xlsx", data, sheet="Promts")


def test_formulas_give_the_values_that_were_saved_and_that_is_noted() -> None:
    data = workbook([["prompt", "steps"], [("=A1", "a fox"), ("=10+10", 20)]])
    assert rows("xlsx", data) == [("a fox", {"steps": 20})]
    assert listed("xlsx", data).notes == (
        "standard input: 2 cells are formulas: their values, as saved last, were taken",
    )


FAULTY = [
    ([["prompt", "steps"], ["a", ("=10+10", "")]], "row 2, column 'steps': cell B2 is a formula without a saved value"),
    ([["prompt", "steps"], ["a", ("=1/0", "#DIV/0!")]], "row 2, column 'steps': cell B2 holds the error #DIV/0!"),
    ([["prompt", "steps"], ["a", "many"]], "row 2, column 'steps': steps is a whole number"),
    ([["prompt", "seed"], ["a", 2**63]], "row 2, column 'seed': .* all its digits"),
    ([["prompt", "stesp"], ["a", 7]], "row 1, column 'stesp': .*did you mean 'steps'"),
    ([["a cat", 7], ["a dog", 7]], r"row 1 is not a heading row \('a cat', '7'\); put a row above it"),
    ([["prompt", None], ["a", 7]], "row 2: '7' stands in a column without a heading"),
    ([["prompt", "steps"], [None, 7]], "row 2: the prompt is empty"),
    ([["prompt", "ok"], ["a", True]], "row 1, column 'ok'"),
    ([[], []], "it holds no prompt"),
]


@pytest.mark.parametrize(("table", "message"), FAULTY, ids=[message[:40] for _, message in FAULTY])
def test_a_fault_in_a_workbook_is_named_by_row_and_column(table: list[list[Any]], message: str) -> None:
    with pytest.raises(UsageError, match=f"^standard input.*{message}"):
        listed("xlsx", workbook(table))


def test_a_formula_without_a_value_matters_only_where_it_is_read() -> None:
    data = workbook([["prompt", "sum"], ["a", ("=1/0", "#DIV/0!")], ["b"]])
    assert rows("xlsx", data, ignore_columns=True) == [("a", {}), ("b", {})]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (PASSWORD, "has a password; save it without one"),
        (PASSWORD[:600], r"before Excel 2007 \(.xls\); save it as .xlsx"),
        (b"prompt\na", "not an Excel workbook; a text list goes with csv='FILE'"),
        (b"", "not an Excel workbook"),
        (b"PK\x03\x04junk", "damaged"),
        (workbook([["prompt"], ["a"]])[:900], "damaged"),
    ],
)
def test_what_is_no_workbook_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=f"standard input: .*{message}"):
        listed("xlsx", data)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "prompts_file", "prompt_file"])
def test_a_workbook_in_place_of_a_text_names_its_flag(kind: str) -> None:
    with pytest.raises(UsageError, match=r"workbook.*, not a .*; give it with xlsx='FILE'"):
        listed(kind, workbook([["prompt"], ["a"]]))


def test_without_the_package_that_reads_workbooks_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(UsageError, match=r"pip install 'comfyui-burst\[tables\]'"):
        listed("xlsx", workbook([["prompt"], ["a"]]))


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1).filter(str.strip)
NUMBERS = st.integers(-(10**12), 10**12) | st.floats(-1e6, 1e6, allow_nan=False).map(lambda one: round(one, 6))


@given(st.lists(st.tuples(TEXTS, st.none() | NUMBERS, st.none() | st.integers(0, 2**53 - 1)), min_size=1, max_size=5))
def test_what_a_spreadsheet_writes_comes_back(table: list[tuple[str, float | None, int | None]]) -> None:
    found = entries("xlsx", workbook([["prompt", "3.denoise", "seed"], *table]))
    for (text, number, seed), entry in zip(table, found, strict=True):
        assert entry.prompt == text.strip()
        assert entry.inputs.get("seed") == seed
        assert entry.inputs.get("strength") == (None if number is None else pytest.approx(number, rel=1e-12))


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_spreadsheets_of_other_countries_write_decimal_commas(delimiter: str) -> None:
    text = "prompt;cfg;3.denoise;lora;negative;steps\na, b 1,5;7,5;0,25;a:0,5;1,5;20,0\nb;7.5;0.25;b:0.5;x;20\n"
    assert rows("csv", text.replace(";", delimiter)) == [
        ("a, b 1,5", {"cfg": 7.5, "strength": 0.25, "lora": "a:0.5", "negative": "1,5", "steps": 20}),
        ("b", {"cfg": 7.5, "strength": 0.25, "lora": "b:0.5", "negative": "x", "steps": 20}),
    ]


def test_a_comma_in_a_list_with_commas_is_no_decimal_point() -> None:
    with pytest.raises(UsageError, match="line 2, column 'cfg': cfg is a number; '7,5' is not"):
        listed("csv", 'prompt,cfg\na,"7,5"')
    with pytest.raises(UsageError, match=r"'1\.234,5' is not"):
        listed("csv", "prompt;cfg\na;1.234,5")


@pytest.mark.parametrize(("mark", "delimiter"), [("sep=;", ";"), ("SEP=|", "|"), ("sep=,", ","), ("sep=\t", "\t")])
def test_the_line_of_excel_above_the_heading_names_the_delimiter(mark: str, delimiter: str) -> None:
    text = (
        f"{mark}\r\nprompt{delimiter}cfg\r\na;b{delimiter}many" if delimiter != ";" else f"{mark}\nprompt;cfg\na;many"
    )
    with pytest.raises(UsageError, match="standard input line 3, column 'cfg': cfg is a number"):
        listed("csv", text)
    assert [prompt for prompt, _ in rows("csv", text.replace("many", "7"))] == ["a;b" if delimiter != ";" else "a"]


@pytest.mark.parametrize("kind", ["csv", "prompts_file"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_marked_utf_16_is_read(kind: str, encoding: str) -> None:
    text = "\ufeffprompt\tcfg\r\ngröße 🦊\t7,5\r\n" if kind == "csv" else "\ufeffgröße 🦊\r\n"
    assert rows(kind, text.encode(encoding)) == [("größe 🦊", {"cfg": 7.5} if kind == "csv" else {})]
    with pytest.raises(UsageError, match="not UTF-16 at byte"):
        listed(kind, text.encode(encoding) + b"\xd8")


def test_columns_that_nothing_takes_are_left_out_on_request() -> None:
    text = "prompt,note,cfg,,owner\na,see mail,7,x,me\n"
    assert rows("csv", text, ignore_columns=True) == [("a", {"cfg": 7})]
    assert listed("csv", text, ignore_columns=True).notes == (
        "standard input: columns ignored, because nothing uses them: 'note', 'owner'",
    )
    jsonl = '{"prompt": "a", "note": 1}\n{"prompt": "b", "owner": [1]}'
    assert rows("jsonl", jsonl, ignore_columns=True) == [("a", {}), ("b", {})]
    with pytest.raises(UsageError, match="line 1, column 'note'"):
        listed("csv", text)


def test_rows_say_how_they_are_made() -> None:
    text = "id,prompt,count,priority,seed\nhero,a,3, High ,-1\n,b,,,7\n"
    hero, plain = entries("csv", text)
    assert (hero.id, hero.count, hero.priority, hero.inputs) == ("hero", 3, "high", {"seed": RANDOM_SEED})
    assert (plain.id, plain.count, plain.priority, plain.inputs) == ("", None, None, {"seed": 7})
    (numbered,) = entries("xlsx", workbook([["id", "prompt", "count", "seed"], [7, "a", 2, -1]]))
    assert (numbered.id, numbered.count, numbered.inputs) == ("7", 2, {"seed": RANDOM_SEED})


REFUSED = [
    ("prompt,count\na,0", "line 2, column 'count': a row has from 1 to 999 variations; '0' is not"),
    ("prompt,count\na,1000", "line 2, column 'count': a row has from 1 to 999"),
    ("prompt,count\na,1.5", "line 2, column 'count': a row has from 1 to 999"),
    ("prompt,priority\na,soon", "line 2, column 'priority': 'soon' is not one of urgent, high"),
    ("prompt,seed\na,-2", "line 2, column 'seed': seed is from 0"),
    ("prompt,id,ID\na,b,c", "line 1: 'id' and 'ID' both set id"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_what_a_row_cannot_be_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"^standard input {message}"):
        listed("csv", text)


def test_a_binding_of_the_users_own_wins_over_a_column_of_rows() -> None:
    words = vocabulary(count="3.steps")
    assert rows("csv", "prompt,count\na,30", words=words) == [("a", {"count": 30})]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "cat.png").write_bytes(b"x")
    return tmp_path


def written(folder: Path, text: str) -> BatchSpec:
    (folder / "list.csv").write_text(text)
    return BatchSpec(csv=str(folder / "list.csv"))


def test_an_image_of_a_row_is_a_file_beside_the_list(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    words = IMAGES
    text = f"prompt,image\na,in/cat.png\nb,{folder}/in/cat.png\nc,server:dog.png\nd,sub/dog.png [input]\ne,\n"
    found = read_list(written(folder, text), vocabulary=words).entries
    path = str(folder / "in" / "cat.png")
    assert [(dict(entry.uploads), dict(entry.inputs)) for entry in found] == [
        ({"image": path}, {}),
        ({"image": path}, {}),
        ({}, {"image": "dog.png"}),
        ({}, {"image": "sub/dog.png [input]"}),
        ({}, {}),
    ]


def test_an_image_that_is_nowhere_names_both_ways(folder: Path) -> None:
    with pytest.raises(
        UsageError,
        match=r"list.csv line 2, column 'image': there is no file .*/dog.png; correct the path .*, or write "
        "server:dog.png for a file that is on the server",
    ):
        read_list(written(folder, "prompt,image\na,dog.png"), vocabulary=IMAGES)


def test_a_row_with_a_template_of_its_own_is_read_by_its_names(folder: Path) -> None:
    (folder / "other.json").write_text("{}")
    known = {"smoke": vocabulary("smoke"), str(folder / "other.json"): vocabulary("txt2img-sd15")}
    text = "prompt,template,steps\na,smoke,\nb,other.json,20\nc,,30\n"
    found = read_list(written(folder, text), vocabulary=WORDS, vocabulary_of=known.__getitem__).entries
    assert [(entry.template, dict(entry.inputs)) for entry in found] == [
        ("smoke", {}),
        (str(folder / "other.json"), {"steps": 20}),
        ("", {"steps": 30}),
    ]
    with pytest.raises(UsageError, match=r"list.csv line 2, column 'steps': .* no binding"):
        read_list(
            written(folder, "prompt,template,steps\na,smoke,20"), vocabulary=WORDS, vocabulary_of=known.__getitem__
        )


def test_comments_of_a_list_are_counted_and_can_be_escaped() -> None:
    found = listed("prompts_file", "# ideas\na cat\n  # not this\n\\#hashtag art\nb # c\n")
    assert [(entry.prompt, entry.column) for entry in found.entries] == [
        ("a cat", 1),
        ("#hashtag art", 2),
        ("b # c", 1),
    ]
    assert found.notes == ("standard input: 2 lines begin with # and are comments; `\\#` begins a prompt with #",)
    assert listed("prompts_file", "a").notes == ()


def test_a_template_without_a_prompt_needs_none(folder: Path) -> None:
    words = IMAGES
    (without,) = read_list(
        written(folder, "image\nin/cat.png\n"),
        vocabulary=type(words)(words.graph, {name: at for name, at in words.bindings.items() if name != "prompt"}),
    ).entries
    assert (without.prompt, set(without.uploads)) == ("", {"image"})
