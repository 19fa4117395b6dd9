"""`burst export` of images in object storage and in a directory, which have one name."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from support.fast_disk import FastDisk
from support.object_storage import Scene
from support.report_project import Album

from orchestrator.errors import OutputRootUnusable, UsageError
from orchestrator.results.export import export_dataset
from orchestrator.settings import Overrides
from state.change import change_all
from state.recipe import Recipe


@pytest.fixture
def album(scene: Scene, tmp_path: Path) -> Album:
    """`b/001` has its image in the bucket, `b/002` in a directory."""
    album = Album(tmp_path)
    stored = album.store.recipes.add(Recipe(output=str(scene.root), workflow_name="w"), None).id
    album.add("b", [{"seed": 1}, {"seed": 2}], prompt="stored\nlocal")
    change_all(album.store, album.store.get_many(["b/001"]), lambda now: msgspec.structs.replace(now, recipe=stored))
    for key, data in (("b/001", b"in the bucket"), ("b/002", b"in a directory")):
        album.complete(key, "b/image.png", data=data)
    scene.objects.put("shots/2030/b/image.png", b"in the bucket")
    return album


def test_both_are_copied_and_a_storage_that_is_away_takes_nothing_back(
    album: Album, scene: Scene, tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    tools = Overrides(output_dir=album.output)
    for written in (2, 0):
        done = export_dataset(album.state, ["b"], folder, overrides=tools, disk=FastDisk())
        assert (done.images, done.written) == (2, written)
    found = {path.name: path.read_bytes() for path in folder.glob("image*")}
    assert found == {
        "image.png": b"in the bucket",
        "image.txt": b"stored\n",
        "image_2.png": b"in a directory",
        "image_2.txt": b"local\n",
    }
    with pytest.raises(UsageError, match=r"s3://.*object storage, where no link can lead"):
        export_dataset(album.state, ["b"], tmp_path / "links", link=True, overrides=tools, disk=FastDisk())
    scene.front.status = 403
    with pytest.raises(OutputRootUnusable, match=r"s3://"):
        export_dataset(album.state, ["b"], folder, overrides=tools, disk=FastDisk())
    assert found == {path.name: path.read_bytes() for path in folder.glob("image*")}
