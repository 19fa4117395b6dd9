"""Where an item's files are, when the items of one state have several output roots."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from support.report_project import NOON

from orchestrator.comfyui import ComfyUI, OutputText
from orchestrator.errors import OutputRefused, OutputRootUnusable, RecipeUnusable, StopBurst, UsageError
from orchestrator.outputs import Fetched
from orchestrator.outputs.collisions import refuse_collisions
from orchestrator.outputs.placement import Placement
from orchestrator.recipes import Recipes
from state.batch import BatchRecord
from state.item import Item, OutputRecord, Status
from state.open_store import open_store
from state.recipe import Recipe
from state.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "project" / "state.json", create=True) as opened:
        yield opened


@pytest.fixture
def placement(store: Store) -> Placement:
    return Placement(Recipes(store.recipes, store.location.home), store.location.home / "out")


def item(store: Store, root: str | None, subfolder: str = "", name: str = "a.txt", *, key: str = "a") -> Item:
    """`root`: the output root of its recipe, as that names it; None for an item without a recipe."""
    recipe = store.recipes.add(Recipe(output=root), None).id if root is not None else None
    return Item(key=key, status=Status.PENDING, subfolder=subfolder, filename=name, recipe=recipe)


def test_files_are_under_the_root_of_the_items_own_recipe(store: Store, placement: Placement, tmp_path: Path) -> None:
    home = store.location.home
    assert placement.path_of(item(store, None), "x/a.png") == home / "out/x/a.png"
    assert placement.path_of(item(store, "B"), "x/a.png") == home / "B/x/a.png"
    assert placement.path_of(item(store, str(tmp_path / "disk")), "x/a.png") == tmp_path / "disk/x/a.png"
    assert placement.roots() == [home / "out", home / "B", tmp_path / "disk"]


@pytest.mark.parametrize("recorded", ["../a.png", "/etc/passwd", "x/../../a.png", "..", "x\\a.png"])
def test_no_record_leads_out_of_its_root(store: Store, placement: Placement, recorded: str) -> None:
    with pytest.raises(OutputRefused):
        placement.path_of(item(store, "B"), recorded)
    assert placement.found(item(store, "B"), recorded) is None


def test_a_link_that_leads_out_of_the_root_is_not_found(store: Store, placement: Placement) -> None:
    """Also not one that leads into another root of the same state."""
    home = store.location.home
    for root in ("out", "B"):
        (home / root).mkdir()
    (home / "out" / "a.png").write_bytes(b"a")
    (home / "B" / "link.png").symlink_to(home / "out" / "a.png")
    assert placement.found(item(store, None), "a.png") == home / "out" / "a.png"
    assert placement.found(item(store, "B"), "link.png") is None
    assert placement.found(item(store, "B"), "a.png") is None


SAME = [
    (("out", "B/x"), ("out/B", "x")),
    (("out", ""), (".", "out")),
    (("out", "EP01"), ("out", "ep01")),
    (("out", "EP01"), ("OUT", "EP01")),
    (("out/é", "x"), (unicodedata.normalize("NFD", "out/é"), "x")),
    (("out", "x"), ("link", "x")),
    (("out", "x"), (".", "link/x")),
    (("out", "way/x"), ("out/B", "x")),
    (("out", "./x//y/"), ("out", "x/y")),
    (("out", "absent/x"), ("out/absent", "x")),
]
OTHERS = [(("out", "x"), ("B", "x")), (("out", "B"), ("out/B", "B")), (("out", "x/y"), ("out", "x y"))]


@pytest.fixture
def links(store: Store) -> None:
    """`link` leads to `out`, and `out/way` to `out/B`."""
    home = store.location.home
    (home / "out" / "B").mkdir(parents=True)
    (home / "link").symlink_to("out")
    (home / "out" / "way").symlink_to("B")


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize(("one", "other"), SAME)
def test_ways_to_one_place_are_one(
    store: Store, placement: Placement, one: tuple[str, str], other: tuple[str, str]
) -> None:
    first, second = item(store, *one, key="one"), item(store, *other, "A.md", key="other")
    assert placement.place_key(first) == placement.place_key(second)
    with pytest.raises(UsageError, match="one and other would both be saved as"):
        refuse_collisions(placement, [first, second])
    store.add([first])
    with pytest.raises(UsageError, match="one and other would both be saved as"):
        refuse_collisions(placement, [second], store=store)
    refuse_collisions(placement, [second], store=store, without={"one"})


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize(("one", "other"), OTHERS)
def test_ways_to_two_places_are_two(
    store: Store, placement: Placement, one: tuple[str, str], other: tuple[str, str]
) -> None:
    refuse_collisions(placement, [item(store, *one, key="one"), item(store, *other, key="other")])


def test_names_that_are_saved_as_two_are_two(store: Store, placement: Placement) -> None:
    """What follows the last dot is an extension only where it begins with a letter."""
    refuse_collisions(placement, [item(store, None, name=f"a 1.{number}", key=f"{number}") for number in (5, 6)])


@pytest.mark.parametrize("subfolder", ["../x", "/x", "x\0", "con", "x" * 300])
def test_a_place_where_nothing_can_be_saved_hinders_no_other(
    store: Store, placement: Placement, subfolder: str
) -> None:
    store.add([item(store, "B", subfolder, key="bad")])
    refuse_collisions(placement, [item(store, "B", "x", key="new")], store=store)


def test_an_item_whose_recipe_is_gone_hinders_no_other(store: Store, placement: Placement) -> None:
    lost = Item(key="lost", status=Status.PENDING, filename="a.txt", recipe="0" * 16)
    store.add([lost])
    refuse_collisions(placement, [item(store, None, key="new")], store=store)
    assert placement.found(lost, "a.png") is None
    assert placement.roots_of([lost.recipe, item(store, "B").recipe]) == [store.location.home / "B"]
    with pytest.raises(RecipeUnusable):
        placement.root_of(lost)


def test_files_of_a_recipe_that_is_gone_are_unknown_and_not_missing(store: Store, placement: Placement) -> None:
    output = OutputRecord(path="a.png", bytes=1, sha256="0" * 64)
    (problem,) = placement.verify(
        Item(key="lost", status=Status.COMPLETED, outputs=(output,), recipe="0" * 16), full=True
    )
    assert (problem.path, problem.kind) == ("a.png", "unknown")
    assert "0" * 16 in problem.message


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize(("one", "other"), [pair for pair in SAME if pair[0][0].lower() == pair[0][0]])
def test_what_is_promised_under_one_root_is_taken_under_the_others(
    store: Store, placement: Placement, one: tuple[str, str], other: tuple[str, str]
) -> None:
    """But for names that only some disks take for one: what is in the way then shows later."""
    first, second = item(store, *one, key="one"), item(store, *other, key="other")
    promised = [
        placement.outputs_of(each).promised(each.key, each.subfolder, each.name, [".png"]) for each in (first, second)
    ]
    is_same = (one, other) not in (SAME[2], SAME[3], SAME[4])
    assert promised == [None, "one" if is_same else None]


@pytest.mark.usefixtures("links")
def test_one_directory_has_one_outputs_however_it_is_reached(store: Store, placement: Placement) -> None:
    of = [placement.outputs_of(item(store, root)) for root in ("out", "link", "./B/../out", None)]
    assert len(set(of)) == 1
    assert placement.outputs_of(item(store, "out/B")) is not of[0]


def test_a_sidecar_takes_the_place_of_anothers_output_over_roots(store: Store, placement: Placement) -> None:
    first, second = item(store, "out", "B", "prompt.txt", key="one"), item(store, "out/B", key="other")
    assert placement.outputs_of(first).promised("one", "B", "prompt.txt", [".txt"]) is None
    taken = placement.outputs_of(second).promised("other", "", "a.png", [".png"], sidecar="prompt.txt")
    assert taken == "one"


def test_with_overwrite_nothing_of_another_root_is_replaced(store: Store) -> None:
    """What another item recorded, and what any is made of: whichever root leads there."""
    home = store.location.home
    placement = Placement(Recipes(store.recipes, home), home / "out", overwrite=True)
    for name in ("a", "b", "c"):
        (home / "out" / "B").mkdir(parents=True, exist_ok=True)
        (home / "out" / "B" / f"{name}.png").write_bytes(name.encode())
    recorded = (OutputRecord(path="a.png", bytes=1, sha256="0" * 64),)
    others = [
        Item(key="done", status=Status.COMPLETED, outputs=recorded, recipe=item(store, "out/B").recipe),
        Item(key="made of", status=Status.PENDING, uploads={"image": "out/B/b.png"}),
    ]
    placement.spare(others)
    outputs = placement.outputs_of(item(store, None))
    in_the_way = [outputs.occupied("B", f"{name}.txt", [".png"], []) for name in ("a", "b", "c")]
    assert [path.name if path is not None else None for path in in_the_way] == ["a.png", "b.png", None]


def test_a_batch_has_a_directory_under_each_root_of_its_items(store: Store, placement: Placement) -> None:
    home = store.location.home
    record = BatchRecord(
        batch="b", created_at=NOON, total=2, layout="batch", directory="batch_b", recipe=item(store, "A").recipe
    )
    assert placement.directories_of(record, []) == [home / "A/batch_b"]
    items = [item(store, "B"), item(store, "C"), item(store, "B")]
    assert placement.directories_of(record, [one.recipe for one in items]) == [home / "B/batch_b", home / "C/batch_b"]
    assert placement.path_from(home / "B", items[0], "batch_b/a.png") == "batch_b/a.png"
    assert placement.path_from(home / "B", items[1], "batch_b/a.png") == "../C/batch_b/a.png"


def fetched_text(placement: Placement, one: Item) -> Fetched:
    return placement.outputs_of(one).fetch(
        cast(ComfyUI, None),
        [],
        [OutputText(node_id="1", kind="text", text="x")],
        subfolder=one.subfolder,
        filename=one.name,
        prompt_id=f"prompt-{one.key}",
        own=[],
    )


def test_a_root_that_refuses_hinders_no_other_from_being_placed(store: Store, placement: Placement) -> None:
    """And is not tried again, even when it would take files by then."""
    home = store.location.home
    items = [item(store, root, key=root) for root in "BCB"]
    fetched = [(one, fetched_text(placement, one)) for one in items]
    (home / "B").rename(home / "away")
    (home / "B").touch()
    first, second, third = placement.place(fetched)
    assert isinstance(first, OutputRootUnusable)
    assert isinstance(third, OutputRootUnusable)
    assert first.root == home / "B"
    assert isinstance(second, list)
    assert (home / "C" / "a.txt").read_text() == "x"
    (home / "B").unlink()
    with pytest.raises(OutputRootUnusable), placement.writing(placement.outputs_of(items[0])):
        pytest.fail("it was tried again")


def test_what_comes_after_the_end_is_not_placed(store: Store, placement: Placement) -> None:
    """The directory of a recipe that is first met when the run has been told to leave at once."""
    placement.abandon()
    with pytest.raises(StopBurst):
        fetched_text(placement, item(store, "B"))
    assert not list((store.location.home / "B").iterdir())
