"""Cron: one line between two markers in this user's crontab, and nothing else of it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess

from orchestrator.errors import UsageError
from orchestrator.formatting import one_line
from orchestrator.scheduling.plan import QUIET_CODES, Plan

_LONGEST_LINE = 990
"""Bytes. Some crons cut a line at 999."""
_SECONDS = 30


def shell_command(plan: Plan) -> str:
    """For `/bin/sh`, which cron starts without most of the environment.

    What the run prints is in the log; cron hears of it only where a person must do something.
    """
    log, codes = shlex.quote(str(plan.log)), "|".join(map(str, QUIET_CODES))
    variables = (
        f"set -a && . {shlex.quote(str(plan.environment))} && set +a && " if plan.environment is not None else ""
    )
    run = f"{shlex.join(plan.command)} >>{log} 2>&1"
    otherwise = f"{{ c=$?; case $c in {codes}) ;; *) tail -n 5 {log}; exit $c;; esac; }}"
    return f"cd {shlex.quote(str(plan.directory))} && {variables}{{ {run} || {otherwise}; }}"


def entry(plan: Plan) -> str:
    """Our lines. Errors: UsageError for what cron cannot express."""
    command = shell_command(plan)
    if "\\" in command:
        raise UsageError("a path or an argument has a backslash, which crons read differently; use systemd")
    line = f"{plan.slots.cron()} {command.replace('%', chr(92) + '%')}"
    if len(line.encode()) > _LONGEST_LINE:
        raise UsageError(f"the line for cron has {len(line.encode())} bytes, and some crons cut it; use systemd")
    begin, end = _markers(plan.name)
    return f"{begin}: {one_line(plan.state)}\n{line}\n{end}\n"


def with_entry(crontab: str, name: str, lines: str) -> str:
    """The crontab with these lines in place of what this name had, or at the end. Empty `lines` take it away.

    Errors: UsageError where one of its markers is missing.
    """
    begin, end = map(re.escape, _markers(name))
    marks = len(re.findall(rf"^{begin}\b", crontab, re.MULTILINE)), len(re.findall(rf"^{end}$", crontab, re.MULTILINE))
    ours = re.compile(rf"^{begin}\b[^\n]*\n(?:[^\n]*\n){{0,3}}?{end}(?:\n|\Z)", re.MULTILINE)
    found = ours.findall(crontab)
    if marks != (len(found), len(found)):
        raise UsageError(
            f"your crontab has only one of the two lines that mark {name}: delete it with `crontab -e`, then repeat"
        )
    if found:
        first = True

        def replaced(_match: re.Match[str]) -> str:
            nonlocal first
            now, first = (lines if first else ""), False
            return now

        return ours.sub(replaced, crontab)
    gap = "\n" if lines and crontab and not crontab.endswith("\n") else ""
    return crontab + gap + lines


def has_entry(crontab: str, name: str) -> bool:
    return _markers(name)[0] in crontab


def read_crontab() -> str:
    """This user's; empty where there is none. Errors: UsageError."""
    done = _crontab("-l")
    if done.returncode == 0:
        return done.stdout.decode(errors="surrogateescape")
    if b"no crontab" in done.stderr.lower():
        return ""
    raise UsageError(f"`crontab -l` failed: {_reason(done)}")


def write_crontab(text: str) -> None:
    """Errors: UsageError, and the old one stays."""
    done = _crontab("-", given=text.encode(errors="surrogateescape"))
    if done.returncode:
        raise UsageError(f"`crontab -` failed, nothing was changed: {_reason(done)}")


def is_there() -> bool:
    return shutil.which("crontab") is not None


def _crontab(argument: str, *, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    if not is_there():
        raise UsageError("this host has no `crontab`: install cron (Debian: `apt install cron`), or use systemd")
    return subprocess.run(
        ["crontab", argument],
        input=given,
        capture_output=True,
        timeout=_SECONDS,
        env={**os.environ, "LC_ALL": "C"},
    )


def _reason(done: subprocess.CompletedProcess[bytes]) -> str:
    return one_line(done.stderr.decode(errors="replace").strip()) or f"exit code {done.returncode}"


def _markers(name: str) -> tuple[str, str]:
    return f"# >>> burst schedule {name}", f"# <<< burst schedule {name}"
