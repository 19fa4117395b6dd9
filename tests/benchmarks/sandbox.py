"""`burst sandbox` as a process of its own, and what it saw."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import requests

from tests.benchmarks.child import burst_command, environment
from tests.benchmarks.figures import Interval

_END_SECONDS = 10.0


class SandboxProcess:
    """A fresh sandbox. A context manager: it ends by SIGTERM. Every question to it is left out of its counts."""

    def __init__(self, directory: Path, *, seconds_per_prompt: float, options: Sequence[str] = ()) -> None:
        self._command = burst_command("sandbox", "--json", "--port", "0", "--directory", str(directory / "server"))
        self._command += ["--seconds-per-prompt", str(seconds_per_prompt), *options]
        self.url = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, env=environment(), stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = json.loads(self._process.stdout.readline())["url"]
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        try:
            self._process.communicate(timeout=_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def counts(self) -> dict[str, Any]:
        """See orchestrator/sandbox/counts.py."""
        return self._ask("/sandbox/counts")

    def requests(self) -> int:
        """How many came in, of every kind."""
        return sum(self.counts()["requests"].values())

    def rendered_again(self) -> int:
        """How often a prompt was rendered for an item that had one already; only for clients that name the item."""
        return sum(times - 1 for times in self.counts()["rendered_by_item"].values())

    def intervals(self) -> list[Interval]:
        """When each prompt ran, in seconds since the epoch, as its history says; to the millisecond."""
        return sorted(_interval(entry["status"]["messages"]) for entry in self._ask("/history").values())

    def first_begin(self) -> float:
        """When it took the first prompt, in seconds since the epoch: the POST came within the millisecond before."""
        return self.intervals()[0][0]

    def _ask(self, path: str) -> dict[str, Any]:
        answer = requests.get(self.url + path, timeout=30)
        answer.raise_for_status()
        document: dict[str, Any] = answer.json()
        return document


def _interval(messages: list[tuple[str, dict[str, Any]]]) -> Interval:
    at = {event: about["timestamp"] / 1000 for event, about in messages}
    return at["execution_start"], at["execution_success"]
