"""Favorites and tags: `burst star` and `burst tag` on items, batches and single images; taken off again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fast_disk import FastDisk
from support.state_scenes import NOON

from orchestrator.errors import UsageError
from orchestrator.marks import favorites, is_favourite, star, tag
from orchestrator.settings import Settings, save_settings
from state.change import change_all
from state.item import Item, OutputRecord, Status
from state.open_store import open_store


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """`four` has four images, `one` has one, `none` is pending; images are in `out`."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "state.json"
    path.write_text("{}")
    save_settings(path, Settings(output_dir=tmp_path / "out", template="smoke"))
    names = {"four": ["four.png", "four_002.png", "four_003.png", "four_004.png"], "one": ["one.png"]}
    (tmp_path / "out" / "EP01").mkdir(parents=True)
    with open_store(path, disk=FastDisk()) as store:
        store.add([Item(key=key, status=Status.PENDING, filename=key, subfolder="EP01") for key in (*names, "none")])
        for key, files in names.items():
            for name in files:
                (tmp_path / "out" / "EP01" / name).write_bytes(b"x")
            outputs = tuple(OutputRecord(path=f"EP01/{name}", bytes=1, sha256="ab") for name in files)
            change_all(
                store,
                store.get_many([key]),
                lambda now: now.submit(prompt_id="id", server="s", at=NOON, fingerprint="f"),
            )
            change_all(
                store, store.get_many([key]), lambda now, made=outputs: now.complete(outputs=made, at=NOON, seconds=1.0)
            )
    return path


def item(state: Path, key: str) -> Item:
    with open_store(state, read_only=True) as store:
        return store.get(key)


def test_an_item_is_a_favourite_with_all_its_images_until_that_is_taken_off(state: Path) -> None:
    done = star(state, ["four", "none"])
    assert (done.keys, done.as_text().splitlines()[0]) == (("four", "none"), "2 items starred")
    assert [item(state, key).favourite for key in ("four", "one", "none")] == [True, False, True]
    assert all(is_favourite(item(state, "four"), output.path) for output in item(state, "four").outputs)
    again = star(state, ["four"])
    assert (again.keys, again.notes) == ((), ("1 item already starred",))
    star(state, ["four"], remove=True)
    assert (item(state, "four").favourite, favorites(item(state, "four"))) == (False, frozenset())


def test_an_image_of_several_is_a_favourite_by_itself(state: Path) -> None:
    star(state, ["out/EP01/four_003.png", str(state.parent / "out" / "EP01" / "four_002.png")])
    now = item(state, "four")
    assert (now.favourite, now.favourite_outputs) == (True, (2, 3))
    assert [is_favourite(now, output.path) for output in now.outputs] == [False, True, True, False]
    star(state, ["out/EP01/four_003.png"], remove=True)
    assert item(state, "four").favourite_outputs == (2,)
    star(state, ["out/EP01/four_002.png"], remove=True)
    assert (item(state, "four").favourite, item(state, "four").favourite_outputs) == (False, ())


def test_all_images_are_the_item_and_one_taken_from_it_leaves_the_others(state: Path) -> None:
    star(state, ["out/EP01/one.png"])
    assert (item(state, "one").favourite, item(state, "one").favourite_outputs) == (True, ())
    star(state, ["four"])
    star(state, ["out/EP01/four.png"], remove=True)
    assert item(state, "four").favourite_outputs == (2, 3, 4)
    star(state, ["out/EP01/four.png"])
    assert (item(state, "four").favourite, item(state, "four").favourite_outputs) == (True, ())


def test_a_link_to_an_image_is_that_image(state: Path) -> None:
    (state.parent / "four_004.png").symlink_to(state.parent / "out" / "EP01" / "four_004.png")
    star(state, ["four_004.png"])
    assert item(state, "four").favourite_outputs == (4,)


def test_tags_are_added_once_in_order_and_taken_off(state: Path) -> None:
    tag(state, ["sea", "at night"], ["four", "out/EP01/one.png"])
    done = tag(state, ["sky", "sea"], ["four"])
    assert (done.keys, item(state, "four").tags, item(state, "one").tags) == (
        ("four",),
        ("sea", "at night", "sky"),
        ("sea", "at night"),
    )
    assert tag(state, ["sky", "nothing"], ["four", "one"], remove=True).keys == ("four",)
    assert item(state, "four").tags == ("sea", "at night")


@pytest.mark.parametrize("text", ["", " sea", "a,b", "a\nb", "x" * 65])
def test_a_tag_that_is_none_is_refused(state: Path, text: str) -> None:
    with pytest.raises(UsageError, match="a tag has 1 to 64 characters"):
        tag(state, [text], ["four"])


@pytest.mark.parametrize(("name", "said"), [("nobody", "no item and no batch"), ("x.png", "x.png is not an output of")])
def test_what_is_none_of_these_is_refused_and_nothing_is_marked(state: Path, name: str, said: str) -> None:
    (state.parent / "x.png").write_bytes(b"x")
    with pytest.raises(UsageError, match=said):
        star(state, ["four", name])
    assert not item(state, "four").favourite


def test_marks_outlive_a_retry_and_a_run(state: Path) -> None:
    star(state, ["out/EP01/four_002.png"])
    with open_store(state, disk=FastDisk()) as store:
        change_all(store, store.get_many(["four"]), lambda now: now.start_over())
    assert item(state, "four").favourite_outputs == (2,)
