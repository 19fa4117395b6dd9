"""How a state in a database serves 1, 10, 100 and 400 servers: the cost of each claim, and who gets what.

    python -m tests.benchmarks.many_servers [--servers 1,10,100] [--items 20] [--window 2] [--markdown]
                                            [--state sqlite|postgresql]

Servers and time are simulated, the store is the real one, with a lease for each server: a server has `--window` prompts
at a time, renders one image after another in 1.5 to 6 s, and its run claims, submits and completes as a burst does, and
renews its lease. A fifth of the items can be rendered by every other server alone. `--items`: for each server.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import json
import random
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from support.hand_clock import HandClock  # noqa: E402

from state.change import Change  # noqa: E402
from state.item import Item, OutputRecord, Status  # noqa: E402
from state.lease import Lease  # noqa: E402
from state.open_store import open_store  # noqa: E402
from state.sql.change_detector import POLL_SECONDS  # noqa: E402

MEAN_SECONDS = 3.0
FASTEST_SECONDS, SLOWEST_SECONDS = 1.5, 6.0
RENEW_SECONDS = 10.0
ANYWHERE, SPECIAL = "anywhere", "special"


@dataclass
class Server:
    """One simulated server, and the run that works on it."""

    name: str
    lease: Lease
    seconds: float
    """For each image."""
    is_special: bool
    """It can render every item."""
    queue: deque[Item] = field(default_factory=deque)
    busy_seconds: float = 0.0
    busy_since: float | None = None
    renewed_at: float = 0.0


class Look(NamedTuple):
    """What one run makes of 2 s in which others were at work."""

    changes: int
    """Of items, by all runs."""
    read: int
    """Rows: keys and recipes."""
    cpu_seconds: float
    """Of this process; that of PostgreSQL is another one."""
    wall_seconds: float


@dataclass
class Costs:
    """Seconds of CPU that each call of the store took: what else runs on the machine does not count."""

    claim: list[float] = field(default_factory=list)
    submit: list[float] = field(default_factory=list)
    complete: list[float] = field(default_factory=list)
    renew: list[float] = field(default_factory=list)

    @contextlib.contextmanager
    def of(self, name: str) -> Iterator[None]:
        began = time.process_time()
        yield
        getattr(self, name).append(time.process_time() - began)


class Farm:
    """`run` steps all servers until every item is claimed: there is work for all of them until then."""

    def __init__(self, address: str, *, servers: int, items: int, window: int, seed: int = 1) -> None:
        self.clock = HandClock()
        self.costs = Costs()
        self._window = window
        self._draw = random.Random(seed)
        self._store = open_store(address, create=True, clock=self.clock)
        self._total = servers * items
        self._store.add([self._item(number) for number in range(self._total)])
        self.servers = [self._server(number) for number in range(servers)]
        self._observer = open_store(address, clock=self.clock)
        self._mark = self._observer.changes().mark
        self._changed = 0
        """How many changes of items there were since the last look."""
        self._looks: list[Look] = []
        self._order: list[int] = []
        """The numbers of the items in the order in which they were claimed."""

    def _item(self, number: int) -> Item:
        recipe = SPECIAL if self._draw.random() < 0.2 else ANYWHERE
        return Item(key=f"{number:07}", status=Status.PENDING, recipe=recipe, prompt_text="a fox")

    def _server(self, number: int) -> Server:
        lease = self._store.lease()
        lease.renew_no_more()  # type: ignore[attr-defined]
        seconds = self._draw.triangular(FASTEST_SECONDS, SLOWEST_SECONDS, 1.5)
        return Server(f"gpu{number}", lease, seconds, is_special=number % 2 == 0)

    def run(self) -> dict[str, Any]:
        """The figures."""
        due = [(self._draw.random() * 0.5, at) for at in range(len(self.servers))]
        heapq.heapify(due)
        began = time.process_time()
        while len(self._order) < self._total:
            self.clock.seconds, at = heapq.heappop(due)
            if self.clock.seconds >= POLL_SECONDS * (len(self._looks) + 1):
                self._look()
            server = self.servers[at]
            self._step(server)
            heapq.heappush(due, (self.clock.seconds + (server.seconds if server.queue else 0.5), at))
        took = time.process_time() - began
        self._store.close()
        self._observer.close()
        return self._figures(took)

    def _look(self) -> None:
        """As every run does that others work beside."""
        keys = {item.key for item in self.servers[0].queue}
        cpu, wall = time.process_time(), time.perf_counter()
        news = self._observer.news(self._mark, of=keys)
        self._mark = news.mark
        read = len(news.keys) + len(news.recipes)
        self._looks.append(Look(self._changed, read, time.process_time() - cpu, time.perf_counter() - wall))
        self._changed = 0

    def _step(self, server: Server) -> None:
        """An image is ready, or the server looks for work."""
        lease = server.lease
        if self.clock.seconds - server.renewed_at >= RENEW_SECONDS:
            with self.costs.of("renew"):
                lease._look(renew=True)  # type: ignore[attr-defined]
            server.renewed_at = self.clock.seconds
        if server.busy_since is not None:
            item = server.queue.popleft()
            output = OutputRecord(path=f"{item.key}.png", bytes=1, sha256="0" * 64)
            at = self.clock.now()
            with self.costs.of("complete"):
                lease.apply(
                    [
                        Change(
                            item.key, Status.SUBMITTED, lambda now: now.complete(outputs=(output,), at=at, seconds=3.0)
                        )
                    ]
                )
            self._changed += 1
            lease.release([item.key])
            server.busy_seconds += self.clock.seconds - server.busy_since
        self._refill(server)
        server.busy_since = self.clock.seconds if server.queue else None

    def _refill(self, server: Server) -> None:
        room = self._window - len(server.queue)
        without = [] if server.is_special else [SPECIAL]
        with self.costs.of("claim"):
            claimed = server.lease.claim(room, without=without, accept=lambda item: self._fits(server, item))
        if not claimed:
            return
        self._order += [int(item.key) for item in claimed]
        at = self.clock.now()

        def intent(item: Item) -> Change:
            return Change(
                item.key,
                Status.PENDING,
                lambda now: now.submit(prompt_id=f"p{now.key}", server=server.name, at=at, fingerprint="f"),
            )

        with self.costs.of("submit"):
            server.queue += server.lease.apply([intent(item) for item in claimed])
        self._changed += len(claimed)

    def _fits(self, server: Server, item: Item) -> bool:
        return server.is_special or item.recipe != SPECIAL

    def _figures(self, took: float) -> dict[str, Any]:
        seconds = self.clock.seconds
        ideal = sum(1 / server.seconds for server in self.servers)
        shares = [_busy_seconds(server, seconds) / seconds for server in self.servers]
        at_work = sum(share / server.seconds for share, server in zip(shares, self.servers, strict=True))
        return {
            "servers": len(self.servers),
            "items": self._total,
            "images a second": round(at_work, 2),
            "of what the servers can do": round(at_work / ideal, 3),
            "claim ms, median": _milliseconds(statistics.median(self.costs.claim)),
            "claim ms, 99 %": _milliseconds(sorted(self.costs.claim)[int(len(self.costs.claim) * 0.99)]),
            "submit ms": _milliseconds(statistics.median(self.costs.submit)),
            "complete ms": _milliseconds(statistics.median(self.costs.complete)),
            "renewal ms": _milliseconds(statistics.median(self.costs.renew)) if self.costs.renew else None,
            "changes of items in 2 s": statistics.median(look.changes for look in self._looks),
            "rows that one run reads of them": statistics.median(look.read for look in self._looks),
            "ms for that, CPU": _milliseconds(statistics.median(look.cpu_seconds for look in self._looks)),
            "ms for that, clock": _milliseconds(statistics.median(look.wall_seconds for look in self._looks)),
            "store ms an item": _milliseconds((took - sum(look.cpu_seconds for look in self._looks)) / self._total),
            "busy share of a server, least": round(min(shares), 3),
            "busy share of a server, median": round(statistics.median(shares), 3),
            "places that an item was overtaken by, most": _most_overtaken(self._order),
        }


def _busy_seconds(server: Server, now: float) -> float:
    return server.busy_seconds + (now - server.busy_since if server.busy_since is not None else 0.0)


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 2)


def _most_overtaken(order: list[int]) -> int:
    """How many places an item was moved back at most, by others that were claimed before their turn."""
    claimed_at = {number: at for at, number in enumerate(order)}
    # In the order of addition: how many later ones were claimed before it.
    return max(max(0, claimed_at[number] - number) for number in claimed_at)


@contextlib.contextmanager
def address_of(kind: str) -> Iterator[str]:
    """An empty database."""
    if kind == "postgresql":
        from support.postgres import fresh_database

        yield fresh_database()
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/state.db"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", default="1,10,100,400")
    parser.add_argument("--items", type=int, default=20, help="for each server")
    parser.add_argument("--window", type=int, default=2)
    parser.add_argument("--state", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    rows = []
    for servers in map(int, options.servers.split(",")):
        with address_of(options.state) as address:
            items = max(options.items, 200 // servers)
            rows.append(Farm(address, servers=servers, items=items, window=options.window).run())
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    if options.markdown:
        print("| " + " | ".join(["", *(str(row["servers"]) for row in rows)]) + " |")
        print("|---" * (len(rows) + 1) + "|")
        for name in list(rows[0])[1:]:
            print("| " + " | ".join([name, *(str(row[name]) for row in rows)]) + " |")


if __name__ == "__main__":
    main()
