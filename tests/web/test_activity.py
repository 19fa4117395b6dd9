"""What can be done later gives way to whoever waits for an answer."""

from __future__ import annotations

import asyncio
import threading

import pytest
from starlette.types import Message, Receive, Scope, Send

from orchestrator.clock import Clock
from orchestrator.web.activity import Activity, Counted

HTTP: Scope = {"type": "http"}


class Steps(Clock):
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def monotonic(self) -> float:
        return self.seconds

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.seconds += seconds
        return False


@pytest.fixture
def clock() -> Steps:
    return Steps()


@pytest.fixture
def activity(clock: Steps) -> Activity:
    return Activity(clock=clock)


def waited(activity: Activity, clock: Steps) -> float:
    before = clock.seconds
    activity.give_way()
    return round(clock.seconds - before, 3)


def test_nobody_is_given_way_to_who_is_not_there(activity: Activity, clock: Steps) -> None:
    assert waited(activity, clock) == 0


def test_who_waits_is_given_way_to_but_not_for_ever(activity: Activity, clock: Steps) -> None:
    activity.begin()
    assert waited(activity, clock) == 0.5
    activity.end()
    assert waited(activity, clock) == 0.05, "a page asks for more"
    assert waited(activity, clock) == 0


async def receive() -> Message:
    return {"type": "http.request"}


async def send(message: Message) -> None:
    pass


def test_a_request_waits_until_its_answer_begins(activity: Activity, clock: Steps) -> None:
    seen: list[float] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(waited(activity, clock))
        await send({"type": "http.response.start", "status": 200})
        clock.seconds += 1
        seen.append(waited(activity, clock))

    asyncio.run(Counted(app, activity=activity)(HTTP, receive, send))
    assert seen == [0.5, 0]


def test_a_request_that_fails_waits_no_more(activity: Activity, clock: Steps) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        asyncio.run(Counted(app, activity=activity)(HTTP, receive, send))
    clock.seconds += 1
    assert waited(activity, clock) == 0
