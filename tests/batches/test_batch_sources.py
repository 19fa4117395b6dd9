"""Prompts from flags, files and lists: what each row says, and every fault by file, line and column."""

from __future__ import annotations

import io
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.vocabularies import vocabulary

from orchestrator.batches import sources as prompt_sources
from orchestrator.batches.prompt_entry import PromptEntry
from orchestrator.batches.sources import read_entries, read_source
from orchestrator.batches.spec import BatchSpec
from orchestrator.errors import UsageError

FILE_KINDS = ("prompt_file", "prompts_file", "csv", "jsonl")
WORDS = vocabulary(strength="3.denoise")


def read(kind: str, text: str | bytes, **said: Any) -> list[PromptEntry]:
    """The wishes in what stands on standard input."""
    data = text if isinstance(text, bytes) else text.encode()
    spec = BatchSpec(**{kind: "-"}, **said)
    return read_entries(spec, vocabulary=WORDS, data=read_source(spec, stdin=io.BytesIO(data)))


def rows(kind: str, text: str | bytes, **said: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(wish.prompt, dict(wish.inputs)) for wish in read(kind, text, **said)]


def written(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_a_prompt_on_the_command_line() -> None:
    (wish,) = read_entries(BatchSpec(prompt=" a house \n"), vocabulary=WORDS)
    assert wish == PromptEntry("a house", {}, "prompt")


def test_a_file_is_one_prompt(tmp_path: Path) -> None:
    path = written(tmp_path / "EP01" / "hero.txt", "# a house,\n\nby the sea\n")
    assert read_entries(BatchSpec(prompt_file=path), vocabulary=WORDS) == [
        PromptEntry("# a house,\n\nby the sea", {}, path)
    ]


def test_a_prompt_a_line(tmp_path: Path) -> None:
    path = written(tmp_path / "ideas.txt", "# ideas\n\n  a cat \n\t# not this one\na\x0bdog\u2028 #1\n   \na bird")
    assert read_entries(BatchSpec(prompts_file=path), vocabulary=WORDS) == [
        PromptEntry("a cat", {}, f"{path} line 3"),
        PromptEntry("a\x0bdog\u2028 #1", {}, f"{path} line 5"),
        PromptEntry("a bird", {}, f"{path} line 7"),
    ]


def test_csv_columns_are_bindings_and_addresses(tmp_path: Path) -> None:
    path = written(
        tmp_path / "prompts.csv",
        "Prompt,CFG Scale,seed,Negative-Prompt,size,3.denoise,class=KSampler.steps,title=Sampler.sampler_name,lora\n"
        '"a cat,\non a ""mat""",7.5,18446744073709551615,blurry,512X768,0.5,30,euler,"a:0.5"\n'
        "\n"
        " a dog ,,,,,,,\n"
        "a bird,8\n",
    )
    cat, dog, bird = read_entries(BatchSpec(csv=path), vocabulary=WORDS)
    assert cat.prompt == 'a cat,\non a "mat"'
    assert cat.inputs == {
        "cfg": 7.5,
        "seed": 18446744073709551615,
        "negative": "blurry",
        "width": 512,
        "height": 768,
        "strength": 0.5,
        "steps": 30,
        "sampler": "euler",
        "lora": "a:0.5",
    }
    assert dog == PromptEntry("a dog", {}, f"{path} line 5 (row 4)")
    assert (bird.inputs, bird.where) == ({"cfg": 8}, f"{path} line 6 (row 5)")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_spreadsheets_write_csv_with_other_marks(delimiter: str) -> None:
    lines = [["prompt", "cfg"], ['"a, b; c\td"', "7.5"]]
    assert rows("csv", "\n".join(map(delimiter.join, lines))) == [("a, b; c\td", {"cfg": 7.5})]


def test_jsonl_is_objects_and_texts() -> None:
    lines: list[object] = [
        {"prompt": "a cat", "cfg": 7, "steps": "30", "negative": "", "lora": ["a", "b:0.5"], "3.denoise": 0.5},
        "a dog",
        {"seed": None, "positive": " a bird\n"},
    ]
    text = "\n".join(map(json.dumps, lines)).replace("\n", "\n \n", 1)
    assert rows("jsonl", text) == [
        ("a cat", {"cfg": 7, "steps": 30, "negative": "", "lora": ["a", "b:0.5"], "strength": 0.5}),
        ("a dog", {}),
        ("a bird", {}),
    ]
    assert [wish.where for wish in read("jsonl", text)] == [f"standard input line {line}" for line in (1, 3, 4)]


SOUND = {"prompt_file": "größe", "prompts_file": "größe", "csv": "prompt\ngröße", "jsonl": '"größe"'}


@pytest.mark.parametrize("kind", FILE_KINDS)
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_a_byte_order_mark_and_the_ends_of_lines_are_no_text(kind: str, ends: str) -> None:
    data = f"\ufeff{SOUND[kind]}\n".replace("\n", ends).encode()
    assert rows(kind, data) == [("größe", {})]


@pytest.mark.parametrize("kind", FILE_KINDS)
def test_a_pipe_is_read_to_its_end(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=(SOUND[kind],), daemon=True)
    writer.start()
    wishes = read_entries(BatchSpec(**{kind: str(path)}), vocabulary=WORDS)
    writer.join()
    assert [wish.prompt for wish in wishes] == ["größe"]


@pytest.mark.parametrize("kind", FILE_KINDS)
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "standard input: it holds no prompt"),
        (b"\xef\xbb\xbf \n\n", "standard input: it holds no prompt"),
        (b"\xef\xbb\xbfgr\xf6\xdfe", "standard input: not UTF-8 at byte 5; save it as UTF-8"),
        ("prompt".encode("utf-16-le"), "standard input: a NUL at byte 1"),
    ],
)
def test_what_is_no_text_is_refused(kind: str, data: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(kind, data)


@pytest.mark.parametrize("kind", FILE_KINDS)
def test_a_file_that_cannot_be_read_is_named_with_its_field(tmp_path: Path, kind: str) -> None:
    for path, reason in ((tmp_path / "absent", "No such file"), (tmp_path, "Is a directory"), ("a\0b", "null")):
        with pytest.raises(UsageError, match=f"{kind}=.*: cannot be read: .*{reason}"):
            read_entries(BatchSpec(**{kind: str(path)}), vocabulary=WORDS)


def test_a_list_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_sources, "LARGEST_LIST_BYTES", 1 << 20)
    largest = (b"x" * 1023 + b"\n") * 1024
    assert len(read("prompts_file", largest)) == 1024
    with pytest.raises(UsageError, match="standard input: over 1 MiB; split it"):
        read("prompts_file", largest + b"x")


REFUSED = [
    ("csv", "prompt", "it holds no prompt"),
    ("csv", "\ntext,cfg\na,7", "line 2: no column is called `prompt`, only 'text', 'cfg'"),
    ("csv", "\nprompt,text\na,7", r"line 2, column 'text': .* no binding 'text'"),
    ("csv", "a cat,20\na dog,30", r"line 1 is not a heading row \('a cat', '20'\); put a row above it"),
    ("csv", "cfg\n7", "line 1: no column is called `prompt`, only 'cfg'"),
    ("csv", "prompt,samplr\na,b", r"line 1, column 'samplr': .* \(available: .*\); did you mean 'sampler'"),
    ("csv", "prompt,image\na,b", "line 1, column 'image': .* no binding 'image' .* bindings={'image': 'NODE.INPUT'}"),
    ("csv", "prompt,33.steps\na,b", r"line 1, column '33\.steps': .* matches no node"),
    ("csv", "prompt,6.text\na,b", r"line 1, column '6\.text': '6\.text' is the prompt text"),
    ("csv", "prompt,cfg,CFG scale\na,7,8", "line 1: 'cfg' and 'CFG scale' both set cfg"),
    ("csv", "prompt,3.steps,steps\na,7,8", r"line 1: '3\.steps' and 'steps' both set steps"),
    ("csv", "prompt,size,height\na,8x8,8", "line 1: 'size' and 'height' both set height"),
    ("csv", "prompt,positive\na,b", "line 1: 'prompt' and 'positive' both set prompt"),
    ("csv", "prompt,name\na,b", "line 1, column 'name': .* layout='mirror' alone"),
    ("csv", 'prompt,cfg\n"a\nb",7\nc,many', r"line 4 \(row 3\), column 'cfg': cfg is a number; 'many' is not"),
    ("csv", "prompt,seed\na,1.8E+19", "line 2, column 'seed': .* all its digits"),
    ("csv", "prompt,size\na,513x512", "line 2, column 'size': .* 512x512 is the nearest"),
    ("csv", "prompt,cfg\na,7\n  ,8", "line 3: the prompt is empty"),
    ("csv", "prompt,cfg\na cat, black,7", "line 2: 3 cells under 2 columns, the first too many is '7'"),
    ("csv", "prompt,,cfg\na,b,7", "line 2: 'b' stands in a column without a heading"),
    ("csv", 'prompt\na\n"b\nc', "line 3: this row is not valid CSV: unexpected end of data"),
    ("csv", 'prompt\n"b"c', "line 2: this row is not valid CSV"),
    ("csv", "prompt\n" + "x" * 200_000, "line 2: this row is not valid CSV: field larger"),
    ("jsonl", '"a"\n{"prompt": "a",}', "line 2, character 16: not JSON"),
    ("jsonl", "a cat", "line 1, character 1: not JSON"),
    ("jsonl", '["a"]', "line 1: an object or a text stands on each line, not '\\[\"a\"\\]'"),
    ("jsonl", "5", "line 1: an object or a text"),
    ("jsonl", '"a"\n""', "line 2: the prompt is empty"),
    ("jsonl", '"a"\n{"cfg": 7}', "line 2: no column is called `prompt`, only 'cfg'"),
    ("jsonl", "{}", "line 1: no column is called `prompt`, only nothing"),
    ("jsonl", '{"prompt": null}', "line 1: the prompt is empty"),
    ("jsonl", '{"prompt": 5}', "line 1, column 'prompt': prompt is a text; 5 is not"),
    ("jsonl", '{"prompt": "\\u0000"}', "line 1, column 'prompt': .* NUL"),
    ("jsonl", '{"prompt": "\\ud800"}', "line 1, column 'prompt': .* not Unicode"),
    ("jsonl", '{"prompt": "a", "cfg": NaN}', "line 1: NaN is not a number in JSON"),
    ("jsonl", '{"prompt": "a", "cfg": 1e999}', "line 1, column 'cfg': cfg is a number"),
    ("jsonl", '{"prompt": "a", "cfg": 7, "cfg": 8}', "line 1: a key is there twice"),
    ("jsonl", '{"prompt": "a", "steps": [20]}', "line 1, column 'steps': steps is a whole number"),
    ("jsonl", '{"prompt": "a", "3.denoise": ["4", 0]}', r"line 1, column '3\.denoise': a value is a text"),
    ("jsonl", '{"prompt": "a", "seed": ' + "9" * 5000 + "}", "line 1: Exceeds the limit"),
    ("jsonl", "[" * 200_000, "line 1"),
]


@pytest.mark.parametrize(("kind", "text", "message"), REFUSED, ids=[f"{kind}-{said[:50]}" for kind, _, said in REFUSED])
def test_a_fault_is_named_by_line_and_column(kind: str, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"^standard input.*{message}"):
        read(kind, text)


def test_blank_columns_and_cells_without_a_heading_are_passed_over() -> None:
    assert rows("csv", "prompt,,cfg,\na, ,7,,\n,,,\n") == [("a", {"cfg": 7})]


def named(kind: str, path: str) -> list[tuple[str, str]]:
    wishes = read_entries(BatchSpec(**{kind: path}, layout="mirror"), vocabulary=WORDS)
    return [(wish.subfolder, wish.name) for wish in wishes]


def test_in_a_mirror_a_prompt_file_keeps_its_directory_and_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "EP01" / "prompt_1.v2.txt", "a house")
    assert named("prompt_file", path) == [("EP01", "prompt_1.v2")]
    monkeypatch.chdir(tmp_path / "EP01")
    assert named("prompt_file", "prompt_1.v2.txt") == [("EP01", "prompt_1.v2")]


def test_in_a_mirror_rows_say_their_names(tmp_path: Path) -> None:
    text = "prompt,filename,subfolder\na,hero.png,EP01\nb,EP02/villain,\nc,x.v2,\nd,deep/y,EP03\ne,,\n"
    assert named("csv", written(tmp_path / "cast.csv", text)) == [
        ("EP01", "hero"),
        ("EP02", "villain"),
        ("cast", "x.v2"),
        ("EP03/deep", "y"),
        ("cast", ""),
    ]
    assert named("prompts_file", written(tmp_path / "ideas.txt", "a\nb")) == [("ideas", ""), ("ideas", "")]


def test_standard_input_has_no_name_for_a_mirror() -> None:
    found = [read(kind, SOUND[kind], layout="mirror") for kind in FILE_KINDS]
    assert [(wish.subfolder, wish.name) for wishes in found for wish in wishes] == [("", "")] * 4


@pytest.mark.parametrize("layout", ["numbered", "batch"])
def test_other_layouts_ask_for_no_names(tmp_path: Path, layout: Any) -> None:
    path = written(tmp_path / "con" / "aux.txt", "a house")
    for kind in ("prompt_file", "prompts_file"):
        (wish,) = read_entries(BatchSpec(**{kind: path}, layout=layout), vocabulary=WORDS)
        assert (wish.subfolder, wish.name) == ("", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prompt,name\na,x\nb,X.png", "line 2 and .* line 3 are both called X"),
        ("prompt,name,folder\na,x,y", "column 'folder': .* no binding 'folder'"),
        ("prompt,name,subfolder\na,e\u0301,EP\nb,\u00e9,ep", "line 2 and .* line 3 are both called ep/\u00e9"),
        ("prompt,name\na,../x", r"line 2: .* leaves the output directory"),
        ("prompt,subfolder\na,/etc", "line 2: .* absolute"),
        ("prompt,name\na,nul", "line 2: .* reserved"),
        ("prompt,name\na,b\\c", "line 2: .* backslash"),
        ("prompt,name\na," + "x" * 250, "line 2: .* over 255 bytes"),
    ],
)
def test_in_a_mirror_names_are_safe_and_their_own(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read("csv", text, layout="mirror")


def test_in_a_mirror_the_names_of_lists_are_safe(tmp_path: Path) -> None:
    for kind, name in (("prompts_file", "aux.txt"), ("prompt_file", "con.txt"), ("prompt_file", "nul/a.txt")):
        path = written(tmp_path / name, "a house")
        with pytest.raises(UsageError, match=f"{path}: .* reserved"):
            named(kind, path)


@given(st.binary() | st.text(alphabet='p",;\t\n{}:#\\ \0é').map(str.encode), st.sampled_from(FILE_KINDS))
def test_any_bytes_are_prompts_or_one_message(data: bytes, kind: str) -> None:
    try:
        wishes = read(kind, data)
    except UsageError:
        return
    assert wishes
    assert all(wish.prompt.strip() for wish in wishes)


PROMPTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r")).filter(str.strip)


@given(st.lists(PROMPTS, min_size=1))
def test_every_prompt_of_a_list_arrives(prompts: list[str]) -> None:
    expected = [(prompt.strip(), {}) for prompt in prompts]
    assert rows("jsonl", "\n".join(map(json.dumps, prompts))) == expected
    quoted = ['"' + prompt.replace('"', '""') + '"' for prompt in prompts]
    assert rows("csv", "\n".join(["prompt,cfg", *(f"{prompt}," for prompt in quoted)])) == expected
