"""`burst sync`: a list is the wanted state of a named batch, and nothing that is there is ever renamed."""

from __future__ import annotations

from pathlib import Path, PurePath

import pytest
from support.sync_scene import SyncScene

from orchestrator.errors import UsageError
from state.item import Item
from state.open_store import open_store, parts_of


@pytest.fixture
def scene(tmp_path: Path) -> SyncScene:
    return SyncScene(tmp_path)


def identity(item: Item) -> tuple[str, int | None, str, object]:
    """What never changes."""
    return item.key, item.index, item.filename, item.inputs["seed"]


def test_a_list_becomes_a_batch_and_again_is_once(scene: SyncScene) -> None:
    first = scene.sync("prompt,cfg", "a,7", "b,", "a,7")
    assert (first.created, len(first.added), first.unchanged) == (True, 3, 0)
    before = scene.items()
    again = scene.sync()
    assert (again.created, again.added, again.changed, again.gone, again.unchanged) == (False, (), [], [], 3)
    assert scene.items() == before
    assert again.batch == first.batch


def test_new_rows_take_the_next_numbers_wherever_they_stand(scene: SyncScene) -> None:
    scene.sync("prompt", "a", "b")
    before = scene.items()
    outcome = scene.sync("prompt", "x", "b", "a", "y", "b")
    assert ([row.item.prompt_text for row in outcome.added], outcome.unchanged) == (["x", "y", "b"], 2)
    assert scene.said() == [(n, text, "pending") for n, text in enumerate("abxyb", 1)]
    assert [identity(item) for item in scene.items()[:2]] == [identity(item) for item in before]
    assert [item.filename for item in scene.items()] == [f"image_{n:03d}.png" for n in range(1, 6)]
    assert len({item.subfolder for item in scene.items()}) == 1
    assert [batch.record.total for batch in parts_of(scene.state).batches.read().values()] == [5]


def test_a_batch_of_one_that_grows_keeps_its_name_without_a_number(scene: SyncScene) -> None:
    scene.sync("prompt", "a")
    scene.sync("prompt", "a", "b")
    names = [(item.key[-4:], item.filename, PurePath(item.sidecar or "").name) for item in scene.items()]
    assert names == [("/001", "image.png", "prompt.txt"), ("/002", "image_002.png", "prompt_002.txt")]


def test_a_batch_that_outgrows_its_digits_keeps_its_names(scene: SyncScene) -> None:
    scene.sync("prompt,count", "a,998")
    scene.sync("prompt,count", "a,998", "b,3")
    assert [(item.key.rpartition("/")[2], item.filename) for item in scene.items()[-4:]] == [
        ("998", "image_998.png"),
        ("999", "image_999.png"),
        ("1000", "image_1000.png"),
        ("1001", "image_1001.png"),
    ]


def test_a_changed_row_without_an_id_is_one_gone_and_one_added(scene: SyncScene) -> None:
    scene.sync("prompt", "a", "b")
    outcome = scene.sync("prompt", "a", "c")
    assert [(row.item.prompt_text, row.what) for row in (*outcome.added, *outcome.gone)] == [
        ("c", "new"),
        ("b", "pending"),
    ]
    assert (list(outcome.changed), scene.said()) == (
        [],
        [(1, "a", "pending"), (2, "b", "pending"), (3, "c", "pending")],
    )


def test_a_changed_row_with_an_id_is_changed_where_it_is(scene: SyncScene) -> None:
    scene.sync("id,prompt,cfg", "hero,a,7", "villain,b,")
    scene.complete(1)
    before = scene.items()
    plan = scene.sync("id,prompt,cfg", "villain,c,", "hero,a,8", dry_run=True)
    assert [(row.item.row_id, row.what) for row in plan.changed] == [("villain", "edited"), ("hero", "redone")]
    assert scene.items() == before
    outcome = scene.sync()
    assert [(row.item.row_id, row.what) for row in outcome.changed] == [("villain", "edited"), ("hero", "redone")]
    assert [identity(item) for item in scene.items()] == [identity(item) for item in before]
    hero, villain = scene.items()
    assert (hero.status, hero.inputs["cfg"], hero.outputs, hero.attempts) == ("pending", 8, before[0].outputs, 0)
    assert (villain.prompt_text, villain.status) == ("c", "pending")
    assert (scene.sync().changed, scene.sync().unchanged) == ([], 2)


def test_a_column_name_is_an_id_where_there_is_no_other(scene: SyncScene) -> None:
    scene.sync("name,prompt", "hero,a", "villain,b")
    outcome = scene.sync("name,prompt", "villain,b", "hero,c")
    assert [(row.item.row_id, row.what) for row in outcome.changed] == [("hero", "edited")]
    assert scene.said() == [(1, "c", "pending"), (2, "b", "pending")]


def test_rows_that_are_gone_are_cancelled_on_request_and_come_back(scene: SyncScene) -> None:
    scene.sync("prompt", "a", "b", "c")
    scene.complete(1)
    kept = scene.sync("prompt", "c")
    assert [(row.item.prompt_text, row.what) for row in kept.gone] == [("a", "completed"), ("b", "pending")]
    pruned = scene.sync(prune=True)
    assert [(row.item.prompt_text, row.what) for row in pruned.gone] == [("a", "completed"), ("b", "pruned")]
    assert scene.said() == [(1, "a", "completed"), (2, "b", "cancelled"), (3, "c", "pending")]
    before = scene.items()
    back = scene.sync("prompt", "b", "c", "d")
    assert [(row.item.prompt_text, row.what) for row in back.added] == [("b", "back"), ("d", "new")]
    assert scene.said()[1:] == [(2, "b", "pending"), (3, "c", "pending"), (4, "d", "pending")]
    assert identity(scene.items()[1]) == identity(before[1])


def test_a_pruned_number_is_never_taken_again(scene: SyncScene) -> None:
    scene.sync("prompt", "a", "b")
    scene.sync("prompt", "a", prune=True)
    scene.sync("prompt", "a", "c")
    assert scene.said() == [(1, "a", "pending"), (2, "b", "cancelled"), (3, "c", "pending")]


def test_what_the_user_cancelled_stays_so(scene: SyncScene) -> None:
    scene.sync("id,prompt", "x,a", "y,b")
    scene.cancel(1, 2)
    outcome = scene.sync("id,prompt", "x,a", "y,c")
    assert [(row.item.row_id, row.what) for row in outcome.changed] == [("y", "cancelled")]
    assert scene.said() == [(1, "a", "cancelled"), (2, "c", "cancelled")]
    assert scene.sync().unchanged == 2


def test_an_edited_item_is_still_its_row(scene: SyncScene) -> None:
    scene.sync("prompt", "a", "b")
    scene.edit(1, prompt_text="another text")
    assert (scene.sync().unchanged, scene.items()[0].prompt_text) == (2, "another text")


def test_what_a_server_renders_is_left_and_changed_by_the_next_call(scene: SyncScene) -> None:
    scene.sync("id,prompt", "x,a")
    scene.submit(1)
    left = scene.sync("id,prompt", "x,b")
    assert [row.what for row in left.changed] == ["left"]
    assert scene.said() == [(1, "a", "submitted")]
    scene.edit(1, status="completed")
    assert [row.what for row in scene.sync().changed] == ["redone"]
    assert scene.said() == [(1, "b", "pending")]


def test_variations_of_a_row_grow_and_shrink(scene: SyncScene) -> None:
    scene.sync("id,prompt,count", "x,a,2", "y,b,1", seed=10)
    scene.sync("id,prompt,count", "x,a,3", "y,b,1")
    assert [(item.row_id, item.inputs["seed"]) for item in scene.items()] == [
        ("x", 10),
        ("x", 11),
        ("y", 10),
        ("x", 12),
    ]
    assert [row.item.index for row in scene.sync("id,prompt,count", "x,a,1", "y,b,1").gone] == [2, 4]


def test_new_variations_and_rows_go_on_from_the_seed_that_was_drawn(scene: SyncScene) -> None:
    scene.sync("prompt,count", "a,2")
    first = scene.items()[0].inputs["seed"]
    scene.sync("prompt,count", "a,3", "b,1")
    assert [item.inputs["seed"] - first for item in scene.items()] == [0, 1, 2, 0]


def test_a_seed_of_its_own_that_changes_is_a_change(scene: SyncScene) -> None:
    scene.sync("id,prompt,seed", "x,a,", "y,b,5")
    drawn = scene.items()[0].inputs["seed"]
    outcome = scene.sync("id,prompt,seed", "x,a,-1", "y,b,6")
    assert [row.item.row_id for row in outcome.changed] == ["y"]
    assert [item.inputs["seed"] for item in scene.items()] == [drawn, 6]


def test_a_batch_keeps_what_it_was_made_with_where_nothing_else_is_said(scene: SyncScene) -> None:
    scene.sync(
        "id,prompt", "x,a", steps=9, cfg=6.5, size=(64, 128), count=2, priority="high", sets={"4.ckpt_name": "m"}
    )
    outcome = scene.sync("id,prompt", "x,a", "y,b")
    assert (outcome.changed, outcome.unchanged, len(outcome.added)) == ([], 2, 2)
    first, *_, last = scene.items()
    assert {**last.inputs, "seed": 0} == {**first.inputs, "seed": 0}
    assert last.priority == "high"
    changed = scene.sync(steps=12)
    assert ({row.what for row in changed.changed}, len(changed.changed)) == ({"edited"}, 4)
    assert [(item.inputs["steps"], item.inputs["cfg"]) for item in scene.items()] == [(12, 6.5)] * 4


def test_a_batch_of_generate_follows_its_list_too(scene: SyncScene) -> None:
    scene.generate("prompt,steps", "a,9", "b,", count=2, seed=3)
    outcome = scene.sync("prompt,steps", "b,", "a,9", "c,")
    assert (outcome.created, outcome.unchanged, len(outcome.added)) == (False, 4, 2)


def test_a_batch_from_before_rows_were_noted_follows_its_list(scene: SyncScene) -> None:
    scene.generate("prompt,steps,seed", "a,9,", "b,,7")
    for number in (1, 2):
        scene.edit(number, row_digest="")
    outcome = scene.sync("prompt,steps,seed", "b,,7", "a,9,", "c,,")
    assert (outcome.unchanged, len(outcome.added), outcome.gone) == (2, 1, [])
    assert all(item.row_digest for item in scene.items())


def test_priorities_follow_the_column_and_no_other(scene: SyncScene) -> None:
    scene.sync("prompt,priority", "a,low", "b,")
    scene.edit(2, priority="urgent")
    outcome = scene.sync("prompt,priority", "a,high", "b,")
    assert [(row.item.prompt_text, row.what) for row in outcome.changed] == [("a", "priority")]
    assert [item.priority for item in scene.items()] == ["high", "urgent"]


def test_in_a_mirror_a_changed_row_keeps_its_file(scene: SyncScene) -> None:
    scene.sync("name,prompt", "hero,a", layout="mirror")
    scene.complete(1)
    scene.sync("name,prompt", "hero,b", "villain,c")
    assert [(item.filename, item.prompt_text) for item in scene.items()] == [("hero.png", "b"), ("villain.png", "c")]


def test_dynamic_rows_are_compared_as_they_are_written(scene: SyncScene) -> None:
    scene.sync("prompt", "a {red|blue} fox", "an owl", dynamic=True)
    before = scene.items()
    outcome = scene.sync("prompt", "an owl", "a {red|blue} fox", "a {big|small} cat")
    assert (outcome.unchanged, len(outcome.added)) == (2, 1)
    assert scene.items()[:2] == before
    assert scene.items()[2].prompt_text in ("a big cat", "a small cat")


def test_the_folder_of_wildcards_is_remembered_and_another_one_may_be_named(
    scene: SyncScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, animal in (("cards", "fox"), ("others", "owl")):
        (scene.home / folder).mkdir()
        (scene.home / folder / "animal.txt").write_text(f"{animal}\n")
    monkeypatch.chdir(scene.home)
    scene.sync("prompt", "a __animal__", dynamic=True, wildcards=("cards",))
    monkeypatch.chdir("/")
    scene.sync("prompt", "a __animal__", "the __animal__")
    assert [item.prompt_text for item in scene.items()] == ["a fox", "the fox"]
    scene.sync("prompt", "a __animal__", "one __animal__", wildcards=(str(scene.home / "others"),))
    assert scene.items()[-1].prompt_text == "one owl"
    assert scene.sync(literal=True, dry_run=True).unchanged == 2


def test_wildcards_of_a_batch_that_is_not_dynamic_are_refused(scene: SyncScene) -> None:
    for lines in (("prompt", "a"), ()):
        with pytest.raises(UsageError, match="dynamic=True too"):
            scene.sync(*lines, wildcards=("cards",))
        assert not lines or not scene.state.exists()
        scene.sync("prompt", "a")


def test_combinations_are_rows_by_themselves(scene: SyncScene) -> None:
    scene.sync("prompt", "a {red|blue} fox", dynamic=True, combinatorial=0)
    outcome = scene.sync("prompt", "a {green|blue|red} fox")
    assert [row.item.prompt_text for row in outcome.added] == ["a green fox"]
    assert outcome.unchanged == 2


def test_a_sweep_over_a_text_keeps_its_cells(scene: SyncScene) -> None:
    scene.sync("prompt", "a fox", sweeps={"prompt:fox": ("fox", "cat")})
    outcome = scene.sync(sweeps={"prompt:fox": ("owl", "cat", "fox")})
    assert ([row.item.prompt_text for row in outcome.added], outcome.unchanged) == (["a owl"], 2)


def test_killed_between_its_two_writes_the_next_call_does_the_rest(
    scene: SyncScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    from state.json.store import JsonStore

    scene.sync("id,prompt", "x,a", "y,b")
    with monkeypatch.context() as patch:
        patch.setattr(JsonStore, "add", lambda *args, **how: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            scene.sync("id,prompt", "x,c", "z,d", prune=True)
    assert scene.said() == [(1, "c", "pending"), (2, "b", "cancelled")]
    outcome = scene.sync(prune=True)
    assert (len(outcome.added), outcome.unchanged) == (1, 1)
    assert scene.said() == [(1, "c", "pending"), (2, "b", "cancelled"), (3, "d", "pending")]


def test_beside_a_writer_that_takes_an_item_meanwhile_nothing_is_lost(
    scene: SyncScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestrator import sync as module

    scene.sync("id,prompt", "x,a", "y,b")
    before = module.amend

    def meanwhile(*arguments: object, **how: object) -> object:
        scene.submit(1)
        monkeypatch.setattr(module, "amend", before)
        return before(*arguments, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "amend", meanwhile)
    outcome = scene.sync("id,prompt", "x,c", "y,d")
    assert [(row.item.row_id, row.what) for row in outcome.changed] == [("x", "left"), ("y", "edited")]
    assert scene.said() == [(1, "a", "submitted"), (2, "d", "pending")]


REFUSED = [
    (("id,prompt", "x,a", "x,b"), {}, "line 2 and .*line 3 both have the id 'x'"),
    (("prompt", "a"), {"layout": "batch"}, "layout='batch': batch .* has numbered"),
    (("prompt", "a"), {"stem": "hero"}, "stem='hero': batch .* has none"),
    (("prompt,steps", "a,many"), {}, "line 2, column 'steps'"),
    (("prompt", "a {b|c}"), {}, "dynamic"),
]


@pytest.mark.parametrize(("lines", "given", "message"), REFUSED, ids=[message[:30] for *_, message in REFUSED])
def test_what_is_refused_changes_nothing(
    scene: SyncScene, lines: tuple[str, ...], given: dict[str, str], message: str
) -> None:
    scene.sync("prompt", "a")
    before = scene.items()
    with pytest.raises(UsageError, match=message):
        scene.sync(*lines, **given)
    assert scene.items() == before


def test_a_plan_for_a_new_batch_leaves_nothing(scene: SyncScene) -> None:
    plan = scene.sync("prompt", "a", "b", dry_run=True)
    assert (plan.created, len(plan.added), scene.state.exists()) == (True, 2, False)
    assert plan.as_text().startswith("Plan for a new batch cast: 2 added, 0 changed, 0 gone, 0 unchanged\n  + ")


def test_the_report_says_what_of_each_kind(scene: SyncScene) -> None:
    scene.sync("id,prompt", "x,a", "y,b", "z,c")
    scene.complete(1)
    text = scene.sync("id,prompt", "x,d", "z,c", "w,e", dry_run=True).as_text()
    assert "1 added, 1 changed (1 redone), 1 gone (1 pending), 1 unchanged" in text
    assert "~ " in text
    assert "image_001.png (x): d [rendered again under its name]" in text
    assert "1 item without a row still due; prune=True cancels them" in text
    assert "Nothing was changed." in text
    document = scene.sync().as_json()
    assert (document["added_total"], document["changed_total"], document["gone_total"]) == (1, 1, 1)
    assert document["changed"][0]["what"] == "redone"
    assert document["next"] == "burst run"


def test_a_batch_that_was_done_is_due_again_as_it_grows(scene: SyncScene) -> None:
    scene.sync("prompt", "a")
    scene.complete(1)
    assert scene.sync().next is None
    scene.sync("prompt", "a", "b")
    with open_store(scene.state, read_only=True) as store:
        (batch,) = store.batches.read()
        assert (store.due_count(batch=batch), store.counts(batch=batch).total) == (1, 2)


def test_a_changed_row_keeps_the_seed_that_was_drawn_for_it(scene: SyncScene) -> None:
    scene.sync("id,prompt", "x,a", "y,b", seed_mode="random")
    before = [item.inputs["seed"] for item in scene.items()]
    scene.sync("id,prompt", "x,c", "y,b")
    assert [item.inputs["seed"] for item in scene.items()] == before
