"""Others are told how a batch ended: at least once, signed, later where not now, and with no secret in any text."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.batch_scene import NOON, Scene, SetClock
from support.comfyui_loopback import Loopback, MovedClock, Request, closed_port
from support.documents import checked
from support.waiting import wait_until

from orchestrator.batches.notify import due
from orchestrator.notifications import notifier
from orchestrator.notifications.notifier import Notifier
from state.batch import GoneRecord, Notify
from state.item import Status

CANCELLED, FAILED = Status.CANCELLED, Status.FAILED
KEY = "a-key-that-nobody-may-read"
HOOK = "/hook/of-a-secret-place?token=hunter2"


class Receiver:
    """Answers with the next of `answers`, the last one again and again; `told` is what came."""

    def __init__(self) -> None:
        self.answers: list[Callable[[Request], None]] = [lambda request: request.reply(204)]
        self.loopback = Loopback(self._answer)

    def _answer(self, request: Request) -> None:
        (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])(request)

    @property
    def url(self) -> str:
        return self.loopback.url + HOOK

    @property
    def told(self) -> list[dict[str, Any]]:
        return [checked(json.loads(request.body), "batch event") for request in self.loopback.requests]


@pytest.fixture(autouse=True)
def _own_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    with made.loopback:
        yield made


@pytest.fixture
def ended(tmp_path: Path, receiver: Receiver) -> Iterator[Scene]:
    """A batch all of whose items have ended, which no run has seen yet."""
    scene = Scene(tmp_path, notify=(Notify(url=receiver.url),))
    scene.end_all()
    yield scene
    scene.store.close()


def at(scene: Scene, **later: float) -> None:
    assert isinstance(scene.clock, SetClock)
    scene.clock.at = NOON + timedelta(**later)


def answering(status: int, **headers: str) -> Callable[[Request], None]:
    return lambda request: request.reply(status, b"hm", announced=None, **headers)


def test_a_receiver_is_told_once_what_became_of_the_batch(ended: Scene, receiver: Receiver) -> None:
    ended.run_once()
    at(ended, hours=1)
    ended.run_once()
    (end,) = ended.batch().ends
    assert receiver.told == [
        {
            "event": end.event,
            "kind": "batch.done",
            "batch": "b1",
            "counts": {"completed": 2, "failed": 0, "cancelled": 0},
            "directory": "batch_b1",
            "created_at": "2030-01-01T12:00:00Z",
            "ended_at": "2030-01-01T12:00:00Z",
        }
    ]
    headers = receiver.loopback.requests[0].headers
    assert (headers["X-Burst-Event"], headers["Content-Type"]) == (end.event, "application/json")
    assert headers["X-Burst-Signature"] is None
    assert [told.delivered for told in ended.batch().notifications] == [True]
    assert ended.notes == []


@pytest.mark.parametrize(("status", "delivered"), [(200, True), (299, True), (304, False), (404, False), (503, False)])
def test_any_answer_of_the_two_hundreds_is_a_delivery(
    ended: Scene, receiver: Receiver, status: int, delivered: bool
) -> None:
    receiver.answers = [answering(status)]
    ended.run_once()
    assert [told.delivered for told in ended.batch().notifications] == [delivered]


def test_the_body_is_signed_with_the_key_of_the_environment_which_no_file_holds(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_KEY", KEY)
    scene = Scene(tmp_path, notify=(Notify(url=receiver.url, secret_env="HOOK_KEY"),))
    scene.end_all()
    receiver.answers = [answering(500), answering(200)]
    scene.run_once()
    at(scene, hours=1)
    scene.run_once()
    for request in receiver.loopback.requests:
        expected = hmac.new(KEY.encode(), request.body, hashlib.sha256).hexdigest()
        assert request.headers["X-Burst-Signature"] == f"sha256={expected}"
    assert len(receiver.told) == 2
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert scene.store.batches.path in files
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert KEY not in "".join(scene.notes)
    scene.store.close()


@pytest.mark.parametrize("value", [None, ""])
def test_without_its_key_nothing_is_sent_unsigned(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("HOOK_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("HOOK_KEY", value)
    scene = Scene(tmp_path, notify=(Notify(url=receiver.url, secret_env="HOOK_KEY"),))
    scene.end_all()
    scene.run_once()
    assert receiver.told == []
    (note,) = scene.notes
    assert "environment variable HOOK_KEY with its key is not set" in note
    monkeypatch.setenv("HOOK_KEY", KEY)
    at(scene, hours=1)
    scene.run_once()
    assert len(receiver.told) == 1
    scene.store.close()


def test_a_receiver_that_fails_is_told_the_same_later_and_not_at_once(ended: Scene, receiver: Receiver) -> None:
    receiver.answers = [answering(500), answering(200)]
    ended.run_once()
    ended.run_once()
    at(ended, seconds=29)
    ended.run_once()
    assert len(receiver.told) == 1
    at(ended, seconds=31)
    ended.run_once()
    first, second = receiver.loopback.requests
    assert first.body == second.body
    assert first.headers["X-Burst-Event"] == second.headers["X-Burst-Event"]
    assert [told.delivered for told in ended.batch().notifications] == [False, True]


def test_it_is_tried_for_a_day_with_growing_pauses_then_given_up(ended: Scene, receiver: Receiver) -> None:
    receiver.answers = [answering(500)]
    tried: list[int] = []
    """Minutes after the end."""
    for minutes in range(0, 60 * 30, 10):
        at(ended, minutes=minutes)
        before = len(receiver.told)
        ended.run_once()
        tried += [minutes] * (len(receiver.told) - before)
    pauses = [later - earlier for earlier, later in pairwise(tried)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 120
    assert 10 < len(tried) < 25
    assert tried[-2] < 24 * 60 <= tried[-1] < 26 * 60
    assert [("given up" in note) for note in ended.notes] == [False] * (len(tried) - 1) + [True]
    assert len({told["event"] for told in receiver.told}) == 1


def test_what_was_never_told_is_told_however_late(ended: Scene, receiver: Receiver) -> None:
    receiver.answers = [answering(200)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Notifier, "tell", lambda self: None)
        ended.run_once()
    at(ended, days=3)
    ended.run_once()
    assert len(receiver.told) == 1


def test_a_clock_that_was_set_back_keeps_nothing_waiting(ended: Scene, receiver: Receiver) -> None:
    receiver.answers = [answering(500), answering(200)]
    ended.run_once()
    at(ended, days=-30)
    ended.run_once()
    assert len(receiver.told) == 2


def test_notes_name_the_host_and_nothing_else_of_an_address(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closed_port() as port:
        url = f"http://anna:pass-word@127.0.0.1:{port}{HOOK}"
        scene = Scene(tmp_path, notify=(Notify(url=url),))
        scene.end_all(CANCELLED)
        scene.run_once()
    (note,) = scene.notes
    assert note.startswith(f"http://127.0.0.1:{port} was not notified of the end of batch b1 (cancelled): ")
    assert note.endswith("; a later burst tries again")
    (told,) = scene.batch().notifications
    for text in (note, told.problem or "", caplog.text):
        assert not any(word in text for word in ("anna", "pass-word", "hunter2", "secret-place"))
    scene.store.close()


def test_user_and_password_of_an_address_are_sent_as_such(tmp_path: Path, receiver: Receiver) -> None:
    url = receiver.url.replace("http://", "http://anna:p%40ss@")
    scene = Scene(tmp_path, notify=(Notify(url=url),))
    scene.end_all()
    scene.run_once()
    assert receiver.loopback.requests[0].headers["Authorization"] == "Basic YW5uYTpwQHNz"
    scene.store.close()


def test_redirects_are_not_followed(ended: Scene, receiver: Receiver) -> None:
    with Loopback(lambda request: request.reply(200)) as other:
        receiver.answers = [answering(307, Location=other.url)]
        ended.run_once()
        assert other.requests == []
    assert "it answered 307; redirects are not followed" in ended.notes[0]


@pytest.fixture
def hanging(receiver: Receiver) -> Iterator[threading.Event]:
    """The receiver takes what it is told and does not answer until this is set."""
    release = threading.Event()
    receiver.answers = [lambda request: (release.wait(30), request.reply(200))[1]]
    yield release
    release.set()


def test_a_receiver_that_hangs_holds_the_end_of_a_run_up_by_two_seconds_at_most(
    tmp_path: Path, receiver: Receiver, hanging: threading.Event
) -> None:
    clock = MovedClock()
    scene = Scene(tmp_path, clock=clock, notify=(Notify(url=receiver.url),))
    scene.end_all()
    clock.during_wait = lambda: wait_until(lambda: receiver.told)
    scene.run_once()
    assert clock.waits == [notifier.LAST_SECONDS]
    assert "no answer yet when the burst ended; a later burst tries again" in scene.notes[0]
    scene.store.close()


def test_a_receiver_that_hangs_is_not_the_first_again_before_all_others(
    tmp_path: Path, receiver: Receiver, hanging: threading.Event
) -> None:
    with Loopback(lambda request: request.reply(200)) as other:
        clock = MovedClock()
        scene = Scene(tmp_path, clock=clock, notify=(Notify(url=receiver.url), Notify(url=other.url)))
        scene.end_all()
        clock.during_wait = lambda: wait_until(lambda: receiver.told)
        scene.run_once()
        assert other.requests == []
        clock.seconds += 3600
        clock.during_wait = lambda: wait_until(lambda: other.requests, seconds=3)
        scene.run_once()
    scene.store.close()


def test_a_batch_that_was_cleaned_away_is_not_told_of_any_more(ended: Scene, receiver: Receiver) -> None:
    receiver.answers = [answering(500)]
    ended.run_once()
    ended.log.append(GoneRecord(batch="b1", at=NOON))
    assert due(ended.log.read().values(), NOON + timedelta(hours=1)) == []


def test_each_receiver_is_told_of_each_end(tmp_path: Path, receiver: Receiver) -> None:
    with Loopback(lambda request: request.reply(200)) as other:
        scene = Scene(tmp_path, notify=(Notify(url=receiver.url), Notify(url=other.url)))
        scene.end_all(FAILED)
        scene.run_once()
        scene.begin_again(1)
        scene.begin_again(2)
        with scene.run():
            scene.end_all()
        assert [told["kind"] for told in receiver.told] == ["batch.failed", "batch.done"]
        assert len(other.requests) == 2
    scene.store.close()
