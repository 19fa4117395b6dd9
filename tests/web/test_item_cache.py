"""Items that were shown stay decoded: the latest ones, until they are changed."""

from __future__ import annotations

from pathlib import Path

from support.report_project import Album

from orchestrator.web.item_cache import ItemCache


def test_the_least_recently_used_are_dropped(tmp_path: Path) -> None:
    album, cache = Album(tmp_path), ItemCache()
    keys = [item.key for item in album.add("b", [{"seed": number} for number in range(2000)])]
    first, second = cache.get_many(album.store, keys[:2])
    for start in range(0, 2000, 100):
        cache.get_many(album.store, [keys[0], *keys[start + 2 : start + 100]])
    assert len(cache) == 1024
    again = cache.get_many(album.store, keys[:2])
    assert again[0] is first
    assert again[1] is not second
    assert [item.key for item in again] == keys[:2]


def test_what_was_changed_is_read_again(tmp_path: Path) -> None:
    album, cache = Album(tmp_path), ItemCache()
    keys = [item.key for item in album.add("b", [{"seed": number} for number in range(3)])]
    before = cache.get_many(album.store, keys)
    album.cancel(keys[1])
    assert cache.get_many(album.store, keys) == before
    cache.forget([keys[1], "unknown"])
    assert [str(item.status) for item in cache.get_many(album.store, keys)] == ["pending", "cancelled", "pending"]
    assert cache.get_many(album.store, ["unknown", keys[2]]) == before[2:]
    cache.clear()
    assert cache.get_many(album.store, keys)[0] is not before[0]
