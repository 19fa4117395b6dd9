"""Cron: what is printed runs under cron's empty environment; what is installed leaves the rest of a crontab alone."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path

import pytest
from support.schedule_project import ScheduleProject

from orchestrator.init_state import init_state
from orchestrator.sandbox import Sandbox, SandboxSettings
from orchestrator.scheduling.crontab import shell_command, with_entry
from orchestrator.scheduling.environment import written
from orchestrator.scheduling.plan import plan_of
from orchestrator.scheduling.slots import Slots
from orchestrator.settings import Overrides
from state.location import Location
from state.open_store import parts_of

OTHERS = b"# my own\nMAILTO=me\n0 4 * * *\techo 'caf\xe9' 100\\%\r\n\n@reboot true"


def command_of(line: str) -> str:
    """What cron gives to the shell: it ends at a bare per cent sign."""
    rest = line.split(" ", 5)[5]
    assert not re.search(r"(?<!\\)%", rest)
    return rest.replace("\\%", "%")


def as_cron(command: str, *, environment: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["env", "-i", *environment, "/bin/sh", "-c", command], cwd="/", capture_output=True, text=True, timeout=60
    )


def test_the_printed_line_runs_a_burst_from_nothing(project: ScheduleProject) -> None:
    with Sandbox(SandboxSettings()) as sandbox:
        init_state(
            project.state,
            [],
            overrides=Overrides(servers=(sandbox.url,), template="smoke", output_dir=project.directory / "out"),
        )
        begin, line, end = project.schedule("--every", "2m").stdout.splitlines()
        done = as_cron(command_of(line))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    log = (project.directory / "re_render_state.log").read_text()
    assert "1 completed" in log
    assert "All done." in log
    assert begin.startswith("# >>> burst schedule burst-")
    assert end.startswith("# <<< burst schedule burst-")
    assert "--max-seconds 110 " in line
    (record,) = parts_of(project.state).bursts.read()
    assert (record.rendered, record.checkpoints, list(record.server_seconds)) == (1, 1, list(record.servers))
    assert record.bytes == sum(path.stat().st_size for path in (project.directory / "out").rglob("*.png"))
    assert 0 < record.checkpoint_seconds < record.seconds
    # Nothing is left to do, which the next call tells.
    assert "`burst schedule --remove` removes the schedule" in project.schedule("--every", "2m").stderr


@pytest.mark.parametrize(
    ("code", "is_heard"), [(0, False), (1, False), (75, False), (143, False), (2, True), (70, True)]
)
def test_cron_hears_only_of_what_a_person_must_do(project: ScheduleProject, code: int, is_heard: bool) -> None:
    plan = plan_of(Location.of(project.state), Slots(120))
    stub = project.home / "stub"
    stub.write_text(f"#!/bin/sh\necho told; echo warned >&2; exit {code}\n")
    stub.chmod(stat.S_IRWXU)
    from msgspec.structs import replace

    done = as_cron(shell_command(replace(plan, program=(str(stub),))))
    assert (done.returncode, done.stdout + done.stderr) == ((code, "told\nwarned\n") if is_heard else (0, ""))
    assert plan.log.read_text() == "told\nwarned\n"


def test_a_directory_that_is_gone_is_heard_of(project: ScheduleProject) -> None:
    plan = plan_of(Location.of(project.state), Slots(120))
    project.directory.rename(project.home / "elsewhere")
    done = as_cron(shell_command(plan))
    assert done.returncode
    assert "re_render_state" not in done.stdout
    assert "50%" in done.stderr


def test_installed_twice_is_installed_once_and_leaves_no_trace(project: ScheduleProject) -> None:
    project.crontab.write_bytes(OTHERS)
    first = project.schedule("--every", "5m", "--install").stdout
    installed = project.crontab.read_bytes()
    again = project.schedule("--every", "5m", "--install").stdout
    assert first.startswith("Installed: burst-")
    assert again.startswith("Installed before, unchanged: burst-")
    assert project.crontab.read_bytes() == installed
    assert installed.startswith(OTHERS + b"\n# >>> burst schedule")
    project.schedule("--every", "10m", "--install")
    assert project.crontab.read_bytes().count(b"burst schedule") == 2
    assert b"\n*/10 * * * * cd " in project.crontab.read_bytes()
    assert project.schedule("--remove").stdout.startswith("Removed: burst-")
    assert project.crontab.read_bytes() == OTHERS + b"\n"
    assert project.schedule("--remove").stdout.startswith("Nothing is scheduled for ")


def test_two_states_have_a_schedule_each(project: ScheduleProject) -> None:
    project.schedule("--every", "5m", "--install")
    other = ScheduleProject(project.home, project.directory / "b")
    other.directory.mkdir()
    other.state.write_text("{}")
    other.schedule("--every", "2h", "--install")
    assert project.crontab.read_text().count(">>> burst schedule") == 2
    project.schedule("--remove")
    assert ">>> burst schedule burst-b-" in project.crontab.read_text()
    assert "*/5" not in project.crontab.read_text()


@pytest.mark.parametrize(
    "damaged",
    ["# >>> burst schedule n: x\n", "# <<< burst schedule n\n", "# <<< burst schedule n\n# >>> burst schedule n: x\n"],
)
def test_a_marker_without_the_other_is_refused(damaged: str) -> None:
    from orchestrator.errors import UsageError

    with pytest.raises(UsageError, match="crontab -e"):
        with_entry(f"0 4 * * * true\n{damaged}1 1 * * * mine\n", "n", "")


def test_a_crontab_that_cannot_be_read_is_left(project: ScheduleProject) -> None:
    (project.home / "bin/crontab").write_text("#!/bin/sh\necho 'you are not allowed' >&2; exit 1\n")
    done = project.schedule("--every", "5m", "--install", code=2)
    assert "`crontab -l` failed: you are not allowed" in done.stderr


def test_secrets_stand_in_a_file_that_only_its_owner_reads(
    project: ScheduleProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = 'a "b" $c `d` \\e\'f'
    init_state(project.state, [], overrides=Overrides(headers={"Authorization": "env:TOKEN"}))
    assert "TOKEN is not set here" in project.schedule("--every", "5m").stderr
    monkeypatch.setenv("TOKEN", secret)
    printed = project.schedule("--every", "5m", "--install")
    (path,) = (project.home / ".config/burst/schedules").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret not in printed.output + project.crontab.read_text()
    shown = as_cron(f"set -a && . '{path}' && set +a && printenv TOKEN")
    assert shown.stdout == f"{secret}\n"
    project.schedule("--remove")
    assert not path.exists()


def test_a_password_in_an_address_goes_into_that_file_alone(project: ScheduleProject) -> None:
    location = Location.of("postgresql://me:s3cret@db.local/burst")
    plan = plan_of(location, Slots(120), environment=Path("/x.env"), state_in_environment=True)
    assert "s3cret" not in shell_command(plan) + plan.state + plan.name
    assert "--state" not in plan.command
    assert written({"BURST_STATE": str(location.url)}).splitlines()[1:] == [f'BURST_STATE="{location.url}"']


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "choose when"),
        (("--every", "7m"), "cron cannot start a run every 7m"),
        (("--at", "22:00"), "write two times of day"),
        (("--every", "5m", "--system"), "--system goes with --format systemd"),
        (("--every", "5m", "--remove"), "--remove goes with"),
        (("--every", "5m", "--", "--max-seconds", "9"), "--max-seconds: the schedule sets it"),
        (("--every", "5m", "--", "--header", "X: y"), "use 'X: env:VARIABLE'"),
        (("--every", "5m", "--", "--nonsense"), "No such option"),
        (("--every", "5m", "--log-file", "a\\b.log"), "backslash"),
        (("--every", "5m", "--log-file", "a\nb.log"), "takes in one line"),
        (("--every", "5m", "--log-file", "a" * 240 + "/" + "b" * 240), "some crons cut it"),
    ],
)
def test_what_is_refused(project: ScheduleProject, arguments: tuple[str, ...], message: str) -> None:
    done = project.schedule(*arguments, code=2)
    assert message in done.stderr
    assert not project.crontab.exists()


def test_without_a_state_nothing_is_scheduled(project: ScheduleProject) -> None:
    project.state.unlink()
    assert "there is no state" in project.schedule("--every", "5m", "--install", code=2).stderr


def test_further_options_of_run(project: ScheduleProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.home)
    _, line, _ = project.schedule(
        "--every", "5m", "--at", "22:00-07:00", "--", "-n", "4", "--output", "here"
    ).stdout.splitlines()
    command = command_of(line)
    assert command.startswith(f"cd {project.home} && ")
    assert " --max-seconds 290 --between 22:00-07:00 --quiet -n 4 --output here >>" in command
    assert "auto" not in command
