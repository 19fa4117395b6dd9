"""`burst serve` as a process that can be killed, and its API as its pages call it."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import requests

from state.item import Item
from state.open_store import open_store
from support.documents import checked
from support.launch import __file__ as LAUNCHER
from support.projects import ROOT, Graph, Process, called, small_template
from support.waiting import wait_until

_ANSWER_SECONDS = 30.0
ENDED = ("complete", "failed", "cancelled")


class Served:
    """`burst serve` on one port, for states in `home`. A context manager."""

    def __init__(
        self,
        home: Path,
        *,
        servers: Sequence[str],
        states: int = 1,
        template: Graph | None = None,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.home = home
        self.output = home / "output"
        self.states = [home / f"state-{number}.json" for number in range(states)]
        self._template = home / "small.json"
        self._template.write_text(json.dumps(template or small_template()))
        self._tools = [
            *(word for server in servers for word in ("--server", server)),
            *("--template", str(self._template), "--output", str(self.output), *options),
        ]
        self.env = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
        self._port = "0"
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def state(self) -> Path:
        """The first state."""
        return self.states[0]

    def start(self) -> None:
        """Start listening, always at the same address."""
        command = [sys.executable, LAUNCHER, "--fork-bursts", "--", "serve", "--json", "--port", self._port]
        command += self._tools
        command += [word for state in self.states for word in ("--state", str(state))]
        self._process = Process(command, cwd=self.home, env=self.env)
        wait_until(lambda: "\n" in self._process.out_so_far() or not self._process.lives(), what="the URL")
        assert self._process.lives(), self._process.end().err
        self.printed_url: str = checked(json.loads(self._process.out_so_far()))["url"]
        self.url = self.printed_url.partition("?")[0].rstrip("/")
        self._port = self.url.rpartition(":")[2]

    def kill(self) -> None:
        """SIGKILL. A burst that it started continues."""
        self.end(signal.SIGKILL)

    def end(self, number: signal.Signals) -> int:
        """Send a signal; returns the exit code."""
        return self._process.stop(number).code

    def close(self) -> None:
        """Stop it and its bursts, if still running."""
        self.end(signal.SIGTERM)

    def burst(self, command: str, *words: str) -> dict[str, Any]:
        """`burst COMMAND WORDS` on its first state, called in this process; returns the JSON output."""
        line = (command, *words, "--json", "--state", str(self.state), *self._tools)
        ended = called(line, cwd=self.home, env=self.env)
        assert ended.code == 0, ended.err
        return ended.report

    # Calls as pages of this server make them

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        """A call with the Origin of this server; any response is accepted."""
        headers = {"Origin": self.url} | options.pop("headers", {})
        return requests.request(method, self.url + path, headers=headers, timeout=_ANSWER_SECONDS, **options)

    def answer(self, method: str, path: str, **options: Any) -> Any:
        """The JSON of a call that must return 200."""
        response = self.call(method, path, **options)
        assert response.status_code == 200, response.text
        return response.json()

    def begin(self, prompt: str = "a lighthouse", *, count: int = 2, state: int = 0, **said: Any) -> str:
        """Start a batch; returns its id. `said`: further fields of the BatchRequest."""
        body = {"batchRequest": {"prompt": prompt, "batchCount": count, **said}, "state": state}
        batch_id: str = self.answer("POST", "/api/batches", json=body)["batchId"]
        return batch_id

    def progress(self, batch_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.answer("GET", f"/api/batches/{batch_id}/progress")
        return found

    def wait_for_end(self, batch_id: str) -> dict[str, Any]:
        """Wait until the batch has ended; returns its progress."""

        def ended() -> dict[str, Any] | None:
            found = self.progress(batch_id)
            return found if found["progress"]["status"] in ENDED else None

        found = wait_until(ended, what=f"the end of {batch_id}")
        assert found is not None
        return found

    def wait_for_completed(self, batch_id: str, count: int) -> None:
        """Wait until this many of its images exist."""
        wait_until(
            lambda: self.progress(batch_id)["progress"]["completedImages"] >= count, what=f"{count} of {batch_id}"
        )

    def made(self, prompt: str = "a lighthouse", **said: Any) -> str:
        """Make a batch and wait for its end; returns its id."""
        batch_id = self.begin(prompt, **said)
        self.wait_for_end(batch_id)
        return batch_id

    # Files

    def items(self, batch_id: str, *, state: int = 0) -> list[Item]:
        """The items of the batch as a reader sees them, in order."""
        store = open_store(self.states[state], read_only=True)
        try:
            found = [item for item in store.items() if item.batch == batch_id]
        finally:
            store.close()
        return sorted(found, key=lambda item: item.index or 0)

    def cancel_all(self) -> None:
        """Cancel every batch that has not ended, and wait until it has."""
        for state in self.states:
            if not state.exists():
                continue
            store = open_store(state, read_only=True)
            try:
                left = {item.batch for item in store.items() if str(item.status) in ("pending", "submitted")}
            finally:
                store.close()
            for batch_id in filter(None, left):
                self.answer("POST", f"/api/batches/{batch_id}/cancel")
                self.wait_for_end(batch_id)
