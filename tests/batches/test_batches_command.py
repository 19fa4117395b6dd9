"""`burst batches list|show|clean`, `burst report` and `burst status BATCH`, as they are typed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image
from support.documents import checked
from support.report_project import Album

from burst import cli
from state.item import Status

OLD = {"created_at": datetime(2020, 1, 1, tzinfo=UTC)}


@pytest.fixture
def album(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Album:
    """An old batch that is done but for one that failed, and one of today that is half done; the state is here."""
    monkeypatch.chdir(tmp_path)
    made = Album(tmp_path)
    made.add("b_old", [{"cfg": cfg, "seed": 7} for cfg in (5, 7)], axes={"cfg": [5, 7]}, **OLD)
    made.complete("b_old/001", at=OLD["created_at"])
    made.fail("b_old/002")
    made.add(
        "b_new", [{"seed": seed} for seed in (1, 2)], priority="high", prompt="a hare", created_at=datetime.now(UTC)
    )
    made.complete("b_new/001", at=datetime.now(UTC))
    made.store.settle(at_end=True)
    made.store.close()
    return made


def burst(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, list(arguments))
    assert result.exit_code == code, (result.output, result.stderr, result.exception)
    return result


def said(*arguments: str, code: int = 0) -> dict[str, Any]:
    return checked(json.loads(burst(*arguments, "--json", code=code).stdout))


@pytest.mark.usefixtures("album")
def test_list_has_a_line_for_each() -> None:
    old, new = burst("batches", "list").stdout.splitlines()
    assert old == "b_old: failed, 100 % of 2: 1 done, 1 failed, 0 left"
    assert new.startswith("b_new (high): running, 50 % of 2: 1 done, 0 failed, 1 left")
    document = said("batches", "list")
    assert document["schema"] == "burst.batches/2"
    assert [batch["batch"] for batch in document["batches"]] == ["b_new", "b_old"]


@pytest.mark.parametrize("command", [("batches", "show"), ("status",)], ids=" ".join)
@pytest.mark.usefixtures("album")
def test_one_is_shown_with_what_it_was_asked_to_be(command: tuple[str, ...]) -> None:
    text = burst(*command, "b_old").stdout
    for part in (
        "Sweep: cfg = 5, 7",
        "Prompt: a fox",
        "Failed: b_old/002: out of luck",
        f"images go to {Path.cwd()}/output/b_old",
    ):
        assert part in text
    assert text == burst("status", "b_old").stdout
    document = said(*command, "b_n")
    assert (document["schema"], document["batch"], document["remaining"]) == ("burst.batch/2", "b_new", 1)
    assert said(*command, "nothing", code=2)["error"]["kind"] == "UsageError"


@pytest.mark.usefixtures("album")
def test_status_of_one_batch_checks_that_one_alone() -> None:
    burst("status", "b_old", "--check", code=3)
    burst("status", "b_new", "--check", code=1)
    burst("status", "b_new", "--stats", code=2)


def test_clean_removes_the_old_ones_alone_and_first_says_what(album: Album) -> None:
    clean = ("batches", "clean", "--older-than", "30d", "--output", str(album.output))
    assert "Would remove 1 file (5 bytes) of 1 batch:" in burst(*clean, "--dry-run").stdout
    assert "b_old/001.png" in album.files()
    document = said(*clean)
    assert (document["batches"], document["removed"], document["dry_run"]) == (["b_old"], ["b_old/001.png"], False)
    assert album.files() == ["b_new", "b_new/001.png"]
    assert [batch["batch"] for batch in said("batches", "list")["batches"]] == ["b_new"]
    assert burst(*clean).stdout == "No ended batch is that old.\n"
    assert said("status")["counts"][Status.COMPLETED] == 2
    burst("batches", "clean", code=2)
    burst("batches", "clean", "--older-than", "soon", code=2)


def test_clean_of_all_that_has_ended_asks_first(album: Album) -> None:
    album.store.close()
    everything = ("batches", "clean", "--older-than", "0h", "--output", str(album.output))
    before = album.files()
    refused = said(*everything, code=2)
    assert "add --yes" in refused["error"]["message"]
    assert album.files() == before
    assert said(*everything, "--dry-run")["removed"] == ["b_old/001.png"]
    assert said(*everything, "--yes")["removed"] == ["b_old/001.png"]
    assert album.files() == ["b_new", "b_new/001.png"]


def test_report_writes_the_page_beside_the_state_or_where_it_is_told(album: Album) -> None:
    output = ("--output", str(album.output))
    assert "1 image of batch b_old" in burst("report", "b_old", *output).stdout
    page = Path("report_b_old.html").read_text()
    assert "b_old/001.png" in page
    assert "out of luck" in page
    document = said("report", "b_old", "--html", "elsewhere.html", *output)
    assert (document["schema"], Path(document["path"]).name) == ("burst.batch-report/1", "elsewhere.html")
    assert Path("elsewhere.html").read_text() == page
    burst("report", "nothing", code=2)


def test_an_embedded_report_holds_its_pictures(album: Album) -> None:
    Image.new("RGB", (8, 8), "red").save(album.output / "b_new" / "001.png")
    report = ("report", "b_new", "--output", str(album.output), "--html")
    burst(*report, "linked.html")
    burst(*report, "embedded.html", "--embed")
    pages = [Path(name).read_text() for name in ("linked.html", "embedded.html")]
    assert ["data:image/" in page for page in pages] == [False, True]
