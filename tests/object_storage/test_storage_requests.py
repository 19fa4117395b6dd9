"""Asking for outputs in object storage: what is kept of it, and what shows before a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.object_storage import SECRET, Scene

from burst import cli
from orchestrator.batches.batch_info import write_batch_info
from orchestrator.doctor.host import check_outputs
from orchestrator.outputs.placement import placement_of
from orchestrator.settings import load_settings
from state.disk import Disk
from state.open_store import open_store, parts_of

NOBODY = "http://127.0.0.1:1"


def burst(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments, "--state", str(home / "state.json")])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "a.txt").write_text("a fox")
    return tmp_path


def init(home: Path, root: object) -> Result:
    asked = ("init", "prompts", "--template", "smoke", "--server", NOBODY, "--output", str(root), "--json")
    return burst(home, *asked)


def test_init_keeps_the_address_and_nothing_else(home: Path, scene: Scene) -> None:
    done = init(home, scene.root)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["output_dir"] == str(scene.root)
    assert load_settings(home / "state.json").output_dir == scene.root
    recipes = parts_of(home / "state.json").recipes.all().values()
    assert [recipe.output for recipe in recipes] == [str(scene.root)]
    kept = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    for secret in (SECRET, "AKIDFORTESTS", scene.front.url):
        assert secret.encode() not in kept
    assert not (home / "s3:").exists()


def test_init_says_what_a_run_would_meet(home: Path, scene: Scene) -> None:
    done = init(home, "s3://nobody-has-this-bucket/x")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert any("s3://nobody-has-this-bucket/x: NoSuchBucket" in note for note in told["notes"])
    assert "--output DIR" in told["next"]


def test_doctor_looks_at_it(home: Path, scene: Scene) -> None:
    init(home, scene.root)
    state = home / "state.json"

    def checks() -> list[tuple[str, str]]:
        with open_store(state, read_only=True) as store:
            placement = placement_of(store, load_settings(state))
            return [(check.verdict, check.message) for check in check_outputs(state, placement, None)]

    assert checks() == [("ok", f"{scene.root}: answers")]
    scene.front.status = 403
    ((status, message),) = checks()
    assert status == "problem"
    assert "AccessDenied" in message


@pytest.mark.parametrize(
    ("output", "told"),
    [("gs://bucket/x", "other addresses are not supported"), ("s3://Bucket", "not the name of a bucket")],
)
def test_a_row_may_not_name_what_is_no_address(home: Path, scene: Scene, output: str, told: str) -> None:
    init(home, scene.root)
    (home / "rows.csv").write_text(f"prompt,output\na fox,{output}\n")
    done = burst(home, "generate", "--csv", "rows.csv", "--queue-only")
    assert done.exit_code == 2, done.output
    assert told in done.output


def test_a_row_may_name_another_root(home: Path, scene: Scene) -> None:
    init(home, "renders")
    (home / "rows.csv").write_text(f"prompt,output\na fox,{scene.root}\na cat,\n")
    done = burst(home, "generate", "--csv", "rows.csv", "--queue-only")
    assert done.exit_code == 0, done.output
    recipes = parts_of(home / "state.json").recipes.all().values()
    assert {recipe.output for recipe in recipes} == {"renders", str(scene.root)}
    assert not (home / "s3:").exists()


def test_batch_info_is_written_there_and_not_again(scene: Scene) -> None:
    place = scene.root / "batches/b1/batch_info.json"
    for _ in range(2):
        write_batch_info(place, {"schema": "x"}, disk=Disk())
    assert json.loads(place.read_bytes()) == {"schema": "x"}
    assert len(scene.front.writes()) == 1
    write_batch_info(place, {"schema": "y"}, disk=Disk())
    assert json.loads(place.read_bytes()) == {"schema": "y"}
