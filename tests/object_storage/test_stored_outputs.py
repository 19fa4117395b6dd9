"""What reads outputs reads them from object storage too: verify, report, contact sheet, browser, ZIP, removal."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image
from support.gallery_scene import Gallery, fill, gallery_over
from support.object_storage import Scene
from support.report_project import NOON, Album

from burst import cli
from orchestrator.batches.removal import remove_files_of
from orchestrator.errors import OutputRootAway
from orchestrator.forgetting import forget
from orchestrator.object_storage.bucket import Bucket
from orchestrator.outputs.placement import placement_of
from orchestrator.settings import Overrides, load_settings
from orchestrator.trashing import list_trash, restore_images
from orchestrator.verify import verify_outputs
from state.item import Status

PREFIX = "shots/2030/"


@pytest.fixture
def album(scene: Scene, tmp_path: Path) -> Album:
    """Its files are in the bucket, and in no directory."""
    album = Album(tmp_path)
    fill(album)
    for path in sorted(album.output.rglob("*")):
        if path.is_file():
            scene.objects.put(PREFIX + path.relative_to(album.output).as_posix(), path.read_bytes())
    album.output.rename(tmp_path / "gone")
    return album


@pytest.fixture
def shown(album: Album, scene: Scene) -> Iterator[Gallery]:
    album.output = scene.root  # type: ignore[assignment]
    with gallery_over(album) as gallery:
        yield gallery


def overrides(scene: Scene) -> Overrides:
    return Overrides(output_dir=scene.root)


def burst(album: Album, *arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments, "--state", str(album.state)])


def first_key(album: Album) -> str:
    return next(output.path for item in album.store.items(Status.COMPLETED) for output in item.outputs)


@pytest.mark.parametrize("quick", [True, False])
def test_verify_finds_what_is_missing_cut_and_changed(album: Album, scene: Scene, quick: bool) -> None:
    assert verify_outputs(album.state, quick=quick, overrides=overrides(scene)).problems == ()
    paths = [output.path for item in album.store.items(Status.COMPLETED) for output in item.outputs][:3]
    scene.objects.delete(PREFIX + paths[0])
    scene.objects.put(PREFIX + paths[1], b"cut")
    data = scene.objects.read(PREFIX + paths[2])
    scene.objects.put(PREFIX + paths[2], bytes([data[0] ^ 1]) + data[1:])
    found = {
        one.path: one.kind for _, one in verify_outputs(album.state, quick=quick, overrides=overrides(scene)).problems
    }
    assert found == {paths[0]: "missing", paths[1]: "cut"} | ({} if quick else {paths[2]: "changed"})


def requests_of(scene: Scene, album: Album, **said: bool) -> list[str]:
    """What a check asks of the storage about objects, which finds nothing wrong."""
    scene.front.asked.clear()
    assert verify_outputs(album.state, overrides=overrides(scene), **said).problems == ()
    return [line for line in scene.front.asked if "delimiter" not in line]


def test_verify_asks_for_lists_and_for_no_object_by_itself(album: Album, scene: Scene) -> None:
    asked = requests_of(scene, album, quick=True)
    assert [line.split(" ")[0] for line in asked] == ["GET"], asked
    assert "list-type=2" in asked[0]
    full = requests_of(scene, album)
    outputs = sum(len(item.outputs) for item in album.store.items(Status.COMPLETED))
    assert sum(line.startswith("HEAD") for line in full) == outputs, "once where it is read"


def test_what_came_after_the_list_is_not_missing(album: Album, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A burst completes items and brings their files meanwhile."""
    key = PREFIX + first_key(album)
    data = scene.objects.read(key)
    scene.objects.delete(key)
    sizes = Bucket.sizes

    def listed(bucket: Bucket, folder: str, *, most: int) -> dict[str, int] | None:
        found = sizes(bucket, folder, most=most)
        scene.objects.put(key, data)
        return found

    monkeypatch.setattr(Bucket, "sizes", listed)
    assert verify_outputs(album.state, repair=True, overrides=overrides(scene)).problems == ()


def test_verify_of_a_storage_that_is_away_says_so_and_repairs_nothing(album: Album, scene: Scene) -> None:
    scene.front.is_away = True
    with pytest.raises(OutputRootAway, match="does not answer"):
        verify_outputs(album.state, repair=True, overrides=overrides(scene))
    assert Status.PENDING not in {item.status for item in album.store.items() if item.outputs}
    asked = burst(album, "verify", "--output", str(scene.root))
    assert asked.exit_code == 75, asked.output
    assert str(scene.root) in asked.output


def test_a_prefix_of_which_nothing_is_left_is_away_and_not_rendered_again(album: Album, scene: Scene) -> None:
    for key in sorted(scene.objects.keys()):
        scene.objects.delete(key)
    found = verify_outputs(album.state, repair=True, overrides=overrides(scene))
    assert list(found.away) == [str(scene.root)]
    assert found.put_back == ()


def test_a_report_holds_the_images_themselves(album: Album, scene: Scene) -> None:
    done = burst(album, "report", "b1", "--output", str(scene.root), "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    page = Path(told["path"]).read_text()
    assert told["images"] == 3
    assert page.count("data:image/png;base64,") == 3
    assert f"s3://{scene.bucket}/{PREFIX}batches/b1/image_001.png" in page


def test_images_and_thumbnails_come_from_the_storage(shown: Gallery, scene: Scene) -> None:
    data = scene.objects.read(f"{PREFIX}batches/b1/image_001.png")
    answer = shown.http.get("/images/b1/1")
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, data, "image/png")
    assert shown.http.get("/images/b1/1", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    thumbnail = shown.http.get("/thumbnails/b1/1")
    assert thumbnail.status_code == 200
    assert Image.open(io.BytesIO(thumbnail.content)).format == "WEBP"
    scene.objects.delete(f"{PREFIX}batches/b1/image_001.png")
    assert shown.http.get("/images/b1/1").status_code == 404
    assert shown.http.get("/thumbnails/b1/1").status_code == 404


@pytest.mark.parametrize(
    ("wanted", "part"), [("bytes=3-9", slice(3, 10)), ("bytes=5-", slice(5, None)), ("bytes=-4", slice(-4, None))]
)
def test_a_range_is_answered_with_that_range(shown: Gallery, scene: Scene, wanted: str, part: slice) -> None:
    data = scene.objects.read(f"{PREFIX}batches/b1/image_001.png")
    answer = shown.http.get("/images/b1/1", headers={"Range": wanted})
    assert (answer.status_code, answer.content) == (206, data[part])
    assert answer.headers["content-range"].endswith(f"/{len(data)}")
    beyond = shown.http.get("/images/b1/1", headers={"Range": f"bytes={len(data)}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(data)}")


def test_details_of_an_image(shown: Gallery, scene: Scene) -> None:
    told = shown.get("/api/batches/b1/images/1")
    assert told["path"] == f"s3://{scene.bucket}/{PREFIX}batches/b1/image_001.png"


def test_the_zip_of_a_batch(shown: Gallery, scene: Scene) -> None:
    scene.objects.delete(f"{PREFIX}batches/b1/image_002.png")
    answer = shown.http.get("/api/batches/b1/zip")
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    assert archive.namelist() == ["image_001.png", "image_003.png", "batch_info.json", "missing.txt"]
    assert archive.read("image_003.png") == scene.objects.read(f"{PREFIX}batches/b1/image_003.png")


def test_a_page_says_that_the_storage_is_away(shown: Gallery, scene: Scene) -> None:
    scene.front.is_away = True
    answer = shown.http.get("/images/b1/1")
    assert answer.status_code == 503, answer.text
    assert "does not answer" in answer.json()["error"]["message"]


def test_files_are_removed_only_as_they_are_recorded(album: Album, scene: Scene) -> None:
    changed = first_key(album)
    scene.objects.put(PREFIX + changed, b"edited by a person")
    settings = load_settings(album.state, overrides(scene))
    items = list(album.store.items(Status.COMPLETED))
    before = scene.objects.keys()
    placement = placement_of(album.store, settings)
    gone = remove_files_of(album.store, items, [], placement=placement, at=NOON, dry_run=False)
    assert gone.kept == (changed,)
    left = scene.objects.keys()
    assert PREFIX + changed in left
    assert len(left) == len(before) - len(gone.files)


def test_forgetting_with_files_is_finished_after_the_storage_was_away_in_between(album: Album, scene: Scene) -> None:
    """Meanwhile no record misses an object, and the trash loses none."""
    said = overrides(scene)
    keys = [item.key for item in album.store.items(Status.COMPLETED)]
    before = len(scene.objects.keys())
    keys_then = scene.objects.keys()
    infos = sum(key.endswith("batch_info.json") for key in keys_then)
    scene.front.deletions_left = 2
    with pytest.raises(OutputRootAway):
        forget(album.state, keys, remove_files=True, overrides=said)
    scene.front.is_away, scene.front.deletions_left = False, None
    assert len(scene.objects.keys()) == before - 2
    assert verify_outputs(album.state, quick=True, repair=True, overrides=said).problems == ()
    there = list_trash(album.state, overrides=said).files
    assert len(there) == before - 2 - infos, "the trash shows what is still there"
    restored = restore_images(album.state, [], overrides=said)
    assert (len(restored.files), restored.kept) == (len(there), ())
    assert len(scene.objects.keys()) == before - 2
    left = forget(album.state, keys, remove_files=True, overrides=said)
    assert (left.keys, left.files.kept) == (tuple(keys), ())
    album.store.refresh()
    recorded = {output.path for item in album.store.items() for output in item.outputs}
    left_there = scene.objects.keys()
    assert [key for key in left_there if key.removeprefix(PREFIX) not in recorded] == []


def test_the_browser_deletes_there_and_brings_back(shown: Gallery, scene: Scene) -> None:
    keys = scene.objects.keys()
    before = {key: scene.objects.read(key) for key in keys}
    images = shown.get("/api/gallery/refs")["images"]
    done = shown.http.post("/api/images/delete", json={"images": images}).json()
    assert (done["deleted"], done["kept"]) == (3, [])
    assert shown.pictures() == []
    (entry,) = shown.get("/api/states/0/trash", size=1)["images"]
    assert shown.http.get(entry["thumbnail"]).status_code == 200
    (undo,) = done["undo"]
    back = shown.http.post("/api/states/0/trash/restore", json={"trash": undo["trash"]}).json()
    assert back["kept"] == []
    assert len(shown.pictures()) == 3
    after = scene.objects.keys()
    keys = [key for key in after if not key.endswith("batch_info.json")]
    assert {key: scene.objects.read(key) for key in keys} == {key: before[key] for key in before if key in keys}
    assert not any("/.burst-trash/" in key for key in keys), "nothing of the trash is left"
