"""One client in one scenario: disturbed, started again as a user would, and then what became of the job."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import requests
from support.real_server import RealServer
from support.waiting import wait_until

from tests.peers import job
from tests.peers.client_process import ClientProcess
from tests.peers.faulty_proxy import FaultyProxy
from tests.peers.scenarios import Scenario

MOST_STARTS = 20
STALL_SECONDS = 60.0
"""After that long without a new file on either side, a user takes a client for hung, kills it and starts it again."""
_LOOK_SECONDS = 0.03
_START_AGAIN_SECONDS = 0.3
_DRAIN_SECONDS = 120.0


@dataclass(frozen=True)
class Outcome:
    """`finished`: the last start ended with 0. `hung`: how often it was taken for hung. Of killed starts, CPU and peak
    memory are known up to the kill. `seconds`: from the first start to the last end."""

    finished: bool
    starts: int
    hung: int
    seconds: float
    cpu_seconds: float
    peak_mib: float
    counts: job.Counts
    last_words: str

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "counts": {**asdict(self.counts), "twice": self.counts.twice}}


class Trial:
    """`command`: with the address of the server or the proxy as its last argument, which is put there."""

    def __init__(
        self,
        scenario: Scenario,
        server: RealServer,
        *,
        command: Sequence[str],
        env: Mapping[str, str],
        folder: Path,
    ) -> None:
        self._scenario = scenario
        self._server = server
        self._command = list(command)
        self._env = env
        self._folder = folder
        self._kills = dict(scenario.kills_at)
        self._server_kills = dict(scenario.server_kills_at)
        self._starts: list[ClientProcess] = []
        self._hung = 0
        self._answered_holds = 0
        self._seen = (0, 0)
        self._seen_at = 0.0
        self._look_again_at = 0.0

    def run(self) -> Outcome:
        shutil.rmtree(self._folder, ignore_errors=True)
        job.write(self._folder)
        self._server.wipe_outputs()
        began = time.monotonic()
        with FaultyProxy(self._server.url, self._scenario.faults) as proxy:
            url = proxy.url if self._scenario.faults else self._server.url
            try:
                self._until_done(proxy, url)
            finally:
                self._starts[-1].kill()
            seconds = time.monotonic() - began
            proxy.release()
            self._drain()
        return self._outcome(seconds)

    def _until_done(self, proxy: FaultyProxy, url: str) -> None:
        client = self._start(url)
        while True:
            if client.ended:
                if client.exit_code == 0 or len(self._starts) >= MOST_STARTS:
                    return
                time.sleep(_START_AGAIN_SECONDS)
                client = self._start(url)
            self._disturb(proxy, client)
            time.sleep(_LOOK_SECONDS)

    def _start(self, url: str) -> ClientProcess:
        log = self._folder.with_suffix(".log")
        client = ClientProcess([*self._command, url], folder=self._folder, env=self._env, log=log)
        self._starts.append(client)
        self._seen_at = time.monotonic()
        return client

    def _disturb(self, proxy: FaultyProxy, client: ClientProcess) -> None:
        renders = sum(len(files) for _, _, files in os.walk(self._server.output))
        if (wait := _due(self._kills, renders)) is not None:
            time.sleep(wait)
            client.kill()
        if (wait := _due(self._server_kills, renders)) is not None:
            time.sleep(wait)
            self._server.kill()
            self._server.start()
            self._seen_at = time.monotonic()
        if proxy.held > self._answered_holds:
            self._answered_holds = proxy.held
            client.kill()
            proxy.release()
        self._end_what_hangs(client, renders)

    def _end_what_hangs(self, client: ClientProcess, renders: int) -> None:
        now = time.monotonic()
        if now < self._look_again_at:
            return
        self._look_again_at = now + 1
        seen = (renders, len(_pngs(self._folder)))
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
        elif now - self._seen_at > STALL_SECONDS and not client.ended:
            self._hung += 1
            client.kill()

    def _drain(self) -> None:
        """Until the server has rendered what clients have left in its queue."""

        def empty() -> bool:
            queue = requests.get(f"{self._server.url}/queue", timeout=10).json()
            return not queue["queue_running"] and not queue["queue_pending"]

        wait_until(empty, what="the queue is empty", seconds=_DRAIN_SECONDS)

    def _outcome(self, seconds: float) -> Outcome:
        log = self._folder.with_suffix(".log")
        said = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return Outcome(
            finished=self._starts[-1].exit_code == 0,
            starts=len(self._starts),
            hung=self._hung,
            seconds=round(seconds, 2),
            cpu_seconds=round(sum(one.cpu_seconds for one in self._starts), 2),
            peak_mib=round(max(one.peak_bytes for one in self._starts) / 2**20, 1),
            counts=job.count(_pngs(self._folder), _pngs(self._server.output)),
            last_words=said[-1][:300] if said else "",
        )


def _due(moments: dict[int, float], renders: int) -> float | None:
    """The seconds to wait first, if the next moment has come; it is used up."""
    if moments and renders >= min(moments):
        return moments.pop(min(moments))
    return None


def _pngs(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.png") if path.is_file()]
