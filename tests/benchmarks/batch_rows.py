"""What `burst generate` adds to its images: time, images a minute, and the wait of what is added."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from state.open_store import parts_of
from tests.benchmarks.child import burst_command, environment, measure
from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.project import STATE
from tests.benchmarks.sandbox import SandboxProcess
from tests.benchmarks.setting import Setting

_POST_SECONDS = 30.0
_LOOK_SECONDS = 0.005


def generate(setting: Setting) -> list[Figure]:
    """One `burst generate`, from the start of its interpreter to its end, less the time that the server was at work."""
    count, each = setting.scale.generated_count, setting.scale.generated_prompt_seconds
    walls, works = _generated(setting, "generate", count=count, prompt_seconds=each)
    added = tuple((wall - work) / count for wall, work in zip(walls, works, strict=True))
    name = f"what burst generate --count {count} adds to an image of {1000 * each:g} ms"
    parts = {"whole s": tuple(walls), "server at work s": tuple(works)}
    return [Figure(name, added, Target("at most", 0.1), unit="s", parts=parts)]


def throughput(setting: Setting) -> list[Figure]:
    """The same with prompts as long as an image of SDXL takes: images a minute, and the server's part of the time.

    The server alone makes 60 ÷ seconds per prompt, 21.1 at 2.84 s.
    """
    count, each = setting.scale.sustained_count, setting.scale.sustained_prompt_seconds
    walls, works = _generated(setting, "throughput", count=count, prompt_seconds=each)
    about = f"burst generate --count {count}, {each:g} s each"
    shares = tuple(work / wall for wall, work in zip(walls, works, strict=True))
    return [
        Figure(f"images a minute, {about}", tuple(60 * count / wall for wall in walls), Target("at least", 20.0)),
        Figure(f"server busy share of the whole command, {about}", shares, Target("at least", 0.8)),
    ]


def latency(setting: Setting) -> list[Figure]:
    """`generate --queue-only` while a burst watches a long prompt: when it is back, and when that is sent."""
    returned, sent = [], []
    for _, place in setting.each_round("latency"):
        with SandboxProcess(place, seconds_per_prompt=setting.scale.held_prompt_seconds) as sandbox:
            home = place / "project"
            home.mkdir()
            queued = _command("--queue-only", "--again", server=sandbox.url)
            measure(queued, cwd=home)
            burst = subprocess.Popen(
                burst_command("run", "--until-done", "--json"),
                cwd=home,
                env=environment(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                _wait_for_post(sandbox, 1)
                sent.append(_seconds_to_post(queued, home, sandbox))
                returned.append(measure(queued, cwd=home).wall_seconds)
            finally:
                burst.kill()
                burst.wait()
    about = "while a burst runs"
    below = Target("at most", 1.0)
    return [
        Figure(f"burst generate --queue-only, {about}: from call to return", tuple(returned), below, unit="s"),
        Figure(f"what it added, {about}: from being in the state to its POST", tuple(sent), below, unit="s"),
    ]


def _command(*more: str, server: str) -> list[str]:
    said = ("--prompt", "a lighthouse", "--template", "smoke", "--server", server, "--output", "output", "--json")
    return burst_command("generate", *said, *more)


def _generated(
    setting: Setting, row: str, *, count: int, prompt_seconds: float
) -> tuple[Sequence[float], Sequence[float]]:
    """Round by round the seconds of the whole command, and those in which the server ran a prompt.

    Errors: AssertionError where not every image is there afterwards.
    """
    walls, works = [], []
    for _, place in setting.each_round(row):
        with SandboxProcess(place, seconds_per_prompt=prompt_seconds) as sandbox:
            home = place / "project"
            home.mkdir()
            cost = measure(_command("--count", str(count), server=sandbox.url), cwd=home)
            made = len(list((home / "output").rglob("*.png")))
            if made != count:
                raise AssertionError(f"burst generate: {made} images of {count}")
            walls.append(cost.wall_seconds)
            works.append(sum(end - begin for begin, end in sandbox.intervals()))
    return walls, works


def _seconds_to_post(command: Sequence[str], home: Path, sandbox: SandboxProcess) -> float:
    """From the time that the batch's record has, just before it is written, to the second POST.

    Errors: AssertionError.
    """
    with subprocess.Popen(command, cwd=home, env=environment(), stdout=subprocess.DEVNULL) as child:
        posted_at = _wait_for_post(sandbox, 2)
    if child.returncode != 0:
        raise AssertionError(f"{' '.join(command)} ended with {child.returncode}")
    *_, batch = parts_of(home / STATE).batches.read().values()
    return posted_at - batch.record.created_at.timestamp()


def _wait_for_post(sandbox: SandboxProcess, count: int) -> float:
    """When so many prompts had been sent, in seconds since the epoch. Errors: AssertionError after a while."""
    until = time.monotonic() + _POST_SECONDS
    while sandbox.counts()["posts"] < count:
        if time.monotonic() > until:
            raise AssertionError(f"no {count} prompts were sent in {_POST_SECONDS:g} s")
        time.sleep(_LOOK_SECONDS)
    return time.time()
