"""Places that cannot be read, made or written, under every command: one message that names the place, no traceback.

With the rights of an ordinary user, also where root runs the tests.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import os
import shutil
import signal
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

import burst
from orchestrator.log_lines import without_time
from orchestrator.sandbox import Sandbox

CODES = {0, 1, 2, 75}

PLACES = [
    "locked",
    "locked/in.json",
    "locked/a/b.json",
    "dangling",
    "loop",
    "file/in.json",
    "readonly",
    "readonly/in.json",
    "/proc/self/mem",
    "/proc/nothing/in.json",
    "full",
    "full/in.json",
    "n" * 300,
]
"""Names of places in a project, as a person types them; see `spoil`."""
NAMES = {
    "locked/a/b.json": ["locked/a/b."],
    "locked/in.json": ["locked/in."],
    "readonly/in.json": ["readonly/in.", "project/readonly"],
    "/proc/nothing/in.json": ["/proc/nothing"],
    "full/in.json": ["project/full", "full/in."],
    "file/in.json": ["project/file", "file/in."],
    "dangling": ["dangling", "nowhere/at/all"],
    "/proc/self/mem": ["/mem"],
}
"""What a message may call them, if it is not the name itself."""


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


def as_user(arguments: Sequence[str], *, cwd: Path) -> Ended:
    """`burst ARGUMENTS` in this process, with no more rights than an ordinary user."""
    code: object = 0
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with as_a_process(out, err, cwd=cwd), no_capabilities(), pytest.MonkeyPatch.context() as patch:
            patch.delenv("BURST_STATE", raising=False)
            patch.setattr(sys, "argv", ["burst", *arguments])
            try:
                burst.main()
            except SystemExit as ended:
                code = ended.code or 0
        said = [os.pread(stream.fileno(), 1 << 24, 0).decode() for stream in (out, err)]
    return Ended(code if isinstance(code, int) else 1, *said)


@contextlib.contextmanager
def as_a_process(out: IO[bytes], err: IO[bytes], *, cwd: Path) -> Iterator[None]:
    """What `burst` finds where it is started alone, and what it changes put back: a fork costs more than most commands.

    Streams, directory, logging without pytest's handlers, handlers of signals and of threads' exceptions.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    place, descriptors, root = Path.cwd(), [os.dup(number) for number in (1, 2)], logging.getLogger()
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as streams:
        for number, (name, file) in enumerate((("stdout", out), ("stderr", err)), 1):
            os.dup2(file.fileno(), number)
            stream = streams.enter_context(io.TextIOWrapper(io.FileIO(number, "w", closefd=False)))
            patch.setattr(sys, name, stream)
        patch.setattr(root, "handlers", [])
        patch.setattr(root, "level", root.level)
        patch.setattr(threading, "excepthook", threading.excepthook)
        os.chdir(cwd)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.chdir(place)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            for number, descriptor in enumerate(descriptors, 1):
                os.dup2(descriptor, number)
                os.close(descriptor)


@contextlib.contextmanager
def no_capabilities() -> Iterator[None]:
    """For this thread and those that it starts: root is refused then what the owner of the files is refused."""
    had = (ctypes.c_uint32 * 6)()
    call("capget", had)
    bits = call_prctl(_GET_SECUREBITS)
    if os.geteuid() == 0:  # access(2) gives root back what it is permitted
        call_prctl(_SET_SECUREBITS, bits | _NO_SETUID_FIXUP)
    call("capset", (ctypes.c_uint32 * 6)(0, *had[1:3], 0, *had[4:]))
    try:
        yield
    finally:
        call("capset", had)
        if os.geteuid() == 0:
            call_prctl(_SET_SECUREBITS, bits)


_LIBC = ctypes.CDLL(None, use_errno=True)
_GET_SECUREBITS, _SET_SECUREBITS, _NO_SETUID_FIXUP = 27, 28, 4


def call(function: str, capabilities: ctypes.Array[ctypes.c_uint32]) -> None:
    """`capget` or `capset`: effective, permitted and inheritable, of the lower 32 and then of the upper ones."""
    version_3 = (ctypes.c_uint32 * 2)(0x20080522, 0)
    if getattr(_LIBC, function)(version_3, capabilities):
        raise OSError(ctypes.get_errno(), function)


def call_prctl(option: int, value: int = 0) -> int:
    answer: int = _LIBC.prctl(option, value, 0, 0, 0)
    if answer < 0:
        raise OSError(ctypes.get_errno(), "prctl")
    return answer


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMFYUI_URL", running.url)
        yield running


@pytest.fixture(scope="module")
def finished(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project: two items done, one due, a batch that has ended."""
    home = tmp_path_factory.mktemp("refused") / "finished"
    (home / "prompts" / "EP01").mkdir(parents=True)
    for name in ("a", "b", "c"):
        (home / "prompts" / "EP01" / f"{name}.txt").write_text(f"a fox, {name}")
    shutil.copy(Path(burst.__file__).parent / "templates" / "smoke.json", home / "flow.json")
    (home / "list.txt").write_text("a hare\n")
    init = ("init", "prompts", "--template", "flow.json", "--server", sandbox.url)
    generate = ("generate", "--prompt", "a boat", "--name", "boats", "--layout", "batch")
    for arguments in (init, generate, ("run", "-n", "2")):
        ended = as_user(arguments, cwd=home)
        assert ended.code == 0, ended
    return home


@pytest.fixture
def project(finished: Path) -> Iterator[Callable[..., Path]]:
    """Makes a copy of it, in the place of the one before, and `prepare` does something to it.

    The one before serves again if it was prepared alike and nothing in it has changed since.
    """
    place = finished.parent / "project"
    before: list[object] = []

    def copy(prepare: Callable[[Path], None] = lambda home: None) -> Path:
        nonlocal before
        if before != [prepare, look_of(place)]:
            clear()
            shutil.copytree(finished, place, symlinks=True)
            prepare(place)
            before = [prepare, look_of(place)]
        return place

    def clear() -> None:
        for path in (place, *place.rglob("*")) if place.exists() else ():
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)
        shutil.rmtree(place, ignore_errors=True)

    yield copy
    clear()


def look_of(place: Path) -> dict[str, tuple[int, ...]] | None:
    """What differs after any change below it; None if it is not there."""
    if not place.exists():
        return None
    inside = (f"{folder}/{name}" for folder, folders, files in os.walk(place) for name in folders + files)
    found = {path: os.lstat(path) for path in (str(place), *inside)}
    return {name: (at.st_ino, at.st_mode, at.st_size, at.st_mtime_ns, at.st_ctime_ns) for name, at in found.items()}


def spoil(home: Path) -> None:
    """Put the places there that `PLACES` names."""
    for name in ("locked", "readonly"):
        (home / name).mkdir()
        (home / name / "in.json").write_text("{}")
    (home / "dangling").symlink_to("nowhere/at/all")
    (home / "loop").symlink_to("loop")
    if os.geteuid() == 0:  # that of the machine could be harmed
        os.mknod(home / "full", stat.S_IFCHR | 0o666, os.makedev(1, 7))
        (home / "full").chmod(0o666)
    (home / "file").write_text("{}")
    (home / "locked").chmod(0)
    (home / "readonly").chmod(0o555)


def check(ended: Ended, *names: str) -> None:
    """One message, which has one of these names in it, if it is an error."""
    assert ended.code in CODES, ended
    assert "Traceback" not in ended.out + ended.err
    if ended.code == 2 and not ended.out:
        (message,) = (line for line in ended.err.splitlines() if without_time(line).startswith(("burst: ", "Error: ")))
        assert any(name in message for name in names), message
        assert "[Errno" not in message, message


COMMANDS = [
    "init {}",
    "init {} --images --template smoke-image",
    "init prompts --state {}",
    "init prompts --template {}",
    "init prompts --output {}",
    "run --poll-interval 0.1 --state {}",
    "run --poll-interval 0.1 --template {}",
    "run --poll-interval 0.1 --output {}",
    "run --poll-interval 0.1 --log-file {}",
    "run --dry-run --output {}",
    "run --dry-run --template {}",
    "generate --prompt fox --template flow.json --state {}",
    "generate --prompt fox --template flow.json --queue-only --state {}",
    "generate --prompt fox --template {}",
    "generate --prompt fox --output {}",
    "generate --prompt fox --log-file {}",
    "generate --prompt-file {}",
    "generate --prompts-file {}",
    "generate --csv {}",
    "generate --jsonl {}",
    "generate --from {}",
    "status --state {}",
    "status --stats --all --state {}",
    "log --state {}",
    "retry --state {}",
    "reset --yes --state {}",
    "cancel --all --state {}",
    "cancel --all --template {}",
    "update --state {} --server http://127.0.0.1:9",
    "update --template {}",
    "update --output {}",
    "batches list --state {}",
    "batches show boats --state {}",
    "batches clean --older-than 9d --state {}",
    "batches clean --older-than 9d --output {}",
    "report boats --state {}",
    "report boats --html {}",
    "report boats --output {}",
    "report boats --embed --output {}",
    "verify --state {}",
    "verify --output {}",
    "verify --repair --output {}",
    "doctor --state {}",
    "doctor --template {}",
    "doctor --output {}",
    "template show {}",
    "template show --state {}",
    "template check {}",
    "template check --state {}",
    "node install --comfyui {}",
    "node install --link --comfyui {}",
    "node uninstall --comfyui {}",
    "node status --comfyui {}",
    "demo --directory {}",
]


def walk(command: str, places: Sequence[str], make: Callable[[], Path]) -> list[object]:
    """What was wrong with this command over these places; `make` makes the project that has them."""
    wrong: list[object] = []
    for place in places:
        home = make()
        ended = as_user([word.replace("{}", place) for word in command.split()], cwd=home)
        try:
            check(ended, *NAMES.get(place, [place]), "no batch", "name a workflow")
            assert os.geteuid() or (home / "full").is_char_device()
        except (AssertionError, ValueError) as error:
            wrong.append((place, ended, str(error)))
    return wrong


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_over_every_place(command: str, project: Callable[..., Path]) -> None:
    assert walk(command, PLACES, lambda: project(spoil)) == []


PARTS = [
    *("", "prompts", "prompts/EP01", "prompts/EP01/a.txt", "prompts/EP01/c.txt", "flow.json"),
    *("output", "output/EP01", "output/EP01/a.png"),
    "re_render_state.json",
    *(
        f"re_render_state.burst{part}"
        for part in ("", "/journal.jsonl", "/settings.toml", "/bursts.jsonl", "/batches.jsonl", "/recipes.jsonl")
    ),
    *(f"re_render_state.burst/{part}" for part in ("workflows", "run.lock", "write.lock", "adding.lock")),
]
"""What a project has, and what its owner may suddenly not touch."""
ON_A_STATE = [
    "init prompts",
    "init prompts --rescan",
    "run",
    "run --dry-run",
    "generate --prompt fox",
    "generate --prompt fox --queue-only",
    "status --stats --all",
    "status boats",
    "log",
    "retry",
    "reset --yes",
    "cancel --all",
    "update --output elsewhere",
    "batches list",
    "batches clean --older-than 1h",
    "report boats",
    "report boats --embed",
    "verify",
    "verify --repair",
    "doctor",
    "template show",
    "template check",
]


@pytest.mark.parametrize("command", ON_A_STATE)
def test_every_command_where_a_part_of_the_project_is_locked(command: str, project: Callable[..., Path]) -> None:
    wrong = []
    for part in PARTS:
        home = project(lambda home, part=part: (home / part).chmod(0))
        ended = as_user(command.split(), cwd=home)
        try:
            check(ended, part.rpartition("/")[2] or "re_render_state", "re_render_state.burst/")
        except (AssertionError, ValueError) as error:
            wrong.append((part, ended, str(error)))
    assert wrong == []


@pytest.mark.parametrize("place", ["locked/files", "full", "/proc/nothing", "loop", "file"])
def test_a_sandbox_names_its_directory_and_not_its_port(place: str, project: Callable[..., Path]) -> None:
    home = project(spoil)
    ended = as_user(["sandbox", "--port", "0", "--directory", place], cwd=home)
    assert ended.code == 2, ended
    assert place in ended.err
    assert "cannot listen" not in ended.err


@pytest.mark.parametrize("part", ["re_render_state.json", "re_render_state.burst/journal.jsonl"])
def test_what_cannot_be_read_is_to_be_made_readable(project: Callable[[], Path], part: str) -> None:
    home = project()
    with (home / part).open("a"):
        (home / part).chmod(0)
    ended = as_user(["status"], cwd=home)
    assert ended.code == 2
    (line,) = ended.err.splitlines()
    assert f"{part}: permission denied; make it readable" in line
    assert "Usage" not in line
