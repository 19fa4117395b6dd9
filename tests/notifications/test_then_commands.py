"""`--then NAME`: a command of this host's own is run once a batch is done, at least once and by one host."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from support.batch_scene import NOON, Scene, SetClock
from support.drafts import DRAFTS, Drafts
from support.sync_scene import SyncScene
from support.waiting import wait_until

from burst import cli
from orchestrator.batches.completion import BatchCompletion
from orchestrator.batches.spec import BatchSpec
from orchestrator.host_config import ThenRule, load_host_config
from orchestrator.notifications import then_commands
from orchestrator.notifications.then_commands import ThenCommands, due_commands, start_if_due
from orchestrator.outputs.placement import Placement
from orchestrator.recipes import Recipes
from orchestrator.stage_chain import stage
from state.item import Status
from state.notices import Claim, CommandRun
from state.open_store import open_store
from state.processes import Process, this_process


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A batch that is done, whose command no host has run yet."""
    made = Scene(tmp_path, then="train")
    made.end_all()
    made.run_once()
    yield made
    made.store.close()


def worked_off(scene: Scene, tmp_path: Path, *command: str, **rule: object) -> list[CommandRun]:
    rules = {"train": msgspec.convert({"command": command, **rule}, ThenRule)}
    ThenCommands(scene.store, rules, clock=scene.clock, folder=tmp_path / "then").work_off()
    return [run for runs in scene.store.notices.read().commands.values() for run in runs]


def test_it_is_run_once_and_finds_in_its_environment_what_it_is_about(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BURST_STATE", "postgresql://anna:hunter2@host/db")
    (run,) = worked_off(scene, tmp_path, "sh", "-c", "env | sort | grep ^BURST_; echo trained >&2")
    assert (run.succeeded, run.final, run.problem, run.name, run.batch) == (True, True, None, "train", "b1")
    output = Path(run.output or "").read_text()
    (end,) = scene.batch().ends
    said = dict(line.split("=", 1) for line in output.splitlines()[:-1])
    assert said == {
        "BURST_BATCH": "b1",
        "BURST_BATCH_NAME": "",
        "BURST_EVENT_ID": end.event,
        "BURST_OUTPUT": str(tmp_path / "output" / "batch_b1"),
        "BURST_STATE": str(tmp_path / "state.json"),
    }
    assert output.endswith("trained\n")
    assert Path(run.output or "").stat().st_mode & 0o077 == 0, "nobody else reads it"
    assert len(worked_off(scene, tmp_path, "false")) == 1, "it is not run again"


def test_one_that_fails_is_run_again_so_often_then_given_up_and_said(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(then_commands, "_FIRST_PAUSE_SECONDS", 0.0)
    runs = worked_off(scene, tmp_path, "sh", "-c", "echo again; exit 3", tries=2)
    assert [(run.succeeded, run.final, run.problem) for run in runs] == [
        (False, False, "it ended with 3"),
        (False, True, "it ended with 3"),
    ]
    assert Path(runs[0].output or "").read_text() == "again\nagain\n"
    (failed,) = scene.store.notices.read().lasting.values()
    assert (failed.kind, failed.data["batch"], failed.data["problem"]) == ("command.failed", "b1", "it ended with 3")


def test_one_that_does_not_end_is_killed_with_what_it_started(scene: Scene, tmp_path: Path) -> None:
    command = "sleep 77 & echo $! > pid; wait"
    (run,) = worked_off(scene, tmp_path, "sh", "-c", f"cd {tmp_path}; {command}", tries=1, timeout_seconds=0.5)
    assert run.problem == "it did not end within 0.5 s and was killed"
    child = int((tmp_path / "pid").read_text())
    wait_until(lambda: not _is_there(child), what="the end of what it started")


def _is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


ELSEWHERE = Process(host="another", boot_id="b", pid=7, process="1")


@pytest.mark.parametrize(
    ("by", "minutes", "runs"),
    [
        (ELSEWHERE, 0, 0),
        (ELSEWHERE, 2, 1),
        (msgspec.structs.replace(this_process(), process="an earlier one"), 0, 1),
    ],
    ids=["at work elsewhere", "its host is gone", "killed here"],
)
def test_what_another_host_runs_is_left_to_it_until_it_is_gone(
    scene: Scene, tmp_path: Path, by: Process, minutes: int, runs: int
) -> None:
    (one,) = due_commands(scene.store.batches.read(), scene.store.notices.read())
    claim = Claim(what=one.claim, by=by, until=NOON + timedelta(minutes=1))
    scene.store.notices.change(lambda known, now: [claim])
    assert isinstance(scene.clock, SetClock)
    scene.clock.at += timedelta(minutes=minutes)
    assert len(worked_off(scene, tmp_path, "true")) == runs


def test_a_host_without_the_name_leaves_it_alone(scene: Scene, tmp_path: Path) -> None:
    rules = {"upload": ThenRule(command=("true",))}
    ThenCommands(scene.store, rules, clock=scene.clock, folder=tmp_path / "then").work_off()
    assert scene.store.notices.read().commands == {}
    assert len(list(due_commands(scene.store.batches.read(), scene.store.notices.read()))) == 1


@pytest.mark.parametrize("how", [Status.FAILED, Status.CANCELLED])
def test_a_batch_that_is_not_done_runs_nothing(tmp_path: Path, how: Status) -> None:
    scene = Scene(tmp_path, then="train")
    scene.end_all(how)
    scene.run_once()
    assert worked_off(scene, tmp_path, "true") == []
    scene.store.close()


def test_a_run_starts_a_process_that_outlives_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "host.toml"
    config.write_text(f'[then.train]\ncommand = ["sh", "-c", "echo $BURST_EVENT_ID > {tmp_path}/ran"]\n')
    config.chmod(0o600)
    monkeypatch.setenv("BURST_HOST_CONFIG", str(config))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "of-host"))
    assert load_host_config().then["train"].tries == 3
    scene = Scene(tmp_path, then="train")
    assert not start_if_due(scene.store, clock=scene.clock), "it is not done"
    scene.end_all()
    scene.run_once()
    wait_until(lambda: (tmp_path / "ran").exists() and (tmp_path / "ran").read_text(), what="the command")
    (end,) = scene.batch().ends
    assert (tmp_path / "ran").read_text().strip() == end.event
    wait_until(lambda: scene.store.notices.read().commands, what="its record")
    log = CliRunner().invoke(cli, ["log", "--since", "2020-01-01", "--state", str(tmp_path / "state.json")])
    assert "Command train of batch b1 on" in log.output
    assert str(tmp_path / "of-host/burst/then" / f"{end.event}.log") in log.output
    scene.store.close()


def ended(scene: SyncScene) -> list[tuple[str, str]]:
    """A run sees what has ended; the names of what is due then, and of which batch."""
    with open_store(scene.state) as store:
        placement = Placement(Recipes(store.recipes, scene.home), scene.out)
        BatchCompletion(store, placement, clock=SetClock(), note=print).look(again=True)
        return [(one.name, one.end.event) for one in due_commands(store.batches.read(), store.notices.read())]


def test_a_synced_batch_has_its_command_run_each_time_that_it_is_done(tmp_path: Path) -> None:
    scene = SyncScene(tmp_path)
    assert scene.sync("prompt", "a", then="train").notes == ()
    scene.complete(1)
    ((name, first),) = ended(scene)
    assert name == "train"
    assert scene.sync(then="train").notes == ()
    assert ended(scene) == [("train", first)], "nothing was due, so it did not end again"
    scene.sync("prompt", "a", "b")
    assert ended(scene) == [("train", first)]
    scene.complete(2)
    assert [name for name, _ in ended(scene)] == ["train", "train"]


def test_a_batch_that_is_done_gets_a_command_for_its_next_end(tmp_path: Path) -> None:
    scene = SyncScene(tmp_path)
    scene.sync("prompt", "a")
    scene.complete(1)
    assert ended(scene) == []
    assert "command train is run from now on" in scene.sync(then="train", dry_run=True).notes[0]
    scene.sync("prompt", "a", "b")
    scene.complete(2)
    assert ended(scene) == [], "a dry run writes nothing"
    for _ in range(2):
        scene.sync("prompt", "a", "b", "c", then="train")
    assert ended(scene) == []
    scene.complete(3)
    assert [name for name, _ in ended(scene)] == ["train"], "the ends before it had none"


def test_the_last_batch_of_a_chain_has_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    drafts = Drafts(tmp_path)
    for _ in range(2):
        chain = stage(drafts.state, DRAFTS, ["invert.json", "repaint.json"], then="train").stages
        assert [one.record.then for one in chain] == [None, "train"]
    assert chain[1].continued, "made twice, it is one chain"


@pytest.mark.parametrize(
    "command", [["sync", "list.csv", "--name", "x"], ["stage", ".", "t.json"]], ids=["sync", "stage"]
)
def test_no_command_takes_more_than_a_name(command: list[str], tmp_path: Path) -> None:
    said = [*command, "--then", "rm -rf /", "--state", os.fspath(tmp_path / "s.json")]
    refused = CliRunner().invoke(cli, said)
    assert (refused.exit_code, "is not a name" in refused.output) == (2, True)


def test_neither_a_spec_nor_a_request_of_the_browser_can_name_one() -> None:
    from pydantic import ValidationError

    from orchestrator.web.batch_schemas import BatchRequest

    with pytest.raises(TypeError, match="then"):
        BatchSpec(prompt="a fox", then="train")  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="then"):
        BatchRequest.model_validate({"prompt": "a fox", "then": "train"})


def test_the_name_is_no_command(tmp_path: Path) -> None:
    said = ["generate", "--prompt", "x", "--then", "rm -rf /", "--state", os.fspath(tmp_path / "s.json")]
    refused = CliRunner().invoke(cli, said)
    assert refused.exit_code == 2
    assert "is not a name; define commands as [then.NAME] in the host configuration" in refused.output
