"""What a state in SQLite or PostgreSQL costs: against bare loops of the same statements, and by its size."""

from __future__ import annotations

import contextlib
import itertools
import json
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks.child import ROOT, ChildFailed, environment, measure, script_command
from tests.benchmarks.figures import Figure, Target, ratio
from tests.benchmarks.project import Project, in_turn
from tests.benchmarks.sandbox import SandboxProcess
from tests.benchmarks.scripts.sql_state import make_sql_state
from tests.benchmarks.setting import Setting

_SURE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "autovacuum": "on"}
_PROCESSES = 4


def sql_loops(setting: Setting) -> list[Figure]:
    """See scripts/sql_loop.py. SQLite with one process, PostgreSQL with four: items a second."""
    figures = []
    for kind, processes, least in (("SQLite", 1, 0.5), ("PostgreSQL", _PROCESSES, 0.4)):
        series: dict[str, list[float]] = {"burst items/s": [], "bare loop items/s": []}
        with _addresses(kind, setting) as address:
            for number, place in setting.each_round(f"sql_loops {kind}"):
                for side in in_turn(number):
                    word = side.split()[0]
                    where = address(place, word)
                    make_sql_state(where, count=setting.scale.sql_loop_items)
                    series[f"{side} items/s"].append(_pace(word, where, setting, processes=processes, place=place))
        figures.append(
            ratio(
                f"{kind}: claim 16 + complete one by one, {setting.scale.sql_loop_items:,} items, {processes} "
                f"process{'es' if processes > 1 else ''} ÷ a bare loop of the same statements",
                series,
                target=Target("at least", least),
            )
        )
    return figures


def sql_sizes(setting: Setting) -> list[Figure]:
    """See scripts/sql_sizes.py. In the large state as many items that the run cannot take stand before the others."""
    figures = []
    scale = setting.scale
    for kind in ("SQLite", "PostgreSQL"):
        series: dict[str, list[float]] = defaultdict(list)
        with _addresses(kind, setting) as address:
            sides = {"few": scale.few_items, "many": scale.sql_items}
            where = {side: address(setting.directory, side) for side in sides}
            for side, count in sides.items():
                make_sql_state(where[side], count=count)
            for _, place in setting.each_round(f"sql_sizes {kind}"):
                words = (where["few"], where["many"], str(scale.sql_claims))
                report = measure(script_command("sql_sizes", *words), cwd=place).report
                for side, what in itertools.product(sides, ("claim", "checkpoint")):
                    series[f"{what} {side} ms"].append(1000 * statistics.median(report[side][what]))
        about = f"{kind}: {{}} at {scale.sql_items:,} items, {scale.sql_items // 2:,} unfit ones ahead"
        pair = {name: series[name] for name in ("claim many ms", "claim few ms")}
        figures += [
            Figure(about.format("claim of 16"), tuple(series["claim many ms"]), Target("at most", 5.0), unit="ms"),
            ratio(f"{about.format('claim of 16')} ÷ at {scale.few_items:,}", pair, target=Target("at most", 1.5)),
            ratio(
                f"{about.format('checkpoint')} ÷ at {scale.few_items:,}",
                {name: series[name] for name in ("checkpoint many ms", "checkpoint few ms")},
                target=Target("at most", 1.3),
            ),
        ]
    return figures


def sql_commits(setting: Setting) -> list[Figure]:
    """Of a whole burst on PostgreSQL, by the numbers that it gives to transactions which write."""
    import psycopg

    count, values = setting.scale.sql_burst_items, []
    with _addresses("PostgreSQL", setting) as address:
        for _, place in setting.each_round("sql_commits"):
            with SandboxProcess(place, seconds_per_prompt=setting.scale.sql_prompt_seconds) as sandbox:
                project = Project(place, server=sandbox.url, count=count)
                where = address(place, "commits")
                project.init("--state", where)
                with psycopg.connect(where, autocommit=True) as connection:
                    asked = "SELECT CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint)"
                    before = connection.execute(asked).fetchall()[0][0]
                    project.run("--state", where, "-n", str(count))
                    values.append((connection.execute(asked).fetchall()[0][0] - before) / count)
    about = f"PostgreSQL: commits per item of a whole burst of {count}"
    return [Figure(about, tuple(values), Target("at most", 1.3))]


def _pace(side: str, where: str, setting: Setting, *, processes: int, place: Path) -> float:
    """Items a second of all processes together, from the first begin to the last end."""
    command = script_command("sql_loop", side, where, str(setting.scale.sql_completed // processes))
    children = [
        subprocess.Popen(command, cwd=place, env=environment(), stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    reports = [json.loads(child.communicate()[0] or "{}") for child in children]
    if any(child.returncode for child in children):
        raise ChildFailed(f"{' '.join(command)} ended with {[child.returncode for child in children]}")
    seconds = max(one["ended"] for one in reports) - min(one["began"] for one in reports)
    return float(sum(one["items"] for one in reports) / seconds)


@contextlib.contextmanager
def _addresses(kind: str, setting: Setting) -> Iterator[Callable[[Path, str], str]]:
    """Gives the address of a database that does not exist yet, or is empty. PostgreSQL runs while this is entered."""
    if kind == "SQLite":
        yield lambda place, name: f"sqlite:///{place}/{name}.db"
        return
    import psycopg

    sys.path.insert(0, str(ROOT / "tests"))
    from support.postgres import Postgres

    numbers = itertools.count()
    with Postgres(**_SURE) as server:

        def address(place: Path, name: str) -> str:
            made = f"{name}{next(numbers)}"
            with psycopg.connect(server.address(), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {made}")  # type: ignore[arg-type]
            return server.address(made)

        yield address
