"""How a batch is told: its counts, its pictures, and how long it will take."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from support.leases import begin

from orchestrator.web.progress import completed_of, progress_of, seconds_left
from orchestrator.web.running import preview_of, queued_behind
from orchestrator.web.states import WatchedState, WatchedStates
from orchestrator.web.troubles import trouble_of
from orchestrator.web.watched_batch import WatchedBatch
from state.batch import BatchRecord
from state.burst_record import BurstRecord, SetAsideRecord
from state.change import Change
from state.item import ErrorRecord, Item, ItemOutput, OutputRecord, Status
from state.live import Line, Live, Running, Trouble
from state.open_store import open_store

AT = datetime(2026, 11, 21, 5, tzinfo=UTC)
ERROR = ErrorRecord(kind="execution_error", message="it broke")


def picture(name: str) -> OutputRecord:
    return OutputRecord(path=f"{name}.png", bytes=5, sha256="ab" * 32)


def test_what_is_rendered_of_a_batch_and_the_preview_of_it(scene: Scene) -> None:
    scene.add("b", "csp")
    scene.add("other", "s")
    assert progress_of(*scene.found("b")).running == []
    live = Live(
        burst="b1",
        at=AT,
        running=(
            Running(item="b/2", server="gpu1", since=AT, node="KSampler", step=12, steps=20),
            Running(item="other/1", server="gpu2", since=AT),
        ),
        preview_of="b/2",
    )
    with scene.store.lease() as lease:
        begin(lease, "b1")
        lease.show(live, preview=b"\xff\xd8\xff")
        (one,) = progress_of(*scene.found("b")).running
        assert (one.number, one.server, one.node, one.step, one.steps, one.percent) == (
            2,
            "gpu1",
            "KSampler",
            12,
            20,
            60,
        )
        assert one.preview is not None
        assert one.preview.startswith("/api/batches/b/preview?at=")
        (other,) = progress_of(*scene.found("other")).running
        assert (other.number, other.node, other.preview) == (1, None, None)
        assert progress_of(*scene.found("b")).progress.currentImage == 2, "what a server renders, not what it has"
        assert preview_of(scene.found("b")[0], "b") == b"\xff\xd8\xff"
        assert preview_of(scene.found("other")[0], "other") is None, "it is of another batch"
    assert progress_of(*scene.found("b")).running == []
    assert preview_of(scene.found("b")[0], "b") is None


SERVER = "127.0.0.1:8188@here"


def away(name: str = SERVER, kind: Literal["away", "busy", "stopped"] = "away") -> Trouble:
    return Trouble(server=name, kind=kind, since=AT, message=f"{name} stands still. Restart it.")


def test_a_server_that_does_not_answer_is_said_in_words_of_people(scene: Scene) -> None:
    """With no estimate and nothing that is rendered, while the run waits, and between two runs."""
    scene.pace(10.0)
    scene.add("b", "cccsp")
    scene.servers(f"http://{SERVER.partition('@')[0]}")
    name = scene.found("b")[0].settings.servers[0].name
    told = "ComfyUI is not answering (127.0.0.1:8188). Waiting for it; your 3 finished images are safe."
    running = (Running(item="b/4", server=name, since=AT, node="KSampler"),)
    with scene.store.lease() as lease:
        begin(lease, "b1")
        lease.show(Live(burst="b1", at=AT, running=running, troubles=(away(name),)))
        found = progress_of(*scene.found("b"), message="http://127.0.0.1:8188: cannot connect")
        assert (found.message, found.isWaiting) == (told, True)
        assert (found.estimatedSecondsRemaining, found.running, found.queuedBehind) == (None, [], None)
        lease.show(Live(burst="b1", at=AT, running=running))
        found = progress_of(*scene.found("b"))
        assert (found.message, found.isWaiting, found.progress.currentImage) == (None, False, 4)
        assert found.estimatedSecondsRemaining is not None
    ended = BurstRecord(burst="b1", started_at=AT, ended_at=AT, ended="error", size=1, reason="no", away=(name,))
    scene.store.bursts.append(ended)
    found = progress_of(*scene.found("b"), message="http://127.0.0.1:8188: cannot connect")
    assert (found.message, found.isWaiting) == (told, True)


@pytest.mark.parametrize(
    ("troubles", "completed", "said", "waits"),
    [
        ((away("gpu1"),), 1, "ComfyUI is not answering (gpu1). The other server goes on.", False),
        (
            (away("gpu1"), away("gpu2")),
            1,
            "ComfyUI is not answering (gpu1, gpu2). Waiting for them; your 1 finished image is safe.",
            True,
        ),
        ((away("gpu1"), away("gpu2")), 0, "ComfyUI is not answering (gpu1, gpu2). Waiting for them.", True),
        (
            (away("gpu1", "busy"),),
            0,
            "ComfyUI is overloaded (gpu1); burst tries again. The other server goes on.",
            False,
        ),
        ((away("gpu2", "stopped"),), 0, "gpu2 stands still. Restart it. The other server goes on.", False),
    ],
)
def test_what_is_said_of_several_servers(
    scene: Scene, troubles: tuple[Trouble, ...], completed: int, said: str, waits: bool
) -> None:
    scene.servers("gpu1=http://10.0.0.1:8188", "gpu2=http://10.0.0.2:8188")
    scene.add("b", "c" * completed + "ps")
    found = trouble_of(scene.found("b")[0], Live(burst="b1", at=AT, troubles=troubles), completed=completed)
    assert found is not None
    assert (found.message, found.stops_all) == (said, waits)


def test_how_many_images_are_first(scene: Scene) -> None:
    """Of others on the server, and of other batches of the state, as long as none of this one is rendered."""
    scene.add("first", "cs")
    scene.add("b", "sp")
    scene.add("last", "pp")
    scene.servers("gpu1=http://10.0.0.1:8188")
    live = Live(burst="b1", at=AT, lines=(Line(server="gpu1", ahead=3),))
    behind = lambda name: queued_behind(*scene.found(name), live)  # noqa: E731
    assert (behind("first"), behind("b"), behind("last")) == (3, 4, 6)
    scene.pace(5.0)
    running = Live(burst="b1", at=AT, running=(Running(item="first/2", server="gpu1", since=AT),))
    assert queued_behind(*scene.found("b"), running) == 1
    assert queued_behind(*scene.found("first"), None) is None, "nothing is known"
    scene.add("done", "cf")
    assert behind("done") is None
    with scene.store.lease() as lease:
        begin(lease, "b1")
        lease.show(live)
        found = progress_of(*scene.found("b"))
        assert (found.queuedBehind, found.progress.status, found.progress.currentImage) == (4, "queued", None)
        assert found.estimatedSecondsRemaining is None, "what others have put before it takes nobody knows how long"
        lease.show(Live(burst="b1", at=AT, running=(Running(item="b/1", server="gpu1", since=AT),)))
        found = progress_of(*scene.found("b"))
        assert (found.queuedBehind, found.progress.status, found.progress.currentImage) == (None, "generating", 1)
        assert found.estimatedSecondsRemaining is not None


def test_images_are_counted_where_a_prompt_makes_several(scene: Scene) -> None:
    scene.add("b", "ccf", outputs=tuple(map(picture, "abcd")))
    found = progress_of(*scene.found("b"))
    assert (found.madeImages, found.progress.completedImages, len(found.thumbnails)) == (8, 2, 8)


def test_another_try_is_said_while_the_item_is_due(scene: Scene) -> None:
    scene.add("b", "psc")
    for key, status in (("b/1", Status.PENDING), ("b/2", Status.SUBMITTED), ("b/3", Status.COMPLETED)):
        scene.store.apply([Change(key, status, lambda item: msgspec.structs.replace(item, attempts=1))])
    assert [image.attempt for image in progress_of(*scene.found("b")).images] == [2, 2, 1]


class Scene:
    """One state with batches of items that stand as they are said to, such as `Pfc`: pending, failed, completed."""

    def __init__(self, directory: Path) -> None:
        self.store = open_store(directory / "state.json", create=True)
        self._watched = WatchedStates([directory / "state.json"])
        self._count = 0

    def add(self, name: str, statuses: str, *, priority: Any = "normal", **of_completed: Any) -> None:
        """`of_completed`: fields of all of its completed items."""
        self._count += 1
        record = BatchRecord(
            batch=name,
            created_at=AT + timedelta(minutes=self._count),
            total=len(statuses),
            layout="gallery",
            directory=name,
            prompts=("a fox",),
            priority=priority,
        )
        # Backwards: the order of the state is not the batch's.
        numbered = list(enumerate(statuses, 1))[::-1]
        items = [
            Item(key=f"{name}/{n}", status=Status.PENDING, batch=name, index=n, priority=priority) for n, _ in numbered
        ]
        self.store.add(items, batch=record)
        for number, letter in numbered:
            self._bring(f"{name}/{number}", letter, of_completed)

    def servers(self, *said: str) -> None:
        """What the settings of the state name."""
        self.store.settings.write("version = 2\nservers = " + json.dumps(said) + "\n")

    def pace(self, seconds: float) -> None:
        """What an item took in the burst before."""
        self.store.bursts.append(
            BurstRecord(
                burst=str(seconds), started_at=AT, ended_at=AT, ended="done", size=1, completed=1, seconds=seconds
            )
        )

    def found(self, name: str) -> tuple[WatchedState, WatchedBatch]:
        found = self._watched.find(name)
        assert found is not None
        return found

    def left(self, name: str) -> float | None:
        return seconds_left(*self.found(name))

    def _bring(self, key: str, letter: str, of_completed: dict[str, Any]) -> None:
        number = int(key.rpartition("/")[2])
        ended = {"outputs": (picture(key),), "completed_at": AT + timedelta(hours=number), **of_completed}
        at = AT + timedelta(minutes=self._count)
        # An attempt before failed.
        out: dict[str, Any] = {"error": ERROR, "prompt_id": key, "server": "gpu1", "submitted_at": at}
        steps: dict[str, Sequence[tuple[Status, dict[str, Any]]]] = {
            "p": (),
            "s": ((Status.SUBMITTED, out),),
            "c": ((Status.SUBMITTED, {"prompt_id": key}), (Status.COMPLETED, ended)),
            "f": ((Status.FAILED, {"error": ERROR}),),
            "x": ((Status.CANCELLED, {}),),
        }
        for status, fields in steps[letter]:
            was = self.store.get(key).status

            def edit(item: Item, status: Status = status, fields: dict[str, Any] = fields) -> Item:
                return msgspec.structs.replace(item, status=status, **fields)

            self.store.apply([Change(key, was, edit)])


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_what_is_counted_and_what_is_named(scene: Scene) -> None:
    scene.add("b", "fcsspxf", outputs=(picture("one"), picture("two")))
    found = progress_of(*scene.found("b"), message="the server is away")
    assert found.progress.model_dump(exclude={"thumbnails"}) == {
        "batchId": "b",
        "totalImages": 7,
        "completedImages": 1,
        "failedImages": [1, 7],
        "currentImage": None,
        "status": "generating",
    }
    assert [image.image for image in found.images] == ["1", "2", "2-2", "3", "4", "5", "6", "7"]
    assert [image.number for image in found.images if image.url] == [2, 2]
    assert len(found.thumbnails) == 2
    assert [image.error for image in found.images if image.error] == ["it broke"] * 2, "not of an attempt before"
    assert found.message == "the server is away"


@pytest.mark.parametrize(("statuses", "status"), [("pp", "queued"), ("cc", "complete"), ("cx", "cancelled")])
def test_a_reason_is_said_while_work_is_left(scene: Scene, statuses: str, status: str) -> None:
    scene.add("b", statuses)
    found = progress_of(*scene.found("b"), message="the server is away")
    assert found.progress.status == status
    assert found.progress.currentImage is None
    assert (found.message is None) is (status != "queued")


def test_a_batch_is_completed_when_its_last_picture_is(scene: Scene) -> None:
    scene.add("b", "ccp")
    assert completed_of(scene.found("b")[1], [], failed=()).completedAt is None
    scene.store.apply([Change("b/3", Status.PENDING, lambda item: item.cancel())])
    whole = completed_of(scene.found("b")[1], [], failed=())
    assert (whole.completedAt, whole.status) == (AT + timedelta(hours=2), "cancelled")
    assert (whole.totalImages, whole.completedImages, whole.failedImages) == (3, 2, [])


def test_without_a_pace_nothing_is_foretold_but_the_end(scene: Scene) -> None:
    scene.add("b", "pp")
    scene.add("done", "cf")
    assert scene.left("b") is None
    assert scene.left("done") == 0


def test_the_pace_is_the_last_bursts_until_the_batch_has_one_of_its_own(scene: Scene) -> None:
    scene.pace(10.0)
    scene.add("b", "pppp")
    assert scene.left("b") == 40
    scene.add("own", "ccpp", seconds=3.0, server="http://one:1")
    assert scene.left("own") == 3.0 * 2 + 10.0 * 4, "and those before it, at the pace of the bursts"
    scene.pace(20.0)
    assert scene.left("b") == 60, "of now: both bursts' mean"


def test_two_servers_take_half_as_long(scene: Scene) -> None:
    scene.add("b", "ccpp", seconds=3.0)
    for key, server in (("b/1", "http://one:1"), ("b/2", "http://two:1")):
        raised = lambda item, to=server: msgspec.structs.replace(item, server=to)  # noqa: E731
        scene.store.apply([Change(key, Status.COMPLETED, raised)])
    assert scene.left("b") == 3.0


def test_what_comes_before_is_waited_for_and_what_comes_after_is_not(scene: Scene) -> None:
    scene.pace(1.0)
    scene.add("old", "pppp", priority="low")
    scene.add("own", "pp")
    scene.add("new", "ppp")
    assert [scene.left(name) for name in ("own", "new", "old")] == [2, 5, 9]
    scene.add("urgent", "p", priority="urgent")
    assert [scene.left(name) for name in ("urgent", "own", "new", "old")] == [1, 3, 6, 10]


def test_what_a_recipe_set_aside_keeps_waiting_is_not_waited_for(scene: Scene) -> None:
    scene.add("before", "ppp")
    scene.add("own", "ppps")
    scene.add("stuck", "pp")
    for key in ("before/1", "own/1", "stuck/1", "stuck/2"):
        scene.store.apply(
            [Change(key, Status.PENDING, lambda item: msgspec.structs.replace(item, recipe="r", template=None))]
        )
    scene.pace(1.0)
    assert scene.left("own") == 3 + 3 + 1
    unused = SetAsideRecord(recipe="r", name="w.json", reason="its workflow is gone")
    scene.store.bursts.append(
        BurstRecord(
            burst="b", started_at=AT, ended_at=AT, ended="done", size=1, completed=1, seconds=1, set_aside=(unused,)
        )
    )
    assert scene.left("own") == 2 + 2 + 1
    assert scene.left("stuck") is None
    (one,) = progress_of(*scene.found("own")).setAside
    assert (one.items, [batch.batchId for batch in one.batches]) == (1, ["own"])
    scene.store.apply([Change("own/1", Status.PENDING, lambda item: msgspec.structs.replace(item, recipe="another"))])
    assert scene.left("own") == 3 + 2 + 1
    assert progress_of(*scene.found("own")).setAside == []


def test_a_full_disk_is_seen_while_the_burst_that_met_it_is_at_work(scene: Scene) -> None:
    scene.add("own", "cps")
    assert progress_of(*scene.found("own")).setAside == []
    full = SetAsideRecord(name="w.json", reason="/renders: the disk is full; free some space", output="/renders")
    with scene.store.lease() as lease:
        begin(lease, "b1")
        lease.show(Live(burst="b1", at=AT, set_aside=(full,)))
        (one,) = progress_of(*scene.found("own")).setAside
        assert (one.items, one.output, one.reason) == (2, "/renders", full.reason), "the submitted one waits too"
        lease.show(Live(burst="b1", at=AT))
        assert progress_of(*scene.found("own")).setAside == []
        lease.show(Live(burst="b1", at=AT, set_aside=(full,)))
    assert progress_of(*scene.found("own")).setAside == [], "that one is over, and its record says what is"


def test_what_is_out_comes_first_whosever_it_is(scene: Scene) -> None:
    scene.pace(1.0)
    scene.add("old", "sspp")
    scene.add("own", "pp")
    scene.add("all-out", "ss")
    assert scene.left("own") == 2 + 2 + 4, "its own, those before it, all that is out"
    assert scene.left("all-out") == 2, "nobody knows in which order; its own at least"


def test_an_item_that_waits_names_what_for_and_the_time_left_is_without_it(scene: Scene) -> None:
    scene.pace(10.0)
    scene.add("a", "cp")
    scene.add("b", "ppp")
    for key, source in (("b/1", "a/1"), ("b/2", "a/2"), ("b/3", "b/1")):
        made_from = {"image": ItemOutput(item=source, output=1)}

        def edit(item: Item, uploads: Any = made_from) -> Item:
            return msgspec.structs.replace(item, uploads=uploads)

        scene.store.apply([Change(key, Status.PENDING, edit)])
    images = progress_of(*scene.found("b")).images
    assert [(image.status, image.waitsFor) for image in images] == [
        ("pending", None),
        ("pending", "a/2"),
        ("pending", "b/1"),
    ]
    assert scene.left("b") == 10.0 * 2, "the one that is due, after the one of the other batch"


def test_favourites_and_tags_of_images(scene: Scene) -> None:
    scene.add("a", "cp", outputs=(picture("one"), picture("two")))
    for key, fields in (("a/1", {"favourite": True, "favourite_outputs": (2,)}), ("a/2", {"favourite": True})):

        def edit(item: Item, fields: dict[str, Any] = fields) -> Item:
            return msgspec.structs.replace(item, tags=("sea",), **fields)

        scene.store.apply([Change(key, scene.store.get(key).status, edit)])
    images = progress_of(*scene.found("a")).images
    assert [(image.favorite, image.tags) for image in images] == [(False, ["sea"]), (True, ["sea"]), (True, ["sea"])]
