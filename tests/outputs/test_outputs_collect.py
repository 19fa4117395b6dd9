"""From `/view` to its place: whole or not at all, whatever the connection, the disk or the neighbours do."""

from __future__ import annotations

import hashlib
import random
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.comfyui_loopback import Loopback, MovedClock, Request
from support.served_outputs import ID, Recorder, Server, file, png, serve, there

from orchestrator import outputs as outputs_module
from orchestrator.comfyui import ComfyUI, OutputFile, OutputText
from orchestrator.comfyui.download import CHUNK_BYTES
from orchestrator.errors import DiskFull, NotOnServer, OutputDamaged, OutputRefused, ServerUnreachable, StopBurst
from orchestrator.outputs import Outputs, Placed, verify
from state.disk import Disk, Handle
from state.item import OutputRecord

LARGE = random.Random(1).randbytes(1 << 20)


def half(request: Request, data: bytes) -> None:
    start = request.start or 0
    part = data[start : start + (len(data) - start) // 2]
    if start:
        request.reply(
            206, part, announced=len(data) - start, Content_Range=f"bytes {start}-{len(data) - 1}/{len(data)}"
        )
    else:
        request.reply(200, part, announced=len(data))


def reset(request: Request, data: bytes) -> None:
    request.reset()


def without_range(request: Request, data: bytes) -> None:
    request.reply(200, data)


def wrong_range(request: Request, data: bytes) -> None:
    request.reply(206, data, Content_Range=f"bytes 0-{len(data) - 1}/{len(data)}")


def not_satisfiable(request: Request, data: bytes) -> None:
    request.reply(416)


def flipped(request: Request, data: bytes) -> None:
    serve(request, bytes([*data[:100], data[100] ^ 1, *data[101:]]))


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def client(server: Server) -> Iterator[ComfyUI]:
    with Loopback(server.answer) as loopback, ComfyUI(loopback.url, clock=MovedClock()) as client:
        yield client


@pytest.fixture
def outputs(tmp_path: Path) -> Outputs:
    return Outputs(tmp_path / "out")


def collect(
    outputs: Outputs,
    client: ComfyUI,
    files: list[OutputFile],
    texts: list[OutputText] | None = None,
    *,
    own: list[str] | None = None,
    subfolder: str = "EP01",
    must_be_own: bool = False,
) -> list[Placed]:
    fetched = outputs.fetch(
        client,
        files,
        texts or [],
        subfolder=subfolder,
        filename="p.txt",
        prompt_id=ID,
        own=own or [],
        must_be_own=must_be_own,
    )
    (outcome,) = outputs.place([fetched])
    if isinstance(outcome, OutputRefused):
        raise outcome
    return outcome


def test_every_output_arrives_in_order(outputs: Outputs, client: ComfyUI, server: Server) -> None:
    server.files = {"a.png": png(1), "b.png": png(2), "v.ply": b"video"}
    texts = [OutputText("2", "text", "größe")]
    placed = collect(outputs, client, [file("a.png"), file("v.ply", kind="gifs"), file("b.png")], texts)
    assert there(outputs) == {
        "EP01/p.png": png(1),
        "EP01/p_002.ply": b"video",
        "EP01/p_003.png": png(2),
        "EP01/p_004.txt": "größe".encode(),
    }
    assert placed[0].as_record() == OutputRecord(
        path="EP01/p.png", bytes=len(png(1)), sha256=hashlib.sha256(png(1)).hexdigest()
    )
    assert [one.path.as_posix() for one in placed] == sorted(there(outputs))


def test_nothing_to_collect(outputs: Outputs, client: ComfyUI) -> None:
    assert collect(outputs, client, []) == []
    assert not outputs.output_dir.exists()


# Downloads.


def test_a_break_is_resumed_where_it_was(outputs: Outputs, client: ComfyUI, server: Server) -> None:
    server.files["v.ply"] = data = LARGE
    server.faults = [half, half]
    collect(outputs, client, [file("v.ply")])
    assert there(outputs) == {"EP01/p.ply": data}
    first, second, third = (start or 0 for start in server.ranges)
    assert (first, second) == (0, len(data) // 2)
    assert third >= len(data) * 3 // 4 - CHUNK_BYTES


@pytest.mark.parametrize("second", [without_range, wrong_range, not_satisfiable])
def test_a_server_that_cannot_resume_begins_again(
    second: Callable[[Request, bytes], None], outputs: Outputs, client: ComfyUI, server: Server
) -> None:
    server.files["v.ply"] = LARGE
    server.faults = [half, second]
    collect(outputs, client, [file("v.ply")])
    assert there(outputs) == {"EP01/p.ply": LARGE}
    assert server.ranges[:2] == [None, len(LARGE) // 2]


def test_a_file_that_changes_between_two_tries_is_not_mixed(outputs: Outputs, client: ComfyUI, server: Server) -> None:
    def changes(request: Request, data: bytes) -> None:
        server.files["v.ply"] = b"new" * (1 << 18)
        half(request, data)

    server.files["v.ply"] = LARGE
    server.faults = [changes]
    collect(outputs, client, [file("v.ply")])
    assert there(outputs) == {"EP01/p.ply": b"new" * (1 << 18)}


def test_a_server_that_gives_ranges_in_pieces(outputs: Outputs, client: ComfyUI, server: Server) -> None:
    def piece(request: Request, data: bytes) -> None:
        assert request.start is not None
        part = data[request.start : request.start + (1 << 18)]
        whole = f"bytes {request.start}-{request.start + len(part) - 1}/{len(data)}"
        request.reply(206, part, Content_Range=whole)

    server.files["v.ply"] = LARGE
    server.faults = [half, piece, piece]
    collect(outputs, client, [file("v.ply")])
    assert there(outputs) == {"EP01/p.ply": LARGE}
    assert len(server.ranges) == 3


def test_damage_on_the_way_is_downloaded_again(outputs: Outputs, client: ComfyUI, server: Server) -> None:
    server.files["a.png"] = png()
    server.faults = [flipped]
    collect(outputs, client, [file()])
    assert there(outputs) == {"EP01/p.png": png()}


def test_a_reset_before_the_body_is_the_client_s_to_repeat(outputs: Outputs, client: ComfyUI, server: Server) -> None:
    server.files["a.png"] = png()
    server.faults = [reset] * 3
    collect(outputs, client, [file()])
    assert there(outputs) == {"EP01/p.png": png()}


@pytest.mark.parametrize(
    ("content", "fault"),
    [(png()[:-30], None), (b"", None), (b"<html>no picture</html>", None), (png(), flipped)],
)
def test_a_half_or_undecodable_file_never_gets_its_name(
    content: bytes, fault: Callable[[Request, bytes], None] | None, outputs: Outputs, client: ComfyUI, server: Server
) -> None:
    server.files = {"ok.png": png(5), "a.png": content}
    server.faults = [serve, *[fault] * 20] if fault else []
    with pytest.raises(OutputDamaged, match=r"a\.png of node 9"):
        collect(outputs, client, [file("ok.png"), file("a.png")])
    assert there(outputs) == {}
    assert len(server.ranges) <= 8


def test_a_connection_that_always_breaks_says_nothing_about_the_file(
    outputs: Outputs, client: ComfyUI, server: Server
) -> None:
    """Five times without a byte more; the item would be rendered again if its picture were called damaged."""
    server.files["a.png"] = png()
    server.faults = [lambda request, data: request.reply(200, announced=len(data))] * 20
    with pytest.raises(ServerUnreachable, match=r"a\.png of node 9 breaks off after 0 of \d+ bytes; tried 5 times"):
        collect(outputs, client, [file()])
    assert there(outputs) == {}
    assert len(server.ranges) == 5


def test_breaks_that_get_further_each_time_are_not_counted(outputs: Outputs, client: ComfyUI, server: Server) -> None:
    def part(request: Request, data: bytes) -> None:
        rest = data[request.start or 0 :]
        whole = f"bytes {request.start or 0}-{len(data) - 1}/{len(data)}"
        request.reply(206 if request.start else 200, rest[: len(data) // 8], announced=len(rest), Content_Range=whole)

    server.files["v.ply"] = LARGE
    server.faults = [part] * 7
    collect(outputs, client, [file("v.ply")])
    assert there(outputs) == {"EP01/p.ply": LARGE}
    assert len(server.ranges) == 8


def test_a_server_that_goes_away_is_not_the_item_s_fault(outputs: Outputs, client: ComfyUI, server: Server) -> None:
    server.files["a.png"] = png()
    server.faults = [half, *[reset] * 100]
    with pytest.raises(ServerUnreachable):
        collect(outputs, client, [file()])
    assert there(outputs) == {}


def test_a_file_that_is_gone(outputs: Outputs, client: ComfyUI, server: Server) -> None:
    server.files["a.png"] = png()
    with pytest.raises(NotOnServer, match=r"burst/b\.png is gone"):
        collect(outputs, client, [file("a.png"), file("b.png")])
    assert there(outputs) == {}


def test_a_served_name_that_points_outside_is_not_asked_for(outputs: Outputs, client: ComfyUI, server: Server) -> None:
    with pytest.raises(OutputRefused):
        collect(outputs, client, [file("../../etc/passwd")])
    assert server.ranges == []


def test_memory_does_not_grow_with_the_file(outputs: Outputs, client: ComfyUI, server: Server) -> None:
    collect(outputs, client, [], [OutputText("2", "text", "warm")], subfolder="warm")
    small = peak_bytes(outputs, client, server, 1 << 20)
    assert peak_bytes(outputs, client, server, 200 << 20) < small + CHUNK_BYTES


def peak_bytes(outputs: Outputs, client: ComfyUI, server: Server, size: int) -> int:
    """The most that Python held while a video of this size was collected, the server's copy aside."""
    server.files["v.ply"] = bytes(size)
    tracemalloc.start()
    try:
        (placed,) = collect(outputs, client, [file("v.ply")], subfolder=f"{size}")
        assert placed.bytes == size
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        outputs.output_dir.joinpath(placed.path).unlink()


# Neighbours.


def test_another_s_file_is_left_alone(outputs: Outputs, client: ComfyUI, server: Server) -> None:
    server.files["a.png"] = png(1)
    place = outputs.output_dir / "EP01" / "p.png"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"a photograph")
    with pytest.raises(OutputRefused, match=r"p\.png already exists.*move it away"):
        collect(outputs, client, [file()])
    assert there(outputs) == {"EP01/p.png": b"a photograph"}
    assert outputs.occupied("EP01", "p.txt", [".png"], []) == place
    assert outputs.occupied("EP01", "p.txt", [".jpg"], []) is None
    assert outputs.occupied("EP01", "p.txt", [".png"], ["EP01/p.png"]) is None


def test_all_or_nothing_when_one_name_is_taken(outputs: Outputs, client: ComfyUI, server: Server) -> None:
    server.files = {"a.png": png(1), "b.png": png(2)}
    taken = outputs.output_dir / "EP01" / "p_002.png"
    taken.parent.mkdir(parents=True)
    taken.write_bytes(b"a photograph")
    with pytest.raises(OutputRefused):
        collect(outputs, client, [file("a.png"), file("b.png")])
    assert there(outputs) == {"EP01/p_002.png": b"a photograph"}


@pytest.mark.parametrize("system", ["Linux", "another"])
def test_a_name_that_another_burst_takes_at_the_last_moment(
    system: str, tmp_path: Path, client: ComfyUI, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the place and the renaming: nothing of the other is replaced, and nothing of ours stays."""

    class Late(Recorder):
        def rename(self, source: Path, target: Path, *, replace: bool = True) -> None:
            if target.name == "p_002.png":
                target.write_bytes(b"the other's")
            super().rename(source, target, replace=replace)

    if system == "another":
        monkeypatch.setattr("state.disk._renameat2", lambda: None)
    server.files = {"a.png": png(1), "b.png": png(2)}
    outputs = Outputs(tmp_path, disk=Late())
    with pytest.raises(OutputRefused, match=r"p_002\.png already exists"):
        collect(outputs, client, [file("a.png"), file("b.png")])
    assert there(outputs) == {"EP01/p_002.png": b"the other's"}


@pytest.mark.parametrize("reason", ["recorded", "same bytes", "our prompt", "--overwrite"])
def test_the_item_s_own_file_is_replaced(reason: str, outputs: Outputs, client: ComfyUI, server: Server) -> None:
    server.files["a.png"] = new = png(2)
    old = {"same bytes": new, "our prompt": png(3, saved_by=ID)}.get(reason, png(1))
    place = outputs.output_dir / "EP01" / "p.png"
    place.parent.mkdir(parents=True)
    place.write_bytes(old)
    chosen = Outputs(outputs.output_dir, overwrite=reason == "--overwrite")
    collect(chosen, client, [file()], own=["EP01/p.png"] if reason == "recorded" else [])
    assert there(outputs) == {"EP01/p.png": new}


def test_a_picture_of_a_previous_prompt_is_the_item_s_own(outputs: Outputs) -> None:
    place = outputs.output_dir / "EP01" / "p.png"
    place.parent.mkdir(parents=True)
    place.write_bytes(png(3, saved_by="older"))
    assert outputs.occupied("EP01", "p", [".png"], []) == place
    assert outputs.occupied("EP01", "p", [".png"], [], prompt_ids=["newer"]) == place
    assert outputs.occupied("EP01", "p", [".png"], [], prompt_ids=["newer", "older"]) is None


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_directory_or_a_file_in_the_way_fails_the_item_only(
    overwrite: bool, tmp_path: Path, client: ComfyUI, server: Server
) -> None:
    server.files["a.png"] = png()
    outputs = Outputs(tmp_path, overwrite=overwrite)
    (tmp_path / "EP01" / "p.png").mkdir(parents=True)
    (tmp_path / "EP02").write_bytes(b"")
    (tmp_path / "EP03").mkdir()
    (tmp_path / "EP03" / "p.png").symlink_to("nowhere")
    for subfolder in ("EP01", "EP02", "EP02/x"):
        with pytest.raises(OutputRefused):
            collect(outputs, client, [file()], subfolder=subfolder)
    assert (outputs.occupied("EP03", "p", [".png"], []) is None) is overwrite


def test_a_rescued_file_must_hold_our_prefix(outputs: Outputs, client: ComfyUI, server: Server) -> None:
    server.files = {"mine.png": png(1, saved_by=ID), "theirs.png": png(2, saved_by="another"), "bare.png": png(3)}
    assert len(collect(outputs, client, [file("mine.png"), file("bare.png")], must_be_own=True)) == 2
    with pytest.raises(OutputDamaged, match="another prompt's image"):
        collect(outputs, client, [file("mine.png"), file("theirs.png")], must_be_own=True, subfolder="b")
    assert not any(name.startswith("b/") for name in there(outputs))


# The disk.


def test_everything_is_synced_before_anything_gets_its_name(tmp_path: Path, client: ComfyUI, server: Server) -> None:
    server.files = {"a.png": png(1), "b.png": png(2)}
    disk = Recorder()
    outputs = Outputs(tmp_path / "out", disk=disk)
    collect(outputs, client, [file("a.png"), file("b.png")])
    assert [event for event in disk.events if not event.startswith("write")] == [
        "directory EP01",
        "sync directory out",
        f"sync directory {tmp_path.name}",
        "sync 1.part",
        "sync 2.part",
        "rename p.png",
        "rename p_002.png",
        "sync directory EP01",
    ]


@pytest.mark.parametrize(
    "step", ["write 1", "write 2", "sync 2", "rename p.png", "rename p_002", "sync directory EP01"]
)
def test_a_full_disk_leaves_no_temporary_file(step: str, tmp_path: Path, client: ComfyUI, server: Server) -> None:
    server.files = {"a.png": png(1), "b.png": png(2)}
    outputs = Outputs(tmp_path, disk=Recorder(fail=step))
    with pytest.raises(DiskFull):
        collect(outputs, client, [file("a.png"), file("b.png")])
    assert [name for name in there(outputs) if name.endswith(".part")] == []


def test_an_output_directory_that_vanishes_is_made_again(tmp_path: Path, client: ComfyUI, server: Server) -> None:
    server.files["a.png"] = png()

    class Vanishing(Recorder):
        def append_to(self, path: Path, *, create: bool = False) -> Handle:
            if "gone" not in self.events:
                path.parent.rmdir()
                self.events.append("gone")
            return super().append_to(path, create=create)

    outputs = Outputs(tmp_path / "out", disk=Vanishing())
    collect(outputs, client, [file()])
    assert there(outputs) == {"EP01/p.png": png()}


def test_an_output_directory_that_is_a_file_stops_the_burst(tmp_path: Path, client: ComfyUI, server: Server) -> None:
    server.files["a.png"] = png()
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(DiskFull, match="out: the output directory is a file"):
        collect(Outputs(tmp_path / "out"), client, [file()])


def test_a_leftover_of_a_killed_burst_is_no_start(outputs: Outputs, client: ComfyUI, server: Server) -> None:
    server.files["a.png"] = png()
    folder = outputs.output_dir / "EP01"
    folder.mkdir(parents=True)
    for number in (1, 2):
        (folder / f".burst-{ID}-{number}.part").write_bytes(b"half of something")
    collect(outputs, client, [file()], [OutputText("2", "text", "words")])
    assert there(outputs) == {"EP01/p.png": png(), "EP01/p_002.txt": b"words"}


def test_leftovers_are_removed_and_nothing_else(outputs: Outputs) -> None:
    folder = outputs.output_dir / "EP01"
    folder.mkdir(parents=True)
    keep = [".burst-another-1.part", f".burst-{ID}-1.txt", f"{ID}.part", "p.png"]
    for name in [f".burst-{ID}-1.part", f".burst-{ID}-12.part", *keep]:
        (folder / name).write_bytes(b"")
    assert outputs.remove_leftovers("EP01", [ID, "unknown"]) == 2
    assert sorted(path.name for path in folder.iterdir()) == sorted(keep)
    assert outputs.remove_leftovers("missing", [ID]) == 0
    assert outputs.remove_leftovers("EP01", []) == 0


# Told to stop.


def test_abandon_removes_what_is_in_flight_and_nothing_is_placed_after(
    outputs: Outputs, client: ComfyUI, server: Server
) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def slow(request: Request, data: bytes) -> None:
        reached.set()
        go_on.wait(10)
        serve(request, data)

    server.files = {"a.png": png(1), "b.png": png(2)}
    server.faults = [serve, slow]
    caught: list[BaseException] = []

    def work() -> None:
        try:
            collect(outputs, client, [file("a.png"), file("b.png")])
        except StopBurst as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert reached.wait(10)
    assert len(there(outputs)) == 2
    outputs.abandon()
    assert there(outputs) == {}
    go_on.set()
    thread.join(10)
    assert len(caught) == 1
    assert there(outputs) == {}


def test_after_abandon_not_even_a_temporary_file_is_made(tmp_path: Path, client: ComfyUI, server: Server) -> None:
    class Closed(Disk):
        def append_to(self, path: Path, *, create: bool = False) -> Handle:
            raise AssertionError(path)

    server.files = {"a.png": png()}
    outputs = Outputs(tmp_path, disk=Closed())
    outputs.abandon()
    with pytest.raises(StopBurst):
        collect(outputs, client, [file("a.png")])
    assert there(outputs) == {}


def test_abandon_between_two_renames(tmp_path: Path, client: ComfyUI, server: Server) -> None:
    class Stopping(Recorder):
        def rename(self, source: Path, target: Path, *, replace: bool = True) -> None:
            super().rename(source, target, replace=replace)
            chosen.abandon()

    server.files = {"a.png": png(1), "b.png": png(2)}
    chosen = Outputs(tmp_path, disk=Stopping())
    with pytest.raises(StopBurst):
        collect(chosen, client, [file("a.png"), file("b.png")])
    assert there(chosen) == {"EP01/p.png": png(1)}


# verify.


def test_verify_names_what_is_wrong(tmp_path: Path) -> None:
    def record(path: str, data: bytes) -> OutputRecord:
        return OutputRecord(path=path, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())

    (tmp_path / "x").mkdir()
    for name, data in {"ok": b"12345", "cut": b"123", "long": b"123456", "other": b"12346"}.items():
        (tmp_path / "x" / name).write_bytes(data)
    records = [record(f"x/{name}", b"12345") for name in ("ok", "cut", "long", "other", "gone")]
    records += [record("../outside", b""), record("/etc/passwd", b""), record("x", b"")]
    found = [(problem.path, problem.kind) for problem in verify(tmp_path, records, full=True)]
    assert found == [
        ("x/cut", "cut"),
        ("x/long", "changed"),
        ("x/other", "changed"),
        ("x/gone", "missing"),
        ("../outside", "refused"),
        ("/etc/passwd", "refused"),
        ("x", "missing"),
    ]
    assert ("x/other", "changed") not in [(one.path, one.kind) for one in verify(tmp_path, records, full=False)]


def test_the_module_s_names() -> None:
    assert all(hasattr(outputs_module, name) for name in outputs_module.__all__)
