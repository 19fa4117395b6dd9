"""What tells the images of a batch from one another."""

from __future__ import annotations

from typing import Any

import pytest
from support.hand_clock import BEGINNING

from orchestrator.batches.differences import differences, title_of
from state.batch import BatchRecord
from state.item import Item, Status


def record(**said: Any) -> BatchRecord:
    return BatchRecord(
        **{"batch": "b", "created_at": BEGINNING, "total": 2, "layout": "batch", "directory": "b"}
        | {"prompts": ("a fox",)}
        | said
    )


def item(prompt: str = "a fox", *, dynamic: dict[str, Any] | None = None, **inputs: Any) -> Item:
    return Item(
        key="b/1", status=Status.PENDING, prompt_text=prompt, dynamic=dynamic or {}, inputs={"seed": 7, **inputs}
    )


ANIMALS = {"axes": {"{animal}": "cat"}, "texts": {"prompt": "a {animal}"}}


@pytest.mark.parametrize(
    ("said", "one", "words"),
    [
        ({"parameters": {"steps": 9}}, item(steps=9), []),
        ({"axes": {"cfg": [5.0, 7.5], "size": ["512x512", "512x768"]}}, item(cfg=7.5, width=512, height=768), None),
        ({"prompts": ("a fox", "a cat")}, item("a cat"), ["a cat"]),
        # Those of a list: what a row gives to its image alone.
        (
            {"prompts": ("a fox", "a cat"), "parameters": {"cfg": 5.0}},
            item("a cat", cfg=5.0, steps=9),
            ["a cat", "steps 9"],
        ),
        (
            {"axes": {"{animal}": ["fox", "cat"]}, "prompts": ("a fox", "a cat")},
            item("a cat", dynamic=ANIMALS),
            ["animal cat"],
        ),
        # More prompts than the sweep makes of one.
        (
            {"axes": {"{animal}": ["fox", "cat"]}, "prompts": ("a fox", "a cat", "one fox", "one cat")},
            item("a cat", dynamic=ANIMALS),
            ["a {animal}", "animal cat"],
        ),
        (
            {"axes": {"prompt:fox": ["fox", "cat"]}, "prompts": ("a fox", "a cat")},
            item("a cat", dynamic={"axes": {"prompt:fox": "cat"}, "texts": {"prompt": "a fox"}}),
            ["fox → cat"],
        ),
        # One that a person has changed by hand is in no cell.
        ({"axes": {"cfg": [5.0, 7.5]}}, item(cfg=6.0), []),
    ],
)
def test_what_differs(said: dict[str, Any], one: Item, words: list[str] | None) -> None:
    assert differences(record(**said), one) == (["cfg 7.5", "size 512x768"] if words is None else words)


def test_a_batch_of_several_prompts_is_not_called_by_the_first_alone() -> None:
    assert title_of(("a fox",)) == "a fox"
    assert title_of(()) == ""
    assert title_of(("a fox", "a cat")) == "a fox · a cat"
    assert title_of(tuple("abcde")) == "a · b · c · d · e · …"
