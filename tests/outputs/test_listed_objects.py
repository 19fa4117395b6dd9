"""Sizes of objects from lists: never more requests than asking for each, whoever else has objects there."""

from __future__ import annotations

import pytest

from orchestrator.object_storage import PAGE
from orchestrator.object_storage.bucket import Bucket
from orchestrator.outputs.listed_objects import ListedObjects
from orchestrator.places import ObjectPath


class Pages(Bucket):
    """A bucket of these objects, which counts its requests."""

    def __init__(self, *keys: str) -> None:
        super().__init__("b", "")
        self.objects = {key: len(key) for key in keys}
        self.requests = 0
        self.listed: list[str] = []

    def sizes(self, key: str, *, most: int) -> dict[str, int] | None:
        self.listed.append(key)
        found = {name: size for name, size in self.objects.items() if not key or name.startswith(f"{key}/")}
        self.requests += min(len(found), most) // PAGE + 1
        return found if len(found) <= most else None


def keys(folder: str, count: int) -> list[str]:
    return [f"{folder}/{number:06}.png" for number in range(count)]


@pytest.mark.parametrize("root", ["", "out"])
def test_a_thousand_are_known_from_a_request(root: str) -> None:
    mine = keys("out/one", 2500)
    bucket = Pages(*mine)
    listed = ListedObjects(wanted=len(mine))
    at = ObjectPath(bucket, root)
    assert [listed.size_of(at, ObjectPath(bucket, key)) for key in mine] == [len(key) for key in mine]
    assert (bucket.listed, bucket.requests) == ([root], 3)
    assert listed.size_of(at, ObjectPath(bucket, "out/one/other.png")) is None
    assert bucket.requests == 3, "what a list lacks is not looked for in another one"


def test_of_a_root_of_others_the_folders_are_listed() -> None:
    mine = [*keys("out/mine/a", 40), *keys("out/mine/b", 40)]
    bucket = Pages(*mine, *keys("out/theirs", 9 * PAGE))
    listed, root = ListedObjects(wanted=len(mine)), ObjectPath(bucket, "out")
    assert all(listed.size_of(root, ObjectPath(bucket, key)) for key in mine)
    assert bucket.listed == ["out", "out/mine"]
    assert bucket.requests < len(mine) / 4


def test_folders_of_others_cost_no_more_than_asking_for_each() -> None:
    folders = [f"out/{number}" for number in range(12)]
    mine = [f"{folder}/mine.png" for folder in folders]
    bucket = Pages(*mine, *(key for folder in folders for key in keys(folder, 2 * PAGE)))
    listed, root = ListedObjects(wanted=len(mine)), ObjectPath(bucket, "out")
    assert {listed.size_of(root, ObjectPath(bucket, key)) for key in mine} == {None}
    assert bucket.requests <= len(mine) + 1


def test_nothing_is_listed_for_nothing() -> None:
    bucket = Pages("out/a.png")
    listed = ListedObjects(wanted=0)
    assert listed.size_of(ObjectPath(bucket, "out"), ObjectPath(bucket, "out/a.png")) is None
    assert bucket.requests == 0
