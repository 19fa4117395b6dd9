"""What was asked for, and what images are made with: two things."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.front_ends import front
from support.hand_clock import BEGINNING

from orchestrator.batches.batch_info import infos_of
from orchestrator.batches.batch_parameters import asked_parameters, effective_parameters
from orchestrator.sandbox import Sandbox
from state.batch import BatchRecord
from state.item import Item, Status

OF_TEMPLATE: Mapping[str | None, Mapping[str, Any]] = {
    "r": {"model": "a.safetensors", "steps": 20, "cfg": 7.0},
    "s": {"model": "b.safetensors", "steps": 20},
    None: {},
}


def record(**said: Any) -> BatchRecord:
    return BatchRecord(
        **{"batch": "b", "created_at": BEGINNING, "total": 2, "layout": "batch", "directory": "b", "recipe": "r"} | said
    )


def items(*inputs: dict[str, Any], recipes: str = "rr") -> list[Item]:
    return [
        Item(key=f"b/{number}", status=Status.PENDING, inputs=of_one, recipe=recipe)
        for number, (of_one, recipe) in enumerate(zip(inputs, recipes, strict=False), 1)
    ]


@pytest.mark.parametrize(
    ("asked", "inputs", "effective"),
    [
        ({}, [{"seed": 1}, {"seed": 2}], {"model": "a.safetensors", "steps": 20, "cfg": 7.0}),
        (
            {"steps": 9, "seed": 1},
            [{"steps": 9, "seed": 1}, {"steps": 9, "seed": 2}],
            {"model": "a.safetensors", "steps": 9, "cfg": 7.0},
        ),
        # A column of a list: what differs is no parameter of the batch, whoever else has the default.
        ({}, [{"steps": 9}, {}], {"model": "a.safetensors", "cfg": 7.0}),
        ({}, [{"steps": 9, "denoise": 0.5}, {"steps": 9, "denoise": 0.5}], None),
    ],
)
def test_what_all_images_are_made_with(
    asked: dict[str, Any], inputs: list[dict[str, Any]], effective: dict[str, Any] | None
) -> None:
    of_rows = {"model": "a.safetensors", "steps": 9, "cfg": 7.0, "denoise": 0.5}
    found = effective_parameters(record(parameters=asked), items(*inputs), OF_TEMPLATE.__getitem__)
    assert found == (of_rows if effective is None else effective)


def test_of_a_part_only_what_holds_for_all_is_told() -> None:
    """The rows that are not looked at may have other values."""
    some = items({"steps": 9, "cfg": 5.0}, {"steps": 9, "cfg": 5.0})
    said = record(parameters={"cfg": 5.0})
    assert effective_parameters(said, some, OF_TEMPLATE.__getitem__, whole=False) == {
        "model": "a.safetensors",
        "cfg": 5.0,
    }


def test_a_sweep_and_items_of_several_recipes() -> None:
    swept = record(axes={"cfg": [5.0, 7.5]})
    one = items({"cfg": 5.0}, recipes="r")
    assert effective_parameters(swept, one, OF_TEMPLATE.__getitem__) == {"model": "a.safetensors", "steps": 20}
    assert effective_parameters(record(), items({}, {}, recipes="rs"), OF_TEMPLATE.__getitem__) == {"steps": 20}
    assert effective_parameters(record(), [], OF_TEMPLATE.__getitem__)["steps"] == 20


def test_a_drawn_seed_was_not_asked_for() -> None:
    drawn = {"parameters": {"seed": 7, "steps": 9}}
    assert asked_parameters(record(**drawn, request_parts={"--prompt": "a fox"})) == {"steps": 9}
    assert asked_parameters(record(**drawn, request_parts={"--seed": 7})) == {"seed": 7, "steps": 9}
    assert asked_parameters(record(**drawn)) == {"seed": 7, "steps": 9}, "an old record does not tell"


def test_a_batch_of_defaults_tells_them_and_not_as_choices(tmp_path: Path) -> None:
    """In the browser's API and in its batch_info.json."""
    with Sandbox() as sandbox, front(tmp_path, sandbox, works=False) as found:
        batch = found.start(baseParameters={"steps": 9})["batchId"]
        told = found.progress(batch)
        assert told["parameters"] == {"steps": 9}
        effective = told["effectiveParameters"]
        assert effective | {"negative": None} == {
            "model": "sd_xl_base_1.0.safetensors",
            "steps": 9,
            "cfg": 6.5,
            "sampler": "dpmpp_2m",
            "scheduler": "karras",
            "denoise": 1.0,
            "width": 1024,
            "height": 1024,
            "batch_size": 1,
            "negative": None,
        }
        state, watched = found.watched.find(batch) or pytest.fail("the batch is gone")
        ((_, info),) = infos_of(state.placement, watched.record, list(watched.items()), ended_at=None)
        assert (info["parameters"], info["effective_parameters"]) == ({"steps": 9}, effective)
        json.dumps(info["effective_parameters"])
