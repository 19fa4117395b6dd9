"""`burst query`: what a search finds in every kind of state, as table, JSON and CSV, read as it is printed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from support.scene_fixtures import over_every_kind, over_json
from support.state_scenes import NOON
from support.stores import Kind, State

import templates
from burst import cli
from orchestrator.documents.json_schema import json_schema
from orchestrator.errors import UsageError
from orchestrator.outputs.placement import placement_of
from orchestrator.recipes import Recipes
from orchestrator.results.listing import Listing, open_listing, query_images
from orchestrator.results.matching import Matching
from orchestrator.results.rendered import Walk
from orchestrator.results.search_text import parsed
from orchestrator.results.selection import Selection
from orchestrator.settings import Settings, load_settings, save_settings
from state.batch import BatchRecord
from state.change import change_all
from state.item import Item, OutputRecord, Status
from state.location import state_path
from state.store import Store

MODEL = "sd_xl_base_1.0.safetensors"


class Scene:
    """Four items, an hour apart; the last one fails."""

    def __init__(self, kind: Kind, home: Path) -> None:
        self.home = home
        self.opened = State(kind, home)
        self.path = state_path(str(self.opened.address))
        self.store: Store = self.opened.open(create=True)
        save_settings(self.path, Settings(output_dir=home / "out", template="txt2img-sd15"))
        recipes = Recipes(self.store.recipes, self.store.location.home)
        settings = load_settings(self.path)
        loaded = recipes.from_settings(settings, template="txt2img-sd15")
        recipe = recipes.keep(loaded).id
        record = BatchRecord(batch="b0a7", name="foxes", created_at=NOON, total=1, layout="batch", directory="foxes")
        self.add(0, "a.txt", {"seed": 2**63, "model": MODEL, "cfg": 7.5}, text="a red fox", recipe=recipe)
        self.add(1, "b", {"lora": ["Ink:0.5", "line"], "seed": 8}, text="=a <lora:glow:1> fox", batch=record)
        self.add(2, "c", {"4.steps": 30}, text="Hafen,\nNebel", tags=("best",), favourite=True)
        self.store.add([Item(key="d", status=Status.PENDING, prompt_text="a fox that waits")])

    def add(
        self,
        hours: int,
        key: str,
        inputs: dict[str, Any],
        *,
        text: str,
        batch: BatchRecord | None = None,
        of: str | None = None,
        **more: Any,
    ) -> None:
        of = batch.batch if batch is not None else of
        item = Item(key=key, status=Status.PENDING, inputs=inputs, prompt_text=text, batch=of, index=1, **more)
        self.store.add([item], batch=batch)
        at, path = NOON + timedelta(hours=hours), f"{key}.png"
        outputs = (OutputRecord(path=path, bytes=4, sha256="ab"), OutputRecord(path=f"{key}.json", bytes=1, sha256="c"))
        edits = (
            lambda now: now.submit(prompt_id=key, server="gpu1", at=NOON, fingerprint="f"),
            lambda now: now.complete(outputs=outputs, at=at, seconds=1.5),
        )
        for edit in edits:
            change_all(self.store, self.store.get_many([key]), edit)

    def keys(self, *words: str) -> str:
        found = query_images(self.path, words)
        assert found["images_total"] == len(found["images"])
        return "".join(row["item"][0] for row in found["images"])


any_scene = over_every_kind(Scene)
scene = over_json(Scene)


SEARCHES = {
    "": "abc",
    "fox": "ab",
    "FOX -red": "b",
    '"hafen," is:image': "c",
    "b.png": "b",
    "model:SD_XL": "a",
    f"model={MODEL}": "a",
    "-model:sd_xl": "bc",
    "model:v1-5": "",
    "seed:9223372036854775808": "a",
    "seed>9223372036854775807": "a",
    "seed<9": "b",
    "cfg=7.50": "a",
    "cfg>7.5": "",
    "steps>20": "c",
    "lora:ink": "b",
    "lora:glow": "b",
    "lora=line:1": "b",
    "template:TXT2IMG": "a",
    "tag:best": "c",
    "tag:bes": "",
    "is:tagged is:favorite": "c",
    "-is:favorite": "ab",
    "is:video": "",
    "batch:fox": "b",
    "batch:B0A": "b",
}


def test_every_search_on_every_kind_of_state(any_scene: Scene) -> None:
    walk = Walk(any_scene.store, placement_of(any_scene.store, load_settings(any_scene.path)))
    meant = {text: Selection(walk, text, None, Matching(parsed(text), "s")) for text in SEARCHES}
    assert {text: "".join(one.item.key[0] for one in found) for text, found in meant.items()} == SEARCHES
    noon = [(NOON + timedelta(hours=hours)).isoformat() for hours in range(4)]
    assert any_scene.keys(f"after:{noon[1]}") == "bc"
    assert any_scene.keys(f"before:{noon[2]}", f"after:{noon[1]}") == "b"
    assert any_scene.keys(f"-before:{noon[1]}") == "bc"


def test_what_an_item_does_not_say_is_the_workflows(any_scene: Scene) -> None:
    row = query_images(any_scene.path, ["a.txt"])["images"][0]
    graph = templates.load_workflow("txt2img-sd15").graph
    steps = next(node["inputs"]["steps"] for node in graph.values() if "steps" in node["inputs"])
    assert (row["model"], row["cfg"], row["steps"], row["seed"]) == (MODEL, 7.5, steps, 2**63)
    assert (row["file"], row["seconds"], row["server"]) == (str(any_scene.home / "out" / "a.txt.png"), 1.5, "gpu1")
    assert query_images(any_scene.path, ["b.png"])["images"][0]["loras"] == [
        {"name": "Ink", "strength": 0.5},
        {"name": "line", "strength": 1.0},
    ]


def test_the_command_as_table_json_and_csv(any_scene: Scene) -> None:
    def printed(*arguments: str) -> str:
        done = CliRunner().invoke(cli, ["query", *arguments, "--state", str(any_scene.opened.address)])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert [line[21:] for line in printed("fox").splitlines()[:2]] == [
        f"{any_scene.home}/out/a.txt.png  seed {2**63}  {MODEL}  1.5 s  a red fox",
        f"{any_scene.home}/out/b.png  seed 8  Ink:0.5, line:1  1.5 s  =a <lora:glow:1> fox",
    ]
    assert printed("fox").endswith("\n2 images\n")
    assert printed("nothing") == "0 images\n"
    document = json.loads(printed("--json", "--all"))
    assert document == query_images(any_scene.path)
    assert document.keys() == json_schema("burst.query/1")["properties"].keys()
    rows = list(csv.DictReader(io.StringIO(printed("--csv", "fox"))))
    assert list(rows[0]) == list(document["images"][0])
    assert json.loads(rows[1]["inputs"]) == {"lora": ["Ink:0.5", "line"], "seed": 8}
    assert query_images(any_scene.path, ["c.png"])["images"][0]["inputs"] == {"4.steps": 30}
    assert (rows[1]["loras"], rows[1]["prompt"], rows[1]["seed"]) == ("Ink:0.5, line:1", "'=a <lora:glow:1> fox", "8")


def test_the_last_ten_unless_all_are_wanted(scene: Scene) -> None:
    for number in range(10):
        scene.add(4, f"z{number}", {}, text="many")
    assert [row["item"] for row in query_images(scene.path, last=10)["images"]] == [
        f"z{number}" for number in range(10)
    ]
    done = CliRunner().invoke(cli, ["query", "--state", str(scene.path)])
    first, *_, last = done.stdout.splitlines()
    assert "3 images before these" in first
    assert (last, len(done.stdout.splitlines())) == ("13 images", 12)
    everything = CliRunner().invoke(cli, ["query", "--all", "--state", str(scene.path)]).stdout.splitlines()
    assert (len(everything), everything[-1]) == (14, "13 images")


def lines(scene: Scene, *words: str) -> list[str]:
    """What the table says between file and seconds."""
    done = CliRunner().invoke(cli, ["query", *words, "--state", str(scene.path)])
    assert done.exit_code == 0, done.output
    found = [line for line in done.stdout.splitlines() if "  1.5 s  " in line]
    return [line.partition(".png  ")[2].partition("1.5 s")[0].strip() for line in found]


def swept(scene: Scene, name: str, axes: dict[str, list[Any]], *inputs: dict[str, Any]) -> None:
    record = BatchRecord(batch=name, created_at=NOON, total=2, layout="batch", directory=name, axes=axes)
    for number, values in enumerate(inputs):
        scene.add(5, f"{name}{number}", values, text="swept", batch=record if number == 0 else None, of=name)


def test_the_table_shows_what_tells_its_images_apart(scene: Scene) -> None:
    swept(
        scene,
        "s",
        {"cfg": [5.0, 7.5], "lora": ["ink:0.2", "ink:0.4"]},
        {"cfg": 5.0, "lora": ["ink:0.2"], "seed": 1, "steps": 20},
        {"cfg": 7.5, "lora": ["ink:0.4"], "seed": 1, "steps": 20},
    )
    one, other = "seed 1  ink:0.2  cfg 5", "seed 1  ink:0.4  cfg 7.5"
    assert lines(scene, "swept") == [one, other]
    assert lines(scene, "swept", "--all") == [one, other], "each by itself: what its batch sweeps"
    assert lines(scene, "swept cfg:5") == ["seed 1  ink:0.2"], "nothing to compare it with"


def test_so_many_columns_at_most_and_none_that_is_long(scene: Scene) -> None:
    wide = dict.fromkeys(("9.a", "9.b", "9.c", "steps", "cfg", "width"), 1)
    swept(scene, "w", {"width": [1, 2]}, wide, dict.fromkeys(wide, 2), {"9.note": "x" * 90}, {"9.note": "y" * 90})
    assert lines(scene, "swept cfg:1") == [""]
    assert lines(scene, "swept cfg>0")[:2] == [f"width {n}  steps {n}  cfg {n}  9.a {n}" for n in (1, 2)]
    assert lines(scene, "swept -cfg>0") == [f"9.note {letter * 23}…" for letter in "xy"]


class Counting(Walk):
    read = 0

    def images(self, **narrowed: Any) -> Iterator[Any]:
        for one in super().images(**narrowed):
            self.read += 1
            yield one


@pytest.mark.parametrize("form", ["text_pieces", "csv_pieces", "json_pieces"])
def test_the_first_image_is_printed_before_the_next_is_read(scene: Scene, form: str) -> None:
    walk = Counting(scene.store, placement_of(scene.store, load_settings(scene.path)))
    listing = Listing(Selection(walk, "", None, Matching(parsed(""), "s")), last=None)
    pieces = listing.json_pieces(ensure_ascii=False) if form == "json_pieces" else getattr(listing, form)()
    assert any("a red fox" in piece for piece in islice(pieces, 1 if form == "text_pieces" else 2))
    assert walk.read == 1


def test_terms_that_mean_nothing_and_keys_of_further_inputs(scene: Scene) -> None:
    with pytest.raises(UsageError, match=r"no key 'modle'.*model") as error:
        query_images(scene.path, ["modle:x"])
    assert type(error.value) is UsageError
    assert scene.keys("batch_size>0") == "a"
    scene.add(5, "e", {"12.denoise_end": 0.5}, text="further")
    assert scene.keys("denoise_end<1") == "e"
    done = CliRunner().invoke(cli, ["query", "--csv", "--json", "--state", str(scene.path)])
    assert (done.exit_code, "exclude each other" in done.output) == (2, True)


def test_what_is_trashed_is_not_found_and_a_recipe_that_is_gone_hides_nothing(scene: Scene) -> None:
    gone = msgspec.structs.replace
    change_all(scene.store, scene.store.get_many(["b"]), lambda now: gone(now, outputs=()))
    change_all(scene.store, scene.store.get_many(["a.txt"]), lambda now: gone(now, recipe="0" * 16))
    assert scene.keys("fox") == "a"
    with open_listing(scene.path, ["fox"]) as listing:
        (one,) = listing.selection
        assert listing.document(one)["steps"] is None
        assert listing.document(one)["file"] == "a.txt.png"
