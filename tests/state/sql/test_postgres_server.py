"""The PostgreSQL of the tests themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
from support.postgres import Postgres
from support.waiting import wait_until

_STARTS_ONE = """
import sys, threading
from support.postgres import Postgres
server = Postgres()
server.start()
print(server.pid, server.folder, flush=True)
threading.Event().wait()
"""


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_it_does_not_outlive_the_process_of_the_tests() -> None:
    """As a worker of pytest that is killed, which runs no exit handler."""
    tests = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{tests}:{tests.parent}"}
    with subprocess.Popen([sys.executable, "-c", _STARTS_ONE], stdout=subprocess.PIPE, env=environment) as worker:
        assert worker.stdout is not None
        pid, folder = worker.stdout.readline().decode().split()
        assert is_there(int(pid))
        worker.send_signal(signal.SIGKILL)
    wait_until(lambda: not is_there(int(pid)), what="its end")
    wait_until(lambda: not Path(folder).exists(), what="the removal of its files")


def test_it_is_killed_and_started_again() -> None:
    with Postgres() as server:
        with psycopg.connect(server.address(), autocommit=True) as connection:
            connection.execute("CREATE TABLE kept (number int)")
        server.kill()
        server.start()
        with psycopg.connect(server.address()) as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
