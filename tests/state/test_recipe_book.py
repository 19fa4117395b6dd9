"""recipes.jsonl and workflows/: what is kept, what is found of it after a crash, and what is refused."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import msgspec
import pytest
from filelock import lock_descriptor
from support.simulated_disk import Crash, SimulatedDisk

from orchestrator.errors import DiskFull, RecipeUnusable, StateError
from state.disk import SyncFailed
from state.json.recipe_book import JsonRecipeBook
from state.recipe import Recipe, workflow_bytes, workflow_digest

GRAPH: dict[str, Any] = {
    "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "x": 0.1, "filename_prefix": "é\ud83d"}},
    "1": {"class_type": "EmptyImage", "inputs": {"seed": 2**64 - 1, "width": 64.0}},
}

OTHER = {"1": GRAPH["1"]}


def recipe_of(graph: dict[str, Any] = GRAPH, **fields: Any) -> Recipe:
    digest = workflow_digest(workflow_bytes(graph))
    return Recipe(workflow=digest, workflow_name="a/flow.json", bindings={"seed": ("1.seed",)}, **fields)


def read(disk: SimulatedDisk, recipe: Recipe) -> tuple[Recipe, dict[str, Any]] | None:
    """What a process that comes now finds of it; None where it is not there."""
    book = JsonRecipeBook(disk.root / "s.burst", disk=disk)
    if recipe.id not in book.all():
        return None
    return book.get(recipe.id), book.workflow(book.get(recipe.id))


def test_the_id_is_that_of_the_spelling_whatever_order_its_parts_were_given_in(tmp_path: Path) -> None:
    one = Recipe(workflow="a" * 64, bindings={"seed": ("3.seed",), "prompt": ("6.text", "7.text")})
    other = Recipe(workflow="a" * 64, bindings={"prompt": ("6.text", "7.text"), "seed": ("3.seed",)})
    assert one.id == other.id
    changed = [
        {"workflow": "b" * 64},
        {"workflow_name": "x"},
        {"bindings": {"prompt": ("7.text", "6.text"), "seed": ("3.seed",)}},
        {"output": "other"},
        {"servers": ("gpu1",)},
    ]
    ids = {one.id} | {msgspec.structs.replace(one, **change).id for change in changed}
    assert len(ids) == len(changed) + 1


def test_what_is_there_is_not_written_again(tmp_path: Path) -> None:
    recipe = recipe_of()
    for _ in range(2):
        book = JsonRecipeBook(tmp_path)
        book.add(recipe, GRAPH)
        book.add(recipe, GRAPH)
    assert len((tmp_path / "recipes.jsonl").read_bytes().splitlines()) == 1
    JsonRecipeBook(tmp_path).add(recipe_of(output="other"), GRAPH)
    assert len((tmp_path / "recipes.jsonl").read_bytes().splitlines()) == 2
    assert [path.name for path in (tmp_path / "workflows").iterdir()] == [f"{recipe.workflow}.json"]


def test_a_book_for_reading_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="for reading only"):
        JsonRecipeBook(tmp_path, read_only=True).add(recipe_of(), GRAPH)
    assert list(tmp_path.iterdir()) == []


# Broken off.


def test_whatever_it_is_broken_off_at_no_half_recipe_is_found_and_repeating_it_works(tmp_path: Path) -> None:
    recipe, before = recipe_of(), recipe_of(OTHER)
    at = 0
    while True:
        disk = SimulatedDisk(tmp_path)
        JsonRecipeBook(tmp_path / "s.burst", disk=disk).add(before, OTHER)
        disk.crash_at = len(disk.log) + at
        try:
            JsonRecipeBook(tmp_path / "s.burst", disk=disk).add(recipe, GRAPH)
        except Crash:
            pass
        else:
            break
        for found in (disk.after_sigkill(), *disk.after_power_loss()):
            assert read(found, recipe) in (None, (recipe, GRAPH))
            assert read(found, before) == (before, OTHER)
            JsonRecipeBook(tmp_path / "s.burst", disk=found).add(recipe, GRAPH)
            assert read(found.after_forgetting(), recipe) == (recipe, GRAPH)
        at += 1
    assert at > 3


@pytest.mark.parametrize("is_known", [False, True])
def test_it_is_durable_on_return_also_where_a_killed_process_wrote_it_without_a_sync(
    tmp_path: Path, is_known: bool
) -> None:
    recipe = recipe_of()
    disk = SimulatedDisk(tmp_path)
    if is_known:
        kinds = [(kind, name) for kind, name in _log_of_an_add(tmp_path, recipe)]
        disk.crash_at = kinds.index(("sync", "recipes.jsonl"))
        with pytest.raises(Crash):
            JsonRecipeBook(tmp_path / "s.burst", disk=disk).add(recipe, GRAPH)
        disk = disk.after_sigkill()
        assert read(disk, recipe) == (recipe, GRAPH)
        assert read(disk.after_forgetting(), recipe) is None
        disk = disk.after_sigkill()
    JsonRecipeBook(tmp_path / "s.burst", disk=disk).add(recipe, GRAPH)
    assert read(disk.after_forgetting(), recipe) == (recipe, GRAPH)


def _log_of_an_add(root: Path, recipe: Recipe) -> list[tuple[str, str]]:
    disk = SimulatedDisk(root)
    JsonRecipeBook(root / "s.burst", disk=disk).add(recipe, GRAPH)
    return [tuple(operation) for operation in disk.log]


def test_a_full_disk_leaves_no_temporary_file_and_it_is_added_later(tmp_path: Path) -> None:
    recipe = recipe_of()
    for at in range(len(_log_of_an_add(tmp_path, recipe))):
        disk = SimulatedDisk(tmp_path)
        disk.full_at = at
        book = JsonRecipeBook(tmp_path / "s.burst", disk=disk)
        try:
            book.add(recipe, GRAPH)
        except DiskFull:
            assert not [name for name in disk.files() if name.endswith(".tmp")]
            assert read(disk, recipe) is None
            disk.full_at = None
            book.add(recipe, GRAPH)
        assert read(disk.after_forgetting(), recipe) == (recipe, GRAPH)


def test_a_failed_sync_is_not_tried_again(tmp_path: Path) -> None:
    """It would succeed, with nothing of what was written before it on the disk."""
    recipe = recipe_of()
    log = _log_of_an_add(tmp_path, recipe)
    disk = SimulatedDisk(tmp_path)
    disk.failing_sync_at = log.index(("sync", "recipes.jsonl"))
    book = JsonRecipeBook(tmp_path / "s.burst", disk=disk)
    for _ in range(2):
        with pytest.raises(SyncFailed):
            book.add(recipe, GRAPH)


def test_everything_is_written_under_write_lock(tmp_path: Path) -> None:
    disk, seen = SimulatedDisk(tmp_path), []

    def look(kind: str, path: Path) -> None:
        if kind in ("create", "write", "rename"):
            descriptor = os.open(tmp_path / "s.burst" / "write.lock", os.O_RDWR)
            seen.append((path.name, lock_descriptor(descriptor, blocking=False)))
            os.close(descriptor)

    disk.before = look
    JsonRecipeBook(tmp_path / "s.burst", disk=disk).add(recipe_of(), GRAPH)
    assert {name for name, _ in seen} >= {"recipes.jsonl", f"{recipe_of().workflow}.json"}
    assert not any(is_free for _, is_free in seen)


def _add_many(folder: str, name: str, together: Barrier) -> None:
    own = {**GRAPH, name: {"class_type": "SaveImage", "inputs": {}}}
    together.wait()
    for number in range(40):
        JsonRecipeBook(Path(folder)).add(recipe_of(output=f"shared{number}"), GRAPH)
        JsonRecipeBook(Path(folder)).add(recipe_of(own, output=f"{name}{number}"), own)


def test_several_processes_add_at_once_and_each_recipe_is_there_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(3)
    writers = [context.Process(target=_add_many, args=(str(tmp_path), name, together)) for name in "xyz"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    book = JsonRecipeBook(tmp_path)
    assert len(book.all()) == len((tmp_path / "recipes.jsonl").read_bytes().splitlines()) == 40 + 3 * 40
    assert {book.workflow(recipe)["9"]["class_type"] for recipe in book.all().values()} == {"SaveImage"}


# Damaged, cut, or of another burst.


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def changed(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"64.0", b"65.0"))


@pytest.mark.parametrize(
    ("damage", "told"), [(cut, "was changed"), (changed, "was changed"), (Path.unlink, "is missing")]
)
def test_a_graph_that_is_not_what_was_kept_is_refused_until_it_is_kept_again(
    tmp_path: Path, damage: Callable[[Path], None], told: str
) -> None:
    recipe, other = recipe_of(), recipe_of(OTHER)
    book = JsonRecipeBook(tmp_path)
    book.add(recipe, GRAPH)
    book.add(other, OTHER)
    path = tmp_path / "workflows" / f"{recipe.workflow}.json"
    damage(path)
    with pytest.raises(RecipeUnusable, match=rf"recipe {recipe.id}: its workflow {path} {told}.*burst update") as error:
        book.workflow(recipe)
    assert error.value.recipe_id == recipe.id
    assert error.value.exit_code == 2
    assert book.workflow(other) == OTHER
    JsonRecipeBook(tmp_path).add(recipe, GRAPH)
    assert book.workflow(recipe) == GRAPH


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"", "it is not in "),
        (b'{"line":"recipe","id":"ID","recipe":{"workflow":"W","outp', "it is not in "),
        (b'{"line":"recipe","id":"ID","recipe":{"workflow":"W","output":"elsewhere"}}', "was changed"),
        (b'{"line":"recipe","id":"ID","recipe":{"workflow":"W","upscale":2}}', "unknown form .*`upscale`"),
        (b'{"line":"recipe","id":"ID","recipe":{"workflow":7}}', "unknown form"),
        (b'{"line":"later","id":"ID","recipe":{}}', "it is not in "),
    ],
)
def test_a_line_that_is_not_what_was_kept_is_refused_until_it_is_kept_again(
    tmp_path: Path, line: bytes, told: str
) -> None:
    recipe, other = recipe_of(), recipe_of(output="other")
    JsonRecipeBook(tmp_path).add(other, GRAPH)
    path = tmp_path / "recipes.jsonl"
    whole = line.replace(b"ID", recipe.id.encode()).replace(b"W", str(recipe.workflow).encode())
    path.write_bytes(whole + b"\n" + path.read_bytes())
    book = JsonRecipeBook(tmp_path)
    with pytest.raises(RecipeUnusable, match=rf"recipe {recipe.id}: .*{told}"):
        book.get(recipe.id)
    assert book.all() == {other.id: other}
    book.add(recipe, GRAPH)
    assert JsonRecipeBook(tmp_path).get(recipe.id) == recipe
    assert path.read_bytes().startswith(whole), "nothing is taken out"


def test_an_output_root_alone_has_no_graph(tmp_path: Path) -> None:
    recipe = Recipe(output="/mnt/renders")
    JsonRecipeBook(tmp_path).add(recipe, None)
    assert JsonRecipeBook(tmp_path).get(recipe.id) == recipe
    assert not (tmp_path / "workflows").exists()
