"""What dynamic prompts mean: choices, weights, ranges, wildcards, variables, escapes; by a seed, or all of them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.batches.dynamic_prompts import Expansion
from orchestrator.batches.prompt_entry import PromptEntry
from orchestrator.batches.wildcards import Wildcards
from orchestrator.errors import UsageError
from orchestrator.literal_texts import looks_dynamic

SPECIAL = "{}|$_%\\"


def folder(home: Path, **files: str) -> Path:
    """Wildcards; `/` in a name is written as `__`, and the ending follows the last `_`."""
    for name, text in files.items():
        stem, _, ending = name.rpartition("_")
        path = home / "wildcards" / f"{stem.replace('__', '/')}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return home / "wildcards"


def read(text: str, home: Path | None = None, *, most: int | None = None) -> Expansion:
    expansion = Expansion(Wildcards.found((), home=home or Path("nowhere")), most)
    expansion.read({"prompt": text}, PromptEntry(text, {}, "ideas.txt line 3"))
    return expansion


def drawn(text: str, home: Path | None = None, *, times: int = 200) -> Counter[str]:
    expansion = read(text, home)
    return Counter(expansion.drawn({"prompt": text}, seed).texts["prompt"] for seed in range(times))


def every(text: str, home: Path | None = None, *, most: int = 0) -> list[str]:
    expansion = read(text, home, most=most)
    found = [one.texts["prompt"] for one in expansion.combinations({"prompt": text})]
    assert most or len(found) == expansion.count({"prompt": text})
    return found


def refusal(text: str, home: Path | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        read(text, home)
    return str(caught.value)


MEANINGS = {
    "a {red|blue} fox": ["a red fox", "a blue fox"],
    "{ red | blue }": ["red", "blue"],
    "{a|{b|c}}": ["a", "b", "c"],
    "{a|b} {c|d}": ["a c", "a d", "b c", "b d"],
    "{|a}b": ["b", "ab"],
    "{a}": ["a"],
    "{2$$a|b|c}": ["a,b", "a,c", "b,a", "b,c", "c,a", "c,b"],
    "{2$$ and $$a|b}": ["a and b", "b and a"],
    "{1-2$$, $$a|b}": ["a", "b", "a, b", "b, a"],
    "{-1$$a|b}": ["a", "b"],
    "{2-$$a|b}": ["a,b", "b,a"],
    "{2-9$$a|b}": ["a,b", "b,a"],
    "{0-1$$a|b}x": ["x", "ax", "bx"],
    "{0::a|b}": ["b"],
    "${v={a|b}}${v}${v}": ["aa", "ab", "ba", "bb"],
    "${v=!{a|b}}${v}${v}": ["aa", "bb"],
    "${v=a}${v?=b}${v}": ["a"],
    "${v:x} ${w:{y|z}}": ["x y", "x z"],
    "${a=!{x|y}}${b=!${a}{1|2}}${b}${a}": ["x1x", "x2x", "y1y", "y2y"],
    r"\{a\|b\} \$\{v\} \_\_c\_\_ \\{a|b}": [r"{a|b} ${v} __c__ \a", r"{a|b} ${v} __c__ \b"],
    r"(fox \(style\):1.2) [a|b] <lora:x:1> $5 50% #1 // a_b C:\new": None,
    '{"key": 1}': ['"key": 1'],
}
"""A text, and every text that it may become; None: itself alone."""


@pytest.mark.parametrize("text", MEANINGS)
def test_what_a_text_becomes(text: str) -> None:
    wanted = MEANINGS[text] or [text]
    assert every(text) == wanted
    assert set(drawn(text)) == set(wanted)


def test_weights_are_those_of_the_draw() -> None:
    counts = drawn("{3::a|b|0.5::c}", times=2000)
    assert {name: round(counts[name] / 2000, 1) for name in "abc"} == {"a": 0.7, "b": 0.2, "c": 0.1}


def test_a_weight_counts_within_a_range() -> None:
    assert all("a" in text.split(",") for text in drawn("{2$$1000000::a|b|c|d}", times=50))


WILDCARDS = {
    "colours_txt": "# warm ones\nred\n\n2::blue\n#green\nyellow # as the sun\n",
    "people__jobs_txt": "smith with a {hammer|tongs}\nbaker in __colours__\n",
    "moods_yaml": "mood:\n  good: [calm, merry]\n  bad:\n    - {text: grim, weight: 3}\n    - 'sad'\nyear: 1.0\n",
    "animals_yml": "- fox\n- owl\n",
    "hats_json": '{\n\t"hat": ["cap", {"content": "fez", "weight": 0}],\n\t"none": null\n}',
    "shoes_json": '["boot"]',
}
NAMED = {
    "__colours__": ["red", "blue", "yellow # as the sun"],
    "__Colours__": ["red", "blue", "yellow # as the sun"],
    "__people/jobs__": ["smith with a hammer", "smith with a tongs"]
    + [f"baker in {colour}" for colour in ("red", "blue", "yellow # as the sun")],
    "__jobs__": None,
    "__mood/good__": ["calm", "merry"],
    "__good__": ["calm", "merry"],
    "__mood/*__": ["calm", "merry", "grim", "sad"],
    "__**/g*__": ["calm", "merry"],
    "__year__": ["1.0"],
    "__animals__": ["fox", "owl"],
    "__hat__": ["cap"],
    "__shoes__": ["boot"],
    "a__animals__b": ["afoxb", "aowlb"],
    "{2$$ & $$__animals__}": ["fox & owl", "owl & fox"],
}


@pytest.mark.parametrize("text", NAMED)
def test_wildcards_of_all_kinds_of_files(tmp_path: Path, text: str) -> None:
    folder(tmp_path, **WILDCARDS)
    wanted = NAMED[text] or NAMED["__people/jobs__"]
    assert every(text, tmp_path) == wanted
    assert set(drawn(text, tmp_path)) == set(wanted)


def test_weights_of_entries(tmp_path: Path) -> None:
    folder(tmp_path, **WILDCARDS)
    counts = drawn("__bad__ __colours__", tmp_path, times=1000)
    assert sum(count for text, count in counts.items() if text.startswith("grim")) > 650
    assert sum(count for text, count in counts.items() if "blue" in text) > 420


def test_the_folders_of_other_uis(tmp_path: Path) -> None:
    for name in ("webui/extensions/sd-dynamic-prompts/wildcards", "ComfyUI/custom_nodes/pack/custom_wildcards"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / f"{name[:5]}.txt").write_text("found")
    for ui in ("webui", "ComfyUI"):
        wildcards = Wildcards.found([str(tmp_path / ui)], home=tmp_path)
        assert wildcards.choice(ui[:5], 0).options.entries[0][1].literal == "found"
    (tmp_path / "bare" / "custom_nodes").mkdir(parents=True)
    with pytest.raises(UsageError, match="no wildcards in this UI"):
        Wildcards.found([str(tmp_path / "bare")], home=tmp_path)


FAULTS: Mapping[str, tuple[str, ...]] = {
    "a {red|blue": ("ideas.txt line 3, column 3", "not closed"),
    "{a|{b|c}": ("column 1", "not closed"),
    "red} fox": ("column 4", r"write \}"),
    "a {} fox": ("column 3", "nothing between"),
    "{3$$a|b}": ("column 1", "3 are to be chosen of 2"),
    "{3-2$$a|b|c|d}": ("from 3 to 2",),
    "{0::a}": ("weight 0",),
    "{@a|b}": ("column 1", "combinatorial"),
    "x %{a$$b}": ("column 3", r"\%{"),
    "${v}": ("variable v is not set",),
    "${colour=red}${color}": ("column 14", "did you mean 'colour'?"),
    "${a=${b}}${b=${a}}${a}": ("made of itself",),
    "${a=!${a}}": ("made of itself",),
    "${v": ("not closed",),
    "${1}": ("a variable is ${name}",),
    "{${v=a}|b}": ("outside of braces",),
    "a __colours": ("column 3", "ends with __"),
    "snake__case": ("column 6", r"\_\_"),
    "__nope__": ("no folder of wildcards", "wildcards=['DIR']"),
    "__a(b=c)__": ("take no arguments",),
    "__@a__": ("combinatorial",),
    "{" * 60 + "}" * 60: ("over 50 braces",),
}


@pytest.mark.parametrize("text", FAULTS)
def test_faults_name_the_place(text: str) -> None:
    message = refusal(text)
    assert [word for word in FAULTS[text] if word not in message] == [], message


def test_faults_of_wildcards_name_their_file(tmp_path: Path) -> None:
    where = folder(
        tmp_path,
        a_txt="fine\n  x {b\n",
        round_txt="__trip__",
        trip_txt="far\nto __round__",
        unset_txt="2::a ${v}",
        empty_txt="# nothing\n",
        deep_yaml="deep:\n  - ok\n  - 'a {b'\n",
        places__a1_txt="x",
        others__a1_txt="y",
    )
    faults = {
        "__a__": f"{where}/a.txt line 2, column 5: this {{ is not closed",
        "__round__": f"{where}/trip.txt line 2, column 4: wildcards in a circle: __round__ → __trip__ → __round__",
        "x __unset__": f"{where}/unset.txt line 1, column 6: the variable v is not set",
        "__deep__": f"{where}/deep.yaml line 3, column 8: this {{ is not closed",
        "x __empty__": "ideas.txt line 3, column 3: the wildcard __empty__ has no entries",
        "__rounds__": "did you mean 'round'",
        "__a1__": "is one of __others/a1__, __places/a1__",
    }
    for text, words in faults.items():
        assert words in refusal(text, tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("x.yaml", "a: [b\n", "x.yaml, line 2: not YAML"),
        ("x.yaml", "a: &a {b: *a}\n", "nested too deep"),
        ("x.yaml", "a: [[b]]\n", "line 1, column 5: an entry is a text"),
        ("x.yaml", "a: [{text: b, wieght: 2}]\n", "line 1, column 5"),
        ("x.yaml", "a: [{text: b, weight: -2}]\n", "a weight is a number from 0"),
        ("x.json", '{"a": [1,]}', "line 1, column 10: not JSON"),
        ("x.json", '{"a": [["b"]]}', "an entry is a text"),
        ("x.txt", "a\0b", "NUL"),
    ],
)
def test_files_that_are_none(tmp_path: Path, name: str, text: str, words: str) -> None:
    where = tmp_path / "wildcards"
    where.mkdir()
    (where / name).write_text(text)
    assert words in refusal("__x__", tmp_path)


def test_a_chain_of_many_wildcards_is_refused(tmp_path: Path) -> None:
    folder(tmp_path, **{f"w{number}_txt": f"__w{number + 1}__" for number in range(60)})
    assert "over 50 wildcards" in refusal("__w0__", tmp_path)


def test_a_thousand_million_combinations_are_counted_and_the_first_are_taken(tmp_path: Path) -> None:
    folder(tmp_path, n_txt="\n".join(map(str, range(1000))))
    text = "__n__ __n__ __n__"
    assert read(text, tmp_path, most=0).count({"prompt": text}) == 10**9
    assert every(text, tmp_path, most=3) == ["0 0 0", "0 0 1", "0 0 2"]


def test_variables_that_double_end_in_an_error_not_in_memory() -> None:
    text = "".join(f"${{v{number}=${{v{number - 1}}}${{v{number - 1}}}}}" for number in range(1, 60))
    text = f"${{v0=x}}{text}${{v59}}"
    expansion = read(text)
    assert expansion.count({"prompt": text}) == 1
    with pytest.raises(UsageError, match="over 10000 choices"):
        expansion.drawn({"prompt": text}, 1)


def test_what_was_chosen_is_recorded(tmp_path: Path) -> None:
    folder(tmp_path, **WILDCARDS)
    text = "a {big {red|blue}|small} __animals__"
    (found,) = {
        json.dumps(one.record)
        for seed in range(100)
        if (one := read(text, tmp_path).drawn({"prompt": text}, seed)).texts["prompt"] == "a big red owl"
    }
    chosen = [["{big {red|blue}|small}", "big red"], ["{red|blue}", "red"], ["__animals__", "owl"]]
    assert json.loads(found) == {"texts": {"prompt": text}, "chosen": chosen}
    assert read("a fox").drawn({"prompt": "a fox"}, 1).record == {}


def test_the_draw_is_the_same_on_every_version_of_python(tmp_path: Path) -> None:
    """Python's own generators are promised to stay only in part; what was chosen once is chosen for ever."""
    folder(tmp_path, **WILDCARDS)
    text = "{2$$__colours__} {a|b|c} __mood/*__ {1-3$$x|y|z}"
    expansion = read(text, tmp_path)
    found = [expansion.drawn({"prompt": text}, seed, "a").texts["prompt"] for seed in (0, 1, 2**64 - 1)]
    assert found == GOLDEN


GOLDEN = [
    "yellow # as the sun,blue c grim x,z,y",
    "blue,yellow # as the sun c calm x,z",
    "blue,yellow # as the sun b sad x,z,y",
]

PIECES = st.one_of(
    st.sampled_from(
        [*SPECIAL, "${", "$$", "__", "{a|b}", "2$$", "::", "=", "x", " ", "\n", "é", "#", "__a__", "${v=a}"]
    ),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=3),
)
ANYTHING = st.lists(PIECES, max_size=12).map("".join)


@given(ANYTHING)
def test_any_text_means_something_or_is_refused_with_its_place(text: str) -> None:
    fault = ""
    try:
        expansion = read(text)
    except UsageError as error:
        fault = str(error)
    if fault:
        assert re.match(r"ideas\.txt line 3, (line \d+ of the text, )?column \d+: \S", fault), fault
        return
    texts = {"prompt": text}
    first = expansion.drawn(texts, 7)
    assert first == expansion.drawn(texts, 7)
    if expansion.count(texts) <= 500:
        expansion.most = 0
        found = [one.texts["prompt"] for one in expansion.combinations(texts)]
        assert len(found) == expansion.count(texts)
        assert first.texts["prompt"] in found


@given(ANYTHING)
def test_an_escaped_text_is_itself(text: str) -> None:
    escaped = re.sub(r"[{}|$_%\\]", lambda found: "\\" + found[0], text)
    assert every(escaped) == [text]
    assert looks_dynamic(escaped) is None


@given(ANYTHING)
def test_a_text_that_would_change_looks_dynamic_or_has_plain_braces_or_escapes(text: str) -> None:
    """Taken literally without --dynamic, or refused: never a choice that goes out as it is written."""
    try:
        expansion = read(text)
    except UsageError:
        return
    if expansion.count({"prompt": text}) > 1:
        assert looks_dynamic(text) is not None


@settings(max_examples=40)
@given(st.recursive(
    st.text("abc ", min_size=1, max_size=3),
    lambda inner: st.lists(inner, min_size=2, max_size=3).map(lambda some: "{" + "|".join(some) + "}"),
    max_leaves=6,
))  # fmt: skip
def test_a_choice_is_one_of_its_options_and_nothing_else(text: str) -> None:
    leaves = {leaf.strip() for leaf in re.split(r"[{}|]", text)} - {""} or {""}
    assert {one.strip() for one in every(text)} <= leaves | {""}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a {red|blue} fox", "{red|blue}"),
        ("a {red|blue", "{red|blue"),
        ("a {{x}|y}", "|y}"),
        ("{2$$a}", "{2$$a}"),
        ("by __artist__ now", "__artist__"),
        ("${v=red}", "${v="),
        ("${v}", "${v}"),
        (r"\{a|b\}", None),
        (r"\__a\__", None),
        ("{animal} [a|b] (x:1.2) a|b $5 __ __", None),
        ('{"steps": 20}', None),
        ("|" * 200_000 + "{}", None),
        ("{" * 200_000, None),
        ("_" * 200_000 + "{", None),
    ],
)
def test_what_looks_like_a_dynamic_prompt(text: str, part: str | None) -> None:
    assert looks_dynamic(text) == part
