"""A cancellation takes effect within two answers of the server, whatever a worker does at that moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.fake_faults import Fault, Page
from support.fake_transport import FakeServer
from support.hand_clock import HandClock
from support.simulated import Simulation

from orchestrator.cycle.context import Options
from orchestrator.cycle.uploads import Uploads
from state.change import Change
from state.item import Item, Status

COMPLETED, PENDING, SUBMITTED, CANCELLED = Status.COMPLETED, Status.PENDING, Status.SUBMITTED, Status.CANCELLED
POST = "POST /api/prompt"


@pytest.fixture(params=[False, True], ids=["0.3.64", "0.33.0"])
def server(request: pytest.FixtureRequest) -> FakeServer:
    """It takes ten seconds for a prompt."""
    return FakeServer("http://gpu:8188", HandClock(), lambda _: 10.0, is_newer=request.param)


def deletion(server: FakeServer) -> str:
    """What takes a prompt from its queue."""
    return "POST /api/jobs/cancel" if server.is_newer else "POST /api/queue"


def interruption(server: FakeServer) -> str:
    return "POST /api/jobs/cancel" if server.is_newer else "POST /api/interrupt"


def simulated(folder: Path, server: FakeServer, *, items: int) -> Simulation:
    return Simulation(folder, server.clock, [server], items=items, options=Options(in_doubt_seconds=10.0))


def name(number: int) -> str:
    return f"{number:04}.txt"


def item_of(simulation: Simulation, number: int) -> Item:
    return simulation.store.get_many([name(number)])[0]


def cancel(simulation: Simulation, *numbers: int) -> None:
    """As another process does it, and as the run notices it."""
    for number in numbers:
        status = item_of(simulation, number).status
        edit: Callable[[Item], Item] = Item.cancel if status is PENDING else Item.request_cancel
        simulation.store.apply([Change(name(number), status, edit)])
        for worker in simulation.workers:
            worker.notice(name(number))


def at_the(count: int, of: str, what: Callable[[], object]) -> Callable[[str], Fault]:
    """Do something when the nth request of this kind arrives, counted from 1."""
    seen = []

    def fault(asked: str) -> Fault:
        if asked.startswith(of):
            seen.append(asked)
            if len(seen) == count:
                what()
        return None

    return fault


def answers_until(server: FakeServer, what: str, *, since: int) -> int:
    """How many requests came after that one, up to the first of this kind."""
    return [asked for _, asked in server.requests][since:].index(what) + 1


def after_the(server: FakeServer, count: int, of: str) -> int:
    """The number of requests up to the nth of this kind."""
    found = [at for at, (_, asked) in enumerate(server.requests) if asked.startswith(of)]
    return found[count - 1] + 1


@pytest.mark.parametrize("posts", [1, 4, 5], ids=["the first", "one of many", "the last"])
def test_one_whose_post_is_on_its_way_leaves_the_queue_two_answers_later(
    tmp_path: Path, server: FakeServer, posts: int
) -> None:
    simulation = simulated(tmp_path, server, items=6)
    server.fault = at_the(posts + 1, POST, lambda: cancel(simulation, posts))
    simulation.work.begin(6)
    simulation.workers[0].turn()
    simulation.workers[0].turn()
    assert answers_until(server, deletion(server), since=after_the(server, posts + 1, POST)) <= 2
    assert item_of(simulation, posts).status is CANCELLED
    assert server.clock.seconds == 0.0


def test_one_on_the_server_is_withdrawn_while_the_others_are_being_sent(tmp_path: Path, server: FakeServer) -> None:
    simulation = simulated(tmp_path, server, items=50)
    server.fault = at_the(10, POST, lambda: cancel(simulation, 3))
    simulation.work.begin(50)
    simulation.workers[0].turn()
    assert answers_until(server, deletion(server), since=after_the(server, 10, POST)) <= 2


def test_one_that_is_about_to_be_sent_is_not_sent(tmp_path: Path, server: FakeServer) -> None:
    simulation = simulated(tmp_path, server, items=5)
    server.fault = at_the(2, POST, lambda: cancel(simulation, 3, 4))
    simulation.burst(5)
    assert simulation.statuses() == [COMPLETED] * 3 + [CANCELLED] * 2
    assert len(server.accepted) == 3
    assert simulation.tally.cancelled == 2


def test_it_is_not_forgotten_where_posts_are_refused(tmp_path: Path, server: FakeServer) -> None:
    simulation = simulated(tmp_path, server, items=3)

    def refuse(asked: str) -> Fault:
        if asked == POST and not any(item.cancel_requested for item in simulation.store.items()):
            cancel(simulation, 1)
            return Page(429)
        return None

    server.fault = refuse
    simulation.work.begin(3)
    simulation.workers[0].turn()
    assert simulation.statuses() == [PENDING, CANCELLED, PENDING]
    assert simulation.tally.cancelled == 1


def test_the_running_one_is_interrupted_two_answers_later_and_once(tmp_path: Path, server: FakeServer) -> None:
    simulation = simulated(tmp_path, server, items=30)
    simulation.work.begin(30)
    server.fault = at_the(20, POST, lambda: cancel(simulation, 0))
    simulation.workers[0].turn()
    assert answers_until(server, interruption(server), since=after_the(server, 20, POST)) <= 2
    simulation.work_for(12.0)
    assert item_of(simulation, 0).status is CANCELLED
    assert [asked for _, asked in server.requests].count(interruption(server)) == 1


def test_while_everything_is_looked_up(tmp_path: Path, server: FakeServer) -> None:
    first = simulated(tmp_path, server, items=40)
    first.work.begin(40)
    first.workers[0].turn()
    first.close()
    second = simulated(tmp_path, server, items=0)
    second.work.begin(40)
    server.requests.clear()
    server.fault = at_the(5, "GET /api/history", lambda: cancel(second, 7, 30))
    second.workers[0].turn()
    assert answers_until(server, deletion(server), since=after_the(server, 5, "GET /api/history")) <= 2
    second.workers[0].turn()
    assert {item_of(second, number).status for number in (7, 30)} == {CANCELLED}
    assert len(server.queue) == 38


def test_what_was_cancelled_while_no_run_was_at_work(tmp_path: Path, server: FakeServer) -> None:
    first = simulated(tmp_path, server, items=10)
    first.work.begin(10)
    first.workers[0].turn()
    cancel(first, 0, 9)
    first.close()
    second = simulated(tmp_path, server, items=0)
    second.burst(10)
    assert second.statuses() == [CANCELLED, *[COMPLETED] * 8, CANCELLED]
    assert len(server.history) == 9, "the first was interrupted, the last never ran"


def test_hundreds_are_withdrawn_with_one_request(tmp_path: Path, server: FakeServer) -> None:
    simulation = simulated(tmp_path, server, items=200)
    simulation.work.begin(200)
    simulation.work_for(5.0)
    cancel(simulation, *range(1, 200))
    simulation.work_for(1.0)
    assert [asked for _, asked in server.requests].count(deletion(server)) == 1
    assert simulation.statuses() == [SUBMITTED, *[CANCELLED] * 199]


def test_one_whose_post_met_no_answer_is_never_rendered(tmp_path: Path, server: FakeServer) -> None:
    """It reaches the queue three seconds after the cancellation."""
    simulation = simulated(tmp_path, server, items=3)
    late: list[tuple[float, str]] = []

    def lose(asked: str) -> Fault:
        if asked == POST and len(server.accepted) == 1 and not late:
            late.append((server.clock.seconds, asked))
            return Page(504)
        return None

    server.fault = lose
    simulation.work.begin(3)
    simulation.workers[0].turn()
    in_doubt = next(item for item in simulation.store.items() if item.in_doubt)
    cancel(simulation, int(in_doubt.key[:4]))
    simulation.work_for(3.0)
    assert item_of(simulation, int(in_doubt.key[:4])).status is SUBMITTED, "it may still arrive"
    body = {"prompt_id": in_doubt.prompt_id, "number": 9e15, "prompt": {}, "extra_data": {}}
    server.respond(["POST", "api", "prompt"], body)
    simulation.work_for(8.0)
    assert item_of(simulation, int(in_doubt.key[:4])).status is CANCELLED
    assert in_doubt.prompt_id not in [prompt.prompt_id for prompt in server.queue]


def test_one_that_cannot_be_downloaded_is_cancelled_and_not_charged(tmp_path: Path, server: FakeServer) -> None:
    """Its history entry is readable for nobody else, so that it waits to be judged."""
    simulation = simulated(tmp_path, server, items=2)
    simulation.work.begin(2)
    simulation.workers[0].turn()
    first = item_of(simulation, 0).prompt_id
    server.fault = lambda asked: Page(404) if asked == f"GET /api/history/{first}" else None
    simulation.work_for(12.0)
    assert item_of(simulation, 0).status is SUBMITTED
    cancel(simulation, 0)
    simulation.burst(2)
    assert simulation.statuses() == [CANCELLED, COMPLETED]
    assert item_of(simulation, 0).attempts == 0


def test_one_whose_image_is_being_uploaded_makes_room_at_once(tmp_path: Path, server: FakeServer) -> None:
    simulation = simulated(tmp_path, server, items=0)
    jobs: list[Callable[[], None]] = []

    class Held:
        def start(self, job: Callable[[], None]) -> None:
            jobs.append(job)

    keys = [name(0), name(1)]
    simulation.store.add([Item(key=key, status=PENDING, filename=key, uploads={"image": "cat.png"}) for key in keys])
    uploads = Uploads(simulation.workers[0].context, Held(), threading.Event())
    for item in list(simulation.store.items()):
        uploads.start(item)
    cancel(simulation, 0)
    for key in keys:
        uploads.follow(key)
    assert [item.key for item in uploads.items()] == [name(1)]


def test_a_withdrawal_that_failed_is_repeated(tmp_path: Path, server: FakeServer) -> None:
    simulation = simulated(tmp_path, server, items=4)
    simulation.work.begin(4)
    lost: list[str] = []

    def fault(asked: str) -> Fault:
        if asked == POST and len(server.accepted) == 2:
            cancel(simulation, 1)
        if asked == deletion(server) and not lost:
            lost.append(asked)
            return Page(404)
        return None

    server.fault = fault
    simulation.burst(4)
    assert lost
    assert simulation.statuses() == [COMPLETED, CANCELLED, COMPLETED, COMPLETED]


def test_a_retried_item_waits_behind_the_others_and_does_not_delay_them(tmp_path: Path, server: FakeServer) -> None:
    """The first one fails, and is sent again while the others render."""
    simulation = simulated(tmp_path, server, items=4)
    server.prompts_to_fail = 1
    simulation.burst(4)
    ended = {item.key: item.completed_at for item in simulation.store.items()}
    seen = [ended[name(number)].timestamp() for number in (1, 2, 3, 0)]  # type: ignore[union-attr]
    assert seen == sorted(seen)
    late = [
        (item.completed_at.timestamp() - server.history[item.prompt_id].end) % 1e6  # type: ignore[union-attr, index]
        for item in simulation.store.items()
    ]
    assert max(one - min(late) for one in late) < 3.0


def test_a_newer_server_that_is_known_is_asked_for_no_queue(tmp_path: Path) -> None:
    """And whatever runs by then, nothing but what was cancelled is interrupted."""
    server = FakeServer("http://gpu:8188", HandClock(), lambda _: 10.0, is_newer=True)
    simulation = simulated(tmp_path, server, items=5)
    simulation.work.begin(5)
    simulation.workers[0].turn()
    assert simulation.workers[0].context.client.has_jobs
    server.requests.clear()
    cancel(simulation, 0, 1, 4)
    simulation.work_for(0.4)
    asked = [one for _, one in server.requests]
    assert asked.index("POST /api/jobs/cancel") == 0
    assert not {"GET /api/queue", "POST /api/queue", "POST /api/interrupt"} & set(asked)
    simulation.burst(5)
    assert simulation.statuses() == [CANCELLED, CANCELLED, COMPLETED, COMPLETED, CANCELLED]
    assert [prompt.ended_as for prompt in server.history.values()] == ["interrupted", "success", "success"]


def test_a_server_that_notes_times_and_cancels_no_jobs(tmp_path: Path) -> None:
    """Versions between the two: what they answer to the first attempt costs one answer."""
    server = FakeServer("http://gpu:8188", HandClock(), lambda _: 10.0, is_newer=True)
    server.fault = lambda asked: Page(405, b"405: Method Not Allowed") if asked == deletion(server) else None
    simulation = simulated(tmp_path, server, items=3)
    simulation.work.begin(3)
    simulation.workers[0].turn()
    cancel(simulation, 0, 2)
    simulation.burst(3)
    assert simulation.statuses() == [CANCELLED, COMPLETED, CANCELLED]
    assert [prompt.ended_as for prompt in server.history.values()] == ["interrupted", "success"]
