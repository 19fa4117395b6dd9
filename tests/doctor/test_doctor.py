from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.documents import checked
from support.leases import at_work, begin
from support.sandbox_client import Client, empty_image, eventually

from burst import cli
from orchestrator.clock import Clock
from orchestrator.doctor import examine
from orchestrator.sandbox import Sandbox, SandboxSettings
from state.burst_record import BurstRecord
from state.change import Change
from state.item import Status
from state.open_store import open_store, parts_of

NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings()) as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> Path:
    """Three prompts without a recipe, initialised for the sandbox; the current directory."""
    for name in ("COMFYUI_URL", "COMFYUI_HEADERS", "BURST_STATE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts").mkdir()
    for number in range(3):
        (tmp_path / "prompts" / f"p{number}.txt").write_text(f"prompt {number}")
    said("init", "prompts", "--server", sandbox.url)
    said("init", "prompts", "--template", "smoke")
    return tmp_path


def said(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli, list(arguments))
    assert result.exit_code == code, result.output
    return result.stdout


def examined(*arguments: str, code: int) -> dict[str, Any]:
    return checked(json.loads(said("doctor", "--json", "--all", *arguments, code=code)))


def named(document: dict[str, Any], name: str) -> dict[str, Any]:
    """The one check of that name."""
    (found,) = [check for check in document["checks"] if check["name"] == name]
    return dict(found)


def edit_state(project: Path, change: dict[str, Any]) -> None:
    path = project / "re_render_state.json"
    records = json.loads(path.read_text())
    for record in records.values():
        record |= change
    path.write_text(json.dumps(records))


def all_files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_all_is_well(project: Path) -> None:
    document = examined(code=0)
    assert list(document) == ["schema", "state", "ok", "problems", "warnings", "checks", "passed", "counts", "next"]
    assert document["schema"] == "burst.doctor/2"
    assert document["ok"]
    assert document["counts"]["pending"] == 3
    assert document["next"] == "burst run"
    assert {tuple(check) for check in document["checks"]} == {("name", "verdict", "message", "next", "facts")}
    assert [check["name"] for check in document["checks"]] == [
        "state",
        "settings",
        "template",
        "server",
        "queue",
        "models",
        "output",
        "state dir",
        "lock",
        "last burst",
    ]
    server = named(document, "server")["facts"]
    assert server["version"] == "0.3.64"
    assert server["device"] == "burst sandbox"
    assert server["vram_free_bytes"] == server["ram_free_bytes"] == 24 * 1024**3
    assert server["jobs_api"] is False


def test_words_end_with_the_one_command(project: Path) -> None:
    text = said("doctor")
    assert text.splitlines()[-1] == "All is well. Next: burst run"
    assert len(text.splitlines()) == 12  # ten checks of one line each, a blank line and the sum


def test_nothing_is_left_behind(project: Path) -> None:
    before = all_files(project)
    said("doctor")
    assert all_files(project) == before


def test_after_the_work_is_done(project: Path) -> None:
    said("run")
    document = examined(code=0)
    assert document["next"] == "burst verify"
    assert "3 completed in" in named(document, "last burst")["message"]


def test_while_runs_are_paused(project: Path) -> None:
    said("pause")
    report = examined(code=1)
    (pause,) = [check for check in report["checks"] if check["name"] == "pause"]
    assert (pause["verdict"], pause["next"], report["next"]) == ("problem", "burst resume", "burst resume")
    assert "runs have been paused since " in pause["message"]
    said("resume")
    assert "pause" not in [check["name"] for check in examined(code=0)["checks"]]


def test_without_a_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> None:
    monkeypatch.chdir(tmp_path)
    document = examined("--server", sandbox.url, code=1)
    assert named(document, "state")["verdict"] == "problem"
    assert document["counts"] is None
    assert document["next"] == "burst init DIR"
    assert not all_files(tmp_path)


def test_another_state_is_named_in_what_to_type(project: Path) -> None:
    os.rename(project / "re_render_state.json", project / "my state.json")
    os.rename(project / "re_render_state.burst", project / "my state.burst")
    assert examined("--state", "my state.json", code=0)["next"] == "burst run --state 'my state.json'"


def test_a_broken_state_is_named_and_the_rest_is_looked_at(project: Path) -> None:
    (project / "re_render_state.json").write_text('{"a": {"status": "pen')
    document = examined(code=1)
    assert "re_render_state.json" in named(document, "state")["message"]
    assert named(document, "server")["verdict"] == "ok"


def test_checkpoints_in_the_journal_and_a_torn_tail(project: Path) -> None:
    store = open_store(project / "re_render_state.json")
    for item in list(store.items()):
        store.apply([Change(item.key, item.status, lambda now: now.cancel())])
    store.close()
    with (project / "re_render_state.burst" / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"torn')
    facts = named(examined(code=0), "state")["facts"]
    assert facts["journal_lines"] == 3
    assert facts["torn_bytes"] == 6


def test_settings_that_cannot_be_read(project: Path) -> None:
    (project / "re_render_state.burst" / "settings.toml").write_text("servers = 3")
    document = examined(code=1)
    assert "servers" in named(document, "settings")["message"]
    assert named(document, "lock")["verdict"] == "ok"


def test_a_dead_server_is_a_problem_within_seconds(project: Path) -> None:
    started = time.monotonic()
    document = examined("--server", NOBODY, code=1)
    assert time.monotonic() - started < 5
    assert named(document, "server")["facts"] == {"answers": False, "url": NOBODY}
    assert document["next"] == "burst run --server URL"


def test_a_wrong_address_is_a_problem_with_the_address_to_try(project: Path, sandbox: Sandbox) -> None:
    document = examined("--server", sandbox.url.replace("http:", "https:"), code=1)
    assert "does not speak TLS" in named(document, "server")["message"]
    assert document["next"] == f"burst run --server {sandbox.url}"


def test_a_server_that_takes_and_never_answers(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        document = examined("--server", f"http://127.0.0.1:{silent.getsockname()[1]}", code=1)
        assert time.monotonic() - started < 8
    assert "no answer within" in named(document, "server")["message"]


def test_a_stalled_server(project: Path, sandbox: Sandbox) -> None:
    sandbox.stall()
    Client(sandbox.url).submit(empty_image())
    document = examined(code=1)
    queue = named(document, "queue")
    assert queue["facts"] == {"running": 0, "waiting": 1, "ours": 0, "stalled": True, "url": sandbox.url}
    assert "restart ComfyUI" in queue["message"]


def test_a_moment_between_two_prompts_is_no_stall(project: Path, sandbox: Sandbox) -> None:
    class Releasing(Clock):
        """The server goes on while doctor waits."""

        def wait(self, event: threading.Event, seconds: float) -> bool:
            sandbox.release()
            eventually(lambda: client.get("/queue").json()["queue_pending"] == [], "an empty queue")
            return False

    client = Client(sandbox.url)
    sandbox.hold("next")
    client.submit(empty_image())
    report = examine(Path("re_render_state.json"), clock=Releasing())
    assert named(report.as_json(everything=True), "queue")["verdict"] == "ok"


def test_a_server_at_work_is_not_stalled(project: Path, sandbox: Sandbox) -> None:
    sandbox.hold("render")
    Client(sandbox.url).submit(empty_image())
    Client(sandbox.url).submit(empty_image(color=1))
    eventually(lambda: examined(code=0)["checks"][4]["facts"]["running"] == 1, "a running prompt")
    facts = named(examined(code=0), "queue")["facts"]
    assert facts == {"running": 1, "waiting": 1, "ours": 0, "stalled": False, "url": sandbox.url}
    sandbox.release()


def test_a_model_that_the_server_lacks_has_near_matches(project: Path, sandbox: Sandbox) -> None:
    sandbox.change(checkpoints=["v1-5-pruned.safetensors"])
    models = named(examined("--template", "txt2img-sd15", code=1), "models")
    assert "v1-5-pruned-emaonly-fp16.safetensors" in models["message"]
    assert "did you mean 'v1-5-pruned.safetensors'?" in models["message"]
    assert models["next"] == f"burst template check txt2img-sd15 --server {sandbox.url}"


def test_a_node_that_the_server_lacks(project: Path) -> None:
    graph = {"1": {"class_type": "EmptyImagee", "inputs": {}}, "2": {"class_type": "SaveImage", "inputs": {}}}
    graph["2"]["inputs"] = {"images": ["1", 0], "filename_prefix": "x"}
    (project / "mine.json").write_text(json.dumps(graph))
    document = examined("--template", "mine.json", code=1)
    problems = [check["message"] for check in document["checks"] if check["verdict"] == "problem"]
    assert any("EmptyImagee" in message for message in problems)


@pytest.fixture
def other() -> Iterator[Sandbox]:
    """A server that has another checkpoint than SDXL's."""
    with Sandbox(SandboxSettings(checkpoints=("v1-5-pruned-emaonly-fp16.safetensors",))) as running:
        yield running


def of(document: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [check for check in document["checks"] if check["name"] == name]


def at(*urls: str) -> list[str]:
    return [word for url in urls for word in ("--server", url)]


def test_several_servers_and_a_template_that_runs_on_all(project: Path, sandbox: Sandbox, other: Sandbox) -> None:
    document = examined(*at(sandbox.url, other.url), code=0)
    assert document["warnings"] == 0
    assert [check["facts"]["url"] for check in of(document, "server")] == [sandbox.url, other.url]
    assert [check["message"] for check in of(document, "queue")] == [f"{sandbox.url}: empty", f"{other.url}: empty"]
    models = named(document, "models")
    assert models["message"] == f"smoke: runs on {sandbox.url}, {other.url}"
    assert models["facts"] == {"template": "smoke", "servers": [sandbox.url, other.url], "lacking": {}}


def test_a_template_that_only_some_servers_can_run(project: Path, sandbox: Sandbox, other: Sandbox) -> None:
    document = examined("--template", "txt2img-sdxl", *at(other.url, sandbox.url), code=0)
    where, why = of(document, "models")
    assert where["verdict"] == why["verdict"] == "warning"
    assert where["message"] == f"txt2img-sdxl: runs on {sandbox.url}, not on {other.url}"
    assert where["facts"]["servers"] == [sandbox.url]
    assert list(where["facts"]["lacking"]) == [other.url]
    assert why["message"].startswith(f"{other.url}: node 4 ")
    assert why["next"] == f"burst template check txt2img-sdxl --server {other.url}"
    assert document["next"] == "burst run"


def test_a_template_that_no_server_can_run(project: Path, sandbox: Sandbox, other: Sandbox) -> None:
    sandbox.change(missing_nodes=["KSampler", "VAEDecode"])
    document = examined("--template", "txt2img-sdxl", *at(sandbox.url, other.url, NOBODY), code=1)
    where, *why = of(document, "models")
    assert {check["verdict"] for check in (where, *why)} == {"problem"}
    assert "runs on none of the servers that answer" in where["message"]
    assert [check["facts"]["url"] for check in why] == [sandbox.url, other.url]
    assert why[0]["message"].endswith("(and 1 more finding)")
    assert document["next"] == f"burst template check txt2img-sdxl --server {sandbox.url}"


def test_a_picture_to_be_uploaded_is_said_once(project: Path, sandbox: Sandbox, other: Sandbox) -> None:
    (project / "mine.json").write_text(
        json.dumps(
            {
                "1": {"class_type": "LoadImage", "inputs": {"image": "mine.png"}},
                "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
            }
        )
    )
    document = examined("--template", "mine.json", *at(sandbox.url, other.url), code=0)
    where, upload = of(document, "models")
    assert (where["verdict"], upload["verdict"]) == ("ok", "warning")
    assert "'mine.png' is not on the server" in upload["message"]


@pytest.mark.parametrize("stalled", [False, True])
def test_a_server_that_fails_among_others_is_a_warning(project: Path, sandbox: Sandbox, stalled: bool) -> None:
    with Sandbox() as failing:
        failing.stall()
        Client(failing.url).submit(empty_image())
        url = failing.url if stalled else NOBODY
        document = examined(*at(url, sandbox.url), code=0)
    first, second = of(document, "queue" if stalled else "server")[0], of(document, "server")[-1]
    assert (first["verdict"], second["verdict"]) == ("warning", "ok")
    assert first["message"].startswith(f"{url}: ")
    assert "the rest goes to the others" in first["message"]
    assert first["next"] is None
    assert document["next"] == "burst run"


def test_no_server_that_answers_is_a_problem(project: Path) -> None:
    document = examined(*at(NOBODY, "http://127.0.0.1:10"), code=1)
    assert [check["verdict"] for check in of(document, "server")] == ["problem", "problem"]
    assert not of(document, "models")


def test_servers_are_waited_for_together(project: Path) -> None:
    with contextlib.ExitStack() as listening:
        silent = [listening.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(4)]
        started = time.monotonic()
        document = examined(*at(*(f"http://127.0.0.1:{server.getsockname()[1]}" for server in silent)), code=1)
        assert time.monotonic() - started < 12
    assert all("no answer within" in check["message"] for check in of(document, "server"))


def test_a_password_in_an_address_is_not_shown(project: Path, sandbox: Sandbox) -> None:
    words = said("doctor", *at(sandbox.url.replace("//", "//user:hunter2@"), "http://user:hunter2@127.0.0.1:9"))
    assert "http://127.0.0.1:9: " in words
    assert "hunter2" not in words


def test_a_key_for_one_server_whose_variable_is_not_set(project: Path, sandbox: Sandbox) -> None:
    with (project / "re_render_state.burst" / "settings.toml").open("a") as settings:
        settings.write(f'[headers."{sandbox.url}"]\nX-Key = "env:NO_SUCH_VARIABLE"\n')
    assert "NO_SUCH_VARIABLE" in named(examined(code=1), "settings")["message"]


def test_a_template_that_is_gone_or_not_set(project: Path) -> None:
    assert "gone.json" in named(examined("--template", "gone.json", code=1), "template")["message"]
    settings = project / "re_render_state.burst" / "settings.toml"
    settings.write_text(settings.read_text().replace('template = "smoke"', ""))
    template = named(examined(code=1), "template")
    assert template["next"] == "burst run --template NAME"


def test_each_workflow_that_due_items_are_made_with_is_looked_at_as_it_was_kept(project: Path) -> None:
    """Also where its file was changed, or is gone since."""
    mine = project / "mine.json"
    graph = json.loads((Path(__file__).parents[2] / "templates" / "smoke.json").read_text())
    for name, class_type in (("first", "NoSuchNode"), ("second", "NoOtherNode")):
        graph["2"]["class_type"] = class_type
        mine.write_text(json.dumps(graph))
        (project / name).mkdir()
        (project / name / "p.txt").write_text("a prompt")
        said("init", name, "--template", "mine.json")
    said("init", "prompts", "--template", "smoke")
    mine.unlink()
    document = examined(code=1)
    assert [check["verdict"] for check in of(document, "template")] == ["ok"] * 3
    missing = " ".join(check["message"] for check in of(document, "models") if check["verdict"] == "problem")
    assert "NoSuchNode" in missing
    assert "NoOtherNode" in missing


def test_a_recipe_that_cannot_be_used(project: Path) -> None:
    (project / "other").mkdir()
    (project / "other" / "p.txt").write_text("a prompt")
    said("init", "other", "--template", "txt2img-sd15")
    said("init", "prompts", "--template", "smoke")
    (project / "re_render_state.burst" / "recipes.jsonl").unlink()
    template = of(examined(code=1), "template")[-1]
    assert template["verdict"] == "problem"
    assert "recipes.jsonl" in template["message"]
    assert template["next"] == "burst update"


def test_an_output_directory_that_is_a_file(project: Path) -> None:
    (project / "taken").write_text("")
    output = of(examined("--output", "taken", code=1), "output")[0]
    assert "is a file" in output["message"]
    assert output["next"] == "burst run --output DIR"


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="/proc is a directory where nobody may write")
def test_an_output_directory_that_cannot_be_written(project: Path) -> None:
    assert "cannot be written" in of(examined("--output", "/proc/burst", code=1), "output")[0]["message"]


def test_each_output_directory_of_due_items(project: Path) -> None:
    """What is to come is counted where it goes; what only others use is looked at too."""
    said("run", "-n", "1")
    for root in ("output/deep", "taken"):
        said("generate", "--prompt", "a fox", "--count", "2", "--queue-only", "--template", "smoke", "--output", root)
    (project / "taken").write_text("")
    checks = {Path(check["facts"].get("path", "taken")).name: check for check in of(examined(code=1), "output")}
    assert list(checks) == ["output", "deep", "taken"]
    assert [check["verdict"] for check in checks.values()] == ["ok", "ok", "problem"]
    assert "2 items remaining, about" in checks["deep"]["message"]
    assert "is a file" in checks["taken"]["message"]
    assert checks["taken"]["next"] == "burst update --output DIR"


def test_room_for_all_that_goes_to_one_disk(project: Path) -> None:
    """Enough for what goes to either directory, and not for both."""
    said("run", "-n", "1")
    for root in ("B", "C"):
        said("generate", "--prompt", "a fox", "--count", "4", "--queue-only", "--template", "smoke", "--output", root)
    path = project / "re_render_state.json"
    records = json.loads(path.read_text())
    free = shutil.disk_usage(project).free
    for record in records.values():
        for output in record.get("outputs", ()):
            output["bytes"] = free // 6 // len(record["outputs"])
    path.write_text(json.dumps(records))
    checks = of(examined(code=1), "output")[1:]
    assert [check["verdict"] for check in checks] == ["problem", "problem"]
    assert all(check["facts"]["needed_bytes"] < free for check in checks)
    assert all("with those for other directories on this disk" in check["message"] for check in checks)


def test_not_enough_room_for_what_is_left(project: Path) -> None:
    said("run", "-n", "1")
    path = project / "re_render_state.json"
    records = json.loads(path.read_text())
    for record in records.values():
        for output in record.get("outputs", ()):
            output["bytes"] = 10**15
    path.write_text(json.dumps(records))
    output = named(examined(code=1), "output")
    assert output["facts"]["needed_bytes"] == 2 * 10**15  # two items, an image each
    assert "not enough" in output["message"]


def test_who_holds_the_lock(project: Path) -> None:
    with at_work(project / "re_render_state.json") as lease:
        assert named(examined(code=0), "lock")["verdict"] == "warning"  # held, and nobody has said who
        begin(lease, "feed")
        document = examined(code=0)
    assert f"pid {os.getpid()}" in named(document, "lock")["facts"]["holder"]
    assert document["next"] == "burst status --watch"


def test_a_file_system_that_locks(tmp_path: Path) -> None:
    assert parts_of(tmp_path / "state.json").can_lock()
    assert not list(tmp_path.iterdir())


def test_a_file_system_that_does_not_lock(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcntl.flock", lambda *_: None)
    document = examined(code=1)
    assert "cannot lock" in named(document, "lock")["message"]


def leave_a_killed_burst(project: Path, *, lived_seconds: float) -> None:
    """holder.json as a burst leaves it that is killed while it holds the lock."""
    folder = project / "re_render_state.burst"
    holder = {
        "host": "elsewhere",
        "boot_id": "another",
        "pid": 1,
        "burst": "dead",
        "started_at": "2020-01-01T10:00:00Z",
        "size": 15,
    }
    (folder / "holder.json").write_text(json.dumps(holder))
    end = datetime(2020, 1, 1, 10, tzinfo=UTC).timestamp() + lived_seconds
    os.utime(folder / "holder.json", (end, end))


def test_a_killed_burst(project: Path) -> None:
    leave_a_killed_burst(project, lived_seconds=41)
    last = named(examined(code=0), "last burst")
    assert last["verdict"] == "warning"
    assert last["facts"] == {"ended": "killed", "at": "2020-01-01T10:00:41+00:00", "seconds": 41.0}
    assert "2020-01-01 10:00:41 UTC, about 41.0 s after it began" in last["message"]
    assert last["next"] == "burst run"


def test_runs_that_are_killed_again_and_again_teach_when_to_end(project: Path) -> None:
    log = parts_of(project / "re_render_state.json").bursts
    at = datetime(2020, 1, 1, 9, tzinfo=UTC)
    for number, seconds in enumerate((42.0, 45.0)):
        started = at + timedelta(minutes=10 * number)
        log.append(
            BurstRecord(
                burst=f"b{number}",
                host="elsewhere",
                started_at=started,
                ended_at=started + timedelta(seconds=seconds),
                ended="killed",
                size=15,
                seconds=5.0,
                alive_seconds=seconds,
            )
        )
    leave_a_killed_burst(project, lived_seconds=40)
    document = examined(code=0)
    watchdog = named(document, "watchdog")
    assert watchdog["verdict"] == "ok"
    assert watchdog["facts"] == {"limit_seconds": 40.0, "kills": 3, "usable_seconds": 36.0}
    assert "after about 40.0 s (seen 3 times); they now end by 36.0 s" in watchdog["message"]
    # What a run does by itself is not advised.
    assert document["next"] == "burst run"


def test_a_watchdog_is_spoken_of_after_a_clean_burst_too_and_not_where_none_was_met(project: Path) -> None:
    assert not [check for check in examined(code=0)["checks"] if check["name"] == "watchdog"]
    log = parts_of(project / "re_render_state.json").bursts
    at = datetime(2020, 1, 1, 9, tzinfo=UTC)
    for ended, seconds in (("killed", 42.0), ("killed", 43.0), ("done", 3.0)):
        log.append(
            BurstRecord(burst=ended, started_at=at, ended_at=at, ended=ended, size=5, seconds=seconds)  # type: ignore[arg-type]
        )
    document = examined(code=0)
    assert named(document, "last burst")["facts"]["ended"] == "done"
    assert "about 42.0 s (seen 2 times)" in named(document, "watchdog")["message"]


def test_the_recorded_reason(project: Path, sandbox: Sandbox) -> None:
    now = datetime.now(UTC)
    record = BurstRecord(burst="b", started_at=now, ended_at=now, ended="error", size=15, reason="the disk is full")
    parts_of(project / "re_render_state.json").bursts.append(record)
    last = named(examined(code=0), "last burst")
    assert last["verdict"] == "warning"
    assert last["message"] == f"stopped by an error, {now:%Y-%m-%d %H:%M:%S} UTC: the disk is full"


def test_a_burst_that_a_failed_item_stopped_is_no_error_without_a_reason(project: Path) -> None:
    now = datetime.now(UTC)
    record = BurstRecord(burst="b", started_at=now, ended_at=now, ended="error", size=15, failed=1, seconds=3.0)
    parts_of(project / "re_render_state.json").bursts.append(record)
    last = named(examined(code=0), "last burst")
    assert last["message"].startswith("stopped because an item failed, ")
    assert last["message"].endswith(" UTC: 0 completed, 1 failed in 3.0 s")


def test_items_on_another_server(project: Path) -> None:
    edit_state(project, {"status": "submitted", "prompt_id": "x", "server": "http://old:8188"})
    document = examined(code=0)
    elsewhere = named(document, "elsewhere")
    assert elsewhere["facts"] == {"http://old:8188": 3}
    assert document["next"] == "burst run --server http://old:8188"


def test_failed_items_by_kind(project: Path) -> None:
    edit_state(project, {"status": "failed", "error": {"kind": "rejected", "message": "no such\nnode"}})
    document = examined(code=0)
    failed = named(document, "failed")
    assert failed["facts"] == {"kind": "rejected", "count": 3}
    assert failed["message"] == "3 × rejected, such as prompts/p0.txt: no such node"
    assert document["next"] == "burst retry"


def test_prompt_files_that_a_run_could_not_read(project: Path) -> None:
    (project / "prompts" / "p0.txt").unlink()
    (project / "prompts" / "p0.txt").symlink_to("nowhere")
    (project / "prompts" / "p1.txt").write_text(" ")
    prompts = named(document := examined(code=1), "prompts")
    assert prompts["verdict"] == "problem"
    assert prompts["message"].startswith("2 of 3 pending items cannot be sent, such as prompts/p0.txt: the prompt file")
    assert prompts["message"].endswith("is gone; restore it")
    assert prompts["facts"] == {"count": 2, "items": ["prompts/p0.txt", "prompts/p1.txt"]}
    assert document["next"] == "burst run"
    said("run", code=1)
    failed = [item.key for item in open_store(project / "re_render_state.json", read_only=True).items(Status.FAILED)]
    assert failed == prompts["facts"]["items"]


def test_images_that_a_run_could_not_read(project: Path) -> None:
    (project / "images").mkdir()
    for name in ("a.png", "b.png", "c.png"):
        (project / "images" / name).write_bytes(b"not read by doctor")
    said("init", "images", "--images", "--template", "smoke-image")
    assert named(examined(code=0), "images")["facts"] == {"images": 3, "missing": 0}
    (project / "images" / "a.png").unlink()
    (project / "images" / "a.png").symlink_to("nowhere")
    (project / "images" / "b.png").unlink()
    (project / "images" / "b.png").mkdir()
    images = named(examined(code=1), "images")
    assert images["facts"] == {"count": 2, "items": ["images/a.png", "images/b.png"], "missing": 2}
    assert "images/a.png is gone; restore it" in images["message"]


def test_a_file_in_the_place_of_an_output(project: Path) -> None:
    place = project / "output" / "prompts" / "p1.png"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"somebody's")
    (output,) = [check for check in examined(code=1)["checks"] if check["verdict"] == "problem"]
    assert (output["name"], output["facts"]) == ("output", {"count": 1, "items": ["prompts/p1.txt"]})
    assert "p1.png already exists and does not belong to this item" in output["message"]


def test_a_dangling_link_where_the_output_directory_should_be(project: Path) -> None:
    (project / "output").symlink_to("nowhere")
    output = named(examined(code=1), "output")
    assert output["verdict"] == "problem"
    assert "the output directory is a link that leads nowhere" in output["message"]


def test_an_examination_of_many_items_ends(project: Path) -> None:
    class Hurried(Clock):
        """Two seconds pass between any two looks."""

        now_at = 0.0

        def monotonic(self) -> float:
            self.now_at += 2.0
            return self.now_at

    report = examine(project / "re_render_state.json", clock=Hurried())
    (limited,) = [check for check in report.checks if check.name == "inputs"]
    assert limited.message == "only the first 2 of 3 pending items were checked"


def test_where_template_and_server_come_from(project: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def settings(*arguments: str) -> str:
        return str(named(json.loads(said("doctor", "--json", "--all", *arguments)), "settings")["message"])

    url = sandbox.url
    assert settings() == f"template smoke, server {url} (remembered)"
    assert settings("--server", url) == f"template smoke (remembered), server {url} (given)"
    assert settings("--server", url, "--template", "smoke") == f"template smoke, server {url} (given)"
    monkeypatch.setenv("COMFYUI_URL", url)
    assert settings() == f"template smoke (remembered), server {url} (COMFYUI_URL)"


def test_doctor_never_advises_itself(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "prompts" / "p0.txt").unlink()
    document = examined("--server", NOBODY, code=1)
    advised = [document["next"], *(check["next"] for check in document["checks"] if check["next"])]
    assert [command for command in advised if "doctor" in command] == []
