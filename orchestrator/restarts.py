"""Restarting a server by the command that this host's configuration has for it: seldom, and by one run at a time."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from orchestrator.clock import Clock
from orchestrator.errors import BurstError
from orchestrator.host_commands import run_command
from orchestrator.host_config import HostConfig, RestartRule, host_state_directory, load_host_config
from orchestrator.log_lines import local_time
from orchestrator.servers import Server, canonical_name
from state.disk import Disk
from state.write_lock import WriteLock

log = logging.getLogger("burst")
_HOUR = timedelta(hours=1)
LOG_NAME = "restarts.jsonl"
OUTPUT_NAME = "restart.log"
"""What the last command wrote."""


@dataclass(frozen=True)
class Restart:
    """A server that was restarted just now, or by another run shortly before."""

    seconds: float
    """How long it may still take to answer."""
    is_new: bool


class Restarts:
    """Of one run; any thread may use it. When a server was last restarted is known to all runs of this host."""

    def __init__(self, config: HostConfig, *, clock: Clock, directory: Path | None = None) -> None:
        """`directory`: where that is kept."""
        self._config = config
        self._clock = clock
        self._directory = directory or host_state_directory()
        self._guard = threading.Lock()

    @classmethod
    def of_this_host(cls, clock: Clock) -> Restarts:
        """Errors: SettingsError."""
        return cls(load_host_config(), clock=clock)

    def has_rule(self, server: Server, names: Iterable[str] = ()) -> bool:
        return self._config.rule_of(server, names) is not None

    def restart(
        self, server: Server, reason: str, *, names: Iterable[str] = (), halt: threading.Event | None = None
    ) -> Restart | None:
        """Run this host's command for the server, and wait for the command's end.

        None where there is none, where it failed, or where the server was restarted as often as it may be in an hour.
        Not run again within the time that a restart takes. `halt`: the run ends; the command goes on by itself.
        `names`: what else the server is called. Raises nothing.
        """
        rule = self._config.rule_of(server, names)
        if rule is None:
            return None
        try:
            with self._guard:
                earlier = self._noted(server, rule, reason)
                if earlier is not None:
                    return earlier if earlier.seconds > 0 else None
            log.info("%s is restarted by this host's command: %s", server.shown, reason)
            return self._run(rule, server, reason, halt or threading.Event())
        except (BurstError, OSError) as error:
            log.warning("%s could not be restarted: %s", server.shown, error)
            return None

    def _noted(self, server: Server, rule: RestartRule, reason: str) -> Restart | None:
        """Note that it is restarted now. What keeps it from that: a restart shortly before, or too many (0 seconds)."""
        disk, now = Disk(), self._clock.now()
        disk.make_directory(self._directory)
        with WriteLock(self._directory, disk=disk, name="restarts.lock"):
            times = self._times(server, since=now - _HOUR)
            if times and (now - times[-1]).total_seconds() < rule.start_seconds:
                return Restart(rule.start_seconds - (now - times[-1]).total_seconds(), is_new=False)
            if len(times) >= rule.restarts_an_hour:
                again = local_time(times[-rule.restarts_an_hour] + _HOUR)
                log.warning("%s: restarted %d times in an hour; not again before %s", server.shown, len(times), again)
                return Restart(0.0, is_new=False)
            with disk.append_to(self._directory / LOG_NAME, create=True) as handle:
                entry = {"server": canonical_name(server.url), "at": now.isoformat(), "reason": reason}
                handle.write(json.dumps(entry).encode() + b"\n")
                handle.sync()
        return None

    def _times(self, server: Server, *, since: datetime) -> list[datetime]:
        """When this host restarted it, the last one last. Times to come, of a clock that was set back, do not count."""
        try:
            lines = (self._directory / LOG_NAME).read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return []
        found = []
        for line in lines:
            try:
                entry = json.loads(line)
                at = datetime.fromisoformat(entry["at"])
                if entry["server"] == canonical_name(server.url) and since < at <= self._clock.now():
                    found.append(at)
            except (ValueError, KeyError, TypeError):
                continue
        return sorted(found)

    def _run(self, rule: RestartRule, server: Server, reason: str, halt: threading.Event) -> Restart | None:
        output = self._directory / OUTPUT_NAME
        output.unlink(missing_ok=True)
        about = {"BURST_SERVER": server.name, "BURST_SERVER_URL": server.url, "BURST_REASON": reason}
        ended = run_command(
            rule.restart,
            output=output,
            environment=os.environ | about,
            limit_seconds=rule.timeout_seconds,
            clock=self._clock,
            halt=halt,
        )
        if ended.problem is not None:
            advice = "; it must not stay in the foreground" if ended.was_killed else ""
            log.warning("%s: the restart command %s%s (output: %s)", server.shown, ended.problem, advice, output)
            return None
        return Restart(rule.start_seconds, is_new=True)
