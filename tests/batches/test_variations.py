"""Variations: how many, in which order, with which seeds and values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from orchestrator.batches.prompt_entry import PromptEntry
from orchestrator.batches.spec import BatchSpec
from orchestrator.batches.values import LARGEST_SEED
from orchestrator.batches.variation import Variation
from orchestrator.batches.variations import LARGEST_BATCH, count_of, drawn_seed, vary
from orchestrator.errors import UsageError


def wish(prompt: str = "a house", **inputs: Any) -> PromptEntry:
    return PromptEntry(prompt, inputs, "prompts.csv line 7")


def varied(
    *wishes: PromptEntry, has_seed: bool = True, draw: Callable[[], int] = drawn_seed, **said: Any
) -> list[Variation]:
    return vary(wishes or [wish()], spec=BatchSpec(prompt="-", **said), has_seed=has_seed, draw=draw)


def seeds(variations: Sequence[Variation]) -> list[int]:
    return [variation.inputs["seed"] for variation in variations]


def drawing(*numbers: int) -> Callable[[], int]:
    return iter(numbers).__next__


def test_the_seed_goes_up_by_one_from_its_base() -> None:
    found = varied(seed=41, count=3)
    assert seeds(found) == [41, 42, 43]
    assert [(one.index, one.number, one.of, one.prompt, one.axes) for one in found] == [
        (number, number, 3, "a house", {}) for number in (1, 2, 3)
    ]


def test_without_a_seed_one_is_drawn_and_all_go_up_from_it() -> None:
    assert seeds(varied(wish("a"), wish("b"), count=3, draw=drawing(7))) == [7, 8, 9, 7, 8, 9]


def test_each_prompt_begins_anew_and_its_own_seed_is_its_base() -> None:
    found = varied(wish("a"), wish("b", seed=100), wish("c"), seed=5, count=2)
    assert [(one.index, one.prompt, one.inputs["seed"]) for one in found] == [
        (1, "a", 5),
        (2, "a", 6),
        (3, "b", 100),
        (4, "b", 101),
        (5, "c", 5),
        (6, "c", 6),
    ]


def test_the_seeds_of_equal_prompts_go_on_where_the_one_before_ended() -> None:
    found = varied(wish("a"), wish("b"), wish("a "), wish("a"), count=2, seed=5)
    assert seeds(found) == [5, 6, 5, 6, 7, 8, 9, 10]
    assert seeds(varied(wish("a"), wish("a"), count=2, draw=drawing(7))) == [5, 6, 7, 8], "from what was drawn or below"
    assert seeds(varied(wish("a"), wish("a"), draw=drawing(0))) == [0, 1]


def test_prompts_that_differ_in_a_value_or_have_seeds_of_their_own_are_not_equal() -> None:
    assert seeds(varied(wish("a", steps=3), wish("a", steps=4), wish("a", steps=3), seed=5)) == [5, 5, 6]
    assert seeds(varied(wish("a", seed=9), wish("a", seed=9), wish("a"), seed=5)) == [9, 9, 5]
    assert seeds(varied(wish("a"), wish("a"), seed=5, seed_mode="fixed")) == [5, 5]


def test_fixed_seeds_are_the_same_across_frames() -> None:
    assert seeds(varied(wish("a"), wish("b", seed=100), count=2, seed=5, seed_mode="fixed")) == [5, 5, 100, 100]
    assert seeds(varied(wish("a"), wish("b"), seed_mode="fixed", draw=drawing(9))) == [9, 9]
    highest = varied(seed=LARGEST_SEED, count=2, seed_mode="fixed")
    assert seeds(highest) == [LARGEST_SEED] * 2


def test_random_seeds_are_each_prompts_own_and_differ() -> None:
    draw = drawing(0, 3, 3, 4, 1, 2, 9)
    assert seeds(varied(wish("a"), wish("b"), count=3, seed_mode="random", draw=draw)) == [3, 4, 5, 1, 2, 9]


def test_a_drawn_seed_leaves_room_for_999_variations_in_32_bits() -> None:
    drawn = [drawn_seed() for _ in range(1000)]
    assert len(set(drawn)) > 990
    assert 2**30 < max(drawn) <= 2**32 - 1 - 998


def test_a_template_without_a_seed_is_given_none() -> None:
    found = varied(wish(cfg=7), has_seed=False, count=2, sweeps={"steps": (10, 20)})
    assert [one.inputs for one in found] == [{"cfg": 7, "steps": steps} for steps in (10, 10, 20, 20)]


def test_what_a_row_says_wins_over_what_is_said_for_all() -> None:
    said = {"cfg": 7, "size": (512, 512), "sets": {"3.denoise": 0.5, "lora_strength": 1}, "seed": 1}
    (found,) = varied(wish(cfg=9, height=768, **{"3.denoise": 0.25}), **said)
    assert found.inputs == {
        "cfg": 9,
        "width": 512,
        "height": 768,
        "3.denoise": 0.25,
        "lora_strength": 1,
        "seed": 1,
    }


def test_sweeps_are_crossed_and_their_cells_share_the_seeds() -> None:
    found = varied(seed=5, count=2, sweeps={"cfg": (5, 7), "size": ("512x512", "512x768")})
    cells = [(cfg, height) for cfg in (5, 7) for height in (512, 768)]
    assert [(one.inputs["cfg"], one.inputs["height"], one.inputs["seed"]) for one in found] == [
        (*cell, seed) for cell in cells for seed in (5, 6)
    ]
    assert found[2].axes == {"cfg": 5, "size": "512x768"}
    assert all(one.inputs["width"] == 512 and "size" not in one.inputs for one in found)
    assert [(one.index, one.number, one.of) for one in found] == [(number, number, 8) for number in range(1, 9)]


def test_random_seeds_too_are_shared_by_the_cells() -> None:
    found = varied(count=2, seed_mode="random", sweeps={"cfg": (5, 7)}, draw=drawing(0, 3, 8))
    assert seeds(found) == [3, 8, 3, 8]


def test_a_sweep_may_be_of_seeds() -> None:
    found = varied(wish("a"), wish("b"), sweeps={"seed": (4, 2)})
    assert [(one.prompt, one.inputs["seed"], one.axes) for one in found] == [
        (prompt, seed, {"seed": seed}) for prompt in "ab" for seed in (4, 2)
    ]


def test_names_go_with_their_prompt() -> None:
    (found,) = varied(PromptEntry("a", {}, "x", name="hero", subfolder="EP01"))
    assert (found.name, found.subfolder) == ("hero", "EP01")


@pytest.mark.parametrize(
    ("row", "said", "message"),
    [
        ({"cfg": 5}, {"sweeps": {"cfg": (5, 7)}}, "prompts.csv line 7: it sets cfg, and sweeps"),
        ({"height": 512}, {"sweeps": {"size": ("8x8",)}}, "prompts.csv line 7: it sets height, and sweeps"),
        ({"seed": 5}, {"sweeps": {"seed": (1,)}}, "prompts.csv line 7: it sets seed, and sweeps"),
        ({"seed": 5}, {"seed_mode": "random"}, "prompts.csv line 7: .* seed_mode='random'"),
        ({"seed": LARGEST_SEED}, {"count": 2}, "prompts.csv line 7, seed: .* ends over 18446744073709551615"),
    ],
)
def test_a_row_against_a_flag_is_refused(row: dict[str, Any], said: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        varied(wish(**row), **said)


def test_a_batch_takes_100_000_and_refuses_more_before_it_makes_any() -> None:
    most = BatchSpec(prompt="a", count=10, sweeps={"cfg": tuple(range(10)), "steps": tuple(range(10))})
    assert count_of(100, most) == LARGEST_BATCH
    with pytest.raises(UsageError, match=r"^101 prompts × 10 of cfg × 10 of steps × 10 variations are 101000"):
        count_of(101, most)


def test_a_sweep_of_a_million_is_refused_at_once() -> None:
    def never() -> int:
        raise AssertionError("a seed was drawn")

    values = tuple(range(1000))
    with pytest.raises(UsageError, match=r"1 prompt × 1000 of 3\.x × 1000 of 3\.y × 1 variation are 1000000 items"):
        varied(sweeps={"3.x": values, "3.y": values}, draw=never)
    endless = {f"3.{number}": values for number in range(50)}
    with pytest.raises(UsageError, match="items, and one batch takes up to 100000"):
        varied(sweeps=endless, draw=never)


SWEEPS = st.dictionaries(
    st.sampled_from(["cfg", "steps", "sampler", "3.x"]),
    st.lists(st.integers(), min_size=1, max_size=3, unique=True).map(tuple),
    max_size=3,
)
ROWS = st.fixed_dictionaries({}, optional={"seed": st.integers(0, 2**40), "model": st.text(max_size=3)})


@given(
    rows=st.lists(ROWS, max_size=4),
    sweeps=SWEEPS,
    variations=st.integers(1, 5),
    mode=st.sampled_from(["increment", "random", "fixed"]),
    drawn=st.integers(0, 3),
)
def test_nothing_is_lost_and_nothing_is_made_twice(
    rows: list[dict[str, Any]], sweeps: dict[str, tuple[int, ...]], variations: int, mode: Any, drawn: int
) -> None:
    assume(mode != "random" or not any("seed" in row for row in rows))
    draws = count()
    asked = BatchSpec(prompt="-", count=variations, sweeps=sweeps, seed_mode=mode)
    wishes = [wish(str(number), **row) for number, row in enumerate(rows)]
    found = vary(wishes, spec=asked, has_seed=True, draw=lambda: next(draws) % (drawn + 1))

    assert len(found) == count_of(len(wishes), asked)
    assert [one.index for one in found] == list(range(1, len(found) + 1))
    for prompt in wishes:
        of_prompt = [one for one in found if one.prompt == prompt.prompt]
        cells = Counter(tuple(one.axes.items()) for one in of_prompt)
        assert set(cells.values()) == {variations}
        assert len(cells) == asked.cells
        by_cell = {cell: [one.inputs["seed"] for one in of_prompt if tuple(one.axes.items()) == cell] for cell in cells}
        (shared,) = {tuple(of_cell) for of_cell in by_cell.values()}
        assert len(set(shared)) == (1 if mode == "fixed" else variations)
        assert shared[0] == prompt.inputs.get("seed", shared[0])
        assert all(one.axes.items() <= one.inputs.items() for one in of_prompt)
