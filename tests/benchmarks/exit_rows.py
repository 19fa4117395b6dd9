"""How late a burst ends: from the end of the server's last prompt to the end of the process."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.child import Cost, measure
from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.project import Project, in_turn
from tests.benchmarks.sandbox import SandboxProcess
from tests.benchmarks.setting import Setting

_MORE_THAN_BARE_SECONDS = 0.25
_WITHOUT_EVENTS_SECONDS = 0.6


def exits(setting: Setting) -> list[Figure]:
    """One item, and three that take differently long, beside a bare loop that listens to the same events; and without
    events, in a state's second burst."""
    beside = [_beside_bare_loop(setting, (seconds,)) for seconds in setting.scale.long_prompt_seconds]
    beside.append(_beside_bare_loop(setting, setting.scale.uneven_prompt_seconds))
    return [*beside, _without_events(setting, min(setting.scale.long_prompt_seconds))]


def _beside_bare_loop(setting: Setting, seconds: tuple[float, ...]) -> Figure:
    count = len(seconds)
    in_order = ("--seconds-next", ",".join(map(str, seconds)))
    late: dict[str, list[float]] = {"burst": [], "bare loop": []}
    for number, place in setting.each_round("exits"):
        for side in in_turn(number):
            (place / side).mkdir()
            with SandboxProcess(place / side, seconds_per_prompt=0.0, options=in_order) as sandbox:
                project = _project(place / side, sandbox, count=count)
                if side == "burst":
                    project.init()
                    cost = project.run("-n", str(count))
                else:
                    cost = measure(project.socket_command(), cwd=project.home)
                assert len(sandbox.intervals()) == count
                late[side].append(_late_seconds(sandbox, cost))
    more = tuple(ours - bare for ours, bare in zip(late["burst"], late["bare loop"], strict=True))
    shown = " + ".join(f"{one:g}" for one in seconds)
    what = f"a prompt of {shown} s" if count == 1 else f"the last of {count} prompts ({shown} s)"
    measured = f"from the end of {what} to the end of the burst: more than a bare loop with a websocket"
    parts = {f"{side} s": tuple(values) for side, values in late.items()}
    return Figure(measured, more, Target("at most", _MORE_THAN_BARE_SECONDS), unit="s", parts=parts)


def _without_events(setting: Setting, seconds: float) -> Figure:
    late = []
    for _, place in setting.each_round("exits"):
        with SandboxProcess(place, seconds_per_prompt=seconds, options=("--refuse-websocket",)) as sandbox:
            project = _project(place, sandbox, count=2)
            project.init()
            measure(project.run_command("-n", "1"), cwd=project.home)
            late.append(_late_seconds(sandbox, project.run("-n", "1")))
    measured = f"the same without a websocket, second burst of a state, prompts of {seconds:g} s"
    return Figure(measured, tuple(late), Target("at most", _WITHOUT_EVENTS_SECONDS), unit="s")


def _late_seconds(sandbox: SandboxProcess, cost: Cost) -> float:
    return cost.began_at + cost.wall_seconds - max(end for _, end in sandbox.intervals())


def _project(place: Path, sandbox: SandboxProcess, *, count: int) -> Project:
    home = place / "project"
    home.mkdir()
    return Project(home, server=sandbox.url, count=count)
