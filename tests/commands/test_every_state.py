"""Every command does the same on a state in a file, in SQLite and in PostgreSQL. A new one belongs in the scenario."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient
from support.stores import KINDS, State

from burst import _COMMANDS, cli
from orchestrator.sandbox import Sandbox, SandboxSettings
from orchestrator.web.app import create_app
from orchestrator.web.states import WatchedStates
from orchestrator.web.supervisor import Supervisor
from state.location import state_path
from state.open_store import open_store

SECRET = "s3cret-of-the-database"
WITHOUT_STATE = {
    "demo": "makes a state of its own, in a temporary directory",
    "node": "works in a directory of ComfyUI",
    "sandbox": "is a server",
    "fleet": "is for PostgreSQL alone",
    "worker": "is for PostgreSQL alone",
    "commands": "describes the command line",
    "schema": "describes documents",
    "skill": "is a text",
    "mcp": "is a server, see tests/mcp",
    "state": "moves whole states between the kinds, see test_state_copy.py",
}
SCENARIO = """
    init prompts --template smoke --output output
    status --json
    run -n 2
    run --json -n 1
    cancel prompts/d.txt
    run --until-done
    retry --cancelled
    priority prompts/d.txt first
    edit prompts/d.txt --prompt 'a harbour'
    update --output output prompts/d.txt
    pause
    run
    resume
    run --until-done --json
    generate --prompt 'a boat' --count 2 --name boats --seed 7 --template txt2img-sd15
    generate --prompt 'a dog' --count 1 --name dogs --seed 8 --template txt2img-sd15 --queue-only --json
    status boats
    status dogs --json
    batches list
    stage dogs img2img --name again
    sync list.csv --name table --template txt2img-sd15
    sync list2.csv --name table
    run --until-done
    star prompts/a.txt boats
    query --json fox
    query is:favorite
    export boats --to dataset
    export seed:7 is:favorite --to dataset7 --json
    tag keep,best prompts/b.txt
    trash prompts/a.txt
    trash
    trash --restore prompts/a.txt
    trash boats
    trash --empty --yes
    report dogs
    verify
    history
    history --json
    log
    schedule --every 5m --at 22:00-07:00
    metrics
    template list
    servers clean --dry-run --all
    servers clean --json --all
    servers clean
    servers add gpu9 http://127.0.0.1:9
    servers list
    servers remove gpu9
    notify add http://127.0.0.1:9/hook --on disk --secret-env HOOK_KEY
    notify list
    notify remove http://127.0.0.1:9/hook
    doctor
    adopt
    serve
    forget prompts/b.txt
    batches clean --older-than 30d
    retry prompts/c.txt
    reset --yes
    status --check
    cancel --all
    status --json
    watch --until-done --since 0000000000000000-000000000000
    status zzzzzz
    cancel zzzzzz
    retry prompts/nobodys.txt
"""
_BY_EXIT_CODE = ("history", "log", "schedule", "metrics", "watch")
"""Of these only the exit code is compared: which attempt was when, and in which run, is another one each time; a
schedule names the state in its own way, and metrics are figures of time."""
_VARYING = (
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}\b", "UUID"),
    (r"\d{8}_\d{6}(_\w+)?", "BATCH"),
    (r"\d{4}-\d\d-\d\d[T ](at )?[\d:]+(\.\d+)?(Z|\+00:00)?", "TIME"),
    (r"\d{4}-\d\d-\d\d|\b\d\d:\d\d(:\d\d)?\b", "TIME"),
    (r"\b(?=[0-9a-f]*[0-9])[0-9a-f]{8,64}\b", "ID"),
    (r"\b\d+(\.\d+)?(e-\d+)? ?(ms|s|min|h|[KMG]B|[kKMG]i?B|bytes)\b", "N UNIT"),
    (r",\d+\.\d+,", ",N,"),
    (r"completed,,,(\d+),\d+,", r"completed,,,\1,N,"),
    # Processes of one number are one run; here all runs are of one process.
    (r"\b\d+ runs?\b( \(\d+ bursts\))?", "N runs"),
    (r"\[\d/\d\]", "[N/N]"),
    (r"Slowest: .*", "Slowest"),
    (r"burst/[0-9a-f]{2}/", "burst/XX/"),
    (r"\d+ empty folders?", "N empty folders"),
    (r"'STATE'", "STATE"),
    (r"state dir .*", "state dir"),
    # A database on a server has no directory, so it names files as a whole.
    (r"HOME/(?!output)", ""),
    (r"  +", " "),
)


_FOR_MANY_HOSTS = re.compile(r"\[roots\]")
"""Advice for a database on a server alone."""
_VARYING_FIELDS = re.compile("seconds|bytes|pid$|requests|^runs$|^slowest$|folder")


def scrubbed(text: str, *, address: str, home: Path, server: str) -> list[str]:
    """The lines without what differs between two runs of the same commands; items end in any order."""

    def plain(line: str) -> str:
        for found, shown in ((address, "STATE"), (str(home), "HOME"), (server.partition("//")[2], "SERVER")):
            line = line.replace(found, shown)
        for pattern, shown in _VARYING:
            line = re.sub(pattern, shown, line)
        return line

    def ordered(value: Any) -> Any:
        if isinstance(value, dict):
            return {plain(name): "N" if _VARYING_FIELDS.search(name) else ordered(one) for name, one in value.items()}
        if isinstance(value, list):
            return sorted(map(ordered, value), key=json.dumps)
        return plain(value) if isinstance(value, str) else value

    return sorted(
        json.dumps(ordered(json.loads(line))) if line.startswith("{") else plain(line)
        for line in text.splitlines()
        if not _FOR_MANY_HOSTS.search(line)
    )


def effects(address: str) -> list[tuple[Any, ...]]:
    """What is in the state now."""
    path = state_path(address)
    with open_store(path, read_only=True) as store:
        names = {batch.record.batch: batch.record.name for batch in store.batches.read().values()}
        return [
            (
                item.filename,
                str(item.status),
                item.attempts,
                item.priority,
                names.get(item.batch or ""),
                item.index,
                sorted(item.tags),
                item.favourite,
                len(item.outputs),
            )
            for item in store.items()
        ]


@contextlib.contextmanager
def scene(kind: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], tuple[Any, ...]]]:
    """Runs a line of the scenario; what it printed and what came of it."""
    home = folder / "home"
    (home / "prompts").mkdir(parents=True)
    for name in "abcd":
        (home / "prompts" / f"{name}.txt").write_text(f"a picture of {name}")
    (home / "list.csv").write_text("id,prompt\n1,a cat\n2,a cow\n")
    (home / "list2.csv").write_text("id,prompt\n1,a cat\n2,a calf\n3,a pig\n")
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(folder / "user"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "user/cache"))
    with Sandbox(SandboxSettings()) as sandbox, State(kind, home) as state:
        monkeypatch.setenv("COMFYUI_URL", sandbox.url)
        # Where the database asks for no password, any is right.
        monkeypatch.setenv("BURST_STATE", str(state.address).replace("://postgres@", f"://postgres:{SECRET}@"))
        printed: list[str] = []

        def run(line: str) -> tuple[Any, ...]:
            if line == "serve":
                return line, served(str(state.address)), []
            done = CliRunner().invoke(cli, shlex.split(line))
            printed.append(done.stdout + done.stderr)
            shown = scrubbed(
                done.stdout + "\n" + done.stderr, address=str(state.address), home=home, server=sandbox.url
            )
            if line.split()[0] in _BY_EXIT_CODE:
                shown = []
            return line, done.exit_code, shown, effects(str(state.address))

        yield run
        printed += [path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file()]
        assert not [text for text in printed if SECRET in text]


def served(address: str) -> list[Any]:
    watched = WatchedStates([state_path(address)])
    with contextlib.closing(watched):
        http = TestClient(create_app(watched, Supervisor(watched)), base_url="http://127.0.0.1:8189")
        state = http.get("/api/states/0").json()
        gallery = http.get("/api/gallery").json()
        return [state["counts"], len(state["failed"]), sorted(gallery), len(http.get("/api/gallery/batches").json())]


def lines_of_the_scenario() -> list[str]:
    return [line.strip() for line in SCENARIO.splitlines() if line.strip()]


def test_every_command_is_in_the_table() -> None:
    covered = {line.split()[0] for line in lines_of_the_scenario()}
    assert covered | WITHOUT_STATE.keys() == set(_COMMANDS)
    assert not covered & WITHOUT_STATE.keys()


def test_it_does_the_same_on_every_kind_of_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[tuple[Any, ...]]] = {}
    for kind in KINDS:
        with scene(kind, tmp_path / kind.name, monkeypatch) as run:
            seen[kind.name] = [run(line) for line in lines_of_the_scenario()]
    refused = [done[0] for done in seen["json"] if done[1] == 2]
    assert refused == ["status zzzzzz", "cancel zzzzzz", "retry prompts/nobodys.txt"]
    for other in ("sqlite", "postgresql"):
        for expected, found in zip(seen["json"], seen[other], strict=True):
            assert found == expected, f"{expected[0]} on {other}"
