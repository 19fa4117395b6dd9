"""systemd: a service that is one run, and a timer that starts it; never twice at a time."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from orchestrator.errors import UsageError, located
from orchestrator.formatting import one_line
from orchestrator.host_config import config_home
from orchestrator.scheduling.plan import QUIET_CODES, Plan

_SYSTEM = Path("/etc/systemd/system")
_SECONDS = 30


def unit_directory(*, system: bool) -> Path:
    """Where units of this user, or of the system, belong."""
    return _SYSTEM if system else config_home() / "systemd" / "user"


def units(plan: Plan, *, user: str | None = None) -> dict[str, str]:
    """File name → text. `user`: whose runs they are, in units of the system."""
    return {f"{plan.name}.service": _service(plan, user), f"{plan.name}.timer": _timer(plan)}


def _service(plan: Plan, user: str | None) -> str:
    waits = "Wants=network-online.target\nAfter=network-online.target\n" if user is not None else ""
    who = f"User={user}\n" if user is not None else ""
    variables = f"EnvironmentFile={_specifiers(str(plan.environment))}\n" if plan.environment is not None else ""
    return f"""[Unit]
Description=burst run on {_specifiers(one_line(plan.state))}
{waits}
[Service]
Type=oneshot
{who}WorkingDirectory={_specifiers(str(plan.directory))}
{variables}ExecStart={" ".join(map(_word, plan.command))}
# Some items failed, not now (the next start tries again), or ended by a signal.
SuccessExitStatus={" ".join(map(str, QUIET_CODES))}
KillMode=mixed
TimeoutStopSec=20
"""


def _timer(plan: Plan) -> str:
    calendar = plan.slots.calendar()
    when = f"OnCalendar={calendar}\nPersistent=true"
    if calendar is None:
        when = f"OnActiveSec=0\nOnUnitActiveSec={plan.slots.every_seconds}s"
    hours = f", within {plan.slots.hours}" if plan.slots.hours is not None else ""
    return f"""[Unit]
Description=Every {plan.slots.text}{hours}: burst run on {_specifiers(one_line(plan.state))}

[Timer]
{when}
AccuracySec=1s

[Install]
WantedBy=timers.target
"""


def _word(text: str) -> str:
    """One argument of a command line in a unit."""
    text = _specifiers(text).replace("$", "$$")
    if re.fullmatch(r"[\w@%+=:,./$-]+", text, re.ASCII):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _specifiers(text: str) -> str:
    return text.replace("%", "%%")


def write_units(files: Mapping[Path, str]) -> bool:
    """Whether any was not there as it is now. Errors: UsageError."""
    changed = False
    for path, text in files.items():
        with located(path, OSError, into=UsageError):
            if path.is_file() and path.read_text() == text:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f"{path.name}.tmp")
            temporary.write_text(text)
            os.replace(temporary, path)
        changed = True
    return changed


def remove_units(directory: Path, name: str) -> bool:
    """Whether any was there. Errors: UsageError."""
    found = [path for path in (directory / f"{name}.timer", directory / f"{name}.service") if path.exists()]
    for path in found:
        with located(path, OSError, into=UsageError):
            path.unlink()
    return bool(found)


def enabling(name: str, *, system: bool) -> list[list[str]]:
    return [_systemctl(system, "daemon-reload"), _systemctl(system, "enable", "--now", f"{name}.timer")]


def disabling(name: str, *, system: bool) -> list[str]:
    return _systemctl(system, "disable", "--now", f"{name}.timer")


def reloading(*, system: bool) -> list[str]:
    return _systemctl(system, "daemon-reload")


def ordered(commands: list[list[str]]) -> Iterator[str]:
    """Run these; yields those that failed, with the reason, as somebody types them."""
    for command in commands:
        reason = "systemctl is not installed"
        if shutil.which(command[0]) is not None:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
            if done.returncode == 0:
                continue
            reason = one_line(done.stderr.strip()) or f"exit code {done.returncode}"
        yield f"`{' '.join(command)}` failed ({reason}): run it where systemd runs"


def log_command(name: str, *, system: bool) -> str:
    """What shows the log of its runs."""
    return f"journalctl {'' if system else '--user '}-u {name}"


def _systemctl(system: bool, *arguments: str) -> list[str]:
    return ["systemctl", *([] if system else ["--user"]), *arguments]
