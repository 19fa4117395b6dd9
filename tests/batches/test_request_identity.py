"""The same `burst generate` made twice is one request: killed, repeated at any moment, by several at once."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.generate_project import Place, said_error
from support.projects import ROOT, Ended
from support.proxy import Proxy
from support.waiting import wait_until

from orchestrator.batches.cleaning import clean_batches
from orchestrator.batches.generate_report import Generated, Planned
from orchestrator.batches.spec import BatchSpec
from orchestrator.cancellation import cancel
from orchestrator.clock import Clock
from orchestrator.commands.flag_names import as_flag
from orchestrator.cycle.request import Request
from orchestrator.cycle.run import run_burst
from orchestrator.errors import RequestConflict, UsageError
from orchestrator.generation import Generation, generate
from orchestrator.retries import retry
from orchestrator.sandbox import Sandbox
from orchestrator.settings import Overrides
from orchestrator.wording import process_speaks
from state.batch import Idempotency, JoinedRecord
from state.item import Status
from state.open_store import parts_of

FIVE = ("--count", "5")


def work_of(place: Place, *arguments: str) -> Any:
    return place.start_generate(*FIVE, *arguments)


def check_one_batch(place: Place, sandbox: Sandbox, *ended: Ended, total: int = 5) -> None:
    """All of these calls were one request: one batch, each image rendered once, each call with its whole report."""
    (batch,) = (batch.id for batch in place.batches())
    for one in ended:
        assert one.code == 0, one.err
        assert (one.report["batch"], one.report["remaining"], one.report["counts"]["completed"]) == (batch, 0, total)
    place.check_done_once(sandbox.counts(), total=total)


# Sent again while it works


def test_sent_again_while_it_works_both_follow_one_batch_to_its_end(place: Place, sandbox: Sandbox) -> None:
    sandbox.hold("render")
    with work_of(place) as first:
        wait_until(lambda: place.accepted() == 5, what="the first at work")
        with work_of(place) as second:
            wait_until(lambda: len(place.batches()[0].unanswered) == 2, what="the second has joined")
            sandbox.release()
            ended = first.end(), second.end()
    check_one_batch(place, sandbox, *ended)
    assert [one.report["continued"] for one in ended] == [False, True]


def test_two_at_the_same_moment_make_one_batch(place: Place, sandbox: Sandbox, proxy: Proxy) -> None:
    """Both have planned, and none has added anything."""
    place.server = proxy.url
    proxy.hold("GET /api/object_info")
    with work_of(place) as first, work_of(place) as second:
        proxy.wait_for_held(2)
        proxy.release()
        ended = first.end(), second.end()
    check_one_batch(place, sandbox, *ended)
    assert sorted(one.report["continued"] for one in ended) == [False, True]


# Killed


@pytest.mark.parametrize("done", [0, 3], ids=["before anything is rendered", "while it renders"])
def test_killed_and_sent_again_it_goes_on(place: Place, sandbox: Sandbox, done: int) -> None:
    sandbox.change(seconds_per_prompt=0.1)
    if not done:
        sandbox.hold("render")
    with work_of(place) as first:
        wait_until(lambda: place.accepted() >= 1, what="one on the server")
        wait_until(lambda: len(place.pictures()) >= done, what="some images")
        assert first.kill().code == 137
    sandbox.release()
    seeds = [item.inputs["seed"] for item in place.items()]
    again = place.generate(*FIVE)
    check_one_batch(place, sandbox, again)
    assert again.report["continued"]
    assert [item.inputs["seed"] for item in place.items()] == seeds


REPORT = "before:orchestrator.batches.generate_report:Generated.as_json"
NOTE = "before:orchestrator.generation:Generation._note_delivered"


@pytest.mark.parametrize("moment", [REPORT, NOTE], ids=["before its report", "before that is noted"])
def test_killed_when_all_is_rendered_its_report_comes_with_the_next_call(
    place: Place, sandbox: Sandbox, moment: str
) -> None:
    assert place.generate(*FIVE, launch=["--kill", moment]).code == 137
    place.check_done_once(sandbox.counts(), total=5)
    posts = sandbox.counts()["posts"]
    again = place.generate(*FIVE)
    check_one_batch(place, sandbox, again)
    assert (again.report["continued"], again.report["ended"], sandbox.counts()["posts"]) == (True, "done", posts)
    # Now it was received.
    assert not place.generate(*FIVE).report["continued"]
    assert len(place.batches()) == 2


def test_a_report_that_nobody_took_was_not_delivered(place: Place, sandbox: Sandbox) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    flags = ["--prompt", "a lighthouse", "--template", "txt2img-sd15", "--size", "64x64", "--json", *FIVE]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COMFYUI_URL": sandbox.url}
    command = [sys.executable, "-m", "burst", "generate", *flags]
    ended = subprocess.run(
        command, cwd=place.home, env=environment, stdout=writer, stderr=subprocess.DEVNULL, timeout=60, check=False
    )
    os.close(writer)
    assert ended.returncode == 0, "the work is done"
    place.check_done_once(sandbox.counts(), total=5)
    check_one_batch(place, sandbox, place.generate(*FIVE))


def test_after_its_report_it_is_another_request(place: Place, sandbox: Sandbox) -> None:
    first, second = place.generate(*FIVE), place.generate(*FIVE)
    assert not second.report["continued"]
    assert first.report["seed"] != second.report["seed"], "drawn for each batch"
    place.check_done_once(sandbox.counts(), total=10)


def test_what_a_signal_stopped_goes_on_although_its_report_was_printed(place: Place, sandbox: Sandbox) -> None:
    """`timeout` sends SIGTERM: the report says what is left. Whoever does that, the next call has the whole report."""
    sandbox.hold("render")
    with work_of(place) as first:
        wait_until(lambda: place.accepted() == 5, what="the first at work")
        stopped = first.stop(signal.SIGTERM)
    assert (stopped.code, stopped.report["remaining"]) == (143, 5)
    sandbox.release()
    assert place.burst("run", "--until-done").code == 0
    check_one_batch(place, sandbox, place.generate(*FIVE))


# In this process: what makes two requests the same


@pytest.fixture
def ask(place: Place) -> Callable[..., Generated]:
    """A call that adds a batch and leaves it; with `wait` it is done."""

    def ask(*, wait: bool = False, stdin: bytes | None = None, state: Path | None = None, **said: Any) -> Generated:
        names = ("always_new", "deliver", "idempotency")
        how = {name: said.pop(name) for name in names if name in said}
        given = {name: said.pop(name) for name in ("template", "output_dir", "bindings", "servers") if name in said}
        given = {"template": "smoke", "servers": (place.server,)} | given
        spec = BatchSpec(**{"prompt": "a fox", "count": 2} | said)
        request = Request(state=state or place.state, overrides=Overrides(**given), max_attempts=1)
        stream = io.BytesIO(stdin) if stdin is not None else None
        outcome = Generation(spec, request, queue_only=not wait, stdin=stream, **how).execute()
        assert isinstance(outcome, Generated)
        return outcome

    return ask


Ask = Callable[..., Generated]


def written(place: Place, name: str, text: str) -> str:
    path = place.home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_the_request_of_a_script_and_of_a_command_are_the_same(ask: Ask) -> None:
    said = {"seed": 1, "sweeps": {"steps": (2, 3), "cfg": (5, 6)}, "notify": ("http://127.0.0.1:1/hook",)}
    said = {"template": "txt2img-sd15", "seed_mode": "fixed", "layout": "batch"} | said
    first = ask(**said)
    with process_speaks(as_flag):
        second = ask(**said)
    assert (second.continued, second.record) == (True, first.record)
    parts = first.record.request_parts
    assert {"--prompt", "--count", "--seed-mode", "--layout", "--sweep", "--sweep steps", "--notify"} <= parts.keys()


def test_queued_twice_it_is_there_once(ask: Ask, place: Place) -> None:
    first, second = ask(), ask()
    assert (first.continued, second.continued) == (False, True)
    assert first.record == second.record
    assert len(place.items()) == 2
    assert second.as_text().splitlines()[:2] == [
        f"Batch {first.record.batch}: 2 items, 2 left",
        f"Note: the same request already made batch {first.record.batch}, so no new one was made; "
        "always_new=True makes one",
    ]


CHANGES: dict[str, dict[str, Any]] = {
    "count": {"count": 3},
    "a seed": {"seed": 7},
    "another way to count": {"seed_mode": "random"},
    "steps": {"steps": 4},
    "a set": {"sets": {"3.steps": 5}},
    "a sweep": {"sweeps": {"steps": (4, 5)}},
    "a profile": {"profile": "quality"},
    "layout": {"layout": "batch"},
    "stem": {"stem": "hero"},
    "priority": {"priority": "high"},
    "on error": {"on_error": "continue"},
    "notify": {"notify": ("http://127.0.0.1:9/hook",)},
    "prompt": {"prompt": "a cat"},
    "batch size": {"batch_size": 2},
    "workflow": {"template": "txt2img-sdxl"},
    "servers": {"servers": ("http://127.0.0.1:9",)},
    "bindings": {"bindings": {"negative": "6.text"}},
}


@pytest.mark.parametrize("case", CHANGES)
def test_with_another_value_it_is_another_request(ask: Ask, place: Place, case: str) -> None:
    base: dict[str, Any] = {"template": "txt2img-sd15"}
    first = ask(**base)
    assert not ask(**base | CHANGES[case]).continued
    assert ask(**base | CHANGES[case]).continued, "that one too"
    assert ask(**base).record == first.record
    assert len(place.batches()) == 2


def test_spelled_otherwise_it_is_the_same(ask: Ask) -> None:
    first = ask(template="txt2img-sd15", steps=5, profile="quality", sampler="euler")
    assert ask(template="txt2img-sd15", sets={"sampler": "euler", "3.steps": 5}, profile="quality").continued
    assert first.record.request is not None


def test_a_profile_is_what_it_says(ask: Ask, place: Place) -> None:
    words = "profiles: {mine: {steps: 4, cfg: 6.5}}"
    written(place, "profiles.yaml", words)
    ask(template="txt2img-sd15", profile="mine")
    written(place, "profiles.yaml", words.replace("4", "5"))
    assert not ask(template="txt2img-sd15", profile="mine").continued


@pytest.mark.parametrize("kind", ["prompt_file", "prompts_file", "csv", "jsonl"])
def test_a_file_is_its_bytes_wherever_it_lies(ask: Ask, place: Place, kind: str) -> None:
    text = '{"prompt": "a fox"}\n' if kind == "jsonl" else "prompt\na fox\n"
    first = ask(prompt=None, **{kind: written(place, "list", text)})
    assert ask(prompt=None, **{kind: written(place, "elsewhere/other", text)}).record == first.record
    changed = ask(prompt=None, **{kind: written(place, "list", text.replace("fox", "cat"))})
    assert not changed.continued


def test_in_a_mirror_layout_a_lists_name_counts(ask: Ask, place: Place) -> None:
    """The images are called after it."""
    text = "prompt,name\na fox,fox\n"
    ask(prompt=None, csv=written(place, "list.csv", text), layout="mirror", count=1)
    assert ask(prompt=None, csv=written(place, "elsewhere/list.csv", text), layout="mirror", count=1).continued
    assert not ask(prompt=None, csv=written(place, "other.csv", text), layout="mirror", count=1).continued


def test_standard_input_is_what_it_says(ask: Ask) -> None:
    said: dict[str, Any] = {"prompt": None, "prompts_file": "-"}
    first = ask(stdin=b"a fox\na cat\n", **said)
    assert ask(stdin=b"a fox\na cat\n", **said).record == first.record
    assert not ask(stdin=b"a fox\na dog\n", **said).continued


def test_a_pipe_is_read_once(place: Place, sandbox: Sandbox) -> None:
    command = f"{sys.executable} -m burst generate --prompts-file <(printf 'a fox\\na cat\\n') --template smoke --json"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COMFYUI_URL": sandbox.url}
    ended = subprocess.run(
        ["bash", "-c", command], cwd=place.home, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(ended.stdout)["total"] == 2


def test_made_again_from_a_file_it_is_the_files_bytes(ask: Ask, place: Place) -> None:
    made = ask(wait=True, count=1, template="txt2img-sd15", size=(64, 64), seed=5)
    sidecar = Path(place.output / str(place.items()[0].sidecar))
    said: dict[str, Any] = {"prompt": None, "from_file": str(sidecar), "template": None}
    assert not ask(**said).continued
    assert ask(**said).continued
    sidecar.write_text(sidecar.read_text().replace("seed: 5", "seed: 6"))
    assert not ask(**said).continued
    picture = str(made.directory / "image.png")
    assert not ask(**said | {"from_file": picture}).continued
    assert ask(**said | {"from_file": picture}).continued


def test_from_another_directory_it_is_the_same(
    ask: Ask, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(place, "flow.json", (ROOT / "templates" / "smoke.json").read_text())
    monkeypatch.chdir(place.home)
    first = ask(template="flow.json")
    monkeypatch.chdir(tmp_path)
    assert ask(template="studio/flow.json").record == first.record
    assert ask(template=str(place.home / "flow.json")).record == first.record


def test_when_its_workflow_was_changed_it_is_another_request(ask: Ask, place: Place) -> None:
    text = (ROOT / "templates" / "txt2img-sd15.json").read_text()
    path = written(place, "flow.json", text)
    ask(template=path)
    graph = json.loads(text)
    next(node for node in graph.values() if node["class_type"] == "KSampler")["inputs"]["denoise"] = 0.5
    written(place, "flow.json", json.dumps(graph))
    assert not ask(template=path).continued


def test_to_another_directory_it_is_another_request(ask: Ask, place: Place) -> None:
    ask()
    assert not ask(output_dir=place.home / "elsewhere").continued


def test_in_another_state_it_is_another_request(ask: Ask, place: Place) -> None:
    ask()
    assert not ask(state=place.home / "other.json").continued


# Which batch answers


def test_when_wanted_it_is_another_batch(ask: Ask, place: Place) -> None:
    ask()
    assert not ask(always_new=True).continued
    assert len(place.batches()) == 2
    assert ask().record == place.batches()[1].record, "the newer one"


@pytest.mark.parametrize("how_many", [1, 2], ids=["one item", "all"])
def test_a_cancelled_one_is_not_continued(ask: Ask, place: Place, how_many: int) -> None:
    first = ask()
    cancel(place.state, [item.key for item in place.items()[:how_many]])
    second = ask()
    assert not second.continued
    assert retry(place.state, cancelled=True).keys
    assert ask().record == second.record
    cancel(place.state, [second.record.batch])
    assert ask().record == first.record, "which was taken up again"


def test_one_that_is_about_to_be_cancelled_is_not_continued(place: Place, sandbox: Sandbox, proxy: Proxy) -> None:
    """A server that does not answer keeps its item, and nobody knows what has become of it."""
    proxy.hold("POST /api/prompt")
    place.server = proxy.url
    with place.start_generate() as first:
        proxy.wait_for_held()
        proxy.refuse()
        cancelled = Request(state=place.state, overrides=Overrides(servers=(proxy.url,)))
        cancel(place.state, overrides=cancelled.overrides, patience_seconds=0.1)
        (item,) = place.items()
        assert (item.status, item.cancel_requested) == (Status.SUBMITTED, True)
        place.server = sandbox.url
        assert not place.generate("--queue-only").report["continued"]
        first.kill()


class Later(Clock):
    def now(self) -> Any:
        return super().now() + timedelta(days=400)


def test_one_that_was_cleaned_away_is_not_continued(ask: Ask, place: Place) -> None:
    ask(name="hero")
    first = ask()
    run_burst(place.state, until_done=True, server=place.server)
    cleaned = clean_batches(place.state, older_than=timedelta(days=1), clock=Later())
    assert first.record.batch in cleaned.batches
    assert not ask().continued
    assert not ask(name="hero").continued, "its name is free again"


def test_what_failed_stays_failed_and_the_rest_goes_on(ask: Ask, place: Place, sandbox: Sandbox) -> None:
    sandbox.change(fail_next=1, seconds_per_prompt=0.2)
    said: dict[str, Any] = {"wait": True, "count": 9, "on_error": "stop"}
    stopped = ask(**said)
    assert (stopped.ended, stopped.counts[Status.FAILED]) == ("failure", 1)
    assert stopped.remaining
    done = ask(**said)
    assert (done.ended, done.remaining, done.exit_code, done.continued) == ("done", 0, 1, True)
    assert (done.counts[Status.FAILED], done.counts[Status.COMPLETED]) == (1, 8)
    assert done.failures == stopped.failures
    assert len(place.batches()) == 1


def test_a_queued_one_is_answered_when_that_is_reported(ask: Ask, place: Place) -> None:
    """So that a list that cron queues each night is queued each night."""
    first = ask()
    run_burst(place.state, until_done=True, server=place.server)
    assert not ask().continued
    assert first.record.total == 2


def test_who_waits_for_a_queued_one_gets_its_report(ask: Ask, place: Place, sandbox: Sandbox) -> None:
    """That it is queued was reported; then it was waited for by a call that was killed, and another burst ended it."""
    command = ("--count", "2")
    assert not place.generate(*command, "--queue-only").report["continued"]
    sandbox.hold("render")
    with place.start_generate(*command) as waiting:
        wait_until(lambda: place.accepted() == 2, what="it at work")
        assert waiting.kill().code == 137
    sandbox.release()
    assert place.burst("run", "--until-done").code == 0
    check_one_batch(place, sandbox, place.generate(*command), total=2)
    assert not place.generate(*command).report["continued"]


def test_each_of_two_that_wait_gets_its_report(place: Place, sandbox: Sandbox) -> None:
    """The first one's was delivered, to somebody who had given it up; the second was killed."""
    sandbox.hold("render")
    with work_of(place) as first:
        wait_until(lambda: place.accepted() == 5, what="the first at work")
        with work_of(place) as second:
            wait_until(lambda: len(place.batches()[0].unanswered) == 2, what="the second has joined")
            second.kill()
        sandbox.release()
        assert first.end().code == 0
    check_one_batch(place, sandbox, place.generate(*FIVE))
    assert not place.generate(*FIVE).report["continued"]


def test_a_repeated_key_answers_no_other_call(ask: Ask, place: Place) -> None:
    """Who waits for the batch that a key made gets a report, although the key is sent again meanwhile."""
    keyed: dict[str, Any] = {"always_new": True, "idempotency": Idempotency(key="press-1", body="1")}
    first = ask(**keyed)
    batches = parts_of(place.state).batches
    batches.append(JoinedRecord(batch=first.record.batch, call="waits", at=first.record.created_at))
    assert ask(**keyed).record == first.record
    assert [batch.unanswered for batch in place.batches()] == [["waits"]]


def test_what_is_done_needs_no_server_to_be_reported(place: Place, sandbox: Sandbox) -> None:
    assert place.generate(*FIVE, launch=["--kill", REPORT]).code == 137
    place.server = "http://127.0.0.1:9"
    check_one_batch(place, sandbox, place.generate(*FIVE))


def test_a_script_has_its_report_when_the_call_returns(place: Place) -> None:
    request = Request(state=place.state, overrides=Overrides(template="smoke", servers=(place.server,)))
    first, second = (generate(BatchSpec(prompt="a fox"), request=request) for _ in range(2))
    assert isinstance(first, Generated)
    assert isinstance(second, Generated)
    assert (first.remaining, second.continued) == (0, False)


def test_where_the_delivery_cannot_be_noted_the_report_comes_again(
    ask: Ask, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    log, aside = place.folder / "batches.jsonl", place.home / "aside"

    def in_the_way(_outcome: object) -> bool:
        log.rename(aside)
        log.mkdir()
        return True

    first = ask(wait=True, deliver=in_the_way)
    log.rmdir()
    aside.rename(log)
    assert (first.remaining, first.exit_code) == (0, 0)
    assert "that this report was delivered could not be noted, so it may come again" in caplog.text
    assert ask(wait=True).record == first.record
    assert not ask(wait=True).continued


def test_a_dry_run_says_that_it_would_continue(ask: Ask, place: Place) -> None:
    first = ask(layout="mirror")
    request = Request(state=place.state, overrides=Overrides(template="smoke", servers=(place.server,)))
    spec = BatchSpec(prompt="a fox", count=2, layout="mirror")
    before = place.files()
    planned = Generation(spec, request, dry_run=True, ask_servers=False).execute()
    assert isinstance(planned, Planned)
    assert planned.as_json()["continues"] == first.record.batch
    assert f"Would continue batch {first.record.batch}" in planned.as_text()
    assert place.files() == before
    other = Generation(BatchSpec(prompt="a cat"), request, dry_run=True, ask_servers=False).execute()
    assert other.as_json()["continues"] is None


# Names


def test_a_name_works_wherever_an_id_does(place: Place, sandbox: Sandbox) -> None:
    made = place.generate(*FIVE, "--name", "hero").report
    assert made["name"] == "hero"
    for command in (["status", "hero"], ["batches", "show", "hero"]):
        shown = place.burst(*command, "--json").report
        assert (shown["batch"], shown["name"]) == (made["batch"], "hero")
    assert [one["name"] for one in place.burst("batches", "list", "--json").report["batches"]] == ["hero"]
    assert f"{made['batch']} (hero): done" in place.burst("batches", "list").out
    assert place.burst("report", "hero", "--html", "page.html").code == 0
    assert place.burst("status", "hreo").err.count("hero") == 1
    (place.output / place.pictures()[0]).unlink()
    assert f"{place.items()[0].key} (hero): " in place.burst("verify").out
    sandbox.hold("render")
    assert place.generate("--count", "2", "--name", "villain", "--queue-only").code == 0
    assert place.burst("cancel", "villain", "--json").report["items"] == [item.key for item in place.items()[5:]]


@pytest.mark.parametrize(
    "name", ["", " ", "7", "20261121_164408_abcd", "-x", ".x", "a b", "a/b", "ä", "x" * 65, "hero\n"]
)
def test_what_is_no_name_is_refused(ask: Ask, place: Place, name: str) -> None:
    with pytest.raises(UsageError, match=r"^name "):
        ask(name=name)
    assert place.batches() == []


def test_a_name_and_the_same_content_are_that_batch_however_often(ask: Ask, place: Place, sandbox: Sandbox) -> None:
    first = ask(name="hero")
    assert ask(name="hero").record == first.record
    run_burst(place.state, until_done=True, server=place.server)
    posts = sandbox.counts()["posts"]
    for _ in range(3):
        again = ask(name="hero", wait=True)
        assert (again.record, again.continued, again.ended, again.remaining) == (first.record, True, "done", 0)
    assert sandbox.counts()["posts"] == posts
    assert len(place.batches()) == 1


def test_a_name_of_another_request_is_refused_with_what_differs(ask: Ask, place: Place) -> None:
    first = ask(name="hero", steps=4, template="txt2img-sd15")
    with pytest.raises(RequestConflict) as refused:
        ask(name="hero", steps=5, count=3, prompt="a cat", seed=7, template="txt2img-sd15")
    message = str(refused.value)
    assert message.startswith(f"name='hero': batch {first.record.batch} has this name and is another request (")
    for word in ("prompt is 'a fox' there", "count is 2 there", "steps is 4 there", "without seed there"):
        assert word in message
    assert message.endswith("`burst status hero` shows it")
    with pytest.raises(RequestConflict, match="workflow, bindings, outputs, output_dir or servers differs"):
        ask(name="hero", steps=4, template="txt2img-sdxl")
    with pytest.raises(RequestConflict, match=r"without prompts_file there; .*prompt is 'a fox' there"):
        ask(name="hero", prompt=None, prompts_file=written(place, "list", "a fox\n"), template="txt2img-sd15", steps=4)
    assert len(place.batches()) == 1


def test_a_taken_name_is_refused_for_another_batch(ask: Ask, place: Place) -> None:
    ask(name="hero")
    with pytest.raises(RequestConflict, match="choose another one"):
        ask(name="hero", always_new=True)
    assert not ask(name="hero2").continued
    assert not ask().continued, "one without a name is another request"
    assert len(place.batches()) == 3


def test_the_name_of_a_cancelled_batch_is_refused(ask: Ask, place: Place) -> None:
    ask(name="hero")
    cancel(place.state, ["hero"])
    with pytest.raises(RequestConflict, match="was cancelled; `burst retry --cancelled`"):
        ask(name="hero")


def test_on_the_command_line_a_conflict_is_a_usage_error(place: Place) -> None:
    assert place.generate("--name", "hero", "--queue-only").code == 0
    ended = place.generate("--name", "hero", "--count", "2", "--queue-only")
    assert ended.code == 2
    assert "--count is 1 there" in said_error(ended)
    assert ended.report["error"]["kind"] == "RequestConflict"
    assert place.generate("--name", "hero", "--again", "--queue-only").code == 2
    assert len(place.items()) == 1


def test_two_of_one_name_at_the_same_moment_are_one_batch(place: Place, sandbox: Sandbox, proxy: Proxy) -> None:
    place.server = proxy.url
    proxy.hold("GET /api/object_info")
    with work_of(place, "--name", "hero") as first, work_of(place, "--name", "hero") as second:
        proxy.wait_for_held(2)
        proxy.release()
        ended = first.end(), second.end()
    check_one_batch(place, sandbox, *ended)


def test_the_name_of_a_batch_whose_items_were_removed_is_free(place: Place, sandbox: Sandbox) -> None:
    assert place.generate("--name", "hero", "--queue-only").code == 0
    place.state.write_text("{}")
    assert (len(place.batches()), place.items()) == (1, [])
    again = place.generate("--name", "hero", "--count", "2")
    assert (again.code, again.report["continued"]) == (0, False)
    assert place.burst("status", "hero", "--json").report["batch"] == again.report["batch"]


def test_an_item_of_the_same_name_is_not_cancelled_for_the_batch(ask: Ask, place: Place) -> None:
    made = ask(name="hero")
    records = json.loads(place.state.read_text())
    place.state.write_text(json.dumps({**records, "hero": {"status": "pending", "prompt_text": "mine"}}))
    with pytest.raises(UsageError, match=f"both an item and a batch are called 'hero'.*{made.record.batch}"):
        cancel(place.state, ["hero"])
    assert {item.status for item in place.items()} == {Status.PENDING}
