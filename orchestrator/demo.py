"""`burst demo`: a burst is killed in its middle on a sandbox, resumed, and the sandbox's own count is the judge."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import subprocesses
from orchestrator.clock import Clock
from orchestrator.contact_sheet import write_contact_sheet
from orchestrator.errors import EXIT_DONE, EXIT_ITEMS_FAILED, BurstError, UsageError, located
from orchestrator.log_lines import without_time
from orchestrator.outputs.pictures import decodes
from orchestrator.outputs.placement import placement_of
from orchestrator.sandbox import Sandbox, SandboxSettings
from orchestrator.settings import DEFAULT_STATE, HEADERS_VARIABLE, SERVER_VARIABLE, kept_settings
from state.disk import Disk
from state.open_store import open_store

if TYPE_CHECKING:
    from orchestrator.documents.others import DemoDocument

TEMPLATE = "txt2img-sd15"
_SECONDS_PER_PROMPT = 0.3
_BURST_SIZE = 8
_KILL_AFTER = 5
"""Prompts that the server has rendered when the burst is killed."""
_PATIENCE_SECONDS = 30.0
"""The longest that any one command or condition is waited for."""
_MOST_ROUNDS = 5
_LOOK_SECONDS = 0.01

PROMPTS = {
    "01_lighthouse": "a lighthouse at the edge of a winter sea, long exposure, pale blue hour",
    "02_night_market": "a night market in the rain, paper lanterns, reflections on wet stone",
    "03_clockmaker": "an old clockmaker at his bench, warm lamp light, brass dust in the air",
    "04_greenhouse": "an abandoned greenhouse taken back by ferns, morning mist, wide angle",
    "05_tram": "a yellow tram climbing a steep street, washing lines overhead, summer noon",
    "06_fox": "a fox asleep in fresh snow, curled tight, soft overcast light",
    "07_observatory": "an observatory on a bare mountain, its dome open, the milky way above",
    "08_harbour": "a fishing harbour before dawn, nets drying, gulls, sodium lamps",
    "09_library": "a library with ladders up to the ceiling, one reader, green glass lamps",
    "10_desert_train": "a freight train crossing a salt desert, heat shimmer, telephoto",
    "11_teapot": "a cracked blue teapot with wild flowers in it, still life, north window",
    "12_paper_city": "a city folded out of white paper, <em>tilt-shift</em> & paper cuts, studio light",
}
"""File name and text; the last one holds what HTML must escape."""


@dataclass(frozen=True)
class DemoReport:
    """How the demo ended. `rendered` and `rendered_twice` are the sandbox's count, not the state's."""

    directory: Path
    contact_sheet: Path
    prompts: int
    rendered: int
    lost: int
    """Prompts that the server never rendered, or whose picture is not in its place."""
    rendered_twice: int
    damaged: tuple[str, ...]
    """Pictures that are there and do not decode."""
    killed_after: int
    """Prompts that the server had rendered at the kill."""
    bursts: int
    seconds: float

    @property
    def passed(self) -> bool:
        return self.rendered == self.prompts and not (self.lost or self.rendered_twice or self.damaged)

    @property
    def exit_code(self) -> int:
        return EXIT_DONE if self.passed else EXIT_ITEMS_FAILED

    def as_json(self) -> DemoDocument:
        return {
            "schema": "burst.demo/1",
            "passed": self.passed,
            "prompts": self.prompts,
            "rendered": self.rendered,
            "lost": self.lost,
            "rendered_twice": self.rendered_twice,
            "damaged": list(self.damaged),
            "killed_after": self.killed_after,
            "bursts": self.bursts,
            "seconds": round(self.seconds, 3),
            "directory": str(self.directory),
            "state": str(self.directory / DEFAULT_STATE),
            "contact_sheet": str(self.contact_sheet),
        }

    def as_text(self) -> str:
        """The line that counts, and where to look."""
        lines = [f"Damaged: {path}" for path in self.damaged]
        lines.append(f"Contact sheet: {self.contact_sheet}")
        lines.append(f"rendered {self.rendered}, lost {self.lost}, rendered twice {self.rendered_twice}")
        if not self.passed:
            lines.append(f"This should not happen. All files are kept in {self.directory}.")
        return "\n".join(lines)


def run_demo(directory: Path | None = None, *, say: Callable[[str], None], clock: Clock | None = None) -> DemoReport:
    """Show a kill and a resume in about eight seconds; `say` gets each line as it comes.

    Everything lies in `directory` afterwards (without one in a fresh temporary directory, which is kept).
    Errors: UsageError for a directory that is not empty; DemoFailed.
    """
    place = _prepared(directory)
    with Sandbox(SandboxSettings(seconds_per_prompt=_SECONDS_PER_PROMPT)) as sandbox:
        return _Demo(place, sandbox, say=say, clock=clock or Clock()).run()


class DemoFailed(BurstError):
    """The demo could not be shown to its end."""


class _Demo:
    """One showing."""

    def __init__(self, directory: Path, sandbox: Sandbox, *, say: Callable[[str], None], clock: Clock) -> None:
        self._directory = directory
        self._sandbox = sandbox
        self._say = say
        self._clock = clock
        self._pause = threading.Event()

    def run(self) -> DemoReport:
        started = self._clock.monotonic()
        self._say(f"A sandbox that draws placeholders listens at {self._sandbox.url}; all files are in")
        self._say(f"{self._directory}\n")
        write_prompts(self._directory / "prompts")
        self._must_succeed("init", "prompts", "--template", TEMPLATE, "--server", self._sandbox.url)
        killed_after = self._run_and_kill()
        self._command("status").finish()
        bursts = 1 + self._resume()
        sheet = self._contact_sheet()
        return self._judged(sheet, killed_after, bursts, self._clock.monotonic() - started)

    def _run_and_kill(self) -> int:
        """A burst, ended by SIGKILL once the server has rendered so many; how many it had rendered then."""
        burst = self._command("run", "-n", str(_BURST_SIZE))
        try:
            self._until(lambda: self._rendered() >= _KILL_AFTER or burst.ended, "the first five images")
            at_kill = self._rendered()
            if burst.ended:
                raise DemoFailed("the burst ended before it could be killed: this machine is busy; run the demo again")
        finally:
            burst.kill()
        self._say(f"\n*** SIGKILL. The server had rendered {at_kill}, and continues with its queue by itself.\n")
        return at_kill

    def _resume(self) -> int:
        """Bursts until nothing is left; how many that took."""
        for bursts in range(1, _MOST_ROUNDS + 1):
            self._must_succeed("run")
            if self._command("status", "--check").finish() == EXIT_DONE:
                return bursts
        raise DemoFailed(f"{_MOST_ROUNDS} bursts did not finish the work; look at {self._directory}")

    def _must_succeed(self, *arguments: str) -> None:
        code = self._command(*arguments).finish()
        if code != EXIT_DONE:
            raise DemoFailed(f"`burst {shlex.join(arguments)}` ended with {code}; look at {self._directory}")

    def _command(self, *arguments: str) -> _Command:
        self._say(f"$ burst {shlex.join(arguments)}")
        return _Command(arguments, directory=self._directory, say=self._say)

    def _rendered(self) -> int:
        return sum(self._sandbox.counts()["rendered"].values())

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = self._clock.monotonic() + _PATIENCE_SECONDS
        while not condition():
            if self._clock.monotonic() > deadline:
                raise DemoFailed(f"{what} did not come within {_PATIENCE_SECONDS:.0f} s; look at {self._directory}")
            self._clock.wait(self._pause, _LOOK_SECONDS)

    def _contact_sheet(self) -> Path:
        with open_store(self._directory / DEFAULT_STATE, read_only=True) as store:
            return write_contact_sheet(
                self._directory / "contact_sheet.html",
                list(store.items()),
                placement=placement_of(store, kept_settings(store.location.path)),
                home=self._directory,
                title="burst demo",
                summary=f"{len(PROMPTS)} prompts, one kill in the middle. Placeholders drawn by the sandbox.",
            )

    def _judged(self, sheet: Path, killed_after: int, bursts: int, seconds: float) -> DemoReport:
        """What the server counted for each prompt file, and what lies on the disk; the state is not asked."""
        counted = self._sandbox.counts()["rendered_by_item"]
        pictures = {name: self._directory / "output" / "prompts" / f"{name}.png" for name in PROMPTS}
        there = {name for name, path in pictures.items() if path.is_file()}
        return DemoReport(
            directory=self._directory,
            contact_sheet=sheet,
            prompts=len(PROMPTS),
            rendered=self._rendered(),
            lost=sum(1 for name in PROMPTS if name not in there or not counted.get(f"prompts/{name}.txt")),
            rendered_twice=sum(count - 1 for count in counted.values()),
            damaged=tuple(str(pictures[name]) for name in sorted(there) if not decodes(pictures[name])),
            killed_after=killed_after,
            bursts=bursts,
            seconds=seconds,
        )


class _Command:
    """A real `burst` process; what it prints is said as it comes, indented."""

    def __init__(self, arguments: Sequence[str], *, directory: Path, say: Callable[[str], None]) -> None:
        self._say = say
        self._process = subprocess.Popen(
            subprocesses.command(*arguments),
            cwd=directory,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, name="demo output", daemon=True)
        self._reader.start()

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def finish(self) -> int:
        """Wait for its end; its exit code. Errors: DemoFailed when it takes too long."""
        try:
            code = self._process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise DemoFailed(f"a command did not end within {_PATIENCE_SECONDS:.0f} s") from error
        finally:
            self.kill()
        self._say("")
        return code

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone and all that it printed is said."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._say(f"  {without_time(line.rstrip())}")


def write_prompts(folder: Path) -> list[Path]:
    """The demo's dozen prompt files."""
    disk = Disk()
    disk.make_directory(folder)
    paths = [folder / f"{name}.txt" for name in PROMPTS]
    for path in paths:
        disk.write_whole(path, f"{PROMPTS[path.stem]}\n".encode(), sync=False)
    return paths


def _prepared(directory: Path | None) -> Path:
    if directory is None:
        return Path(tempfile.mkdtemp(prefix="burst-demo-")).resolve()
    with located(directory, OSError, into=UsageError, advice="name another directory"):
        Disk().make_directory(directory)
        occupied = any(directory.iterdir())
    if occupied:
        raise UsageError(f"{directory} is not empty; name a new directory for the demo")
    return directory.resolve()


def _environment() -> dict[str, str]:
    """This process's, without what would lead the demo's bursts elsewhere."""
    return subprocesses.environment({name: value for name, value in os.environ.items() if not _misleads(name)})


def _misleads(name: str) -> bool:
    return name in (SERVER_VARIABLE, HEADERS_VARIABLE) or name.startswith("BURST_") or name.lower().endswith("_proxy")
