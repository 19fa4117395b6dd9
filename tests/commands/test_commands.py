"""The commands, as they are typed: what they print, what they change, how they exit."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from support.documents import checked
from support.pages import page

from burst import cli
from orchestrator.comfyui import ComfyUI
from orchestrator.sandbox import Sandbox, SandboxSettings
from state.burst_record import BurstRecord


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings()) as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> Path:
    """Six prompts in two episodes, and the sandbox as the server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMFYUI_URL", sandbox.url)
    for name in ("EP01/prompt_1", "EP01/prompt_2", "EP01/prompt_10", "EP02/a", "EP02/b", "EP02/c"):
        path = tmp_path / "prompts" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"a picture of {name}")
    return tmp_path


def burst(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, list(arguments))
    assert result.exit_code == code, (result.output, result.stderr, result.exception)
    return result


def said(*arguments: str, code: int = 0) -> dict[str, Any]:
    return checked(json.loads(burst(*arguments, "--json", code=code).stdout))


def record(project: Path, key: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project / "re_render_state.json").read_text())[key]
    return found


def test_init_run_status_from_start_to_end(project: Path) -> None:
    assert "6 items, 6 added" in burst("init", "prompts", "--template", "smoke").stdout
    burst("status", "--check", code=1)
    first = burst("run", "-n", "4").stdout
    assert "prompts/EP01/prompt_1.txt → EP01/prompt_1.png" in first, "one of four, in whatever order they end"
    assert "[1/4] prompts/" in first
    assert "Progress: 4/6" in first
    assert "Next burst: 2 items (prompts/EP02/b.txt, prompts/EP02/c.txt)" in first
    assert "[1/2]" in burst("run", "-n", "4").stdout
    assert "All done." in burst("status", "--check").stdout
    assert (project / "output" / "EP01" / "prompt_10.png").is_file()


def test_nothing_to_do_is_0_without_a_request_also_when_the_server_is_away(project: Path, sandbox: Sandbox) -> None:
    sandbox.change(fail_next=1)
    burst("init", "prompts", "--template", "smoke")
    burst("run", "--max-attempts", "1", code=1)
    burst("status", "--check", code=3)
    sandbox.close()
    for arguments in ((), ("--until-done",), ("-n", "auto", "--ahead", "3")):
        report = said("run", *arguments)
        assert (report["ended"], report["requests"], report["servers"]) == ("done", 0, [])
        assert (report["remaining"], report["counts"]["failed"]) == (0, 1)
    assert "No item is due; no server was contacted." in burst("run").stdout
    assert said("status")["last_burst"]["ended"] == "done"
    burst("retry")
    assert said("run", "--wait-server", "0", code=75)["servers"] != []


def test_nothing_to_do_still_moves_a_server_and_names_one_that_is_given_up(project: Path, sandbox: Sandbox) -> None:
    burst("init", "prompts", "--template", "smoke", "--server", f"gpu1={sandbox.url}")
    burst("run")
    sandbox.close()
    burst("run", "--server-moved", "gpu1=http://127.0.0.1:9")
    assert 'gpu1 = "http://127.0.0.1:9"' in (project / "re_render_state.burst/settings.toml").read_text()
    report = said("run", "--abandon-server", "gpu1")
    assert report["requests"] == 0
    assert "0 items submitted to gpu1" in " ".join(report["notes"])


def test_init_again_adds_what_is_new_and_keeps_what_is_done(project: Path) -> None:
    burst("init", "prompts", "--template", "smoke")
    burst("run", "-n", "2")
    (project / "prompts/EP02/d.txt").write_text("new")
    report = said("init", "prompts")
    assert report["added"] == 1
    assert report["counts"]["completed"] == 2
    assert report["counts"]["pending"] == 5


def test_rescan_puts_back_what_would_come_out_otherwise(project: Path, sandbox: Sandbox) -> None:
    burst("init", "prompts", "--template", "smoke")
    burst("run")
    assert said("init", "prompts", "--rescan")["put_back"] == []
    (project / "prompts/EP02/a.txt").write_text("another text")
    assert said("init", "prompts", "--rescan")["put_back"] == ["prompts/EP02/a.txt"]
    assert said("run")["completed"] == 1
    assert sandbox.counts()["rendered_by_item"]["prompts/EP02/a.txt"] == 2


def test_rescan_does_not_care_for_titles_and_names(project: Path) -> None:
    graph = json.loads((Path(__file__).parents[2] / "templates/smoke.json").read_text())
    (project / "flow.json").write_text(json.dumps(graph))
    burst("init", "prompts", "--template", "flow.json")
    burst("run")
    for node in graph.values():
        node["_meta"] = {"title": "renamed"}
    graph["3"]["inputs"]["filename_prefix"] = "elsewhere"
    (project / "flow.json").write_text(json.dumps({f"{node_id}": node for node_id, node in graph.items()}))
    assert said("init", "prompts", "--rescan")["put_back"] == []
    graph["1"]["inputs"]["width"] = 64
    (project / "flow.json").write_text(json.dumps(graph))
    assert len(said("init", "prompts", "--rescan")["put_back"]) == 6


def test_the_seeds_state_file_works_as_it_is(project: Path) -> None:
    path = project / "prompts/EP01/prompt_1.txt"
    (project / "re_render_state.json").write_text(
        json.dumps({str(path): {"status": "pending", "subfolder": "EP01", "filename": "prompt_1.txt", "mine": [1, 2]}})
    )
    burst("run", "--template", "smoke")
    done = record(project, str(path))
    assert done["status"] == "completed"
    assert done["mine"] == [1, 2]
    assert (project / "output/EP01/prompt_1.png").is_file()


def test_the_report_in_json(project: Path) -> None:
    burst("init", "prompts", "--template", "smoke")
    report = said("run", "-n", "4")
    assert report["schema"] == "burst.report/2"
    assert (report["total"], report["remaining"], report["counts"]["completed"]) == (6, 2, 4)
    assert report["next_batch"] == {"size": 2, "first": ["prompts/EP02/b.txt", "prompts/EP02/c.txt"]}


def test_until_done_runs_burst_after_burst(project: Path) -> None:
    burst("init", "prompts", "--template", "smoke")
    report = said("run", "-n", "2", "--until-done")
    assert (report["bursts"], report["completed"]) == (3, 6)
    bursts = (project / "re_render_state.burst/bursts.jsonl").read_text().splitlines()
    assert [json.loads(line)["completed"] for line in bursts] == [2, 2, 2]


def test_until_done_numbers_its_items_through_all_bursts(project: Path) -> None:
    burst("init", "prompts", "--template", "smoke")
    burst("run", "-n", "1")
    text = burst("run", "-n", "2", "--until-done").stdout
    assert re.findall(r" \[(\d+/\d+)\]", text, re.MULTILINE) == ["1/5", "2/5", "3/5", "4/5", "5/5"]


def test_dry_run_shows_items_and_graph_and_changes_nothing(project: Path, sandbox: Sandbox) -> None:
    burst("init", "prompts", "--template", "smoke")
    before = (project / "re_render_state.json").read_bytes()
    report = said("run", "-n", "2", "--dry-run")
    assert report["items"] == ["prompts/EP01/prompt_1.txt", "prompts/EP01/prompt_2.txt"]
    assert "a picture of EP01/prompt_1" in json.dumps(report["graph"])
    assert (project / "re_render_state.json").read_bytes() == before
    assert sandbox.counts()["posts"] == 0


def test_one_bad_prompt_fails_alone_and_retry_brings_it_back(project: Path) -> None:
    burst("init", "prompts", "--template", "smoke")
    bad = project / "prompts/EP01/prompt_2.txt"
    bad.write_bytes(b"\xff\xfe not text")
    report = said("run", code=1)
    assert (report["completed"], report["failed"]) == (5, 1)
    assert "UTF-8" in report["failures"][0]["message"]
    assert record(project, "prompts/EP01/prompt_2.txt")["error"]["kind"] == "prompt_text"
    assert "burst retry" in burst("status").stdout
    bad.write_text("mended")
    assert said("retry")["items"] == ["prompts/EP01/prompt_2.txt"]
    assert said("run")["completed"] == 1


def test_reset_makes_everything_due_and_the_same_files_are_replaced(project: Path, sandbox: Sandbox) -> None:
    burst("init", "prompts", "--template", "smoke")
    burst("run")
    assert len(said("reset", "--yes")["items"]) == 6
    assert said("run")["completed"] == 6
    assert set(sandbox.counts()["rendered_by_item"].values()) == {2}


@pytest.mark.parametrize("answer", ["y\n", "n\n", ""])
def test_reset_without_a_terminal_needs_yes(project: Path, answer: str) -> None:
    burst("init", "prompts", "--template", "smoke")
    burst("run")
    result = CliRunner().invoke(cli, ["reset", "--json"], input=answer)
    assert result.exit_code == 2
    error = json.loads(result.stdout)
    assert (error["schema"], error["error"]["kind"], error["exit_code"]) == ("burst.error/1", "UsageError", 2)
    assert "--yes" in error["error"]["message"]
    burst("status", "--check")


def test_cancel_takes_pending_items_back(project: Path) -> None:
    burst("init", "prompts", "--template", "smoke")
    assert said("cancel", "prompts/EP02/a.txt")["items"] == ["prompts/EP02/a.txt"]
    report = said("run")
    assert (report["completed"], report["counts"]["cancelled"]) == (5, 1)
    assert said("retry", "--cancelled")["items"] == ["prompts/EP02/a.txt"]


def test_an_unknown_item_is_named_with_near_ones(project: Path) -> None:
    burst("init", "prompts", "--template", "smoke")
    message = burst("retry", "prompts/EP02/aa.txt", code=2).stderr
    assert "prompts/EP02/aa.txt" in message
    assert "similar: prompts/EP02/a.txt" in message


def test_verify_names_missing_cut_and_changed_files_and_repairs(project: Path) -> None:
    burst("init", "prompts", "--template", "smoke")
    burst("run")
    assert "every file is present" in burst("verify").stdout
    (project / "output/EP01/prompt_1.png").unlink()
    cut = project / "output/EP01/prompt_2.png"
    cut.write_bytes(cut.read_bytes()[:-10])
    changed = project / "output/EP02/a.png"
    changed.write_bytes(changed.read_bytes()[:-1] + b"\0")
    report = said("verify", code=1)
    assert {problem["path"]: problem["kind"] for problem in report["problems"]} == {
        "EP01/prompt_1.png": "missing",
        "EP01/prompt_2.png": "cut",
        "EP02/a.png": "changed",
    }
    assert len(said("verify", "--quick", code=1)["problems"]) == 2
    assert len(said("verify", "--repair")["put_back"]) == 3
    assert said("run")["completed"] == 3
    burst("verify")


def test_a_file_that_is_not_ours_is_never_replaced_unless_told(project: Path, sandbox: Sandbox) -> None:
    burst("init", "prompts", "--template", "smoke")
    theirs = project / "output/EP02/a.png"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"mine, by hand")
    report = said("run", code=1)
    assert "EP02/a.png" in report["failures"][0]["message"]
    assert theirs.read_bytes() == b"mine, by hand"
    assert "prompts/EP02/a.txt" not in sandbox.counts()["rendered_by_item"], "refused before it was rendered"
    burst("retry")
    assert said("run", "--overwrite")["completed"] == 1
    assert theirs.read_bytes() != b"mine, by hand"


def test_a_path_outside_fails_that_item_alone(project: Path) -> None:
    state = {
        "prompts/EP01/prompt_1.txt": {"status": "pending", "subfolder": "../../etc", "filename": "prompt_1.txt"},
        "prompts/EP01/prompt_2.txt": {"status": "pending", "subfolder": "EP01", "filename": "../prompt_2.txt"},
        "prompts/EP02/a.txt": {"status": "pending", "subfolder": "EP02", "filename": "a.txt"},
    }
    (project / "re_render_state.json").write_text(json.dumps(state))
    report = said("run", "--template", "smoke", code=1)
    assert (report["completed"], report["failed"]) == (1, 2)
    assert sorted(path.name for path in project.iterdir()) == [
        "output", "prompts", "re_render_state.burst", "re_render_state.json"
    ]  # fmt: skip


BAD_STATES = {
    "empty": (b"", "empty"),
    "cut short": (b'{"a.txt": {"status": "pend', "line 1"),
    "not JSON": (b"status: pending\n", "not JSON at line 1"),
    "a list": (b"[]", "expected one object"),
    "a wrong status": (b'{\n"a.txt": {"status": "done"}}', "line 2"),
    "a wrong type": (b'{"a.txt": {"status": "pending", "attempts": "three"}}', "attempts"),
    "a key twice": (b'{"a.txt": {"status": "pending"}, "a.txt": {"status": "pending"}}', "a.txt"),
}


@pytest.mark.parametrize("command", [["run", "--template", "smoke"], ["status"], ["retry"], ["verify"]])
@pytest.mark.parametrize("name", BAD_STATES)
def test_an_unreadable_state_is_named_and_left_alone(project: Path, name: str, command: list[str]) -> None:
    content, place = BAD_STATES[name]
    state = project / "re_render_state.json"
    state.write_bytes(content)
    message = burst(*command, code=2).stderr
    assert "re_render_state.json" in message
    assert place in message
    assert len(message.strip().splitlines()) == 1
    assert state.read_bytes() == content


def test_an_error_is_one_json_object_too(project: Path) -> None:
    document = said("run", code=2)
    assert document["schema"] == "burst.error/1"
    assert document["error"]["kind"] == "StateError"
    assert "burst init" in document["error"]["message"]


@pytest.mark.parametrize("arguments", [["run", "--nonsense"], ["run", "-n", "many"], ["nonsense"], ["init"]])
def test_a_usage_error_is_one_json_object_too(project: Path, arguments: list[str]) -> None:
    document = said(*arguments, code=2)
    assert (document["schema"], document["exit_code"]) == ("burst.error/1", 2)


def test_every_schema_is_in_the_reference() -> None:
    root = Path(__file__).parents[2]
    sources = [root / "burst.py", *(root / "orchestrator").rglob("*.py")]
    schemas = {name for path in sources for name in re.findall(r'"(burst\.[a-z-]+/\d+)"', path.read_text())}
    assert len(schemas) >= 19
    assert sorted(name for name in schemas if f"\n## {name}\n" not in page("reference/json.md")) == []


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["init", "nowhere"], "nowhere"),
        (["init", "prompts", "--pattern", "/etc/*.txt"], "--pattern '/etc/*.txt'"),
        (["init", "prompts", "--template", "nonsense"], "nonsense"),
        (["init", "prompts", "--template", "smoke", "--bind", "prompt"], "--bind"),
        (["init", "prompts", "--template", "smoke", "--bind", "prompt=77.text"], "77"),
        (["init", "prompts", "--template", "smoke", "--header", "nonsense"], "Name: value"),
        (["init", "prompts", "--template", "smoke", "--header", "A: literal"], "env:"),
    ],
)
def test_init_refuses_before_it_writes(project: Path, arguments: list[str], word: str) -> None:
    assert word in burst(*arguments, code=2).stderr
    assert not (project / "re_render_state.json").exists()


@pytest.mark.parametrize(
    "arguments", [["-n", "0"], ["-n", "many"], ["--ahead", "-1"], ["--max-attempts", "0"], ["--poll-interval", "0"]]
)
def test_run_refuses_numbers_that_make_no_sense(project: Path, arguments: list[str]) -> None:
    burst("init", "prompts", "--template", "smoke")
    burst("run", *arguments, code=2)


def test_two_servers_share_a_burst(project: Path, sandbox: Sandbox) -> None:
    burst("init", "prompts", "--template", "smoke")
    sandbox.change(seconds_per_prompt=0.1)
    with Sandbox(SandboxSettings(seconds_per_prompt=0.1)) as other:
        report = said("run", "-n", "6", "--server", sandbox.url, "--server", other.url)
        rendered = {**sandbox.counts()["rendered"], **other.counts()["rendered"]}
    assert [server["url"] for server in report["servers"]] == [sandbox.url, other.url]
    assert sum(server["completed"] for server in report["servers"]) == report["completed"] == 6
    assert min(server["completed"] for server in report["servers"]) >= 1, "how many each has is the machine's affair"
    assert set(rendered.values()) == {1}
    assert len(rendered) == 6


def test_an_item_goes_only_where_its_model_is(project: Path, sandbox: Sandbox) -> None:
    burst("init", "prompts", "--template", "txt2img-sd15")
    sandbox.change(checkpoints=("another.safetensors",))
    model = "v1-5-pruned-emaonly-fp16.safetensors"
    with Sandbox(SandboxSettings(checkpoints=(model,))) as other:
        report = said("run", "--server", sandbox.url, "--server", other.url, "--server", "http://127.0.0.1:9")
        assert other.counts()["posts"] == 6
    assert report["completed"] == 6
    assert sandbox.counts()["posts"] == 0


def test_what_no_server_can_run_is_said_by_the_first(project: Path, sandbox: Sandbox) -> None:
    burst("init", "prompts", "--template", "txt2img-sd15")
    sandbox.change(checkpoints=("another.safetensors",))
    with Sandbox(SandboxSettings(checkpoints=("a-third.safetensors",))) as other:
        report = said("run", "--server", sandbox.url, "--server", other.url, code=2)
    assert "another.safetensors" in report["reason"] or "ckpt_name" in report["reason"]
    assert report["counts"]["pending"] == 6


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not answer is lost at once."""
    assert "retry_seconds" in ComfyUI.__init__.__kwdefaults__
    monkeypatch.setitem(ComfyUI.__init__.__kwdefaults__, "retry_seconds", 0.0)


@pytest.mark.usefixtures("impatient")
def test_with_all_servers_down_the_run_says_so_and_keeps_everything(project: Path) -> None:
    burst("init", "prompts", "--template", "smoke")
    report = said("run", "--server", "http://127.0.0.1:9", "--server", "http://127.0.0.1:10", code=75)
    assert "127.0.0.1:9" in report["reason"]
    assert "127.0.0.1:10" in report["reason"]
    assert report["counts"]["pending"] == 6


@pytest.mark.usefixtures("impatient")
def test_what_a_lost_server_might_run_waits_for_it(project: Path, sandbox: Sandbox) -> None:
    burst("init", "prompts", "--template", "txt2img-sd15")
    sandbox.change(checkpoints=("another.safetensors",))
    report = said("run", "--server", sandbox.url, "--server", "http://127.0.0.1:9", code=75)
    assert "127.0.0.1:9" in report["reason"]
    assert report["counts"]["pending"] == 6
    assert sandbox.counts()["posts"] == 0


def killed_after(seconds: float, *, runs: int) -> str:
    """bursts.jsonl of so many runs that a watchdog killed, each in a short burst that was not its first."""
    beginning = datetime(2026, 1, 1, tzinfo=UTC)
    lines = []
    for number in range(runs):
        started = beginning + timedelta(minutes=number)
        record = BurstRecord(
            burst=f"{number:08x}",
            started_at=started,
            ended_at=started + timedelta(seconds=seconds),
            ended="killed",
            size=15,
            seconds=1.0,
            alive_seconds=seconds,
        )
        lines.append(msgspec.json.encode(record).decode() + "\n")
    return "".join(lines)


def test_a_run_ends_before_the_limit_that_killed_the_ones_before(project: Path, sandbox: Sandbox) -> None:
    burst("init", "prompts", "--template", "smoke")
    sandbox.change(seconds_per_prompt=1.0)
    (project / "re_render_state.burst/bursts.jsonl").write_text(killed_after(5.0, runs=2))
    assert said("status")["watchdog_limit_seconds"] == 5.0
    report = said("run", "--until-done", "--poll-interval", "0.2")
    assert report["ended"] == "limit"
    assert said("status")["last_burst"]["ended"] == "limit"
    assert 0 < report["completed"] < 6
    assert report["seconds"] < 5.0
    assert "killed after about 5" in " ".join(report["notes"])
    assert said("run", "--until-done", "--max-seconds", "0")["counts"]["completed"] == 6


def test_an_automatic_size_fits_the_seconds(project: Path) -> None:
    burst("init", "prompts", "--template", "smoke")
    log = project / "re_render_state.burst/bursts.jsonl"
    record = BurstRecord(
        burst="00000000",
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        ended_at=datetime(2026, 1, 1, tzinfo=UTC),
        ended="done",
        size=15,
        completed=15,
        seconds=150.0,
    )
    log.write_text(msgspec.json.encode(record).decode() + "\n")
    automatic = ("run", "-n", "auto", "--max-seconds", "35")
    assert len(said(*automatic, "--dry-run")["items"]) == 3
    assert said(*automatic)["completed"] == 3


def test_a_run_without_a_template_says_which_there_are(project: Path) -> None:
    burst("init", "prompts")
    message = said("run", code=2)["reason"]
    assert "smoke" in message
    burst("status", "--check", code=1)
    assert said("status")["counts"]["pending"] == 6


def test_a_server_that_is_down_leaves_everything_pending(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    burst("init", "prompts", "--template", "smoke", "--server", "http://127.0.0.1:9")
    monkeypatch.delenv("COMFYUI_URL")
    report = said("run", "--wait-server", "0", code=75)
    assert "127.0.0.1:9" in report["reason"]
    assert report["counts"]["pending"] == 6


def test_a_rejected_template_stops_with_every_item_still_due(project: Path) -> None:
    graph = json.loads((Path(__file__).parents[2] / "templates/smoke.json").read_text())
    graph["2"]["class_type"] = "NoSuchNode"
    (project / "flow.json").write_text(json.dumps(graph))
    burst("init", "prompts", "--template", "flow.json")
    report = said("run", code=2)
    assert "NoSuchNode" in report["reason"]
    assert report["counts"]["pending"] == 6
    state = json.loads((project / "re_render_state.json").read_text())
    assert all(set(found) == {"status", "subfolder", "filename", "recipe"} for found in state.values())


def test_a_rejected_input_fails_its_item_alone(project: Path) -> None:
    state = json.loads(
        burst("init", "prompts", "--template", "smoke") and (project / "re_render_state.json").read_text()
    )
    state["prompts/EP02/a.txt"]["inputs"] = {"width": -5}
    (project / "re_render_state.json").write_text(json.dumps(state))
    report = said("run", code=1)
    assert (report["completed"], report["failed"]) == (5, 1)
    assert record(project, "prompts/EP02/a.txt")["error"]["kind"] == "rejected"
