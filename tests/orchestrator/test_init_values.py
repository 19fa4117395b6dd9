"""Seeds and values that `burst init` gives new items."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import UsageError
from orchestrator.init_state import init_state
from orchestrator.init_values import InitValues
from orchestrator.settings import Overrides
from state.item import Item
from state.open_store import open_store


def init(home: Path, *names: str, template: str | None = "txt2img-sd15", **said: Any) -> list[Item]:
    (home / "prompts").mkdir(exist_ok=True)
    for name in names:
        (home / "prompts" / name).write_text("a fox")
    overrides = Overrides(template=template, output_dir=home / "out")
    init_state(home / "state.json", [home / "prompts"], overrides=overrides, values=InitValues(**said))
    with open_store(home / "state.json", read_only=True) as store:
        return list(store.items())


def test_every_item_has_a_seed_of_its_own(tmp_path: Path) -> None:
    for number, said in enumerate(({"seed_mode": "random"}, {"seed": -1}, {"seed": -1, "seed_mode": "random"})):
        home = tmp_path / str(number)
        home.mkdir()
        items = init(home, "a.txt", "b.txt", **said)
        assert len({item.inputs["seed"] for item in items}) == 2


def test_one_seed_and_values_for_all_that_are_added_and_none_for_those_that_are_there(tmp_path: Path) -> None:
    init(tmp_path, "a.txt")
    init(tmp_path, "b.txt", seed=7, sets={"size": "64x128", "3.steps": "9"})
    items = init(tmp_path, "c.TXT", seed=0, seed_mode="fixed")
    assert [item.inputs for item in items] == [{}, {"seed": 7, "width": 64, "height": 128, "steps": 9}, {"seed": 0}]


REFUSED = [
    ({"seed_mode": "fixed"}, "seed_mode='fixed': give seed too"),
    ({"seed": 1, "seed_mode": "random"}, "leave seed out"),
    ({"seed": -2}, "seed: seed is from 0"),
    ({"sets": {"seed": 5}}, "use seed"),
    ({"sets": {"stesp": 5}}, "did you mean 'steps'"),
    ({"sets": {"steps": 5, "3.steps": 6}}, "steps is given twice"),
    ({"seed": 1, "template": None}, "template: none is set"),
]


@pytest.mark.parametrize(("said", "message"), REFUSED, ids=[message[:30] for _, message in REFUSED])
def test_what_does_not_fit_is_refused_with_nothing_written(tmp_path: Path, said: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        init(tmp_path, "a.txt", **said)
    assert not (tmp_path / "state.json").exists()
