"""`burst generate` beside others on the same state: following them, taking over from them, adding at the same time."""

from __future__ import annotations

import io
import json
import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.background import in_background
from support.generate_project import Place
from support.projects import AT_ONCE_SECONDS, MakeProject
from support.proxy import Proxy
from support.waiting import wait_until

from orchestrator.batches.generate_report import Generated
from orchestrator.batches.spec import BatchSpec
from orchestrator.clock import Clock
from orchestrator.cycle.request import Request
from orchestrator.cycle.run import run_burst
from orchestrator.errors import StopBurst, UsageError
from orchestrator.generation import Generation, generate
from orchestrator.log_lines import without_time
from orchestrator.sandbox import Sandbox
from orchestrator.settings import Overrides
from state.item import Status
from state.open_store import parts_of

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


class Noon(Clock):
    """It is always the same second; waiting is real."""

    def now(self) -> datetime:
        return NOON


def test_what_another_process_works_off_is_followed_to_its_end(place: Place, sandbox: Sandbox) -> None:
    sandbox.hold("render")
    with place.start_generate("--count", "3", "--seed", "1", "--priority", "low") as first:
        wait_until(lambda: place.accepted() == 3, what="the first at work")
        with place.start_generate("--count", "3", "--seed", "11", "--priority", "urgent", "-v") as second:
            wait_until(lambda: "Waiting for another burst" in second.err_so_far(), what="the second follows")
            sandbox.release()
            followed, worked = second.end(), first.end()
    assert (worked.code, followed.code) == (0, 0), followed.err
    for ended in (worked, followed):
        assert (ended.report["ended"], ended.report["remaining"]) == ("done", 0)
    begun = [line for line in map(without_time, followed.err.splitlines()) if line.startswith("[")]
    assert begun == [f"[{number}/3] Generating with seed {10 + number}..." for number in (1, 2, 3)]
    place.check_done_once(sandbox.counts(), total=6)


class Following(Clock):
    """Says when it waits for another process; waiting is real."""

    def __init__(self) -> None:
        self.follows = threading.Event()

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        if seconds >= 0.5:
            self.follows.set()
        return super().wait(stop, seconds)


def test_it_goes_on_where_a_process_was_killed_that_it_followed(place: Place, sandbox: Sandbox) -> None:
    sandbox.hold("render")
    clock, request = Following(), Request(state=place.state, overrides=Overrides(servers=(sandbox.url,)))
    with place.start_generate("--count", "2") as first:
        wait_until(lambda: place.accepted() == 2, what="the first at work")
        with in_background(generate, BatchSpec(prompt="a cat", count=3), request=request, clock=clock) as end:
            wait_until(clock.follows.is_set, what="the second follows")
            first.kill()
            wait_until(lambda: place.accepted() == 5, what="the second at work")
            sandbox.release()
            outcome = end()
    assert isinstance(outcome, Generated)
    assert (outcome.ended, outcome.remaining) == ("done", 0)
    assert run_burst(place.state, until_done=True, server=sandbox.url).exit_code == 0
    place.check_done_once(sandbox.counts(), total=5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_stopped_while_it_follows_the_other_goes_on(place: Place, sandbox: Sandbox, number: signal.Signals) -> None:
    sandbox.hold("render")
    with place.start_generate("--count", "2") as first:
        wait_until(lambda: place.accepted() == 2, what="the first at work")
        with place.start_generate("--count", "2", "--again") as second:
            wait_until(lambda: len(place.items()) == 4, what="the second added")
            wait_until(lambda: second.has_open(place.folder / "journal.jsonl"), what="the second follows")
            ended = second.stop(number)
        assert (ended.code, ended.seconds <= AT_ONCE_SECONDS) == (128 + number, True)
        assert (ended.report["ended"], ended.report["remaining"], ended.report["next"]) == ("stopped", 2, "burst run")
        sandbox.release()
        assert first.end().code == 0
    assert place.burst("run", "--until-done").code == 0
    place.check_done_once(sandbox.counts(), total=4)


@pytest.mark.parametrize("on_error", ["stop", "continue"])
def test_a_failure_in_another_process_is_waited_past_where_that_was_said(
    make_project: MakeProject, sandbox: Sandbox, on_error: str
) -> None:
    """The other one goes on with the second picture in any case."""
    project = make_project(count=1)
    sandbox.hold("render")
    said = ["--prompt", "a fox", "--count", "2", "--json", "--priority", "urgent", "--on-error", on_error]
    with project.start_run("--until-done", "--max-attempts", "1", "--on-error", "continue") as running:
        wait_until(lambda: project.count(Status.SUBMITTED) == 1, what="the run at work")
        with project.start("generate", *said) as following:
            wait_until(lambda: sum(item.accepted for item in project.items()) == 3, what="all on the server")
            sandbox.change(fail_next=2, seconds_per_prompt=3.0)
            sandbox.release()
            ended = following.end()
        if on_error == "continue":
            assert running.end().code == 1
        else:
            assert running.lives()
            assert project.burst("cancel", "--all").code == 0
    assert ended.code == 1
    report = ended.report
    if on_error == "continue":
        assert (report["ended"], report["remaining"], report["counts"]["completed"]) == ("done", 0, 1)
    else:
        assert (report["ended"], report["remaining"]) == ("failure", 1)
        assert "image_001.png failed, and --on-error is stop" in report["reason"]


def adding(place: Place, *, server: str | None = None, template: str, dry_run: bool = False, **said: Any) -> Generation:
    """A batch of its own, of two, that is queued in the same second as every other."""
    ask = server is not None
    overrides = Overrides(template=template, output_dir=place.output, servers=(server or place.server,))
    wish = {"prompt": "a fox", "count": 2} | said
    request = Request(state=place.state, overrides=overrides)
    how: dict[str, Any] = {"queue_only": True, "dry_run": dry_run, "ask_servers": ask, "always_new": True}
    return Generation(BatchSpec(**wish), request, clock=Noon(), **how)


def add_between(proxy: Proxy, place: Place, first: Generation, between: Callable[[], None]) -> Generated:
    """`first` has planned and asks the server for names; then comes `between`; then it goes on."""
    with in_background(first.execute) as end:
        proxy.wait_for_held()
        between()
        proxy.release()
        outcome = end()
    assert isinstance(outcome, Generated)
    return outcome


@pytest.mark.parametrize("there", [0, 1], ids=["a new state", "a state that is there"])
def test_two_at_once_have_directories_and_templates_of_their_own(
    place: Place, sandbox: Sandbox, proxy: Proxy, there: int
) -> None:
    for _ in range(there):
        adding(place, template="smoke").execute()
    proxy.hold("GET /api/object_info")
    first = adding(place, server=proxy.url, template="txt2img-sd15", size=(64, 64))
    second = adding(place, template="smoke")
    add_between(proxy, place, first, second.execute)
    directories = [batch.record.directory.rpartition("_")[2] for batch in place.batches()]
    assert directories == ["120000", "2", "3"][: 2 + there]
    assert run_burst(place.state, until_done=True, server=sandbox.url).exit_code == 0
    place.check_done_once(sandbox.counts(), total=4 + 2 * there)
    templates = ["smoke"] * (2 + 2 * there) + ["txt2img-sd15"] * 2
    for item, template in zip(place.items(), templates, strict=True):
        assert f"template: {template}" in (place.output / str(item.sidecar)).read_text()


def test_the_directory_of_another_state_in_the_same_output_directory_is_left_alone(place: Place) -> None:
    (place.output / "20300101_120000").mkdir(parents=True)
    adding(place, template="smoke").execute()
    assert [batch.record.directory for batch in place.batches()] == ["20300101_120000_2"]


def test_what_came_between_and_would_be_overwritten_is_refused(place: Place, proxy: Proxy) -> None:
    listed = place.home / "list.csv"
    listed.write_text("prompt,name\na fox,fox\na cat,cat\n")
    said: dict[str, Any] = {"prompt": None, "csv": str(listed), "layout": "mirror", "count": 1}
    proxy.hold("GET /api/object_info")
    first = adding(place, server=proxy.url, template="txt2img-sd15", **said)
    second = adding(place, template="txt2img-sd15", **said)
    with pytest.raises(UsageError, match="would both be saved as list/"):
        add_between(proxy, place, first, second.execute)
    with pytest.raises(UsageError, match="would both be saved as list/"):
        adding(place, template="txt2img-sd15", dry_run=True, **said).execute()
    assert len(place.items()) == 2
    assert len(place.batches()) == 1


def test_planned_once_more_it_reads_standard_input_again(place: Place, proxy: Proxy) -> None:
    proxy.hold("GET /api/object_info")
    overrides = Overrides(template="txt2img-sd15", servers=(proxy.url,))
    asked = BatchSpec(prompts_file="-")
    first = Generation(
        asked,
        Request(state=place.state, overrides=overrides),
        queue_only=True,
        ask_servers=True,
        stdin=io.BytesIO(b"a fox\na cat\n"),
    )
    outcome = add_between(proxy, place, first, adding(place, template="smoke").execute)
    assert [item.prompt_text for item in place.items(outcome.record.batch)] == ["a fox", "a cat"]


def test_told_to_stop_before_it_adds_it_does_not(place: Place) -> None:
    first = adding(place, server=place.server, template="smoke")
    first.request_stop()
    with pytest.raises(StopBurst):
        first.execute()
    assert not place.state.exists()


def test_the_lock_of_another_host_is_not_asked_without_a_pause(
    place: Place, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its holder lives, and the lock itself is to be had: as on a disk that locks for one host only."""
    adding(place, template="smoke").execute()
    holder = place.folder / "holder.json"
    elsewhere = {"host": "elsewhere", "boot_id": "another", "pid": 1, "burst": "b", "started_at": NOON.isoformat()}
    holder.write_text(json.dumps({**elsewhere, "size": 15}))
    waits: list[float] = []

    class Waiting(Clock):
        def wait(self, stop: threading.Event, seconds: float) -> bool:
            waits.append(seconds)
            if len(waits) == 3:
                holder.unlink()
            return False

    overrides = Overrides(template="smoke", servers=(sandbox.url,))
    request = Request(state=place.state, overrides=overrides)
    outcome = generate(BatchSpec(prompt="a cat"), request=request, clock=Waiting())
    assert isinstance(outcome, Generated)
    assert (outcome.remaining, outcome.ended) == (0, "done")
    assert waits[0] >= 0.5


def test_what_it_makes_of_a_picture_goes_on_where_the_state_was_moved(
    place: Place, sandbox: Sandbox, tmp_path: Path
) -> None:
    """The image's graph is in the state's recipes, whole, and is found there."""
    request = Request(state=place.state, overrides=Overrides(template="txt2img-sd15", servers=(sandbox.url,)))
    first = generate(BatchSpec(prompt="a lighthouse", size=(64, 64), seed=5), request=request)
    assert isinstance(first, Generated)
    picture = first.directory / "image.png"
    aside = tmp_path / "other"
    aside.mkdir()
    for state in (place.state, aside / "state.json"):
        own = Request(state=state, overrides=Overrides(servers=(sandbox.url,)))
        again = generate(BatchSpec(from_file=str(picture)), request=own, queue_only=True)
        assert isinstance(again, Generated)
        assert again.record.template == (str(picture) if state is not place.state else "output/" + place.pictures()[0])
    picture.unlink()
    for home, name in ((place.home, place.state.name), (aside, "state.json")):
        moved = home.rename(home.with_name(f"{home.name} moved"))
        report = run_burst(moved / name, server=sandbox.url)
        assert (report.exit_code, report.completed) == (0, 1)
        assert len(list(moved.rglob("image.png"))) == 1
    assert parts_of(tmp_path / "other moved" / "state.json").settings.exists()
    assert parts_of(tmp_path / "other moved" / "state.json").batches.read()
