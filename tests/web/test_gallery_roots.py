"""Images, thumbnails, downloads and deletion where the batches of one state have several output roots."""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from support.gallery_scene import Gallery, gallery_over, png
from support.report_project import NOON, Album

from orchestrator.batches.batch_info import SCHEMA
from orchestrator.trash_records import FOLDER
from orchestrator.verify import verify_outputs
from state.change import Change
from state.recipe import Recipe

COLOURS = {"output": (200, 0, 0), "B": (0, 200, 0), "C": (0, 0, 200)}
PATHS = [f"same/image_{index:03}.png" for index in (1, 2)]


class TwoRoots(Album):
    """Batches whose files have the same names in different output roots, and colours of their own."""

    def fill(self, batch: str, *roots: str) -> None:
        """One item for each root; they are called as in every other batch."""
        ids = [self.store.recipes.add(Recipe(output=root, workflow_name=f"{root}.json"), None).id for root in roots]
        self.add(batch, [{"seed": 1}] * len(roots), layout="gallery", directory="same", recipe=ids[0])
        for index, (root, recipe) in enumerate(zip(roots, ids, strict=True), 1):
            key, self.output = f"{batch}/{index:03}", self.home / root
            self.store.apply(
                [
                    Change(
                        key, self.store.get(key).status, lambda now, of=recipe: msgspec.structs.replace(now, recipe=of)
                    )
                ]
            )
            self.complete(key, PATHS[index - 1], data=png(COLOURS[root]))
        self.output = self.home / "output"

    def there(self) -> list[str]:
        return sorted(path.relative_to(self.home).as_posix() for root in COLOURS for path in self.paths(root))

    def paths(self, root: str) -> Iterator[Path]:
        """But for what is in the trash."""
        found = (path for path in (self.home / root).rglob("*") if path.is_file())
        return (path for path in found if FOLDER not in path.parts)


@pytest.fixture
def album(tmp_path: Path) -> TwoRoots:
    made = TwoRoots(tmp_path)
    made.fill("one", "output", "output")
    made.fill("two", "B", "B")
    made.fill("both", "C", "output/other")
    return made


COLOURS["output/other"] = (90, 90, 90)


@pytest.fixture
def shown(album: TwoRoots) -> Iterator[Gallery]:
    with gallery_over(album) as gallery:
        yield gallery


WHERE = {"one/1": "output", "one/2": "output", "two/1": "B", "two/2": "B", "both/1": "C", "both/2": "output/other"}


@pytest.mark.parametrize(("image", "root"), WHERE.items())
def test_each_image_is_that_of_its_own_root(shown: Gallery, album: TwoRoots, image: str, root: str) -> None:
    batch, number = image.split("/")
    path = album.home / root / PATHS[int(number) - 1]
    assert shown.http.get(f"/images/{image}").content == path.read_bytes() == png(COLOURS[root])
    assert shown.http.get(f"/thumbnails/{image}").headers["content-type"] == "image/webp"
    assert shown.get(f"/api/batches/{batch}/images/{number}")["path"] == str(path)


def test_all_are_in_the_gallery(shown: Gallery) -> None:
    assert sorted(shown.pictures()) == sorted(WHERE)


@pytest.mark.parametrize("batch", ["one", "two", "both"])
def test_a_download_has_the_batchs_own_files(shown: Gallery, batch: str) -> None:
    archive = zipfile.ZipFile(io.BytesIO(shown.http.get(f"/api/batches/{batch}/zip").content))
    assert archive.namelist() == ["image_001.png", "image_002.png", "batch_info.json"]
    roots = [WHERE[f"{batch}/{number}"] for number in (1, 2)]
    assert [archive.read(name) for name in archive.namelist()[:2]] == [png(COLOURS[root]) for root in roots]
    info = json.loads(archive.read("batch_info.json"))
    assert [image["file"] for image in info["images"]] == archive.namelist()[:2]
    used = Counter(image["recipe"] for image in info["images"])
    assert {recipe: one["items"] for recipe, one in info["recipes"].items()} == used
    assert [info["recipes"][image["recipe"]]["template"] for image in info["images"]] == [
        f"{one}.json" for one in roots
    ]


def test_a_batch_under_way_names_its_directories(shown: Gallery, album: TwoRoots) -> None:
    of = {batch: shown.get(f"/api/batches/{batch}/progress")["directory"] for batch in ("one", "two", "both")}
    home = album.home
    assert of == {
        "one": f"{home}/output/same",
        "two": f"{home}/B/same",
        "both": f"{home}/C/same, {home}/output/other/same",
    }


def test_a_deleted_batch_takes_nothing_of_another_root(shown: Gallery, album: TwoRoots) -> None:
    before = album.there()
    deleted = shown.delete("/api/batches/two").json()
    assert (deleted["deleted"], deleted["kept"]) == (PATHS, [])
    assert album.there() == [path for path in before if not path.startswith("B/")]
    assert not (album.home / "B" / "same").exists()
    assert not verify_outputs(album.state).problems


def test_a_deleted_image_is_that_of_its_own_root(shown: Gallery, album: TwoRoots) -> None:
    before = album.there()
    assert shown.delete("/api/batches/both/images/2").json()["deleted"] == [PATHS[1]]
    assert album.there() == [path for path in before if path != f"output/other/{PATHS[1]}"]
    assert not verify_outputs(album.state).problems


def test_a_link_into_another_root_is_not_followed(shown: Gallery, album: TwoRoots) -> None:
    path = album.home / "B" / PATHS[0]
    path.unlink()
    path.symlink_to(album.home / "output" / PATHS[0])
    assert shown.http.get("/images/two/1").status_code == 404
    assert shown.delete("/api/batches/two/images/1").status_code == 404
    assert (album.home / "output" / PATHS[0]).is_file()


def test_a_batch_that_no_state_knows_is_found_under_every_root(shown: Gallery, album: TwoRoots) -> None:
    folder = album.home / "B" / "batches" / "old"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(png(COLOURS["B"]))
    info = {"schema": SCHEMA, "batch": "old", "created_at": NOON.isoformat()}
    images = [{"file": "batches/old/a.png", "index": 1}, {"file": "../output/same/image_001.png", "index": 2}]
    (folder / "batch_info.json").write_text(json.dumps(info | {"images": images}))
    assert [one for one in shown.pictures() if one.startswith("old/")] == ["old/1"]
    assert shown.http.get("/images/old/1").content == png(COLOURS["B"])


def test_files_of_a_recipe_that_is_gone_are_not_found_and_hinder_no_other(shown: Gallery, album: TwoRoots) -> None:
    log = album.state.with_suffix(".burst") / "recipes.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(line for line in lines if '"B"' not in line))
    with gallery_over(album) as fresh:
        assert sorted(fresh.pictures()) == sorted(WHERE)
        assert [fresh.http.get(f"/images/{image}").status_code for image in ("two/1", "one/1")] == [404, 200]
        assert fresh.get("/api/batches/two/progress")["directory"] == "same"
        assert fresh.delete("/api/batches/two/images/1").status_code == 409
        assert fresh.delete("/api/batches/two").json()["kept"] == PATHS
    assert (album.home / "B" / PATHS[0]).is_file()
