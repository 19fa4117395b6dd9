"""Workers, recovery and settlement over a server whose responses are lost, late, refused or replaced by pages.

Whole bursts over such servers, with their exit codes and messages, are in tests/faults.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.fake_faults import Fault, Faults, Page, first
from support.fake_transport import FakeServer
from support.hand_clock import HandClock
from support.simulated import Simulation

from orchestrator.cycle.context import Options
from orchestrator.errors import (
    BurstError,
    ServerBusy,
    ServerStalled,
    ServerUnreachable,
    TransientError,
    UnexpectedAnswer,
)
from state.item import Status

URL = "http://gpu:8188"
SUBMITTED, PENDING, COMPLETED, FAILED = Status.SUBMITTED, Status.PENDING, Status.COMPLETED, Status.FAILED
POST = "POST /api/prompt"


class Scene:
    """A server, and three items with an image each. `run` is a run of one burst over what is left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = HandClock()
        self.server = FakeServer(URL, self.clock, lambda _: 2.0)
        self.items = 3

    def run(self, fault: Faults = lambda asked: None, **options: float) -> Simulation:
        self.server.fault = fault
        asked = Options(**options)  # type: ignore[arg-type]
        simulation = Simulation(
            self.folder, self.clock, [self.server], items=self.items, options=asked, template="smoke"
        )
        self.items = 0
        try:
            simulation.burst(10)
        finally:
            simulation.close()
        return simulation

    def fail(self, expected: type[BurstError], fault: Faults, **options: float) -> str:
        with pytest.raises(expected) as caught:
            self.run(fault, **options)
        return str(caught.value)

    def posts(self) -> list[float]:
        return [at for at, asked in self.server.requests if asked == POST]

    def statuses(self) -> list[Status]:
        simulation = Simulation(self.folder, self.clock, [], items=0)
        try:
            assert {item.attempts for item in simulation.store.items()} == {0}
            return [item.status for item in simulation.store.items()]
        finally:
            simulation.close()

    def check_done_once(self) -> None:
        assert self.statuses() == [COMPLETED] * 3
        assert len(self.server.accepted) == len(self.server.files) == 3
        assert len(list((self.folder / "output").rglob("*.png"))) == 3

    def check_next_run(self) -> None:
        """Well again, the server is asked for the rest, and each item is rendered once."""
        self.run()
        self.check_done_once()


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


# Requests that are repeated.


@pytest.mark.parametrize(
    "fault", [Page(429), Page(500), Page(502), Page(503), "lost", "late", "refused"], ids=lambda fault: str(fault)[:15]
)
@pytest.mark.parametrize("request_", ["GET /api/queue", "GET /api/history", "GET /api/view"])
def test_questions_are_asked_again(scene: Scene, request_: str, fault: Fault) -> None:
    tally = scene.run(first(3, request_, fault)).tally
    assert (tally.completed, tally.put_back, tally.notes) == (3, 0, [])
    scene.check_done_once()


@pytest.mark.parametrize("request_", [POST, "GET /api/history", "GET /api/view"])
def test_retry_after_is_waited_for(scene: Scene, request_: str) -> None:
    """Seven seconds, where the pauses without it are at most one."""
    tally = scene.run(first(1, request_, Page(429, headers={"Retry-After": "7"}))).tally
    at, again = [at for at, asked in scene.server.requests if request_ in asked][:2]
    assert again - at == pytest.approx(7.0, abs=0.01)
    assert (tally.completed, tally.put_back) == (3, 0)
    scene.check_done_once()


# Prompts that are looked up and not repeated.


@pytest.mark.parametrize("status", [500, 502, 503, 200])
def test_a_post_that_is_answered_by_a_page_is_looked_up_and_sent_again(scene: Scene, status: int) -> None:
    """It did not reach the server: absent after the time in doubt. The others do not wait for that."""
    tally = scene.run(first(1, POST, Page(status))).tally
    assert (tally.completed, tally.put_back) == (3, 1)
    (note,) = tally.notes
    assert f"{POST} answered {status} (Bad luck" in note
    assert "looked up before it is sent again" in note
    assert [at >= 10.0 for at in scene.posts()] == [False, False, False, True]
    scene.check_done_once()


@pytest.mark.parametrize(
    "fault",
    [
        Page(502, after=True),
        Page(200, after=True),
        Page(200, b'{"prompt_id": "0000', {"Content-Type": "application/json"}, after=True),
        "lost",
        "late",
    ],
    ids=["502", "page", "cut JSON", "lost", "late"],
)
def test_a_post_that_arrived_without_a_usable_response_is_not_sent_again(scene: Scene, fault: Fault) -> None:
    tally = scene.run(first(1, POST, fault)).tally
    assert (tally.completed, tally.put_back, len(scene.posts())) == (3, 0, 3)
    (note,) = tally.notes
    assert "looked up before it is sent again" in note
    scene.check_done_once()


def test_a_post_that_is_refused_for_now_is_sent_a_second_later(scene: Scene) -> None:
    """429 without Retry-After; surely not queued, so no doubt and no look-up. What was sent is collected meanwhile."""
    posts = iter([None, Page(429), None, None])
    tally = scene.run(lambda asked: next(posts) if asked == POST else None, in_doubt_seconds=60.0).tally
    (note,) = tally.notes
    assert f"{POST} answered 429" in note
    assert "sending goes on when it accepts more" in note
    assert (tally.completed, tally.put_back) == (3, 0)
    at = scene.posts()
    assert 1.0 <= at[2] - at[1] < 3.0
    assert len(at) == 4
    scene.check_done_once()


def test_a_post_that_was_never_sent_leaves_no_doubt(scene: Scene) -> None:
    """The server goes between the first question and the first POST; no other POST is tried."""
    down = False

    def goes(asked: str) -> Fault:
        nonlocal down
        down = down or asked == POST
        return "refused" if down else None

    assert "refused" in scene.fail(ServerUnreachable, goes)
    assert (scene.statuses(), len(scene.posts())) == ([PENDING] * 3, 1)
    scene.check_next_run()


# Longer than is waited for.


def test_a_history_that_stays_broken_ends_the_burst_and_keeps_the_items(scene: Scene) -> None:
    spoiled = Page(503, headers={"Retry-After": "40"})
    told = scene.fail(ServerBusy, first(10**6, "GET /api/history", spoiled))
    assert "answered 503 (Bad luck) and asks to wait 40 s; if it goes on" in told
    assert scene.statuses() == [SUBMITTED] * 3
    scene.check_next_run()
    assert len(scene.posts()) == 3


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Page(503), "answered 503"),
        (Page(403), "answered 403"),
        (Page(200), "answered 200"),
        ("broken", "breaks off after"),
    ],
    ids=["503", "403", "page", "broken"],
)
def test_files_that_stay_refused_end_the_burst_and_charge_nobody(scene: Scene, fault: Fault, words: str) -> None:
    """None of three items' files comes: that is no item's failure. Rendered once, whatever it takes."""
    told = scene.fail(TransientError, first(10**6, "GET /api/view", fault))
    assert words in told
    assert "the files of no item could be read, so no attempt is charged" in told
    assert not list(scene.folder.rglob("*.part"))
    assert scene.statuses() == [SUBMITTED] * 3
    scene.check_next_run()


def test_files_that_are_refused_for_too_many_requests_are_left_for_the_next_burst(scene: Scene) -> None:
    simulation = scene.run(first(10**6, "GET /api/view", Page(429)))
    assert simulation.tally.failed == 0
    assert all(f"left for a later burst: {URL}: " in note and "429" in note for note in simulation.tally.notes)
    assert len(simulation.tally.notes) == 3
    assert scene.statuses() == [SUBMITTED] * 3
    scene.check_next_run()


def test_a_file_that_the_server_will_not_give_hinders_no_other_item(scene: Scene) -> None:
    """It stays submitted, is asked for again by later bursts, and fails after its attempts; it is rendered once."""
    views: list[str] = []

    def refuse_the_first(asked: str) -> Fault:
        views.extend([asked] if "view" in asked else [])
        return Page(403, b"no") if len(views) == 1 and "view" in asked else None

    assert sorted(scene.run(refuse_the_first).statuses()) == [COMPLETED, COMPLETED, SUBMITTED]
    scene.run(first(1, "GET /api/view", Page(403)))
    last = scene.run(first(1, "GET /api/view", Page(403)))
    assert (last.tally.failed, sorted(last.statuses())) == (1, [COMPLETED, COMPLETED, FAILED])
    assert len(scene.posts()) == 3


def test_a_history_entry_that_cannot_be_read_hinders_no_other_item(scene: Scene) -> None:
    spoiled: list[str] = []

    def garble_the_first(asked: str) -> Fault:
        if "history" not in asked:
            return None
        spoiled[:] = spoiled or [asked]
        return Page(200, b'{"surprise": []}') if asked == spoiled[0] else None

    for _ in range(2):  # asked for when it is its turn, and in the look-up of what an earlier burst left
        assert sorted(scene.run(garble_the_first).statuses()) == [COMPLETED, COMPLETED, SUBMITTED]
    simulation = scene.run()
    assert simulation.statuses() == [COMPLETED] * 3
    assert len(scene.posts()) == 3


def test_a_server_that_answers_nothing_sensible_charges_nobody(scene: Scene) -> None:
    def is_down(asked: str) -> Fault:
        return Page(200, b"<html>maintenance</html>") if scene.clock.seconds >= 1.0 else None

    assert "maintenance" in scene.fail(UnexpectedAnswer, is_down)
    assert scene.statuses() == [SUBMITTED] * 3
    scene.check_next_run()


@pytest.mark.parametrize("status", [500, 200])
def test_a_server_that_never_takes_a_prompt_is_given_up_after_four_times(scene: Scene, status: int) -> None:
    scene.items = 1
    told = scene.fail(ServerStalled, first(10**6, POST, Page(status)))
    assert f"was sent 0000.txt 4 times and did not take it each time: {URL}: POST" in told
    assert f"{POST} answered {status} (Bad luck)" in told
    assert (scene.statuses(), len(scene.posts())) == ([PENDING], 4)


# What a person must change.


@pytest.mark.parametrize("request_", ["GET ", POST])
@pytest.mark.parametrize("status", [401, 403, 307])
def test_a_server_that_wants_a_key_or_another_address_is_left_at_once(scene: Scene, request_: str, status: int) -> None:
    """Asking again would not help; the burst is exit 2 by `needs_a_person`."""
    with pytest.raises(UnexpectedAnswer) as caught:
        scene.run(first(10**6, request_, Page(status, headers={"Location": "http://login.test/"})))
    assert caught.value.needs_a_person
    words = "it points to http://login.test/" if status == 307 else "access refused; give the server's key with headers"
    assert words in str(caught.value)
    assert len(scene.server.requests) <= 4
    assert scene.statuses() == [PENDING] * 3
    scene.check_next_run()


def test_a_prompt_that_is_too_large_fails_alone(scene: Scene) -> None:
    """413 of what stands before the server: the others are not kept waiting behind it for ever."""
    simulation = scene.run(first(1, POST, Page(413)))
    assert simulation.statuses() == [FAILED, COMPLETED, COMPLETED]
    ((key, message),) = simulation.tally.failures
    assert (key, "answered 413" in message, "or send less" in message) == ("0000.txt", True, True)
    assert len(scene.posts()) == 3


@pytest.mark.parametrize("status", [401, 404, 307])
def test_one_of_two_servers_that_refuses_posts_is_left_alone(tmp_path: Path, status: int) -> None:
    """It ends the run only where it is the only one."""
    clock = HandClock()
    refusing, willing = (FakeServer(f"http://{name}:8188", clock, lambda _: 0.1) for name in ("one", "other"))
    refusing.fault = first(10**6, POST, Page(status, headers={"Location": "http://login.test/"}))
    simulation = Simulation(tmp_path, clock, [refusing, willing], items=3)
    simulation.burst(3)
    assert simulation.statuses() == [COMPLETED] * 3
    assert f"{POST} answered {status}" in str(simulation.workers[0].lost)
    assert simulation.workers[1].lost is None
    assert (len(refusing.accepted), len(willing.accepted), simulation.tally.put_back) == (0, 3, 0)
    simulation.close()
