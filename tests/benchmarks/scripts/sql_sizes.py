"""A claim of 16 and a checkpoint in a small and in a large SQL state, one of each in turn, in changing order.

    python -m tests.benchmarks.scripts.sql_sizes FEW MANY TIMES

FEW, MANY: addresses of states as `sql_state` makes them. Prints JSON: for each side `claim` and `checkpoint`, seconds.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time

from state.change import Change
from state.item import Status
from state.lease import Lease
from state.open_store import open_store
from tests.benchmarks.scripts.sql_loop import complete, submit
from tests.benchmarks.scripts.sql_state import OTHER


def once(lease: Lease, seconds: dict[str, list[float]]) -> None:
    began = time.perf_counter()
    claimed = lease.claim(16, without={OTHER})
    seconds["claim"].append(time.perf_counter() - began)
    first, *others = claimed
    lease.apply([Change(first.key, Status.PENDING, submit)])
    began = time.perf_counter()
    lease.apply([Change(first.key, Status.SUBMITTED, complete)])
    seconds["checkpoint"].append(time.perf_counter() - began)
    lease.release([item.key for item in others])


def main() -> None:
    times = int(sys.argv[3])
    found: dict[str, dict[str, list[float]]] = {}
    with contextlib.ExitStack() as held:
        sides: list[tuple[Lease, dict[str, list[float]]]] = []
        for name, address in zip(("few", "many"), sys.argv[1:3], strict=True):
            lease = held.enter_context(held.enter_context(open_store(address)).lease())
            found[name] = {"claim": [], "checkpoint": []}
            # The first one makes statements and connections: start-up.
            once(lease, {"claim": [], "checkpoint": []})
            sides.append((lease, found[name]))
        for number in range(times):
            for lease, seconds in sides if number % 2 else sides[::-1]:
                once(lease, seconds)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
