"""`burst notify`: who is told what of a state, signed as Standard Webhooks say, and with no secret in any list."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import standardwebhooks
from click.testing import CliRunner
from support.batch_scene import NOON, Scene, SetClock
from support.comfyui_loopback import Loopback, Request
from support.documents import checked
from support.waiting import wait_until

from burst import cli
from orchestrator.clock import Clock
from orchestrator.errors import UsageError
from orchestrator.notifications import delivery
from orchestrator.notifications.receivers import add_receiver, check_receivers, list_receivers, remove_receivers
from state.burst_record import BurstRecord
from state.item import Status

SECRETS = ("hunter2", "s3cret", "anna")


@pytest.fixture(autouse=True)
def _own_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def hook() -> Iterator[Loopback]:
    with Loopback(lambda request: request.reply(204)) as made:
        yield made


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.store.close()


def add(scene: Scene, url: str, **said: object) -> str | None:
    return add_receiver(tmp(scene), url, clock=scene.clock, **said).secret  # type: ignore[arg-type]


def tmp(scene: Scene) -> Path:
    return Path(str(scene.store.location.path))


def later(scene: Scene, **time: float) -> None:
    assert isinstance(scene.clock, SetClock)
    scene.clock.at += timedelta(**time)


def told(hook: Loopback) -> list[dict[str, object]]:
    return [checked(json.loads(request.body)) for request in hook.requests]


def kinds(hook: Loopback) -> list[object]:
    return [one["type"] for one in told(hook)]


class TodaysClock(Clock):
    """The time of today, which the package for receivers checks."""

    def now(self) -> datetime:
        return datetime.now(UTC)


def test_a_call_is_what_the_package_for_receivers_takes(tmp_path: Path, hook: Loopback) -> None:
    scene = Scene(tmp_path, clock=TodaysClock())
    secret = add(scene, hook.url)
    assert secret is not None
    assert secret.startswith("whsec_")
    scene.end_all()
    scene.run_once()
    (request,) = hook.requests
    document = standardwebhooks.Webhook(secret).verify(request.body, dict(request.headers.items()))
    assert (document["type"], document["data"]["counts"]["completed"]) == ("batch.done", 2)
    assert document["id"] == request.headers["webhook-id"] == scene.batch().ends[0].event
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(secret).verify(request.body + b" ", dict(request.headers.items()))
    scene.store.close()


def test_a_key_of_the_environment_signs_what_a_batch_tells_too(
    tmp_path: Path, hook: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    from state.batch import Notify

    secret = "whsec_" + "a2V5a2V5a2V5a2V5a2V5a2V5"
    monkeypatch.setenv("HOOK_KEY", secret)
    scene = Scene(tmp_path, clock=TodaysClock(), notify=(Notify(url=hook.url, secret_env="HOOK_KEY"),))
    scene.end_all()
    scene.run_once()
    (request,) = hook.requests
    standardwebhooks.Webhook(secret).verify(request.body, dict(request.headers.items()))
    assert request.headers["webhook-id"] == request.headers["X-Burst-Event"]
    scene.store.close()


def test_each_try_has_the_same_id_and_body_and_its_own_time(scene: Scene, hook: Loopback) -> None:
    answers = [500, 200]
    hook.answer = lambda request: request.reply(answers.pop(0))
    add(scene, hook.url)
    scene.end_all()
    scene.run_once()
    later(scene, minutes=1)
    scene.run_once()
    first, second = hook.requests
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 60
    later(scene, hours=1)
    scene.run_once()
    assert len(hook.requests) == 2, "it arrived"


def test_what_happened_before_is_not_told(scene: Scene, hook: Loopback) -> None:
    scene.end_all(Status.FAILED)
    scene.run_once()
    later(scene, minutes=1)
    add(scene, hook.url)
    scene.run_once()
    assert hook.requests == []
    scene.add("b2")
    scene.end_all()
    scene.run_once()
    assert kinds(hook) == ["batch.done"]


def test_all_work_is_told_once_and_again_after_more(scene: Scene, hook: Loopback) -> None:
    add(scene, hook.url, on=("done",))
    scene.add("b2")
    scene.end_all()
    scene.run_once()
    scene.run_once()
    assert sorted(map(str, kinds(hook))) == ["batch.done", "batch.done", "state.done"]
    scene.add("b3")
    with scene.run():
        scene.end_all()
    assert sorted(map(str, kinds(hook)[3:])) == ["batch.done", "state.done"]


def test_items_that_failed_are_told_once_and_again_after_a_retry(scene: Scene, hook: Loopback) -> None:
    add(scene, hook.url, on=("failed",))
    scene.end_all(Status.FAILED)
    scene.run_once()
    scene.run_once()
    (one,) = told(hook)
    data = one["data"]
    assert isinstance(data, dict)
    assert (data["failed"], [item["message"] for item in data["items"]]) == (2, ["out of luck"] * 2)
    scene.begin_again(1)
    scene.run_once()
    scene.end(1, Status.FAILED)
    scene.run_once()
    assert [one["data"]["failed"] for one in told(hook)] == [2, 1]  # type: ignore[index]


def test_while_items_go_on_failing_it_is_told_once_an_hour_and_all_of_it_at_the_end(
    tmp_path: Path, hook: Loopback
) -> None:
    scene = Scene(tmp_path, count=5)
    add(scene, hook.url, on=("failed",))
    for number in (1, 2, 3):
        scene.end(number, Status.FAILED)
        scene.run_once()
        later(scene, minutes=1)
    assert [one["data"]["failed"] for one in told(hook)] == [1]  # type: ignore[index]
    later(scene, hours=1)
    scene.run_once()
    scene.end(4, Status.FAILED)
    scene.run_once()
    scene.end(5)
    scene.run_once()
    assert [one["data"]["failed"] for one in told(hook)] == [1, 2, 1]  # type: ignore[index]
    scene.store.close()


def run_record(scene: Scene, number: int, **said: object) -> BurstRecord:
    """A run of a minute, `number` minutes after noon."""
    began = NOON + timedelta(minutes=number)
    values = {"ended": "error", "reason": "server down", "size": 5, "alive_seconds": 50.0, "pid": number + 1}
    ended = began + timedelta(seconds=50)
    return BurstRecord(burst=f"x{number}", started_at=began, ended_at=ended, **{**values, **said})  # type: ignore[arg-type]


def after_runs(scene: Scene, *records: BurstRecord) -> None:
    with scene.run(records=records):
        pass


def test_a_job_that_gets_nowhere_is_told_once_until_something_is_completed(scene: Scene, hook: Loopback) -> None:
    add(scene, hook.url, on=("stuck",))
    runs = [run_record(scene, number) for number in range(6)]
    later(scene, minutes=10)
    after_runs(scene, *runs[:2])
    assert hook.requests == []
    after_runs(scene, *runs[:3])
    after_runs(scene, *runs[:4])
    (one,) = told(hook)
    assert one["type"] == "job.stuck"
    assert "The last 3 runs finished no item; 2 items remaining" in str(one["text"])
    later(scene, minutes=1)
    scene.end(1)
    better = run_record(scene, 12, completed=1, ended="done")
    after_runs(scene, *runs[:4], better)
    later(scene, minutes=10)
    again = [run_record(scene, 13 + number) for number in range(3)]
    after_runs(scene, *runs[:4], better, *again)
    assert kinds(hook) == ["job.stuck"] * 2


def test_runs_that_were_killed_after_completing_something_are_not_fruitless(scene: Scene, hook: Loopback) -> None:
    """The record of a killed run says nothing of what it completed."""
    add(scene, hook.url, on=("stuck",), runs=2)
    later(scene, minutes=2)
    scene.end(1)
    killed = [run_record(scene, number, ended="killed", reason=None) for number in range(3)]
    after_runs(scene, *killed)
    assert hook.requests == []
    more = [run_record(scene, number, ended="killed", reason=None) for number in (3, 4)]
    after_runs(scene, *killed, *more)
    assert kinds(hook) == ["job.stuck"]


@pytest.mark.parametrize(
    "ending", [{"ended": "paused", "reason": None}, {"ended": "stopped", "reason": None, "signal": "SIGINT"}]
)
def test_runs_that_a_person_ended_are_no_sign(scene: Scene, hook: Loopback, ending: dict[str, object]) -> None:
    add(scene, hook.url, on=("stuck",), runs=1)
    after_runs(scene, run_record(scene, 0, **ending))
    assert hook.requests == []


def test_a_full_disk_is_told_once_and_again_after_it_was_mended(scene: Scene, hook: Loopback) -> None:
    add(scene, hook.url, on=("disk",))
    for _ in range(2):
        with scene.run(disk="/out: No space left on device"):
            pass
    (one,) = told(hook)
    assert (one["type"], one["text"]) == ("disk.full", "Nothing more can be written: /out: No space left on device")
    later(scene, minutes=1)
    scene.end(1)
    scene.run_once()
    with scene.run(disk="/out: No space left on device"):
        pass
    assert kinds(hook) == ["disk.full"] * 2


def test_each_receiver_is_told_what_it_asked_for(scene: Scene, hook: Loopback) -> None:
    with Loopback(lambda request: request.reply(200)) as other:
        add(scene, hook.url, on=("done",))
        add(scene, other.url, on=("stuck", "disk"))
        scene.end_all()
        with scene.run(disk="full"):
            pass
        assert (kinds(hook), kinds(other)) == (["batch.done"], ["disk.full"])


def test_a_receiver_that_answers_byte_by_byte_keeps_the_others_waiting_so_long_at_most(
    scene: Scene, hook: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte comes in time for the time-out of a read."""
    monkeypatch.setattr(delivery, "LONGEST_SECONDS", 0.3)
    from threading import Event

    over = Event()

    def drip(request: Request) -> None:
        handler = request._handler
        while not over.wait(0.05):
            handler.wfile.write(b"H")
            handler.wfile.flush()

    with Loopback(drip) as slow:
        try:
            add(scene, slow.url)
            later(scene, seconds=1)
            add(scene, hook.url)
            scene.end_all()
            scene.run_once()
            wait_until(lambda: hook.requests, what="the other receiver")
            assert any("no answer within 0.3 s" in note for note in scene.notes)
        finally:
            over.set()


def test_lists_and_messages_hold_no_secret(scene: Scene, hook: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", hook.url.replace("http://", "http://anna:hunter2@") + "/s3cret?token=hunter2")
    state = str(tmp(scene))
    hook.answer = lambda request: request.reply(500)
    said = CliRunner().invoke(cli, ["notify", "add", "--url-env", "HOOK", "--state", state])
    assert said.exit_code == 0, said.output
    secret = said.output.rpartition("once: ")[2].strip()
    scene.end_all()
    scene.run_once()
    (one,) = list_receivers(tmp(scene)).receivers
    texts = [said.output, *scene.notes]
    for words in (["notify", "list"], ["notify", "list", "--json"], ["notify", "test"], ["status"], ["log"]):
        texts.append(CliRunner().invoke(cli, [*words, "--state", state]).output)
    assert "it answered 500" in texts[2]
    assert not [text for text in texts if any(word in text for word in SECRETS)]
    assert not [text for text in texts[1:] if secret in text]
    remove_receivers(tmp(scene), [one.receiver.id])
    assert list_receivers(tmp(scene)).receivers == ()


def test_the_same_address_again_changes_what_it_is_told_and_keeps_its_key(scene: Scene, hook: Loopback) -> None:
    assert add(scene, hook.url, on=("done",)) is not None
    assert add(scene, hook.url, on=("disk",), runs=5) is None
    (one,) = list_receivers(tmp(scene)).receivers
    assert (one.receiver.on, one.receiver.runs, one.as_json()["signed"]) == (("disk",), 5, True)


def test_a_test_is_sent_at_once_and_says_what_failed(scene: Scene, hook: Loopback) -> None:
    add(scene, hook.url)
    assert check_receivers(tmp(scene)).exit_code == 0
    assert kinds(hook) == ["test"]
    hook.answer = lambda request: request.reply(302, b"", announced=None, Location="http://169.254.169.254/")
    report = check_receivers(tmp(scene))
    assert report.exit_code == 1
    assert "it answered 302; redirects are not followed" in report.as_text()
    assert len(hook.requests) == 2


@pytest.mark.parametrize(
    ("url", "said", "message"),
    [
        ("nowhere", {}, "URL: write an address such as"),
        ("http:///x", {}, "URL: write an address"),
        ("https://x/ y", {}, "URL: write an address"),
        ("https://x", {"on": ()}, "on: name at least one of done, failed, stuck, disk"),
        ("https://x", {"on": ("done", "dine")}, "'dine' is not an event; there are done,"),
        ("https://x", {"secret_env": "not a name"}, "name an environment variable, not the key itself"),
    ],
)
def test_wrong_receivers_are_refused(scene: Scene, url: str, said: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("(", r"\(")) as refused:
        add(scene, url, **said)
    assert "hunter2" not in str(refused.value)
    assert not scene.store.has_notices()


def test_naming_one_that_is_not_there_names_those_that_are(scene: Scene, hook: Loopback) -> None:
    with pytest.raises(UsageError, match="nobody is notified"):
        check_receivers(tmp(scene))
    add(scene, hook.url)
    with pytest.raises(UsageError, match=r"https://x\.org: no receiver of this id or address; there are: \w{8}"):
        remove_receivers(tmp(scene), ["https://x.org/s3cret"])
