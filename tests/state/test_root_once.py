"""Root works once in another user's directory: what it makes and replaces stays that user's."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.forking import in_forked_child
from support.mounts import needs_root
from support.projects import small_template

from orchestrator.batches.spec import BatchSpec
from orchestrator.cycle.request import Request
from orchestrator.cycle.run import run_burst
from orchestrator.errors import DiskFull
from orchestrator.generation import generate
from orchestrator.init_state import init_state
from orchestrator.sandbox import Sandbox
from orchestrator.settings import Overrides
from state.disk import Disk
from state.open_store import parts_of

pytestmark = needs_root

ARTIST = 65534
"""An ordinary user."""


@pytest.fixture
def home() -> Iterator[Path]:
    """The artist's directory; not below `tmp_path`, which is root's alone."""
    directory = Path(tempfile.mkdtemp(prefix="burst-artist-"))
    os.chown(directory, ARTIST, ARTIST)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def as_artist(work: Callable[[], object], *, umask: int = 0o022) -> str:
    def child() -> object:
        os.setgroups([])
        os.setgid(ARTIST)
        os.setuid(ARTIST)
        os.umask(umask)
        return work()

    return in_forked_child(child)


def as_root(work: Callable[[], object], *, umask: int = 0o022) -> str:
    def child() -> object:
        os.umask(umask)
        return work()

    return in_forked_child(child)


def not_the_artists(home: Path) -> list[str]:
    places = (home, *home.rglob("*"))
    return [str(place) for place in places if (place.lstat().st_uid, place.lstat().st_gid) != (ARTIST, ARTIST)]


def project(home: Path) -> tuple[Path, Overrides]:
    template = home / "template.json"
    template.write_text(json.dumps(small_template()))
    return home / "state.json", Overrides(template=str(template), output_dir=home / "output")


def begin(home: Path, sandbox: Sandbox, *names: str) -> str:
    state, overrides = project(home)
    for name in names:
        path = home / "prompts" / name / "prompt.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"a lighthouse, {name}")
    overrides = Overrides(template=overrides.template, output_dir=overrides.output_dir, servers=(sandbox.url,))
    return str(init_state(state, [home / "prompts"], overrides=overrides).added)


def burst(home: Path, size: int) -> str:
    report = run_burst(home / "state.json", size=size, poll_seconds=0.2)
    return f"{report.completed} {report.remaining} {report.reason}"


@pytest.mark.parametrize("umask", [0o022, 0o027])
def test_a_user_root_and_the_user_again(home: Path, umask: int) -> None:
    with Sandbox() as sandbox:
        # A child of another user could not read the interpreter's files: what is imported late is imported here.
        with tempfile.TemporaryDirectory() as other:
            begin(Path(other), sandbox, "a")
            burst(Path(other), 1)
        assert as_artist(lambda: begin(home, sandbox, "EP01", "EP02", "EP03"), umask=umask) == "3"
        assert as_root(lambda: burst(home, 1), umask=umask) == "1 2 None"
        assert not_the_artists(home) == []
        assert as_root(lambda: begin(home, sandbox, "EP04"), umask=umask) == "1"
        shutil.chown(home / "prompts" / "EP04", ARTIST, ARTIST)
        shutil.chown(home / "prompts" / "EP04" / "prompt.txt", ARTIST, ARTIST)
        assert not_the_artists(home) == []
        assert as_artist(lambda: burst(home, 10), umask=umask) == "3 0 None"
        assert not_the_artists(home) == []


def test_root_begins_what_the_user_goes_on_with(home: Path) -> None:
    for name in ("EP01", "EP02"):
        (home / "prompts" / name).mkdir(parents=True)
        (home / "prompts" / name / "prompt.txt").write_text(name)
    for place in home.rglob("*"):
        os.chown(place, ARTIST, ARTIST)
    with Sandbox() as sandbox:
        assert as_root(lambda: begin(home, sandbox, "EP01", "EP02"), umask=0o027) == "2"
        os.chown(home / "template.json", ARTIST, ARTIST)
        assert as_root(lambda: burst(home, 1), umask=0o027) == "1 1 None"
        assert not_the_artists(home) == []
        assert as_artist(lambda: burst(home, 10), umask=0o027) == "1 0 None"


def test_batches_of_root_stay_the_users(home: Path) -> None:
    with Sandbox() as sandbox:
        as_artist(lambda: begin(home, sandbox, "EP01"))
        spec = BatchSpec(name="by_root", count=1)
        request = Request(state=home / "state.json", poll_seconds=0.2)
        assert as_root(lambda: generate(spec, prompts=["a pier"], request=request).exit_code) == "0"
        assert as_root(lambda: burst(home, 5)) == "1 0 None"
    assert len(list((home / "output").rglob("*.png"))) == 2
    assert not_the_artists(home) == []


def test_a_replaced_file_keeps_owner_and_mode(home: Path) -> None:
    kept, fresh = home / "kept", home / "fresh"
    kept.write_bytes(b"old")
    os.chown(kept, ARTIST, 12)
    kept.chmod(0o640)
    Disk().write_whole(kept, b"new")
    fresh.write_bytes(b"newer")
    Disk().rename(fresh, kept)
    found = kept.stat()
    assert (kept.read_bytes(), found.st_uid, found.st_gid, found.st_mode & 0o777) == (b"newer", ARTIST, 12, 0o640)


def test_what_is_reached_by_a_link_is_not_given_away(home: Path, tmp_path: Path) -> None:
    roots = tmp_path / "roots"
    roots.write_bytes(b"")
    (home / "journal").symlink_to(roots)
    Disk().append_to(home / "journal", create=True).close()
    Disk().create(home / "journal").close()
    assert roots.stat().st_uid == 0


def test_roots_own_directories_stay_roots(tmp_path: Path) -> None:
    Disk().make_directory(tmp_path / "a" / "b")
    Disk().append_to(tmp_path / "a" / "b" / "file", create=True).close()
    assert {place.stat().st_uid for place in tmp_path.rglob("*")} == {0}


def test_a_refused_write_names_the_owner(home: Path) -> None:
    journal = home / "journal"
    journal.write_bytes(b"")
    journal.chmod(0o640)
    locked = home / "locked"
    locked.mkdir(mode=0o750)

    def refusal(work: Callable[[], object]) -> str:
        def tried() -> str:
            with pytest.raises(DiskFull) as caught:
                work()
            return str(caught.value)

        return as_artist(tried)

    assert refusal(lambda: Disk().append_to(journal)).startswith(f"{journal}: owned by root; permission denied")
    assert "owned by root" in refusal(lambda: Disk().make_directory(locked / "a" / "b"))
    os.chown(journal, ARTIST, ARTIST)
    journal.chmod(0o440)
    assert refusal(lambda: Disk().append_to(journal)).startswith(f"{journal}: permission denied")


def test_locks_of_root_are_the_users(home: Path) -> None:
    with Sandbox() as sandbox:
        as_artist(lambda: begin(home, sandbox, "EP01"))
        folder = parts_of(home / "state.json").checkpoint_directory
        for name in ("write.lock", "run.lock", "adding.lock"):
            (folder / name).unlink(missing_ok=True)
        as_root(lambda: burst(home, 1))
    assert (folder / "run.lock").exists()
    assert not_the_artists(home) == []
