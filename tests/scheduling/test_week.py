"""A week of cron: kills at random, a full disk, a server that is off at night; everything is rendered, once."""

from __future__ import annotations

import random
import re
from collections import Counter
from datetime import timedelta
from pathlib import Path

from support.fuzzed_server import FuzzedServer
from support.hand_clock import HandClock
from support.simulated_week import CronRun, Space

from orchestrator.burst_history import read_history
from orchestrator.metrics.figures import read_figures
from orchestrator.metrics.totals import Totals
from state.item import Item, Status
from state.open_store import open_store

HOUR, DAY = 3600.0, 86400.0
SLOT_SECONDS = 2 * HOUR
ITEMS = 140
ITEM_SECONDS = 1200.0
SIZE = 4


def week(home: Path, clock: HandClock, server: FuzzedServer, *, seed: int = 1) -> None:
    dice, space = random.Random(seed), Space()
    for number in range(int(7 * DAY / SLOT_SECONDS)):
        begin = number * SLOT_SECONDS
        hour, day = begin % DAY / HOUR, begin // DAY
        assert clock.seconds <= begin, "a run did not end in its slot"
        clock.seconds = begin
        # Switched off from one o'clock to six.
        server.away_until = (day * 24 + 6) * HOUR if 1 <= hour < 6 else 0.0
        space.is_full = day == 3 and 9 <= hour < 14
        run = CronRun(home, clock, [server], space, number=number, size=SIZE)
        if dice.random() < 0.3:
            run.fuse.light(dice.randrange(150))
        while not run.is_over:
            run.turn()
            if not run.is_over and clock.seconds >= begin + SLOT_SECONDS - 600:
                run.stop()


def test_a_week_of_cron(tmp_path: Path) -> None:
    clock = HandClock()
    (tmp_path / "state.json").write_text("{}")
    with open_store(tmp_path / "state.json", clock=clock) as store:
        store.add(
            [
                Item(key=f"{n:03}.txt", status=Status.PENDING, filename=f"{n:03}.txt", prompt_text="a fox")
                for n in range(ITEMS)
            ]
        )
    server = FuzzedServer("http://gpu1:8188", clock, lambda _: ITEM_SECONDS)
    week(tmp_path, clock, server)
    with open_store(tmp_path / "state.json", read_only=True, clock=clock) as store:
        counts = store.counts()
        records = store.bursts.read(last=10_000)
    assert counts.completed == ITEMS
    assert set(server.rendered.values()) == {1}
    endings = Counter(record.ended for record in records)
    assert endings.keys() == {"done", "error", "killed"}
    assert endings["killed"] > 5
    assert 10 <= endings["error"] <= 2 * 7 + 2
    # Whoever is killed at once has no record.
    assert 72 <= sum(endings.values()) <= 7 * 12

    clock.seconds = 7 * DAY
    history = read_history(tmp_path / "state.json", clock.now() - timedelta(days=7), clock=clock)
    assert history.completed == ITEMS
    lines = history.as_text().splitlines()
    assert len(lines) < 10
    assert lines[0].endswith(f": {ITEMS} completed in {sum(endings.values())} runs")
    told = "\n".join(lines)
    failed = f"{endings['error'] - 2} runs, stopped by an error, others between them: 0 completed"
    assert f"{failed}; http://gpu1:8188: GET /api/queue: refused" in told
    for hour in (10, 12):
        place = rf"{re.escape(str(tmp_path))}/state\.burst\S*"
        full = rf"01-04 {hour}:00–01-04 {hour}:00  1 run, stopped by an error: 0 completed; {place}: the disk is full"
        assert re.search(full, told), told
    assert f"{endings['killed']} runs, killed, others between them: " in told
    assert lines[-1].startswith("Now: All done.")

    totals = read_figures(tmp_path / "state.json", Totals(), clock=clock).totals
    assert totals.completed == ITEMS
    assert totals.bursts == endings
