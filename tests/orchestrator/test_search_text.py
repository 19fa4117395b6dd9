"""What a search means, and what is said where it means nothing."""

from __future__ import annotations

import pytest

from orchestrator.results.search_text import WrongTerm, parsed


@pytest.mark.parametrize(
    ("text", "words", "without"),
    [
        ("a fox", ("a", "fox"), ()),
        ('"a  fox" -"b c" -d', ("a  fox",), ("b c", "d")),
        ('"still being typed', ("still being typed",), ()),
        ('"http://x"', ("http://x",), ()),
        ("8:10 (a:1.2) <lora:x:1> - --", ("8:10", "(a:1.2)", "<lora:x:1>", "-"), ("-",)),
        ('"" -"" ', (), ()),
        ("fox fox", ("fox",), ()),
        ('fo"x', ('fo"x',), ()),
    ],
)
def test_words(text: str, words: tuple[str, ...], without: tuple[str, ...]) -> None:
    query = parsed(text)
    assert (query.words, query.without, query.conditions) == (words, without, ())


def test_conditions() -> None:
    text = 'Model:"sd xl" -steps>=20 is:Favorite custom:3'
    found = [(one.key, one.operator, one.value, one.not_) for one in parsed(text, names=lambda: ["custom"]).conditions]
    assert found == [
        ("model", ":", "sd xl", False),
        ("steps", ">=", "20", True),
        ("is", ":", "favorite", False),
        ("custom", ":", "3", False),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "modle:x",
            "There is no key 'modle'; did you mean 'model'? To look for the text, put it in quotes: \"modle:x\"",
        ),
        ("zzz:x", "There is no key 'zzz'; use model, lora, "),
        ("http://x", 'put it in quotes: "http:'),
        ("model:", "model: needs a value, such as model:sdxl"),
        ('tag:""', "tag: needs a value, such as tag:best"),
        ("steps>many", "steps>many: after > comes a number, such as steps>20"),
        ("model>x", "model>x: after > comes a number"),
        ("tag>x", "tag>x: write tag:x"),
        ("is:great", "is:great means nothing: use is:favorite, is:tagged, is:image, "),
        ("before:yesterday", "before:yesterday: write a day such as before:2030-01-31"),
        ("after:2030-02-30", "after:2030-02-30: write a day"),
        ("after:2030-01-01T12:00", "after:2030-01-01T12:00: write a day"),
        ("steps>1e999", "after > comes a number"),
    ],
)
def test_a_wrong_term_is_one_message(text: str, said: str) -> None:
    with pytest.raises(WrongTerm) as caught:
        parsed(f"fox {text}")
    assert said in str(caught.value)
