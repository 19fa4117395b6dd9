from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.projects import Process

from burst import cli
from orchestrator import demo
from orchestrator.demo import PROMPTS, DemoReport, run_demo
from orchestrator.errors import UsageError
from orchestrator.outputs.pictures import decodes
from orchestrator.sandbox import Sandbox, SandboxSettings
from orchestrator.status import read_status

ROOT = Path(__file__).resolve().parents[2]

SOUND = DemoReport(
    directory=Path("d"),
    contact_sheet=Path("d/contact_sheet.html"),
    prompts=12,
    rendered=12,
    lost=0,
    rendered_twice=0,
    damaged=(),
    killed_after=5,
    bursts=2,
    seconds=7.0,
)


def test_the_whole_demo(tmp_path: Path) -> None:
    place = tmp_path / "new" / "demo"
    misleading = {"COMFYUI_URL": "http://127.0.0.1:9", "BURST_STATE": "/nowhere", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "burst", "demo", "--json", "--directory", str(place)]
    with Process(command, cwd=tmp_path, env=os.environ | misleading) as process:
        ended = process.end()
    assert ended.code == 0, ended.err
    document = ended.report
    assert list(document) == [
        "schema",
        "passed",
        "prompts",
        "rendered",
        "lost",
        "rendered_twice",
        "damaged",
        "killed_after",
        "bursts",
        "seconds",
        "directory",
        "state",
        "contact_sheet",
    ]
    assert document["schema"] == "burst.demo/1"
    assert (document["rendered"], document["lost"], document["rendered_twice"]) == (12, 0, 0)
    assert 5 <= document["killed_after"] < 8
    assert document["bursts"] == 2
    assert document["seconds"] < 20
    assert ended.err == ""
    pictures = sorted((place / "output").rglob("*.png"))
    assert [path.stem for path in pictures] == sorted(PROMPTS)
    assert all(decodes(path) for path in pictures)
    page = Path(document["contact_sheet"]).read_text(encoding="utf-8")
    assert page.count("<figure") == page.count("<img") == 12
    assert "&lt;em&gt;tilt-shift&lt;/em&gt; &amp; paper" in page
    assert read_status(Path(document["state"])).remaining == 0


def test_the_line_that_counts() -> None:
    assert SOUND.as_text().splitlines()[-1] == "rendered 12, lost 0, rendered twice 0"
    assert SOUND.exit_code == 0


@pytest.mark.parametrize(
    "wrong",
    [
        replace(SOUND, rendered=11),
        replace(SOUND, rendered=13, rendered_twice=1),
        replace(SOUND, lost=1),
        replace(SOUND, damaged=("d/output/a.png",)),
    ],
)
def test_a_wrong_count_or_a_damaged_file_exits_1(wrong: DemoReport) -> None:
    assert wrong.exit_code == 1
    assert not wrong.as_json()["passed"]
    assert "This should not happen" in wrong.as_text()


def test_the_server_is_the_judge_not_the_state(tmp_path: Path) -> None:
    """Pictures in their places, but a server that rendered one of them never and another twice."""
    folder = tmp_path / "output" / "prompts"
    folder.mkdir(parents=True)
    with Sandbox(SandboxSettings()) as sandbox:
        for name in PROMPTS:
            (folder / f"{name}.png").write_bytes(b"no picture")
        showing = demo._Demo(tmp_path, sandbox, say=print, clock=demo.Clock())
        counts = sandbox._machine.counts
        names = list(PROMPTS)
        for number, name in enumerate([*names[1:], names[2]]):
            counts.rendered(f"id{number}", {"burst": {"item": f"prompts/{name}.txt"}})
        report = showing._judged(tmp_path / "s.html", 5, 2, 1.0)
    assert (report.rendered, report.lost, report.rendered_twice) == (12, 1, 1)
    assert len(report.damaged) == 12
    assert report.exit_code == 1


def test_a_directory_that_is_in_use(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="not empty"):
        run_demo(tmp_path, say=print)
    assert CliRunner().invoke(cli, ["demo", "--directory", str(tmp_path / "mine.txt")]).exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
