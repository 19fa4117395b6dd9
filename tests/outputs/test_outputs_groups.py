"""Several threads fetch, groups are placed: what one item meets concerns no other, and little is synced."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from support.background import Threads
from support.comfyui_loopback import Loopback, MovedClock, Request
from support.served_outputs import Recorder, Server, file, png, serve, there

from orchestrator.comfyui import ComfyUI
from orchestrator.errors import DiskFull, NotOnServer, OutputRefused, StopBurst
from orchestrator.outputs import Fetched, Outputs
from state.disk import Disk, SyncFailed


@pytest.fixture
def server() -> Server:
    server = Server()
    server.files = {f"{number}.png": png(number) for number in range(8)}
    return server


@pytest.fixture
def client(server: Server) -> Iterator[ComfyUI]:
    with Loopback(server.answer) as loopback, ComfyUI(loopback.url, clock=MovedClock()) as client:
        client.queue_remaining()
        yield client


@pytest.fixture
def outputs(tmp_path: Path) -> Outputs:
    return Outputs(tmp_path / "out")


def fetch(outputs: Outputs, client: ComfyUI, number: int, *, name: str | None = None, subfolder: str = "a") -> Fetched:
    return outputs.fetch(
        client,
        [file(f"{number}.png")],
        [],
        subfolder=subfolder,
        filename=name or f"p{number}",
        prompt_id=f"prompt-{number}",
        own=[],
    )


class Barrier:
    """Answers nothing before `count` requests have come."""

    def __init__(self, count: int) -> None:
        self._barrier = threading.Barrier(count)

    def __call__(self, request: Request, data: bytes) -> None:
        self._barrier.wait(10)
        serve(request, data)


class Gate:
    """Sends the first half of each body, and the rest when it is opened."""

    def __init__(self, count: int) -> None:
        self._open = threading.Event()
        self._reached = threading.Barrier(count + 1)

    def __call__(self, request: Request, data: bytes) -> None:
        self._reached.wait(10)
        self._open.wait(10)
        serve(request, data)

    def wait_until_reached(self) -> None:
        self._reached.wait(10)

    def open(self) -> None:
        self._open.set()


# Threads.


def test_items_are_fetched_at_once_and_placed_together(outputs: Outputs, client: ComfyUI, server: Server) -> None:
    server.faults = [Barrier(4)] * 4
    with Threads(4) as threads:
        fetched = list(threads.map(lambda number: fetch(outputs, client, number), range(4)))
    assert sorted(there(outputs)) == [f"a/.burst-prompt-{number}-1.part" for number in range(4)]
    placed = outputs.place(fetched)
    assert [[one.path.as_posix() for one in outcome] for outcome in placed if isinstance(outcome, list)] == [
        [f"a/p{number}.png"] for number in range(4)
    ]
    assert there(outputs) == {f"a/p{number}.png": png(number) for number in range(4)}


def test_what_one_fetch_meets_leaves_the_others(outputs: Outputs, client: ComfyUI, server: Server) -> None:
    del server.files["1.png"]
    with Threads(3) as threads:
        first, gone, third = [threads.submit(fetch, outputs, client, number) for number in range(3)]
    with pytest.raises(NotOnServer):
        gone.result()
    outputs.place([first.result(), third.result()])
    assert there(outputs) == {"a/p0.png": png(0), "a/p2.png": png(2)}


def test_no_fetch_ends_before_the_name_of_its_directory_is_durable(
    tmp_path: Path, client: ComfyUI, server: Server
) -> None:
    syncing, go_on = threading.Event(), threading.Event()

    class Slow(Disk):
        def sync_directory(self, path: Path) -> None:
            syncing.set()
            assert go_on.wait(10)
            super().sync_directory(path)

    (tmp_path / "out").mkdir()
    outputs = Outputs(tmp_path / "out", disk=Slow())
    with Threads(2) as threads:
        first = threads.submit(fetch, outputs, client, 1)
        assert syncing.wait(10)
        second = threads.submit(fetch, outputs, client, 2)
        try:
            with pytest.raises(TimeoutError):
                second.result(0.3)
        finally:
            go_on.set()
    assert len(outputs.place([first.result(), second.result()])) == 2


# Groups.


def test_a_group_costs_one_sync_for_each_directory(tmp_path: Path, client: ComfyUI) -> None:
    disk = Recorder()
    outputs = Outputs(tmp_path, disk=disk)
    fetched = [fetch(outputs, client, number, subfolder="ab"[number % 2]) for number in range(8)]
    assert sum(event == "sync 1.part" for event in disk.events) == 8
    disk.events.clear()
    outputs.place(fetched)
    renames = [f"rename p{number}.png" for number in range(8)]
    assert disk.events == [*renames, "sync directory a", "sync directory b"]
    assert len(there(outputs)) == 8


def test_a_refused_item_leaves_the_others_and_nothing_of_its_own(outputs: Outputs, client: ComfyUI) -> None:
    fetched = [fetch(outputs, client, number) for number in range(3)]
    (outputs.output_dir / "a" / "p1.png").write_bytes(b"a photograph")
    first, refused, third = outputs.place(fetched)
    assert isinstance(first, list)
    assert isinstance(third, list)
    assert isinstance(refused, OutputRefused)
    assert "p1.png already exists" in str(refused)
    assert there(outputs) == {"a/p0.png": png(0), "a/p1.png": b"a photograph", "a/p2.png": png(2)}


def test_a_group_of_refused_items_syncs_nothing(tmp_path: Path, client: ComfyUI) -> None:
    disk = Recorder()
    outputs = Outputs(tmp_path, disk=disk)
    fetched = [fetch(outputs, client, 1)]
    (tmp_path / "a" / "p1.png").write_bytes(b"a photograph")
    disk.events.clear()
    assert isinstance(outputs.place(fetched)[0], OutputRefused)
    assert disk.events == ["remove .burst-prompt-1-1.part"]
    assert outputs.place([]) == []


def test_of_two_items_with_one_name_the_second_is_refused(outputs: Outputs, client: ComfyUI) -> None:
    fetched = [fetch(outputs, client, number, name="p") for number in (1, 2)]
    first, second = outputs.place(fetched)
    assert isinstance(first, list)
    assert isinstance(second, OutputRefused)
    assert there(outputs) == {"a/p.png": png(1)}


def test_what_is_discarded_leaves_nothing(outputs: Outputs, client: ComfyUI) -> None:
    fetched = fetch(outputs, client, 1)
    outputs.discard(fetched)
    outputs.discard(fetched)
    assert there(outputs) == {}


def test_discarding_what_was_placed_keeps_it(outputs: Outputs, client: ComfyUI) -> None:
    fetched = fetch(outputs, client, 1)
    outputs.place([fetched])
    outputs.discard(fetched)
    assert there(outputs) == {"a/p1.png": png(1)}


# The disk.


@pytest.mark.parametrize(("step", "named"), [("rename p1", 1), ("sync directory a", 3)])
def test_a_full_disk_stops_the_group_and_leaves_no_temporary_file(
    step: str, named: int, tmp_path: Path, client: ComfyUI
) -> None:
    disk = Recorder()
    outputs = Outputs(tmp_path, disk=disk)
    fetched = [fetch(outputs, client, number) for number in range(3)]
    disk.fail = step
    with pytest.raises(DiskFull):
        outputs.place(fetched)
    assert sorted(there(outputs)) == [f"a/p{number}.png" for number in range(named)]


def test_a_failed_sync_of_a_directory_is_handed_on(tmp_path: Path, client: ComfyUI) -> None:
    class Broken(Disk):
        def sync_directory(self, path: Path) -> None:
            if path.name == "a":
                raise SyncFailed("broken")
            super().sync_directory(path)

    outputs = Outputs(tmp_path, disk=Broken())
    with pytest.raises(SyncFailed):
        outputs.place([fetch(outputs, client, 1)])
    assert sorted(there(outputs)) == ["a/p1.png"]


@pytest.mark.parametrize("when", ["filled", "placed"])
def test_a_temporary_file_that_somebody_removes_stops_the_burst(when: str, tmp_path: Path, client: ComfyUI) -> None:
    class Removed(Recorder):
        def note(self, event: str) -> None:
            super().note(event)
            if event == "write 1.part" and when == "filled":
                (tmp_path / "a" / ".burst-prompt-1-1.part").rename(tmp_path / "elsewhere")

    outputs = Outputs(tmp_path, disk=Removed())

    def work() -> None:
        fetched = fetch(outputs, client, 1)
        (tmp_path / "a" / ".burst-prompt-1-1.part").unlink(missing_ok=when == "filled")
        outputs.place([fetched])

    with pytest.raises(DiskFull, match=r"prompt-1-1\.part was removed while it was in use"):
        work()


# Told to stop.


def test_abandon_in_the_middle_of_two_fetches_leaves_nothing(outputs: Outputs, client: ComfyUI, server: Server) -> None:
    waiting = fetch(outputs, client, 0)
    gate = Gate(2)
    server.faults = [gate, gate]
    with Threads(2) as threads:
        fetches: list[Future[Fetched]] = [threads.submit(fetch, outputs, client, number) for number in (1, 2)]
        gate.wait_until_reached()
        assert len(there(outputs)) == 3
        outputs.abandon()
        assert there(outputs) == {}
        gate.open()
    for one in fetches:
        with pytest.raises(StopBurst):
            one.result()
    with pytest.raises(StopBurst):
        outputs.place([waiting])
    assert there(outputs) == {}


def test_abandon_between_two_items_of_a_group(tmp_path: Path, client: ComfyUI) -> None:
    class Stopping(Disk):
        def rename(self, source: Path, target: Path, *, replace: bool = True) -> None:
            super().rename(source, target, replace=replace)
            outputs.abandon()

    outputs = Outputs(tmp_path, disk=Stopping())
    fetched = [fetch(outputs, client, number) for number in range(3)]
    with pytest.raises(StopBurst):
        outputs.place(fetched)
    assert there(outputs) == {"a/p0.png": png(0)}


def test_nothing_is_placed_after_abandon_even_where_it_could_not_be_removed(tmp_path: Path, client: ComfyUI) -> None:
    outputs = Outputs(tmp_path, disk=Recorder(fail="remove"))
    fetched = fetch(outputs, client, 1)
    outputs.abandon()
    with pytest.raises(StopBurst):
        outputs.place([fetched])
    assert sorted(there(outputs)) == ["a/.burst-prompt-1-1.part"]


@pytest.mark.parametrize("step", ["write 1.part", "sync 1.part"])
def test_abandon_while_a_picture_is_checked(step: str, tmp_path: Path, client: ComfyUI) -> None:
    class Stopping(Recorder):
        def note(self, event: str) -> None:
            super().note(event)
            if event == step:
                outputs.abandon()

    outputs = Outputs(tmp_path, disk=Stopping())
    with pytest.raises(StopBurst):
        outputs.place([fetch(outputs, client, 1)])
    assert there(outputs) == {}
