"""`burst generate` from the command line: what it refuses, what it reports, how it is stopped."""

from __future__ import annotations

import errno
import hashlib
import hmac
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.generate_project import Place, said_error
from support.projects import AT_ONCE_SECONDS, MakeProject
from support.proxy import Proxy
from support.waiting import wait_until
from test_notify import Receiver

from orchestrator.log_lines import without_time
from orchestrator.sandbox import Sandbox
from state.item import Status
from state.open_store import parts_of

CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}
both = pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = Receiver()
    with made.loopback:
        yield made


SWEPT = ",".join(map(str, range(1, 1001)))
REFUSED = {
    "no variation": (["--count", "0"], "--count 0: a prompt has from 1 to 999 variations"),
    "a thousand": (["--count", "1000"], "--count 1000"),
    "an empty prompt": (["--prompt", " \t"], "--prompt: the text is empty"),
    "a model": (["--model", "tiny-rndom.safetensors"], "did you mean 'tiny-random.safetensors'"),
    "a LoRA": (["--lora", "tiny-loar.safetensors:0.8"], "did you mean 'tiny-lora.safetensors'"),
    "a sampler": (["--sampler", "eulr"], "did you mean 'euler'"),
    "a scheduler": (["--scheduler", "karas"], "did you mean 'karras'"),
    "a profile": (["--profile", "sped"], "did you mean 'speed'"),
    "a negative seed": (["--seed", "-2"], "--seed"),
    "a seed too large": (["--seed", str(2**64)], "--seed"),
    "a last seed too large": (["--seed", str(2**64 - 2), "--count", "3"], "--seed"),
    "a sweep of a million": (["--sweep", f"steps={SWEPT}", "--sweep", f"seed={SWEPT}"], "1000000 items"),
    "a swept name that is not there": (["--sweep", "sampler=euler,eulr"], "did you mean 'euler'"),
    "a size": (["--size", "64by64"], "--size 64by64"),
    "an address": (["--set", "99.text=x"], "99"),
    "a hook": (["--notify", "ftp://example.org"], "--notify"),
    "two ways to go on": (["--queue-only", "--wait"], "choose one: --queue-only or --wait"),
    "a template": (["--template", "txt2img-sd51"], "txt2img-sd15"),
    "a secret header": (["--header", "Authorization: Bearer hunter2"], "env:VARIABLE"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_adds_nothing_and_leaves_nothing(place: Place, sandbox: Sandbox, case: str) -> None:
    arguments, word = REFUSED[case]
    ended = place.generate(*arguments)
    assert ended.code == 2
    assert word in said_error(ended)
    assert "hunter2" not in ended.err
    assert place.files() == []
    assert sandbox.counts()["posts"] == 0


LISTS = {
    "a column that nobody binds": ("--csv", "prompt,stepps\na fox,4\n", "did you mean 'steps'"),
    "a seed in a row": ("--csv", "prompt,seed\na fox,-4\n", "line 2"),
    "a sampler in a row": ("--csv", "prompt,sampler\na fox,euler\na cat,eulr\n", "did you mean 'euler'"),
    "a key that nobody binds": ("--jsonl", '{"prompt": "a fox", "stepps": 4}\n', "did you mean 'steps'"),
    "no prompt": ("--prompts-file", "# nothing\n\n", "it holds no prompt"),
    "an empty prompt file": ("--prompt-file", "\n", "it holds no prompt"),
    "a file that is no sidecar": ("--from", "a fox\n", "neither a sidecar of burst nor a PNG"),
}


@pytest.mark.parametrize("case", LISTS)
def test_a_list_that_is_refused_adds_nothing_and_leaves_nothing(place: Place, sandbox: Sandbox, case: str) -> None:
    flag, text, word = LISTS[case]
    (place.home / "list").write_text(text)
    ended = place.burst("generate", flag, "list", "--template", "txt2img-sd15", "--json")
    assert ended.code == 2
    assert word in said_error(ended)
    assert place.files() == ["list"]
    assert sandbox.counts()["posts"] == 0


def test_refused_beside_a_state_nothing_of_it_changes(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project()
    before = project.state.read_bytes(), sorted(project.folder.iterdir())
    ended = project.burst("generate", "--prompt", "a fox", "--sampler", "eulr")
    assert (ended.code, "did you mean 'euler'" in ended.err) == (2, True)
    assert (project.state.read_bytes(), sorted(project.folder.iterdir())) == before


def test_a_state_that_cannot_be_read_is_left_without_a_folder(place: Place) -> None:
    place.state.write_text("{broken")
    ended = place.generate("--queue-only")
    assert (ended.code, "not JSON at line 1" in said_error(ended)) == (2, True)
    assert place.files() == ["re_render_state.json"]


def test_two_processes_add_to_a_state_made_by_hand(place: Place) -> None:
    place.state.write_text('{"one": {"status": "pending", "prompt_text": "a fox"}}')
    with (
        place.start_generate("--queue-only", "--seed", "1") as one,
        place.start_generate("--queue-only", "--seed", "2") as other,
    ):
        assert [one.end().code, other.end().code] == [0, 0]
    assert (len(place.items()), len(place.batches())) == (3, 2)


@pytest.mark.parametrize("source", ["--prompt", "--from"])
def test_a_dry_run_writes_nothing(place: Place, sandbox: Sandbox, tmp_path: Path, source: str) -> None:
    """Not even the graph that a picture brings."""
    said = ["--prompt", "a fox", "--template", "txt2img-sd15"]
    if source == "--from":
        made = Place(tmp_path, sandbox.url)
        assert made.generate().code == 0
        said = ["--from", str(made.output / made.pictures()[0])]
    posts = sandbox.counts()["posts"]
    ended = place.burst("generate", *said, "--seed", "5", "--count", "2", "--dry-run", "--json")
    assert ended.code == 0, ended.err
    report = ended.report
    assert (report["schema"], report["items_total"]) == ("burst.generate-dry-run/2", 2)
    assert [item["inputs"]["seed"] for item in report["items"]] == [5, 6]
    assert place.files() == []
    assert sandbox.counts()["posts"] == posts


@pytest.mark.parametrize("flag", ["--wait", "--monitor", "--json"])
def test_it_stays_until_the_batch_is_done(place: Place, flag: str) -> None:
    """`--wait` and `--monitor` say what it does anyway. The report's keys are a promise."""
    ended = place.generate("--count", "2", "--seed", "7", flag)
    assert ended.code == 0, ended.err
    (batch,) = place.batches()
    report = ended.report
    assert report.pop("seconds") > 0
    assert report == {
        "schema": "burst.generate/2",
        "batch": batch.id,
        "name": None,
        "continued": False,
        "directory": str(place.output / batch.record.directory),
        "directories": [str(place.output / batch.record.directory)],
        "total": 2,
        "counts": {"pending": 0, "submitted": 0, "completed": 2, "failed": 0, "cancelled": 0},
        "remaining": 0,
        "failures": [],
        "failures_total": 0,
        "seed": 7,
        "ended": "done",
        "reason": None,
        "notes": [],
        "next": None,
        "exit_code": 0,
    }
    assert ended.err == ""


def test_the_report_of_a_queued_one(place: Place, sandbox: Sandbox) -> None:
    report = place.generate("--count", "2", "--queue-only").report
    assert (report["ended"], report["remaining"], report["next"]) == ("queued", 2, "burst run")
    assert place.burst("run").code == 0
    place.check_done_once(sandbox.counts(), total=2)


def test_the_report_of_a_failure_that_stops_it(place: Place, sandbox: Sandbox) -> None:
    sandbox.change(seconds_per_prompt=0.2, failure_rate=1.0)
    ended = place.generate("--count", "30")
    assert ended.code == 1
    report = ended.report
    assert (report["ended"], report["exit_code"]) == ("failure", 1)
    assert report["remaining"] > 0
    assert "image_001.png failed, and --on-error is stop" in report["reason"]
    assert report["failures"][0]["image"].endswith("/image_001.png")
    assert report["failures"][0]["message"]


def test_the_report_of_failures_that_do_not_stop_it(place: Place, sandbox: Sandbox) -> None:
    sandbox.change(failure_rate=1.0)
    ended = place.burst(
        "generate", "--prompt", "a fox", "--template", "txt2img-sd15", "--count", "12", "--on-error", "continue"
    )
    assert ended.code == 1
    assert "0 of 12 done" in ended.out
    lines = [without_time(line) for line in ended.out.splitlines()]
    assert sum(line.startswith("  failed: ") for line in lines) == 10
    assert ended.out.count("/12] failed: ") == 12
    assert "… and 2 more failed" in ended.out
    assert "Stopped" not in ended.out


def test_cancelled_by_another_process_it_ends(place: Place, sandbox: Sandbox) -> None:
    sandbox.hold("render")
    with place.start_generate("--count", "3") as running:
        wait_until(lambda: place.accepted() == 3, what="three accepted")
        assert place.burst("cancel", "--all").code == 0
        ended = running.end()
    assert ended.code == 0, ended.err
    assert (ended.report["counts"]["cancelled"], ended.report["ended"]) == (3, "done")


def test_what_its_bursts_note_is_in_the_report(place: Place, sandbox: Sandbox) -> None:
    assert place.generate("--queue-only").code == 0
    document = json.loads(place.state.read_text())
    (key,) = document
    document[key] |= {"status": "submitted", "prompt_id": "1" * 32, "server": "http://10.9.9.9:8188"}
    place.state.write_text(json.dumps(document))
    report = place.generate().report
    assert any("http://10.9.9.9:8188, which this run does not use" in note for note in report["notes"])


@both
def test_stopped_by_a_signal_while_it_renders(place: Place, sandbox: Sandbox, number: signal.Signals) -> None:
    sandbox.hold("render")
    with place.start_generate("--count", "4", "--seed", "9") as running:
        wait_until(lambda: place.accepted() == 4, what="four accepted")
        ended = running.stop(number)
    assert (ended.code, ended.seconds <= AT_ONCE_SECONDS) == (CODES[number], True)
    report = ended.report
    assert (report["ended"], report["remaining"], report["next"]) == ("stopped", 4, "burst run")
    assert parts_of(place.state).bursts.read()[-1].signal == number.name
    sandbox.release()
    assert place.burst("run", "--until-done").code == 0
    place.check_done_once(sandbox.counts(), total=4)
    assert [item.inputs["seed"] for item in place.items()] == [9, 10, 11, 12]


@both
def test_stopped_by_a_signal_while_it_plans_nothing_is_added(
    place: Place, proxy: Proxy, number: signal.Signals
) -> None:
    place.server = proxy.url
    proxy.hold("GET /api/object_info")
    with place.start_generate() as running:
        proxy.wait_for_held()
        ended = running.stop(number)
    assert (ended.code, ended.seconds <= AT_ONCE_SECONDS) == (CODES[number], True)
    assert place.files() == []


def test_told_to_stop_while_the_server_is_tried_again_it_exits_as_stopped(place: Place, proxy: Proxy) -> None:
    place.server = proxy.url
    proxy.reset("GET /api/object_info")
    with place.start_generate() as running:
        wait_until(lambda: len(proxy.requests) >= 2, what="the second try")
        ended = running.stop(signal.SIGTERM)
    assert (ended.code, ended.seconds <= AT_ONCE_SECONDS) == (143, True)
    assert place.files() == []


def test_others_are_told_with_a_signature(place: Place, receiver: Receiver) -> None:
    said = ["--count", "2", "--notify", receiver.url, "--notify-secret", "HOOK_KEY"]
    report = place.generate(*said, HOOK_KEY="a key").report
    (request,) = receiver.loopback.requests
    event = json.loads(request.body)
    assert (event["kind"], event["batch"], event["counts"]["completed"]) == ("batch.done", report["batch"], 2)
    digest = hmac.new(b"a key", request.body, hashlib.sha256).hexdigest()
    assert request.headers["X-Burst-Signature"] == f"sha256={digest}"
    assert not any(b"a key" in path.read_bytes() for path in place.home.rglob("*") if path.is_file())


def test_what_is_said_for_a_batch_and_not_remembered_is_in_the_command_for_the_rest(
    make_project: MakeProject, sandbox: Sandbox
) -> None:
    project = make_project(count=1)
    elsewhere = project.home / "else where"
    said = ["--prompt", "a fox", "--queue-only", "--json"]
    assert project.burst("generate", *said).report["next"] == "burst run"
    told = ["--output", str(elsewhere), "--bind", "negative=7.text", "--server", "http://user:hunter2@127.0.0.1:9/"]
    again = project.burst("generate", *said, *told)
    assert again.report["next"] == "burst run --server http://127.0.0.1:9"
    assert "hunter2" not in again.out
    plain = project.burst("generate", *said[:-1], "--output", str(elsewhere))
    assert "Next: burst run" in plain.out
    assert "--output" not in plain.out, "its recipe has it"


def test_an_output_directory_of_its_own_in_a_new_state_is_remembered(place: Place, sandbox: Sandbox) -> None:
    ended = place.generate("--count", "2", "--queue-only", "--output", "renders")
    assert ended.report["next"] == "burst run"
    assert ended.report["directory"] == str(place.home / "renders" / place.batches()[0].record.directory)
    assert place.burst("run").code == 0
    place.output = place.home / "renders"
    place.check_done_once(sandbox.counts(), total=2)


def test_in_a_state_whose_init_named_another_template_each_keeps_its_own(
    make_project: MakeProject, sandbox: Sandbox
) -> None:
    project = make_project(count=2)
    remembered = (project.folder / "settings.toml").read_bytes()
    ended = project.burst("generate", "--prompt", "a fox", "--template", "smoke", "--queue-only", "--json")
    assert ended.code == 0, ended.err
    assert (project.folder / "settings.toml").read_bytes() == remembered
    assert project.run("--until-done").code == 0
    of_batch = project.items()[2:]
    assert {item.status for item in project.items()} == {Status.COMPLETED}
    assert project.workflow_names() == ["template.json", "template.json", "smoke"]
    assert "template: smoke" in (project.output / str(of_batch[0].sidecar)).read_text()


@pytest.mark.parametrize("file", ["journal.jsonl", "settings.toml", "re_render_state.json"])
def test_a_full_disk_while_adding(place: Place, sandbox: Sandbox, file: str) -> None:
    ended = place.generate("--count", "3", launch=["--refuse", f"os.write:{errno.errorcode[28]}:{file}"])
    assert ended.code == 2
    assert "the disk is full; free some space and run again" in said_error(ended)
    assert place.items() == []
    assert sandbox.counts()["posts"] == 0
    assert place.generate("--count", "3").code == 0
    place.check_done_once(sandbox.counts(), total=3)
    assert sorted(place.pictures())[0].endswith("/image_001.png")


def test_a_disk_that_is_full_once_the_batch_is_in_the_journal(place: Place, sandbox: Sandbox) -> None:
    ended = place.generate("--count", "3", launch=["--refuse", f"os.write:{errno.errorcode[28]}:batches.jsonl"])
    assert (ended.code, ended.report["remaining"], sandbox.counts()["posts"]) == (2, 3, 0)
    assert "the disk is full; free some space and run again" in ended.report["reason"]
    assert [batch.id for batch in place.batches()] == [ended.report["batch"]]
    again = place.generate("--count", "3")
    assert (again.code, again.report["continued"]) == (0, True)
    place.check_done_once(sandbox.counts(), total=3)


@pytest.mark.parametrize(
    "moment",
    [
        "before:state.json.store:JsonStore.add",
        "after:state.json.store:JsonStore.add",
        "before:state.json.store:JsonStore.settle",
        "before:state.json.batch_log:JsonBatchLog.take_over",
        "after:state.json.batch_log:JsonBatchLog.take_over",
    ],
)
def test_killed_while_adding_a_batch_is_there_whole_or_not_at_all(place: Place, sandbox: Sandbox, moment: str) -> None:
    assert place.generate("--count", "3", launch=["--kill", moment]).code == 137
    added = len(place.items())
    assert {item.batch for item in place.items()} == {batch.id for batch in place.batches()}
    assert added == (0 if moment == "before:state.json.store:JsonStore.add" else 3)
    assert place.burst("batches", "list", "--json").code == 0
    assert place.burst("status", "--json").code == 0
    again = place.generate("--count", "3")
    assert (again.code, again.report["continued"]) == (0, bool(added))
    assert place.burst("run", "--until-done").code == 0
    place.check_done_once(sandbox.counts(), total=3)
    assert len({Path(picture).parent for picture in place.pictures()}) == 1
